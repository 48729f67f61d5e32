//! Checking a tree against the schema.
//!
//! A general validator was turned down: it knows neither our durations and sizes nor what to advise, and its errors
//! would have to be translated one by one. The schema is generated from our own types, so the keywords that occur are
//! few; a test holds the list.

use rustc_hash::FxHashSet;
use serde_json::{Map, Value};

use super::resolve;
use crate::cidr::Cidr;
use crate::decimal::Decimal;
use crate::knob::{Address, QuantityError, Size, Span};
use crate::report::{FieldPath, Quoted, Report, Suggestion};

/// The keywords that [`Check`] heeds, and those that need no heeding.
#[cfg(test)]
pub(super) const KNOWN_KEYWORDS: &[&str] = &[
    "$defs",
    "$ref",
    "$schema",
    "additionalProperties",
    "default",
    "description",
    "enum",
    "format",
    "items",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minItems",
    "minLength",
    "minimum",
    "pattern",
    "properties",
    "required",
    "title",
    "type",
    "x-maximum",
    "x-minimum",
    "x-values",
];

/// A walk over a document.
pub(super) struct Check<'a> {
    /// The whole schema, in which references are looked up.
    pub(super) root: &'a Value,
    /// Where faults go.
    pub(super) report: &'a mut Report,
}

