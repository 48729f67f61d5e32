//! Limits of policies, where they meet the request: what it holds of them while it is served, and what it is charged.
//!
//! The limits of its listener and its rule are asked in the admit phase, once nothing else can refuse the request
//! ([`reserve`]); those of a pool or backend for each attempt there ([`target`]), and a target whose limit denies is passed
//! over like one that is full. What is held is settled once, whatever ends request or attempt ([`settle`]). The counting is
//! `penstock_policies::limits`'; it has no clock, and does not wait.
//!
//! Copies for mirrors are limited by nothing: nobody asked for them.

pub(crate) mod explain;
pub(crate) mod reserve;
pub(crate) mod settle;
pub(crate) mod target;
mod told;

use std::sync::Weak;
use std::time::Duration;

use penstock_config::Rule;
use penstock_policies::Facts;
use penstock_policies::limits::{Ask, Seen};
use penstock_providers::Api;
use tokio::time::Instant;

use crate::admit::models_in_path;
use crate::context::{Arrived, Attempt, Response};
use crate::error::{Error, LimitReached};
use crate::meter::Meter;

pub(crate) use self::told::tell;
pub(crate) use crate::admit::facts;

/// How often counters are looked at for those that say nothing any more, and how many: all of them in some ten seconds.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
const SWEPT_COUNTERS: usize = 100_000;

impl Arrived {
    /// The model that the client asks for: its path names it, or its body does. Servers of APIs that have it in the path go by
    /// that, whatever the body says; others' paths name none.
    pub(crate) fn asked_model(&self) -> Option<&str> {
        let of_path = || models_in_path(self.target.path()).names.into_iter().next();
        let of_path = self.path_model.get_or_init(|| of_path().map(Into::into));
        of_path.as_deref().or_else(|| self.model())
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
        host: facts.host,
        path: arrived.target.path(),
        query: arrived.target.query(),
        prompt_bytes: peeked.map_or(0, |peeked| peeked.prompt_bytes),
        allowed_output: allowed_output(arrived),
    }
}

/// How many tokens may be generated; `None` if that is not said.
fn allowed_output(arrived: &Arrived) -> Option<u64> {
    if let Some(Api::Embeddings | Api::Rerank | Api::CountTokens) = Api::of_path(arrived.target.path()) {
        return Some(0);
    }
    let peeked = arrived.peeked.as_ref()?;
    Some(peeked.max_tokens?.saturating_mul(peeked.answers.unwrap_or(1).max(1)))
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
    let now = runtime.meter().at((arrived.started, arrived.started_at), now);
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
