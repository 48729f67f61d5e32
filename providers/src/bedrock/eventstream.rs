//! AWS event streams (`application/vnd.amazon.eventstream`), split into messages whatever pieces they come in.
//!
//! A message: its length and that of its headers (u32 each, big-endian), the CRC-32 of these eight bytes, headers, payload,
//! and the CRC-32 of all before. A header: the length of its name (u8), the name, the type of its value (u8), the value.
//!
//! Turned down: aws-smithy-eventstream, which brings 31 packages and copies every payload.

/// Lengths and their checksum.
const PRELUDE_BYTES: usize = 12;

/// The checksum of a message.
const CHECKSUM_BYTES: usize = 4;

/// The longest headers that AWS sends, in bytes.
const MAX_HEADER_BYTES: usize = 128 * 1024;

/// The longest payload that AWS sends, in bytes.
const MAX_PAYLOAD_BYTES: usize = 24 * 1024 * 1024;

/// Capacity that is kept from one message that came in pieces to the next, in bytes.
const KEPT_BYTES: usize = 64 * 1024;

/// The stream is no event stream, or damaged: nothing after can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    /// A length is beyond what AWS sends, or the two contradict each other.
    #[error("a message of the event stream has impossible lengths")]
    Length,
    /// A checksum is wrong.
    #[error("a message of the event stream has a wrong checksum")]
    Checksum,
    /// The headers cannot be read.
    #[error("the headers of a message of the event stream cannot be read")]
    Headers,
}

/// A message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    /// What it is.
    pub(crate) kind: Kind<'a>,
    /// What it says; a JSON document with most kinds.
    pub(crate) payload: &'a [u8],
}

/// What a message is, by its headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind<'a> {
    /// An event of this name (`:event-type`).
    Event(&'a str),
    /// A failure that the API names (`:exception-type`).
    Exception(&'a str),
    /// A failure that it does not name.
    Error {
        /// `:error-code`.
        code: &'a str,
        /// `:error-message`.
        message: &'a str,
    },
}

/// Splits a stream into messages. A message that lies within one piece is not copied. Memory: the message that is not
/// complete, as far as it has come.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    pending: Vec<u8>,
}

impl Frames {
    /// Takes a piece of the stream, and hands each message that it completes to `handle`. Goes on to the end of the piece
    /// whatever `handle` makes of them.
    ///
    /// # Errors
    /// The stream cannot be read from here on.
    pub(crate) fn feed(&mut self, piece: &[u8], mut handle: impl FnMut(Frame<'_>)) -> Result<(), FrameError> {
        let mut rest = piece;
        while !self.pending.is_empty() && !rest.is_empty() {
            let wanted = frame_length(&self.pending)?.unwrap_or(PRELUDE_BYTES);
            let (added, after) = rest.split_at(rest.len().min(wanted.saturating_sub(self.pending.len())));
            self.pending.extend_from_slice(added);
            rest = after;
            if frame_length(&self.pending)? == Some(self.pending.len()) {
                handle(read_frame(&self.pending)?);
                self.pending.clear();
                self.pending.shrink_to(KEPT_BYTES);
            }
        }
        while let Some(length) = frame_length(rest)? {
            let Some((frame, after)) = rest.split_at_checked(length) else { break };
            handle(read_frame(frame)?);
            rest = after;
        }
        self.pending.extend_from_slice(rest);
        Ok(())
    }

    /// Whether the stream may end here: no message is incomplete.
    pub(crate) fn is_between_frames(&self) -> bool {
        self.pending.is_empty()
    }
}

/// The length of the message that begins `bytes`, once its prelude is there.
fn frame_length(bytes: &[u8]) -> Result<Option<usize>, FrameError> {
    let Some((prelude, _)) = bytes.split_at_checked(PRELUDE_BYTES) else { return Ok(None) };
    let (lengths, checksum) = prelude.split_at(PRELUDE_BYTES - CHECKSUM_BYTES);
    if crc32fast::hash(lengths) != u32_at(checksum, 0) {
        return Err(FrameError::Checksum);
    }
    let (total, headers) = (u32_at(lengths, 0) as usize, u32_at(lengths, 4) as usize);
    let payload =
        total.checked_sub(PRELUDE_BYTES + CHECKSUM_BYTES).and_then(|both| both.checked_sub(headers));
    match payload {
        Some(payload) if payload <= MAX_PAYLOAD_BYTES && headers <= MAX_HEADER_BYTES => Ok(Some(total)),
        _ => Err(FrameError::Length),
    }
}

/// Reads a whole message, whose lengths [`frame_length`] has found in order.
fn read_frame(frame: &[u8]) -> Result<Frame<'_>, FrameError> {
    let checked = frame.len().checked_sub(CHECKSUM_BYTES).and_then(|end| frame.split_at_checked(end));
    let (message, checksum) = checked.ok_or(FrameError::Length)?;
    if crc32fast::hash(message) != u32_at(checksum, 0) {
        return Err(FrameError::Checksum);
    }
    let after =
        message.get(PRELUDE_BYTES..).and_then(|both| both.split_at_checked(u32_at(message, 4) as usize));
    let (headers, payload) = after.ok_or(FrameError::Length)?;
    Ok(Frame { kind: read_headers(headers)?, payload })
}

