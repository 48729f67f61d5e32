//! From a request's head to its answer: faults, body, the endpoint that the path names, the headers of a pod.

use std::{hash::Hasher, sync::Arc};

use bytes::{Bytes, BytesMut};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header, request::Parts,
};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use serde::Serialize;
use xxhash_rust::xxh64::Xxh64;

use super::{
    body::{Cut, SimBody},
    faults::{Action, Fault, Verdict},
    record::{Framing, Seen, hash_text, header_list},
    server::{Control, Server, forever},
    sink,
};

/// Header with the hash of the request's body, see [`super::record::body_hash`].
const BODY_HASH: HeaderName = HeaderName::from_static("x-sim-body-xxh64");
/// Header with the length of the request's body.
const BODY_BYTES: HeaderName = HeaderName::from_static("x-sim-body-bytes");
/// Body bytes kept of a request to the simulator itself.
const ADMIN_BODY_BYTES: usize = 1 << 20;

/// Answers one request.
pub(crate) async fn serve(
    server: Arc<Server>,
    control: Arc<Control>,
    request: Request<Incoming>,
) -> Result<Response<SimBody>, Cut> {
    let (parts, body) = request.into_parts();
    let route = Route::of(parts.uri.path());
    let in_flight = route.is_counted().then(|| server.record.begin());
    if route == Route::Metrics {
        server.record.scraped();
    }
    let verdict = server.faults.verdict(parts.uri.path(), route.is_counted());
    if verdict != Verdict::default() {
        server.record.faulted();
    }
    if let Some(action) = &verdict.action
        && let Some(response) = before_body(action, &control).await
    {
        return Ok(track(response, in_flight));
    }
    let keep = match route {
        Route::Sink => 0,
        Route::Faults | Route::Requests | Route::Stats => ADMIN_BODY_BYTES,
        _ => server.options.max_body_bytes,
    };
    let hashes = route == Route::Sink || (route.is_counted() && server.record.is_on());
    let received = receive(&parts, body, keep, hashes).await?;
    let seen = hashes.then(|| see(&parts, &received, &control));
    if !verdict.delay.is_zero() {
        tokio::time::sleep(verdict.delay).await;
    }
    let mut response = match &verdict.action {
        None => answer(&server, route, &parts, received, seen.as_ref()).await,
        Some(action) => match instead(action, &control).await {
            Some(response) => response,
            None => answer(&server, route, &parts, received, seen.as_ref()).await,
        },
    };
    if let Some(action) = &verdict.action {
        response = response.map(|body| body.spoiled(action, &control));
    }
    if let Some(seen) = seen {
        report(response.headers_mut(), &seen);
        if server.record.is_on() {
            server.record.push(seen);
        }
    }
    Ok(track(response, in_flight))
}

/// Which endpoint a path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    Health,
    Metrics,
    Faults,
    Requests,
    Stats,
    Sink,
    Other,
}

impl Route {
    fn of(path: &str) -> Self {
        match path {
            "/health" | "/health/ready" => Self::Health,
            "/metrics" => Self::Metrics,
            "/sim/faults" => Self::Faults,
            "/sim/requests" => Self::Requests,
            "/sim/stats" => Self::Stats,
            path if path.starts_with("/sim/sink") => Self::Sink,
            _ => Self::Other,
        }
    }

    /// Whether a request is counted, remembered, and subject to faults without a path.
    fn is_counted(self) -> bool {
        matches!(self, Self::Sink | Self::Other)
    }
}

/// A request body, read to its end.
pub(crate) struct Received {
    /// The body, or nothing where it was not to be kept or was too long.
    pub(crate) body: Bytes,
    /// Whether it was longer than may be kept.
    pub(crate) is_too_long: bool,
    bytes: u64,
    hash: u64,
    framing: Framing,
}

