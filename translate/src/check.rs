//! The last word on a document: the data plane's own validator. What it faults is taken out, so that a broken object
//! affects itself alone and a document that is published always compiles.
//!
//! To say every rule of the format here a second time was turned down: the two would drift apart.

use std::collections::{BTreeMap, BTreeSet};

use penstock_config::raw::{Document, RawAuthorization, RawPolicy, RawRule};
use penstock_config::{Fault, MAX_DOCUMENT_BYTES, ProfileCheck};

use crate::compile::{compile, shown};
use crate::{limiters, pools, rules};

/// The most times a document is checked. Each time takes out all faults that were reported, up to 200.
const MAX_ROUNDS: usize = 40;

/// The most bytes of routes that a document may have, with room for everything else below what is read.
const MAX_ROUTE_BYTES: usize = MAX_DOCUMENT_BYTES / 4 * 3;

/// Where a document's route comes from.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    /// The route's position among all routes.
    pub(crate) route: usize,
    /// The positions of its rules in the object.
    pub(crate) rules: Vec<usize>,
}

/// Something that was taken out of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Problem {
    /// A route.
    Route {
        /// Its position among all routes.
        route: usize,
        /// Why.
        message: String,
    },
    /// A rule, or what it does.
    Rule {
        /// Its route's position among all routes.
        route: usize,
        /// Its position in the object.
        rule: usize,
        /// Why.
        message: String,
    },
    /// Some of a rule's matches.
    Matches {
        /// Its route's position among all routes.
        route: usize,
        /// Its position in the object.
        rule: usize,
        /// Why.
        message: String,
    },
    /// Parts of a pool, or all of it.
    Pool {
        /// Its name in the document.
        name: String,
        /// Why.
        message: String,
    },
    /// A backend.
    Backend {
        /// Its name in the document.
        name: String,
        /// Why.
        message: String,
    },
    /// A policy, in whose place all is refused.
    Policy {
        /// Its name in the document.
        name: String,
        /// Why.
        message: String,
    },
    /// A listener.
    Listener {
        /// Its name.
        name: String,
        /// Why.
        message: String,
    },
}

/// Takes out of a document what its check faults. `origins` stand beside its routes.
pub(crate) fn mend(
    document: &mut Document,
    origins: &mut Vec<Origin>,
    profiles: &dyn ProfileCheck,
) -> Vec<Problem> {
    let mut mending = Mending { document, origins, problems: Vec::new(), bare: BTreeSet::new() };
    mending.fit();
    for _ in 0..MAX_ROUNDS {
        if mending.document.listeners.is_empty() {
            return mending.problems;
        }
        let faults: Vec<Fault> = match compile(mending.document, profiles) {
            Ok(()) => return mending.problems,
            Err(faults) => faults,
        };
        mending.take_out(&faults);
    }
    // Whoever made this many faults did so on purpose. Listeners stay, so that the port answers.
    mending.drop_all("the document has too many faults to find them all");
    mending.problems
}

/// Lets targets that lead to an upstream answer with 500.
pub(crate) fn disconnect(document: &mut Document, name: &str) {
    let leads_there = |pool: &Option<String>, backend: &Option<String>| {
        pool.as_deref().or(backend.as_deref()) == Some(name)
    };
    for rule in document.routes.iter_mut().flat_map(|route| &mut route.rules) {
        rule.mirrors.retain(|mirror| !leads_there(&mirror.pool, &mirror.backend));
        for target in &mut rule.targets {
            if leads_there(&target.pool, &target.backend) {
                *target = rules::nowhere(target.weight, target.priority);
            }
        }
    }
}

struct Mending<'d> {
    document: &'d mut Document,
    origins: &'d mut Vec<Origin>,
    problems: Vec<Problem>,
    /// Pools that were stripped of everything that can have a fault.
    bare: BTreeSet<String>,
}

