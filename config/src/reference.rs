//! The reference page, generated from the schema.

use std::fmt::Write as _;

use serde_json::Value;

use crate::raw::{BackendEndpointsDocument, Document, PoolEndpointsDocument};
use crate::schema::{RawDocument, resolve};

const PREFACE: &str = "\
# Configuration

<!-- Generated from the types in `config/src`. Do not edit: `make generate`. -->

Penstock reads one routing document, in YAML or JSON. `penstock validate FILE` reports everything that is wrong with it,
each fault with its place; `penstock schema` prints the JSON schema, for editors that complete and check. Unknown fields
and keys given twice are errors. A document may have up to 16 MiB. The folder `examples/` has documents to start from.

- A *duration* is a text such as `250ms`, `10s` or `1m30s`. Where the range allows *off*, `0s` means that there is no
  deadline.
- A *size* is a number of bytes, or a text such as `64KiB`, `4MiB` or `1GiB`.
- A *decimal* is a number with up to 15 decimals, such as `100000` or `2.50`, that is read exactly: one of more than 15
  digits has to be in quotes.
- A *digest* is `sha256:` and the SHA-256 of a key in 64 hexadecimal digits, as `penstock keys new` prints it.
- An *address* is an IP address and a port: `10.0.0.1:8000`, `[::1]:8000`.
- *Regular expressions* have the syntax of Rust's `regex` crate and must match the whole value. They cannot look around
  or refer back, so that none takes more than linear time.
";

/// The reference page of the document, in Markdown: every field with its type, default, range and meaning.
pub fn reference_markdown() -> String {
    let mut page = PREFACE.to_owned();
    let mut sections = Vec::new();
    gather(&mut sections, "RoutingConfig", Document::schema(), Document::schema(), "");
    sections.iter().for_each(|section| section.write(&mut page));
    // What they lead to has its sections already.
    let known = sections.len();
    let (pool, backend) = (PoolEndpointsDocument::schema(), BackendEndpointsDocument::schema());
    gather(&mut sections, "Endpoints of a pool", pool, pool, "");
    gather(&mut sections, "Endpoints of a backend", backend, backend, "");
    sections[known..].iter().for_each(|section| section.write(&mut page));
    page
}

/// One object of the document.
struct Section {
    name: String,
    places: Vec<String>,
    /// The whole schema, in which references are looked up.
    root: &'static Value,
    schema: &'static Value,
}

/// Notes that an object stands at `place`, and does the same for those that its fields lead to, in their order. The
/// document's types do not contain themselves, so this ends.
fn gather(
    sections: &mut Vec<Section>,
    name: &str,
    root: &'static Value,
    object: &'static Value,
    place: &str,
) {
    match sections.iter_mut().find(|section| section.name == name) {
        Some(known) => known.places.push(place.to_owned()),
        None => {
            let (name, places) = (name.to_owned(), vec![place.to_owned()]);
            sections.push(Section { name, places, root, schema: object });
        }
    }
    for (field, property) in object["properties"].as_object().into_iter().flatten() {
        let (suffix, inner) =
            if property["items"].is_object() { ("[]", &property["items"]) } else { ("", property) };
        let target = resolve(root, inner);
        if let Some(name) = definition_name(inner)
            && target["properties"].is_object()
        {
            let dot = if place.is_empty() { "" } else { "." };
            gather(sections, name, root, target, &format!("{place}{dot}{field}{suffix}"));
        }
    }
}

impl Section {
    fn write(&self, page: &mut String) {
        let Self { name, places, root, schema } = self;
        let description = schema["description"].as_str().unwrap_or_default();
        let places: Vec<String> =
            places.iter().filter(|place| !place.is_empty()).map(|place| format!("`{place}`")).collect();
        // Writing to a string cannot fail.
        let _ = write!(page, "\n## {name}\n\n");
        if !places.is_empty() {
            let _ = write!(page, "At {}.\n\n", places.join(", "));
        }
        let _ = write!(
            page,
            "{description}\n\n| field | type | default | range | meaning |\n|---|---|---|---|---|\n"
        );
        let mut choices = String::new();
        for (field, property) in schema["properties"].as_object().into_iter().flatten() {
            let is_required = schema["required"].as_array().is_some_and(|r| r.iter().any(|r| r == field));
            write_row(page, root, field, property, is_required);
            write_choices(&mut choices, root, field, property);
        }
        if !choices.is_empty() {
            let _ = write!(page, "\n{choices}");
        }
    }
}

