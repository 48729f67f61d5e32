//! Responses with the status of an error: which of them another attempt takes the place of.
//!
//! Three grounds. A status that the rule retries (`statuses`), at any endpoint that is left. One that says that this target
//! will not do it now (`failoverStatuses`), at another target: asking a model for something has no effect but its price, so
//! it may be asked of another, even where this one may have begun; but a server that failed is not asked the same again
//! without a word from the configuration. And a request that is too long for the model, at a target with a larger window.
//! All other refusals are the client's to know: another provider would refuse the same.

use std::time::{Duration, SystemTime};

use http::{StatusCode, header};
use penstock_config::Rule;
use penstock_providers::{Api, gemini};
use pingora_http::ResponseHeader;
use tokio::time::Instant;

use super::{Replacement, delay, failed, has_other_endpoint, may_follow, next, outcome_of_status, policy};
use crate::client::Client;
use crate::context::{Arrived, Attempt, Routed, TargetAt};
use crate::credential;
use crate::error::{Error, Origin};
use crate::pick::{self, Patience};
use crate::quota;
use crate::upstreams::{Scope, UpstreamKind};

/// How long somebody is left alone who is overloaded and does not say for how long.
const OVERLOADED: Duration = Duration::from_secs(5);

/// Anthropic's status for an overload of its own, which no limit of ours has caused.
const STATUS_OVERLOADED: u16 = 529;

/// Why another attempt is to take the place of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ground {
    /// The rule retries its status.
    Status,
    /// Its target will not do it now.
    Target,
    /// It is too long for the model there.
    Window,
}

/// Gives up a response with the status of an error, if another attempt is to take its place and can; that one is chosen
/// before, since a response that nothing can take the place of is passed on. `body` is what was read of it.
///
/// # Errors
/// The client left meanwhile.
pub(crate) async fn replace(
    header: &ResponseHeader,
    body: &[u8],
    client: &mut Client<'_>,
    arrived: &mut Arrived,
    routed: &mut Routed,
    attempt: &mut Attempt,
) -> Result<Option<Replacement>, Error> {
    let status = header.status;
    note_credential(status, client, arrived, attempt);
    let Some(ground) = ground(header, body, client, arrived, routed, attempt) else { return Ok(None) };
    let has_other = has_other_endpoint(arrived, routed, attempt);
    // Who says that it is busy is not asked again at once, but by its client when that thinks fit.
    if (!has_other && status == StatusCode::TOO_MANY_REQUESTS) || !may_follow(arrived, routed) {
        return Ok(None);
    }
    let runtime = arrived.runtime().clone();
    let rule = &runtime.snapshot().rules()[routed.rule];
    match ground {
        Ground::Status if has_other => routed.candidates.exclude(failed(attempt, false)),
        Ground::Status => {}
        Ground::Target => {
            routed.candidates.exclude(failed(attempt, false));
            routed.candidates.exhaust(attempt.target);
        }
        Ground::Window => {
            let window = window(rule, attempt.target);
            for at in targets(rule).filter(|at| self::window(rule, *at) <= window) {
                routed.candidates.exhaust(at);
            }
        }
    }
    let reason = if ground == Ground::Window { "context_window" } else { reason(status) };
    let place = routed.trail.add(attempt.target, attempt.upstream, reason);
    let chosen = match ground {
        // Nothing has failed that a budget would have to spare.
        Ground::Window => pick::choose(client, arrived, routed, Patience::None).await,
        Ground::Status | Ground::Target => next(client, arrived, routed, attempt, Patience::None).await,
    };
    let next = match chosen {
        Ok(next) => Box::new(next),
        // A limit of another target is no reason to keep this one's answer back.
        Err(error) if error.row().origin == Origin::Client && error.reached().is_none() => return Err(error),
        Err(_) => {
            routed.trail.take_back(place);
            return Ok(None);
        }
    };
    runtime.upstream(attempt.upstream).metrics.retried(coarse(reason));
    quota::settle::attempt_failed(arrived, attempt);
    attempt.endpoint.answered(status.as_u16());
    attempt.settle(outcome_of_status(status));
    arrived.deadlines.end_attempt();
    // Nothing that went before is to be the answer if the next attempt finds no endpoint.
    routed.last_failure = None;
    Ok(Some(Replacement { attempt: next, back_off: ground == Ground::Status && !has_other }))
}

