//! Members of requests: of which kind they are, those that have no place in the common form, and what is wrong with them.

use std::borrow::Cow;
use std::fmt::Display;

use crate::conversation::Refused;
use crate::json::{Object, Text, Value};

/// Members that the common form has no place for, noted once each.
pub(super) type Rest<'a> = Vec<(Cow<'a, str>, Value<'a>)>;

/// That `message` is wrong with the member at `place`.
pub(super) fn refused(place: impl Into<String>, message: impl Display) -> Refused {
    Refused::new(place, message.to_string())
}

/// Keeps what many blocks may have and the common form has no place for, under one name.
pub(super) fn note<'a>(rest: &mut Rest<'a>, name: impl Into<Cow<'a, str>>, value: &Value<'a>) {
    let name = name.into();
    if !rest.iter().any(|(known, _)| *known == name) {
        keep(rest, name, value);
    }
}

/// Keeps a member that the common form has no place for, unless it says what is so without it.
pub(super) fn keep<'a>(rest: &mut Rest<'a>, name: impl Into<Cow<'a, str>>, value: &Value<'a>) {
    if !is_vacant(value) {
        rest.push((name.into(), value.clone()));
    }
}

/// Whether a value says nothing: `null`, `false`, an empty array or object.
pub(super) fn is_vacant(value: &Value<'_>) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(array) => array.items.is_empty(),
        Value::Object(object) => object.members.is_empty(),
        Value::Bool(true) | Value::Number(_) | Value::String(_) => false,
    }
}

pub(super) fn text<'v, 'a>(value: &'v Value<'a>, place: &str) -> Result<&'v Text<'a>, Refused> {
    value.as_text().ok_or_else(|| wrong(place, "a string", value))
}

pub(super) fn object<'v, 'a>(value: &'v Value<'a>, place: &str) -> Result<&'v Object<'a>, Refused> {
    value.as_object().ok_or_else(|| wrong(place, "an object", value))
}

pub(super) fn items<'v, 'a>(value: &'v Value<'a>, place: &str) -> Result<&'v [Value<'a>], Refused> {
    value.as_items().ok_or_else(|| wrong(place, "an array", value))
}

pub(super) fn number<'a>(value: &Value<'a>, place: &str) -> Result<&'a str, Refused> {
    value.as_number().ok_or_else(|| wrong(place, "a number", value))
}

pub(super) fn wrong(place: &str, expected: &str, value: &Value<'_>) -> Refused {
    refused(place, format!("it has to be {expected}, not {}", value.kind()))
}
