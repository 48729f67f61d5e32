//! Answers that a rule gives in place of those with some statuses, of upstreams and of the gateway itself.
//!
//! What an upstream answered is dropped whole. Of an answer of the gateway's own status, body and what is said of the body
//! are replaced: who is told to wait, or how to show who they are, is told so still. A refusal of the listener's policies
//! comes before it is known which rule a request goes to; of rules that differ by models only the first one counts for it.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use penstock_config::{ListenerIndex, Replacement, RequestModel, ResponseOverride, RouteRequest};

use crate::client::Client;
use crate::context::{Arrived, Attempt, Routed};
use crate::decide::{self, Question};
use crate::error::Error;
use crate::policy::Reply;
use crate::{quota, route, trail};

/// A response of an upstream that something else is answered for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Overridden {
    /// The position of the rule's override.
    at: usize,
    /// The status that the upstream answered with.
    pub(crate) status: StatusCode,
}

/// Whether a rule answers something else in place of an upstream's response with this status.
#[inline]
pub(crate) fn of_upstream(arrived: &Arrived, rule: usize, status: StatusCode) -> Option<Overridden> {
    let overrides = &arrived.runtime().snapshot().rules()[rule].response_overrides;
    if overrides.is_empty() {
        return None;
    }
    let at = overrides.iter().position(|of| of.of_upstreams && of.is_for(status))?;
    Some(Overridden { at, status })
}

/// What is answered in place of an upstream's response.
///
/// # Errors
/// There is no such answer.
pub(crate) fn answer(
    client: &Client<'_>,
    arrived: &Arrived,
    routed: &Routed,
    attempt: &Attempt,
    Overridden { at, status }: Overridden,
) -> Result<Reply, Error> {
    let runtime = arrived.runtime().clone();
    let rule = &runtime.snapshot().rules()[routed.rule];
    let mut headers: HeaderMap = trail::headers(arrived, routed, Some(attempt)).collect();
    quota::tell(arrived, attempt, &mut headers);
    let mut reply = Reply { status, headers, body: Bytes::new() };
    rule.response_headers.apply(&mut reply.headers);
    replace(client, arrived, routed.prefix_length, &rule.response_overrides[at], &mut reply)?;
    Ok(reply)
}

/// Puts what a rule answers in place of an answer of the gateway's own, and says whether it did. The rule is the one that took the
/// request, by its position and the length of the prefix that matched; `None` where none had yet, and a policy of the
/// listener refused it.
///
/// # Errors
/// There is no such answer; the one that there is stays.
pub(crate) fn of_gateway(
    client: &Client<'_>,
    arrived: &Arrived,
    taken: Option<(usize, Option<usize>)>,
    reply: &mut Reply,
) -> Result<bool, Error> {
    let runtime = arrived.runtime().clone();
    if !runtime.has_overrides() {
        return Ok(false);
    }
    let Some((rule, prefix_length)) = taken.or_else(|| Some((likely_rule(client, arrived)?, None))) else {
        return Ok(false);
    };
    let overrides = &runtime.snapshot().rules()[rule].response_overrides;
    let Some(found) = overrides.iter().find(|of| of.of_gateway && of.is_for(reply.status)) else {
        return Ok(false);
    };
    replace(client, arrived, prefix_length, found, reply).map(|()| true)
}

/// The rule that a request goes to, whatever its model is.
fn likely_rule(client: &Client<'_>, arrived: &Arrived) -> Option<usize> {
    let Question { listener, host, path, query, method, headers } = route::question(client, arrived);
    let request = RouteRequest { host, path, query, method, headers, model: RequestModel::Unread };
    let rule = arrived.runtime().snapshot().route_of_some_model(ListenerIndex(listener), &request)?;
    Some(rule.index)
}

/// Makes an answer what is to be answered in its place.
///
/// # Errors
/// There is no such answer; the one that there is stays.
fn replace(
    client: &Client<'_>,
    arrived: &Arrived,
    prefix_length: Option<usize>,
    found: &ResponseOverride,
    reply: &mut Reply,
) -> Result<(), Error> {
    let location = match &found.replacement {
        Replacement::Answer { .. } => None,
        Replacement::Redirect(redirect) => {
            let question = route::question(client, arrived);
            let location = decide::location(arrived.runtime(), &question, redirect, prefix_length);
            Some(HeaderValue::from_str(&location).map_err(Error::internal)?)
        }
    };
    for name in [header::CONTENT_TYPE, header::CONTENT_LENGTH, header::CONTENT_ENCODING] {
        reply.headers.remove(name);
    }
    match &found.replacement {
        Replacement::Answer { status, content_type, body } => {
            reply.status = status.unwrap_or(reply.status);
            // Nothing can follow a 304 that keeps its status.
            let has_body = reply.status != StatusCode::NOT_MODIFIED;
            reply.body = if has_body { Bytes::copy_from_slice(body.as_bytes()) } else { Bytes::new() };
            if let Some(content_type) = content_type {
                reply.headers.insert(header::CONTENT_TYPE, content_type.clone());
            }
        }
        Replacement::Redirect(redirect) => {
            (reply.status, reply.body) = (redirect.status, Bytes::new());
            reply.headers.extend(location.map(|location| (header::LOCATION, location)));
        }
    }
    found.headers.apply(&mut reply.headers);
    Ok(())
}