fn read_headers(mut headers: &[u8]) -> Result<Kind<'_>, FrameError> {
    let (mut message_type, mut event, mut exception) = ("event", "", "");
    let (mut code, mut message) = ("", "");
    while !headers.is_empty() {
        let length = usize::from(take(&mut headers, 1)?[0]);
        let name = take(&mut headers, length)?;
        let value = take_value(&mut headers)?;
        let place = match name {
            b":message-type" => &mut message_type,
            b":event-type" => &mut event,
            b":exception-type" => &mut exception,
            b":error-code" => &mut code,
            b":error-message" => &mut message,
            _ => continue,
        };
        *place = value.and_then(|value| std::str::from_utf8(value).ok()).ok_or(FrameError::Headers)?;
    }
    Ok(match message_type {
        "exception" => Kind::Exception(exception),
        "error" => Kind::Error { code, message },
        _ => Kind::Event(event),
    })
}

/// Goes past the value of a header, its type first; gives it if it is a string.
fn take_value<'a>(headers: &mut &'a [u8]) -> Result<Option<&'a [u8]>, FrameError> {
    /// True, false, i8, i16, i32, i64; then bytes and strings, which have a length before them; a time, a UUID.
    const LENGTHS: [Option<usize>; 10] =
        [Some(0), Some(0), Some(1), Some(2), Some(4), Some(8), None, None, Some(8), Some(16)];
    /// The type of strings.
    const STRING: usize = 7;
    let kind = usize::from(take(headers, 1)?[0]);
    let length = match LENGTHS.get(kind).ok_or(FrameError::Headers)? {
        Some(length) => *length,
        None => usize::from(u16::from_be_bytes([take(headers, 1)?[0], take(headers, 1)?[0]])),
    };
    let value = take(headers, length)?;
    Ok((kind == STRING).then_some(value))
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Result<&'a [u8], FrameError> {
    let (taken, rest) = bytes.split_at_checked(length).ok_or(FrameError::Headers)?;
    *bytes = rest;
    Ok(taken)
}

/// The number at `at`; 0 if there is none, which the callers have made sure of.
fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|four| four.try_into().ok()).map_or(0, u32::from_be_bytes)
}

/// Writes a message with headers that are strings.
#[cfg(test)]
pub(crate) fn encode(headers: &[(&str, &str)], payload: &[u8]) -> Vec<u8> {
    let mut fields = Vec::new();
    for (name, value) in headers {
        fields.push(u8::try_from(name.len()).unwrap());
        fields.extend_from_slice(name.as_bytes());
        fields.push(7);
        fields.extend_from_slice(&u16::try_from(value.len()).unwrap().to_be_bytes());
        fields.extend_from_slice(value.as_bytes());
    }
    encode_raw(&fields, payload)
}

/// Writes an event as AWS does.
#[cfg(test)]
pub(crate) fn encode_event(name: &str, payload: &str) -> Vec<u8> {
    let headers = [(":event-type", name), (":content-type", "application/json"), (":message-type", "event")];
    encode(&headers, payload.as_bytes())
}

/// Writes an exception as AWS does.
#[cfg(test)]
pub(crate) fn encode_exception(name: &str, message: &str) -> Vec<u8> {
    let headers =
        [(":exception-type", name), (":content-type", "application/json"), (":message-type", "exception")];
    encode(&headers, serde_json::json!({ "message": message }).to_string().as_bytes())
}

#[cfg(test)]
fn encode_raw(headers: &[u8], payload: &[u8]) -> Vec<u8> {
    let total = u32::try_from(PRELUDE_BYTES + headers.len() + payload.len() + CHECKSUM_BYTES).unwrap();
    let mut frame = total.to_be_bytes().to_vec();
    frame.extend(u32::try_from(headers.len()).unwrap().to_be_bytes());
    frame.extend(crc32fast::hash(&frame).to_be_bytes());
    frame.extend_from_slice(headers);
    frame.extend_from_slice(payload);
    frame.extend(crc32fast::hash(&frame).to_be_bytes());
    frame
}

#[cfg(test)]
mod tests;
