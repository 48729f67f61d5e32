//! Limits of policies, where they meet the request: what it holds of them while it is served, and what it is charged.
//!
//! The limits of its listener and its rule are asked in the admit phase, once nothing else can refuse the request
//! ([`reserve`]); those of a pool or backend for each attempt there ([`target`]), and a target whose limit denies is passed
//! over like one that is full. What is held is settled once, whatever ends request or attempt ([`settle`]). The counting is
//! `penstock_policies::limits`'; it has no clock, and does not wait.
//!
//! Copies for mirrors are limited by nothing: nobody asked for them.

pub(crate) mod explain;
pub(crate) mod prices;
pub(crate) mod reserve;
pub(crate) mod settle;
pub(crate) mod target;
mod told;

use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use penstock_config::{PolicySpec, Rule, Snapshot};
use penstock_policies::Facts;
use penstock_policies::limits::{Ask, Counters, Estimator, Holds, Limiter, Now, Seen, Usage, Wants};
use tokio::time::Instant;

use self::prices::PriceBook;
use crate::context::{Arrived, Attempt, Response};
use crate::error::{Error, LimitReached};

pub(crate) use self::told::headers;
pub(crate) use crate::admit::facts;

/// How many counters there may be. One takes some 200 bytes.
const MAX_COUNTERS: usize = 1_000_000;

/// How often counters are looked at for those that say nothing any more, and how many: all of them in some ten seconds.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
const SWEPT_COUNTERS: usize = 100_000;

/// What outlives configurations: counters, what requests took, and what tokens cost.
pub(crate) struct Meter {
    counters: Arc<Counters>,
    estimator: Estimator,
    prices: PriceBook,
    started: Instant,
}

/// The limits of one policy.
pub(crate) struct Quota {
    policy: Arc<str>,
    limiter: Limiter,
    /// Whether some of them only count.
    has_shadows: bool,
}

/// What a request holds of the limits of its listener and its rule.
#[derive(Default)]
pub(crate) struct Tab {
    holds: Holds,
    /// What it was expected to take.
    estimate: Usage,
    /// The model that its path names, where its body names none.
    model: Option<Box<str>>,
}

impl Meter {
    /// One that has counted nothing.
    pub(crate) fn new() -> Self {
        Self {
            counters: Counters::new(MAX_COUNTERS),
            estimator: Estimator::new(),
            prices: PriceBook::default(),
            started: Instant::now(),
        }
    }

    /// All counters.
    pub(crate) fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// What tokens cost.
    pub(crate) fn prices(&self) -> &PriceBook {
        &self.prices
    }

    /// The limits of each policy of a document, in its order. Counters of limits that stay as they are go on.
    pub(crate) fn quotas(&self, snapshot: &Snapshot) -> Vec<Option<Arc<Quota>>> {
        if let Some(store) = &snapshot.limit_store {
            self.counters.set_on_failure(store.on_failure);
        }
        let (replicas, has_store) = (snapshot.replicas.max(1), snapshot.limit_store.is_some());
        let quota = |policy: &Arc<PolicySpec>| {
            let limiter = Limiter::new(policy, &self.counters, replicas, has_store)?;
            let has_shadows = policy.limits.iter().any(|limit| limit.is_shadow);
            Some(Arc::new(Quota { policy: policy.name.clone(), limiter, has_shadows }))
        };
        snapshot.policies.iter().map(quota).collect()
    }

    /// What time it is.
    pub(crate) fn now(&self) -> Now {
        Now { wall: SystemTime::now(), mono: self.started.elapsed() }
    }

    /// What time it is for a request, without asking a clock again: that on the wall is as old as the request, and what has
    /// passed since.
    fn at(&self, arrived: &Arrived, now: Instant) -> Now {
        let passed: Duration = now.saturating_duration_since(arrived.started);
        Now { wall: arrived.started_at + passed, mono: now.saturating_duration_since(self.started) }
    }
}

impl Quota {
    /// What has to be known of a request.
    pub(crate) fn wants(&self) -> Wants {
        self.limiter.wants()
    }
}

impl Arrived {
    /// The model that the client asks for: its body names it, or its path does as far as limits looked for it there.
    pub(crate) fn asked_model(&self) -> Option<&str> {
        self.model().or_else(|| self.tab.as_ref()?.model.as_deref())
    }

    /// The name of who asks, by the first policy that found one; empty if none did.
    pub(crate) fn consumer(&self) -> &str {
        let identities = self.caller.as_ref().map_or(&[][..], |caller| caller.identities());
        let mut names = identities.iter().map(|identity| &*identity.consumer.name);
        names.find(|name| !name.is_empty()).unwrap_or_default()
    }

    /// How urgent requests of who asks are to pools.
    pub(crate) fn priority(&self) -> i32 {
        self.caller.as_ref().and_then(|caller| caller.priority()).unwrap_or_default()
    }
}

/// Forgets counters that say nothing any more, again and again, for as long as somebody counts.
pub(crate) async fn sweep(meter: Weak<Meter>) {
    loop {
        tokio::time::sleep(SWEEP_INTERVAL).await;
        let Some(meter) = meter.upgrade() else { return };
        meter.counters.sweep(meter.now(), SWEPT_COUNTERS);
    }
}

/// What limits are told of a request that `rule` takes.
pub(crate) fn ask<'a>(arrived: &'a Arrived, facts: &'a Facts<'a>, rule: Option<&'a Rule>) -> Ask<'a> {
    let peeked = arrived.peeked.as_ref();
    Ask {
        facts,
        model: arrived.asked_model(),
        target_model: None,
        upstream: None,
        route: rule.map_or("", |rule| &rule.route),
        rule: rule.map_or("", |rule| &rule.name),
        listener: &arrived.runtime().snapshot().listeners[arrived.listener].name,
        host: &arrived.target.host,
        path: arrived.target.path(),
        query: arrived.target.query(),
        prompt_bytes: peeked.map_or(0, |peeked| peeked.prompt_bytes),
        allowed_output: peeked
            .and_then(|peeked| Some(peeked.max_tokens?.saturating_mul(peeked.answers.unwrap_or(1).max(1)))),
    }
}

/// Notes what an answer has brought so far.
///
/// # Errors
/// A limit that cuts streams has nothing left for it.
#[inline]
pub(crate) fn seen(
    arrived: &mut Arrived,
    attempt: &mut Attempt,
    response: &Response,
    now: Instant,
) -> Result<(), Error> {
    if arrived.tab.is_none() && attempt.holds.is_none() {
        return Ok(());
    }
    let runtime = arrived.runtime().clone();
    let now = runtime.meter().at(arrived, now);
    let tokens = response.content_events;
    let of_request = arrived.tab.as_mut().map_or(Seen::Go, |tab| tab.holds.seen(tokens, now));
    let of_attempt = attempt.holds.as_mut().map_or(Seen::Go, |holds| holds.seen(tokens, now));
    let cut = if of_request == Seen::Go { of_attempt } else { of_request };
    let Seen::Cut { policy, limit } = cut else { return Ok(()) };
    if let Some(metrics) = runtime.limit_metrics(&policy, &limit) {
        metrics.cut.increment();
    }
    let reached = LimitReached { policy, limit, retry_after: None, missing: None, figures: None };
    Err(Error::StreamCut(Box::new(reached)))
}
