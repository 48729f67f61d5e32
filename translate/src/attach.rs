//! Which routes attach to which listeners.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::api::{AllowedRoutes, ParentRef};
use crate::context::Context;
use crate::gateway::{Gateway, Listener};
use crate::limits::Costs;
use crate::rules::BuiltRoute;
use crate::status::Condition;
use crate::traffic::Traffic;
use crate::unsupported::{InForce, Limiting};
use crate::world::{Key, Kind, ObjectId, World};
use crate::{hosts, listener_sets};

/// A route that seeks to attach.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AttachingRoute<'a> {
    /// The route's kind.
    pub(crate) kind: Kind,
    /// The route's name.
    pub(crate) key: &'a Key,
    /// Its hosts.
    pub(crate) hostnames: &'a [String],
}

/// What came of a route's reference to a Gateway of ours.
#[derive(Debug, Clone)]
pub(crate) struct Attachment {
    /// The Gateway.
    pub(crate) gateway: Key,
    /// Its class's controller name.
    pub(crate) controller: String,
    /// The reference as the status repeats it.
    pub(crate) parent_ref: Value,
    /// Positions of the listeners that take it, served or not; empty if none does.
    pub(crate) listeners: Vec<usize>,
    /// Positions of those of them that are served.
    pub(crate) served: Vec<usize>,
    /// Its hosts that one of these has requests for; empty is all.
    pub(crate) hostnames: Vec<String>,
    /// `Accepted`, as far as attaching goes.
    pub(crate) accepted: Condition,
}

/// A route that attaches to a Gateway.
pub(crate) struct AttachedRoute<'r> {
    /// Its position among all routes.
    pub(crate) route: usize,
    /// What it is.
    pub(crate) id: ObjectId,
    /// Its rules.
    pub(crate) built: &'r BuiltRoute,
    /// Positions of the listeners that take it.
    pub(crate) listeners: BTreeSet<usize>,
    /// Its hosts there; empty is all.
    pub(crate) hostnames: Vec<String>,
    /// What policies change of how requests are tried, by listener and by the position of the rule.
    pub(crate) traffic: BTreeMap<usize, BTreeMap<usize, Traffic>>,
    /// What policies ask of requests, by listener and by the position of the rule, where the listener itself does not.
    pub(crate) access: BTreeMap<usize, BTreeMap<usize, InForce>>,
    /// What policies limit of requests, by listener and by the position of the rule.
    pub(crate) limiting: BTreeMap<usize, BTreeMap<usize, Limiting>>,
    /// What is counted of its requests.
    pub(crate) costs: Costs<'r>,
    /// Positions of its rules whose requests get an error, by listener.
    pub(crate) closed: BTreeMap<usize, BTreeSet<usize>>,
}

/// The listeners that take a route.
struct Listeners {
    all: Vec<usize>,
    served: Vec<usize>,
    hostnames: Vec<String>,
}

/// Attaches a route by one reference; `None` if that leads to no Gateway of ours.
pub(crate) fn attach(
    context: &Context<'_>,
    gateways: &BTreeMap<Key, Gateway<'_>>,
    route: AttachingRoute<'_>,
    reference: &ParentRef,
) -> Option<Attachment> {
    let kind = parent_kind(reference)?;
    let key = parent_key(route.key, reference);
    let (gateway, found) = match kind {
        Kind::ListenerSet => {
            let gateway = gateways.get(&listener_sets::gateway_of(context.world, &key)?)?;
            let message =
                format!("ListenerSets are not served: attach the route to Gateway {}", gateway.key());
            (gateway, Err(Condition::no("Accepted", "UnsupportedValue", message)))
        }
        _ => {
            let gateway = gateways.get(&key)?;
            (gateway, find(context, gateway, route, reference))
        }
    };
    let none = Listeners { all: Vec::new(), served: Vec::new(), hostnames: Vec::new() };
    let (listeners, accepted) = match found {
        Ok(listeners) => {
            let accepted = Condition::yes("Accepted", "Accepted", listeners.describe(gateway));
            (listeners, accepted)
        }
        Err(condition) => (none, condition),
    };
    let Listeners { all, served, hostnames } = listeners;
    Some(Attachment {
        gateway: gateway.key().clone(),
        controller: gateway.controller.clone(),
        parent_ref: parent_ref(reference, kind),
        listeners: all,
        served,
        hostnames,
        accepted,
    })
}

