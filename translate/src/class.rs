//! GatewayClasses: which are ours, and their status.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::api::{EnvoyProxy, GatewayClass};
use crate::context::Context;
use crate::features::FEATURES;
use crate::options::ENVOY_GATEWAY_CONTROLLER;
use crate::output::Severity;
use crate::status::{Condition, Status, StatusUpdate, UNKNOWN_KINDS};
use crate::world::{Key, Kind, Object};

/// A class of ours.
pub(crate) struct Class {
    /// Its controller name.
    pub(crate) controller: String,
    /// Its settings, or why they cannot be had.
    pub(crate) parameters: Result<Option<Parameters>, String>,
    /// Whether its gateways are served.
    pub(crate) is_accepted: bool,
}

/// An `EnvoyProxy`.
pub(crate) type Parameters = Arc<Object<EnvoyProxy>>;

/// The classes that are ours, by name, and their statuses.
pub(crate) fn classes(context: &Context<'_>, statuses: &mut Vec<StatusUpdate>) -> BTreeMap<String, Class> {
    let mut classes = BTreeMap::new();
    for (key, object) in context.world.gateway_classes.iter() {
        let Ok(spec) = &object.spec else { continue };
        if !context.options.owns(&spec.controller_name) {
            continue;
        }
        let parameters = spec.parameters_ref.as_ref().map_or(Ok(None), |reference| {
            let named = (reference.group.as_deref(), reference.kind.as_deref(), reference.name.as_str());
            parameters(context, named, reference.namespace.as_deref()).map(Some)
        });
        let rival = rival(context, spec);
        if let Some(message) = &rival {
            context.event(object.id(), Severity::Warning, "OtherControllerRuns", message.as_str());
        }
        let is_accepted = rival.is_none();
        let update = status(context, object, spec, &parameters, rival);
        statuses.push(update);
        let controller = spec.controller_name.clone();
        classes.insert(key.name.clone(), Class { controller, parameters, is_accepted });
    }
    classes
}

/// The `EnvoyProxy` that a reference names by group, kind and name.
///
/// # Errors
/// It names something else, or is not there, or cannot be read.
pub(crate) fn parameters(
    context: &Context<'_>,
    (group, kind, name): (Option<&str>, Option<&str>, &str),
    namespace: Option<&str>,
) -> Result<Parameters, String> {
    let (group, kind) = (group.unwrap_or_default(), kind.unwrap_or_default());
    if Kind::in_group(group, kind) != Some(Kind::EnvoyProxy) {
        return Err(format!("parametersRef names {kind} of group {group:?}: only EnvoyProxy is understood"));
    }
    let Some(namespace) = namespace else {
        return Err("parametersRef has no namespace".to_owned());
    };
    let key = Key::new(namespace, name);
    let object = context.world.envoy_proxies.get(&key);
    let object = object.ok_or_else(|| format!("the EnvoyProxy {key} of parametersRef does not exist"))?;
    match &object.spec {
        Ok(_) => Ok(object.clone()),
        Err(error) => Err(format!("the EnvoyProxy {key} of parametersRef cannot be read: {error}")),
    }
}

/// Envoy Gateway's own controller, if the class is one that it would serve too.
fn rival(context: &Context<'_>, class: &GatewayClass) -> Option<String> {
    if class.controller_name != ENVOY_GATEWAY_CONTROLLER {
        return None;
    }
    let is_rival = |labels: &BTreeMap<String, String>| {
        labels.get("control-plane").is_some_and(|value| value == "envoy-gateway")
            || labels.get("app.kubernetes.io/name").is_some_and(|value| value == "gateway-helm")
    };
    let (key, _) = context.world.deployments.iter().find(|(_, object)| {
        let runs = object.spec.as_ref().is_ok_and(|spec| spec.replicas != Some(0));
        runs && is_rival(&object.meta.labels)
    })?;
    Some(format!(
        "Envoy Gateway's controller runs as Deployment {key} and serves this class: scale it to 0 or uninstall it, and \
         Penstock takes the class over"
    ))
}

fn status(
    context: &Context<'_>,
    object: &Object<GatewayClass>,
    spec: &GatewayClass,
    parameters: &Result<Option<Parameters>, String>,
    rival: Option<String>,
) -> StatusUpdate {
    let accepted = match (rival, parameters) {
        (Some(message), _) => Condition::no("Accepted", "OtherControllerRuns", message),
        (None, Err(message)) => Condition::no("Accepted", "InvalidParameters", message.as_str()),
        (None, Ok(_)) => {
            Condition::yes("Accepted", "Accepted", format!("served by {}", spec.controller_name))
        }
    };
    let features = if accepted.is_true() { FEATURES.to_vec() } else { Vec::new() };
    let mut conditions = vec![accepted];
    conditions.extend(context.options.gateway_api_version.as_deref().map(supported_version));
    let mut unread = object.unread.clone();
    if let Ok(Some(parameters)) = parameters {
        let key = &parameters.meta.key;
        unread.extend(parameters.unread.iter().map(|field| format!("{field} of EnvoyProxy {key}")));
    }
    conditions.extend(Condition::fields(&unread));
    let unknown: Vec<&str> = context.options.unknown_kinds.iter().map(String::as_str).collect();
    if !unknown.is_empty() {
        let message = format!("whatever objects of these kinds ask for is not done: {}", unknown.join(", "));
        conditions.push(Condition::yes(UNKNOWN_KINDS, "UnknownKinds", message));
    }
    StatusUpdate::new(object, Status::Class { conditions, features })
}

fn supported_version(version: &str) -> Condition {
    if version.starts_with("v1.") {
        Condition::yes("SupportedVersion", "SupportedVersion", format!("Gateway API {version}"))
    } else {
        let message = format!("Gateway API {version} is installed; v1 is understood");
        Condition::no("SupportedVersion", "UnsupportedVersion", message)
    }
}
