//! The exchange with a server that decides: on the connections that requests to models go on as well, with those of its
//! backend's settings that they have, within the time that its policy gives it.

use std::future::poll_fn;

use bytes::{Bytes, BytesMut};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use penstock_picker::Outcome;
use penstock_wire::{BodyFraming, Connection, Event, Outgoing};
use tokio::time::{Instant, timeout_at};

use super::Reach;
use crate::decide::{self, Facts};
use crate::error::Error;
use crate::upstreams::{Chosen, Excluded, Unavailable, Upstream};

/// The longest body of an answer, in bytes. Pages that tell somebody to log in have some ten thousand; servers are not
/// believed to behave.
pub(super) const MAX_ANSWER_BYTES: usize = 256 << 10;

/// How often a question is asked while endpoints fail, each time another endpoint where there is one. A question may be
/// asked twice, since it changes nothing.
const MAX_ATTEMPTS: usize = 3;

/// How many kept-alive connections may turn out to be dead on top of that.
const MAX_STALE: usize = 4;

/// What is asked.
pub(super) struct Question {
    pub(super) method: Method,
    pub(super) target: PathAndQuery,
    /// Without `Host`, that is the endpoint's name or address.
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<Bytes>,
}

/// What is answered.
pub(super) struct Answered {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) trailers: HeaderMap,
}

