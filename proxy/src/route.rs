//! The match, read and route phases: finds out what applies to a request, reads of its body what that takes, and decides
//! what is done with it.

use crate::client::Client;
use crate::context::Arrived;
use crate::decide::{self, Action, Decision, Question};
use crate::decode::Decoders;
use crate::error::Error;
use crate::peek;

/// Decides what is done with the request; reads its body if that takes it.
///
/// # Errors
/// The request is refused, or the client is gone.
pub(crate) async fn route(
    client: &mut Client<'_>,
    arrived: &mut Arrived,
    decoders: &Decoders,
) -> Result<Action, Error> {
    let has_body = !client.is_body_empty();
    if !has_body {
        arrived.body.complete();
    }
    match decide::before_body(arrived.runtime(), &question(client, arrived), has_body) {
        Decision::Made(action) => {
            let action = action?;
            if has_body && matches!(action, Action::Forward(_)) {
                peek::continue_if_expected(client).await?;
            }
            Ok(action)
        }
        Decision::ReadBody => {
            arrived.peeked = Some(peek::read(client, arrived, decoders).await?);
            let action = decide::after_body(arrived.runtime(), &question(client, arrived), arrived.model())?;
            if let Action::Forward(routed) = &action {
                let forms = arrived.runtime().forms(arrived.listener, routed.rule);
                arrived.body.keep_only(forms);
            }
            Ok(action)
        }
    }
}

/// What is asked for.
pub(crate) fn question<'a>(client: &'a Client<'_>, arrived: &'a Arrived) -> Question<'a> {
    Question {
        listener: arrived.listener,
        host: &arrived.target.host,
        path: arrived.target.path(),
        query: arrived.target.query(),
        method: &arrived.target.method,
        headers: &client.head().headers,
    }
}
