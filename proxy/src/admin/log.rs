//! What the program logs, read and changed while it runs.

use std::net::IpAddr;
use std::time::Duration;

use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::{Request, StatusCode};

use super::{Answer, access, refuse, text};

/// The most bytes that directives may have.
const MAX_BYTES: usize = 1024;

/// What is logged.
pub(super) fn show() -> Answer {
    match penstock_logging::filter() {
        Some(filter) => text(StatusCode::OK, format!("{filter}\n")),
        None => refuse(StatusCode::NOT_FOUND, "nothing is logged by this program"),
    }
}

/// Logs what the body says from now on: an empty one is what was logged at the start. Only for the machine itself, whoever may
/// see the other pages: a log of everything costs time, and tells more of requests.
pub(super) async fn change(peer: IpAddr, request: Request<Incoming>, deadline: Duration) -> Answer {
    if !access::is_local(peer) {
        return refuse(StatusCode::FORBIDDEN, "the log is changed from the machine itself only");
    }
    let body = Limited::new(request.into_body(), MAX_BYTES).collect();
    let directives = match tokio::time::timeout(deadline, body).await {
        Ok(Ok(body)) => String::from_utf8_lossy(&body.to_bytes()).into_owned(),
        Ok(Err(error)) => {
            return refuse(StatusCode::BAD_REQUEST, &format!("the body cannot be read: {error}"));
        }
        Err(_) => return refuse(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time"),
    };
    match penstock_logging::set_filter(&directives) {
        Ok(filter) => {
            tracing::info!(%filter, "what is logged was changed");
            text(StatusCode::OK, format!("{filter}\n"))
        }
        Err(fault) => refuse(StatusCode::BAD_REQUEST, &fault),
    }
}
