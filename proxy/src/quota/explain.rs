//! How limits stand for a request, for people. Nothing is held, and nothing is counted.

use std::sync::Arc;

use http::HeaderMap;
use penstock_config::Rule;
use penstock_policies::limits::{CountKind, Standing};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::reserve::{expected, quotas};
use super::{ask, facts};
use crate::context::Arrived;
use crate::upstreams::Upstream;

/// How the limits of a request stand at one place.
pub(crate) struct Explained {
    /// Each limit.
    pub(crate) limits: Vec<Value>,
    /// The first that would refuse the request.
    pub(crate) refusal: Option<Refusal>,
}

/// A limit that would refuse a request.
pub(crate) struct Refusal {
    /// The policy.
    pub(crate) policy: Arc<str>,
    /// The limit's name in it.
    pub(crate) limit: Arc<str>,
}

/// How the limits of the listener and the rule stand.
pub(crate) fn of_request(arrived: &Arrived, headers: &HeaderMap, rule: Option<&Rule>) -> Explained {
    let runtime = arrived.runtime();
    let facts = facts(arrived, headers);
    let ask = ask(arrived, &facts, rule);
    let rates = runtime.meter().prices().rates();
    let (estimate, price) = expected(arrived, rule, &ask, &rates);
    let now = runtime.meter().at((arrived.started, arrived.started_at), Instant::now());
    let standing: Vec<Standing> = quotas(runtime, arrived.listener, rule)
        .flat_map(|quota| quota.limiter.peek(&ask, &estimate, price, now))
        .collect();
    explained(&standing)
}

/// How the limits of a pool or backend stand, where the model is called `model`.
pub(crate) fn of_upstream(
    arrived: &Arrived,
    headers: &HeaderMap,
    rule: &Rule,
    upstream: &Upstream,
    model: &str,
) -> Explained {
    let runtime = arrived.runtime();
    let facts = facts(arrived, headers);
    let mut ask = ask(arrived, &facts, Some(rule));
    ask.upstream = Some(&upstream.name);
    ask.target_model = Some(model).filter(|model| !model.is_empty()).or(ask.model);
    let meter = runtime.meter();
    let estimate = meter.estimator.estimate(&ask);
    let rates = meter.prices().rates();
    let price = ask.target_model.and_then(|model| rates.of(&upstream.name, model));
    let now = meter.at((arrived.started, arrived.started_at), Instant::now());
    let quotas = upstream.quotas.iter();
    let standing: Vec<Standing> =
        quotas.flat_map(|quota| quota.limiter.peek(&ask, &estimate, price, now)).collect();
    explained(&standing)
}

fn explained(standing: &[Standing]) -> Explained {
    let refuses = standing.iter().find(|of| of.is_exceeded && !of.is_shadow);
    let refusal = refuses.map(|of| Refusal { policy: of.policy.clone(), limit: of.limit.clone() });
    Explained { limits: standing.iter().map(describe).collect(), refusal }
}

fn describe(standing: &Standing) -> Value {
    // Money is told in dollars.
    let amount = |amount: u64| match standing.count {
        CountKind::Cost => json!(amount as f64 / 1e9),
        _ => json!(amount),
    };
    json!({
        "policy": &*standing.policy,
        "limit": &*standing.limit,
        "count": standing.count.name(),
        "amount": amount(standing.amount),
        "remaining": amount(standing.remaining),
        "reset_seconds": standing.reset.as_secs_f64().ceil(),
        "exceeded": standing.is_exceeded,
        "shadow": standing.is_shadow,
    })
}
