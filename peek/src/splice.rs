//! Replaces the model in a body without copying the body.

use std::ops::Range;

use bytes::Bytes;
use thiserror::Error;

use crate::Notation;

/// A model name that cannot be written in a body, or a place that is not in it.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum SpliceError {
    /// A form field cannot escape a line break, so such a name could end the field early.
    #[error("a form field cannot carry a model name with control characters")]
    Control,
    /// The range is not inside the body that the chunks make up.
    #[error("the range to replace is not within the body")]
    OutOfBody,
}

/// A body with one range replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spliced {
    /// The new body; every chunk but the replacement shares memory with the old one. None is empty.
    pub chunks: Vec<Bytes>,
    /// Length of the new body in bytes, for `Content-Length`.
    pub len: usize,
}

/// The bytes that stand for `name` in the given notation: a quoted and escaped JSON string, or the name as
/// it is.
///
/// # Errors
/// [`SpliceError::Control`] for a form field with control characters.
pub fn replacement(name: &str, notation: Notation) -> Result<Bytes, SpliceError> {
    match notation {
        Notation::JsonString => Ok(json_string(name).into()),
        Notation::FormField if name.chars().any(char::is_control) => Err(SpliceError::Control),
        Notation::FormField => Ok(Bytes::copy_from_slice(name.as_bytes())),
    }
}

/// Replaces `range` (offsets in the body) by `with`; nothing else changes.
///
/// # Errors
/// [`SpliceError::OutOfBody`] where the range reaches beyond the chunks or ends before it starts.
pub fn splice(chunks: &[Bytes], range: Range<usize>, with: Bytes) -> Result<Spliced, SpliceError> {
    let total: usize = chunks.iter().map(Bytes::len).sum();
    if range.start > range.end || range.end > total {
        return Err(SpliceError::OutOfBody);
    }
    let len = total - range.len() + with.len();
    let mut spliced = Vec::with_capacity(chunks.len() + 2);
    push_span(&mut spliced, chunks, 0..range.start);
    push(&mut spliced, with);
    push_span(&mut spliced, chunks, range.end..total);
    Ok(Spliced { chunks: spliced, len })
}

/// Adds what lies within `span` of the body.
pub(crate) fn push_span(spliced: &mut Vec<Bytes>, chunks: &[Bytes], span: Range<usize>) {
    let mut at = 0;
    for chunk in chunks {
        let start = span.start.clamp(at, at + chunk.len()) - at;
        let end = span.end.clamp(at, at + chunk.len()) - at;
        push(spliced, chunk.slice(start..end));
        at += chunk.len();
    }
}

/// Adds a chunk, unless it is empty.
pub(crate) fn push(spliced: &mut Vec<Bytes>, chunk: Bytes) {
    if !chunk.is_empty() {
        spliced.push(chunk);
    }
}

/// `name` as a JSON string: RFC 8259 wants quotes, backslashes and control characters escaped.
pub(crate) fn json_string(name: &str) -> Vec<u8> {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut json = Vec::with_capacity(name.len() + 2);
    json.push(b'"');
    for &byte in name.as_bytes() {
        match byte {
            b'"' | b'\\' => json.extend([b'\\', byte]),
            0..=0x1F => {
                json.extend(b"\\u00");
                json.extend([HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 0xF)]]);
            }
            _ => json.push(byte),
        }
    }
    json.push(b'"');
    json
}

#[cfg(test)]
mod tests;
