//! Reads what messages consist of.

use crate::anthropic::request::SIGNATURE_MARK;
use crate::anthropic::request::members::{Rest, note, object, refused, text, wrong};
use crate::conversation::{Arguments, Content, Part, Place, Refused, Source};
use crate::json::{Object, Text, Value};

/// Reads a string, or an array of blocks, at `place` of the request.
///
/// # Errors
/// It is neither, or a block is not of the form that the API has.
pub(super) fn read<'a>(
    value: &Value<'a>,
    place: &str,
    rest: &mut Rest<'a>,
) -> Result<Vec<Part<'a>>, Refused> {
    match value {
        Value::String(text) => Ok(vec![Part::text(text.clone())]),
        Value::Array(array) => {
            let mut parts = Vec::with_capacity(array.items.len());
            for (at, block) in array.items.iter().enumerate() {
                let place = format!("{place}[{at}]");
                let before = parts.len();
                read_block(object(block, &place)?, block, &place, rest, &mut parts)?;
                for part in parts.iter_mut().skip(before) {
                    part.place = Some(Place { list: "messages", message: 0, part: at });
                }
            }
            Ok(parts)
        }
        _ => Err(wrong(place, "a string or an array of blocks", value)),
    }
}

fn read_block<'a>(
    block: &Object<'a>,
    value: &Value<'a>,
    place: &str,
    rest: &mut Rest<'a>,
    parts: &mut Vec<Part<'a>>,
) -> Result<(), Refused> {
    let Some(kind) = block.text("type") else {
        return Err(refused(format!("{place}.type"), "the block's type is required"));
    };
    let required = |name: &str| required(block, place, name);
    let content = match kind.as_word().unwrap_or_default() {
        "text" => Content::Text(required("text")?),
        "image" => Content::Image { source: source(block, place)?, detail: None },
        "document" => match document(block, place, rest, parts)? {
            Some(content) => content,
            None => return Ok(()),
        },
        "thinking" => Content::Reasoning {
            text: required("thinking")?,
            signature: block.text("signature").filter(|signature| !signature.is_empty()).cloned(),
        },
        "redacted_thinking" => Content::Redacted(required("data")?),
        "tool_use" => {
            let (id, signature) = call_id(required("id")?);
            let arguments = match block.get("input") {
                Some(input) => Arguments::Value(input.clone()),
                None => Arguments::Written(Text::from("")),
            };
            Content::ToolCall { id, name: required("name")?, arguments, signature }
        }
        "tool_result" => Content::ToolResult {
            id: call_id(required("tool_use_id")?).0,
            parts: match block.get("content") {
                Some(content) => read(content, &format!("{place}.content"), rest)?,
                None => Vec::new(),
            },
            is_error: block.get("is_error").and_then(Value::as_bool).unwrap_or(false),
        },
        _ => Content::Other { kind: kind.clone(), value: value.clone() },
    };
    if !matches!(content, Content::Other { .. }) {
        for name in ["citations", "transformations", "caller", "toolset_name"] {
            if let Some(value) = block.get(name)
                && !matches!((name, &content), ("citations", Content::Document { .. }))
            {
                note(rest, format!("messages[].content[].{name}"), value);
            }
        }
    }
    parts.push(Part { content, cache: block.get("cache_control").cloned(), place: None });
    Ok(())
}

/// A call's id, and the signature that is kept in it ([`SIGNATURE_MARK`]).
fn call_id(id: Text<'_>) -> (Text<'_>, Option<Text<'_>>) {
    if let Text::Escaped(escaped) = &id
        && let Some((id, signature)) = escaped.split_once(SIGNATURE_MARK)
    {
        return (Text::Escaped(id), Some(Text::Escaped(signature)));
    }
    (id, None)
}

/// A document. One that consists of blocks becomes its blocks, which are added to `parts`: no other API has such.
fn document<'a>(
    block: &Object<'a>,
    place: &str,
    rest: &mut Rest<'a>,
    parts: &mut Vec<Part<'a>>,
) -> Result<Option<Content<'a>>, Refused> {
    let given = block.object("source").filter(|source| source.word("type") == Some("content"));
    if let Some(content @ Value::Array(_)) = given.and_then(|source| source.get("content")) {
        let from = parts.len();
        parts.extend(read(content, &format!("{place}.source.content"), rest)?);
        if let Some(last) = parts.get_mut(from..).and_then(<[Part<'_>]>::last_mut) {
            last.cache = block.get("cache_control").cloned().or(last.cache.take());
        }
        for name in ["title", "context", "citations"] {
            if let Some(value) = block.get(name) {
                note(rest, format!("messages[].content[].{name}"), value);
            }
        }
        return Ok(None);
    }
    Ok(Some(Content::Document {
        source: source(block, place)?,
        name: block.text("title").cloned(),
        context: block.text("context").cloned(),
        citations: block.get("citations").cloned(),
    }))
}

fn source<'a>(block: &Object<'a>, place: &str) -> Result<Source<'a>, Refused> {
    let place = format!("{place}.source");
    let Some(source) = block.get("source") else {
        return Err(refused(place, "a source is required"));
    };
    let source = object(source, &place)?;
    let required = |name: &str| required(source, &place, name);
    match source.word("type") {
        Some("base64") => Ok(Source::Base64 { media_type: required("media_type")?, data: required("data")? }),
        Some("url") => Ok(Source::Url(required("url")?)),
        Some("file") => Ok(Source::File(required("file_id")?)),
        Some("text") => Ok(Source::Text(required("data")?)),
        Some("content") => Ok(Source::Text(required("content")?)),
        _ => {
            let message = "the type has to be base64, url, file, text or content";
            Err(refused(format!("{place}.type"), message))
        }
    }
}

fn required<'a>(object: &Object<'a>, place: &str, name: &str) -> Result<Text<'a>, Refused> {
    let place = format!("{place}.{name}");
    match object.get(name) {
        Some(value) => text(value, &place).cloned(),
        None => Err(refused(place, "a string is required")),
    }
}
