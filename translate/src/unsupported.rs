//! Policies of kinds that nobody here acts on, and fields that restrict and are not acted on: what they are for is closed,
//! and whoever wrote them is told.
//!
//! Targets are resolved as Envoy Gateway does it: of several policies of a kind the one for a rule counts before one for
//! its route, that before one for a listener, and that before one for the Gateway; as a whole, unless it says `mergeType`.
//! Of two for the same thing the older counts.

mod access;
mod clients;
mod effect;
mod limits;
mod policy;
mod target;

use std::cell::RefCell;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use crate::access::Asked;
use crate::context::{Context, RefError};
use crate::gateway::Gateway;
use crate::policies::Policies;
use crate::status::Condition;
use crate::traffic::Traffic;
use crate::world::fates::FATES;
use crate::world::{Key, Kind, ObjectId};

pub(crate) use access::InForce;
pub(crate) use effect::{Effect, closed_condition};
pub(crate) use limits::Limiting;
pub(crate) use policy::{Policy, UNSUPPORTED};
pub(crate) use target::Target;

/// All of it.
pub(crate) struct Unsupported<'a> {
    /// By age.
    policies: Vec<Policy<'a>>,
    /// Which policy of each kind is in force for what. Only kinds that have any.
    in_force: BTreeMap<Kind, BTreeMap<Target, usize>>,
    /// Policies that may restrict and cannot be read, by namespace: they close everything in it.
    blind: BTreeMap<&'a str, Vec<usize>>,
    /// Whether any policy asks who asks.
    has_access: bool,
    /// Whether any policy limits requests.
    has_limits: bool,
    /// What those that are put together ask of requests, or why they cannot be, as far as somebody wanted to know.
    merged: RefCell<BTreeMap<InForce, Result<Rc<Asked>, String>>>,
    /// Whether a Gateway wants something of clients.
    has_frontends: bool,
}

impl<'a> Unsupported<'a> {
    /// Reads all policies and finds their targets.
    pub(crate) fn read(context: &Context<'a>, policies: &Policies<'_>) -> Self {
        let mut all = Self {
            policies: policy::all(context.world),
            in_force: BTreeMap::new(),
            blind: BTreeMap::new(),
            has_access: false,
            has_limits: false,
            merged: RefCell::default(),
            has_frontends: false,
        };
        for index in 0..all.policies.len() {
            all.attach(context, index);
        }
        all.read_access(context, policies);
        all.read_clients(context);
        all.read_overrides(context);
        all.read_limits(context);
        all.has_frontends = context.world.gateways.iter().any(|(_, object)| {
            let tls = object.spec.as_ref().ok().and_then(|spec| spec.tls.as_ref());
            tls.is_some_and(|tls| tls.frontend.is_some())
        });
        all
    }

    /// All policies, by age.
    pub(crate) fn policies(&self) -> &[Policy<'a>] {
        &self.policies
    }

    /// Whether nothing is closed and nobody has to be told anything.
    pub(crate) fn is_empty(&self) -> bool {
        self.policies.is_empty() && !self.has_frontends
    }

