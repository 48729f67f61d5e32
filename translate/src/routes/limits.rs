//! What policies limit of routes' requests.

use std::collections::{BTreeMap, BTreeSet};

use super::{Route, RouteObject, Routing, by_listener_and_rule};
use crate::api::AiRequestCost;
use crate::gateway::Gateway;
use crate::limits::Costs;
use crate::unsupported::Limiting;

impl Routing<'_, '_> {
    /// What limits the requests of a route's rules, by listener and by the position of the rule.
    pub(super) fn limiting(
        &self,
        route: &Route<'_>,
        gateway: &Gateway<'_>,
        listeners: &BTreeSet<usize>,
    ) -> BTreeMap<usize, BTreeMap<usize, Limiting>> {
        if !self.unsupported.has_limits() {
            return BTreeMap::new();
        }
        by_listener_and_rule(route, listeners, |index, position| {
            self.limiting_of(route, gateway, index, position)
        })
    }

    /// Why what limits the requests of a rule cannot be enforced, if so.
    pub(super) fn limit_fault(
        &self,
        route: &Route<'_>,
        gateway: &Gateway<'_>,
        listener: usize,
        position: usize,
    ) -> Option<String> {
        if !self.unsupported.has_limits() {
            return None;
        }
        let limiting = self.limiting_of(route, gateway, listener, position)?;
        self.unsupported.limits(limiting, &route.costs(gateway)).err()
    }

    /// The policy that limits the requests of a rule, by its position.
    pub(super) fn limiting_of(
        &self,
        route: &Route<'_>,
        gateway: &Gateway<'_>,
        listener: usize,
        position: usize,
    ) -> Option<Limiting> {
        let name = &gateway.listeners.get(listener)?.spec.name;
        let rule = route.object.rule_name(position);
        self.unsupported.limiting(gateway, name, &route.object.meta().key, rule)
    }
}

impl<'a> Route<'a> {
    /// What is counted of its requests, by key.
    pub(super) fn costs<'g>(&self, gateway: &'g Gateway<'_>) -> Costs<'g>
    where
        'a: 'g,
    {
        let (own, is_of_models): (&[AiRequestCost], bool) = match self.object {
            RouteObject::Http(_) => (&[], false),
            RouteObject::Ai(object) => {
                (object.spec.as_ref().map_or(&[], |spec| &spec.llm_request_costs), true)
            }
        };
        Costs::of(own, gateway.request_costs, is_of_models)
    }
}
