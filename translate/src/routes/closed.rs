//! Which rules of routes are closed, where, and how their statuses say so.

use std::collections::{BTreeMap, BTreeSet};

use super::statuses::by_rules;
use super::{Route, Routing, by_listener_and_rule};
use crate::attach::Attachment;
use crate::gateway::Gateway;
use crate::status::Condition;
use crate::traffic::Traffic;
use crate::unsupported::{Effect, closed_condition};

impl Routing<'_, '_> {
    /// Positions of a route's rules that are closed, by listener.
    pub(super) fn closed(
        &self,
        route: &Route<'_>,
        gateway: &Gateway<'_>,
        listeners: &BTreeSet<usize>,
    ) -> BTreeMap<usize, BTreeSet<usize>> {
        if self.unsupported.is_empty() {
            return BTreeMap::new();
        }
        let mut closed = BTreeMap::new();
        for listener in listeners {
            let positions: BTreeSet<usize> = self
                .effects(route, gateway, *listener)
                .filter(|(_, effect)| effect.is_closed())
                .map(|(position, _)| position)
                .collect();
            if !positions.is_empty() {
                closed.insert(*listener, positions);
            }
        }
        closed
    }

    /// What policies change of a route's rules, by listener and by the position of the rule.
    pub(super) fn traffic(
        &self,
        route: &Route<'_>,
        gateway: &Gateway<'_>,
        listeners: &BTreeSet<usize>,
    ) -> BTreeMap<usize, BTreeMap<usize, Traffic>> {
        if self.unsupported.is_empty() {
            return BTreeMap::new();
        }
        by_listener_and_rule(route, listeners, |index, position| {
            let name = gateway.listeners.get(index).map_or("", |listener| listener.spec.name.as_str());
            let rule = route.object.rule_name(position);
            self.unsupported.traffic(gateway, name, &route.object.meta().key, rule)
        })
    }

    /// Conditions of a route about what nobody acts on, towards one of its parents.
    pub(super) fn unsupported_conditions(
        &self,
        route: &Route<'_>,
        attachment: &Attachment,
        gateway: &Gateway<'_>,
    ) -> Vec<Condition> {
        if self.unsupported.is_empty() {
            return Vec::new();
        }
        let mut all = Effect::default();
        let mut open = BTreeSet::new();
        // By what closes them: listeners and positions of rules.
        let mut closed: BTreeMap<String, BTreeMap<usize, BTreeSet<&str>>> = BTreeMap::new();
        for index in &attachment.listeners {
            let Some(listener) = gateway.listeners.get(*index) else { continue };
            let name = listener.spec.name.as_str();
            for (position, effect) in self.effects(route, gateway, *index) {
                match effect.closed() {
                    Some(why) => {
                        closed.entry(why).or_default().entry(position).or_default().insert(name);
                    }
                    None => {
                        open.insert((position, name));
                    }
                }
                all.join(effect);
            }
        }
        let mut conditions: Vec<Condition> = all.notes().collect();
        if !closed.is_empty() {
            let why: String = if open.is_empty() && closed.len() == 1 {
                closed.into_keys().collect()
            } else {
                let is_everywhere = attachment.listeners.len() == 1;
                let place = |listeners: BTreeSet<&str>| match is_everywhere {
                    true => String::new(),
                    false => format!("at {}: ", listeners.into_iter().collect::<Vec<_>>().join(", ")),
                };
                let said = closed.into_iter().flat_map(|(why, rules)| {
                    rules.into_iter().map(move |(position, at)| (position, format!("{}{why}", place(at))))
                });
                by_rules(said)
            };
            conditions.insert(0, closed_condition(&why));
        }
        conditions
    }

    /// What becomes of each rule at a listener.
    fn effects(
        &self,
        route: &Route<'_>,
        gateway: &Gateway<'_>,
        listener: usize,
    ) -> impl Iterator<Item = (usize, Effect<'_>)> {
        self.closing_effects(route, gateway, listener).map(move |(position, mut effect)| {
            effect.invalidate(self.access_fault(route, gateway, listener, position));
            effect.invalidate(self.limit_fault(route, gateway, listener, position));
            effect.leave_out(self.pointless(route, gateway, listener, position));
            (position, effect)
        })
    }

    /// What policies say of backends and is for a rule that leads to a pool.
    fn pointless(
        &self,
        route: &Route<'_>,
        gateway: &Gateway<'_>,
        listener: usize,
        position: usize,
    ) -> Option<String> {
        let rule = route.built.rules.iter().find(|rule| rule.position == position)?;
        let pool = rule.raw.targets.iter().find_map(|target| target.pool.as_deref())?;
        let name = gateway.listeners.get(listener)?.spec.name.as_str();
        let said = route.object.rule_name(position);
        let traffic = self.unsupported.traffic(gateway, name, &route.object.meta().key, said)?;
        let fields: Vec<&str> = traffic.backing().fields().collect();
        let why = || {
            format!(
                "{} of its BackendTrafficPolicy at the pool {pool}, which chooses by itself",
                fields.join(", ")
            )
        };
        (!fields.is_empty()).then(why)
    }

    /// What becomes of each rule at a listener, whatever is asked of requests there.
    pub(super) fn closing_effects(
        &self,
        route: &Route<'_>,
        gateway: &Gateway<'_>,
        listener: usize,
    ) -> impl Iterator<Item = (usize, Effect<'_>)> {
        let name = gateway.listeners.get(listener).map_or("", |listener| listener.spec.name.as_str());
        let key = &route.object.meta().key;
        route.built.positions().into_iter().map(move |position| {
            let rule = route.object.rule_name(position);
            (position, self.unsupported.on_rule(gateway, name, key, rule))
        })
    }
}
