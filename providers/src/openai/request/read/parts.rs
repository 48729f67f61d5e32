//! The content of a message, part by part.

use std::borrow::Cow;

use super::{leave, needed, object, text, within, wrong};
use crate::conversation::{Content, Part, Place, Refused, Source};
use crate::json::{Object, Text, Value};
use crate::source;

/// Reads the content of `message`; none if it has none.
pub(super) fn read<'a>(
    message: &Object<'a>,
    rest: &mut Vec<(Cow<'a, str>, Value<'a>)>,
) -> Result<Vec<Part<'a>>, Refused> {
    let items = match message.get("content") {
        None => return Ok(Vec::new()),
        Some(Value::String(text)) => return Ok(vec![Part::text(text.clone())]),
        Some(Value::Array(array)) => &array.items,
        Some(value) => return Err(wrong("content", "a string or an array of parts", value)),
    };
    let parts = items.iter().enumerate().map(|(at, item)| {
        let part = object("", item).and_then(|item| part(item, at, rest));
        part.map_err(|refused| within(&format!("content[{at}]"), refused))
    });
    parts.collect()
}

fn part<'a>(
    part: &Object<'a>,
    at: usize,
    rest: &mut Vec<(Cow<'a, str>, Value<'a>)>,
) -> Result<Part<'a>, Refused> {
    let kind = part.word("type").unwrap_or_default();
    let content = match kind {
        "text" => Content::Text(needed(part, "text")?),
        "refusal" => Content::Refusal(needed(part, "refusal")?),
        "image_url" => image(part.get("image_url").unwrap_or(&Value::Null))?,
        "file" => document(object("file", part.get("file").unwrap_or(&Value::Null))?)
            .map_err(|refused| within("file", refused))?,
        "input_audio" => {
            let audio = object("input_audio", part.get("input_audio").unwrap_or(&Value::Null))?;
            let member = |name| needed(audio, name).map_err(|refused| within("input_audio", refused));
            Content::Audio { data: member("data")?, format: member("format")? }
        }
        _ => {
            let known = "this has to be text, image_url, file, input_audio or refusal";
            return Err(Refused::new("type", known));
        }
    };
    for (name, value) in &part.members {
        if !["type", "cache_control", "prompt_cache_breakpoint", kind].contains(&name.as_ref()) {
            leave(rest, "messages[].content[].", name, value);
        }
    }
    let breakpoint = part.get("prompt_cache_breakpoint").map(|_| source::ephemeral());
    let place = Some(Place { list: "messages", message: 0, part: at });
    Ok(Part { content, cache: part.get("cache_control").cloned().or(breakpoint), place })
}

/// An image: an address, or an object that has it. Some clients send documents so.
fn image<'a>(image: &Value<'a>) -> Result<Content<'a>, Refused> {
    let (url, detail) = match image {
        Value::String(url) => (url.clone(), None),
        _ => {
            let image = object("image_url", image)?;
            let url = needed(image, "url").map_err(|refused| within("image_url", refused))?;
            (url, image.text("detail").cloned())
        }
    };
    let source = source(&url).map_err(|refused| within("image_url.url", refused))?;
    let is_document = match &source {
        Source::Base64 { media_type, .. } => {
            let media_type = media_type.decoded();
            media_type.starts_with("application/") || media_type.starts_with("text/")
        }
        Source::Url(url) => {
            let url = url.decoded();
            let path = url.split(['?', '#']).next().unwrap_or_default();
            path.to_ascii_lowercase().ends_with(".pdf")
        }
        _ => false,
    };
    Ok(if is_document {
        Content::Document { source, name: None, context: None, citations: None }
    } else {
        Content::Image { source, detail }
    })
}

fn document<'a>(file: &Object<'a>) -> Result<Content<'a>, Refused> {
    let name = file.text("filename").cloned();
    let source = match (file.get("file_data"), file.get("file_id")) {
        (Some(data), _) => {
            let data = text("file_data", data)?;
            match source(&data).map_err(|refused| within("file_data", refused))? {
                // No address: base64 that does not say of what.
                Source::Url(url) if !is_address(&url) => {
                    Source::Base64 { media_type: media_type(name.as_ref()), data }
                }
                source => source,
            }
        }
        (None, Some(id)) => match text("file_id", id)? {
            url if is_address(&url) => Source::Url(url),
            id => Source::File(id),
        },
        (None, None) => return Err(Refused::new("", "file_data or file_id is needed here")),
    };
    Ok(Content::Document { source, name, context: None, citations: None })
}

/// Whether a text is an address rather than a file's id or its bytes.
fn is_address(text: &Text<'_>) -> bool {
    let start = match text {
        Text::Escaped(escaped) => escaped.get(..8).unwrap_or(escaped),
        Text::Plain(plain) => plain.get(..8).unwrap_or(plain),
    };
    ["https:", "http:", "gs:"].iter().any(|scheme| start.starts_with(scheme))
}

fn media_type(name: Option<&Text<'_>>) -> Text<'static> {
    name.and_then(source::media_type_of).unwrap_or("application/pdf").into()
}

/// What is at `url`, or in it.
fn source<'a>(url: &Text<'a>) -> Result<Source<'a>, Refused> {
    source::of_url(url).map_err(|message| Refused::new("", message))
}
