//! The fields of each kind that are read.

use serde_json::Value;

use super::schema;
use crate::api;
use crate::world::Kind;

/// A field that is read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Field {
    /// Its place: `spec.rules[].name`.
    pub path: String,
    /// Its type in a schema (`object`, `array`, `string`…); `any` if it can be anything.
    pub kind: String,
}

/// The fields of a kind's `spec` that are read, by path; none for kinds that are not configuration.
pub fn fields(kind: Kind) -> Vec<Field> {
    let schema = match kind {
        Kind::GatewayClass => schema::of::<api::GatewayClass>(),
        Kind::Gateway => schema::of::<api::Gateway>(),
        Kind::ListenerSet => schema::of::<api::ListenerSet>(),
        Kind::HttpRoute => schema::of::<api::HttpRoute>(),
        Kind::ReferenceGrant => schema::of::<api::ReferenceGrant>(),
        Kind::BackendTlsPolicy => schema::of::<api::BackendTlsPolicy>(),
        Kind::InferencePool => schema::of::<api::InferencePool>(),
        Kind::InferenceObjective | Kind::LegacyInferenceObjective => schema::of::<api::InferenceObjective>(),
        Kind::InferenceModelRewrite | Kind::LegacyInferenceModelRewrite => {
            schema::of::<api::InferenceModelRewrite>()
        }
        Kind::AiGatewayRoute => schema::of::<api::AiGatewayRoute>(),
        Kind::AiServiceBackend => schema::of::<api::AiServiceBackend>(),
        Kind::BackendSecurityPolicy => schema::of::<api::BackendSecurityPolicy>(),
        Kind::GatewayConfig => schema::of::<api::GatewayConfig>(),
        Kind::Backend => schema::of::<api::Backend>(),
        Kind::EnvoyProxy => schema::of::<api::EnvoyProxy>(),
        Kind::HttpRouteFilter => schema::of::<api::HttpRouteFilter>(),
        Kind::SecurityPolicy => schema::of::<api::AccessSettings>(),
        _ => return Vec::new(),
    };
    let mut fields = Vec::new();
    walk(&schema, "spec", &mut fields);
    fields.sort();
    fields
}

fn walk(schema: &Value, place: &str, fields: &mut Vec<Field>) {
    let properties = schema.get("properties").and_then(Value::as_object);
    for (name, inner) in properties.into_iter().flatten() {
        let path = format!("{place}.{name}");
        let kind = inner.get("type").and_then(Value::as_str).unwrap_or("any");
        fields.push(Field { path: path.clone(), kind: kind.to_owned() });
        match inner.get("items") {
            Some(items) => walk(items, &format!("{path}[]"), fields),
            None => walk(inner, &path, fields),
        }
    }
}