/// The part of a document that a fault is in.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    Listener(usize),
    Route(usize),
    /// A rule, and what of it.
    Rule(usize, usize, PartOfRule),
    Pool(usize),
    Backend(usize),
    Policy(usize),
    Other,
}

/// The part of a rule that a fault is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PartOfRule {
    /// One of its matches.
    Match(usize),
    /// What it matches otherwise.
    Matching,
    /// What it does.
    Action,
}

/// What is at fault in a rule.
struct RuleFaults<'f> {
    first: &'f Fault,
    parts: Vec<PartOfRule>,
}

impl Mending<'_> {
    /// Takes out the youngest routes while there are too many bytes of them.
    fn fit(&mut self) {
        let mut bytes = 0;
        let mut kept = 0;
        for route in &self.document.routes {
            bytes += serde_json::to_vec(route).map_or(0, |json| json.len());
            if bytes > MAX_ROUTE_BYTES {
                break;
            }
            kept += 1;
        }
        while self.document.routes.len() > kept {
            let index = self.document.routes.len() - 1;
            let message = format!("the Gateway's older routes have {MAX_ROUTE_BYTES} bytes already");
            self.drop_route(index, message);
        }
    }

    fn take_out(&mut self, faults: &[Fault]) {
        let mut rules: BTreeMap<(usize, usize), RuleFaults<'_>> = BTreeMap::new();
        let mut routes: BTreeMap<usize, &Fault> = BTreeMap::new();
        let mut upstreams: BTreeMap<(bool, usize), &Fault> = BTreeMap::new();
        let mut listeners: BTreeMap<usize, &Fault> = BTreeMap::new();
        let mut policies: BTreeMap<usize, &Fault> = BTreeMap::new();
        let mut is_attributed = false;
        for fault in faults {
            let part = part(&fault.path);
            is_attributed |= part != Part::Other;
            match part {
                Part::Listener(index) => drop(listeners.entry(index).or_insert(fault)),
                Part::Route(index) => drop(routes.entry(index).or_insert(fault)),
                Part::Rule(route, rule, part) => {
                    let first = || RuleFaults { first: fault, parts: Vec::new() };
                    rules.entry((route, rule)).or_insert_with(first).parts.push(part);
                }
                Part::Pool(index) => drop(upstreams.entry((true, index)).or_insert(fault)),
                Part::Backend(index) => drop(upstreams.entry((false, index)).or_insert(fault)),
                Part::Policy(index) => drop(policies.entry(index).or_insert(fault)),
                Part::Other => {}
            }
        }
        if !is_attributed {
            let message = faults.first().map(ToString::to_string).unwrap_or_default();
            self.drop_all(&message);
            return;
        }
        for (index, fault) in policies {
            self.refuse_all(index, fault);
        }
        // From the end, so that positions before stay what they are.
        for ((is_pool, index), fault) in upstreams.into_iter().rev() {
            if is_pool { self.mend_pool(index, fault) } else { self.drop_backend(index, fault) }
        }
        for ((route, rule), faults) in rules.into_iter().rev() {
            if !routes.contains_key(&route) {
                self.mend_rule(route, rule, &faults);
            }
        }
        for (index, fault) in routes.into_iter().rev() {
            self.drop_route(index, shown(fault));
        }
        for (index, fault) in listeners.into_iter().rev() {
            self.drop_listener(index, fault);
        }
        self.drop_empty();
    }

    fn mend_rule(&mut self, route: usize, rule: usize, faults: &RuleFaults<'_>) {
        let (Some(raw), Some(origin)) = (self.document.routes.get_mut(route), self.origins.get_mut(route))
        else {
            return;
        };
        let (Some(raw_rule), Some(position)) = (raw.rules.get_mut(rule), origin.rules.get(rule).copied())
        else {
            return;
        };
        let is_sound = |index| !faults.parts.contains(&PartOfRule::Match(index));
        let has_sound = (0..raw_rule.matches.len()).any(is_sound);
        let is_of_matches = |part: &PartOfRule| matches!(part, PartOfRule::Match(_));
        // Only what it does: requests that meet it get an error. One that was mended so already goes.
        let answer = vec![rules::nowhere(1, 0)];
        if has_sound && faults.parts.iter().any(is_of_matches) {
            // What meets the others must not meet a rule that is for less, and may protect less.
            let mut index = 0..;
            raw_rule.matches.retain(|_| index.next().is_some_and(is_sound));
            let message = shown(faults.first);
            self.problems.push(Problem::Matches { route: origin.route, rule: position, message });
            return;
        }
        if faults.parts.iter().any(|part| *part != PartOfRule::Action) || raw_rule.targets == answer {
            raw.rules.remove(rule);
            origin.rules.remove(rule);
        } else {
            let RawRule { name, matches, models, .. } = std::mem::take(raw_rule);
            *raw_rule = RawRule { name, matches, models, targets: answer, ..RawRule::default() };
        }
        self.problems.push(Problem::Rule {
            route: origin.route,
            rule: position,
            message: shown(faults.first),
        });
    }

    fn drop_route(&mut self, index: usize, message: String) {
        if index < self.document.routes.len() {
            self.document.routes.remove(index);
            let origin = self.origins.remove(index);
            self.problems.push(Problem::Route { route: origin.route, message });
        }
    }

    /// A document's route needs a rule.
    fn drop_empty(&mut self) {
        for index in (0..self.document.routes.len()).rev() {
            if self.document.routes[index].rules.is_empty() {
                self.document.routes.remove(index);
                self.origins.remove(index);
            }
        }
    }

    /// Strips a pool of what can have faults; if that was done already, takes it out.
    fn mend_pool(&mut self, index: usize, fault: &Fault) {
        let Some(pool) = self.document.pools.get_mut(index) else { return };
        let name = pool.name.clone();
        if self.bare.insert(name.clone()) {
            let mut bare = pools::raw_pool(name.clone());
            bare.endpoints_from.clone_from(&pool.endpoints_from);
            bare.protocol = pool.protocol;
            // Without its credential a pool must not be asked, so that stays.
            bare.credential.clone_from(&pool.credential);
            *pool = bare;
        } else {
            self.document.pools.remove(index);
            disconnect(self.document, &name);
        }
        self.problems.push(Problem::Pool { name, message: shown(fault) });
    }

    fn drop_backend(&mut self, index: usize, fault: &Fault) {
        if index < self.document.backends.len() {
            let name = self.document.backends.remove(index).name;
            disconnect(self.document, &name);
            self.problems.push(Problem::Backend { name, message: shown(fault) });
        }
    }

    /// Lets a policy refuse all requests. Without it they would be open.
    fn refuse_all(&mut self, index: usize, fault: &Fault) {
        let Some(policy) = self.document.policies.get_mut(index) else { return };
        *policy = refusing(policy);
        let name = policy.name.clone();
        self.problems.push(Problem::Policy { name, message: shown(fault) });
    }

    fn drop_listener(&mut self, index: usize, fault: &Fault) {
        if index >= self.document.listeners.len() {
            return;
        }
        let name = self.document.listeners.remove(index).name;
        for index in (0..self.document.routes.len()).rev() {
            self.document.routes[index].listeners.retain(|listener| *listener != name);
            if self.document.routes[index].listeners.is_empty() {
                self.drop_route(index, format!("its only listener, {name}, cannot be served"));
            }
        }
        self.problems.push(Problem::Listener { name, message: shown(fault) });
    }

    fn drop_all(&mut self, message: &str) {
        for index in (0..self.document.routes.len()).rev() {
            self.drop_route(index, message.to_owned());
        }
        self.document.pools.clear();
        self.document.backends.clear();
        for policy in &mut self.document.policies {
            *policy = refusing(policy);
        }
    }
}

