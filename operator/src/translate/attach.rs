//! Which routes attach to which listeners.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::context::Context;
use super::gateway::{Gateway, Listener};
use super::hosts;
use super::status::Condition;
use crate::api::{AllowedRoutes, ParentRef};
use crate::world::{Key, Kind};

/// What attaches.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attaching<'a> {
    /// The route's kind.
    pub(super) kind: Kind,
    /// The route's name.
    pub(super) key: &'a Key,
    /// Its hosts.
    pub(super) hostnames: &'a [String],
}

/// What came of a route's reference to a Gateway of ours.
#[derive(Debug, Clone)]
pub(super) struct Attached {
    /// The Gateway.
    pub(super) gateway: Key,
    /// Its class's controller name.
    pub(super) controller: String,
    /// The reference as the status repeats it.
    pub(super) parent_ref: Value,
    /// Positions of the listeners that take it; empty if none does.
    pub(super) listeners: Vec<usize>,
    /// Its hosts that one of them has requests for; empty is all.
    pub(super) hostnames: Vec<String>,
    /// `Accepted`, as far as attaching goes.
    pub(super) accepted: Condition,
}

/// Attaches a route by one reference; `None` if that is no Gateway of ours.
pub(super) fn attach(
    context: &Context<'_>,
    gateways: &BTreeMap<Key, Gateway<'_>>,
    route: Attaching<'_>,
    reference: &ParentRef,
) -> Option<Attached> {
    let group = reference.group.as_deref().unwrap_or(Kind::Gateway.group());
    let kind = reference.kind.as_deref().unwrap_or(Kind::Gateway.name());
    if Kind::in_group(group, kind) != Some(Kind::Gateway) {
        return None;
    }
    let namespace = reference.namespace.as_deref().unwrap_or(&route.key.namespace);
    let gateway = gateways.get(&Key::new(namespace, &reference.name))?;
    let found = find(context, gateway, route, reference);
    let (listeners, hostnames, accepted) = match found {
        Ok((listeners, hostnames)) => {
            let names: Vec<&str> =
                listeners.iter().map(|index| gateway.listeners[*index].spec.name.as_str()).collect();
            let message = format!("attached to {}", names.join(", "));
            (listeners, hostnames, Condition::yes("Accepted", "Accepted", message))
        }
        Err(condition) => (Vec::new(), Vec::new(), condition),
    };
    Some(Attached {
        gateway: gateway.key().clone(),
        controller: gateway.controller.clone(),
        parent_ref: parent_ref(reference, group, kind),
        listeners,
        hostnames,
        accepted,
    })
}

/// The listeners that take a route, and its hosts there.
fn find(
    context: &Context<'_>,
    gateway: &Gateway<'_>,
    route: Attaching<'_>,
    reference: &ParentRef,
) -> Result<(Vec<usize>, Vec<String>), Condition> {
    let no = |reason, message: &str| Err(Condition::no("Accepted", reason, message));
    let is_meant = |listener: &Listener<'_>| {
        reference.section_name.as_ref().is_none_or(|name| *name == listener.spec.name)
            && reference.port.is_none_or(|port| port == listener.spec.port)
    };
    let meant: Vec<usize> = positions(gateway, |listener| is_meant(listener));
    if meant.is_empty() {
        return no("NoMatchingParent", "the Gateway has no such listener");
    }
    let allowed: Vec<usize> = meant
        .into_iter()
        .filter(|index| is_allowed(context, gateway, &gateway.listeners[*index], route))
        .collect();
    if allowed.is_empty() {
        return no("NotAllowedByListeners", "allowedRoutes of the listeners does not let this route in");
    }
    let mut hostnames: Vec<String> = Vec::new();
    let mut listeners = Vec::new();
    let mut has_matching_host = false;
    for index in allowed {
        let listener = &gateway.listeners[index];
        let own = listener.spec.hostname.as_deref().filter(|hostname| !hostname.is_empty());
        let Some(hosts) = hosts::intersect(route.hostnames, own) else { continue };
        has_matching_host = true;
        if listener.raw.is_some() {
            hostnames
                .extend(hosts.into_iter().filter(|host| !route.hostnames.is_empty() && !host.is_empty()));
            listeners.push(index);
        }
    }
    if !has_matching_host {
        return no("NoMatchingListenerHostname", "no listener is for any of the route's hostnames");
    }
    if listeners.is_empty() {
        return no("NoReadyListeners", "the listeners that would take this route cannot be served");
    }
    let mut unique: Vec<String> = Vec::new();
    for host in hostnames {
        if !unique.contains(&host) {
            unique.push(host);
        }
    }
    Ok((listeners, unique))
}

fn positions(gateway: &Gateway<'_>, keep: impl Fn(&Listener<'_>) -> bool) -> Vec<usize> {
    let kept = gateway.listeners.iter().enumerate().filter(|(_, listener)| keep(listener));
    kept.map(|(index, _)| index).collect()
}

/// Whether a listener lets a route in, by kind and namespace. Listeners that take HTTPRoutes take AIGatewayRoutes, which
/// are HTTPRoutes to Envoy AI Gateway.
fn is_allowed(
    context: &Context<'_>,
    gateway: &Gateway<'_>,
    listener: &Listener<'_>,
    route: Attaching<'_>,
) -> bool {
    let own = (route.kind.group(), route.kind.name());
    let is_kind = listener.kinds.iter().any(|kind| *kind == own || *kind == super::gateway::HTTP_ROUTE);
    is_kind && is_namespace_allowed(context, listener.spec.allowed_routes.as_ref(), gateway.key(), route.key)
}

fn is_namespace_allowed(
    context: &Context<'_>,
    allowed: Option<&AllowedRoutes>,
    gateway: &Key,
    route: &Key,
) -> bool {
    const NAME_LABEL: &str = "kubernetes.io/metadata.name";
    let namespaces = allowed.and_then(|allowed| allowed.namespaces.as_ref());
    match namespaces.and_then(|it| it.from.as_deref()).unwrap_or("Same") {
        "All" => true,
        "Same" => route.namespace == gateway.namespace,
        "Selector" => {
            let Some(selector) = namespaces.and_then(|it| it.selector.as_ref()) else { return false };
            let namespace = context.world.namespaces.get(&Key::cluster(route.namespace.as_str()));
            let mut labels = namespace.map(|it| it.meta.labels.clone()).unwrap_or_default();
            labels.entry(NAME_LABEL.to_owned()).or_insert_with(|| route.namespace.clone());
            selector.matches(&labels)
        }
        _ => false,
    }
}

/// A reference as a status repeats it: as the API server has it, with its defaults.
fn parent_ref(reference: &ParentRef, group: &str, kind: &str) -> Value {
    let mut value = Map::new();
    value.insert("group".to_owned(), group.into());
    value.insert("kind".to_owned(), kind.into());
    if let Some(namespace) = &reference.namespace {
        value.insert("namespace".to_owned(), namespace.as_str().into());
    }
    value.insert("name".to_owned(), reference.name.as_str().into());
    if let Some(section) = &reference.section_name {
        value.insert("sectionName".to_owned(), section.as_str().into());
    }
    if let Some(port) = reference.port {
        value.insert("port".to_owned(), port.into());
    }
    value.into()
}
