//! The blocks of a streamed answer: of which one is open at a time, while other APIs call several tools at once.

use std::collections::VecDeque;

use super::form::{append, call_id, write_event};
use crate::answer::Event;
use crate::json::{self, Text};

/// The most that is held of what comes while a call is not whole, in bytes.
const MAX_HELD_BYTES: usize = 1024 * 1024;

/// What an upstream said in the middle of a call is more than [`MAX_HELD_BYTES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the upstream said more than {MAX_HELD_BYTES} bytes in the middle of a tool call")]
pub(super) struct Overflow;

/// Writes blocks.
///
/// A call's block stays open until its arguments are a whole object, or until the upstream says that it has ended; calls
/// and words that come before that are held.
#[derive(Debug)]
pub(super) struct Blocks {
    /// What ids of calls are made of that have none.
    request_id: String,
    /// The index of the block that is open, or of the next one.
    index: u64,
    open: Open,
    held: VecDeque<Held>,
    held_bytes: usize,
    /// The next call that has not begun: earlier ones are open, held or over.
    next_call: usize,
}

#[derive(Debug)]
enum Open {
    None,
    Text,
    Thinking,
    Call { call: usize, arguments: Balance },
}

/// What waits for the call that is open.
#[derive(Debug)]
struct Held {
    what: What,
    /// Words or arguments, as they stand between quotes.
    text: String,
}

#[derive(Debug, PartialEq, Eq)]
enum What {
    Text,
    Thinking,
    Call { call: usize, id: String, name: String },
}

/// Where a JSON text is: whether the value that it began with is whole.
#[derive(Debug, Default)]
struct Balance {
    depth: usize,
    is_in_string: bool,
    is_escaped: bool,
    is_whole: bool,
}

impl Blocks {
    pub(super) fn new(request_id: String) -> Self {
        Self { request_id, index: 0, open: Open::None, held: VecDeque::new(), held_bytes: 0, next_call: 0 }
    }

    /// Whether a tool was called.
    pub(super) fn has_called(&self) -> bool {
        self.next_call > 0
    }

    /// Writes what happens within the answer.
    pub(super) fn write(&mut self, event: Event<'_>, out: &mut Vec<u8>) -> Result<(), Overflow> {
        match event {
            Event::Text(text) | Event::Refusal(text) if !text.is_empty() => {
                if self.is_in_call() {
                    return self.hold_words(What::Text, &text);
                }
                self.say(out);
                self.delta(out, "text_delta", "text", &text);
            }
            Event::Reasoning(text) if !text.is_empty() => {
                if self.is_in_call() {
                    return self.hold_words(What::Thinking, &text);
                }
                self.think(out);
                self.delta(out, "thinking_delta", "thinking", &text);
            }
            Event::Signature(signature) => {
                if !matches!(self.open, Open::Thinking) {
                    self.end(out);
                }
                self.think(out);
                self.delta(out, "signature_delta", "signature", &signature);
                self.close(out);
            }
            Event::Redacted(data) => {
                self.end(out);
                self.begin(out, Open::None, |json| {
                    json.str_at("type", "redacted_thinking");
                    json.text_at("data", &data);
                });
                self.stop(out);
            }
            Event::Citation(citation) if matches!(self.open, Open::Text) => {
                let index = self.index;
                write_event("content_block_delta", out, |json| {
                    json.u64_at("index", index);
                    json.object_at("delta", |json| {
                        json.str_at("type", "citations_delta");
                        json.value_at("citation", &citation);
                    });
                });
            }
            Event::ToolCall { call, id, name, signature } if call >= self.next_call => {
                self.next_call = call.saturating_add(1);
                let id = call_id(&id, signature.as_ref(), call, &self.request_id);
                let name = name.decoded().into_owned();
                if self.is_in_call() {
                    self.hold(id.len() + name.len())?;
                    self.held.push_back(Held { what: What::Call { call, id, name }, text: String::new() });
                } else {
                    self.close(out);
                    self.begin_call(out, call, &id, &name);
                }
            }
            Event::Arguments { call, text } => return self.arguments(call, &text, out),
            Event::EndOfPart => {
                self.close(out);
                self.open_held(out);
            }
            Event::Ping => write_event("ping", out, |_| {}),
            _ => {}
        }
        Ok(())
    }

    /// Closes what is open, and writes what is held.
    pub(super) fn end(&mut self, out: &mut Vec<u8>) {
        self.close(out);
        while !self.held.is_empty() {
            self.open_held(out);
            self.close(out);
        }
    }

    fn arguments(&mut self, of: usize, text: &Text<'_>, out: &mut Vec<u8>) -> Result<(), Overflow> {
        let is_of = |held: &&mut Held| matches!(held.what, What::Call { call, .. } if call == of);
        if let Some(held) = self.held.iter_mut().find(is_of) {
            let added = held.add(text);
            return self.hold(added);
        }
        let Open::Call { call, arguments } = &mut self.open else { return Ok(()) };
        if *call != of || text.is_empty() {
            return Ok(());
        }
        arguments.feed(&text.decoded());
        let is_whole = arguments.is_whole;
        self.delta(out, "input_json_delta", "partial_json", text);
        if is_whole && !self.held.is_empty() {
            self.close(out);
            self.open_held(out);
        }
        Ok(())
    }

