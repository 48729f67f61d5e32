//! One bounded `GET`, over the connectors that requests to upstreams take, so that what a probe finds
//! holds for them too: the same TLS, the same protocols, the same trusted authorities.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::future::BoxFuture;
use penstock_config::UpstreamTls;
use penstock_sources::up;
use pingora_core::{connectors::http::Connector, upstreams::peer::HttpPeer};
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
            let up::ProbeRequest { url, address, path, limit_bytes, timeout } = request;
            let mut peer = HttpPeer::new(address, false, String::new());
            if url.is_tls {
                let spec = UpstreamTls { sni: None, ca: None, client_certificate: None, is_verified: true };
                // Names no file, so nothing can fail.
                if let Ok(context) = UpstreamContext::load(spec) {
                    context.configure(&mut peer, &url.host);
                }
            }
            let answer = get(&self.0, &peer, &url.authority(), path, limit_bytes, timeout).await;
            let answer = answer.map_err(|error| up::ProbeError(error.to_string()))?;
            Ok(up::ProbeAnswer { status: answer.status, body: answer.body.into() })
        })
    }
}

/// Asks `peer` for `path`. `authority` is what its `Host` is to be. The connection is new, because an
/// old one can outlive a listener that takes no more, and is closed afterwards.
///
/// # Errors
/// See [`ProbeError`]. An answer with a status of failure is an answer.
pub async fn get(
    connector: &Connector,
    peer: &HttpPeer,
    authority: &str,
    path: &str,
    limit_bytes: usize,
    timeout: Duration,
) -> Result<Answer, ProbeError> {
    let asked = ask(connector, peer, authority, path, limit_bytes);
    tokio::time::timeout(timeout, asked).await.map_err(|_| ProbeError::TimedOut(timeout))?
}

async fn ask(
    connector: &Connector,
    peer: &HttpPeer,
    authority: &str,
    path: &str,
    limit_bytes: usize,
) -> Result<Answer, ProbeError> {
    let mut request = RequestHeader::build("GET", path.as_bytes(), None)?;
    request.insert_header("host", authority)?;
    request.insert_header("user-agent", concat!("penstock/", env!("CARGO_PKG_VERSION")))?;
    request.insert_header("accept", "*/*")?;
    let (mut session, _) = connector.get_http_session(peer).await?;
    session.write_request_header(Box::new(request)).await?;
    session.finish_request_body().await?;
    session.read_response_header().await?;
    let status = session.response_header().map_or(http::StatusCode::BAD_GATEWAY, |head| head.status);
    let mut body = BytesMut::new();
    while let Some(chunk) = session.read_response_body().await? {
        if body.len() + chunk.len() > limit_bytes {
            return Err(ProbeError::TooLarge { limit_bytes });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer { status, body: body.freeze() })
}
