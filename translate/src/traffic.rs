//! What a BackendTrafficPolicy changes of a rule: how its requests are tried, and for how long.
//!
//! What it does not say stays as the data plane has it. What the route says itself comes first, as with Envoy Gateway. Two
//! things differ from Envoy, for the better of requests: a connection that could not be made is always followed by another
//! attempt, whatever the triggers say, since nothing was sent; and after each priority had its attempts the request ends
//! instead of beginning anew.

mod backing;
mod hash;
mod health;
mod overrides;

pub(crate) use self::backing::Backing;
pub(crate) use self::overrides::{Overrides, read as overrides};

use penstock_config::raw::{RawRedirect, RawResponseOverride, RawRetry, RawRule, RawTimeouts};
use penstock_config::{Size, Span, Statuses, Timeout};

use crate::api::{TrafficRetry, TrafficRetryOn, TrafficSettings};
use crate::quantity::{MAX_TIMEOUT, bytes};
use crate::world::shorten;

/// The most attempts that documents have.
const MAX_ATTEMPTS: i64 = 10;

/// Retries where a policy does not say how many (Envoy Gateway).
const DEFAULT_RETRIES: i64 = 2;

/// The most bytes of a body that documents take.
const MAX_BODY: Size = Size(4 << 30);

/// The most statuses that documents list.
const MAX_STATUSES: usize = 64;

/// The most that a status names of one policy.
const MAX_IDLE: usize = 16;

/// The longest waits that documents have: before the second attempt, and before any.
const MAX_FIRST_BACKOFF: Span = Span::secs(60);
const MAX_BACKOFF: Span = Span::secs(60 * 60);

/// Statuses of servers' errors that are known: those of the standard, and those of proxies and content networks.
const SERVER_ERRORS: [u16; 21] =
    [500, 501, 502, 503, 504, 505, 506, 507, 508, 510, 511, 520, 521, 522, 523, 524, 525, 526, 527, 529, 530];

/// What a policy changes of rules, and of the backends that they lead to.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Traffic {
    retry: Option<Retry>,
    request: Option<Span>,
    stream_idle: Option<Span>,
    body_bytes: Option<Size>,
    overrides: Vec<RawResponseOverride>,
    backing: Backing,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Retry {
    attempts: u32,
    attempts_per_priority: u32,
    /// The statuses that count as a failed attempt, and whether no answer does; the data plane's own if `None`.
    on: Option<(Vec<u16>, bool)>,
    per_try: Option<Span>,
    backoff: Option<Span>,
    max_backoff: Option<Span>,
}

impl Traffic {
    /// Reads what a policy says; `None` if it says nothing of this.
    ///
    /// # Errors
    /// It says something that cannot be: what, by its field.
    pub(crate) fn read(settings: &TrafficSettings) -> Result<Option<Self>, String> {
        let http = settings.timeout.as_ref().and_then(|timeout| timeout.http.as_ref());
        let of_http = |text: Option<&String>, field| deadline(text.map(String::as_str), field);
        let request =
            of_http(http.and_then(|http| http.request_timeout.as_ref()), "timeout.http.requestTimeout")?;
        let stream_idle = of_http(
            http.and_then(|http| http.stream_idle_timeout.as_ref()),
            "timeout.http.streamIdleTimeout",
        )?;
        let retry = settings.retry.as_ref().map(retry).transpose()?;
        let body_bytes = settings.request_buffer.as_ref().map(|buffer| {
            const FIELD: &str = "requestBuffer.limit";
            let limit = bytes(&buffer.limit).ok_or_else(|| format!("{FIELD}: not a number of bytes"))?;
            if limit == 0 {
                Err(format!("{FIELD}: 0 lets no body pass"))
            } else {
                Ok(Size(limit).min(MAX_BODY))
            }
        });
        let backing = Backing::read(settings)?;
        let body_bytes = body_bytes.transpose()?;
        let traffic = Self { retry, request, stream_idle, body_bytes, overrides: Vec::new(), backing };
        Ok((traffic != Self::default()).then_some(traffic))
    }