impl Check<'_> {
    /// Checks `value`, and takes faulty parts out of it that have a default. Whether it can be read then.
    pub(super) fn value(&mut self, value: &mut Value, schema: &Value, place: &FieldPath<'_>) -> bool {
        let root = self.root;
        let schema = resolve(root, schema);
        if !self.has_type(value, schema, place) {
            return false;
        }
        match value {
            Value::Object(object) => self.object(object, schema, place),
            Value::Array(items) => self.list(items, schema, place),
            Value::String(text) => self.text(text, schema, place),
            Value::Number(number) if schema["format"] == "decimal" => {
                let read = Decimal::of_number(number);
                read.map_err(|error| self.report.add(place, || error.to_string())).is_ok()
            }
            // Only numbers that are whole have bounds; others are where anything may be.
            Value::Number(number) if number.is_f64() => true,
            Value::Number(number) => self.number(number.as_i64(), number.as_u64(), schema, place),
            Value::Bool(_) | Value::Null => true,
        }
    }

    fn has_type(&mut self, value: &Value, schema: &Value, place: &FieldPath<'_>) -> bool {
        let wanted = &schema["type"];
        let is_wanted = |name: &str| match wanted {
            Value::Array(names) => names.iter().any(|wanted| wanted == name),
            Value::String(wanted) => wanted == name,
            _ => true,
        };
        let given = match value {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(number) if number.is_f64() => "number",
            Value::Number(_) => "integer",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        if is_wanted(given) {
            return true;
        }
        self.report.add(place, || match (value, place) {
            (Value::Null, FieldPath::Root) => "the document is empty".to_owned(),
            _ => type_message(value, given, schema),
        });
        false
    }

    fn object(&mut self, object: &mut Map<String, Value>, schema: &Value, place: &FieldPath<'_>) -> bool {
        let Some(properties) = schema["properties"].as_object() else {
            return self.map(object, schema, place);
        };
        let required =
            |name: &str| schema["required"].as_array().is_some_and(|r| r.iter().any(|r| r == name));
        let mut is_readable = true;
        let mut faulty = FxHashSet::default();
        for (name, value) in object.iter_mut() {
            let field = place.field(name);
            let Some(property) = properties.get(name) else {
                let known = properties.keys().map(String::as_str);
                self.report.add(&field, || format!("unknown field{}", Suggestion::of(name, known)));
                faulty.insert(name.clone());
                continue;
            };
            if !self.value(value, property, &field) {
                // A list or an object cannot be taken out: what refers to its parts would seem to be wrong.
                is_readable &= !required(name) && !value.is_array() && !value.is_object();
                faulty.insert(name.clone());
            }
        }
        for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if !object.contains_key(name) {
                self.report.add(&place.field(name), || format!("is missing{}", purpose(&properties[name])));
                is_readable = false;
            }
        }
        object.retain(|name, _| !faulty.contains(name));
        is_readable
    }

    /// An object whose keys are free.
    fn map(&mut self, object: &mut Map<String, Value>, schema: &Value, place: &FieldPath<'_>) -> bool {
        let values = &schema["additionalProperties"];
        let count = object.len() as u64;
        if let Some(most) = schema["maxProperties"].as_u64().filter(|most| count > *most) {
            self.report.add(place, || format!("has {count} members; the most is {most}"));
            return false;
        }
        if !values.is_object() {
            return true;
        }
        let mut is_readable = true;
        for (name, value) in object.iter_mut() {
            is_readable &= self.value(value, values, &place.field(name));
        }
        is_readable
    }

    fn list(&mut self, items: &mut [Value], schema: &Value, place: &FieldPath<'_>) -> bool {
        let count = items.len() as u64;
        let (least, most) =
            (schema["minItems"].as_u64().unwrap_or(0), schema["maxItems"].as_u64().unwrap_or(u64::MAX));
        if count < least {
            self.report
                .add(place, || format!("needs at least {least} item{}", if least == 1 { "" } else { "s" }));
            return false;
        }
        if count > most {
            self.report.add(place, || format!("has {count} items; the most is {most}"));
            return false;
        }
        let mut is_readable = true;
        for (index, item) in items.iter_mut().enumerate() {
            is_readable &= self.value(item, &schema["items"], &place.index(index));
        }
        is_readable
    }

    fn text(&mut self, text: &str, schema: &Value, place: &FieldPath<'_>) -> bool {
        let bytes = text.len() as u64;
        if let Some(most) = schema["maxLength"].as_u64().filter(|most| bytes > *most) {
            self.report.add(place, || format!("has {bytes} bytes; the most is {most}"));
            return false;
        }
        if let Some(least) = schema["minLength"].as_u64().filter(|least| bytes < *least) {
            self.report.add(place, || match bytes {
                0 => "is empty: give it a value, or leave it out".to_owned(),
                _ => format!("has {bytes} bytes; the least is {least}"),
            });
            return false;
        }
        if let Some(choices) = schema["enum"].as_array()
            && !choices.iter().any(|choice| choice == text)
        {
            let known = choices.iter().filter_map(Value::as_str);
            self.report
                .add(place, || format!("unknown value {}{}", Quoted(text), Suggestion::of(text, known)));
            return false;
        }
        match check_format(text, schema) {
            Ok(()) => true,
            Err(message) => {
                self.report.add(place, || message);
                false
            }
        }
    }

    fn number(
        &mut self,
        signed: Option<i64>,
        unsigned: Option<u64>,
        schema: &Value,
        place: &FieldPath<'_>,
    ) -> bool {
        if schema["format"] == "size" {
            let in_range = unsigned
                .ok_or_else(|| QuantityError::Size.to_string())
                .and_then(|n| size_in_range(Size(n), schema));
            return in_range.map_err(|message| self.report.add(place, || message)).is_ok();
        }
        let (least, most) = (schema["minimum"].as_i64(), schema["maximum"].as_i64());
        let is_in_range = match signed {
            Some(number) => {
                least.is_none_or(|least| number >= least) && most.is_none_or(|most| number <= most)
            }
            // Only numbers beyond i64 come here.
            None => most.is_none() && unsigned.is_some(),
        };
        if !is_in_range {
            let number = signed.map(i128::from).or(unsigned.map(i128::from)).unwrap_or_default();
            self.report.add(place, || range_message(number, least, most));
        }
        is_in_range
    }
}

