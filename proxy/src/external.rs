//! Policies that ask a server whether a request may be served: Envoy's protocol for external authorization, by gRPC or HTTP.
//!
//! The server is a backend of the document, and is asked over the connections that requests to backends go on: it has
//! their TLS, their balancing and their ejection, HTTP/2 connections are shared, and there is nothing of its own to close
//! or to reload. Turned down: a gRPC client with a stack of its own (tonic's), which would have brought a second of all of
//! these, and of whose generated messages a tenth is used.
//!
//! Whoever is asked is told what Envoy tells; see `docs/access.md`. What the answer may change is in [`changes`].

mod ask;
mod by_grpc;
mod by_http;
mod changes;
mod messages;

use std::net::SocketAddr;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use penstock_config::{ExternalProtocol, MODEL_HEADER, Upstream as UpstreamAt};
use penstock_wire::Connections;
use pingora_http::RequestHeader;
use tokio::time::{Instant, timeout_at};

use self::ask::Fault;
use self::changes::Changes;
use crate::cause;
use crate::error::Error;
use crate::hop::is_hop_by_hop;
use crate::metrics::CheckOutcome;
use crate::policy::{Reply, Server, Servers, Subject, Verdict};
use crate::runtime::Runtime;

pub(crate) use self::changes::ResponseChanges;

/// Tells a server that a body is whole, as Envoy does.
const PARTIAL_BODY: HeaderName = HeaderName::from_static("x-envoy-auth-partial-body");

/// What a server that is asked by HTTP is shown beside method, path, host and length of the body.
const SHOWN_BY_HTTP: &[HeaderName] = &[header::AUTHORIZATION];

/// What a policy asks others over.
#[derive(Clone, Copy)]
pub(crate) struct Reach<'a> {
    /// The configuration that has the backends.
    pub(crate) runtime: &'a Runtime,
    /// Connections to them.
    pub(crate) connections: &'a Connections,
}

/// What a server says.
enum Answer {
    /// The request may be served, with these changes.
    Allowed(Changes),
    /// It may not; what the client is told, if that is said.
    Denied(Option<Box<Reply>>),
}

/// What a server may see of a request.
struct Seen<'a> {
    request_id: &'a str,
    head: &'a RequestHeader,
    target: &'a PathAndQuery,
    host: &'a str,
    scheme: &'static str,
    /// The client, with its port if it is the other end of the connection.
    source: Option<SocketAddr>,
    /// Where the gateway listens.
    destination: Option<SocketAddr>,
    model: Option<&'a str>,
    now: SystemTime,
    /// The body, if the server wants it.
    body: Option<&'a [Bytes]>,
    /// The headers that it is shown; `None` is all of them.
    listed: Option<&'a [HeaderName]>,
    /// Those that it is shown besides.
    always: &'static [HeaderName],
}

#[async_trait]
impl Servers for Reach<'_> {
    async fn check(&self, server: &Server, request: &mut Subject<'_>) -> Result<Verdict, Error> {
        server.check(*self, request).await
    }
}

impl Server {
    /// Asks whether a request may be served, and changes it as the answer says.
    ///
    /// # Errors
    /// It may not, or nobody could say, or its body is too long to ask.
    async fn check(&self, reach: Reach<'_>, request: &mut Subject<'_>) -> Result<Verdict, Error> {
        if let Some(limit_bytes) = self.spec.max_body_bytes
            && request.body.iter().map(Bytes::len).sum::<usize>() > limit_bytes
        {
            self.metrics.count(CheckOutcome::TooLarge);
            return Err(Error::CheckBodyTooLarge { policy: self.policy.clone(), limit_bytes });
        }
        let started = Instant::now();
        let answer = self.ask(reach, request, started + self.spec.timeout).await;
        self.metrics.took(started.elapsed());
        match answer {
            Ok(Answer::Allowed(mut changes)) => {
                changes.apply(self.spec.headers_to_upstream(), request.head, request.path_and_query)?;
                if !changes.response.is_empty() {
                    let kept = request.extensions.get_or_insert_default::<ResponseChanges>();
                    kept.add(std::mem::take(&mut changes.response));
                }
                self.metrics.count(CheckOutcome::Allowed);
                Ok(Verdict::Continue)
            }
            Ok(Answer::Denied(reply)) => {
                self.metrics.count(CheckOutcome::Denied);
                match reply {
                    Some(reply) => Ok(Verdict::Answer(reply)),
                    None => Err(Error::CheckDenied { policy: self.policy.clone() }),
                }
            }
            Err(fault) => self.fail(fault, request),
        }
    }