    /// Deadlines alone: of a request as a whole, and between two pieces of its response; `None` if there is neither.
    pub(crate) fn of_deadlines(request: Option<Span>, stream_idle: Option<Span>) -> Option<Self> {
        let within = |deadline: Option<Span>| deadline.map(|deadline| deadline.min(MAX_TIMEOUT));
        let (request, stream_idle) = (within(request), within(stream_idle));
        let traffic = Self { request, stream_idle, ..Self::default() };
        (traffic != Self::default()).then_some(traffic)
    }

    /// This, and what a less specific policy says beside it.
    pub(crate) fn over(&self, parent: &Self) -> Self {
        Self {
            retry: self.retry.clone().or_else(|| parent.retry.clone()),
            request: self.request.or(parent.request),
            stream_idle: self.stream_idle.or(parent.stream_idle),
            body_bytes: self.body_bytes.or(parent.body_bytes),
            // One list in place of the other.
            overrides: if self.overrides.is_empty() { &parent.overrides } else { &self.overrides }.clone(),
            backing: self.backing.over(&parent.backing),
        }
    }

    /// This, and answers in place of others.
    pub(crate) fn with_overrides(self, overrides: Vec<RawResponseOverride>) -> Self {
        Self { overrides, ..self }
    }

    /// Whether it redirects to the port that clients came to.
    pub(crate) fn wants_port(&self) -> bool {
        self.overrides.iter().filter_map(|it| it.redirect.as_ref()).any(wants_port)
    }

    /// What it changes of backends.
    pub(crate) fn backing(&self) -> &Backing {
        &self.backing
    }

    /// Changes a rule, where `defaults` are the deadlines of routes of its kind that say nothing of them.
    pub(crate) fn apply(&self, defaults: &RawTimeouts, rule: &mut RawRule) {
        if rule.redirect.is_some() || rule.respond.is_some() {
            return;
        }
        rule.body_bytes = self.body_bytes.or(rule.body_bytes);
        rule.response_overrides.clone_from(&self.overrides);
        let timeouts = &mut rule.timeouts;
        if let (Some(request), true) = (self.request, timeouts.request == defaults.request) {
            timeouts.request = Timeout(request);
        }
        if let (Some(idle), true) = (self.stream_idle, timeouts.stream_idle == defaults.stream_idle) {
            timeouts.stream_idle = Timeout(idle);
        }
        if let Some(retry) = &self.retry {
            if rule.retry == RawRetry::default() {
                retry.apply(&mut rule.retry);
            }
            if let (Some(per_try), true) = (retry.per_try, timeouts.per_try == defaults.per_try) {
                timeouts.per_try = Timeout(per_try);
            }
        }
        // An attempt cannot take longer than its request.
        if timeouts.request != Timeout::OFF && timeouts.per_try.0 > timeouts.request.0 {
            timeouts.per_try = timeouts.request;
        }
    }
}

impl Retry {
    fn apply(&self, retry: &mut RawRetry) {
        retry.attempts = self.attempts;
        retry.attempts_per_priority = self.attempts_per_priority;
        if let Some((statuses, unanswered)) = &self.on {
            retry.statuses = Statuses(statuses.clone());
            // Those and no others.
            retry.failover_statuses = Statuses(Vec::new());
            retry.unanswered = *unanswered;
        }
        retry.backoff = self.backoff.unwrap_or(retry.backoff);
        retry.max_backoff = self.max_backoff.unwrap_or(retry.max_backoff);
    }
}

/// What a policy says of these things and is not acted on, as its status names it.
pub(crate) fn idle(settings: &TrafficSettings) -> Vec<String> {
    let retry_on = settings.retry.as_ref().and_then(|retry| retry.retry_on.as_ref());
    let triggers = retry_on.into_iter().flat_map(|retry_on| &retry_on.triggers);
    let triggers = triggers
        .filter(|trigger| !is_acted_on(trigger))
        .map(|trigger| format!("spec.retry.retryOn.triggers: {}", shorten(trigger, 40)));
    let timeout = settings.timeout.iter();
    let others = timeout.clone().flat_map(|timeout| timeout.others.keys());
    let others = others.map(|name| format!("spec.timeout.{}", shorten(name, 40)));
    let http = timeout.filter_map(|timeout| timeout.http.as_ref()).flat_map(|http| http.others.keys());
    let http = http.map(|name| format!("spec.timeout.http.{}", shorten(name, 40)));
    let buffer = settings.request_buffer.iter().flat_map(|buffer| buffer.others.keys());
    let buffer = buffer.map(|name| format!("spec.requestBuffer.{}", shorten(name, 40)));
    let balancer = settings.load_balancer.iter();
    let is_known = |kind: &str| kind == hash::KIND || backing::balancing(kind).is_some();
    let kind = balancer.clone().filter(|balancer| !is_known(&balancer.kind));
    let kind = kind.map(|balancer| format!("spec.loadBalancer.type: {}", shorten(&balancer.kind, 40)));
    let hashing = balancer.clone().flat_map(hash::idle);
    let balancer = balancer.flat_map(|balancer| balancer.others.keys());
    let balancer = balancer.map(|name| format!("spec.loadBalancer.{}", shorten(name, 40)));
    let all = triggers.chain(others).chain(http).chain(buffer).chain(kind).chain(hashing).chain(balancer);
    all.chain(backing::idle(settings)).take(MAX_IDLE).collect()
}

