//! What a request holds of the limits of its listener and its rule before it is served.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use penstock_config::Rule;
use penstock_policies::limits::{
    Ask, CountKind, Denied, Holds, LeaseWait, Now, PriceFor, Spent, Stop, Usage,
};
use tokio::time::Instant;

use super::{ask, facts, told};
use crate::client::Client;
use crate::context::Arrived;
use crate::error::{Error, LimitReached};
use crate::meter::prices::Rates;
use crate::meter::{Quota, Tab};
use crate::runtime::Runtime;

/// How often a request asks again after it was told to wait: counters that others empty as soon as they are filled are for
/// those others.
pub(crate) const MAX_WAITS: u32 = 16;

/// When to try again for a place among the requests in flight, which nobody can tell.
const SHORTLY: Duration = Duration::from_secs(1);

/// Why something is not held.
pub(super) enum Halt {
    /// A limit does not let it pass.
    Refused(Error),
    /// A counter has nothing at hand.
    Wait(LeaseWait),
}

/// Holds what the request is expected to take of the limits of its listener and of the rule that takes it. Without a rule the
/// gateway answers itself, which takes no tokens.
///
/// # Errors
/// A limit does not let it pass, or the client is gone.
pub(crate) async fn reserve(
    client: &mut Client<'_>,
    arrived: &mut Arrived,
    rule: Option<&Rule>,
) -> Result<(), Error> {
    let runtime = arrived.runtime().clone();
    let mut tab = Box::new(Tab::default());
    let mut done = 0;
    for _ in 0..MAX_WAITS {
        let halt = match hold(&runtime, arrived, &client.head().headers, rule, &mut tab, &mut done) {
            Ok(()) => {
                arrived.tab = Some(tab);
                return Ok(());
            }
            Err(halt) => halt,
        };
        let error = match halt {
            Halt::Refused(error) => error,
            Halt::Wait(lease) => match wait(client, arrived, lease).await {
                Ok(()) => continue,
                Err(error) => error,
            },
        };
        tab.holds.settle(Spent::Nothing, runtime.meter().now());
        return Err(error);
    }
    tab.holds.settle(Spent::Nothing, runtime.meter().now());
    Err(unavailable(quotas(&runtime, arrived.listener, rule).nth(done)))
}

/// Waits for a counter to be filled.
///
/// # Errors
/// The client is gone, or the request's time is up.
pub(crate) async fn wait(client: &mut Client<'_>, arrived: &Arrived, lease: LeaseWait) -> Result<(), Error> {
    tokio::select! {
        biased;
        () = lease.wait() => Ok(()),
        gone = client.gone() => Err(gone),
        error = arrived.deadlines.out_of_time() => Err(error),
    }
}

/// The limits of a listener, then those of a rule, each policy's once.
pub(crate) fn quotas<'a>(
    runtime: &'a Runtime,
    listener: usize,
    rule: Option<&Rule>,
) -> impl Iterator<Item = &'a Arc<Quota>> {
    let of_listener = runtime.listener_chain(listener).quotas();
    let of_rule = rule.map_or(&[][..], |rule| runtime.rule(rule.index).chain.quotas());
    let is_new = |of: &&Arc<Quota>| !of_listener.iter().any(|known| Arc::ptr_eq(known, of));
    of_listener.iter().chain(of_rule.iter().filter(is_new))
}

/// Holds something of each limit that is not `done`.
fn hold(
    runtime: &Runtime,
    arrived: &Arrived,
    headers: &HeaderMap,
    rule: Option<&Rule>,
    tab: &mut Tab,
    done: &mut usize,
) -> Result<(), Halt> {
    let facts = facts(arrived, headers);
    let ask = ask(arrived, &facts, rule);
    let meter = runtime.meter();
    let rates = meter.prices().rates();
    let (estimate, price) = expected(arrived, rule, &ask, &rates);
    tab.estimate = estimate;
    let now = meter.at((arrived.started, arrived.started_at), Instant::now());
    let holds = &mut tab.holds;
    for quota in quotas(runtime, arrived.listener, rule).skip(*done) {
        one(runtime, quota, &ask, &estimate, price, now, holds)?;
        *done += 1;
    }
    Ok(())
}

