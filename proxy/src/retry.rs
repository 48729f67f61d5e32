//! Whether a failed attempt is followed by another.
//!
//! Only before the first byte of a response went to the client, and only while the rule's attempts last. The next one goes
//! to another endpoint, with two exceptions: a kept-alive connection that turned out to be dead says nothing about its
//! endpoint, and one that is alone and answered with a status that the rule retries may be asked again after a pause,
//! unless it said that it is busy.
//!
//! The rule's budget is for attempts at what has failed already: retries are not to keep a pool down that has trouble. One
//! that leaves for a pool or backend which has not failed the request takes nothing from it, or an outage would be passed on
//! to clients as soon as more of them fail than a budget allows for.

mod delay;
mod refused;

use http::StatusCode;
use penstock_config::RetryPolicy;
use penstock_picker::Outcome;
use tokio::time::Instant;

use crate::cause;
use crate::client::Client;
use crate::context::{Arrived, Attempt, Failed, Routed, Unsuited};
use crate::error::{Error, Limit, Origin};
use crate::pick::{self, Patience};
use crate::quota;
use crate::runtime::Runtime;
use crate::upstreams::EndpointKey;

pub(crate) use self::refused::{leave_alone, reads_body, replace};

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

/// What follows an attempt that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Onward {
    /// The same again, on another connection: nothing was tried.
    Again,
    /// An attempt after one that failed for this reason.
    Retry(&'static str),
    /// A target that may be able to do what the last one cannot: nothing was sent there.
    Elsewhere,
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
) -> Result<Onward, Error> {
    let Failure { error, is_stale } = failure;
    let is_answered = client.is_answered();
    if is_stale
        && !is_answered
        && matches!(error, Error::UpstreamReset(_))
        && routed.stale_connections < MAX_STALE_CONNECTIONS
    {
        routed.stale_connections += 1;
        routed.attempts = routed.attempts.saturating_sub(1);
        routed.candidates.take_back_attempt();
        arrived.deadlines.end_attempt();
        // It went nowhere, and is no request to anybody.
        if std::mem::take(&mut attempt.is_sent) {
            routed.sent -= 1;
        }
        quota::settle::attempt_failed(arrived, attempt);
        attempt.settle(Outcome::Cancelled);
        return Ok(Onward::Again);
    }
    arrived.deadlines.end_attempt();
    if error.row().is_of_target {
        routed.trail.add(attempt.target, attempt.upstream, error.row().reason);
        quota::settle::attempt_failed(arrived, attempt);
        attempt.settle(Outcome::Cancelled);
        routed.candidates.exhaust(attempt.target);
        routed.unsuited.get_or_insert_with(|| Box::new(Unsuited { why: error, targets: 0 })).targets += 1;
        return Ok(Onward::Elsewhere);
    }
    cause::note(arrived.runtime().upstream(attempt.upstream), &attempt.endpoint, &error);
    refused::leave_alone_after(&error, client, arrived, attempt);
    attempt.settle(outcome_of(&error));
    if is_answered
        || !error.row().is_retryable
        || !(policy(arrived, routed).unanswered || has_sent_nothing(&error))
        || !has_other_endpoint(arrived, routed, attempt)
        || !may_follow(arrived, routed)
    {
        return Err(error);
    }
    quota::settle::attempt_failed(arrived, attempt);
    let reason = reason_of(&error);
    routed.trail.add(attempt.target, attempt.upstream, reason);
    routed.candidates.exclude(failed(attempt, error.is_silence()));
    // One that ends the request is counted with it.
    if let Some(limit) = error.row().limit {
        arrived.runtime().metrics().gateway.limit_hit(limit);
    }
    routed.last_failure = Some(error);
    Ok(Onward::Retry(reason))
}

