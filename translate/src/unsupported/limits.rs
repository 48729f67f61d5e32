//! Which BackendTrafficPolicies limit the requests of a rule, and which QuotaPolicies what upstreams are asked for.

use std::rc::Rc;

use penstock_config::raw::RawLimit;

use super::{Target, Unsupported};
use crate::context::Context;
use crate::gateway::Gateway;
use crate::limits::{self, Costs, Group, Limits};
use crate::names;
use crate::world::{Key, Kind, ObjectId};

/// What a status says of limits that data planes should share and cannot.
const NOT_SHARED: &str = "there is no store that data planes share counters in (--limit-store), so each lets its share of the \
                          amount pass: the amount by the number of replicas";

/// The policies that limit the requests of a rule: those whose local limits count, and whose global ones do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Limiting {
    local: Option<usize>,
    global: Option<usize>,
    /// The policy that is told what is wrong.
    own: usize,
    /// Whether the global ones are of the route or the rule, and not of all of a Gateway's.
    is_global_own: bool,
}

impl Limiting {
    /// The position of the policy that is told what is wrong.
    pub(crate) fn own(self) -> usize {
        self.own
    }
}

impl Unsupported<'_> {
    /// Reads what policies limit that are for something.
    pub(super) fn read_limits(&mut self, context: &Context<'_>) {
        let has_store = context.options.limit_store.is_some();
        for policy in &mut self.policies {
            if policy.in_force.is_empty() || policy.is_ignored || policy.closing.is_some() {
                continue;
            }
            let key = &policy.meta.key;
            match policy.kind {
                Kind::BackendTrafficPolicy => {
                    let spec = context.world.traffic_policies.get(key).and_then(|it| it.spec.as_ref().ok());
                    let settings = spec.and_then(|spec| spec.settings.rate_limit.as_ref());
                    policy.limits = settings.map_or(Ok(None), Limits::read).map(|limits| limits.map(Rc::new));
                    if let Ok(Some(limits)) = &policy.limits {
                        policy.notes.extend(limits.notes().cloned());
                        let is_shared = limits.global.is_some();
                        policy.notes.extend((is_shared && !has_store).then(|| NOT_SHARED.to_owned()));
                    }
                    let is_vague = policy.in_force.iter().any(|it| matches!(it, Target::AnyRule(..)));
                    if is_vague && !matches!(policy.limits, Ok(None)) {
                        policy.vague =
                            Some(format!("{} (for a rule that its route does not have)", policy.name));
                    }
                }
                Kind::QuotaPolicy => {
                    let spec = context.world.quota_policies.get(key).and_then(|it| it.spec.as_ref().ok());
                    policy.quota = spec.map_or_else(|| Ok(Vec::new()), limits::read_quota);
                    policy.notes.extend((!has_store).then(|| NOT_SHARED.to_owned()));
                }
                _ => continue,
            }
            self.has_limits |= !matches!(policy.limits, Ok(None));
        }
    }

    /// Whether any policy limits requests.
    pub(crate) fn has_limits(&self) -> bool {
        self.has_limits
    }

    /// What limits the requests of a rule at a listener.
    pub(crate) fn limiting(
        &self,
        gateway: &Gateway<'_>,
        listener: &str,
        route: &Key,
        rule: Option<&str>,
    ) -> Option<Limiting> {
        let attached = self.in_force.get(&Kind::BackendTrafficPolicy)?;
        let of_rule = rule.and_then(|rule| attached.get(&Target::Rule(route.clone(), rule.to_owned())));
        let own = of_rule.or_else(|| attached.get(&Target::Route(route.clone()))).copied();
        let parent = match own {
            Some(own) if !self.policies[own].merges() => None,
            _ => self.of_listener(Kind::BackendTrafficPolicy, gateway, listener),
        };
        // What cannot be read counts for both, so that it closes.
        let has = |index: &usize, of: fn(&Limits) -> &Option<Group>| match &self.policies[*index].limits {
            Ok(limits) => limits.as_ref().is_some_and(|limits| of(limits).is_some()),
            Err(_) => true,
        };
        let first =
            |of: fn(&Limits) -> &Option<Group>| [own, parent].into_iter().flatten().find(|it| has(it, of));
        let (local, global) = (first(|limits| &limits.local), first(|limits| &limits.global));
        let first = [own, parent].into_iter().flatten().find(|it| local == Some(*it) || global == Some(*it));
        let is_global_own = global.is_some() && global == own;
        first.map(|index| Limiting { local, global, own: index, is_global_own })
    }

    /// The limits of requests, where they count what `costs` say: by the name of the document's policy that has them, since
    /// counters are those of a policy. One that is for all targets together has a policy of its own, so that it is the same for
    /// all routes, whatever else limits them.
    ///
    /// # Errors
    /// They cannot be enforced: why, with the policy's name.
    pub(crate) fn limits(
        &self,
        limiting: Limiting,
        costs: &Costs<'_>,
    ) -> Result<Vec<(String, Vec<RawLimit>)>, String> {
        // A Gateway's policy may be about routes for models, where it has others too.
        let may_lack = !limiting.is_global_own && !costs.is_of_models;
        let mut all: Vec<(String, Vec<RawLimit>)> = Vec::new();
        for (index, is_local) in [(limiting.local, true), (limiting.global, false)] {
            let Some(policy) = index.map(|index| &self.policies[index]) else { continue };
            let named = |fault: String| format!("{} (spec.{fault})", policy.name);
            let limits = policy.limits.as_ref().map_err(|fault| named(fault.clone()))?;
            let group = limits.as_ref().and_then(|limits| {
                let group = if is_local { &limits.local } else { &limits.global };
                group.as_ref()
            });
            let Some(group) = group else { continue };
            let key = &policy.meta.key;
            let base = names::of_parts(&["limits", &key.namespace, &key.name]);
            for limit in group.limits(costs, may_lack).map_err(named)? {
                let is_of_route = limit.per.iter().any(|per| per == "route");
                let name = if is_of_route { base.clone() } else { names::in_document([&*base, &limit.name]) };
                match all.iter_mut().find(|(known, _)| *known == name) {
                    Some((_, limits)) => limits.push(limit),
                    None => all.push((name, vec![limit])),
                }
            }
        }
        Ok(all)
    }

    /// The limits of what an upstream is asked for, and what documents call them. Their counters are the upstream's, whatever
    /// Gateway leads to it.
    pub(crate) fn quota(&self, upstream: ObjectId) -> Option<(String, Vec<RawLimit>)> {
        let ObjectId { kind, key: target } = &upstream;
        let kind = kind.name().to_ascii_lowercase();
        let owner = names::of_parts(&["quota", &kind, &target.namespace, &target.name]);
        let target = target.name.clone();
        let index = *self.in_force.get(&Kind::QuotaPolicy)?.get(&Target::Upstream(upstream))?;
        let policy = &self.policies[index];
        let limits = policy.quota.as_deref().ok().filter(|limits| !limits.is_empty())?;
        let owned = |limit: &RawLimit| RawLimit { shared_as: Some(owner.clone()), ..limit.clone() };
        let key = &policy.meta.key;
        let name = names::of_parts(&["quota", &key.namespace, &key.name, &target]);
        Some((name, limits.iter().map(owned).collect()))
    }
}
