//! What the statuses of objects shall say that nobody here acts on.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;

use serde_json::{Value, json};

use super::{Documents, Routing};
use crate::api::UnsupportedRoute;
use crate::attach::{parent_key, parent_kind, parent_ref};
use crate::context::Context;
use crate::gateway::Gateway;
use crate::output::Severity;
use crate::status::{Condition, Entries, OVERRIDDEN, ParentStatus, Status, StatusUpdate};
use crate::unsupported::{Policy, Target};
use crate::world::{Key, Kind, ObjectId, Resource, Table};

/// The most routes that the status of a policy names.
const MAX_NAMED: usize = 8;

/// The most entries that the status of a policy has room for.
const MAX_ANCESTORS: usize = 16;

/// Gateways of ours, each with the controller name of its class.
type Gateways<'g> = BTreeSet<(&'g Key, &'g str)>;

impl Routing<'_, '_> {
    /// What the statuses of policies and routes shall say that concern Gateways of ours and that nobody here acts on.
    /// Events say the same.
    pub(crate) fn unsupported_statuses(
        &self,
        context: &Context<'_>,
        gateways: &BTreeMap<Key, Gateway<'_>>,
        documents: &Documents,
    ) -> Vec<StatusUpdate> {
        let mut statuses = Vec::new();
        let users = self.users(gateways, documents);
        let mut faults = self.policy_faults(gateways, documents);
        faults.extend(self.unsupported.client_faults(gateways));
        let overridden = self.overridden(gateways);
        let of_listeners = self.unsupported.overridden_clients(gateways);
        for (index, policy) in self.unsupported.policies().iter().enumerate() {
            let concerned = concerned(policy, gateways, &users);
            if concerned.is_empty() {
                for missing in &policy.missing {
                    let message = format!("{missing}, which it is for, does not exist");
                    context.event(policy.id(), Severity::Warning, "TargetNotFound", message);
                }
            }
            let accepted = policy.accepted(faults.get(&index).map(String::as_str));
            if !accepted.is_true() && !concerned.is_empty() {
                context.event(policy.id(), Severity::Warning, accepted.reason, accepted.message.as_str());
            }
            let routes =
                overridden.get(&index).map(|routes| overridden_condition("rules of these routes", routes));
            let listeners = of_listeners.get(&index).map(|all| overridden_condition("these listeners", all));
            let conditions: Vec<Condition> =
                std::iter::once(accepted).chain(routes).chain(listeners).collect();
            statuses.extend(policy_status(context, policy, &conditions, &concerned));
        }
        let world = context.world;
        routes(context, gateways, &world.grpc_routes, &mut statuses);
        routes(context, gateways, &world.tls_routes, &mut statuses);
        routes(context, gateways, &world.tcp_routes, &mut statuses);
        routes(context, gateways, &world.udp_routes, &mut statuses);
        routes(context, gateways, &world.mcp_routes, &mut statuses);
        self.tell_of_others(context, gateways);
        statuses
    }