fn type_message(value: &Value, given: &str, schema: &Value) -> String {
    let format = schema["format"].as_str().unwrap_or_default();
    let wanted = match (format, schema["type"].as_str().unwrap_or_default()) {
        ("size", _) => "a number of bytes, or one with a unit, such as 64KiB",
        ("decimal", _) => "an amount, such as \"2.50\"",
        ("duration" | "timeout", _) => "a duration, such as \"10s\"",
        ("digest", _) => "a key's digest, `sha256:` and 64 hexadecimal digits",
        (_, "string") => "a text",
        (_, "integer") => "a whole number",
        (_, "boolean") => "true or false",
        (_, "array") => "a list",
        _ => "an object",
    };
    match value {
        Value::Null => format!("has no value: give it {wanted}, or leave it out"),
        Value::Bool(_) | Value::Number(_) if wanted == "a text" => {
            format!("must be {wanted}: put {value} in quotes")
        }
        Value::Number(number) if wanted.starts_with("a duration") => {
            format!("must be {wanted}: give {number} a unit")
        }
        _ => format!("must be {wanted}, not {}", described(given)),
    }
}

fn described(given: &str) -> &'static str {
    match given {
        "boolean" => "true or false",
        "number" => "a fraction",
        "integer" => "a number",
        "string" => "a text",
        "array" => "a list",
        _ => "an object",
    }
}

/// What a missing field is for, from its description.
fn purpose(property: &Value) -> String {
    let description = property["description"].as_str().unwrap_or_default();
    match description.split_once(". ").map_or(description, |(first, _)| first).trim_end_matches('.') {
        "" => String::new(),
        first => format!(" ({first})"),
    }
}

fn check_format(text: &str, schema: &Value) -> Result<(), String> {
    match schema["format"].as_str() {
        Some("duration") => span_in_range(text, schema, false),
        Some("timeout") => span_in_range(text, schema, true),
        Some("size") => {
            Size::parse(text).map_err(|e| e.to_string()).and_then(|size| size_in_range(size, schema))
        }
        Some("address") => Address::parse(text).map(drop).map_err(|e| e.to_string()),
        Some("decimal") => Decimal::parse(text).map(drop).map_err(|e| e.to_string()),
        Some("cidr") => Cidr::parse(text).map(drop).map_err(|e| e.to_string()),
        _ => Ok(()),
    }
}

fn span_in_range(text: &str, schema: &Value, may_be_off: bool) -> Result<(), String> {
    let span = Span::parse(text).map_err(|error| error.to_string())?;
    let bound = |name: &str| schema[name].as_str().and_then(|bound| Span::parse(bound).ok());
    let (least, most) = (bound("x-minimum"), bound("x-maximum"));
    if least.is_none_or(|least| span >= least) && most.is_none_or(|most| span <= most)
        || may_be_off && span == Span::ms(0)
    {
        return Ok(());
    }
    let off = if may_be_off { ", or 0s to turn it off" } else { "" };
    Err(format!("{}{off}", range_message(span, least, most)))
}

fn size_in_range(size: Size, schema: &Value) -> Result<(), String> {
    let bound = |name: &str| schema[name].as_str().and_then(|bound| Size::parse(bound).ok());
    let (least, most) = (bound("x-minimum"), bound("x-maximum"));
    if least.is_none_or(|least| size >= least) && most.is_none_or(|most| size <= most) {
        return Ok(());
    }
    Err(range_message(size, least, most))
}

fn range_message<G: std::fmt::Display, B: std::fmt::Display>(
    given: G,
    least: Option<B>,
    most: Option<B>,
) -> String {
    match (least, most) {
        (Some(least), Some(most)) => format!("{given} is out of range: choose {least} to {most}"),
        (Some(least), None) => format!("{given} is out of range: choose {least} or more"),
        (None, Some(most)) => format!("{given} is out of range: choose {most} or less"),
        (None, None) => format!("{given} is out of range"),
    }
}
