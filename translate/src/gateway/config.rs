//! What Envoy AI Gateway's GatewayConfigs say of Gateways.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Gateway;
use crate::api;
use crate::context::Context;
use crate::status::{Condition, Status, StatusUpdate};
use crate::world::{Key, Object};

/// The annotation of a Gateway that names its GatewayConfig.
const CONFIG_ANNOTATION: &str = "aigateway.envoyproxy.io/gateway-config";

/// What is to be counted of all requests for models that come by a Gateway, as its GatewayConfig says.
pub(super) fn request_costs<'a>(
    context: &Context<'a>,
    gateway: &Object<api::Gateway>,
) -> &'a [api::AiRequestCost] {
    let name = gateway.meta.annotations.get(CONFIG_ANNOTATION);
    let key = name.map(|name| Key::new(gateway.meta.key.namespace.as_str(), name));
    let config = key.and_then(|key| context.world.gateway_configs.get(&key));
    let spec = config.and_then(|config| config.spec.as_ref().ok());
    spec.map_or(&[], |spec| &spec.global_llm_request_costs)
}

/// What the statuses of GatewayConfigs shall say that Gateways of ours refer to.
pub(crate) fn config_statuses(
    context: &Context<'_>,
    gateways: &BTreeMap<Key, Gateway<'_>>,
) -> Vec<StatusUpdate> {
    let named = gateways.iter().filter_map(|(key, gateway)| {
        let name = gateway.object.meta.annotations.get(CONFIG_ANNOTATION)?;
        Some(Key::new(key.namespace.as_str(), name))
    });
    let objects = named.collect::<BTreeSet<Key>>();
    let objects = objects.iter().filter_map(|key| context.world.gateway_configs.get(key));
    let status = |object: &Arc<Object<api::GatewayConfig>>| {
        let message = "the GatewayConfig is known; see the fields that are not acted on";
        let mut conditions = vec![Condition::yes("Accepted", "Accepted", message)];
        conditions.extend(Condition::fields(&object.unread));
        StatusUpdate::new(object, Status::Conditions(conditions))
    };
    objects.map(status).collect()
}
