//! Writes an answer as a stream of chunks.

use super::places::{Place, Thoughts};
use super::usage;
use crate::answer::{Event, Finish, Usage};
use crate::json::{Object, Text, Value, Writer};
use crate::openai::failure;
use crate::translation::Asked;

/// A stream that is written.
#[derive(Debug)]
pub(crate) struct Stream {
    asked: Asked,
    /// What every chunk begins with; empty before the first.
    head: String,
    usage: Usage,
    /// Whether a call has arguments, for each.
    calls: Vec<bool>,
    place: Place,
    thoughts: Thoughts,
    citations: u64,
    has_finished: bool,
    has_failed: bool,
}

impl Stream {
    pub(super) fn new(asked: &Asked) -> Self {
        Self {
            asked: asked.clone(),
            head: String::new(),
            usage: Usage::default(),
            calls: Vec::new(),
            place: Place::default(),
            thoughts: Thoughts::default(),
            citations: 0,
            has_finished: false,
            has_failed: false,
        }
    }

    pub(super) fn write(&mut self, event: &Event<'_>, out: &mut Vec<u8>) {
        if self.has_failed {
            return;
        }
        self.place.pass(event);
        let thought = self.thoughts.pass(event);
        match event {
            Event::Start { id, model, created } => self.start(id.as_ref(), model.as_ref(), *created, out),
            Event::Text(text) => self.delta(out, |out| out.text_at("content", text)),
            Event::Reasoning(text) => self.delta(out, |out| {
                out.text_at("reasoning_content", text);
                block(thought, out, |out| {
                    out.str_at("type", "thinking");
                    out.text_at("thinking", text);
                });
            }),
            Event::Signature(signature) => self.delta(out, |out| {
                block(thought, out, |out| {
                    out.str_at("type", "thinking");
                    out.str_at("thinking", "");
                    out.text_at("signature", signature);
                });
            }),
            Event::Redacted(data) => self.delta(out, |out| {
                block(thought, out, |out| {
                    out.str_at("type", "redacted_thinking");
                    out.text_at("data", data);
                });
            }),
            Event::Refusal(text) => self.delta(out, |out| out.text_at("refusal", text)),
            Event::ToolCall { call, id, name, signature } => {
                if self.calls.len() <= *call {
                    self.calls.resize(call.saturating_add(1), true);
                }
                if let Some(has_arguments) = self.calls.get_mut(*call) {
                    *has_arguments = false;
                }
                self.call(*call, out, |out| {
                    out.text_at("id", id);
                    out.str_at("type", "function");
                    out.object_at("function", |out| {
                        out.text_at("name", name);
                        out.str_at("arguments", "");
                    });
                    signature_at(signature.as_ref(), out);
                });
            }
            Event::Arguments { call, text } if !text.is_empty() => {
                if let Some(has_arguments) = self.calls.get_mut(*call) {
                    *has_arguments = true;
                }
                self.call(*call, out, |out| out.object_at("function", |out| out.text_at("arguments", text)));
            }
            Event::Citation(Value::Object(citation)) if citation.text("url").is_some() => {
                let (range, index) = (self.place.range(), self.citations);
                self.citations += 1;
                self.delta(out, |out| {
                    out.array_at("annotations", |out| annotation(citation, range, Some(index), out));
                });
            }
            Event::Logprobs(items) => self.chunk(out, |out| {
                out.array_at("choices", |out| {
                    out.object(|out| {
                        out.raw_at("index", "0");
                        out.object_at("delta", |_| {});
                        logprobs_at(items, out);
                        out.raw_at("finish_reason", "null");
                    });
                });
            }),
            Event::Arguments { .. } | Event::Citation(_) | Event::EndOfPart => {}
            Event::Ping => out.extend_from_slice(b": ping\n\n"),
            Event::Usage(counted) => self.usage.update(*counted),
            Event::Finish { reason, .. } => self.finish(*reason, out),
            Event::Error(told) => {
                self.has_failed = true;
                out.extend_from_slice(b"data: ");
                let mut document = Writer::new(std::mem::take(out));
                failure::write_to(told, &mut document);
                *out = document.finish();
                out.extend_from_slice(b"\n\n");
            }
        }
    }

    pub(super) fn end(&mut self, out: &mut Vec<u8>) {
        if self.has_failed {
            return;
        }
        if !self.has_finished {
            self.finish(Finish::Stop, out);
        }
        if self.asked.wants_usage {
            let usage = self.usage;
            self.chunk(out, |out| {
                out.raw_at("choices", "[]");
                usage::write_at(&usage, out);
            });
        }
        out.extend_from_slice(b"data: [DONE]\n\n");
    }

