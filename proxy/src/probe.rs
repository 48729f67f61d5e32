//! One bounded request, such as a `GET`, over the connectors that requests to upstreams take, so that what a probe finds
//! holds for them too: the same TLS, the same protocols, the same trusted authorities.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::future::BoxFuture;
use http::{HeaderName, HeaderValue};
use penstock_config::UpstreamTls;
use penstock_sources::up;
use pingora_core::{connectors::http::Connector, upstreams::peer::HttpPeer};
use pingora_error::ErrorType;
use pingora_http::RequestHeader;
use thiserror::Error;

use crate::tls::UpstreamContext;

/// Why a probe got no answer.
#[derive(Debug, Error)]
pub enum ProbeError {
    /// It took too long, from connecting to the last byte.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// The upstream could not be reached, or broke off.
    #[error("{}", reason(.0))]
    Failed(#[from] Box<pingora_error::Error>),
    /// The answer's body is too large.
    #[error("the answer is larger than {limit_bytes} bytes")]
    TooLarge {
        /// The bound that was exceeded.
        limit_bytes: usize,
    },
}

/// What went wrong in the end. Pingora's own text nests every cause with its context, and may end with nothing but the
/// address that the connection had on this side.
fn reason(mut error: &pingora_error::Error) -> String {
    let mut reason = error.etype.as_str().to_owned();
    loop {
        if let Some(context) = &error.context {
            reason = context.as_str().to_owned();
        }
        let Some(cause) = &error.cause else { return reason };
        if let Some(inner) = cause.downcast_ref::<Box<pingora_error::Error>>() {
            error = inner;
            continue;
        }
        let cause = cause.to_string();
        return if cause.starts_with("local address ") { reason } else { cause };
    }
}

/// An answer to a probe.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: http::StatusCode,
    /// The whole body.
    pub body: Bytes,
}

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Get<'a> {
    /// What `Host` says.
    pub authority: &'a str,
    /// The method; `GET` is the usual one.
    pub method: &'static str,
    /// The path.
    pub path: &'a str,
    /// Headers that show who asks, and what else the server needs to be told.
    pub headers: &'a [(HeaderName, HeaderValue)],
    /// The most bytes of the answer's body that are read.
    pub limit_bytes: usize,
    /// How long it may take, from connecting to the last byte.
    pub timeout: Duration,
}

impl Get<'_> {
    /// Asks `peer`. The connection is new, because an old one can outlive a listener that takes no more, and is closed
    /// afterwards.
    ///
    /// # Errors
    /// See [`ProbeError`]. An answer with a status of failure is an answer.
    pub async fn send(&self, connector: &Connector, peer: &HttpPeer) -> Result<Answer, ProbeError> {
        let answer = tokio::time::timeout(self.timeout, self.exchange(connector, peer)).await;
        answer.map_err(|_| ProbeError::TimedOut(self.timeout))?
    }

    async fn exchange(&self, connector: &Connector, peer: &HttpPeer) -> Result<Answer, ProbeError> {
        let mut request = RequestHeader::build(self.method, self.path.as_bytes(), None)?;
        request.insert_header("host", self.authority)?;
        request.insert_header("user-agent", concat!("penstock/", env!("CARGO_PKG_VERSION")))?;
        request.insert_header("accept", "*/*")?;
        for (name, value) in self.headers {
            request.insert_header(name.clone(), value.clone())?;
        }
        let (mut session, _) = connector.get_http_session(peer).await?;
        session.write_request_header(Box::new(request)).await?;
        session.finish_request_body().await?;
        session.read_response_header().await?;
        let status = session.response_header().map_or(http::StatusCode::BAD_GATEWAY, |head| head.status);
        let mut body = BytesMut::new();
        while let Some(chunk) = session.read_response_body().await? {
            if body.len() + chunk.len() > self.limit_bytes {
                return Err(ProbeError::TooLarge { limit_bytes: self.limit_bytes });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { status, body: body.freeze() })
    }
}

/// Asks model servers for `penstock up`.
pub struct ServerProbe(Connector);

impl Default for ServerProbe {
    fn default() -> Self {
        Self(Connector::new(None))
    }
}

impl up::Probe for ServerProbe {
    fn get<'a>(
        &'a self,
        request: up::ProbeRequest<'a>,
    ) -> BoxFuture<'a, Result<up::ProbeAnswer, up::ProbeError>> {
        Box::pin(async move {
            let up::ProbeRequest { authority, path, headers, limit_bytes, timeout, .. } = request;
            let peer = peer(&request)?;
            let get = Get { authority, method: "GET", path, headers, limit_bytes, timeout };
            let answer = get.send(&self.0, &peer).await.map_err(|error| refusal(&error, timeout))?;
            Ok(up::ProbeAnswer { status: answer.status, body: answer.body.into() })
        })
    }
}

fn peer(request: &up::ProbeRequest<'_>) -> Result<HttpPeer, up::ProbeError> {
    let mut peer = HttpPeer::new(request.address, false, String::new());
    let is_verified = match request.transport {
        up::ProbeTransport::Plain => return Ok(peer),
        up::ProbeTransport::Tls => true,
        up::ProbeTransport::UnverifiedTls => false,
    };
    let spec = UpstreamTls { sni: None, ca: None, client_certificate: None, is_verified };
    let context = UpstreamContext::load(spec).map_err(|errors| up::ProbeError::Failed(errors.to_string()))?;
    context.configure(&mut peer, request.host);
    Ok(peer)
}

fn refusal(error: &ProbeError, timeout: Duration) -> up::ProbeError {
    match error {
        ProbeError::TimedOut(timeout) => up::ProbeError::TimedOut(*timeout),
        ProbeError::Failed(failed) if *failed.etype() == ErrorType::ConnectRefused => up::ProbeError::Refused,
        ProbeError::Failed(failed) if *failed.etype() == ErrorType::ConnectTimedout => {
            up::ProbeError::TimedOut(timeout)
        }
        ProbeError::Failed(_) | ProbeError::TooLarge { .. } => up::ProbeError::Failed(error.to_string()),
    }
}