/// Whether the body of a refusal has to be read to judge it: it may say for how long the upstream wants to be left alone, or
/// that the request is too long for it.
pub(crate) fn reads_body(
    header: &ResponseHeader,
    arrived: &Arrived,
    routed: &Routed,
    attempt: &Attempt,
) -> bool {
    if header.headers.contains_key(header::CONTENT_ENCODING) {
        return false;
    }
    if is_busy(header.status) {
        let codec = &arrived.runtime().upstream(attempt.upstream).codec;
        return codec.as_ref().is_some_and(|codec| codec.tells_delays_in_bodies())
            && delay::asked(&header.headers, SystemTime::now()).is_none();
    }
    may_be_too_long(header.status) && has_larger(arrived, routed, attempt)
}

/// Leaves who answered alone, for as long as it asks for: all requests of the process do, unless it answered to a key that
/// is its client's own.
pub(crate) fn leave_alone(
    header: &ResponseHeader,
    body: &[u8],
    client: &Client<'_>,
    arrived: &Arrived,
    attempt: &Attempt,
) {
    if !is_busy(header.status) {
        return;
    }
    let asked = delay::asked(&header.headers, SystemTime::now()).or_else(|| gemini::retry_after(body));
    match asked {
        Some(time) => add_cooldown(time, false, client, arrived, attempt),
        None if header.status.as_u16() == STATUS_OVERLOADED => {
            add_cooldown(OVERLOADED, true, client, arrived, attempt);
        }
        None => {}
    }
}

/// Leaves who failed alone, if it is overloaded by what it says in a stream.
pub(super) fn leave_alone_after(error: &Error, client: &Client<'_>, arrived: &Arrived, attempt: &Attempt) {
    if matches!(error, Error::UpstreamFailed { status: STATUS_OVERLOADED, .. }) {
        add_cooldown(OVERLOADED, true, client, arrived, attempt);
    }
}

fn add_cooldown(time: Duration, is_guess: bool, client: &Client<'_>, arrived: &Arrived, attempt: &Attempt) {
    let upstream = arrived.runtime().upstream(attempt.upstream);
    let is_pool = upstream.kind == UpstreamKind::Pool;
    let headers = &client.head().headers;
    let is_own = is_pool
        || match &upstream.credential {
            Some(credential) => credential.stands_for_all(headers),
            None => !credential::shows_client(headers) && !shows_key(arrived.target.query()),
        };
    if time.is_zero() || !is_own {
        return;
    }
    let model = attempt.model.as_deref().or(arrived.model()).unwrap_or_default();
    // A provider's limits are a model's. Which one it was is not known where nothing had to be read, and where it is in
    // the path.
    if !is_pool && model.is_empty() {
        return;
    }
    // Behind a name are many addresses of one provider.
    let is_provider = attempt.endpoint.authority().is_some();
    let scope = Scope {
        endpoint: (!is_provider).then(|| attempt.endpoint.key()),
        model: (!is_pool).then(|| model.into()),
    };
    upstream.cooldowns.add(scope, time, is_guess, Instant::now());
    upstream.metrics.cooldowns.increment();
}

/// Whether a client shows a key in its query, as Google's and AWS's APIs let it.
fn shows_key(query: Option<&str>) -> bool {
    query.unwrap_or_default().split('&').any(|pair| {
        let name = pair.split('=').next().unwrap_or_default();
        let name = percent_encoding::percent_decode_str(name).decode_utf8_lossy();
        name == "key" || name.eq_ignore_ascii_case("x-amz-signature")
    })
}

/// Whether an upstream was shown the gateway's own credential.
fn was_shown_ours(client: &Client<'_>, arrived: &Arrived, attempt: &Attempt) -> bool {
    let credential = &arrived.runtime().upstream(attempt.upstream).credential;
    credential.as_ref().is_some_and(|credential| credential.stands_for_all(&client.head().headers))
}

