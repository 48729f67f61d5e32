//! Whether a failed attempt is followed by another.
//!
//! Only before the first byte of a response went to the client, only while the rule's attempts and its budget
//! last, and only on another endpoint, unless a kept-alive connection turned out to be dead: that says nothing
//! about the endpoint.

use http::StatusCode;
use penstock_config::RetryPolicy;
use penstock_picker::Outcome;
use pingora_error::{Error as PingoraError, ErrorSource, ErrorType};
use pingora_proxy::Session;
use tokio::time::Instant;

use crate::attempt::AttemptEndpoint;
use crate::context::RequestContext;
use crate::error::{Error, Limit};
use crate::exchange::Expiry;
use crate::metrics::UpstreamMetrics;
use crate::session::{DEADLINE, is_final};

/// Dead kept-alive connections that one request may run into without their counting as attempts.
const MAX_STALE_CONNECTIONS: u32 = 2;

/// Backoffs stop growing here: 64 times the first is seconds.
const MAX_BACKOFF_DOUBLINGS: u32 = 6;

/// Raised for a response whose status the rule retries.
pub const RETRYABLE_STATUS: ErrorType = ErrorType::Custom("retryable status");

/// Judges an attempt that failed after it was connected; marks `error` as to be retried or not.
pub fn after_connect(
    session: &mut Session,
    ctx: &mut RequestContext,
    mut error: Box<PingoraError>,
    is_reused: bool,
) -> Box<PingoraError> {
    let is_answered = is_final(session.response_written());
    let is_stale = is_reused && !is_answered && is_connection_error(&error);
    if is_stale && ctx.stale_connections < MAX_STALE_CONNECTIONS {
        ctx.stale_connections += 1;
        ctx.attempts = ctx.attempts.saturating_sub(1);
        settle(ctx, Outcome::Cancelled);
        error.set_retry(true);
        return error;
    }
    settle(ctx, outcome_of(&error, ctx));
    if *error.etype() == RETRYABLE_STATUS {
        error.set_retry(true);
        return error;
    }
    let may_retry = !is_answered && is_retryable(&error, ctx) && claim(ctx, reason_of(&error));
    if may_retry {
        ctx.last_failure = Some(translate(&error, ctx));
    }
    error.set_retry(may_retry);
    error
}

/// Judges an attempt that could not be connected.
pub fn after_no_connection(ctx: &mut RequestContext, mut error: Box<PingoraError>) -> Box<PingoraError> {
    settle(ctx, Outcome::Failed);
    let may_retry = claim(ctx, "connect");
    if may_retry {
        ctx.last_failure = Some(translate(&error, ctx));
    }
    error.set_retry(may_retry);
    error
}

/// Waits before a further attempt: at random up to the rule's backoff, doubled with each attempt, so that the
/// requests of an endpoint that failed do not all arrive elsewhere in one instant.
pub async fn back_off(ctx: &RequestContext) {
    let Some(policy) = policy(ctx) else { return };
    let doublings = ctx.attempts.saturating_sub(1).min(MAX_BACKOFF_DOUBLINGS);
    let longest = policy.backoff.saturating_mul(1 << doublings);
    let share = (crate::random::next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
    tokio::time::sleep(longest.mul_f64(share)).await;
}

/// What to answer when no endpoint is left for a further attempt: what the last one ran into tells more.
pub fn exhausted(ctx: &mut RequestContext, error: Box<PingoraError>) -> Box<PingoraError> {
    match (ctx.exchange.take_refusal(), ctx.last_failure.take()) {
        (Some(Error::NoEndpoints), Some(failure)) => ctx.exchange.refuse(failure),
        (Some(refusal), _) => ctx.exchange.refuse(refusal),
        (None, _) => error,
    }
}

/// Whether a response with this status is to be dropped for another attempt, which is then taken from the rule's.
///
/// Decided here and not when the attempt has ended: a response for which there is no other attempt has to be passed on.
pub fn claim_after_status(status: StatusCode, ctx: &mut RequestContext) -> bool {
    if !policy(ctx).is_some_and(|policy| policy.statuses.contains(status)) {
        return false;
    }
    let reason = match status {
        StatusCode::TOO_MANY_REQUESTS => "status_429",
        status if status.is_server_error() => "status_5xx",
        _ => "status",
    };
    claim(ctx, reason)
}

/// What an endpoint is told about a response with this status.
pub fn outcome_of_status(status: StatusCode) -> Outcome {
    match status.as_u16() {
        429 | 503 => Outcome::Overloaded,
        500 | 502 | 504 => Outcome::Failed,
        _ => Outcome::Served,
    }
}

fn outcome_of(error: &PingoraError, ctx: &RequestContext) -> Outcome {
    match (error.etype(), error.esource()) {
        (etype, _) if *etype == RETRYABLE_STATUS => {
            ctx.dropped_status.map_or(Outcome::Failed, outcome_of_status)
        }
        (etype, _) if *etype == DEADLINE => match ctx.exchange.expired() {
            Some(Expiry::Request) | None => Outcome::Cancelled,
            Some(Expiry::Attempt | Expiry::StreamIdle) => Outcome::Failed,
        },
        (_, ErrorSource::Upstream) => Outcome::Failed,
        _ => Outcome::Cancelled,
    }
}

fn is_retryable(error: &PingoraError, ctx: &RequestContext) -> bool {
    match error.etype() {
        etype if *etype == DEADLINE => ctx.exchange.expired() == Some(Expiry::Attempt),
        _ => *error.esource() == ErrorSource::Upstream,
    }
}

fn reason_of(error: &PingoraError) -> &'static str {
    match error.etype() {
        etype if *etype == DEADLINE => "per_try_timeout",
        _ => "reset",
    }
}