    fn start(
        &mut self,
        id: Option<&Text<'_>>,
        model: Option<&Text<'_>>,
        created: Option<u64>,
        out: &mut Vec<u8>,
    ) {
        let mut head = Writer::default();
        head.object(|head| head_of(&self.asked, "chat.completion.chunk", id, model, created, head));
        // The brace that closes it comes after what is different in each chunk.
        self.head = String::from_utf8(head.finish()).unwrap_or_default();
        self.head.pop();
        self.delta(out, |out| {
            out.str_at("role", "assistant");
            out.str_at("content", "");
        });
    }

    fn finish(&mut self, reason: Finish, out: &mut Vec<u8>) {
        self.has_finished = true;
        for call in 0..self.calls.len() {
            if self.calls.get(call) == Some(&false) {
                self.call(call, out, |out| out.object_at("function", |out| out.str_at("arguments", "{}")));
            }
        }
        self.choice(out, usage::finish_reason(reason), |_| {});
    }

    fn call(&mut self, call: usize, out: &mut Vec<u8>, members: impl FnOnce(&mut Writer)) {
        self.delta(out, |out| {
            out.array_at("tool_calls", |out| {
                out.object(|out| {
                    out.u64_at("index", call as u64);
                    members(out);
                });
            });
        });
    }

    fn delta(&mut self, out: &mut Vec<u8>, members: impl FnOnce(&mut Writer)) {
        self.choice(out, "", members);
    }

    fn choice(&mut self, out: &mut Vec<u8>, reason: &str, delta: impl FnOnce(&mut Writer)) {
        // Member by member, what is the same in each chunk took longer than what is not.
        let open = "\"choices\":[{\"index\":0,\"delta\":{";
        self.chunk(out, |out| match reason {
            "" => out.framed(open, "},\"finish_reason\":null}]", delta),
            reason => out.framed(open, &format!("}},\"finish_reason\":\"{reason}\"}}]"), delta),
        });
    }

    fn chunk(&mut self, out: &mut Vec<u8>, members: impl FnOnce(&mut Writer)) {
        if self.head.is_empty() {
            self.start(None, None, None, out);
        }
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(self.head.as_bytes());
        out.push(b',');
        let mut document = Writer::new(std::mem::take(out));
        members(&mut document);
        *out = document.finish();
        out.extend_from_slice(b"}\n\n");
    }
}

/// Writes what every chunk and every body begins with.
pub(super) fn head_of(
    asked: &Asked,
    object: &str,
    id: Option<&Text<'_>>,
    model: Option<&Text<'_>>,
    created: Option<u64>,
    out: &mut Writer,
) {
    match id.filter(|id| may_be_repeated(id)) {
        Some(id) => out.text_at("id", id),
        None => out.str_at("id", &format!("chatcmpl-{}", asked.request_id)),
    }
    out.str_at("object", object);
    out.u64_at("created", created.unwrap_or(asked.now));
    match model.filter(|model| may_be_repeated(model)) {
        Some(model) => out.text_at("model", model),
        None => out.str_at("model", &asked.model),
    }
}

/// Whether a name of the upstream's can stand in every chunk: one of a megabyte would be sent with each token.
fn may_be_repeated(name: &Text<'_>) -> bool {
    const MAX_BYTES: usize = 512;
    !name.is_empty() && name.written_bytes() <= MAX_BYTES
}

/// Writes how likely tokens were, as a choice has it.
pub(super) fn logprobs_at(items: &str, out: &mut Writer) {
    if items.is_empty() {
        return out.raw_at("logprobs", "null");
    }
    out.object_at("logprobs", |out| {
        out.raw_at("content", &format!("[{items}]"));
        out.raw_at("refusal", "null");
    });
}

/// Writes a block of what the model thought. OpenAI's own library puts pieces together by their index, and fails on any
/// list without one.
fn block(index: usize, out: &mut Writer, members: impl FnOnce(&mut Writer)) {
    out.array_at("thinking_blocks", |out| {
        out.object(|out| {
            out.u64_at("index", index as u64);
            members(out);
        });
    });
}

/// Writes where a call keeps its signature, if it has one.
pub(super) fn signature_at(signature: Option<&Text<'_>>, out: &mut Writer) {
    if let Some(signature) = signature {
        out.object_at("extra_content", |out| {
            out.object_at("google", |out| out.text_at("thought_signature", signature));
        });
    }
}

/// Writes a citation that has an address, of a text that begins and ends there; with its number where it is in a stream.
pub(super) fn annotation(citation: &Object<'_>, range: (u64, u64), index: Option<u64>, out: &mut Writer) {
    let Some(url) = citation.text("url") else { return };
    out.object(|out| {
        if let Some(index) = index {
            out.u64_at("index", index);
        }
        out.str_at("type", "url_citation");
        out.object_at("url_citation", |out| {
            out.text_at("url", url);
            out.text_at("title", citation.text("title").unwrap_or(&Text::Escaped("")));
            out.u64_at("start_index", range.0);
            out.u64_at("end_index", range.1);
        });
    });
}