/// A policy of the same name that refuses all requests.
fn refusing(policy: &RawPolicy) -> RawPolicy {
    let name = policy.name.clone();
    let limits = policy.limits.clone();
    if *policy == (RawPolicy { name: name.clone(), limits, ..RawPolicy::default() }) {
        // Upstreams have policies of limits alone, and nothing else is asked of them.
        return RawPolicy { name, limits: vec![limiters::none()], ..RawPolicy::default() };
    }
    RawPolicy { name, authorization: Some(RawAuthorization::default()), ..RawPolicy::default() }
}

/// Which part a path leads to: `routes[2].rules[0].targets[1].pool` is in a rule.
fn part(path: &str) -> Part {
    let first = step(path);
    match first {
        Some(("listeners", index, _)) => Part::Listener(index),
        Some(("pools", index, _)) => Part::Pool(index),
        Some(("backends", index, _)) => Part::Backend(index),
        Some(("policies", index, _)) => Part::Policy(index),
        Some(("routes", route, rest)) => match step(rest) {
            Some(("rules", rule, rest)) => {
                let part = match step(rest) {
                    Some(("matches", index, _)) => PartOfRule::Match(index),
                    _ if rest.starts_with("matches") || rest.starts_with("models") => PartOfRule::Matching,
                    _ => PartOfRule::Action,
                };
                Part::Rule(route, rule, part)
            }
            _ => Part::Route(route),
        },
        _ => Part::Other,
    }
}

