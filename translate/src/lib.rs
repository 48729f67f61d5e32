//! From Kubernetes objects to routing documents: a pure function of a [`World`].
//!
//! [`translate`] reads everything and says, for each Gateway of ours, what its data plane shall serve, what it needs
//! beside that, and how it shall run; and for each object, what its status shall say. Nothing here talks to a cluster, and
//! nothing here is built with a client for one: objects come as JSON and are read into the types of [`api`], from which
//! [`crds`] makes definitions. Endpoints are apart ([`endpoints`]), because they change a thousand times as often as routes.

mod access;
mod ai;
mod ai_backend;
mod answers;
pub mod api;
mod attach;
mod backend;
mod bodies;
mod certificates;
mod check;
mod class;
mod client_listeners;
mod clients;
mod compile;
mod context;
pub mod crds;
mod document;
mod endpoints;
mod epp;
mod features;
mod gateway;
mod guards;
mod headers;
mod hosts;
mod http;
mod limit_store;
mod limiters;
mod limits;
mod listener_sets;
mod names;
mod options;
mod output;
mod policies;
mod pools;
mod provisioning;
mod quantity;
mod render;
mod routes;
mod rules;
mod service;
mod shadows;
mod status;
mod traffic;
mod unsupported;
mod upstream;
mod upstreams;
mod variants;
pub mod world;

use std::collections::{BTreeMap, BTreeSet};

use class::Class;
use context::Context;
use gateway::Gateway;
use policies::Policies;
use pools::Pools;
use routes::Routing;
use unsupported::Unsupported;
use upstream::UpstreamKey;
use world::{Key, Object, World};

pub use endpoints::{Endpoints, endpoints};
pub use epp::CONFIG_ANNOTATION;
pub use features::FEATURES;
pub use limit_store::limit_store;
pub use options::{
    ADMIN_PORT, Adoption, DEFAULT_CONTROLLER, ENVOY_GATEWAY_CONTROLLER, GenAiMetrics, Options, gen_ai_metrics,
};
pub use output::{
    DataSource, EndpointSource, Event, GatewayOutput, HostSource, Made, PortMapping, Provisioning, Severity,
    Translation,
};
pub use render::{RenderError, render, render_endpoints};
pub use status::{
    CLOSED, CREDENTIAL_AVAILABLE, Condition, ConditionStatus, Entries, FIELDS_NOT_ACTED_ON, ListenerStatus,
    POLICIES_IGNORED, POLICIES_NOT_ACTED_ON, ParentStatus, SHADOWED, Status, StatusUpdate, merge,
};

/// What a cluster's objects mean.
pub fn translate(world: &World, options: &Options) -> Translation {
    let context = Context::new(world, options);
    for (id, error) in world.unreadable() {
        context.event(id, Severity::Warning, "Unreadable", error);
    }
    let mut statuses = Vec::new();
    let classes = class::classes(&context, &mut statuses);
    let owned = owned(&context, &classes);
    let mut gateways = gateways(&context, &classes);
    let policies = Policies::read(&context);
    let unsupported = Unsupported::read(&context, &policies);
    client_listeners::apply(&unsupported, &mut gateways);
    let mut pools = Pools::read(&context);
    let mut routing = Routing::of(&context, &gateways, &policies, &unsupported, &pools);
    let finished = routing.documents(&context, &mut gateways, &mut pools);
    let verdicts = routing.verdicts(&finished, &gateways);
    routing.count(&mut gateways);

    let controllers = options.controllers();
    let problems = routing.backend_problems(&finished);
    let credential_faults = routing.credential_faults(&finished);
    let used = routing.used(&context, &finished);
    statuses.extend(routing.statuses(verdicts, &controllers));
    statuses.extend(
        gateways.values().map(|gateway| gateway.status(|listener| unsupported.conditions(gateway, listener))),
    );
    statuses.extend(listener_sets::statuses(world, &gateways));
    let fault = |key: &UpstreamKey| routing.upstreams.fault(key);
    statuses.extend(ai_backend::statuses(&context, fault, &problems, &used));
    statuses.extend(routing.upstreams.backends.statuses(&problems, &used));
    statuses.extend(routing.policy_statuses(&context, &policies, &finished, &controllers));
    statuses.extend(routing.unsupported_statuses(&context, &gateways, &finished));
    let users = routing.pool_users(&finished);
    statuses.extend(pools.into_statuses(&context, &users, &owned, &controllers));
    statuses.extend(policies.into_statuses(&used, &credential_faults));
    statuses.extend(gateway::config_statuses(&context, &gateways));
    statuses.sort_by(|a, b| a.object.cmp(&b.object));

    let output = |(key, gateway): (&Key, &Gateway<'_>)| {
        let done = finished.get(key)?;
        let output = GatewayOutput {
            controller_name: gateway.controller.clone(),
            document: done.document.clone()?,
            endpoints: done.endpoints.clone(),
            secrets: done.secrets.clone(),
            policies: done.policies.clone(),
            provisioning: provisioning::provisioning(gateway),
        };
        Some((key.clone(), output))
    };
    let gateways = gateways.iter().filter_map(output).collect();
    let (events, wanted) = context.into_notes();
    Translation { gateways, owned, statuses, events, wanted }
}

/// The Gateways whose class is ours, whether they can be served or not.
fn owned(context: &Context<'_>, classes: &BTreeMap<String, Class>) -> BTreeSet<Key> {
    let is_ours = |object: &Object<api::Gateway>| {
        let class = object.spec.as_ref().ok().and_then(|spec| classes.get(&spec.gateway_class_name));
        class.is_some() && !object.meta.is_deleting
    };
    let all = context.world.gateways.iter();
    all.filter(|(_, object)| is_ours(object)).map(|(key, _)| key.clone()).collect()
}

/// The Gateways that are served: of an accepted class, and the one that was asked for if one was.
fn gateways<'a>(context: &Context<'a>, classes: &BTreeMap<String, Class>) -> BTreeMap<Key, Gateway<'a>> {
    let mut gateways = BTreeMap::new();
    for (key, object) in context.world.gateways.iter() {
        let is_asked = context.options.gateway.as_ref().is_none_or(|asked| asked == key);
        let Ok(spec) = &object.spec else { continue };
        let class = classes.get(&spec.gateway_class_name).filter(|class| class.is_accepted);
        if let (Some(class), true, false) = (class, is_asked, object.meta.is_deleting) {
            gateways.insert(key.clone(), Gateway::read(context, object, spec, class));
        }
    }
    gateways
}
