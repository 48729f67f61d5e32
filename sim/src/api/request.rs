//! A request to generate, in no dialect.

use std::borrow::Cow;

use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, SeqAccess, Visitor},
};

use super::error::ApiError;
use crate::text::lossy;

/// A request to generate.
#[derive(Debug, Default)]
pub(crate) struct GenerateRequest<'a> {
    /// Model name; absent means the base model.
    pub(super) model: Option<Cow<'a, str>>,
    /// The prompt, rendered, in pieces.
    pub(super) pieces: Vec<Cow<'a, [u8]>>,
    /// Which piece an echo repeats: the last turn that is no system's.
    pub(super) echoed: usize,
    /// The first piece behind what the model itself said last.
    pub(super) asked_from: usize,
    pub(super) max_tokens: Option<i64>,
    pub(super) min_tokens: usize,
    pub(super) ignores_end: bool,
    pub(super) streams: bool,
    pub(super) includes_usage: bool,
    pub(super) seed: Option<u64>,
    /// A tool to be called instead of an answer.
    pub(super) call: Option<Call>,
}

/// What a request that is to be answered with a call has in a turn since the last answer, before the tool's name and its
/// arguments: `sim:call Read {"file_path": "/etc/hosts"}`.
const CALL: &str = "sim:call ";

/// A call of a tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) name: String,
    /// A JSON object.
    pub(super) arguments: String,
}

impl Call {
    /// The call that `text` asks for, if it does and `tools` has such a tool.
    fn of(text: &str, tools: &serde_json::Value) -> Option<Self> {
        let (_, rest) = text.split_once(CALL)?;
        let (name, rest) = rest.split_once(' ')?;
        let mut values = serde_json::Deserializer::from_str(rest).into_iter::<de::IgnoredAny>();
        values.next()?.ok()?;
        let arguments = &rest[..values.byte_offset()];
        let is_call = arguments.starts_with('{') && has_tool(tools, name);
        is_call.then(|| Self { name: name.to_owned(), arguments: arguments.to_owned() })
    }
}

/// Whether a tool of this name is among tools, whichever API they are written for.
fn has_tool(tools: &serde_json::Value, name: &str) -> bool {
    match tools {
        serde_json::Value::Array(items) => items.iter().any(|item| has_tool(item, name)),
        serde_json::Value::Object(members) => {
            members.get("name").is_some_and(|given| given == name)
                || members.values().any(|member| has_tool(member, name))
        }
        _ => false,
    }
}

impl<'a> GenerateRequest<'a> {
    /// Renders a turn of a chat, much as a model's chat template would.
    pub(super) fn push_turn(&mut self, role: &str, content: &Content<'a>) {
        self.pieces.push(Cow::Owned(format!("<|{role}|>\n").into_bytes()));
        if !matches!(role, "system" | "developer") {
            self.echoed = self.pieces.len();
        }
        match content {
            Content::None => {}
            Content::Text(text) => self.pieces.push(bytes(text)),
            Content::Parts(parts) => self.pieces.push(match parts.as_slice() {
                [part] => bytes(part),
                parts => Cow::Owned(parts.concat().into_bytes()),
            }),
        }
        self.pieces.push(Cow::Borrowed(b"\n"));
        if matches!(role, "assistant" | "model") {
            self.asked_from = self.pieces.len();
        }
    }

    /// Opens the turn that the model is to write: a call, if a turn that was not answered yet asks for one of `tools`.
    pub(super) fn push_opening(&mut self, tools: Option<&serde_json::Value>) {
        self.call = tools.and_then(|tools| {
            self.pieces[self.asked_from..].iter().find_map(|piece| Call::of(&lossy(piece), tools))
        });
        self.pieces.push(Cow::Borrowed(b"<|assistant|>\n"));
    }

