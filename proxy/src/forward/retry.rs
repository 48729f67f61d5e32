//! Whether a failed attempt is followed by another.
//!
//! Only before the first byte of a response went to the client, only while the rule's attempts and its budget
//! last, and only on another endpoint, unless a kept-alive connection turned out to be dead: that says nothing
//! about the endpoint.

use http::StatusCode;
use penstock_config::RetryPolicy;
use penstock_picker::Outcome;
use tokio::time::Instant;

use crate::attempt::{Attempt, AttemptEndpoint};
use crate::client::Client;
use crate::context::RequestContext;
use crate::error::{Error, Limit, Origin};
use crate::metrics::UpstreamMetrics;
use crate::pick::{self, Patience};

/// Dead kept-alive connections that one request may run into without their counting as attempts.
const MAX_STALE_CONNECTIONS: u32 = 2;

/// Backoffs stop growing here: 64 times the first is seconds.
const MAX_BACKOFF_DOUBLINGS: u32 = 6;

/// How an attempt failed.
pub struct Failure {
    /// Why.
    pub error: Error,
    /// Whether a kept-alive connection was dead before the request can have been seen on it.
    pub is_stale: bool,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { error, is_stale: false }
    }
}

/// Judges an attempt that failed: another one is to follow.
///
/// # Errors
/// No other attempt may follow; why this one failed.
pub fn after(client: &Client, ctx: &mut RequestContext, failure: Failure) -> Result<(), Error> {
    let Failure { error, is_stale } = failure;
    let is_answered = client.is_answered();
    if is_stale
        && !is_answered
        && matches!(error, Error::UpstreamReset(_))
        && ctx.stale_connections < MAX_STALE_CONNECTIONS
    {
        ctx.stale_connections += 1;
        ctx.attempts = ctx.attempts.saturating_sub(1);
        settle(ctx, Outcome::Cancelled);
        return Ok(());
    }
    settle(ctx, outcome_of(&error));
    if is_answered || !error.row().is_retryable || !may_follow(ctx) {
        return Err(error);
    }
    if let (Some(plan), Some(attempt)) = (&mut ctx.plan, &ctx.attempt) {
        attempt.exclude_from(plan);
    }
    if let Some(metrics) = attempt_metrics(ctx) {
        metrics.retried(reason_of(&error));
    }
    ctx.last_failure = Some(error);
    Ok(())
}

/// Waits before a further attempt: at random up to the rule's backoff, doubled with each attempt, so that the
/// requests of an endpoint that failed do not all arrive elsewhere in one instant. A first attempt that could not
/// connect took nothing and nobody's time, and is followed at once.
///
/// # Errors
/// The client left, or the request's time is up.
pub async fn back_off(client: &mut Client, ctx: &RequestContext) -> Result<(), Error> {
    let Some(policy) = policy(ctx) else { return Ok(()) };
    let is_first_connect = ctx.attempts <= 1 && matches!(ctx.last_failure, Some(Error::UpstreamConnect(_)));
    if is_first_connect || policy.backoff.is_zero() {
        return Ok(());
    }
    let doublings = ctx.attempts.saturating_sub(1).min(MAX_BACKOFF_DOUBLINGS);
    let longest = policy.backoff.saturating_mul(1 << doublings);
    let share = (crate::random::next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
    tokio::select! {
        () = tokio::time::sleep(longest.mul_f64(share)) => Ok(()),
        gone = client.gone() => Err(gone),
        error = ctx.deadlines.out_of_time() => Err(error),
    }
}

/// What to answer when no endpoint is left for a further attempt: what the last one ran into tells more.
pub fn exhausted(ctx: &mut RequestContext, error: Error) -> Error {
    match (error, ctx.last_failure.take()) {
        (Error::NoEndpoints, Some(failure)) => failure,
        (error, _) => error,
    }
}

/// Drops a response whose status the rule retries, if there is another endpoint to ask in its place; that one is
/// chosen before the response is given up, which is passed on where there is none.
///
/// Returns whether the response is dropped.
///
/// # Errors
/// The client left meanwhile.
pub async fn replace_status(
    status: StatusCode,
    client: &mut Client,
    ctx: &mut RequestContext,
) -> Result<bool, Error> {
    if !policy(ctx).is_some_and(|policy| policy.statuses.contains(status)) || !may_follow(ctx) {
        return Ok(false);
    }
    let Some(mut dropped) = ctx.attempt.take() else { return Ok(false) };
    if let Some(plan) = &mut ctx.plan {
        dropped.exclude_from(plan);
    }
    let chosen = pick::choose(client, ctx, Patience::None).await;
    if let Err(error) = chosen {
        ctx.attempt = Some(dropped);
        return if error.row().origin == Origin::Client { Err(error) } else { Ok(false) };
    }
    let reason = match status {
        StatusCode::TOO_MANY_REQUESTS => "status_429",
        status if status.is_server_error() => "status_5xx",
        _ => "status",
    };
    if let Some(metrics) = metrics_of(ctx, &dropped) {
        metrics.retried(reason);
    }
    dropped.settle(outcome_of_status(status));
    ctx.deadlines.end_attempt();
    // Nothing that went before is to be the answer if the next attempt finds no endpoint.
    ctx.last_failure = None;
    Ok(true)
}

/// What an endpoint is told about a response with this status.
pub fn outcome_of_status(status: StatusCode) -> Outcome {
    match status.as_u16() {
        429 | 503 => Outcome::Overloaded,
        500 | 502 | 504 => Outcome::Failed,
        _ => Outcome::Served,
    }
}

/// What the endpoint of an attempt that failed is told.
pub fn outcome_of(error: &Error) -> Outcome {
    if error.row().origin == Origin::Upstream { Outcome::Failed } else { Outcome::Cancelled }
}

fn reason_of(error: &Error) -> &'static str {
    match error {
        Error::UpstreamConnect(_) | Error::UpstreamConnectTimeout | Error::UpstreamTls(_) => "connect",
        Error::UpstreamTimeout => "per_try_timeout",
        _ => "reset",
    }
}

