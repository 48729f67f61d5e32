//! From a request's head to its answer: faults, body, the endpoint that the path names, the headers of a pod.

use std::{convert::Infallible, future, io::Write, sync::Arc};

use bytes::Bytes;
use futures::stream;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header, request::Parts,
};
use hyper::body::Incoming;

use super::{
    admin::{self, AdminPage},
    api::{Endpoint, error::ApiError},
    body::{ExchangeCut, SimBody},
    checks,
    connection::Connection,
    faults::{Action, Verdict},
    issuing::{self, Service},
    options::{FailureType, Personality},
    receive::{RequestBody, receive},
    record::{InFlight, RecordedRequest},
    state::ServerState,
    testupstream,
    text::draw,
};

/// Header with the hash of the request's body, see [`super::record::body_hash`].
const BODY_HASH: HeaderName = HeaderName::from_static("x-sim-body-xxh64");
/// Header with the length of the request's body.
const BODY_BYTES: HeaderName = HeaderName::from_static("x-sim-body-bytes");
/// Most bytes of a body sent to the simulator's own pages.
const ADMIN_BODY_BYTES: usize = 1 << 20;
/// Piece in which made-up bodies are sent.
const PIECE_BYTES: u64 = 64 << 10;

/// Answers one request.
pub(crate) async fn serve(
    server: Arc<ServerState>,
    connection: Arc<Connection>,
    request: Request<Incoming>,
) -> Result<Response<SimBody>, ExchangeCut> {
    let (parts, body) = request.into_parts();
    let route = Route::of(parts.uri.path(), &server);
    let in_flight = route.is_counted().then(|| server.record.begin());
    if route == Route::Metrics {
        server.record.scraped();
    }
    let verdict = server.faults.verdict(parts.uri.path(), route.meets_faults());
    if verdict != Verdict::default() {
        server.record.faulted();
    }
    if let Some(action) = &verdict.action
        && let Some(response) = fault_before_body(action, &connection).await
    {
        return Ok(track(response, in_flight));
    }
    let keep = match route {
        Route::Sink => 0,
        Route::Admin(_) => ADMIN_BODY_BYTES,
        _ => server.options.max_body_bytes,
    };
    let hashes = route == Route::Sink || (route.is_counted() && server.record.is_on());
    let received = receive(&parts, body, keep, hashes).await?;
    let seen = hashes.then(|| received.seen(&parts, &connection, server.options.record_bodies));
    if server.record.is_on()
        && let Some(seen) = &seen
    {
        server.record.push(seen.clone());
    }
    if !verdict.delay.is_zero() {
        tokio::time::sleep(verdict.delay).await;
    }
    let replaced = match &verdict.action {
        None => None,
        Some(action) => faulty_answer(action, route, &server, &connection).await,
    };
    let mut response = match replaced {
        Some(response) => response,
        None => answer(&server, route, &parts, received, seen.as_ref()).await,
    };
    if let Some(action) = &verdict.action {
        response = response.map(|body| body.with_fault(action, &connection));
    }
    if let Some(seen) = &seen {
        report(response.headers_mut(), seen);
    }
    Ok(track(response, in_flight))
}

/// What a path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    Inference(&'static str, Endpoint),
    Health,
    Metrics,
    /// `/sim/sink` and below: takes any method, framing and body, and tells what arrived.
    Sink,
    Admin(AdminPage),
    TestUpstream,
    /// A service that hands out tokens.
    Issuing(Service),
    Unknown,
}

impl Route {
    fn of(path: &str, server: &ServerState) -> Self {
        if path.starts_with("/sim/sink") {
            return Self::Sink;
        }
        if let Some(page) = AdminPage::of(path) {
            return Self::Admin(page);
        }
        if matches!(server.options.personality, Personality::TestUpstream { .. }) {
            return if path == "/health" { Self::Health } else { Self::TestUpstream };
        }
        if let Some((path, endpoint)) = Endpoint::of(path) {
            return Self::Inference(path, endpoint);
        }
        if let Some(service) = server.vault.as_ref().and_then(|vault| Service::of(path, vault)) {
            return Self::Issuing(service);
        }
        match path {
            "/health" | "/health/ready" | "/ping" => Self::Health,
            "/metrics" => Self::Metrics,
            _ => Self::Unknown,
        }
    }

    /// Whether a request is counted and remembered.
    fn is_counted(self) -> bool {
        self.meets_faults() || matches!(self, Self::Issuing(_))
    }

    /// Whether faults without a path concern it.
    fn meets_faults(self) -> bool {
        matches!(self, Self::Inference(..) | Self::Sink | Self::TestUpstream | Self::Unknown)
    }
}

/// Faults that strike as soon as the head arrived.
async fn fault_before_body(action: &Action, connection: &Connection) -> Option<Response<SimBody>> {
    match action {
        Action::EarlyStatus { code } => Some(status(*code)),
        Action::HangBeforeBody => match future::pending::<Infallible>().await {},
        Action::ResetBeforeBody => {
            connection.reset();
            match future::pending::<Infallible>().await {}
        }
        _ => None,
    }
}

