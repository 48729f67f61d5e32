//! Writes what was said.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::alias;
use crate::anthropic::platform::Platform;
use crate::anthropic::request::target::{LONGEST_NAME, Target, is_sent};
use crate::conversation::{Arguments, Content, Conversation, Part, Role, Source};
use crate::json::{self, Text, Value, Writer};

/// The longest id of a call that every platform takes.
const LONGEST_ID: usize = 64;

/// Where a part is, in OpenAI's API: the only one that is put to Anthropic.
const CONTENT: &str = "messages[].content[]";

/// Writes `messages`: what one side says in a row in one message, results of tools before everything else.
pub(super) fn write(out: &mut Writer, conversation: &Conversation<'_>, target: &mut Target<'_>) {
    let mut turns: Vec<(Role, Vec<&Part<'_>>)> = Vec::with_capacity(conversation.turns.len());
    for turn in &conversation.turns {
        for part in &turn.parts {
            if !is_sent(part) {
                if matches!(part.content, Content::Reasoning { .. }) {
                    target.notes.dropped("messages[].reasoning_content");
                }
                continue;
            }
            match turns.last_mut() {
                Some((role, parts)) if *role == turn.role => parts.push(part),
                _ => turns.push((turn.role, vec![part])),
            }
        }
    }
    let Some((last_role, last)) = turns.last() else {
        target.refuse("messages", "Claude needs a message of the user's that is not empty");
        return;
    };
    // An answer that the model is to go on with must not end in white space.
    let trimmed = match last.last().map(|part| &part.content) {
        Some(Content::Text(text) | Content::Refusal(text)) if *last_role == Role::Assistant => {
            Some(trimmed(text))
        }
        _ => None,
    };
    let count = turns.len();
    out.array_at("messages", |out| {
        for (at, (role, parts)) in turns.iter_mut().enumerate() {
            parts.sort_by_key(|part| {
                *role == Role::User && !matches!(part.content, Content::ToolResult { .. })
            });
            out.object(|out| {
                out.str_at("role", if *role == Role::User { "user" } else { "assistant" });
                out.array_at("content", |out| {
                    let last = if at + 1 == count { trimmed.as_ref() } else { None };
                    let whole = parts.len() - usize::from(last.is_some());
                    for part in parts.iter().take(whole) {
                        write_part(out, part, target);
                    }
                    if let (Some(text), Some(part)) = (last, parts.last()) {
                        write_text(out, text, part, target);
                    }
                });
            });
        }
    });
}

/// Writes one part as a block.
pub(super) fn write_part(out: &mut Writer, part: &Part<'_>, target: &mut Target<'_>) {
    write_content(out, part, target);
    target.place_refusal(part);
}

fn write_content(out: &mut Writer, part: &Part<'_>, target: &mut Target<'_>) {
    match &part.content {
        Content::Text(text) | Content::Refusal(text) => write_text(out, text, part, target),
        Content::Image { source, detail } => {
            if detail.as_ref().is_some_and(|detail| *detail != "auto") {
                target.notes.dropped("messages[].content[].image_url.detail");
            }
            write_media(out, source, part, target);
        }
        Content::Document { source, .. } => write_media(out, source, part, target),
        Content::Audio { .. } => target.refuse(CONTENT, "Claude takes no sound: send a transcript"),
        Content::Reasoning { text, signature } => out.object(|out| {
            out.str_at("type", "thinking");
            out.text_at("thinking", text);
            out.text_at("signature", signature.as_ref().unwrap_or(&Text::Escaped("")));
        }),
        Content::Redacted(data) => out.object(|out| {
            out.str_at("type", "redacted_thinking");
            out.text_at("data", data);
        }),
        Content::ToolCall { id, name, arguments, .. } => out.object(|out| {
            let id = id.decoded();
            let id = alias::safe(&id, LONGEST_ID);
            out.str_at("type", "tool_use");
            out.str_at("id", &id);
            out.str_at("name", &target.aliases.of(&name.decoded(), LONGEST_NAME));
            out.key("input");
            write_arguments(out, arguments, &id, target);
            target.mark(out, part.cache.as_ref());
        }),
        Content::ToolResult { id, parts, is_error } => out.object(|out| {
            out.str_at("type", "tool_result");
            out.str_at("tool_use_id", &alias::safe(&id.decoded(), LONGEST_ID));
            if parts.iter().any(is_sent) {
                out.array_at("content", |out| {
                    for part in parts.iter().filter(|part| is_sent(part)) {
                        write_part(out, part, target);
                    }
                });
            }
            if *is_error {
                out.bool_at("is_error", true);
            }
            target.mark(out, part.cache.as_ref());
        }),
        Content::Other { value, .. } => out.value(value),
    }
}

fn write_text(out: &mut Writer, text: &Text<'_>, part: &Part<'_>, target: &mut Target<'_>) {
    out.object(|out| {
        out.str_at("type", "text");
        out.text_at("text", text);
        target.mark(out, part.cache.as_ref());
    });
}

/// Writes what a tool was called with, which has to be an object here.
fn write_arguments(out: &mut Writer, arguments: &Arguments<'_>, id: &str, target: &mut Target<'_>) {
    let fault = match arguments {
        Arguments::Value(value @ Value::Object(_)) => return out.value(value),
        Arguments::Value(Value::Null) => return out.raw("{}"),
        Arguments::Value(value) => value.kind().to_owned(),
        Arguments::Written(_) if arguments.is_empty() => return out.raw("{}"),
        Arguments::Written(text) => match json::parse(text.decoded().as_bytes()) {
            Ok(Value::Object(object)) => return out.raw(object.raw),
            Ok(value) => value.kind().to_owned(),
            Err(error) => error.to_string(),
        },
    };
    let message = format!("what call {id} was called with has to be a JSON object, but is {fault}");
    target.refuse("messages[].tool_calls[].function.arguments", message);
}

/// What an image or a document is here.
enum Media<'a> {
    Url(&'a Text<'a>),
    Base64(Cow<'static, str>, Text<'a>),
    Text(Text<'a>),
    File(&'a Text<'a>),
}

fn write_media<'a>(out: &mut Writer, source: &'a Source<'a>, part: &Part<'_>, target: &mut Target<'_>) {
    let media = match media(source, target.platform) {
        Ok(media) => media,
        Err(message) => return target.refuse(CONTENT, message),
    };
    let is_image = match &media {
        Media::Url(url) => matches!(part.content, Content::Image { .. }) && !is_pdf(&url.decoded()),
        Media::Base64(media_type, _) => media_type.starts_with("image/"),
        Media::Text(_) => false,
        Media::File(_) => matches!(part.content, Content::Image { .. }),
    };
    out.object(|out| {
        out.str_at("type", if is_image { "image" } else { "document" });
        out.object_at("source", |out| match &media {
            Media::Url(url) => {
                out.str_at("type", "url");
                out.text_at("url", url);
            }
            Media::Base64(media_type, data) => {
                out.str_at("type", "base64");
                out.str_at("media_type", media_type);
                out.text_at("data", data);
            }
            Media::Text(text) => {
                out.str_at("type", "text");
                out.str_at("media_type", "text/plain");
                out.text_at("data", text);
            }
            Media::File(id) => {
                out.str_at("type", "file");
                out.text_at("file_id", id);
            }
        });
        if let Content::Document { name, context, citations, .. } = &part.content
            && !is_image
        {
            for (key, text) in [("title", name), ("context", context)] {
                if let Some(text) = text {
                    out.text_at(key, text);
                }
            }
            if let Some(citations) = citations {
                out.value_at("citations", citations);
            }
        }
        target.mark(out, part.cache.as_ref());
    });
}

