//! One object to be written: its name, its labels and the Gateway that it belongs to.
//!
//! What is written, what runs a data plane and what is watched all build on this, and it builds on none of them.

mod kind;
mod labels;
mod names;

use std::collections::BTreeMap;

use penstock_translate::world::Key;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

pub(crate) use kind::Drift;
pub use kind::{OwnedKey, OwnedKind};
pub use labels::{DIGEST, FIELD_MANAGER, GATEWAY_NAME, MANAGED_BY};
pub use names::Names;

/// The Gateway that objects belong to: they go when it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The Gateway.
    pub gateway: Key,
    /// Its identity.
    pub uid: String,
    /// Its `apiVersion` as it was read.
    pub api_version: String,
    /// Names of what belongs to it.
    pub names: Names,
    /// Labels of everything (`spec.infrastructure.labels`).
    pub labels: BTreeMap<String, String>,
    /// Annotations of everything (`spec.infrastructure.annotations`).
    pub annotations: BTreeMap<String, String>,
}

/// An object as it shall be.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// Its name.
    pub key: OwnedKey,
    /// The hash of `body`, which is also in it.
    pub digest: String,
    /// The object.
    pub body: Value,
}

impl Manifest {
    /// The object `name` of a Gateway. `body` has everything but `apiVersion`, `kind` and `metadata`; `annotations` and
    /// `labels` are put to those that every object has.
    pub fn new(
        owner: &Owner,
        kind: OwnedKind,
        name: &str,
        labels: &[(&str, &str)],
        annotations: &[(&str, &str)],
        body: Value,
    ) -> Self {
        let mut all_labels = serde_json::Map::new();
        for (name, value) in &owner.labels {
            all_labels.insert(name.clone(), value.as_str().into());
        }
        for (name, value) in labels {
            all_labels.insert((*name).to_owned(), (*value).into());
        }
        // Last, since nobody may change them: they tell what is ours.
        for (name, value) in common_labels(&owner.names) {
            all_labels.insert(name.to_owned(), value.into());
        }
        let mut all_annotations = serde_json::Map::new();
        for (name, value) in &owner.annotations {
            all_annotations.insert(name.clone(), value.as_str().into());
        }
        for (name, value) in annotations {
            all_annotations.insert((*name).to_owned(), (*value).into());
        }
        let resource = kind.resource();
        let mut object = json!({
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "metadata": {
                "name": name,
                "namespace": owner.gateway.namespace,
                "labels": all_labels,
                "annotations": all_annotations,
                "ownerReferences": [{
                    "apiVersion": owner.api_version,
                    "kind": "Gateway",
                    "name": owner.gateway.name,
                    "uid": owner.uid,
                    "controller": true,
                    "blockOwnerDeletion": false,
                }],
            },
        });
        if let (Value::Object(object), Value::Object(body)) = (&mut object, body) {
            object.extend(body);
        }
        let digest = hex(&Sha256::digest(object.to_string()))[..16].to_owned();
        object["metadata"]["annotations"][DIGEST] = digest.as_str().into();
        let key = OwnedKey { kind, namespace: owner.gateway.namespace.clone(), name: name.to_owned() };
        Self { key, digest, body: object }
    }
}

/// The labels by which everything of one Gateway is found.
pub(crate) fn common_labels(names: &Names) -> [(&'static str, &str); 2] {
    [MANAGED_BY, (GATEWAY_NAME, &names.label)]
}

/// Bytes in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