/// Reads a body to its end, keeping up to `keep` bytes. A longer one is read on, so that the answer never comes
/// before the request is complete: a proxy treats such an answer as a broken connection.
async fn receive(parts: &Parts, mut body: Incoming, keep: usize, hashes: bool) -> Result<Received, Cut> {
    let framing = Framing::of(parts, body.is_end_stream());
    let mut received = Received { body: Bytes::new(), is_too_long: false, bytes: 0, hash: 0, framing };
    let mut hasher = Xxh64::new(0);
    let mut gathered = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Cut)?.into_data() else { continue };
        received.bytes += data.len() as u64;
        if hashes {
            hasher.write(&data);
        }
        received.is_too_long = received.bytes > keep as u64;
        if received.is_too_long {
            continue;
        }
        if received.body.is_empty() {
            received.body = data;
            continue;
        }
        if gathered.is_empty() {
            gathered.reserve(body.size_hint().lower() as usize + received.body.len() + data.len());
            gathered.extend_from_slice(&received.body);
        }
        gathered.extend_from_slice(&data);
    }
    if !gathered.is_empty() {
        received.body = gathered.freeze();
    }
    received.hash = hasher.finish();
    Ok(received)
}

fn see(parts: &Parts, received: &Received, control: &Control) -> Seen {
    Seen {
        connection: control.number,
        method: parts.method.to_string(),
        path: parts.uri.path_and_query().map_or_else(String::new, ToString::to_string),
        version: format!("{:?}", parts.version),
        framing: received.framing,
        headers: header_list(&parts.headers),
        body_bytes: received.bytes,
        body_xxh64: hash_text(received.hash),
    }
}

fn report(headers: &mut HeaderMap, seen: &Seen) {
    if let Ok(hash) = HeaderValue::from_str(&seen.body_xxh64) {
        headers.insert(BODY_HASH, hash);
    }
    headers.insert(BODY_BYTES, HeaderValue::from(seen.body_bytes));
}

/// Faults that strike as soon as the head arrived.
async fn before_body(action: &Action, control: &Control) -> Option<Response<SimBody>> {
    match action {
        Action::EarlyStatus { code } => Some(status(*code)),
        Action::HangBeforeBody => match forever().await {},
        Action::ResetBeforeBody => {
            control.reset();
            match forever().await {}
        }
        _ => None,
    }
}

/// Faults that take the place of the answer.
async fn instead(action: &Action, control: &Control) -> Option<Response<SimBody>> {
    match action {
        Action::Status { code, retry_after_s } => {
            let mut response = status(*code);
            if let Some(seconds) = retry_after_s {
                response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(*seconds));
            }
            Some(response)
        }
        Action::Hang => match forever().await {},
        Action::Reset => {
            control.reset();
            match forever().await {}
        }
        Action::Close => {
            control.close();
            match forever().await {}
        }
        _ => None,
    }
}

async fn answer(
    server: &Server,
    route: Route,
    parts: &Parts,
    received: Received,
    seen: Option<&Seen>,
) -> Response<SimBody> {
    match (route, seen) {
        (Route::Sink, Some(seen)) => sink::answer(seen),
        (Route::Health, _) => Response::new(SimBody::empty()),
        (Route::Faults, _) => faults(server, &parts.method, &received.body),
        (Route::Requests, _) => {
            if parts.method == Method::DELETE {
                server.record.forget();
            }
            json(StatusCode::OK, &server.record.requests())
        }
        (Route::Stats, _) => json(StatusCode::OK, &server.record.stats()),
        _ => status(404),
    }
}

/// `GET` shows the faults, `POST` replaces them by a JSON list, `DELETE` takes them away.
fn faults(server: &Server, method: &Method, body: &[u8]) -> Response<SimBody> {
    match *method {
        Method::POST => match serde_json::from_slice::<Vec<Fault>>(body) {
            Ok(faults) => server.faults.set(faults),
            Err(error) => {
                return json(StatusCode::BAD_REQUEST, &serde_json::json!({"error": error.to_string()}));
            }
        },
        Method::DELETE => server.faults.clear(),
        _ => {}
    }
    json(StatusCode::OK, &server.faults.list())
}

fn status(code: u16) -> Response<SimBody> {
    let status = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = serde_json::json!({"error": {
        "message": "The simulator was told to answer so.",
        "type": status.canonical_reason().unwrap_or("Unknown"),
        "param": null,
        "code": status.as_u16(),
    }});
    json(status, &body)
}

pub(crate) fn json(status: StatusCode, value: &impl Serialize) -> Response<SimBody> {
    let body = serde_json::to_vec(value).unwrap_or_default();
    let mut response = Response::new(SimBody::whole(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn track(response: Response<SimBody>, in_flight: Option<super::record::InFlight>) -> Response<SimBody> {
    match in_flight {
        Some(in_flight) => response.map(|body| body.tracked(in_flight)),
        None => response,
    }
}