fn media<'a>(source: &'a Source<'a>, platform: Platform) -> Result<Media<'a>, String> {
    let is_fetched = platform == Platform::Anthropic;
    match source {
        Source::Url(url) => match data_url(url) {
            Some((media_type, data)) => of_type(&media_type, data),
            None if is_fetched => Ok(Media::Url(url)),
            None => {
                Err("Claude on Bedrock and Vertex fetches nothing: send the bytes, as a data: URL".to_owned())
            }
        },
        Source::Base64 { media_type, data } => of_type(&media_type.decoded(), data.clone()),
        Source::Text(text) => Ok(Media::Text(text.clone())),
        Source::File(id) if is_fetched => Ok(Media::File(id)),
        Source::File(_) => {
            Err("Claude on Bedrock and Vertex keeps no files: send the bytes, in base64".to_owned())
        }
    }
}

fn of_type<'a>(media_type: &str, data: Text<'a>) -> Result<Media<'a>, String> {
    let media_type = media_type.trim().to_ascii_lowercase();
    let known = match media_type.as_str() {
        "image/jpeg" | "image/jpg" => "image/jpeg",
        "image/png" => "image/png",
        "image/gif" => "image/gif",
        "image/webp" => "image/webp",
        "application/pdf" => "application/pdf",
        "text/plain" | "text/markdown" | "text/csv" | "text/html" | "application/json" => {
            let bytes = STANDARD.decode(data.decoded().as_bytes());
            let text = bytes.ok().and_then(|bytes| String::from_utf8(bytes).ok());
            let text = text.ok_or("a document of text has to be UTF-8 in base64")?;
            return Ok(Media::Text(Text::from(text)));
        }
        _ => {
            return Err(
                "Claude takes image/jpeg, image/png, image/gif, image/webp, application/pdf and text in UTF-8"
                    .to_owned(),
            );
        }
    };
    Ok(Media::Base64(Cow::Borrowed(known), data))
}

/// Media type and base64 of a `data:` URL.
fn data_url<'a>(url: &Text<'a>) -> Option<(Cow<'a, str>, Text<'a>)> {
    fn split(url: &str) -> Option<(&str, &str)> {
        let (head, data) = url.strip_prefix("data:")?.split_once(',')?;
        let media_type = head.strip_suffix(";base64")?;
        Some((media_type.split(';').next().unwrap_or_default(), data))
    }
    match url {
        Text::Escaped(escaped) if !escaped.contains('\\') => {
            let (media_type, data) = split(escaped)?;
            return Some((Cow::Borrowed(media_type), Text::Escaped(data)));
        }
        Text::Plain(Cow::Borrowed(plain)) => {
            let (media_type, data) = split(plain)?;
            return Some((Cow::Borrowed(media_type), Text::from(data)));
        }
        _ => {}
    }
    let decoded = url.decoded();
    let (media_type, data) = split(&decoded)?;
    Some((Cow::Owned(media_type.to_owned()), Text::from(data.to_owned())))
}

fn is_pdf(url: &str) -> bool {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    path.rsplit_once('.').is_some_and(|(_, ending)| ending.eq_ignore_ascii_case("pdf"))
}

/// Text without white space at its end.
fn trimmed<'a>(text: &Text<'a>) -> Text<'a> {
    let decoded = text.decoded();
    let end = decoded.trim_end().len();
    if end == decoded.len() { text.clone() } else { Text::from(decoded[..end].to_owned()) }
}