    async fn ask(&self, reach: Reach<'_>, request: &Subject<'_>, deadline: Instant) -> Result<Answer, Fault> {
        let permit = timeout_at(deadline, self.permits.acquire()).await;
        let _permit = permit.map_err(|_elapsed| Fault::Timeout)?;
        let upstream = reach.runtime.upstream(UpstreamAt::Backend(self.spec.backend));
        let seen = self.seen(reach.runtime, request);
        match &self.spec.protocol {
            ExternalProtocol::Grpc => {
                let left = deadline.saturating_duration_since(Instant::now());
                let question = by_grpc::question(&seen, &self.spec.context_extensions, left);
                let answered = ask::ask(&reach, upstream, &question, deadline).await?;
                by_grpc::answer(answered).map_err(|fault| by_grpc::judge(fault, &question))
            }
            ExternalProtocol::Http { path, headers_to_upstream } => {
                let question = by_http::question(&seen, path)?;
                by_http::answer(ask::ask(&reach, upstream, &question, deadline).await?, headers_to_upstream)
            }
        }
    }

    /// What becomes of a request about which nobody could say.
    #[cold]
    fn fail(&self, fault: Fault, request: &mut Subject<'_>) -> Result<Verdict, Error> {
        let (policy, is_open) = (&*self.policy, self.spec.is_open_on_error && !fault.is_of_client());
        let request_id = request.request_id;
        match self.failures.note(fault.kind(), &cause::whole(&fault)) {
            Some(cause) => tracing::warn!(
                policy, reason = fault.kind(), %cause, is_open, request_id,
                "nobody could say whether a request may be served; further failures like this are not told for a minute"
            ),
            None => tracing::debug!(policy, error = %fault, is_open, request_id, "no decision"),
        }
        if !is_open {
            self.metrics.count(CheckOutcome::Failed);
            let (policy, status) = (self.policy.clone(), self.spec.status_on_error.as_u16());
            return Err(Error::CheckFailed { policy, status, cause: fault.into() });
        }
        self.metrics.count(CheckOutcome::FailedOpen);
        // What only the server sets, clients do not set in its place.
        Changes::default().apply(self.spec.headers_to_upstream(), request.head, request.path_and_query)?;
        Ok(Verdict::Continue)
    }

    fn seen<'a>(&'a self, runtime: &Runtime, request: &'a Subject<'_>) -> Seen<'a> {
        let listener = runtime.listener_index(request.listener);
        let listener = listener.map(|at| &runtime.snapshot().listeners[at]);
        let host = request.head.headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let authority = || request.head.uri.authority().map(Authority::as_str);
        let port = |client| request.peer.filter(|peer| peer.ip() == client).map_or(0, |peer| peer.port());
        let listed = self.spec.headers.as_deref();
        let (listed, always) = match &self.spec.protocol {
            ExternalProtocol::Grpc => (listed, &[][..]),
            ExternalProtocol::Http { .. } => (Some(listed.unwrap_or_default()), SHOWN_BY_HTTP),
        };
        Seen {
            request_id: request.request_id,
            head: request.head,
            target: request.path_and_query,
            host: host.or_else(authority).unwrap_or_default(),
            scheme: if listener.is_some_and(|listener| listener.is_tls()) { "https" } else { "http" },
            source: request.client.map(|client| SocketAddr::new(client, port(client))),
            destination: listener.map(|listener| listener.address),
            model: request.model,
            now: request.now,
            body: self.needs_body().then_some(request.body),
            listed,
            always,
        }
    }
}

impl Seen<'_> {
    /// The headers that the server is shown, with the model that the request is for, if the gateway has looked.
    fn shown_headers(&self) -> HeaderMap {
        let all = &self.head.headers;
        let mut shown = match self.listed {
            None => all.clone(),
            Some(listed) => {
                let besides = self.always.iter().filter(|name| !listed.contains(name));
                let lines = listed.iter().chain(besides);
                let lines = lines.flat_map(|name| all.get_all(name).iter().map(move |value| (name, value)));
                lines.map(|(name, value)| (name.clone(), value.clone())).collect()
            }
        };
        let hops: Vec<HeaderName> = shown.keys().filter(|name| is_hop_by_hop(name)).cloned().collect();
        for name in hops.iter().chain(&[header::EXPECT]) {
            shown.remove(name);
        }
        if self.body.is_some() {
            // What is shown is decoded.
            shown.remove(header::CONTENT_ENCODING);
            shown.insert(PARTIAL_BODY, HeaderValue::from_static("false"));
        }
        if let Some(model) = self.model.and_then(|model| HeaderValue::from_str(model).ok()) {
            shown.insert(HeaderName::from_static(MODEL_HEADER), model);
        }
        shown
    }

    /// The length of the body, as far as it is known.
    fn body_bytes(&self) -> Option<i64> {
        let length = match self.body {
            Some(chunks) => Some(chunks.iter().map(Bytes::len).sum::<usize>() as u64),
            None => {
                let length = self.head.headers.get(header::CONTENT_LENGTH);
                length.and_then(|length| length.to_str().ok()?.parse().ok())
            }
        };
        length.and_then(|length| i64::try_from(length).ok())
    }
}

/// The answer of a server to a client. A body that does not say what it is, is text.
fn reply(status: StatusCode, mut headers: HeaderMap, body: Bytes) -> Reply {
    let has_none = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let body = if has_none { Bytes::new() } else { body };
    if !body.is_empty() && !headers.contains_key(header::CONTENT_TYPE) {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    }
    Reply { status, headers, body }
}
