//! Which ClientTrafficPolicies are in force for listeners.

use std::collections::{BTreeMap, BTreeSet};

use super::{Policy, Target, Unsupported};
use crate::clients::Clients;
use crate::context::Context;
use crate::gateway::Gateway;
use crate::traffic;
use crate::world::{Key, Kind};

impl<'a> Unsupported<'a> {
    /// Reads what ClientTrafficPolicies say that are for something.
    pub(super) fn read_clients(&mut self, context: &Context<'_>) {
        // Of those that close what they are for, the rest does not matter.
        let is_of_interest = |policy: &&mut Policy<'_>| {
            policy.kind == Kind::ClientTrafficPolicy
                && !policy.in_force.is_empty()
                && !policy.is_ignored
                && policy.closing.is_none()
        };
        for policy in self.policies.iter_mut().filter(is_of_interest) {
            let key = &policy.meta.key;
            let Some(object) = context.world.client_policies.get(key) else { continue };
            if let Ok(spec) = &object.spec {
                policy.put_clients(Clients::read(context, key, &spec.settings), &object.unread);
            }
        }
    }

    /// Reads what BackendTrafficPolicies that are in force answer in place of something else.
    pub(super) fn read_overrides(&mut self, context: &Context<'_>) {
        let is_of_interest = |policy: &&mut Policy<'_>| {
            policy.kind == Kind::BackendTrafficPolicy && !policy.in_force.is_empty() && !policy.is_ignored
        };
        for policy in self.policies.iter_mut().filter(is_of_interest) {
            let key = &policy.meta.key;
            let Some(object) = context.world.traffic_policies.get(key) else { continue };
            if let Ok(spec) = &object.spec
                && let Some(wanted) = &spec.settings.response_override
            {
                let overrides = traffic::overrides(context, key, wanted);
                policy.put_overrides(&spec.settings, overrides, &object.unread);
            }
        }
    }

    /// What is said of a listener's clients, and the position of the policy that says it.
    pub(crate) fn clients(&self, gateway: &Gateway<'_>, listener: &str) -> Option<(usize, &Clients)> {
        let index = self.of_listener(Kind::ClientTrafficPolicy, gateway, listener)?;
        let clients = self.policies[index].clients.as_ref().ok()?.as_ref()?;
        Some((index, clients))
    }

    /// Why what is said of a listener's clients cannot be had beside other listeners.
    pub(super) fn client_fault(&self, gateway: &Gateway<'_>, listener: &str) -> Option<String> {
        let found = gateway.listeners.iter().find(|it| it.spec.name == listener)?;
        let (index, why) = found.client_fault.as_ref()?;
        Some(format!("{} ({why})", self.policies[*index].name))
    }

    /// The faults of policies that some listeners cannot have, by their positions.
    pub(crate) fn client_faults(&self, gateways: &BTreeMap<Key, Gateway<'_>>) -> BTreeMap<usize, String> {
        let mut faults = BTreeMap::new();
        for (key, gateway) in gateways {
            for listener in &gateway.listeners {
                let Some((index, why)) = &listener.client_fault else { continue };
                faults.entry(*index).or_insert_with(|| {
                    format!("listener {} of Gateway {key} answers 500: {why}", listener.spec.name)
                });
            }
        }
        faults
    }

    /// The listeners for which other policies take the place of those of their Gateways, by the positions of these.
    pub(crate) fn overridden_clients(
        &self,
        gateways: &BTreeMap<Key, Gateway<'_>>,
    ) -> BTreeMap<usize, BTreeSet<String>> {
        let mut overridden: BTreeMap<usize, BTreeSet<String>> = BTreeMap::new();
        let Some(attached) = self.in_force.get(&Kind::ClientTrafficPolicy) else { return overridden };
        for (key, gateway) in gateways {
            let Some(whole) = attached.get(&Target::Gateway(key.clone())) else { continue };
            for listener in &gateway.listeners {
                let name = listener.spec.name.as_str();
                if attached.contains_key(&Target::Listener(key.clone(), name.to_owned())) {
                    overridden.entry(*whole).or_default().insert(format!("{name} of Gateway {key}"));
                }
            }
        }
        overridden
    }
}