fn write_row(page: &mut String, root: &Value, field: &str, property: &Value, is_required: bool) {
    let default = match (&property["default"], is_required) {
        (_, true) => "required".to_owned(),
        (Value::Null, false) => String::new(),
        (Value::String(text), false) => format!("`{text}`"),
        (other, false) => format!("`{other}`"),
    };
    let meaning = property["description"].as_str().unwrap_or_default().replace('|', "\\|");
    let _ = writeln!(
        page,
        "| `{field}` | {} | {default} | {} | {meaning} |",
        type_name(root, property),
        range(property)
    );
}

/// The values of a choice, with their meanings where they have any.
fn write_choices(list: &mut String, root: &Value, field: &str, property: &Value) {
    let values = resolve(root, property)["x-values"].as_object();
    let meanings: Vec<String> = values
        .into_iter()
        .flatten()
        .filter_map(|(value, meaning)| Some(format!("  - `{value}`: {}", meaning.as_str()?)))
        .collect();
    if meanings.len() > 1 {
        let _ = writeln!(list, "- `{field}`:\n{}", meanings.join("\n"));
    }
}

fn type_name(root: &Value, property: &Value) -> String {
    let target = resolve(root, property);
    if let Some(values) = target["enum"].as_array() {
        return values
            .iter()
            .filter_map(Value::as_str)
            .map(|value| format!("`{value}`"))
            .collect::<Vec<_>>()
            .join(", ");
    }
    if let (Some(name), true) = (definition_name(property), target["properties"].is_object()) {
        return format!("[{name}](#{})", name.to_lowercase());
    }
    match (target["format"].as_str(), target["type"].as_str()) {
        (Some("timeout"), _) => "duration".to_owned(),
        (Some(format), _) => format.to_owned(),
        (_, Some("array")) => format!("list of {}", type_name(root, &target["items"])),
        (_, Some("object")) if target["additionalProperties"]["type"] == "array" => {
            "names with lists of texts".to_owned()
        }
        (_, Some("object")) if target["additionalProperties"]["format"] == "decimal" => {
            "names with decimals".to_owned()
        }
        (_, Some("object")) if target["additionalProperties"].is_object() => "names with texts".to_owned(),
        (_, Some("string")) => "text".to_owned(),
        (_, Some("integer")) => "whole number".to_owned(),
        (_, Some("boolean")) => "true or false".to_owned(),
        (_, other) => other.unwrap_or("anything").to_owned(),
    }
}

fn range(property: &Value) -> String {
    if property["items"]["minimum"].is_number() {
        return range(&property["items"]);
    }
    let bound = |name: &str| match &property[name] {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    };
    let least = bound("x-minimum").or_else(|| bound("minimum"));
    let most = bound("x-maximum").or_else(|| bound("maximum"));
    let is_type_bound = |bound: &String| {
        [i64::MAX, i64::from(i32::MAX), i64::from(i32::MIN), i64::from(u32::MAX)]
            .iter()
            .any(|b| b.to_string() == **bound)
    };
    let off = if property["format"] == "timeout" { "off, " } else { "" };
    match (least, most.filter(|most| !is_type_bound(most))) {
        (Some(least), Some(most)) => format!("{off}{least} to {most}"),
        _ => String::new(),
    }
}

fn definition_name(property: &Value) -> Option<&str> {
    property["$ref"].as_str()?.rsplit('/').next()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::schema;

    #[test]
    fn every_field_of_the_schema_is_documented() {
        fn walk(schema: &Value, missing: &mut Vec<String>) {
            for (field, property) in schema["properties"].as_object().into_iter().flatten() {
                if property["description"].as_str().is_none_or(str::is_empty) {
                    missing.push(field.clone());
                }
            }
        }
        let mut missing = Vec::new();
        walk(schema(), &mut missing);
        for definition in schema()["$defs"].as_object().expect("there are definitions").values() {
            walk(definition, &mut missing);
        }
        assert!(missing.is_empty(), "{missing:?}");
    }

    #[test]
    fn the_page_has_every_field_at_the_top() {
        let page = reference_markdown();
        for field in schema()["properties"].as_object().expect("it is an object").keys() {
            assert!(page.contains(&format!("| `{field}` |")), "{field}");
        }
    }
}
