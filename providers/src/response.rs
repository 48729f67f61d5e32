//! One response on its way from an upstream's API to a client's: a reader of the one, a writer of the other, and events in
//! between.

use std::fmt;

use http::HeaderMap;

use crate::answer::{Event, Failure, Usage};
use crate::anthropic;
use crate::bedrock::invoke::{InvokeEvent, InvokeEvents, Rewrap};
use crate::document::Document;
use crate::translation::{Asked, Broken, ReadAnswer, Whole, WriteAnswer};

/// The longest body of a failure that is read, in bytes; what is longer is cut.
const MAX_FAILURE_BYTES: usize = 64 * 1024;

/// Makes a failure of an upstream's API, as its status and body have it, the body of a client's.
pub(crate) struct FailureForm {
    /// Reads it.
    pub(crate) read: ReadFailure,
    /// Writes it.
    pub(crate) write: WriteFailure,
    /// Whether clients know the status 529, by which Anthropic says that it is overloaded.
    pub(crate) has_529: bool,
}

/// Reads a failure: its status, the header `x-amzn-errortype`, and what is here of its body.
pub(crate) type ReadFailure = fn(u16, Option<&str>, &[u8]) -> Failure<'static>;

/// Writes a failure as a body.
pub(crate) type WriteFailure = fn(&Failure<'_>, &Asked) -> Vec<u8>;

/// What is done to the body of a response that is no failure.
pub(crate) enum Form {
    /// It is read and written anew.
    Events {
        /// Reads the upstream's API.
        reader: Box<dyn ReadAnswer>,
        /// Writes the client's.
        writer: Box<dyn WriteAnswer>,
    },
    /// It is one document, and written anew.
    Document {
        /// What it is.
        document: Document,
        /// Puts it together.
        whole: Whole,
        /// How many tokens the request has, as the response's headers say.
        tokens: Option<u64>,
    },
    /// Its events are taken out of Bedrock's frames.
    Rewrap(Rewrap),
    /// Nothing.
    Same,
}

/// Reads Claude's answers out of Bedrock's frames.
pub(crate) struct InvokeReader {
    frames: InvokeEvents,
    answer: anthropic::answer::Reader,
}

/// Translates one response.
pub struct Translation {
    form: Form,
    failure: FailureForm,
    asked: Asked,
    failed: Option<Failed>,
    usage: Usage,
    has_content: bool,
    is_over: bool,
}

/// A failure whose body is on its way.
struct Failed {
    status: u16,
    error_type: Option<String>,
    /// What is here of the body.
    body: Vec<u8>,
}

impl InvokeReader {
    pub(crate) fn new(frames: InvokeEvents, answer: anthropic::answer::Reader) -> Self {
        Self { frames, answer }
    }
}

impl ReadAnswer for InvokeReader {
    fn read(&mut self, piece: &[u8], is_end: bool, sink: &mut dyn FnMut(Event<'_>)) -> Result<(), Broken> {
        let Self { frames, answer } = self;
        let mut read = Ok(());
        let fed = frames.feed(piece, is_end, &mut |event| match event {
            _ if read.is_err() || answer.is_complete() => {}
            InvokeEvent::Json(json) => read = answer.event(json, sink),
            InvokeEvent::Failed(failure) => sink(Event::Error(failure)),
        });
        read.and(fed)
    }

    fn is_complete(&self) -> bool {
        self.answer.is_complete()
    }
}

impl fmt::Debug for Translation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Translation").field("asked", &self.asked).finish_non_exhaustive()
    }
}

impl Translation {
    pub(crate) fn new(form: Form, failure: FailureForm, asked: Asked) -> Self {
        let usage = Usage::default();
        Self { form, failure, asked, failed: None, usage, has_content: false, is_over: false }
    }

    /// Takes the response's status and headers, before its body, and gives the status that the client is to see.
    pub fn begin(&mut self, status: u16, headers: &HeaderMap) -> u16 {
        if (200..300).contains(&status) {
            if let Form::Document { tokens, .. } = &mut self.form {
                let told = headers.get("x-amzn-bedrock-input-token-count");
                *tokens = told.and_then(|told| told.to_str().ok()?.parse().ok());
            }
            return status;
        }
        let error_type = headers.get("x-amzn-errortype").and_then(|value| value.to_str().ok());
        self.failed = Some(Failed { status, error_type: error_type.map(str::to_owned), body: Vec::new() });
        match status {
            // Bedrock's "failed dependency" is the model; redirects of an API are none for its clients.
            424 | ..400 => 502,
            529 if !self.failure.has_529 => 503,
            status => status,
        }
    }

