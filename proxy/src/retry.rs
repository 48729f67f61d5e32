//! Whether a failed attempt is followed by another.
//!
//! Only before the first byte of a response went to the client, and only while the rule's attempts and its budget last.
//! The next one goes to another endpoint, with two exceptions: a kept-alive connection that turned out to be dead says
//! nothing about its endpoint, and one that is alone and answered with a status that the rule retries may be asked again
//! after a pause, unless it said that it is busy.

use http::StatusCode;
use penstock_config::RetryPolicy;
use penstock_picker::Outcome;
use tokio::time::Instant;

use crate::cause;
use crate::client::Client;
use crate::context::{Arrived, Attempt, Failed, Routed};
use crate::error::{Error, Limit, Origin};
use crate::pick::{self, Patience};
use crate::upstreams::EndpointKey;

/// Dead kept-alive connections that one request may run into without their counting as attempts.
const MAX_STALE_CONNECTIONS: u32 = 2;

/// Backoffs stop growing here: 64 times the first is seconds.
const MAX_BACKOFF_DOUBLINGS: u32 = 6;

/// What takes the place of a response whose status is retried.
pub(crate) struct Replacement {
    /// The attempt.
    pub(crate) attempt: Box<Attempt>,
    /// Whether it has to wait a little, since it goes to the same endpoint.
    pub(crate) back_off: bool,
}

