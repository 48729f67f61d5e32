//! Who a data plane is to the API server, and what it may read there: its own configuration and nothing else.

use serde_json::json;

use super::Settings;
use crate::manifest::{Manifest, OwnedKind, Owner};

/// The service account and the binding of its role, which [`role`] makes.
pub(super) fn manifests(settings: &Settings<'_>) -> Vec<Manifest> {
    let owner = settings.owner;
    let base = owner.names.base.as_str();
    // The token is mounted because the data plane watches its configuration with it.
    let account = json!({ "automountServiceAccountToken": true });
    let binding = json!({
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": base },
        "subjects": [{ "kind": "ServiceAccount", "name": base, "namespace": owner.gateway.namespace }],
    });
    // What the Gateway says of its own data planes comes before what holds for all.
    let defaults = settings.data_plane.service_account.annotations.iter();
    let annotations: Vec<(&str, &str)> = defaults
        .filter(|(name, _)| !owner.annotations.contains_key(*name))
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    vec![
        Manifest::new(owner, OwnedKind::ServiceAccount, base, &[], &annotations, account),
        Manifest::new(owner, OwnedKind::RoleBinding, base, &[], &[], binding),
    ]
}

/// The role: these ConfigMaps and this Secret, by name. A watch of one object by its name is allowed by them too.
pub fn role(owner: &Owner, config_maps: &[String]) -> Manifest {
    let verbs = ["get", "list", "watch"];
    let body = json!({
        "rules": [
            { "apiGroups": [""], "resources": ["configmaps"], "resourceNames": config_maps, "verbs": verbs },
            { "apiGroups": [""], "resources": ["secrets"], "resourceNames": [owner.names.secrets()], "verbs": verbs },
        ],
    });
    Manifest::new(owner, OwnedKind::Role, &owner.names.base, &[], &[], body)
}
