//! Where an image or a document is, as OpenAI's two APIs write it: at an address, or in it.

use std::borrow::Cow;

use crate::conversation::Source;
use crate::json::{Object, Text, Value};

/// How a data URL has to be written.
const FORM: &str = "a data: URL has to be written data:MEDIA_TYPE;base64,DATA";

/// What `url` stands for: itself, or the bytes that it has in it. These stay as they are, escapes and all.
///
/// # Errors
/// It is a data URL, and not one of base64 that says of what. The text is for the client.
pub(crate) fn of_url<'a>(url: &Text<'a>) -> Result<Source<'a>, &'static str> {
    let is_data = |start: &str| start.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("data:"));
    let (head, data) = match url {
        // No comma is part of an escape.
        Text::Escaped(escaped) if is_data(escaped) => escaped.split_once(',').ok_or(FORM)?,
        _ => return Ok(Source::Url(url.clone())),
    };
    let kind = match Text::Escaped(head).decoded() {
        Cow::Borrowed(head) => Cow::Borrowed(head.get(5..).unwrap_or_default()),
        Cow::Owned(head) => Cow::Owned(head.get(5..).unwrap_or_default().to_owned()),
    };
    let end = kind.find(';').unwrap_or(kind.len());
    let is_base64 = kind.rsplit(';').next().is_some_and(|last| last.eq_ignore_ascii_case("base64"));
    if !is_base64 || !kind[..end].contains('/') {
        return Err(FORM);
    }
    let media_type = match (usual(&kind[..end]), kind) {
        (Some(usual), _) => Cow::Borrowed(usual),
        (None, Cow::Borrowed(kind)) => Cow::Borrowed(&kind[..end]),
        (None, Cow::Owned(kind)) => Cow::Owned(kind[..end].to_owned()),
    };
    Ok(Source::Base64 { media_type: Text::Plain(media_type), data: Text::Escaped(data) })
}

/// The media type that the end of a file's name stands for.
pub(crate) fn media_type_of(name: &Text<'_>) -> Option<&'static str> {
    let name = name.decoded();
    let (_, extension) = name.rsplit_once('.')?;
    Some(match extension.to_ascii_lowercase().as_str() {
        "pdf" => "application/pdf",
        "txt" => "text/plain",
        "md" => "text/markdown",
        "csv" => "text/csv",
        "html" | "htm" => "text/html",
        "doc" => "application/msword",
        "docx" => "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "xls" => "application/vnd.ms-excel",
        "xlsx" => "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        _ => return None,
    })
}

/// The mark of a cache that OpenAI's own, `prompt_cache_breakpoint`, stands for.
pub(crate) fn ephemeral() -> Value<'static> {
    let kind = (Cow::Borrowed("type"), Value::String(Text::Escaped("ephemeral")));
    Value::Object(Object { raw: r#"{"type":"ephemeral"}"#, members: vec![kind] })
}

/// The media types that most clients send, however they spell them.
fn usual(media_type: &str) -> Option<&'static str> {
    Some(match media_type.to_ascii_lowercase().as_str() {
        "image/png" => "image/png",
        "image/jpeg" | "image/jpg" => "image/jpeg",
        "image/gif" => "image/gif",
        "image/webp" => "image/webp",
        "application/pdf" => "application/pdf",
        "text/plain" => "text/plain",
        _ => return None,
    })
}