fn retry(wanted: &TrafficRetry) -> Result<Retry, String> {
    let within = |number: i64| u32::try_from(number.clamp(0, MAX_ATTEMPTS)).unwrap_or_default();
    let on = wanted.retry_on.as_ref().map(|retry_on| {
        let has = |trigger: &str| retry_on.triggers.iter().any(|one| one == trigger);
        // As Envoy counts them: no answer is a server's error.
        (statuses(retry_on), has("reset") || has("5xx") || has("gateway-error"))
    });
    let per_retry = wanted.per_retry.as_ref();
    let back_off = per_retry.and_then(|per_retry| per_retry.back_off.as_ref());
    let of = |text: Option<&String>, field| span(text.map(String::as_str), field);
    let base = of(back_off.and_then(|it| it.base_interval.as_ref()), "retry.perRetry.backOff.baseInterval")?;
    let most = of(back_off.and_then(|it| it.max_interval.as_ref()), "retry.perRetry.backOff.maxInterval")?;
    Ok(Retry {
        attempts: within(wanted.num_retries.unwrap_or(DEFAULT_RETRIES).max(0).saturating_add(1)),
        attempts_per_priority: within(wanted.num_attempts_per_priority.unwrap_or(0)),
        on,
        per_try: of(per_retry.and_then(|it| it.timeout.as_ref()), "retry.perRetry.timeout")?
            .map(|deadline| deadline.min(MAX_TIMEOUT)),
        backoff: base.map(|base| base.min(MAX_FIRST_BACKOFF)),
        // What Envoy has for the longest wait, where nothing is said.
        max_backoff: most
            .or(base.map(|base| Span(base.0.saturating_mul(10))))
            .map(|most| most.min(MAX_BACKOFF)),
    })
}

/// The statuses that count as failed attempts.
fn statuses(retry_on: &TrafficRetryOn) -> Vec<u16> {
    let mut statuses = Vec::new();
    for trigger in &retry_on.triggers {
        match trigger.as_str() {
            "5xx" => statuses.extend(SERVER_ERRORS),
            "gateway-error" => statuses.extend([502, 503, 504]),
            "retriable-4xx" => statuses.push(409),
            "retriable-status-codes" => {
                let errors = retry_on.http_status_codes.iter().filter(|status| (400..600).contains(*status));
                statuses.extend(errors);
            }
            _ => {}
        }
    }
    statuses.sort_unstable();
    statuses.dedup();
    statuses.truncate(MAX_STATUSES);
    statuses
}

fn is_acted_on(trigger: &str) -> bool {
    matches!(
        trigger,
        "5xx" | "gateway-error" | "reset" | "connect-failure" | "retriable-4xx" | "retriable-status-codes"
    )
}

/// Whether a redirect goes to the port that the client came to. The data plane knows only its own, which may differ from
/// the Service's.
pub(crate) fn wants_port(redirect: &RawRedirect) -> bool {
    redirect.port.is_none() && redirect.scheme.is_none()
}

/// A deadline, no longer than documents have it.
fn deadline(text: Option<&str>, field: &str) -> Result<Option<Span>, String> {
    Ok(span(text, field)?.map(|deadline| deadline.min(MAX_TIMEOUT)))
}

fn span(text: Option<&str>, field: &str) -> Result<Option<Span>, String> {
    text.map(Span::parse).transpose().map_err(|error| format!("{field}: {error}"))
}

#[cfg(test)]
mod tests;
