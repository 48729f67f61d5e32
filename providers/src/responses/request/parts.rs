//! The parts of a message or of a tool's output.

use super::fields::{Place, object, required_text, says_something, text};
use crate::conversation::{self, Content, Notes, Part, Refused, Source};
use crate::json::{Object, Text, Value};
use crate::source;

/// Whose parts they are, which decides what they may be.
#[derive(Clone, Copy, Debug)]
pub(super) enum Of {
    /// Instructions': text.
    System,
    /// The user's: text, images, documents, sound.
    User,
    /// The model's: text and refusals.
    Assistant,
    /// A tool's: text, images, documents.
    Tool,
}

/// Reads a content: a string, or an array of parts.
pub(super) fn read<'a>(
    content: Option<&Value<'a>>,
    of: Of,
    at: &Place<'_>,
    notes: &mut Notes,
) -> Result<Vec<Part<'a>>, Refused> {
    match content {
        Some(Value::String(text)) => Ok(vec![Part::text(text.clone())]),
        Some(Value::Array(array)) => {
            let parts = array.items.iter().enumerate();
            let part = |(index, value)| {
                let part = part(value, of, &at.item(index), notes)?;
                let place = Some(conversation::Place { list: "input", message: 0, part: index });
                Ok(Part { place, ..part })
            };
            parts.map(part).collect()
        }
        Some(other) => Err(at.wrong("a string or an array of parts", other)),
        None => Err(at.refuse("is missing, and has to be a string or an array of parts")),
    }
}

fn part<'a>(value: &Value<'a>, of: Of, at: &Place<'_>, notes: &mut Notes) -> Result<Part<'a>, Refused> {
    let Value::Object(part) = value else { return Err(at.wrong("an object", value)) };
    let kind = required_text(part, "type", at)?.decoded();
    let content = match (&*kind, of) {
        ("input_text" | "output_text" | "text", _) => {
            for name in ["annotations", "logprobs"] {
                if says_something(part, name) {
                    notes.dropped(format!("input[].content[].{name}"));
                }
            }
            Content::Text(required_text(part, "text", at)?)
        }
        ("refusal", Of::Assistant) => Content::Refusal(required_text(part, "refusal", at)?),
        ("input_image", Of::User | Of::Tool) => image(part, at)?,
        ("input_file", Of::User | Of::Tool) => file(part, at, notes)?,
        ("input_audio", Of::User) => {
            let place = at.member("input_audio");
            let Some(audio) = object(part, "input_audio", at)? else {
                return Err(place.refuse("is missing"));
            };
            Content::Audio {
                data: required_text(audio, "data", &place)?,
                format: required_text(audio, "format", &place)?,
            }
        }
        _ => return Err(at.member("type").refuse(taken(of))),
    };
    Ok(Part { content, cache: mark(part), place: None })
}

/// What is taken instead of a part that is not.
fn taken(of: Of) -> &'static str {
    match of {
        Of::System => "instructions have input_text only",
        Of::User => "a user's message has input_text, input_image, input_file or input_audio only",
        Of::Assistant => "the model's message has output_text or refusal only",
        Of::Tool => "a tool's output has input_text, input_image or input_file only",
    }
}

/// The mark to cache up to here. The API's own says a shortest time, which other providers do not know.
fn mark<'a>(part: &Object<'a>) -> Option<Value<'a>> {
    if let Some(mark) = part.get("cache_control") {
        return Some(mark.clone());
    }
    part.object("prompt_cache_breakpoint").map(|_| source::ephemeral())
}

fn image<'a>(part: &Object<'a>, at: &Place<'_>) -> Result<Content<'a>, Refused> {
    let source = match (text(part, "image_url", at)?, text(part, "file_id", at)?) {
        (Some(url), _) => addressed(&url, &at.member("image_url"))?,
        (None, Some(id)) => Source::File(id),
        (None, None) => return Err(at.refuse("an image needs an image_url or a file_id")),
    };
    let detail = text(part, "detail", at)?.filter(|detail| *detail != "auto");
    Ok(Content::Image { source, detail })
}

fn file<'a>(part: &Object<'a>, at: &Place<'_>, notes: &mut Notes) -> Result<Content<'a>, Refused> {
    let name = text(part, "filename", at)?;
    if part.word("detail").is_some_and(|detail| detail != "auto") {
        notes.dropped("input[].content[].detail");
    }
    let source = if let Some(data) = text(part, "file_data", at)? {
        inline(&data, name.as_ref(), &at.member("file_data"))?
    } else if let Some(url) = text(part, "file_url", at)? {
        addressed(&url, &at.member("file_url"))?
    } else if let Some(id) = text(part, "file_id", at)? {
        Source::File(id)
    } else {
        return Err(at.refuse("a file needs file_data, a file_url or a file_id"));
    };
    Ok(Content::Document { source, name, context: None, citations: None })
}

/// A file's data: a data URL, or base64 alone if the file's name says what it is.
fn inline<'a>(data: &Text<'a>, name: Option<&Text<'a>>, at: &Place<'_>) -> Result<Source<'a>, Refused> {
    let source = addressed(data, at)?;
    let Source::Url(data) = source else { return Ok(source) };
    let Some(media_type) = name.and_then(source::media_type_of) else {
        return Err(at.refuse("does not say what it is: write it as data:MEDIA_TYPE;base64,DATA"));
    };
    Ok(Source::Base64 { media_type: media_type.into(), data })
}

/// What is at `url`, or in it.
fn addressed<'a>(url: &Text<'a>, at: &Place<'_>) -> Result<Source<'a>, Refused> {
    source::of_url(url).map_err(|message| at.refuse(message))
}
