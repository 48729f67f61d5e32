//! What a peek must say about a body that `serde_json` accepts, worked out from `serde_json`'s reading.
//!
//! Shared by the property test and the fuzz target.

use std::fmt;

use penstock_peek::{Options, Peek, PeekError, Peeked, Shape};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

/// The names whose values are part of the prompt.
pub(crate) const PROMPT: [&str; 6] = ["messages", "prompt", "input", "system", "instructions", "tools"];

/// Peeks at a body in the given chunks.
pub(crate) fn peek(content_type: &str, chunks: &[&[u8]]) -> Result<Peeked, PeekError> {
    let mut peek = Peek::new(Some(content_type.as_bytes()), &Options::default())?;
    for chunk in chunks {
        peek.feed(chunk)?;
    }
    peek.finish()
}

/// What a peek must say, as far as `serde_json` knows.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Expected {
    /// The kind of document.
    pub(crate) shape: Shape,
    /// The model's name.
    pub(crate) model: Option<String>,
    /// As in [`Peeked`].
    pub(crate) stream: Option<bool>,
    /// As in [`Peeked`].
    pub(crate) max_tokens: Option<u64>,
    pub(crate) answers: Option<u64>,
    /// As in [`Peeked`].
    pub(crate) user: Option<String>,
}

impl Expected {
    /// The part of a peek that `serde_json` knows about.
    pub(crate) fn of(peeked: &Peeked) -> Self {
        Self {
            shape: peeked.shape,
            model: peeked.model.as_ref().map(|model| model.name.clone()),
            stream: peeked.stream,
            max_tokens: peeked.max_tokens,
            answers: peeked.answers,
            user: peeked.user.as_deref().map(str::to_owned),
        }
    }
}

/// Names up to this length fit into the scanner's limit however they are escaped.
const SAFE_NAME_BYTES: usize = penstock_peek::MAX_KEY_BYTES / 6;

/// What a peek must say about `body`, or the reason of its refusal; `None` where `serde_json` rejects it or
/// loses what counts: how long a name was before its escapes were resolved.
pub(crate) fn expect(body: &[u8]) -> Option<Result<Expected, &'static str>> {
    let document: Document = serde_json::from_slice(body).ok()?;
    let Document::Object(members) = document else {
        return Some(Ok(Expected { shape: Shape::OtherJson, ..Expected::default() }));
    };
    members.iter().all(|(name, _)| name.len() <= SAFE_NAME_BYTES).then(|| read(&members))
}

fn read(members: &[(String, Value)]) -> Result<Expected, &'static str> {
    let mut expected = Expected { shape: Shape::Object, ..Expected::default() };
    let mut limits = [None; 3];
    let mut has_model = false;
    for (name, value) in members {
        match name.as_str() {
            "model" if has_model => return Err("duplicate_model"),
            "model" => {
                has_model = true;
                expected.model = model(value)?;
            }
            "stream" => expected.stream = value.as_bool(),
            "max_completion_tokens" => limits[0] = value.as_u64(),
            "max_output_tokens" => limits[1] = value.as_u64(),
            "max_tokens" => limits[2] = value.as_u64(),
            "n" => expected.answers = value.as_u64(),
            "user" => expected.user = value.as_str().filter(|user| user.len() <= 256).map(str::to_owned),
            name if name.eq_ignore_ascii_case("model") => return Err("model_case"),
            name if name.contains('\0') => return Err("member_name"),
            _ => {}
        }
    }
    expected.max_tokens = limits[0].or(limits[1]).or(limits[2]);
    Ok(expected)
}

fn model(value: &Value) -> Result<Option<String>, &'static str> {
    let name = match value {
        Value::Null => return Ok(None),
        Value::String(name) => name,
        _ => return Err("model_type"),
    };
    let hidden = |c: char| matches!(c, '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{2069}' | '\u{FEFF}');
    if name.len() > 256 {
        return Err("model_too_long");
    }
    if name.trim() != name || name.is_empty() || name.chars().any(|c| c.is_control() || hidden(c)) {
        return Err("model_name");
    }
    Ok(Some(name.clone()))
}

/// A document whose outermost object keeps its members in order, repeated ones included.
enum Document {
    Object(Vec<(String, Value)>),
    Other,
}

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Outermost)
    }
}

struct Outermost;

impl<'de> Visitor<'de> for Outermost {
    type Value = Document;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Document, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Document::Object(members))
    }

    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<Document, A::Error> {
        while seq.next_element::<Value>()?.is_some() {}
        Ok(Document::Other)
    }

    fn visit_unit<E>(self) -> Result<Document, E> {
        Ok(Document::Other)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Document, E> {
        Ok(Document::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Document, E> {
        Ok(Document::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Document, E> {
        Ok(Document::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Document, E> {
        Ok(Document::Other)
    }

    fn visit_str<E>(self, _: &str) -> Result<Document, E> {
        Ok(Document::Other)
    }
}