    /// Renders the tools, which come before everything else.
    pub(super) fn push_tools(&mut self, tools: Option<&serde_json::Value>) {
        if let Some(tools) = tools.filter(|tools| !tools.is_null()) {
            self.pieces.push(Cow::Owned(tools.to_string().into_bytes()));
        }
    }

    /// The text to say back.
    pub(super) fn echo(&self) -> Cow<'_, str> {
        self.pieces.get(self.echoed).map_or(Cow::Borrowed(""), |piece| lossy(piece))
    }
}

/// `text` as bytes, borrowed where it is.
pub(super) fn bytes<'a>(text: &Cow<'a, str>) -> Cow<'a, [u8]> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.clone().into_bytes()),
    }
}

/// Parses a JSON body.
pub(super) fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, ApiError> {
    serde_json::from_slice(body).map_err(|error| ApiError::bad_body(&error))
}

/// Options of a stream.
#[derive(Debug, Default, Deserialize)]
pub(super) struct StreamOptions {
    #[serde(default)]
    pub(super) include_usage: bool,
}

/// Borrowed where the JSON string has no escapes, which serde does not do for `Option<Cow<str>>` by itself.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

/// A message's content: a string, or parts of which the text counts.
#[derive(Debug, Default)]
pub(super) enum Content<'a> {
    #[default]
    None,
    Text(Cow<'a, str>),
    Parts(Vec<Cow<'a, str>>),
}

impl<'de: 'a, 'a> Deserialize<'de> for Content<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ContentVisitor)
    }
}

struct ContentVisitor;

impl<'de> Visitor<'de> for ContentVisitor {
    type Value = Content<'de>;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("a string or a list of content parts")
    }

    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Content::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Content::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(Content::None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Self::Value, A::Error> {
        let mut texts = Vec::new();
        while let Some(Part(text)) = parts.next_element()? {
            texts.push(text);
        }
        Ok(Content::Parts(texts))
    }
}

/// The text of a content part: `text`, or what stands for an image or a sound.
struct Part<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Part<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PartVisitor)
    }
}

struct PartVisitor;

impl<'de> Visitor<'de> for PartVisitor {
    type Value = Part<'de>;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("a content part")
    }

    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Part(Cow::Borrowed(text)))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Part(Cow::Owned(text.to_owned())))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut part: A) -> Result<Self::Value, A::Error> {
        let mut text = Cow::Borrowed("");
        while let Some(Text(key)) = part.next_key()? {
            if key == "text" {
                text = part.next_value::<Text<'de>>()?.0;
            } else if key == "content" {
                // Of a tool's result: a text, or parts of which the texts count.
                let inner = part.next_value::<Content<'de>>()?;
                text = match inner {
                    Content::None => text,
                    Content::Text(inner) => inner,
                    Content::Parts(parts) => Cow::Owned(parts.concat()),
                };
            } else {
                // An image or a sound counts by the length of its description, data URL or not.
                let value: serde_json::Value = part.next_value()?;
                if text.is_empty() && value.is_object() {
                    text = Cow::Owned(value.to_string());
                }
            }
        }
        Ok(Part(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_text_parts_or_nothing() {
        let parse = |json| {
            let mut request = GenerateRequest::default();
            request.push_turn("user", &serde_json::from_str::<Content<'_>>(json).unwrap());
            lossy(&request.pieces.concat()).into_owned()
        };
        assert_eq!(parse(r#""hi""#), "<|user|>\nhi\n");
        assert_eq!(parse(r#""h\u00e9""#), "<|user|>\nhé\n");
        assert_eq!(parse("null"), "<|user|>\n\n");
        assert_eq!(parse(r#"[{"type":"text","text":"a"},{"type":"text","text":"b"}]"#), "<|user|>\nab\n");
        let image = r#"[{"type":"image_url","image_url":{"url":"x"}}]"#;
        assert_eq!(parse(image), "<|user|>\n{\"url\":\"x\"}\n");
        assert!(serde_json::from_str::<Content<'_>>("5").is_err());
    }
}