/// Chooses the attempt that follows a failed one.
///
/// # Errors
/// None can follow: what the client is told.
pub(crate) async fn follow(
    client: &mut Client<'_>,
    arrived: &Arrived,
    routed: &mut Routed,
    attempt: &Attempt,
    onward: Onward,
) -> Result<Attempt, Error> {
    let chosen = match onward {
        Onward::Again | Onward::Elsewhere => pick::choose(client, arrived, routed, Patience::Queue).await,
        Onward::Retry(_) => next(client, arrived, routed, attempt, Patience::Queue).await,
    };
    let runtime = arrived.runtime();
    let chosen = chosen.map_err(|error| exhausted(runtime, routed, error))?;
    if let Onward::Retry(reason) = onward {
        runtime.upstream(attempt.upstream).metrics.retried(reason);
    }
    Ok(chosen)
}

/// Chooses an attempt after one that failed, as far as the budget goes for those at what has failed already.
///
/// # Errors
/// As [`pick::choose`].
async fn next(
    client: &mut Client<'_>,
    arrived: &Arrived,
    routed: &mut Routed,
    attempt: &Attempt,
    patience: Patience,
) -> Result<Attempt, Error> {
    let runtime = arrived.runtime();
    let rule = &runtime.snapshot().rules()[routed.rule];
    let most = rule.retry.attempts_per_priority;
    if most > 0 && routed.candidates.attempts_at(attempt.target.0) >= most {
        routed.candidates.leave_tier(rule, attempt.target.0);
    }
    loop {
        let mut next = pick::choose(client, arrived, routed, patience).await?;
        let has_failed = next.upstream == attempt.upstream || routed.candidates.has_failed(next.upstream);
        if !has_failed || runtime.rule(routed.rule).retry_budget.withdraw() {
            return Ok(next);
        }
        runtime.metrics().gateway.limit_hit(Limit::RetryBudget);
        routed.candidates.exhaust(next.target);
        quota::settle::attempt_failed(arrived, &mut next);
    }
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
    let longest = policy.backoff.saturating_mul(1 << doublings).min(policy.max_backoff);
    let share = (crate::random::next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
    tokio::select! {
        () = tokio::time::sleep(longest.mul_f64(share)) => Ok(()),
        gone = client.gone() => Err(gone),
        error = arrived.deadlines.out_of_time() => Err(error),
    }
}

/// What to answer when no endpoint is left for a further attempt: what the last one ran into tells more, and if no target
/// can do what is asked, why the first of them cannot.
fn exhausted(runtime: &Runtime, routed: &mut Routed, error: Error) -> Error {
    if !matches!(error, Error::NoEndpoints) {
        return error;
    }
    let rule = &runtime.snapshot().rules()[routed.rule];
    let targets = rule.tiers().iter().flat_map(|tier| &tier.targets);
    let upstreams = targets.filter(|target| target.upstream().is_some()).count();
    let unsuited = routed.unsuited.take().filter(|unsuited| unsuited.targets >= upstreams);
    routed.last_failure.take().or(unsuited.map(|unsuited| unsuited.why)).unwrap_or(error)
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

/// Whether an attempt failed before anything of its request was sent.
fn has_sent_nothing(error: &Error) -> bool {
    matches!(error, Error::UpstreamConnect(_) | Error::UpstreamConnectTimeout | Error::UpstreamTls(_))
}

fn reason_of(error: &Error) -> &'static str {
    match error {
        error if has_sent_nothing(error) => "connect",
        Error::UpstreamTimeout => "per_try_timeout",
        _ => "reset",
    }
}

/// Whether the rule's attempts and the request's time leave room for another attempt.
fn may_follow(arrived: &Arrived, routed: &Routed) -> bool {
    let policy = policy(arrived, routed);
    if arrived.deadlines.is_out_of_time(Instant::now()) {
        return false;
    }
    let is_left = routed.attempts < policy.attempts;
    // A rule that asks for one attempt asks for no retries.
    if !is_left && policy.attempts > 1 {
        arrived.runtime().metrics().gateway.limit_hit(Limit::RetryAttempts);
    }
    is_left
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