/// Says that an upstream refuses the gateway's own credential: nobody else would hear of it where another one serves.
fn note_credential(status: StatusCode, client: &Client<'_>, arrived: &Arrived, attempt: &Attempt) {
    let upstream = arrived.runtime().upstream(attempt.upstream);
    if !is_about_credentials(status) || !was_shown_ours(client, arrived, attempt) {
        return;
    }
    upstream.metrics.credentials_refused.increment();
    let cause = format!("status {}", status.as_u16());
    if attempt
        .endpoint
        .failures()
        .is_some_and(|failures| failures.note("credential_refused", &cause).is_some())
    {
        tracing::warn!(
            upstream_kind = upstream.kind.label(),
            upstream = %upstream.name,
            status = status.as_u16(),
            "the upstream refuses the gateway's credential; further refusals are not told for a minute"
        );
    }
}

fn ground(
    header: &ResponseHeader,
    body: &[u8],
    client: &Client<'_>,
    arrived: &Arrived,
    routed: &Routed,
    attempt: &Attempt,
) -> Option<Ground> {
    let (status, policy) = (header.status, policy(arrived, routed));
    // Behind it the request goes in circles: each way round would be tried as often again.
    if status == StatusCode::LOOP_DETECTED {
        return None;
    }
    if policy.statuses.contains(status) {
        return Some(Ground::Status);
    }
    let runtime = arrived.runtime();
    let rule = &runtime.snapshot().rules()[routed.rule];
    let is_ours = !is_about_credentials(status) || was_shown_ours(client, arrived, attempt);
    if policy.failover_statuses.contains(status)
        && is_ours
        && asks_a_model(arrived)
        && routed.candidates.has_other(rule, attempt.target)
    {
        return Some(Ground::Target);
    }
    let error_type = header.headers.get("x-amzn-errortype").and_then(|value| value.to_str().ok());
    let is_too_long = may_be_too_long(status)
        && !body.is_empty()
        && has_larger(arrived, routed, attempt)
        && penstock_providers::is_too_long(status.as_u16(), error_type, body);
    is_too_long.then_some(Ground::Window)
}

/// Whether the request is one of those that have no effect but their price: it is for an API of models, and names one.
fn asks_a_model(arrived: &Arrived) -> bool {
    match Api::of_path(arrived.target.path()) {
        Some(Api::Bedrock | Api::Gemini) => true,
        Some(_) => arrived.model().is_some(),
        None => false,
    }
}

/// Whether a target is left whose model has a larger window than the one that was asked.
fn has_larger(arrived: &Arrived, routed: &Routed, attempt: &Attempt) -> bool {
    let rule = &arrived.runtime().snapshot().rules()[routed.rule];
    let smallest = window(rule, attempt.target);
    targets(rule).any(|at| window(rule, at) > smallest && !routed.candidates.is_exhausted(at))
}

fn targets(rule: &Rule) -> impl Iterator<Item = TargetAt> {
    let tiers = rule.tiers().iter().enumerate();
    tiers.flat_map(|(tier, of)| (0..of.targets.len()).map(move |at| (tier, at)))
}

/// In tokens; 0 where nobody said.
fn window(rule: &Rule, at: TargetAt) -> u32 {
    rule.tiers()[at.0].targets[at.1].context_window
}

fn is_busy(status: StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 503 | STATUS_OVERLOADED)
}

fn is_about_credentials(status: StatusCode) -> bool {
    matches!(status.as_u16(), 401 | 403)
}

fn may_be_too_long(status: StatusCode) -> bool {
    matches!(status.as_u16(), 400 | 413 | 422)
}

/// Why a target was left, for headers, log and metrics.
fn reason(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "status_401",
        403 => "status_403",
        408 => "status_408",
        424 => "status_424",
        429 => "status_429",
        500 => "status_500",
        502 => "status_502",
        503 => "status_503",
        504 => "status_504",
        STATUS_OVERLOADED => "status_529",
        505.. => "status_5xx",
        _ => "status",
    }
}

/// The same, as the metric of retries has it.
fn coarse(reason: &'static str) -> &'static str {
    match reason {
        "status_429" | "context_window" => reason,
        reason if reason.starts_with("status_5") => "status_5xx",
        _ => "status",
    }
}
