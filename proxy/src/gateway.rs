//! The gateway as Pingora sees it: each callback hands over to the phase that does the work.
//!
//! | callback | phase |
//! |---|---|
//! | `early_request_filter` | [`listen`](crate::listen): the head is checked, the request is counted |
//! | `request_filter` | [`route`], which [`peek`](crate::peek)s at the body; the first [`pick`] |
//! | `upstream_peer` | [`pick`] for a further attempt; [`forward::start`] |
//! | `upstream_request_filter` | [`forward::rewrite`] |
//! | `upstream_response_filter` | [`relay::judge`]: keep the response or try another endpoint |
//! | `response_filter`, `response_body_filter` | [`relay`] |
//! | `fail_to_connect`, `error_while_proxy` | [`forward::retry`] |
//! | `fail_to_proxy` | [`respond`], in the words of [`error`](crate::error) |
//! | `logging` | [`settle`] |

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use pingora_core::modules::http::HttpModules;
use pingora_core::protocols::Digest;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_error::{Error as PingoraError, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};
use tokio::time::Instant;

use crate::access_log::AccessLog;
use crate::context::{EXCHANGE, RequestContext};
use crate::error::{Dialect, Error};
use crate::forward::retry;
use crate::inflight::InFlight;
use crate::listen::head;
use crate::session::{ReplaySession, is_final};
use crate::{forward, pick, relay, respond, route, settle};

/// What all requests share beyond the snapshot.
pub struct Gateway {
    /// Counts the requests that are being served.
    pub in_flight: Arc<InFlight>,
    /// Where each request is reported.
    pub access_log: AccessLog,
}

#[async_trait]
impl ProxyHttp for Gateway {
    type CTX = RequestContext;

    fn new_ctx(&self) -> RequestContext {
        RequestContext::new(EXCHANGE.with(Arc::clone))
    }

    /// None of Pingora's modules (compression, gRPC-web) has a place on this path.
    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    async fn early_request_filter(&self, session: &mut Session, ctx: &mut RequestContext) -> Result<()> {
        let head = head::check(&mut session.downstream_session, ctx);
        let limit = ctx.runtime().limits().concurrent_requests as usize;
        ctx.admitted = self.in_flight.admit(limit);
        head.map_err(|error| ctx.exchange.refuse(error))?;
        if ctx.admitted.is_none() {
            return Err(ctx.exchange.refuse(Error::TooManyConcurrentRequests { limit }));
        }
        Ok(())
    }

    async fn request_filter(&self, session: &mut Session, ctx: &mut RequestContext) -> Result<bool> {
        if route::decide(session, ctx).await? {
            return Ok(true);
        }
        if let Some(plan) = &ctx.plan {
            let rule = plan.rule;
            let runtime = ctx.runtime().clone();
            runtime.retry_budget(rule).deposit();
            let timeout = runtime.snapshot().rules()[rule].timeouts.request;
            ctx.exchange.set_request_deadline(timeout.map(|timeout| ctx.started + timeout));
        }
        // The first pick is made here, because an answer from here leaves the client's connection open.
        pick::choose(session, ctx).await?;
        Ok(false)
    }

    async fn upstream_peer(&self, session: &mut Session, ctx: &mut RequestContext) -> Result<Box<HttpPeer>> {
        if ctx.is_forwarding {
            if ctx.attempt.as_ref().is_none_or(|attempt| attempt.is_settled()) {
                if ctx.last_failure.is_some() {
                    retry::back_off(ctx).await;
                }
                if let Err(error) = pick::choose(session, ctx).await {
                    return Err(retry::exhausted(ctx, error));
                }
            }
        } else {
            ctx.is_forwarding = true;
        }
        forward::start(ctx)
    }

    async fn connected_to_upstream(
        &self,
        _session: &mut Session,
        is_reused: bool,
        _peer: &HttpPeer,
        _fd: std::os::fd::RawFd,
        _digest: Option<&Digest>,
        ctx: &mut RequestContext,
    ) -> Result<()> {
        ctx.is_reused_connection = is_reused;
        Ok(())
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        ctx: &mut RequestContext,
    ) -> Result<()> {
        forward::rewrite(session, request, ctx)
    }

    async fn upstream_response_filter(
        &self,
        _session: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut RequestContext,
    ) -> Result<()> {
        relay::judge(ctx, response)
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut RequestContext,
    ) -> Result<()> {
        relay::header(session, ctx, response)
    }

    fn response_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        is_end: bool,
        ctx: &mut RequestContext,
    ) -> Result<Option<Duration>> {
        relay::body(ctx, body.as_ref(), is_end);
        Ok(None)
    }

    fn fail_to_connect(
        &self,
        _session: &mut Session,
        _peer: &HttpPeer,
        ctx: &mut RequestContext,
        error: Box<PingoraError>,
    ) -> Box<PingoraError> {
        retry::after_no_connection(ctx, error)
    }

    fn error_while_proxy(
        &self,
        _peer: &HttpPeer,
        session: &mut Session,
        error: Box<PingoraError>,
        ctx: &mut RequestContext,
        is_reused: bool,
    ) -> Box<PingoraError> {
        retry::after_connect(session, ctx, error, is_reused)
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &PingoraError,
        ctx: &mut RequestContext,
    ) -> FailToProxy {
        let refusal = retry::translate(error, ctx);
        if refusal.row().status >= 500 {
            tracing::debug!(request_id = ctx.request_id.as_str(), %error, "request failed");
        }
        let exchange = ctx.exchange.clone();
        ReplaySession::unwrap(&mut session.downstream_session, &exchange).await;
        // A client that is slow to take its answer must not keep others' bodies out of memory meanwhile.
        exchange.discard();
        let can_reuse_downstream = if is_final(session.response_written()) {
            end_broken_response(session, ctx, &refusal).await;
            false
        } else if refusal.row().status == 499 {
            false
        } else {
            let may_reuse = !ctx.is_forwarding;
            respond::refuse(session, ctx, &refusal, may_reuse).await
        };
        let error_code = refusal.row().status;
        ctx.refusal = Some(refusal);
        FailToProxy { error_code, can_reuse_downstream }
    }

    async fn logging(&self, session: &mut Session, _error: Option<&PingoraError>, ctx: &mut RequestContext) {
        let exchange = ctx.exchange.clone();
        ReplaySession::unwrap(&mut session.downstream_session, &exchange).await;
        settle::settle(session, ctx, &self.access_log);
    }

    /// The access log and the metrics say it, once, and without a line for each failed request.
    fn suppress_error_log(&self, _session: &Session, _ctx: &RequestContext, _error: &PingoraError) -> bool {
        true
    }

    fn suppress_proxy_warn_log(
        &self,
        _session: &Session,
        _ctx: &RequestContext,
        _error: &PingoraError,
        _context: ProxyWarnLogContext,
    ) -> bool {
        true
    }
}

/// A stream that broke after its first byte ends with an event that says so; anything else is cut off in a way
/// that the client can tell from a complete answer.
async fn end_broken_response(session: &mut Session, ctx: &mut RequestContext, refusal: &Error) {
    session.set_keepalive(None);
    let position = match &ctx.relay.tap {
        Some(tap) if tap.is_event_stream() && refusal.row().status != 499 => Some(tap.position()),
        _ => None,
    };
    if let Some(position) = position {
        let event = refusal.stream_event(Dialect::of_path(ctx.target.path()), position);
        ctx.relay.bytes += event.len() as u64;
        ctx.relay.last_chunk = Some(Instant::now());
        if session.downstream_session.write_response_body(event, true).await.is_ok() {
            return;
        }
    }
    session.downstream_session.shutdown().await;
}