    /// Writes what is held, up to a call that is not whole.
    fn open_held(&mut self, out: &mut Vec<u8>) {
        while let Some(Held { what, text }) = self.held.pop_front() {
            self.held_bytes -= text.len();
            let text = Text::Escaped(&text);
            match what {
                // Servers put line ends between calls.
                What::Text if text.is_blank() => {}
                What::Text => {
                    self.say(out);
                    self.delta(out, "text_delta", "text", &text);
                }
                What::Thinking => {
                    self.think(out);
                    self.delta(out, "thinking_delta", "thinking", &text);
                }
                What::Call { call, id, name } => {
                    self.held_bytes -= id.len() + name.len();
                    self.close(out);
                    self.begin_call(out, call, &id, &name);
                    if !text.is_empty() {
                        self.delta(out, "input_json_delta", "partial_json", &text);
                    }
                    let Open::Call { arguments, .. } = &mut self.open else { return };
                    arguments.feed(&text.decoded());
                    if !arguments.is_whole {
                        return;
                    }
                }
            }
        }
    }

    /// Whether a call is open whose arguments are not whole.
    fn is_in_call(&self) -> bool {
        matches!(&self.open, Open::Call { arguments, .. } if !arguments.is_whole)
    }

    fn hold_words(&mut self, what: What, text: &Text<'_>) -> Result<(), Overflow> {
        if self.held.back().is_none_or(|last| last.what != what) {
            self.held.push_back(Held { what, text: String::new() });
        }
        let added = self.held.back_mut().map_or(0, |held| held.add(text));
        self.hold(added)
    }

    fn hold(&mut self, bytes: usize) -> Result<(), Overflow> {
        // Each piece counts, without a word as well.
        const PIECE_BYTES: usize = 64;
        self.held_bytes += bytes;
        if self.held_bytes + self.held.len() * PIECE_BYTES > MAX_HELD_BYTES { Err(Overflow) } else { Ok(()) }
    }

    /// Opens a text, unless one is open.
    fn say(&mut self, out: &mut Vec<u8>) {
        if !matches!(self.open, Open::Text) {
            self.close(out);
            self.begin(out, Open::Text, |json| {
                json.str_at("type", "text");
                json.str_at("text", "");
            });
        }
    }

    /// Opens a thought, unless one is open.
    fn think(&mut self, out: &mut Vec<u8>) {
        if !matches!(self.open, Open::Thinking) {
            self.close(out);
            self.begin(out, Open::Thinking, |json| {
                json.str_at("type", "thinking");
                json.str_at("thinking", "");
                json.str_at("signature", "");
            });
        }
    }

    fn begin_call(&mut self, out: &mut Vec<u8>, call: usize, id: &str, name: &str) {
        self.begin(out, Open::Call { call, arguments: Balance::default() }, |json| {
            json.str_at("type", "tool_use");
            json.str_at("id", id);
            json.str_at("name", name);
            json.raw_at("input", "{}");
        });
    }

    fn begin(&mut self, out: &mut Vec<u8>, open: Open, block: impl FnOnce(&mut json::Writer)) {
        self.open = open;
        write_event("content_block_start", out, |json| {
            json.u64_at("index", self.index);
            json.object_at("content_block", block);
        });
    }

    fn delta(&self, out: &mut Vec<u8>, kind: &str, name: &str, text: &Text<'_>) {
        write_event("content_block_delta", out, |json| {
            json.u64_at("index", self.index);
            json.object_at("delta", |json| {
                json.str_at("type", kind);
                json.text_at(name, text);
            });
        });
    }

    fn close(&mut self, out: &mut Vec<u8>) {
        if !matches!(self.open, Open::None) {
            self.stop(out);
        }
    }

    fn stop(&mut self, out: &mut Vec<u8>) {
        write_event("content_block_stop", out, |json| json.u64_at("index", self.index));
        self.open = Open::None;
        self.index += 1;
    }
}

impl Held {
    /// Adds a piece; how many bytes that takes.
    fn add(&mut self, piece: &Text<'_>) -> usize {
        let before = self.text.len();
        append(&mut self.text, piece);
        self.text.len() - before
    }
}

impl Balance {
    fn feed(&mut self, text: &str) {
        for byte in text.bytes() {
            match byte {
                _ if self.is_escaped => self.is_escaped = false,
                b'\\' if self.is_in_string => self.is_escaped = true,
                b'"' => self.is_in_string = !self.is_in_string,
                _ if self.is_in_string => {}
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => {
                    self.depth = self.depth.saturating_sub(1);
                    self.is_whole |= self.depth == 0;
                }
                _ => {}
            }
        }
    }
}
