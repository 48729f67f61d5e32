//! JSON as a translator needs it: a document is parsed once into a tree that borrows from it, and strings stay as they
//! stand, escapes and all.
//!
//! Most of what a request or a response holds goes from one document into another unchanged. Escaped text is as good there
//! as it was here, so that it is neither decoded nor encoded again, and no byte of it changes: a short text costs a copy, and
//! a long one a note of its place ([`Written`]).
//! Numbers stay as they were written for the same reason.
//!
//! Turned down: simd-json and serde_json, which decode every string and number, and lose how they were spelt; and sonic-rs,
//! whose lazy values keep that, but which has the vectors of the processor that it is built for only.

mod marks;
mod parse;
mod text;
mod write;

pub use self::parse::{ParseError, parse};
pub use self::text::Text;
pub use self::write::{Piece, Writer, Written};

use std::borrow::Cow;

/// A value in a document.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number as it is written.
    Number(&'a str),
    /// A string.
    String(Text<'a>),
    /// An array.
    Array(Array<'a>),
    /// An object.
    Object(Object<'a>),
}

/// An array in a document.
#[derive(Clone, Debug, PartialEq)]
pub struct Array<'a> {
    /// As it is written, brackets included.
    pub raw: &'a str,
    /// Its items.
    pub items: Vec<Value<'a>>,
}

/// An object in a document.
#[derive(Clone, Debug, PartialEq)]
pub struct Object<'a> {
    /// As it is written, braces included.
    pub raw: &'a str,
    /// Its members in their order, names decoded.
    pub members: Vec<(Cow<'a, str>, Value<'a>)>,
}

impl<'a> Value<'a> {
    /// Its string; `None` if it is none.
    pub fn as_text(&self) -> Option<&Text<'a>> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// Its object; `None` if it is none.
    pub fn as_object(&self) -> Option<&Object<'a>> {
        match self {
            Self::Object(object) => Some(object),
            _ => None,
        }
    }

    /// Its items; `None` if it is no array.
    pub fn as_items(&self) -> Option<&[Self]> {
        match self {
            Self::Array(array) => Some(&array.items),
            _ => None,
        }
    }

    /// Its truth; `None` if it is no boolean.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(is_true) => Some(*is_true),
            _ => None,
        }
    }

    /// Its number as it is written; `None` if it is none.
    pub fn as_number(&self) -> Option<&'a str> {
        match self {
            Self::Number(number) => Some(number),
            _ => None,
        }
    }

    /// Its number, if that is whole and fits.
    pub fn as_u64(&self) -> Option<u64> {
        self.as_number().and_then(|number| number.parse().ok())
    }

    /// Whether it is `null`.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// What kind of value it is, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::String(_) => "a string",
            Self::Array(_) => "an array",
            Self::Object(_) => "an object",
        }
    }
}

impl<'a> Object<'a> {
    /// The member of this name, the last one if there are several; `null` counts as absent.
    pub fn get(&self, name: &str) -> Option<&Value<'a>> {
        let found = self.members.iter().rev().find(|(key, _)| key == name);
        found.map(|(_, value)| value).filter(|value| !value.is_null())
    }

    /// The string of this name.
    pub fn text(&self, name: &str) -> Option<&Text<'a>> {
        self.get(name)?.as_text()
    }

    /// The string of this name if it is one of plain words, without escapes.
    pub fn word(&self, name: &str) -> Option<&'a str> {
        self.text(name)?.as_word()
    }

    /// The object of this name.
    pub fn object(&self, name: &str) -> Option<&Self> {
        self.get(name)?.as_object()
    }

    /// The items of the array of this name; none if there is no such array.
    pub fn items(&self, name: &str) -> &[Value<'a>] {
        self.get(name).and_then(Value::as_items).unwrap_or_default()
    }

    /// The whole number of this name.
    pub fn u64(&self, name: &str) -> Option<u64> {
        self.get(name)?.as_u64()
    }
}
