//! What policies ask of requests: by the listener where all of its rules have the same policies, else by each rule.
//!
//! A listener asks before it looks for a route or reads a body, and its own answers, such as the list of models, are
//! behind what it asks. Rules can only be asked when the route is known.

use std::collections::{BTreeMap, BTreeSet};

use super::{Documents, Route, Routing, by_listener_and_rule};
use crate::attach::AttachedRoute;
use crate::check::Problem;
use crate::gateway::Gateway;
use crate::guards::Guards;
use crate::unsupported::{InForce, Limiting};
use crate::world::Key;

impl Routing<'_, '_> {
    /// What is asked of all requests at each listener, where all of its rules that are open have the same policies. Of one
    /// without rules it is what its Gateway's policies say.
    pub(super) fn find_whole(
        &self,
        gateways: &BTreeMap<Key, Gateway<'_>>,
    ) -> BTreeMap<Key, BTreeMap<usize, InForce>> {
        let mut whole: BTreeMap<Key, BTreeMap<usize, InForce>> = BTreeMap::new();
        if !self.unsupported.has_access() {
            return whole;
        }
        let mut found: BTreeMap<(&Key, usize), BTreeSet<Option<InForce>>> = BTreeMap::new();
        for route in &self.routes {
            for attachment in &route.attachments {
                let Some((key, gateway)) = gateways.get_key_value(&attachment.gateway) else { continue };
                for index in &attachment.served {
                    let open = self.closing_effects(route, gateway, *index).filter(|(_, it)| !it.is_closed());
                    let asked = open.map(|(position, _)| self.in_force(route, gateway, *index, position));
                    found.entry((key, *index)).or_default().extend(asked);
                }
            }
        }
        for (key, gateway) in gateways {
            for (index, listener) in gateway.listeners.iter().enumerate() {
                let name = &listener.spec.name;
                let mut distinct = found.remove(&(key, index)).unwrap_or_default().into_iter();
                let in_force = match (distinct.next(), distinct.next()) {
                    (None, _) => self.unsupported.access_of_listener(gateway, name),
                    (Some(only), None) => only,
                    (Some(_), Some(_)) => None,
                };
                let is_sound = |it: &InForce| self.unsupported.access_fault(*it, true).is_none();
                if let Some(in_force) = in_force.filter(is_sound) {
                    whole.entry(key.clone()).or_default().insert(index, in_force);
                }
            }
        }
        whole
    }

    /// What is asked of requests for a route's rules, by listener and by the position of the rule, where the listener does
    /// not ask it.
    pub(super) fn access(
        &self,
        route: &Route<'_>,
        gateway: &Gateway<'_>,
        listeners: &BTreeSet<usize>,
    ) -> BTreeMap<usize, BTreeMap<usize, InForce>> {
        if !self.unsupported.has_access() {
            return BTreeMap::new();
        }
        let listeners = listeners.iter().filter(|index| !self.is_whole(gateway, **index));
        by_listener_and_rule(route, listeners, |index, position| {
            self.in_force(route, gateway, index, position)
        })
    }

    /// Why what is asked of requests for a rule cannot be enforced, if so.
    pub(super) fn access_fault(
        &self,
        route: &Route<'_>,
        gateway: &Gateway<'_>,
        listener: usize,
        position: usize,
    ) -> Option<String> {
        let in_force = self.in_force(route, gateway, listener, position)?;
        self.unsupported.access_fault(in_force, self.is_whole(gateway, listener))
    }

    /// The policies of a Gateway's document.
    pub(super) fn guards(&self, gateway: &Gateway<'_>, routes: &[AttachedRoute<'_>]) -> Guards {
        let of_rules = routes.iter().flat_map(|route| route.access.values()).flat_map(BTreeMap::values);
        let of_listeners = self.whole.get(gateway.key()).into_iter().flat_map(BTreeMap::values);
        Guards::of(self.unsupported, &of_rules.chain(of_listeners).copied().collect())
    }

    /// Why policies cannot be enforced somewhere, by their positions.
    pub(super) fn policy_faults(
        &self,
        gateways: &BTreeMap<Key, Gateway<'_>>,
        documents: &Documents,
    ) -> BTreeMap<usize, String> {
        let mut faults = BTreeMap::new();
        if !self.unsupported.has_access() && !self.unsupported.has_limits() {
            return faults;
        }
        for finished in documents.values() {
            for problem in &finished.problems {
                let Problem::Policy { name, message } = problem else { continue };
                let Some(in_force) = finished.guards.get(name) else { continue };
                let message = || format!("what it is for is refused: {message}");
                faults.entry(in_force.own()).or_insert_with(message);
            }
        }
        let access = documents.values().flat_map(|finished| &finished.without_room).map(|it| it.own());
        let limits = documents.values().flat_map(|finished| &finished.limits_without_room).map(|it| it.own());
        for index in access.chain(limits) {
            let message =
                "what it is for is refused: older policies of the Gateway leave no room for what it has";
            faults.entry(index).or_insert_with(|| message.to_owned());
        }
        for route in &self.routes {
            for attachment in &route.attachments {
                let Some(gateway) = gateways.get(&attachment.gateway) else { continue };
                for (index, position) in attachment
                    .served
                    .iter()
                    .flat_map(|at| route.built.positions().into_iter().map(move |it| (*at, it)))
                {
                    let access = self.in_force(route, gateway, index, position).map(InForce::own);
                    let access = access.zip(self.access_fault(route, gateway, index, position));
                    let limits = self.limiting_of(route, gateway, index, position).map(Limiting::own);
                    let limits = limits.zip(self.limit_fault(route, gateway, index, position));
                    for (own, fault) in access.into_iter().chain(limits) {
                        let message =
                            || format!("{fault} cannot be enforced, so some of what it is for answers 500");
                        faults.entry(own).or_insert_with(message);
                    }
                }
            }
        }
        faults
    }

    fn is_whole(&self, gateway: &Gateway<'_>, listener: usize) -> bool {
        self.whole.get(gateway.key()).is_some_and(|listeners| listeners.contains_key(&listener))
    }

    fn in_force(
        &self,
        route: &Route<'_>,
        gateway: &Gateway<'_>,
        listener: usize,
        position: usize,
    ) -> Option<InForce> {
        let name = &gateway.listeners.get(listener)?.spec.name;
        let rule = route.object.rule_name(position);
        self.unsupported.access(gateway, name, &route.object.meta().key, rule)
    }
}
