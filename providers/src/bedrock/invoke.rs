//! Streams of InvokeModelWithResponseStream: the model's own events, wrapped.
//!
//! With Claude those are events of Anthropic's Messages API. [`InvokeEvents`] unwraps them for whoever reads that API;
//! [`Rewrap`] makes them that API's stream again, for clients that want it, without a change to any event.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::eventstream::{Frames, Kind};
use super::failure;
use crate::answer::{Failure, Usage};
use crate::json::{Object, Text, Value, parse};
use crate::translation::Broken;

/// Something in such a stream.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum InvokeEvent<'a> {
    /// An event of the model: a JSON document, not read yet.
    Json(&'a [u8]),
    /// Bedrock failed. Nothing follows.
    Failed(Failure<'static>),
}

/// Unwraps the events. Memory: the one that is not complete.
#[derive(Debug, Default)]
pub(crate) struct InvokeEvents {
    frames: Frames,
    /// The event that was unwrapped last.
    event: Vec<u8>,
}

impl InvokeEvents {
    /// Takes a piece of the stream, and hands on what it completes.
    ///
    /// # Errors
    /// The stream cannot be read, or ends within a message.
    pub(crate) fn feed(
        &mut self,
        piece: &[u8],
        is_end: bool,
        handle: &mut dyn FnMut(InvokeEvent<'_>),
    ) -> Result<(), Broken> {
        let Self { frames, event } = self;
        let mut read = Ok(());
        let fed = frames.feed(piece, |frame| match frame.kind {
            _ if read.is_err() => {}
            Kind::Event("chunk") => {
                read = unwrap(frame.payload, event);
                if read.is_ok() && !event.is_empty() {
                    handle(InvokeEvent::Json(event));
                }
            }
            Kind::Event(_) => {}
            Kind::Exception(name) => handle(InvokeEvent::Failed(failure::exception(name, frame.payload))),
            Kind::Error { code, message } => {
                handle(InvokeEvent::Failed(failure::failure(code, 502, message.to_owned())));
            }
        });
        read?;
        fed.map_err(|error| Broken::Unreadable(error.to_string()))?;
        if is_end && !frames.is_between_frames() { Err(Broken::Incomplete) } else { Ok(()) }
    }
}

/// Puts what is in a chunk into `event`.
fn unwrap(chunk: &[u8], event: &mut Vec<u8>) -> Result<(), Broken> {
    event.clear();
    let unreadable =
        |why: &dyn std::fmt::Display| Broken::Unreadable(format!("a chunk of the stream: {why}"));
    let document = parse(chunk).map_err(|error| unreadable(&error))?;
    let Some(bytes) = document.as_object().and_then(|chunk| chunk.text("bytes")) else { return Ok(()) };
    BASE64_STANDARD.decode_vec(bytes.decoded().as_bytes(), event).map_err(|error| unreadable(&error))
}

/// Makes an event stream of Anthropic's Messages API (`text/event-stream`) of such a stream.
#[derive(Debug, Default)]
pub(crate) struct Rewrap {
    events: InvokeEvents,
    has_content: bool,
    is_complete: bool,
    usage: Usage,
}

impl Rewrap {
    /// Takes a piece of the stream; what it makes is added to `out`.
    ///
    /// # Errors
    /// The upstream failed, broke off, or cannot be read. What was added to `out` before is sound; where the client has had
    /// content ([`Self::has_content`]), the failure has to be told behind it, as an `error` event. Such an event of the
    /// model's own is a failure like any other, so that another upstream can be asked as long as there is no content.
    pub(crate) fn read(&mut self, piece: &[u8], is_end: bool, out: &mut Vec<u8>) -> Result<(), Broken> {
        let Self { events, has_content, is_complete, usage } = self;
        let mut wrapped = Ok(());
        let fed = events.feed(piece, is_end, &mut |event| {
            if wrapped.is_ok() && !*is_complete {
                wrapped = match event {
                    InvokeEvent::Failed(failure) => Err(Broken::Failed(failure)),
                    InvokeEvent::Json(json) => wrap(json, usage, out).map(|seen| {
                        *has_content |= seen != Seen::Preamble;
                        *is_complete |= seen == Seen::End;
                    }),
                };
            }
        });
        wrapped?;
        if self.is_complete {
            return Ok(());
        }
        fed?;
        if is_end { Err(Broken::Incomplete) } else { Ok(()) }
    }

    /// Whether the client has got more than the stream's first words.
    pub(crate) fn has_content(&self) -> bool {
        self.has_content
    }

    /// Whether the answer's own end has been read.
    pub(crate) fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// What was counted so far.
    pub(crate) fn usage(&self) -> Usage {
        self.usage
    }
}

/// How far an event gets the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Preamble,
    Content,
    End,
}

/// Writes an event as one of `text/event-stream`.
fn wrap(json: &[u8], usage: &mut Usage, out: &mut Vec<u8>) -> Result<Seen, Broken> {
    let document =
        parse(json).map_err(|error| Broken::Unreadable(format!("an event of the model: {error}")))?;
    let event = document.as_object();
    let Some((event, kind)) = event.and_then(|event| Some((event, event.word("type")?))) else {
        return Err(Broken::Unreadable("an event of the model has no type".to_owned()));
    };
    let seen = match kind {
        "error" => return Err(Broken::Failed(read_error(event.object("error")))),
        "message_start" => {
            usage.update(read_usage(event.object("message").and_then(|message| message.object("usage"))));
            Seen::Preamble
        }
        "message_delta" => {
            let counted = read_usage(event.object("usage"));
            // Its input leaves out what caches had, if it does not tell of caches again.
            let input = counted.input.filter(|_| counted.cache_read.is_some() || usage.cache_read.is_none());
            usage.update(Usage { input, ..counted });
            Seen::Content
        }
        "message_stop" => Seen::End,
        "ping" => Seen::Preamble,
        _ => Seen::Content,
    };
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(kind.as_bytes());
    out.extend_from_slice(b"\ndata: ");
    let start = out.len();
    out.extend_from_slice(json);
    // A line's end between two values would end the data, and is white space like any other.
    for byte in out.iter_mut().skip(start).filter(|byte| matches!(byte, b'\n' | b'\r')) {
        *byte = b' ';
    }
    out.extend_from_slice(b"\n\n");
    Ok(seen)
}

/// The failure that an `error` event of Anthropic's API tells of.
fn read_error(error: Option<&Object<'_>>) -> Failure<'static> {
    let code = error.and_then(|error| error.text("type"));
    let status = match code.map(Text::decoded).as_deref() {
        Some("invalid_request_error") => 400,
        Some("authentication_error") => 401,
        Some("permission_error") => 403,
        Some("not_found_error") => 404,
        Some("request_too_large") => 413,
        Some("rate_limit_error") => 429,
        Some("timeout_error") => 504,
        Some("overloaded_error") => 503,
        _ => 500,
    };
    let message = error.and_then(|error| error.text("message")).map(Text::decoded).unwrap_or_default();
    Failure { code: code.cloned().map(Text::into_owned), ..Failure::new(status, message.into_owned()) }
}

/// Usage in Anthropic's form, where the input's tokens do not contain those that a cache had or got.
fn read_usage(usage: Option<&Object<'_>>) -> Usage {
    let count = |name| usage.and_then(|usage| usage.get(name)).and_then(Value::as_u64);
    let (cache_read, cache_write) = (count("cache_read_input_tokens"), count("cache_creation_input_tokens"));
    let cached = cache_read.unwrap_or(0).saturating_add(cache_write.unwrap_or(0));
    let details = usage.and_then(|usage| usage.object("output_tokens_details"));
    Usage {
        input: count("input_tokens").map(|input| input.saturating_add(cached)),
        output: count("output_tokens"),
        cache_read,
        cache_write,
        reasoning: details.and_then(|details| details.u64("thinking_tokens")),
    }
}

#[cfg(test)]
mod tests;
