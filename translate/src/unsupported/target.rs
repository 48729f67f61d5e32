//! What policies are for.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::api::{PolicyTargets, TargetRef, TargetSelector};
use crate::context::{Context, Referrer};
use crate::world::{Key, Kind, ObjectId, Table, World};

/// What a policy is for. A route's name stands for an HTTPRoute and for the AIGatewayRoute of that name, of which Envoy AI
/// Gateway makes one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Target {
    /// All Gateways of a class.
    Class(String),
    /// A Gateway.
    Gateway(Key),
    /// A listener, by its name.
    Listener(Key, String),
    /// A route.
    Route(Key),
    /// A rule, by its name.
    Rule(Key, String),
    /// A rule that an AIGatewayRoute does not have by this name: any of its rules may be meant.
    AnyRule(Key, String),
    /// What routes lead to.
    Upstream(ObjectId),
}

/// An object's labels.
type Labels = BTreeMap<String, String>;

/// What came of a policy's targets.
#[derive(Default)]
pub(super) struct Resolved {
    /// Those that are there.
    pub(super) found: Vec<Target>,
    /// Those that are not, by name.
    pub(super) missing: Vec<String>,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Class(name) => write!(f, "GatewayClass {name}"),
            Self::Gateway(key) => write!(f, "Gateway {key}"),
            Self::Listener(key, name) => write!(f, "listener {name} of Gateway {key}"),
            Self::Route(key) => write!(f, "route {key}"),
            Self::Rule(key, name) | Self::AnyRule(key, name) => write!(f, "rule {name} of route {key}"),
            Self::Upstream(id) => id.fmt(f),
        }
    }
}

/// Finds a policy's targets.
pub(super) fn resolve(context: &Context<'_>, policy: &ObjectId, targets: &PolicyTargets) -> Resolved {
    let mut resolved = Resolved::default();
    let mut found = BTreeSet::new();
    for reference in targets.named() {
        match named(context.world, &policy.key.namespace, reference) {
            Ok(target) => found.extend(target),
            Err(missing) => resolved.missing.push(missing),
        }
    }
    for selector in &targets.target_selectors {
        found.extend(selected(context, policy, selector));
    }
    resolved.found.extend(found);
    resolved
}

/// What a reference names; `None` if it is of a kind that nothing here comes of.
fn named(world: &World, namespace: &str, reference: &TargetRef) -> Result<Option<Target>, String> {
    let (group, kind) = (reference.group.as_deref().unwrap_or_default(), reference.kind.as_deref());
    let Some(kind) = Kind::in_group(group, kind.unwrap_or_default()) else { return Ok(None) };
    let key = match kind.is_namespaced() {
        true => Key::new(namespace, &reference.name),
        false => Key::cluster(&reference.name),
    };
    let id = ObjectId { kind, key: key.clone() };
    let section = reference.section_name.as_deref().filter(|section| !section.is_empty());
    match kind {
        Kind::HttpRoute if world.ai_routes.get(&key).is_some() => {}
        _ if world.meta(&id).is_none() => return Err(id.to_string()),
        _ => {}
    }
    Ok(Some(match (kind, section) {
        (Kind::GatewayClass, _) => Target::Class(key.name),
        (Kind::Gateway, None) => Target::Gateway(key),
        (Kind::Gateway, Some(section)) => {
            if !has_listener(world, &key, section) {
                return Err(format!("listener {section} of {id}"));
            }
            Target::Listener(key, section.to_owned())
        }
        (Kind::HttpRoute | Kind::AiGatewayRoute, None) => Target::Route(key),
        (Kind::HttpRoute | Kind::AiGatewayRoute, Some(section)) => rule(world, key, section)?,
        (Kind::AiServiceBackend | Kind::Backend | Kind::InferencePool | Kind::Service, _) => {
            Target::Upstream(id)
        }
        _ => return Ok(None),
    }))
}