/// Faults that take the place of the answer.
async fn faulty_answer(
    action: &Action,
    route: Route,
    server: &ServerState,
    connection: &Connection,
) -> Option<Response<SimBody>> {
    match *action {
        Action::Status { code, retry_after_s } => {
            let mut response = status(code);
            if let Some(seconds) = retry_after_s {
                response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
            }
            Some(response)
        }
        Action::Failure { kind } => {
            let kind = kind.unwrap_or_else(|| draw_failure(server));
            let error = ApiError::injected(kind, &server.options.model);
            Some(match route {
                Route::Inference(_, endpoint) => error.response_as(endpoint.dialect()),
                _ => error.response(),
            })
        }
        Action::Garbage { bytes } => Some(generated_body(bytes, garbage)),
        Action::Flood { bytes } => Some(generated_body(bytes, flood)),
        Action::Hang => match future::pending::<Infallible>().await {},
        Action::Reset => {
            connection.reset();
            match future::pending::<Infallible>().await {}
        }
        Action::Close => {
            connection.close();
            match future::pending::<Infallible>().await {}
        }
        _ => None,
    }
}

async fn answer(
    server: &ServerState,
    route: Route,
    parts: &Parts,
    received: RequestBody,
    seen: Option<&RecordedRequest>,
) -> Response<SimBody> {
    match (route, seen) {
        (Route::Sink, Some(seen)) => admin::json(StatusCode::OK, seen),
        _ if received.is_too_long => ApiError::body_too_large(server.options.max_body_bytes).response(),
        (Route::Inference(path, endpoint), _) => {
            if let Some(vault) = &server.vault
                && let Err(denied) = checks::check(vault, endpoint, parts, &received.body)
            {
                return denied.response();
            }
            let mut response = server.api.answer(path, endpoint, parts, received.body).await;
            identify(server, response.headers_mut());
            response
        }
        (Route::Health, _) => Response::new(SimBody::empty()),
        (Route::Metrics, _) if parts.method == Method::GET => metrics(server),
        (Route::Metrics, _) => ApiError::method_not_allowed(&Method::GET).response(),
        (Route::Admin(page), _) => admin::answer(server, page, &parts.method, &received.body),
        (Route::TestUpstream, _) => {
            let Personality::TestUpstream { id } = &server.options.personality else {
                return ApiError::unknown_path().response();
            };
            testupstream::answer(id, parts, &received.body)
        }
        (Route::Issuing(service), _) => match &server.vault {
            Some(vault) => issuing::answer(vault, service, parts, &received.body),
            None => ApiError::unknown_path().response(),
        },
        (Route::Unknown | Route::Sink, _) => ApiError::unknown_path().response(),
    }
}

fn metrics(server: &ServerState) -> Response<SimBody> {
    let mut response = Response::new(SimBody::whole(server.api.metrics()));
    let kind = HeaderValue::from_static("text/plain; version=1.0.0; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// Names the pod that answered, where it has a name.
fn identify(server: &ServerState, headers: &mut HeaderMap) {
    let options = &server.options;
    let Some(pod) = options.pod_name.as_deref().and_then(|pod| HeaderValue::from_str(pod).ok()) else {
        return;
    };
    headers.insert("x-inference-pod", pod);
    headers.insert("x-inference-port", HeaderValue::from(server.addr.port()));
    if let Some(name) = options.pod_namespace.as_deref().and_then(|name| HeaderValue::from_str(name).ok()) {
        headers.insert("x-inference-namespace", name);
    }
}

fn report(headers: &mut HeaderMap, seen: &RecordedRequest) {
    if let Ok(hash) = HeaderValue::from_str(&seen.body_xxh64) {
        headers.insert(BODY_HASH, hash);
    }
    headers.insert(BODY_BYTES, HeaderValue::from(seen.body_bytes));
}

fn draw_failure(server: &ServerState) -> FailureType {
    let types = &server.options.failure_types;
    let kinds: &[FailureType] = if types.is_empty() { &FailureType::ALL } else { types };
    kinds[server.faults.draw() as usize % kinds.len()]
}

fn status(code: u16) -> Response<SimBody> {
    let status = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = serde_json::json!({"error": {
        "message": "The simulator was told to answer so.",
        "type": status.canonical_reason().unwrap_or("Unknown"),
        "param": null,
        "code": status.as_u16(),
    }});
    admin::json(status, &body)
}

/// A body of `bytes`, made piece by piece as it is sent: it may be larger than memory.
fn generated_body(bytes: u64, piece: fn(u64) -> Bytes) -> Response<SimBody> {
    let pieces = (0..bytes.div_ceil(PIECE_BYTES)).map(move |number| {
        let left = bytes - number * PIECE_BYTES;
        let mut piece = piece(number);
        piece.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        piece
    });
    Response::new(SimBody::stream(stream::iter(pieces)))
}

fn garbage(number: u64) -> Bytes {
    (0..PIECE_BYTES / 8).flat_map(|index| draw(number, index).to_le_bytes()).collect()
}

/// Lines of 64 bytes, so that no piece ends within one.
fn flood(number: u64) -> Bytes {
    let lines = PIECE_BYTES / 64;
    let mut piece = Vec::with_capacity(PIECE_BYTES as usize);
    for series in number * lines..(number + 1) * lines {
        // Writing to a vector cannot fail.
        let _ = writeln!(piece, "sim:flood_total{{series=\"{series:033}\"}} 1.0");
    }
    piece.into()
}

fn track(response: Response<SimBody>, in_flight: Option<InFlight>) -> Response<SimBody> {
    match in_flight {
        Some(in_flight) => response.map(|body| body.tracked(in_flight)),
        None => response,
    }
}