/// Why there is no answer, or none that says whether a request may be served.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// Its backend has no endpoint.
    #[error("the backend has no endpoint that could be asked")]
    NoEndpoint(#[source] Error),
    /// The exchange broke off.
    #[error(transparent)]
    Wire(#[from] penstock_wire::Error),
    /// It took too long.
    #[error("there was no answer in time (external.timeout)")]
    Timeout,
    /// Its body is too long.
    #[error("the answer has more than {MAX_ANSWER_BYTES} bytes")]
    TooLong,
    /// By HTTP.
    #[error("the answer has the status {0}")]
    Status(StatusCode),
    /// By gRPC.
    #[error("the call ended with the gRPC status {0:?}")]
    GrpcStatus(HeaderValue),
    /// Not what the protocol says.
    #[error("the answer is not one of this protocol: {0}")]
    Malformed(&'static str),
    /// Not what the protocol says.
    #[error("the answer cannot be read")]
    Unreadable(#[source] prost::DecodeError),
    /// The server says that it failed.
    #[error("the server says that it failed")]
    Failed,
    /// What it would be asked is longer than a question can be.
    #[error("the question about the request is too long")]
    TooLongToAsk,
}

impl Fault {
    /// What kind it is, by which the log tells of it once a minute.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::NoEndpoint(_) => "no_endpoint",
            Self::Wire(_) => "connection",
            Self::Timeout => "timeout",
            Self::TooLong => "too_long",
            Self::Status(_) | Self::GrpcStatus(_) => "status",
            Self::Malformed(_) | Self::Unreadable(_) => "malformed",
            Self::Failed => "failed",
            Self::TooLongToAsk => "question_too_long",
        }
    }

    /// Whether it is for the client to bring about: whatever happens on errors, such a request does not pass.
    pub(super) fn is_of_client(&self) -> bool {
        matches!(self, Self::TooLongToAsk)
    }
}

/// Why an attempt failed.
struct Failure {
    fault: Fault,
    /// Whether it went on a connection that was dead before.
    is_stale: bool,
}

/// Asks an endpoint of `upstream`, and another one where that fails.
///
/// # Errors
/// None answered until `deadline`.
pub(super) async fn ask(
    reach: &Reach<'_>,
    upstream: &Upstream,
    question: &Question,
    deadline: Instant,
) -> Result<Answered, Fault> {
    let mut excluded = Excluded::default();
    let (mut attempts, mut stale) = (0, 0);
    let mut last = None;
    loop {
        let mut endpoint = match choose(upstream, &excluded, deadline).await {
            Ok(endpoint) => endpoint,
            Err(fault) => return Err(last.unwrap_or(fault)),
        };
        match once(reach, upstream, &endpoint, question, deadline).await {
            Ok(answered) => {
                // A refusal is an answer, whatever its status.
                let has_failed = answered.status.is_server_error();
                endpoint.settle(if has_failed { Outcome::Failed } else { Outcome::Served });
                return Ok(answered);
            }
            Err(Failure { is_stale: true, fault }) if stale < MAX_STALE => {
                endpoint.settle(Outcome::Cancelled);
                stale += 1;
                last = Some(fault);
            }
            Err(Failure { fault, .. }) => {
                endpoint.settle(Outcome::Failed);
                attempts += 1;
                if attempts >= MAX_ATTEMPTS || matches!(fault, Fault::Timeout | Fault::TooLong) {
                    return Err(fault);
                }
                excluded.addresses.push(endpoint.address());
                if !upstream.has_other(&excluded) {
                    excluded.addresses.clear();
                    if matches!(fault, Fault::Wire(penstock_wire::Error::Connect(_))) {
                        return Err(fault);
                    }
                }
                last = Some(fault);
            }
        }
    }
}

async fn choose(upstream: &Upstream, excluded: &Excluded, deadline: Instant) -> Result<Chosen, Fault> {
    // What clients say of endpoints is not about these.
    let headers = HeaderMap::new();
    let request = decide::pick_request(
        Facts { peeked: None, headers: &headers, priority: 0, consumer: "", client: None, query: None },
        None,
        excluded,
    );
    let chosen = match upstream.choose(&request, excluded) {
        Err(Unavailable { wait: Some(wait), .. }) => {
            let chosen = timeout_at(deadline, upstream.choose_after(wait, &request, excluded)).await;
            chosen.map_err(|_elapsed| Fault::Timeout)?
        }
        chosen => chosen,
    };
    chosen.map_err(|unavailable| Fault::NoEndpoint(unavailable.error))
}

async fn once(
    reach: &Reach<'_>,
    upstream: &Upstream,
    endpoint: &Chosen,
    question: &Question,
    deadline: Instant,
) -> Result<Answered, Failure> {
    let connecting = reach.connections.connect(
        &upstream.peers,
        endpoint.address(),
        endpoint.generation(),
        endpoint.tls_name(),
    );
    let connected = timeout_at(deadline, connecting).await;
    let connected = connected.unwrap_or(Err(penstock_wire::Error::ConnectTimeout));
    let mut connection = connected.map_err(|error| Failure { fault: error.into(), is_stale: false })?;
    let answered = match connection.start(outgoing(question, endpoint), question.body.iter().cloned()) {
        Ok(()) => timeout_at(deadline, read(&mut connection)).await.unwrap_or(Err(Fault::Timeout)),
        Err(error) => Err(error.into()),
    };
    let is_stale = connection.is_stale() && matches!(answered, Err(Fault::Wire(_)));
    // One that ends is there for others until it has ended: all tries could be spent on it.
    if matches!(answered, Err(Fault::Timeout | Fault::Wire(_))) {
        connection.distrust();
    }
    reach.connections.release(connection);
    answered.map_err(|fault| Failure { fault, is_stale })
}

fn outgoing(question: &Question, endpoint: &Chosen) -> Outgoing {
    let mut headers = question.headers.clone();
    if !headers.contains_key(header::HOST) {
        let host = match endpoint.authority() {
            Some(authority) => HeaderValue::from_str(authority).ok(),
            None => HeaderValue::from_str(&endpoint.address().to_string()).ok(),
        };
        headers.extend(host.map(|host| (header::HOST, host)));
    }
    Outgoing {
        method: question.method.clone(),
        target: question.target.clone(),
        headers,
        framing: BodyFraming::Whole,
    }
}

async fn read(connection: &mut Connection) -> Result<Answered, Fault> {
    let mut answered = None;
    let mut body = BytesMut::new();
    loop {
        let is_end = match poll_fn(|cx| connection.poll_event(cx)).await? {
            Event::Head { header, is_end } => {
                let (status, headers) = (header.status, header.headers.clone());
                answered = Some(Answered { status, headers, body: Bytes::new(), trailers: HeaderMap::new() });
                is_end
            }
            Event::Body { data, is_end } => {
                if body.len() + data.len() > MAX_ANSWER_BYTES {
                    return Err(Fault::TooLong);
                }
                body.extend_from_slice(&data);
                is_end
            }
            Event::Trailers(trailers) => {
                if let Some(answered) = &mut answered {
                    answered.trailers = trailers;
                }
                true
            }
            Event::Sent | Event::Informational(_) => false,
        };
        if is_end {
            let answered = answered.ok_or(Fault::Malformed("it has no head"))?;
            return Ok(Answered { body: body.freeze(), ..answered });
        }
    }
}
