//! Checks of where policies with limits are named.

use rustc_hash::{FxHashMap, FxHashSet};

use crate::raw::{Document, RawCount, RawPolicy, RawRule, RawTarget};
use crate::report::{FieldPath, Quoted, Report};
use crate::spec::Price;

/// Reports policies that are named where they cannot be asked: before a target is known those that count by it, and by
/// upstreams those that have more than limits.
pub(in crate::lower) fn check(document: &Document, report: &mut Report) {
    let by_name: FxHashMap<&str, &RawPolicy> =
        document.policies.iter().map(|policy| (policy.name.as_str(), policy)).collect();
    let mut of_upstream = |names: &[String], place: &FieldPath<'_>| {
        let place = place.field("policies");
        for (index, name) in names.iter().enumerate() {
            if by_name.get(name.as_str()).is_some_and(|policy| asks_more(policy)) {
                let message = || {
                    format!(
                        "{} has more than limits, which are all that is asked of requests to an upstream: name it in \
                         the policies of listeners or rules, or give its limits a policy of their own",
                        Quoted(name)
                    )
                };
                report.add(&place.index(index), message);
            }
        }
    };
    let pools = FieldPath::Root.field("pools");
    let backends = FieldPath::Root.field("backends");
    for (index, pool) in document.pools.iter().enumerate() {
        of_upstream(&pool.policies, &pools.index(index));
    }
    for (index, backend) in document.backends.iter().enumerate() {
        of_upstream(&backend.policies, &backends.index(index));
    }
    let late: FxHashSet<&str> = document
        .policies
        .iter()
        .filter(|policy| counts_by_target(policy))
        .map(|policy| &*policy.name)
        .collect();
    if !late.is_empty() {
        check_early(document, &late, report);
    }
}

/// Whether a policy asks for something that is asked once, before a target is known.
fn asks_more(policy: &RawPolicy) -> bool {
    policy.authentication.is_some()
        || policy.authorization.is_some()
        || policy.external.is_some()
        || policy.cors.is_some()
}

fn counts_by_target(policy: &RawPolicy) -> bool {
    let is_of_target = |per: &String| matches!(per.as_str(), "targetModel" | "upstream");
    policy.limits.iter().any(|limit| limit.per.iter().any(is_of_target))
}

fn check_early(document: &Document, late: &FxHashSet<&str>, report: &mut Report) {
    let mut of_requests = |names: &[String], place: &FieldPath<'_>| {
        let place = place.field("policies");
        for (index, name) in names.iter().enumerate().filter(|(_, name)| late.contains(name.as_str())) {
            let message = || {
                format!(
                    "{} counts per targetModel or upstream, which are not known yet when these policies are asked: name \
                     it in the policies of pools or backends, or count per model or route",
                    Quoted(name)
                )
            };
            report.add(&place.index(index), message);
        }
    };
    let listeners = FieldPath::Root.field("listeners");
    for (index, listener) in document.listeners.iter().enumerate() {
        of_requests(&listener.policies, &listeners.index(index));
    }
    let routes = FieldPath::Root.field("routes");
    for (index, route) in document.routes.iter().enumerate() {
        let route_place = routes.index(index);
        let rules = route_place.field("rules");
        for (index, rule) in route.rules.iter().enumerate() {
            of_requests(&rule.policies, &rules.index(index));
        }
    }
}

/// Legal, and rarely meant: limits that several gateways should share and cannot, and costs that nothing is known of.
pub(in crate::lower) fn warn(document: &Document, prices: &[Price], warnings: &mut Report) {
    if document.limit_store.is_none() && document.replicas > 1 {
        warn_of_shares(document, warnings);
    }
    // What a file has is not known here.
    if document.prices_file.is_none() {
        warn_of_unpriced(document, prices, warnings);
    }
}

fn warn_of_shares(document: &Document, warnings: &mut Report) {
    let policies = FieldPath::Root.field("policies");
    for (index, policy) in document.policies.iter().enumerate() {
        let policy_place = policies.index(index);
        let place = policy_place.field("limits");
        for (index, _) in policy.limits.iter().enumerate().filter(|(_, limit)| limit.shared == Some(true)) {
            let message = || {
                format!(
                    "there is no limitStore: each of the {} gateways has its share of the amount",
                    document.replicas
                )
            };
            warnings.add(&place.index(index).field("shared"), message);
        }
    }
}

fn warn_of_unpriced(document: &Document, prices: &[Price], warnings: &mut Report) {
    let costly: FxHashSet<&str> = document
        .policies
        .iter()
        .filter(|policy| policy.limits.iter().any(|limit| limit.count == Some(RawCount::Cost)))
        .map(|policy| policy.name.as_str())
        .collect();
    if costly.is_empty() {
        return;
    }
    let is_costly = |names: &[String]| names.iter().any(|name| costly.contains(name.as_str()));
    let listeners: FxHashSet<&str> = document
        .listeners
        .iter()
        .filter(|listener| is_costly(&listener.policies))
        .map(|listener| listener.name.as_str())
        .collect();
    let upstreams = upstreams_with(document, is_costly);
    let routes = FieldPath::Root.field("routes");
    for (index, route) in document.routes.iter().enumerate() {
        let of_route = match route.listeners.is_empty() {
            true => !listeners.is_empty(),
            false => route.listeners.iter().any(|name| listeners.contains(name.as_str())),
        };
        let route_place = routes.index(index);
        let place = route_place.field("rules");
        for (index, rule) in route.rules.iter().enumerate() {
            let rule_place = place.index(index);
            let place = rule_place.field("targets");
            let is_asked = of_route || is_costly(&rule.policies);
            for (index, target) in rule.targets.iter().enumerate() {
                let Some(name) = target.pool.as_deref().or(target.backend.as_deref()) else { continue };
                if !is_asked && !upstreams.contains(name) || renames(document, name) {
                    continue;
                }
                for model in models_of(rule, target).filter(|model| !is_priced(prices, name, model)) {
                    let message = || {
                        format!(
                            "the model {} of {} has no price, so it costs nothing in limits of Cost: add it to prices",
                            Quoted(model),
                            Quoted(name)
                        )
                    };
                    warnings.add(&place.index(index), message);
                }
            }
        }
    }
}

/// The pools and backends with policies of which one is of interest.
fn upstreams_with(document: &Document, is_one: impl Fn(&[String]) -> bool) -> FxHashSet<&str> {
    let pools = document.pools.iter().map(|pool| (&pool.name, &pool.policies));
    let backends = document.backends.iter().map(|backend| (&backend.name, &backend.policies));
    pools.chain(backends).filter(|(_, names)| is_one(names)).map(|(name, _)| name.as_str()).collect()
}

/// Whether a pool calls models by names of its own.
fn renames(document: &Document, pool: &str) -> bool {
    document.pools.iter().any(|raw| raw.name == pool && !raw.model_rewrites.is_empty())
}

/// The models that a target is asked for, as far as the document names them.
fn models_of<'d>(rule: &'d RawRule, target: &'d RawTarget) -> impl Iterator<Item = &'d str> {
    let own = target.model_override.as_deref();
    own.into_iter().chain(rule.models.iter().map(String::as_str).filter(move |_| own.is_none()))
}

fn is_priced(prices: &[Price], upstream: &str, model: &str) -> bool {
    let is_of = |price: &Price| price.upstream.as_deref().is_none_or(|own| own == upstream);
    prices.iter().any(|price| is_of(price) && price.models.contains(model))
}
