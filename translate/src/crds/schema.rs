//! From Rust types to the schemas that Kubernetes understands: without references, and open for fields that nobody here
//! reads.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

/// Where a type's schema says what a field has if it is left out. schemars' own `default` is Rust's, which is not
/// meant for others.
const DEFAULT: &str = "x-default";

/// The schema of a type.
pub(super) fn of<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::openapi3().with(|settings| settings.inline_subschemas = true);
    let schema = settings.into_generator().into_root_schema_for::<T>();
    let mut value = schema.to_value();
    structural(&mut value);
    value
}

/// Makes a schema structural, as Kubernetes calls it.
fn structural(value: &mut Value) {
    // A schema that lets everything through.
    if matches!(value, Value::Bool(true)) || value.as_object().is_some_and(Map::is_empty) {
        *value = open();
        return;
    }
    let Value::Object(schema) = value else { return };
    for word in ["$schema", "title", "nullable", "default", "components", "format"] {
        schema.shift_remove(word);
    }
    if let Some(default) = schema.shift_remove(DEFAULT) {
        schema.insert("default".to_owned(), default);
    }
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        properties.values_mut().for_each(structural);
    }
    for inner in ["items", "additionalProperties"] {
        if let Some(inner) = schema.get_mut(inner) {
            structural(inner);
        }
    }
    let is_map = schema.get("additionalProperties").is_some_and(Value::is_object);
    if is_map {
        // Of a map whose values can be anything, Kubernetes only wants to know that it is one.
        if schema.get("additionalProperties") == Some(&open()) {
            schema.shift_remove("additionalProperties");
            schema.insert("x-kubernetes-preserve-unknown-fields".to_owned(), true.into());
        }
    } else if schema.get("type").is_none_or(|kind| kind == "object") {
        schema.insert("x-kubernetes-preserve-unknown-fields".to_owned(), true.into());
    }
}

fn open() -> Value {
    serde_json::json!({ "x-kubernetes-preserve-unknown-fields": true })
}