    /// The Gateways that requests come from to what a policy can be for, below Gateways themselves.
    fn users<'g>(
        &'g self,
        gateways: &BTreeMap<Key, Gateway<'_>>,
        documents: &'g Documents,
    ) -> BTreeMap<Target, Gateways<'g>> {
        let mut users: BTreeMap<Target, Gateways<'g>> = BTreeMap::new();
        if self.unsupported.policies().is_empty() {
            return users;
        }
        for route in &self.routes {
            let target = Target::Route(route.object.meta().key.clone());
            for attachment in route.attachments.iter().filter(|it| gateways.contains_key(&it.gateway)) {
                let user = (&attachment.gateway, attachment.controller.as_str());
                users.entry(target.clone()).or_default().insert(user);
            }
        }
        for (key, gateway, controller) in self.references(documents) {
            users.entry(Target::Upstream(key.object())).or_default().insert((gateway, controller));
        }
        users
    }

    /// The routes for which other policies take the place of a policy, by its position.
    fn overridden(&self, gateways: &BTreeMap<Key, Gateway<'_>>) -> BTreeMap<usize, BTreeSet<&Key>> {
        let mut overridden: BTreeMap<usize, BTreeSet<&Key>> = BTreeMap::new();
        if self.unsupported.policies().is_empty() {
            return overridden;
        }
        for route in &self.routes {
            let key = &route.object.meta().key;
            for attachment in &route.attachments {
                let Some(gateway) = gateways.get(&attachment.gateway) else { continue };
                for listener in attachment.listeners.iter().filter_map(|index| gateway.listeners.get(*index))
                {
                    for position in route.built.positions() {
                        let rule = (key, route.object.rule_name(position));
                        for kind in [Kind::SecurityPolicy, Kind::BackendTrafficPolicy] {
                            let found = self.unsupported.overridden(kind, gateway, &listener.spec.name, rule);
                            found.into_iter().for_each(|policy| {
                                overridden.entry(policy).or_default().insert(key);
                            });
                        }
                    }
                }
            }
        }
        overridden
    }

    /// Tells of objects whose kinds nobody here acts on and that name no Gateway, where routes of ours are.
    fn tell_of_others(&self, context: &Context<'_>, gateways: &BTreeMap<Key, Gateway<'_>>) {
        let of_routes = self.routes.iter().filter(|route| !route.attachments.is_empty());
        let mut namespaces: BTreeSet<&str> =
            of_routes.map(|route| route.object.meta().key.namespace.as_str()).collect();
        namespaces.extend(gateways.keys().map(|key| key.namespace.as_str()));
        let world = context.world;
        let tell = |kind: Kind, keys: &mut dyn Iterator<Item = &Key>, message: &str| {
            for key in keys.filter(|key| namespaces.contains(key.namespace.as_str())) {
                let id = ObjectId { kind, key: key.clone() };
                context.event(id, Severity::Warning, "KindNotServed", message);
            }
        };
        tell(
            Kind::XListenerSet,
            &mut world.x_listener_sets.iter().map(|(key, _)| key),
            "XListenerSets are not served: put the listeners into the Gateway",
        );
        tell(
            Kind::LegacyInferencePool,
            &mut world.legacy_pools.iter().map(|(key, _)| key),
            "InferencePools of inference.networking.x-k8s.io are not served: make it one of inference.networking.k8s.io/v1",
        );
        tell(
            Kind::LegacyInferenceModel,
            &mut world.legacy_models.iter().map(|(key, _)| key),
            "InferenceModels are not served: InferenceObjectives and InferenceModelRewrites took their place",
        );
        tell(
            Kind::InferencePoolImport,
            &mut world.pool_imports.iter().map(|(key, _)| key),
            "InferencePoolImports are not served: pools are those of this cluster",
        );
        for (key, _) in world.x_meshes.iter().filter(|_| !gateways.is_empty()) {
            let id = ObjectId { kind: Kind::XMesh, key: key.clone() };
            context.event(id, Severity::Normal, "KindNotServed", "nothing here is part of a mesh");
        }
    }
}

/// The Gateways of ours that a policy concerns.
fn concerned<'g>(
    policy: &Policy<'_>,
    gateways: &'g BTreeMap<Key, Gateway<'_>>,
    users: &BTreeMap<Target, Gateways<'g>>,
) -> Gateways<'g> {
    let mut concerned = Gateways::new();
    let own = |(key, gateway): (&'g Key, &'g Gateway<'_>)| (key, gateway.controller.as_str());
    for target in policy.in_force.iter().chain(&policy.overruled) {
        match target {
            Target::Class(name) => {
                concerned
                    .extend(gateways.iter().filter(|(_, gateway)| gateway.class_name() == name).map(own));
            }
            Target::Gateway(key) | Target::Listener(key, _) => {
                concerned.extend(gateways.get_key_value(key).map(own));
            }
            Target::Route(key) | Target::Rule(key, _) | Target::AnyRule(key, _) => {
                concerned.extend(users.get(&Target::Route(key.clone())).into_iter().flatten());
            }
            Target::Upstream(_) => concerned.extend(users.get(target).into_iter().flatten()),
        }
    }
    if !policy.is_read() {
        let namespace = &policy.meta.key.namespace;
        concerned.extend(gateways.iter().filter(|(key, _)| key.namespace == *namespace).map(own));
        let routes = users
            .iter()
            .filter(|(target, _)| matches!(target, Target::Route(key) if key.namespace == *namespace));
        concerned.extend(routes.flat_map(|(_, gateways)| gateways));
    }
    concerned
}