/// A rule. One that an AIGatewayRoute does not have may be one of the HTTPRoute's that Envoy AI Gateway would make of it, so
/// that all of its rules are meant.
fn rule(world: &World, key: Key, section: &str) -> Result<Target, String> {
    if let Some(route) = world.ai_routes.get(&key) {
        let mut names = route.spec.iter().flat_map(|spec| &spec.rules).map(|rule| rule.name.as_deref());
        let is_there = names.any(|name| name == Some(section));
        let section = section.to_owned();
        return Ok(if is_there { Target::Rule(key, section) } else { Target::AnyRule(key, section) });
    }
    let rules = world.http_routes.get(&key).and_then(|route| route.spec.as_ref().ok());
    let mut names = rules.iter().flat_map(|spec| &spec.rules).map(|rule| rule.name.as_deref());
    if names.any(|name| name == Some(section)) {
        return Ok(Target::Rule(key, section.to_owned()));
    }
    Err(format!("rule {section} of HTTPRoute {key}"))
}

fn has_listener(world: &World, key: &Key, name: &str) -> bool {
    let spec = world.gateways.get(key).and_then(|gateway| gateway.spec.as_ref().ok());
    // Of a Gateway that cannot be read nothing is served.
    spec.is_some_and(|spec| spec.listeners.iter().any(|listener| listener.name == name))
}

/// What a selector chooses. In other namespaces only what a ReferenceGrant of theirs lets it choose, as Envoy Gateway has it.
fn selected(context: &Context<'_>, policy: &ObjectId, selector: &TargetSelector) -> Vec<Target> {
    let group = selector.group.as_deref().unwrap_or(Kind::Gateway.group());
    let Some(kind) = Kind::in_group(group, &selector.kind) else { return Vec::new() };
    let own = policy.key.namespace.as_str();
    let from = Referrer::of(policy.kind, own);
    let is_chosen = |key: &Key, labels: &Labels| {
        is_namespace_chosen(context, selector, own, &key.namespace)
            && selector.matches(labels)
            && context.allowed(from, kind, key).is_ok()
    };
    // Most choose within their own namespace, of which a large cluster has many.
    let is_own =
        selector.namespaces.as_ref().is_none_or(|it| !matches!(it.from.as_str(), "All" | "Selector"));
    let world = context.world;
    match kind {
        Kind::Gateway => {
            let chosen =
                within(&world.gateways, is_own.then_some(own)).filter(|(key, it)| is_chosen(key, it));
            chosen.map(|(key, _)| Target::Gateway(key.clone())).collect()
        }
        Kind::HttpRoute | Kind::AiGatewayRoute => {
            let http = within(&world.http_routes, is_own.then_some(own));
            let ai = within(&world.ai_routes, is_own.then_some(own));
            let chosen = http.chain(ai).filter(|(key, labels)| is_chosen(key, labels));
            chosen.map(|(key, _)| Target::Route(key.clone())).collect()
        }
        _ => Vec::new(),
    }
}

/// The names and labels of all objects of a kind, or of those in one namespace.
fn within<'t, T>(
    table: &'t Table<T>,
    namespace: Option<&'t str>,
) -> impl Iterator<Item = (&'t Key, &'t Labels)> {
    let own = namespace.map(|namespace| table.in_namespace(namespace));
    let all = own.is_none().then(|| table.iter());
    let both = own.into_iter().flatten().chain(all.into_iter().flatten());
    both.map(|(key, object)| (key, &object.meta.labels))
}

fn is_namespace_chosen(context: &Context<'_>, selector: &TargetSelector, own: &str, namespace: &str) -> bool {
    let Some(namespaces) = &selector.namespaces else { return namespace == own };
    match namespaces.from.as_str() {
        "All" => true,
        "Selector" => {
            let selector = namespaces.selector.as_ref();
            selector.is_some_and(|selector| selector.matches(&context.world.namespace_labels(namespace)))
        }
        _ => namespace == own,
    }
}