    /// What becomes of a rule's requests at a listener.
    pub(crate) fn on_rule(
        &self,
        gateway: &Gateway<'_>,
        listener: &str,
        route: &Key,
        rule: Option<&str>,
    ) -> Effect<'_> {
        let mut effect = Effect::default();
        if self.is_empty() {
            return effect;
        }
        let key = gateway.key();
        let own = [
            rule.map(|rule| Target::Rule(route.clone(), rule.to_owned())),
            Some(Target::Route(route.clone())),
        ];
        let of_gateway = [
            Some(Target::Listener(key.clone(), listener.to_owned())),
            Some(Target::Gateway(key.clone())),
            Some(Target::Class(gateway.class_name().to_owned())),
        ];
        for attached in self.in_force.values() {
            // These only add: one for a rule does not take the place of those for the route.
            let any = attached.range(Target::AnyRule(route.clone(), String::new())..);
            let any = any.take_while(|(target, _)| matches!(target, Target::AnyRule(key, _) if key == route));
            any.for_each(|(_, index)| {
                effect.add(&self.policies[*index], true);
                effect.close(self.policies[*index].vague.as_deref());
            });
            let first = |targets: &[Option<Target>]| {
                let index = targets.iter().flatten().find_map(|target| attached.get(target));
                index.map(|index| &self.policies[*index])
            };
            let own = first(&own);
            if let Some(own) = own {
                effect.add(own, true);
            }
            if own.is_none_or(Policy::merges)
                && let Some(parent) = first(&of_gateway)
            {
                effect.add(parent, false);
                if parent.kind == Kind::ClientTrafficPolicy && !parent.is_ignored {
                    effect.invalidate(parent.fault());
                }
            }
        }
        effect.invalidate(self.client_fault(gateway, listener));
        let namespaces = BTreeSet::from([route.namespace.as_str(), key.namespace.as_str()]);
        for index in namespaces.iter().filter_map(|namespace| self.blind.get(namespace)).flatten() {
            effect.add(&self.policies[*index], false);
        }
        effect.invalidate(frontend_fault(gateway, listener));
        effect
    }

    /// What policies change of how a rule's requests are tried, at a listener.
    pub(crate) fn traffic(
        &self,
        gateway: &Gateway<'_>,
        listener: &str,
        route: &Key,
        rule: Option<&str>,
    ) -> Option<Traffic> {
        if self.is_empty() {
            return None;
        }
        let of = |target: Target| {
            let index = self.in_force.get(&Kind::BackendTrafficPolicy)?.get(&target)?;
            Some(&self.policies[*index]).filter(|policy| !policy.is_ignored)
        };
        let clients = self.clients(gateway, listener).and_then(|(_, clients)| clients.traffic.clone());
        let key = gateway.key();
        let said = |policy: &Policy<'_>| policy.traffic.as_ref().ok().cloned().flatten();
        let of_rule = rule.and_then(|rule| of(Target::Rule(route.clone(), rule.to_owned())));
        let own = of_rule.or_else(|| of(Target::Route(route.clone())));
        let parent = || {
            let of_listener = of(Target::Listener(key.clone(), listener.to_owned()));
            said(of_listener.or_else(|| of(Target::Gateway(key.clone())))?)
        };
        let own = match own {
            None => parent(),
            Some(policy) if policy.merges() => over(said(policy), parent()),
            Some(policy) => said(policy),
        };
        over(own, clients)
    }

    /// What is said of a Gateway as a whole, or of a listener of it, for what is attached to it.
    pub(crate) fn conditions(&self, gateway: &Gateway<'_>, listener: Option<&str>) -> Vec<Condition> {
        let effect = match listener {
            Some(listener) => self.on_listener(gateway, listener),
            None => self.on_gateway(gateway),
        };
        effect.conditions().collect()
    }

    /// What is attached to a Gateway as a whole.
    fn on_gateway(&self, gateway: &Gateway<'_>) -> Effect<'_> {
        let key = gateway.key();
        let mut effect =
            self.on([Target::Class(gateway.class_name().to_owned()), Target::Gateway(key.clone())]);
        for index in self.blind.get(key.namespace.as_str()).into_iter().flatten() {
            effect.add(&self.policies[*index], false);
        }
        effect
    }

    /// What is attached to a listener.
    fn on_listener(&self, gateway: &Gateway<'_>, listener: &str) -> Effect<'_> {
        let mut effect = self.on([Target::Listener(gateway.key().clone(), listener.to_owned())]);
        effect.invalidate(frontend_fault(gateway, listener));
        effect.invalidate(self.client_fault(gateway, listener));
        effect
    }

    /// Why nothing may be sent to an upstream, if so.
    pub(crate) fn on_upstream(&self, kind: Kind, key: &Key) -> Option<RefError> {
        let mut effect = self.on([Target::Upstream(ObjectId { kind, key: key.clone() })]);
        let blind =
            self.blind.get(key.namespace.as_str()).into_iter().flatten().map(|at| &self.policies[*at]);
        blind.filter(|policy| policy.kind == Kind::QuotaPolicy).for_each(|policy| effect.add(policy, false));
        effect.closed().map(|message| RefError::new(UNSUPPORTED, message))
    }

    fn on(&self, targets: impl IntoIterator<Item = Target>) -> Effect<'_> {
        let mut effect = Effect::default();
        for target in targets {
            for index in self.in_force.values().filter_map(|attached| attached.get(&target)) {
                effect.add(&self.policies[*index], true);
                effect.invalidate(self.policies[*index].fault());
            }
        }
        effect
    }

    fn attach(&mut self, context: &Context<'a>, index: usize) {
        let policy = &mut self.policies[index];
        let targets = match policy.targets {
            Ok(targets) => target::resolve(context, &policy.id(), targets),
            Err(_) => {
                if FATES.iter().any(|fates| fates.kind == policy.kind && fates.restricts()) {
                    self.blind.entry(&policy.meta.key.namespace).or_default().push(index);
                }
                return;
            }
        };
        policy.missing = targets.missing;
        for target in targets.found {
            match self.in_force.entry(policy.kind).or_default().entry(target) {
                Entry::Vacant(free) => {
                    policy.in_force.push(free.key().clone());
                    free.insert(index);
                }
                Entry::Occupied(taken) => policy.overruled.push(taken.key().clone()),
            }
        }
    }
}

/// Why what a Gateway wants of a listener's clients cannot be asked for, if so.
fn frontend_fault(gateway: &Gateway<'_>, listener: &str) -> Option<String> {
    let found = gateway.listeners.iter().find(|it| it.spec.name == listener)?;
    Some(format!("Gateway {} ({})", gateway.key(), found.frontend_fault.as_ref()?))
}

/// What is said, and what something less specific says beside it.
fn over(own: Option<Traffic>, parent: Option<Traffic>) -> Option<Traffic> {
    match (own, parent) {
        (Some(own), Some(parent)) => Some(own.over(&parent)),
        (own, parent) => own.or(parent),
    }
}