    /// The content type that the client sees; `None` if it is the upstream's.
    pub fn content_type(&self) -> Option<&'static str> {
        match (&self.failed, &self.form) {
            (Some(_), _) => Some("application/json"),
            (None, Form::Same) => None,
            (None, _) if self.asked.is_stream => Some("text/event-stream"),
            (None, _) => Some("application/json"),
        }
    }

    /// Whether the client has got something by now: from here on a failure is told within the stream.
    pub fn has_content(&self) -> bool {
        self.has_content || self.failed.is_some()
    }

    /// Bytes of the response that are kept until all of it is here: streams are not, and whole bodies have up to 64 MiB.
    pub fn held_bytes(&self) -> usize {
        match &self.form {
            Form::Events { reader, .. } => reader.held_bytes(),
            Form::Document { whole, .. } => whole.held_bytes(),
            Form::Rewrap(_) | Form::Same => 0,
        }
    }

    /// Whether [`Self::usage`] is all that the response says of it.
    pub fn counts_usage(&self) -> bool {
        !matches!(self.form, Form::Same)
    }

    /// What was counted so far.
    pub fn usage(&self) -> Usage {
        self.usage
    }

    /// Translates a piece of the body; what it makes is added to `out`. Nothing comes after an error, or after a failure
    /// that was told within the stream.
    ///
    /// # Errors
    /// The upstream failed before there was content, or what it sent cannot be read before there was content. Later, and
    /// where the answer streams, the client is told in `out` instead.
    pub fn body(&mut self, piece: &[u8], is_end: bool, out: &mut Vec<u8>) -> Result<(), Broken> {
        if self.failed.is_some() {
            self.failed_body(piece, is_end, out);
            return Ok(());
        }
        if self.is_over {
            return Ok(());
        }
        let read = match &mut self.form {
            Form::Events { .. } => self.events(piece, is_end, out),
            Form::Document { document, whole, tokens } => match whole.feed(piece, is_end) {
                Ok(None) => Ok(()),
                Ok(Some(body)) => document.translate(&body, *tokens, &self.asked).map(|(body, usage)| {
                    (self.has_content, self.is_over, self.usage) = (true, true, usage);
                    out.extend(body);
                }),
                Err(broken) => Err(broken),
            },
            Form::Rewrap(rewrap) => {
                let read = rewrap.read(piece, is_end, out);
                (self.has_content, self.is_over) = (rewrap.has_content(), rewrap.is_complete());
                self.usage = rewrap.usage();
                read
            }
            Form::Same => {
                self.has_content |= !piece.is_empty();
                out.extend_from_slice(piece);
                Ok(())
            }
        };
        let Err(broken) = read else { return Ok(()) };
        self.is_over = true;
        if !(self.asked.is_stream && self.has_content) {
            return Err(broken);
        }
        let failure = match broken {
            Broken::Failed(failure) => failure,
            broken => Failure::new(502, broken.to_string()),
        };
        match &mut self.form {
            Form::Events { writer, .. } => writer.write(Event::Error(failure), out),
            Form::Document { .. } | Form::Rewrap(_) | Form::Same => {
                out.extend_from_slice(b"event: error\ndata: ");
                out.extend((self.failure.write)(&failure, &self.asked));
                out.extend_from_slice(b"\n\n");
            }
        }
        Ok(())
    }

    /// Reads a piece and writes what happens in it.
    ///
    /// # Errors
    /// The upstream failed, or cannot be read; nothing was written of that.
    fn events(&mut self, piece: &[u8], is_end: bool, out: &mut Vec<u8>) -> Result<(), Broken> {
        let Self { form: Form::Events { reader, writer }, usage, has_content, is_over, .. } = self else {
            return Ok(());
        };
        let mut failure = None;
        let read = reader.read(piece, is_end, &mut |event| {
            match event {
                // Nothing comes behind a failure.
                _ if failure.is_some() => return,
                Event::Error(told) => {
                    failure = Some(told.into_owned());
                    return;
                }
                Event::Usage(counted) => usage.update(counted),
                Event::Start { .. } | Event::Ping | Event::EndOfPart | Event::Logprobs(_) => {}
                _ => *has_content = true,
            }
            writer.write(event, out);
        });
        // Whatever cannot be read behind a failure, or behind the end, does not count: it might as well have come later.
        if let Some(failure) = failure {
            return Err(Broken::Failed(failure));
        }
        if reader.is_complete() {
            (*is_over, *has_content) = (true, true);
            writer.end(out);
            return Ok(());
        }
        read?;
        if is_end { Err(Broken::Incomplete) } else { Ok(()) }
    }

    fn failed_body(&mut self, piece: &[u8], is_end: bool, out: &mut Vec<u8>) {
        let Some(Failed { status, error_type, body }) = &mut self.failed else { return };
        let room = MAX_FAILURE_BYTES.saturating_sub(body.len());
        body.extend_from_slice(piece.get(..room).unwrap_or(piece));
        if is_end && !self.is_over {
            self.is_over = true;
            let failure = (self.failure.read)(*status, error_type.as_deref(), body);
            out.extend((self.failure.write)(&failure, &self.asked));
        }
    }
}

#[cfg(test)]
mod tests;
