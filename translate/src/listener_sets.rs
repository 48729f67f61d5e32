//! ListenerSets, which are not served: their status says so, and so do those of routes that attach to them.

use std::collections::BTreeMap;

use crate::gateway::Gateway;
use crate::status::{Condition, Status, StatusUpdate};
use crate::world::{Key, Kind, World};

/// The Gateway that a ListenerSet adds listeners to; `None` if there is no such ListenerSet, or it names none.
pub(crate) fn gateway_of(world: &World, key: &Key) -> Option<Key> {
    let parent = &world.listener_sets.get(key)?.spec.as_ref().ok()?.parent_ref;
    let group = parent.group.as_deref().unwrap_or(Kind::Gateway.group());
    let kind = parent.kind.as_deref().unwrap_or(Kind::Gateway.name());
    let namespace = parent.namespace.as_deref().unwrap_or(&key.namespace);
    (Kind::in_group(group, kind) == Some(Kind::Gateway)).then(|| Key::new(namespace, &parent.name))
}

/// What the statuses of ListenerSets of our Gateways shall say.
pub(crate) fn statuses(world: &World, gateways: &BTreeMap<Key, Gateway<'_>>) -> Vec<StatusUpdate> {
    let mut statuses = Vec::new();
    for (key, object) in world.listener_sets.iter() {
        let Some(gateway) = gateway_of(world, key).filter(|gateway| gateways.contains_key(gateway)) else {
            continue;
        };
        let message = format!("ListenerSets are not served: put the listeners into Gateway {gateway}");
        let conditions = vec![
            Condition::no("Accepted", "NotAllowed", message.as_str()),
            Condition::no("Programmed", "Invalid", message),
        ];
        statuses.push(StatusUpdate::new(object, Status::Conditions(conditions)));
    }
    statuses
}
