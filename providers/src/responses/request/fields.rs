//! Members of a request, read with the place that a complaint names.

use std::fmt;

use crate::conversation::Refused;
use crate::json::{Object, Text, Value};

/// A place in a request. Nothing is written until somebody complains.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place<'p> {
    /// The request.
    Root,
    /// A member of what is there.
    Member(&'p Self, &'p str),
    /// An item of what is there.
    Item(&'p Self, usize),
}

impl<'p> Place<'p> {
    /// The member `name` of what is here.
    pub(super) fn member(&'p self, name: &'p str) -> Self {
        Self::Member(self, name)
    }

    /// The item `index` of what is here.
    pub(super) fn item(&'p self, index: usize) -> Self {
        Self::Item(self, index)
    }

    /// That what is here cannot be translated, because of `message`.
    pub(super) fn refuse(&self, message: &str) -> Refused {
        Refused::new(self.to_string(), message)
    }

    /// That `found` is here where `expected` has to be.
    pub(super) fn wrong(&self, expected: &str, found: &Value<'_>) -> Refused {
        self.refuse(&format!("has to be {expected}, not {}", found.kind()))
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Member(Self::Root, name) => f.write_str(name),
            Self::Member(parent, name) => write!(f, "{parent}.{name}"),
            Self::Item(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

/// The string of this name, if there is one.
pub(super) fn text<'a>(object: &Object<'a>, name: &str, at: &Place<'_>) -> Result<Option<Text<'a>>, Refused> {
    match object.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(other) => Err(at.member(name).wrong("a string", other)),
    }
}

/// The string of this name, which has to be there.
pub(super) fn required_text<'a>(
    object: &Object<'a>,
    name: &str,
    at: &Place<'_>,
) -> Result<Text<'a>, Refused> {
    text(object, name, at)?.ok_or_else(|| at.member(name).refuse("is missing, and has to be a string"))
}

/// The number of this name as it is written, if there is one.
pub(super) fn number<'a>(
    object: &Object<'a>,
    name: &str,
    at: &Place<'_>,
) -> Result<Option<&'a str>, Refused> {
    match object.get(name) {
        None => Ok(None),
        Some(Value::Number(number)) => Ok(Some(number)),
        Some(other) => Err(at.member(name).wrong("a number", other)),
    }
}

/// The truth of this name, if there is one.
pub(super) fn boolean(object: &Object<'_>, name: &str, at: &Place<'_>) -> Result<Option<bool>, Refused> {
    match object.get(name) {
        None => Ok(None),
        Some(Value::Bool(is_true)) => Ok(Some(*is_true)),
        Some(other) => Err(at.member(name).wrong("true or false", other)),
    }
}

/// The object of this name, if there is one.
pub(super) fn object<'o, 'a>(
    object: &'o Object<'a>,
    name: &str,
    at: &Place<'_>,
) -> Result<Option<&'o Object<'a>>, Refused> {
    match object.get(name) {
        None => Ok(None),
        Some(Value::Object(inner)) => Ok(Some(inner)),
        Some(other) => Err(at.member(name).wrong("an object", other)),
    }
}

/// The items of this name; none if there is no such array.
pub(super) fn items<'o, 'a>(
    object: &'o Object<'a>,
    name: &str,
    at: &Place<'_>,
) -> Result<&'o [Value<'a>], Refused> {
    match object.get(name) {
        None => Ok(&[]),
        Some(Value::Array(array)) => Ok(&array.items),
        Some(other) => Err(at.member(name).wrong("an array", other)),
    }
}

/// Whether the member says anything: `null`, `false` and what is empty do not.
pub(super) fn says_something(object: &Object<'_>, name: &str) -> bool {
    match object.get(name) {
        None | Some(Value::Null | Value::Bool(false)) => false,
        Some(Value::Bool(true) | Value::Number(_)) => true,
        Some(Value::String(text)) => !text.is_empty(),
        Some(Value::Array(array)) => !array.items.is_empty(),
        Some(Value::Object(object)) => !object.members.is_empty(),
    }
}
