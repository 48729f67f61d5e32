//! From text to a raw document.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use serde_saphyr::options::DuplicateKeyPolicy;

use crate::fault::{Fault, Faults};
use crate::report::{FieldPath, Quoted, Report};
use crate::schema::{self, RawDocument};

/// The most bytes that a document may have. 2,000 routes and 10,000 endpoints fit several times over, and a document
/// of this size is still read within seconds.
pub const MAX_DOCUMENT_BYTES: usize = 16 << 20;

/// How deep lists and objects may be nested. The format itself needs 8 levels; the rest is for the inline picker.
const MAX_DEPTH: usize = 64;

/// The most values that a document may have, those that aliases repeat included.
const MAX_NODES: usize = 4_000_000;

/// The most values that aliases may repeat. A person saves some hundred lines by them; a bomb wants millions.
const MAX_REPEATED: usize = 100_000;

/// Reads a document. The report holds the faults of its shape that do not stand in the way: the faulty fields are left
/// out, so that the document's other faults can be found too.
///
/// # Errors
/// The text is too large, or neither YAML nor JSON, or too misshapen to go on.
pub(crate) fn document<D: RawDocument>(text: &str) -> Result<(D, Report), Faults> {
    let mut value = value(text)?;
    let mut report = Report::default();
    if schema::check::<D>(&mut value, &mut report) {
        match serde_json::from_value(value) {
            Ok(document) => return Ok((document, report)),
            // The schema is generated from the types, so this says that the two disagree.
            Err(error) => report.add(&FieldPath::Root, || error.to_string()),
        }
    }
    let unexplained = || Faults::one(Fault::new("", "the document cannot be read"));
    Err(report.into_faults().unwrap_or_else(unexplained))
}

/// Reads YAML or JSON into a tree. Keys given twice are faults in both.
pub(crate) fn value(text: &str) -> Result<Value, Faults> {
    let fault = |message| Err(Faults::one(Fault::new("", message)));
    if text.len() > MAX_DOCUMENT_BYTES {
        return fault(format!("the document has {} bytes; the most is {MAX_DOCUMENT_BYTES}", text.len()));
    }
    // YAML's parser reads most JSON, but not surrogate pairs in escapes, nor tabs for indentation.
    if text.trim_start().starts_with('{')
        && let Ok(Strict(value)) = serde_json::from_str(text)
    {
        return Ok(value);
    }
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_documents: 1,
            max_depth: MAX_DEPTH,
            max_nodes: MAX_NODES,
            max_events: 2 * MAX_NODES,
        },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: MAX_REPEATED },
        duplicate_keys: DuplicateKeyPolicy::Error,
        with_snippet: false,
    };
    match serde_saphyr::from_str_with_options::<Strict>(text, options) {
        Ok(Strict(value)) => Ok(value),
        Err(error) => fault(syntax_message(&error)),
    }
}

fn syntax_message(error: &serde_saphyr::Error) -> String {
    const MAX_SHOWN: usize = 300;
    let mut message = error.to_string();
    if let Some((cut, _)) = message.char_indices().nth(MAX_SHOWN) {
        message.truncate(cut);
        message.push('…');
    }
    message
}

/// A tree whose objects have each key once, and which is not nested too deeply.
struct Strict(Value);

/// Reads a [`Strict`] tree at a depth.
#[derive(Clone, Copy)]
struct AtDepth(usize);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        AtDepth(0).deserialize(deserializer).map(Self)
    }
}

impl<'de> DeserializeSeed<'de> for AtDepth {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl AtDepth {
    fn inner<E: serde::de::Error>(self) -> Result<Self, E> {
        if self.0 < MAX_DEPTH { Ok(Self(self.0 + 1)) } else { Err(E::custom("nested too deeply")) }
    }
}

impl<'de> Visitor<'de> for AtDepth {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value that JSON has")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(inner)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut object = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let value = entries.next_value_seed(inner)?;
            if object.contains_key(&key) {
                return Err(A::Error::custom(format_args!("the key {} is given twice", Quoted(&key))));
            }
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}