fn is_connection_error(error: &PingoraError) -> bool {
    *error.esource() == ErrorSource::Upstream
        && matches!(
            error.etype(),
            ErrorType::ConnectionClosed
                | ErrorType::WriteError
                | ErrorType::ReadError
                | ErrorType::H2Error
                | ErrorType::H2Downgrade
        )
}

/// Takes one retry from the rule's attempts and its budget, and keeps the endpoint that failed out of it.
fn claim(ctx: &mut RequestContext, reason: &'static str) -> bool {
    let runtime = ctx.runtime().clone();
    let (Some(policy), Some(plan)) = (policy(ctx), &ctx.plan) else { return false };
    let (attempts, rule) = (policy.attempts, plan.rule);
    let is_over = ctx.attempts >= attempts || ctx.exchange.is_out_of_time(Instant::now());
    if is_over || !has_other_endpoint(ctx) {
        return false;
    }
    if !runtime.retry_budget(rule).withdraw() {
        runtime.metrics().gateway.limit_hit(Limit::RetryBudget);
        return false;
    }
    if let (Some(plan), Some(attempt)) = (&mut ctx.plan, &ctx.attempt) {
        attempt.exclude_from(plan);
    }
    if let Some(metrics) = attempt_metrics(ctx) {
        metrics.retried(reason);
    }
    true
}

fn attempt_metrics(ctx: &RequestContext) -> Option<&UpstreamMetrics> {
    let plan = ctx.plan.as_ref()?;
    let rule = &ctx.runtime().snapshot().rules()[plan.rule];
    let target = ctx.attempt.as_ref()?.target_of(rule)?;
    Some(ctx.runtime().upstream_metrics(target.upstream))
}

fn settle(ctx: &mut RequestContext, outcome: Outcome) {
    ctx.exchange.end_attempt();
    if let Some(attempt) = &mut ctx.attempt {
        attempt.settle(outcome);
    }
}

fn policy(ctx: &RequestContext) -> Option<&RetryPolicy> {
    let rule = ctx.plan.as_ref()?.rule;
    Some(&ctx.runtime().snapshot().rules()[rule].retry)
}

/// Whether any endpoint is left that has not failed this request.
fn has_other_endpoint(ctx: &RequestContext) -> bool {
    let (Some(plan), Some(attempt)) = (&ctx.plan, &ctx.attempt) else { return false };
    let rule = &ctx.runtime().snapshot().rules()[plan.rule];
    let penstock_config::Action::Forward(tiers) = &rule.action else { return false };
    if plan.has_other(tiers, attempt.target) {
        return true;
    }
    match (&attempt.endpoint, attempt.target_of(rule).map(|target| target.upstream)) {
        (AttemptEndpoint::Pool { .. }, Some(penstock_config::Upstream::Pool(index))) => {
            ctx.runtime().pool(index).endpoint_count() > plan.failed_endpoints.len() + 1
        }
        (AttemptEndpoint::Backend { .. }, Some(penstock_config::Upstream::Backend(index))) => {
            ctx.runtime().balancer(index).endpoint_count() > plan.failed_addresses.len() + 1
        }
        _ => false,
    }
}

/// The gateway's own word for an error that Pingora raised.
pub fn translate(error: &PingoraError, ctx: &RequestContext) -> Error {
    if let Some(own) = ctx.exchange.take_refusal() {
        return own;
    }
    let is_answered = ctx.relay.status.is_some();
    match (error.etype(), error.esource()) {
        (etype, _) if *etype == DEADLINE => match ctx.exchange.expired() {
            Some(Expiry::StreamIdle) => Error::StreamIdle,
            Some(Expiry::Attempt) => Error::UpstreamTimeout,
            Some(Expiry::Request) | None => Error::RequestTimeout,
        },
        (_, ErrorSource::Upstream) if is_answered => Error::StreamBroken(None),
        (ErrorType::ConnectTimedout | ErrorType::TLSHandshakeTimedout, _) => Error::UpstreamConnectTimeout,
        (
            ErrorType::TLSHandshakeFailure | ErrorType::InvalidCert | ErrorType::TLSWantX509Lookup,
            ErrorSource::Upstream,
        ) => Error::UpstreamTls(None),
        (
            ErrorType::ConnectRefused
            | ErrorType::ConnectError
            | ErrorType::ConnectNoRoute
            | ErrorType::SocketError
            | ErrorType::BindError,
            _,
        ) => Error::UpstreamConnect(None),
        (ErrorType::InvalidHTTPHeader | ErrorType::InvalidH2, ErrorSource::Upstream) => {
            Error::InvalidResponse(None)
        }
        (_, ErrorSource::Upstream) => Error::UpstreamReset(None),
        (ErrorType::WriteTimedout, ErrorSource::Downstream) => Error::WriteTimeout,
        (ErrorType::ReadTimedout, ErrorSource::Downstream) => Error::BodyTimeout,
        (
            ErrorType::ConnectionClosed | ErrorType::H2Error | ErrorType::ReadError,
            ErrorSource::Downstream,
        )
        | (ErrorType::WriteError, ErrorSource::Downstream) => Error::ClientGone,
        (_, ErrorSource::Downstream) => Error::BrokenBody(None),
        (_, ErrorSource::Internal | ErrorSource::Unset) => Error::Internal(None),
    }
}
