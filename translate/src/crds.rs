//! The custom resource definitions that Penstock ships, generated from the types that read them.
//!
//! They let everything through that the definitions of the projects they come from let through: what is read here has its
//! type, what is not is kept as it is, and nothing is required. So a cluster that already has the original definitions
//! keeps them, and one that has ours can take the original ones later.

mod fields;
mod schema;

use schemars::JsonSchema;
use serde_json::{Value, json};

use crate::api;
use crate::world::Kind;

pub use fields::{Field, fields};

/// A definition.
#[derive(Debug, Clone)]
pub struct Definition {
    /// Its kind.
    pub kind: Kind,
    /// The object.
    pub object: Value,
}

/// What a definition says beside its schema.
struct Facts {
    kind: Kind,
    short_names: &'static [&'static str],
    /// Name, type and path of columns that `kubectl get` shows.
    columns: &'static [(&'static str, &'static str, &'static str)],
    schema: Value,
}

const ACCEPTED: (&str, &str, &str) =
    ("Accepted", "string", ".status.conditions[?(@.type==\"Accepted\")].status");
const POOL: (&str, &str, &str) = ("Pool", "string", ".spec.poolRef.name");

/// All definitions, by group and name.
pub fn definitions() -> Vec<Definition> {
    let objective = &[POOL, ("Priority", "integer", ".spec.priority"), ACCEPTED];
    let all = [
        facts::<api::InferencePool>(
            Kind::InferencePool,
            &["infpool"],
            &[("Picker", "string", ".spec.endpointPickerRef.name")],
        ),
        facts::<api::InferenceObjective>(Kind::InferenceObjective, &[], objective),
        facts::<api::InferenceObjective>(Kind::LegacyInferenceObjective, &[], objective),
        facts::<api::InferenceModelRewrite>(Kind::InferenceModelRewrite, &["infmr"], &[POOL, ACCEPTED]),
        facts::<api::InferenceModelRewrite>(
            Kind::LegacyInferenceModelRewrite,
            &["xinfmr"],
            &[POOL, ACCEPTED],
        ),
        facts::<api::AiGatewayRoute>(Kind::AiGatewayRoute, &[], &[ACCEPTED]),
        facts::<api::AiServiceBackend>(
            Kind::AiServiceBackend,
            &[],
            &[("Schema", "string", ".spec.schema.name"), ACCEPTED],
        ),
        facts::<api::BackendSecurityPolicy>(
            Kind::BackendSecurityPolicy,
            &[],
            &[("Type", "string", ".spec.type"), ACCEPTED],
        ),
        facts::<api::GatewayConfig>(Kind::GatewayConfig, &[], &[]),
        facts::<api::Backend>(Kind::Backend, &["be"], &[ACCEPTED]),
        facts::<api::EnvoyProxy>(Kind::EnvoyProxy, &["eproxy"], &[]),
    ];
    let mut definitions: Vec<Definition> = all.into_iter().map(Facts::definition).collect();
    definitions.sort_by_key(|definition| (definition.kind.group(), definition.kind.plural()));
    definitions
}

fn facts<T: JsonSchema>(
    kind: Kind,
    short_names: &'static [&'static str],
    columns: &'static [(&'static str, &'static str, &'static str)],
) -> Facts {
    Facts { kind, short_names, columns, schema: schema::of::<T>() }
}

impl Facts {
    fn definition(self) -> Definition {
        let kind = self.kind;
        let (group, plural, name) = (kind.group(), kind.plural(), kind.name());
        let mut names = json!({
            "kind": name,
            "listKind": format!("{name}List"),
            "plural": plural,
            "singular": name.to_lowercase(),
        });
        if !self.short_names.is_empty() {
            names["shortNames"] = self.short_names.into();
        }
        let mut metadata = json!({ "name": format!("{plural}.{group}") });
        if let Some(approval) = approval(group) {
            metadata["annotations"] = json!({ "api-approved.kubernetes.io": approval });
        }
        // The first version is the one that is stored; all have one shape.
        let versions = kind.versions().iter().enumerate();
        let versions: Vec<Value> =
            versions.map(|(index, version)| self.version(version, index == 0)).collect();
        let object = json!({
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": metadata,
            "spec": { "group": group, "names": names, "scope": "Namespaced", "versions": versions },
        });
        Definition { kind, object }
    }

    fn version(&self, version: &str, is_stored: bool) -> Value {
        let age = ("Age", "date", ".metadata.creationTimestamp");
        let columns: Vec<Value> = self
            .columns
            .iter()
            .chain([&age])
            .map(|(name, kind, path)| json!({ "name": name, "type": kind, "jsonPath": path }))
            .collect();
        json!({
            "name": version,
            "served": true,
            "storage": is_stored,
            "additionalPrinterColumns": columns,
            "subresources": { "status": {} },
            "schema": { "openAPIV3Schema": {
                "type": "object",
                "description": self.schema.get("description").cloned().unwrap_or_default(),
                "required": ["spec"],
                "properties": {
                    "apiVersion": { "type": "string" },
                    "kind": { "type": "string" },
                    "metadata": { "type": "object" },
                    "spec": self.schema,
                    "status": { "type": "object", "x-kubernetes-preserve-unknown-fields": true },
                },
            } },
        })
    }
}

/// What the API server wants to see on definitions of Kubernetes' own groups: where they were approved.
fn approval(group: &str) -> Option<&'static str> {
    (group == Kind::InferencePool.group())
        .then_some("https://github.com/kubernetes-sigs/gateway-api-inference-extension/pull/1173")
}
