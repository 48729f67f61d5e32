//! Generating the schema from the raw types.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

/// Where definitions stand in the schema.
const DEFINITIONS: &str = "#/$defs/";

/// The schema of a document in a plain form: no `null` for what may be left out, `enum` for choices.
pub(super) fn document_schema<D: JsonSchema>(title: &str) -> Value {
    let generator = SchemaGenerator::new(SchemaSettings::draft2020_12());
    let mut schema = generator.into_root_schema_for::<D>().to_value();
    simplify(&mut schema);
    schema["title"] = json!(title);
    schema
}

/// A schema that `documents`, each with its schema, match. What they define under one name is the same.
pub(super) fn any_of(title: &str, documents: [&Value; 2]) -> Value {
    let mut definitions = Map::new();
    let mut alternatives = Vec::new();
    for document in documents {
        let mut document = document.clone();
        let Some(object) = document.as_object_mut() else { continue };
        object.remove("$schema");
        if let Some(Value::Object(own)) = object.remove("$defs") {
            definitions.extend(own);
        }
        alternatives.push(document);
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
        "anyOf": alternatives,
        "$defs": definitions,
    })
}

/// Follows a `$ref`.
pub(crate) fn resolve<'s>(root: &'s Value, schema: &'s Value) -> &'s Value {
    match schema["$ref"].as_str().and_then(|reference| reference.strip_prefix(DEFINITIONS)) {
        Some(name) => &root["$defs"][name],
        None => schema,
    }
}

fn simplify(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            drop_null(object);
            constants_to_enum(object);
            integer_range(object);
            rename_definitions(object);
            if let Some(Value::String(text)) = object.get_mut("description") {
                *text = text.replace('\n', " ");
            }
            object.values_mut().for_each(simplify);
        }
        Value::Array(items) => items.iter_mut().for_each(simplify),
        _ => {}
    }
}

/// What may be left out is not thereby allowed to be `null`.
fn drop_null(object: &mut Map<String, Value>) {
    if let Some(Value::Array(types)) = object.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            object.insert("type".into(), only);
        }
    }
    if let Some(Value::Array(variants)) = object.get_mut("enum") {
        variants.retain(|variant| !variant.is_null());
    }
    if let Some(Value::Array(mut variants)) = object.remove("anyOf") {
        variants.retain(|variant| variant["type"] != "null");
        match variants.pop() {
            Some(Value::Object(only)) if variants.is_empty() => object.extend(only),
            only => {
                variants.extend(only);
                object.insert("anyOf".into(), variants.into());
            }
        }
    }
    // The defaults of a group stand with its fields.
    if object
        .get("default")
        .is_some_and(|default| default.is_null() || default.is_object() || *default == json!([]))
    {
        object.remove("default");
    }
}

/// `oneOf` of documented constants becomes `enum` and `x-values`.
fn constants_to_enum(object: &mut Map<String, Value>) {
    let Some(Value::Array(variants)) = object.get("oneOf") else { return };
    let mut values = Map::new();
    for variant in variants {
        let Some(names) = variant.get("enum").and_then(Value::as_array).cloned() else {
            let Some(name) = variant["const"].as_str() else { return };
            values.insert(name.to_owned(), variant["description"].clone());
            continue;
        };
        values.extend(names.iter().filter_map(Value::as_str).map(|name| (name.to_owned(), Value::Null)));
    }
    let names: Vec<Value> = values.keys().cloned().map(Value::String).collect();
    object.remove("oneOf");
    object.insert("type".into(), "string".into());
    object.insert("enum".into(), names.into());
    object.insert("x-values".into(), values.into());
}

/// Ranges of numbers get the standard's keywords; the widths of Rust's types become ranges.
fn integer_range(object: &mut Map<String, Value>) {
    for (own, standard) in [("x-minimum", "minimum"), ("x-maximum", "maximum")] {
        if object.get(own).is_some_and(Value::is_number)
            && let Some(bound) = object.remove(own)
        {
            object.insert(standard.into(), bound);
        }
    }
    let bounds = match object.get("format").and_then(Value::as_str) {
        Some("uint16") => (0, i64::from(u16::MAX)),
        Some("uint32") => (0, i64::from(u32::MAX)),
        Some("uint64") => (0, i64::MAX),
        Some("int32") => (i64::from(i32::MIN), i64::from(i32::MAX)),
        _ => return,
    };
    object.remove("format");
    object.entry("minimum").or_insert(bounds.0.into());
    object.entry("maximum").or_insert(bounds.1.into());
}

/// Names in the schema are those of the document: `Limits`, not `RawLimits`.
fn rename_definitions(object: &mut Map<String, Value>) {
    let plain = |name: &str| name.strip_prefix("Raw").unwrap_or(name).to_owned();
    if let Some(Value::String(reference)) = object.get_mut("$ref")
        && let Some(name) = reference.strip_prefix(DEFINITIONS)
    {
        *reference = format!("{DEFINITIONS}{}", plain(name));
    }
    if let Some(Value::Object(definitions)) = object.get_mut("$defs") {
        *definitions =
            std::mem::take(definitions).into_iter().map(|(name, schema)| (plain(&name), schema)).collect();
    }
}