/// How an attempt failed.
pub(crate) struct Failure {
    /// Why.
    pub(crate) error: Error,
    /// Whether a kept-alive connection was dead before the request can have been seen on it.
    pub(crate) is_stale: bool,
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
pub(crate) fn after(
    client: &Client<'_>,
    arrived: &mut Arrived,
    routed: &mut Routed,
    attempt: &mut Attempt,
    failure: Failure,
) -> Result<(), Error> {
    let Failure { error, is_stale } = failure;
    let is_answered = client.is_answered();
    if is_stale
        && !is_answered
        && matches!(error, Error::UpstreamReset(_))
        && routed.stale_connections < MAX_STALE_CONNECTIONS
    {
        routed.stale_connections += 1;
        routed.attempts = routed.attempts.saturating_sub(1);
        arrived.deadlines.end_attempt();
        attempt.settle(Outcome::Cancelled);
        return Ok(());
    }
    arrived.deadlines.end_attempt();
    cause::note(arrived.runtime().upstream(attempt.upstream), &attempt.endpoint, &error);
    attempt.settle(outcome_of(&error));
    if is_answered
        || !error.row().is_retryable
        || !has_other_endpoint(arrived, routed, attempt)
        || !may_follow(arrived, routed)
    {
        return Err(error);
    }
    routed.candidates.exclude(failed(attempt, error.is_silence()));
    let runtime = arrived.runtime();
    runtime.upstream(attempt.upstream).metrics.retried(reason_of(&error));
    // One that ends the request is counted with it.
    if let Some(limit) = error.row().limit {
        runtime.metrics().gateway.limit_hit(limit);
    }
    routed.last_failure = Some(error);
    Ok(())
}

/// Waits before a further attempt: at random up to the rule's backoff, doubled with each attempt, so that the requests of
/// an endpoint that failed do not all arrive elsewhere in one instant. A first attempt that could not connect took nothing
/// and nobody's time, and is followed at once.
///
/// # Errors
/// The client left, or the request's time is up.
pub(crate) async fn back_off(
    client: &mut Client<'_>,
    arrived: &Arrived,
    routed: &Routed,
) -> Result<(), Error> {
    let policy = policy(arrived, routed);
    let is_first_connect =
        routed.attempts <= 1 && matches!(routed.last_failure, Some(Error::UpstreamConnect(_)));
    if is_first_connect || policy.backoff.is_zero() {
        return Ok(());
    }
    let doublings = routed.attempts.saturating_sub(1).min(MAX_BACKOFF_DOUBLINGS);
    let longest = policy.backoff.saturating_mul(1 << doublings);
    let share = (crate::random::next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
    tokio::select! {
        () = tokio::time::sleep(longest.mul_f64(share)) => Ok(()),
        gone = client.gone() => Err(gone),
        error = arrived.deadlines.out_of_time() => Err(error),
    }
}

/// What to answer when no endpoint is left for a further attempt: what the last one ran into tells more.
pub(crate) fn exhausted(routed: &mut Routed, error: Error) -> Error {
    match (error, routed.last_failure.take()) {
        (Error::NoEndpoints, Some(failure)) => failure,
        (error, _) => error,
    }
}

/// Gives up a response whose status the rule retries, if another attempt can follow; that one is chosen before, since a
/// response that nothing can take the place of is passed on.
///
/// # Errors
/// The client left meanwhile.
pub(crate) async fn replace_status(
    status: StatusCode,
    client: &mut Client<'_>,
    arrived: &mut Arrived,
    routed: &mut Routed,
    attempt: &mut Attempt,
) -> Result<Option<Replacement>, Error> {
    if !policy(arrived, routed).statuses.contains(status) {
        return Ok(None);
    }
    let has_other = has_other_endpoint(arrived, routed, attempt);
    // Who says that it is busy is not asked again at once, but by its client when that thinks fit.
    if (!has_other && status == StatusCode::TOO_MANY_REQUESTS) || !may_follow(arrived, routed) {
        return Ok(None);
    }
    if has_other {
        routed.candidates.exclude(failed(attempt, false));
    }
    let next = match pick::choose(client, arrived, routed, Patience::None).await {
        Ok(next) => Box::new(next),
        Err(error) if error.row().origin == Origin::Client => return Err(error),
        Err(_) => return Ok(None),
    };
    let reason = match status {
        StatusCode::TOO_MANY_REQUESTS => "status_429",
        status if status.is_server_error() => "status_5xx",
        _ => "status",
    };
    arrived.runtime().upstream(attempt.upstream).metrics.retried(reason);
    attempt.settle(outcome_of_status(status));
    arrived.deadlines.end_attempt();
    // Nothing that went before is to be the answer if the next attempt finds no endpoint.
    routed.last_failure = None;
    Ok(Some(Replacement { attempt: next, back_off: !has_other }))
}

/// What an endpoint is told about a response with this status.
pub(crate) fn outcome_of_status(status: StatusCode) -> Outcome {
    match status.as_u16() {
        429 | 503 | 529 => Outcome::Overloaded,
        500 | 502 | 504 => Outcome::Failed,
        _ => Outcome::Served,
    }
}

/// What the endpoint of an attempt that failed is told.
fn outcome_of(error: &Error) -> Outcome {
    if error.row().origin == Origin::Upstream { Outcome::Failed } else { Outcome::Cancelled }
}

fn failed(attempt: &Attempt, is_silent: bool) -> Failed {
    Failed { target: attempt.target, upstream: attempt.upstream, endpoint: attempt.endpoint.key(), is_silent }
}

fn reason_of(error: &Error) -> &'static str {
    match error {
        Error::UpstreamConnect(_) | Error::UpstreamConnectTimeout | Error::UpstreamTls(_) => "connect",
        Error::UpstreamTimeout => "per_try_timeout",
        _ => "reset",
    }
}

/// Whether the rule's attempts and its budget, from which one is taken, leave room for another attempt.
fn may_follow(arrived: &Arrived, routed: &Routed) -> bool {
    let (runtime, policy) = (arrived.runtime(), policy(arrived, routed));
    if arrived.deadlines.is_out_of_time(Instant::now()) {
        return false;
    }
    if routed.attempts >= policy.attempts {
        // A rule that asks for one attempt asks for no retries.
        if policy.attempts > 1 {
            runtime.metrics().gateway.limit_hit(Limit::RetryAttempts);
        }
        return false;
    }
    let is_affordable = runtime.rule(routed.rule).retry_budget.withdraw();
    if !is_affordable {
        runtime.metrics().gateway.limit_hit(Limit::RetryBudget);
    }
    is_affordable
}

fn policy<'a>(arrived: &'a Arrived, routed: &Routed) -> &'a RetryPolicy {
    &arrived.runtime().snapshot().rules()[routed.rule].retry
}

/// Whether any target or endpoint is left that has not failed this request.
pub(crate) fn has_other_endpoint(arrived: &Arrived, routed: &Routed, attempt: &Attempt) -> bool {
    let runtime = arrived.runtime();
    let rule = &runtime.snapshot().rules()[routed.rule];
    if routed.candidates.has_other(rule, attempt.target) {
        return true;
    }
    let mut excluded = routed.candidates.excluded(attempt.target, attempt.upstream);
    let key: EndpointKey = attempt.endpoint.key();
    excluded.add(key);
    runtime.upstream(attempt.upstream).has_other(&excluded)
}