/// Whether the rule's attempts and its budget, from which one is taken, leave room for another attempt, and there is
/// an endpoint for it.
fn may_follow(ctx: &RequestContext) -> bool {
    let (Some(policy), Some(plan)) = (policy(ctx), &ctx.plan) else { return false };
    if ctx.deadlines.is_out_of_time(Instant::now()) || !has_other_endpoint(ctx) {
        return false;
    }
    if ctx.attempts >= policy.attempts {
        // A rule that asks for one attempt asks for no retries.
        if policy.attempts > 1 {
            ctx.runtime().metrics().gateway.limit_hit(Limit::RetryAttempts);
        }
        return false;
    }
    let is_affordable = ctx.runtime().retry_budget(plan.rule).withdraw();
    if !is_affordable {
        ctx.runtime().metrics().gateway.limit_hit(Limit::RetryBudget);
    }
    is_affordable
}

fn attempt_metrics(ctx: &RequestContext) -> Option<&UpstreamMetrics> {
    metrics_of(ctx, ctx.attempt.as_ref()?)
}

fn metrics_of<'a>(ctx: &'a RequestContext, attempt: &Attempt) -> Option<&'a UpstreamMetrics> {
    let rule = &ctx.runtime().snapshot().rules()[ctx.plan.as_ref()?.rule];
    Some(ctx.runtime().upstream_metrics(attempt.target_of(rule)?.upstream()?))
}

fn settle(ctx: &mut RequestContext, outcome: Outcome) {
    ctx.deadlines.end_attempt();
    if let Some(attempt) = &mut ctx.attempt {
        attempt.settle(outcome);
    }
}

fn policy(ctx: &RequestContext) -> Option<&RetryPolicy> {
    let rule = ctx.plan.as_ref()?.rule;
    Some(&ctx.runtime().snapshot().rules()[rule].retry)
}

/// Whether any endpoint is left that has not failed this request. Those that failed are not just counted: one that took
/// long to fail may have left its pool meanwhile.
pub fn has_other_endpoint(ctx: &RequestContext) -> bool {
    let (Some(plan), Some(attempt)) = (&ctx.plan, &ctx.attempt) else { return false };
    let rule = &ctx.runtime().snapshot().rules()[plan.rule];
    let penstock_config::Action::Forward(tiers) = &rule.action else { return false };
    if plan.has_other(tiers, attempt.target) {
        return true;
    }
    match (&attempt.endpoint, attempt.target_of(rule).and_then(penstock_config::Target::upstream)) {
        (AttemptEndpoint::Pool { endpoint, .. }, Some(penstock_config::Upstream::Pool(index))) => {
            let has_failed = |id| id == endpoint.id() || plan.failed_endpoints.contains(&id);
            ctx.runtime().pool(index).has_other(has_failed)
        }
        (AttemptEndpoint::Backend { address, .. }, Some(penstock_config::Upstream::Backend(index))) => {
            let has_failed = |other| other == *address || plan.failed_addresses.contains(&other);
            ctx.runtime().balancer(index).has_other(has_failed)
        }
        _ => false,
    }
}
