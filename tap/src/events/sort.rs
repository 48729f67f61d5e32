//! What an event means, told by its name and the first bytes of its data.

/// How much of an event's data is kept to sort it by: the longest `{"type":"…"` of the Responses API, and room.
pub(super) const HEAD_BYTES: usize = 96;

/// How much of an event's name is kept: the longest of the Responses API has 41 bytes.
pub(super) const NAME_BYTES: usize = 64;

/// The kinds of events that make a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Carries generated content.
    Content,
    /// The last event of a stream that came to its end.
    End,
    /// Reports an error.
    Error,
    /// Anything else: pings, frames around the content, bookkeeping.
    Other,
}

/// Sorts an event by its name and its data, of which the first [`NAME_BYTES`] and [`HEAD_BYTES`] count.
///
/// OpenAI's chat and completions have no names, and any object is content. The Responses API and Anthropic name every
/// event and repeat the name as the data's first member, which stands in where a server leaves the name out.
pub(super) fn classify(name: &[u8], data: &[u8]) -> Class {
    let name = &name[..name.len().min(NAME_BYTES)];
    let head = &data[..data.len().min(HEAD_BYTES)];
    if head.trim_ascii() == b"[DONE]" {
        return Class::End;
    }
    let name = if matches!(name, b"" | b"message") { leading_type(head).unwrap_or_default() } else { name };
    match name {
        b"" if reports_error(head) => Class::Error,
        b"" if head.trim_ascii_start().starts_with(b"{") => Class::Content,
        b"error" | b"response.failed" => Class::Error,
        b"message_stop" | b"response.completed" | b"response.incomplete" => Class::End,
        b"transcript.text.done" | b"speech.audio.done" | b"image_generation.completed" => Class::End,
        b"content_block_delta" => Class::Content,
        _ if name.ends_with(b".delta") => Class::Content,
        _ => Class::Other,
    }
}

/// The value of `type` where it is the object's first member.
fn leading_type(head: &[u8]) -> Option<&[u8]> {
    let value = leading_member(head, b"type")?.strip_prefix(b"\"")?;
    Some(&value[..memchr::memchr(b'"', value)?])
}

/// Whether the data is an error: an object that begins with `error`, or with older vLLM's `"object": "error"`.
fn reports_error(head: &[u8]) -> bool {
    leading_member(head, b"error").is_some_and(|value| !value.starts_with(b"null"))
        || leading_member(head, b"object").is_some_and(|value| value.starts_with(b"\"error\""))
}

/// What follows the name of an object's first member, if that is its name.
fn leading_member<'a>(head: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let member = head.trim_ascii_start().strip_prefix(b"{")?.trim_ascii_start().strip_prefix(b"\"")?;
    let value = member.strip_prefix(name)?.strip_prefix(b"\"")?.trim_ascii_start().strip_prefix(b":")?;
    Some(value.trim_ascii_start())
}