/// The first step of a path: its name, its index, and the rest.
fn step(path: &str) -> Option<(&str, usize, &str)> {
    let (name, rest) = path.split_once('[')?;
    let (index, rest) = rest.split_once(']')?;
    Some((name, index.parse().ok()?, rest.strip_prefix('.').unwrap_or(rest)))
}

#[cfg(test)]
mod tests {
    use penstock_config::raw::{RawAuthorization, RawCors, RawExternal, RawPolicy};

    use super::{Part, PartOfRule, part, refusing};
    use crate::limiters;

    #[test]
    fn who_is_refused_since_a_policy_is_faulty_is_not_told_of_limits_that_it_never_had() {
        let name = || "p".to_owned();
        let limits = vec![limiters::none()];
        let of_limits = RawPolicy { name: name(), limits: limits.clone(), ..RawPolicy::default() };
        assert_eq!(refusing(&of_limits), of_limits);
        let denies = RawPolicy {
            name: name(),
            authorization: Some(RawAuthorization::default()),
            ..RawPolicy::default()
        };
        let external: RawExternal = serde_json::from_str("{}").expect("a server that is nowhere");
        for policy in [
            RawPolicy { external: Some(external), ..of_limits.clone() },
            RawPolicy { name: name(), cors: Some(RawCors::default()), ..RawPolicy::default() },
            denies.clone(),
        ] {
            assert_eq!(refusing(&policy), denies);
        }
    }

    #[test]
    fn a_path_leads_to_the_part_that_is_at_fault() {
        for (path, expected) in [
            ("listeners[3].tls", Part::Listener(3)),
            ("routes[2].hostnames[0]", Part::Route(2)),
            ("routes[2].rules[10].targets[1].pool", Part::Rule(2, 10, PartOfRule::Action)),
            ("routes[2].rules[10].matches[1].path.value", Part::Rule(2, 10, PartOfRule::Match(1))),
            ("routes[2].rules[10].models[0]", Part::Rule(2, 10, PartOfRule::Matching)),
            ("routes[2].rules[10]", Part::Rule(2, 10, PartOfRule::Action)),
            ("pools[0].picker.plugins[0].type", Part::Pool(0)),
            ("backends[7]", Part::Backend(7)),
            ("policies[1].authentication.apiKey.consumerHeader", Part::Policy(1)),
            ("routes", Part::Other),
            ("", Part::Other),
            ("routes[x]", Part::Other),
        ] {
            assert_eq!(part(path), expected, "{path}");
        }
    }
}