/// Says that the parent which a reference names does not exist, if so. No status can: it is for the controller of the
/// parent to write.
pub(crate) fn missing_parent(world: &World, route: &Key, reference: &ParentRef) -> Option<String> {
    let kind = parent_kind(reference)?;
    let id = ObjectId { kind, key: parent_key(route, reference) };
    world.meta(&id).is_none().then(|| format!("the {id} of parentRefs does not exist"))
}

/// The kind of parent that a reference names, if it is one that is known.
pub(crate) fn parent_kind(reference: &ParentRef) -> Option<Kind> {
    let group = reference.group.as_deref().unwrap_or(Kind::Gateway.group());
    let kind = reference.kind.as_deref().unwrap_or(Kind::Gateway.name());
    Kind::in_group(group, kind).filter(|kind| matches!(kind, Kind::Gateway | Kind::ListenerSet))
}

pub(crate) fn parent_key(route: &Key, reference: &ParentRef) -> Key {
    Key::new(reference.namespace.as_deref().unwrap_or(&route.namespace), &reference.name)
}

/// The listeners that take a route, whether they are served or not, and its hosts there.
fn find(
    context: &Context<'_>,
    gateway: &Gateway<'_>,
    route: AttachingRoute<'_>,
    reference: &ParentRef,
) -> Result<Listeners, Condition> {
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
    let mut found = Listeners { all: Vec::new(), served: Vec::new(), hostnames: Vec::new() };
    for index in allowed {
        let listener = &gateway.listeners[index];
        let own = listener.spec.hostname.as_deref().filter(|hostname| !hostname.is_empty());
        let Some(hosts) = hosts::intersect(route.hostnames, own) else { continue };
        found.all.push(index);
        if listener.raw.is_none() {
            continue;
        }
        found.served.push(index);
        for host in hosts.into_iter().filter(|host| !route.hostnames.is_empty() && !host.is_empty()) {
            if !found.hostnames.contains(&host) {
                found.hostnames.push(host);
            }
        }
    }
    if found.all.is_empty() {
        return no("NoMatchingListenerHostname", "no listener is for any of the route's hostnames");
    }
    Ok(found)
}

impl Listeners {
    fn describe(&self, gateway: &Gateway<'_>) -> String {
        let name = |index: &usize| gateway.listeners[*index].spec.name.as_str();
        let all: Vec<&str> = self.all.iter().map(name).collect();
        let idle = self.all.iter().filter(|index| !self.served.contains(*index));
        let idle: Vec<&str> = idle.map(name).collect();
        let attached = format!("attached to {}", all.join(", "));
        if idle.is_empty() {
            attached
        } else {
            format!("{attached}; not served there now: {}", idle.join(", "))
        }
    }
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
    route: AttachingRoute<'_>,
) -> bool {
    let own = (route.kind.group(), route.kind.name());
    let is_kind = listener.kinds.iter().any(|kind| *kind == own || *kind == crate::gateway::HTTP_ROUTE);
    is_kind && is_namespace_allowed(context, listener.spec.allowed_routes.as_ref(), gateway.key(), route.key)
}

fn is_namespace_allowed(
    context: &Context<'_>,
    allowed: Option<&AllowedRoutes>,
    gateway: &Key,
    route: &Key,
) -> bool {
    let namespaces = allowed.and_then(|allowed| allowed.namespaces.as_ref());
    match namespaces.and_then(|it| it.from.as_deref()).unwrap_or("Same") {
        "All" => true,
        "Same" => route.namespace == gateway.namespace,
        "Selector" => {
            let Some(selector) = namespaces.and_then(|it| it.selector.as_ref()) else { return false };
            selector.matches(&context.world.namespace_labels(&route.namespace))
        }
        _ => false,
    }
}

/// A reference as a status repeats it: as the API server has it, with its defaults.
pub(crate) fn parent_ref(reference: &ParentRef, kind: Kind) -> Value {
    let mut value = Map::new();
    value.insert("group".to_owned(), kind.group().into());
    value.insert("kind".to_owned(), kind.name().into());
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