/// Holds something of the limits of one policy.
pub(super) fn one(
    runtime: &Runtime,
    quota: &Arc<Quota>,
    ask: &Ask<'_>,
    estimate: &Usage,
    price: Option<&PriceFor>,
    now: Now,
    holds: &mut Holds,
) -> Result<(), Halt> {
    match quota.limiter.reserve(ask, estimate, price, now, holds) {
        Ok(()) => {
            if quota.has_shadows {
                count_shadows(runtime, quota, now, holds);
            }
            Ok(())
        }
        Err(Stop::Wait(lease)) => Err(Halt::Wait(lease)),
        Err(Stop::Unavailable(of)) => Err(Halt::Refused(Error::LimitsUnavailable { policy: of.policy })),
        Err(Stop::Denied(denied)) => {
            if let Some(metrics) = runtime.limit_metrics(&denied.policy, &denied.limit) {
                metrics.denied.increment();
            }
            let standing = quota.limiter.peek(ask, estimate, price, now);
            let figures = standing.iter().find(|of| of.limit == denied.limit).and_then(told::figures);
            Err(Halt::Refused(refusal(denied, figures)))
        }
    }
}

/// Counts what limits that only count would have refused.
#[cold]
fn count_shadows(runtime: &Runtime, quota: &Quota, now: Now, holds: &Holds) {
    let standing = holds.standing(now).filter(|of| of.policy == quota.policy);
    for exceeded in standing.filter(|of| of.is_shadow && of.is_exceeded) {
        if let Some(metrics) = runtime.limit_metrics(&exceeded.policy, &exceeded.limit) {
            metrics.shadowed.increment();
        }
    }
}

/// That the counters of a policy cannot be had.
pub(super) fn unavailable(quota: Option<&Arc<Quota>>) -> Error {
    let policy = quota.map_or_else(Arc::default, |quota| quota.policy.clone());
    Error::LimitsUnavailable { policy }
}

/// What a request is expected to take, and the price of that. What the gateway answers itself takes nothing.
pub(super) fn expected<'a>(
    arrived: &Arrived,
    rule: Option<&Rule>,
    ask: &Ask<'_>,
    rates: &'a Rates,
) -> (Usage, Option<&'a PriceFor>) {
    let runtime = arrived.runtime();
    let Some(rule) = rule.filter(|rule| !rule.tiers().is_empty()) else { return (Usage::default(), None) };
    if !runtime.counts_usage(arrived.listener, rule) {
        return (Usage::default(), None);
    }
    let estimate = runtime.meter().estimator.estimate(ask);
    (estimate, dearest(runtime, rates, rule, ask.model, &estimate))
}

/// The price of the target at which a request would cost the most: which one serves it is not known yet.
fn dearest<'a>(
    runtime: &Runtime,
    rates: &'a Rates,
    rule: &Rule,
    model: Option<&str>,
    estimate: &Usage,
) -> Option<&'a PriceFor> {
    let targets = rule.tiers().iter().flat_map(|tier| &tier.targets);
    let prices = targets.filter_map(|target| {
        let upstream = runtime.upstream(target.upstream()?);
        rates.of(&upstream.name, target.model_override.as_deref().or(model)?)
    });
    prices.max_by_key(|price| price.cost(estimate))
}

fn refusal(denied: Denied, figures: Option<crate::error::Figures>) -> Error {
    let Denied { policy, limit, count, retry_after, is_never, is_budget, missing, .. } = denied;
    let retry_after = match retry_after {
        None if count == CountKind::Concurrency => Some(SHORTLY),
        known => known,
    };
    let missing = missing.map(|name| Cow::Owned(name.to_string()));
    let is_missing = missing.is_some();
    let mut reached = Box::new(LimitReached { policy, limit, retry_after, missing, figures });
    if is_missing {
        Error::NothingToCountBy(reached)
    } else if is_never {
        Error::NeverFits(reached)
    } else if is_budget {
        reached.retry_after = None;
        Error::BudgetExhausted(reached)
    } else {
        reached.retry_after = Some(retry_after.unwrap_or(SHORTLY));
        Error::RateLimited(reached)
    }
}