/// Says for what other policies count.
fn overridden_condition(what: &str, all: &BTreeSet<impl ToString>) -> Condition {
    let named: Vec<String> = all.iter().take(MAX_NAMED).map(ToString::to_string).collect();
    let more = all.len().saturating_sub(MAX_NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let message = format!("more specific policies count for {what}: {}{more}", named.join(", "));
    Condition::yes(OVERRIDDEN, "Overridden", message)
}

fn policy_status(
    context: &Context<'_>,
    policy: &Policy<'_>,
    conditions: &[Condition],
    concerned: &Gateways<'_>,
) -> Option<StatusUpdate> {
    let status = if policy.kind == Kind::QuotaPolicy {
        if concerned.is_empty() {
            return None;
        }
        Status::Conditions(conditions.to_vec())
    } else {
        let entry = |(gateway, controller): &(&Key, &str)| ParentStatus {
            parent_ref: ancestor(gateway),
            controller_name: (*controller).to_owned(),
            conditions: conditions.to_vec(),
        };
        let entries: Vec<ParentStatus> = concerned.iter().take(MAX_ANCESTORS).map(entry).collect();
        let entries = Entries { controllers: context.options.controllers(), entries, nameless: Vec::new() };
        if entries.entries.is_empty() && !entries.touches(policy.status, "ancestors", "ancestorRef") {
            return None;
        }
        Status::Ancestors(entries)
    };
    Some(StatusUpdate {
        object: policy.id(),
        api_version: policy.meta.api_version.clone(),
        generation: policy.meta.generation,
        status,
    })
}

/// A Gateway as the status of a policy names it.
pub(super) fn ancestor(gateway: &Key) -> Value {
    json!({
        "group": Kind::Gateway.group(),
        "kind": Kind::Gateway.name(),
        "namespace": gateway.namespace,
        "name": gateway.name,
    })
}

/// Says of routes of a kind that is not served that no Gateway of ours takes them.
fn routes<T>(
    context: &Context<'_>,
    gateways: &BTreeMap<Key, Gateway<'_>>,
    table: &Table<T>,
    statuses: &mut Vec<StatusUpdate>,
) where
    T: Resource + Deref<Target = UnsupportedRoute>,
{
    let message = format!("{}s are not served: HTTPRoutes and AIGatewayRoutes are", T::KIND.name());
    let refused = Condition::no("Accepted", "UnsupportedValue", message.as_str());
    for (key, object) in table.iter() {
        let parents = object.spec.as_ref().map_or(object.parents.as_slice(), |spec| &spec.parent_refs);
        let entries = parents.iter().filter_map(|parent| {
            let kind = parent_kind(parent).filter(|kind| *kind == Kind::Gateway)?;
            Some(ParentStatus {
                parent_ref: parent_ref(parent, kind),
                controller_name: gateways.get(&parent_key(key, parent))?.controller.clone(),
                conditions: vec![refused.clone()],
            })
        });
        let entries: Vec<ParentStatus> = entries.collect();
        if !entries.is_empty() {
            context.event(object.id(), Severity::Warning, "KindNotServed", message.as_str());
        }
        let status = match T::KIND {
            Kind::McpRoute if entries.is_empty() => continue,
            Kind::McpRoute => Status::Conditions(vec![refused.clone()]),
            _ => {
                let controllers = context.options.controllers();
                let entries = Entries { controllers, entries, nameless: Vec::new() };
                if entries.entries.is_empty() && !entries.touches(&object.status, "parents", "parentRef") {
                    continue;
                }
                Status::Parents(entries)
            }
        };
        statuses.push(StatusUpdate::new(object, status));
    }
}
