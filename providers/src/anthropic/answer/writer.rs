//! Writes answers for clients of this API.

use super::blocks::Blocks;
use super::form::{write_event, write_framed};
use super::whole::Whole;
use crate::answer::{Event, Failure, Finish, Usage};
use crate::anthropic::failure;
use crate::json::{self, Text};
use crate::translation::{Asked, WriteAnswer};

/// Writes an answer, a stream or a whole body, as the request asked for.
#[derive(Debug)]
pub(crate) struct Writer {
    head: Head,
    form: Form,
    is_over: bool,
}

#[derive(Debug)]
enum Form {
    Stream { has_begun: bool, blocks: Blocks },
    Whole(Whole),
}

/// What an answer says of itself.
#[derive(Debug)]
pub(super) struct Head {
    asked: Asked,
    id: Option<String>,
    model: Option<String>,
    usage: Usage,
    finish: Option<Finish>,
    stop_sequence: Option<String>,
    has_refused: bool,
}

impl Writer {
    /// A writer of the answer to the request `asked`.
    pub(crate) fn new(asked: Asked) -> Self {
        let form = if asked.is_stream {
            Form::Stream { has_begun: false, blocks: Blocks::new(asked.request_id.to_string()) }
        } else {
            Form::Whole(Whole::new(asked.request_id.to_string()))
        };
        let head = Head {
            asked,
            id: None,
            model: None,
            usage: Usage::default(),
            finish: None,
            stop_sequence: None,
            has_refused: false,
        };
        Self { head, form, is_over: false }
    }
}

impl WriteAnswer for Writer {
    fn write(&mut self, event: Event<'_>, out: &mut Vec<u8>) {
        if self.is_over || self.head.take(&event) {
            return;
        }
        match (&mut self.form, event) {
            (Form::Stream { .. }, Event::Error(failure)) => {
                self.is_over = true;
                write_error(&failure, &self.head.asked, out);
            }
            (Form::Stream { has_begun, blocks }, event) => {
                if !*has_begun {
                    *has_begun = true;
                    write_start(&self.head, out);
                }
                if let Err(overflow) = blocks.write(event, out) {
                    self.is_over = true;
                    write_error(&Failure::new(502, overflow.to_string()), &self.head.asked, out);
                }
            }
            (Form::Whole(whole), event) => whole.write(event),
        }
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.is_over, true) {
            return;
        }
        match &mut self.form {
            Form::Stream { has_begun, blocks } => {
                if !*has_begun {
                    write_start(&self.head, out);
                }
                blocks.end(out);
                let reason = self.head.stop_reason(blocks.has_called());
                write_end(&self.head, reason, out);
            }
            Form::Whole(whole) => {
                let reason = self.head.stop_reason(whole.has_called());
                let mut json = json::Writer::new(std::mem::take(out));
                json.object(|json| {
                    self.head.write(json);
                    whole.write_content(json);
                    self.head.write_stop(reason, json);
                    json.key("usage");
                    self.head.write_usage(json);
                });
                *out = json.finish();
            }
        }
    }
}

impl Head {
    /// Takes what an event says of the whole answer; whether that is all that it says.
    fn take(&mut self, event: &Event<'_>) -> bool {
        match event {
            Event::Start { id, model, .. } => {
                let text = |text: &Option<Text<'_>>| text.as_ref().map(|text| text.decoded().into_owned());
                self.id = text(id);
                self.model = text(model);
            }
            Event::Usage(usage) => self.usage.update(*usage),
            Event::Finish { reason, stop_sequence } => {
                self.finish = Some(*reason);
                self.stop_sequence = stop_sequence.as_ref().map(|text| text.decoded().into_owned());
            }
            Event::Refusal(_) => {
                self.has_refused = true;
                return false;
            }
            _ => return false,
        }
        true
    }

    fn stop_reason(&self, has_called: bool) -> &'static str {
        match self.finish.unwrap_or(Finish::Stop) {
            // Some upstreams say so whatever it was.
            Finish::Stop if has_called => "tool_use",
            Finish::Stop if self.has_refused => "refusal",
            Finish::Stop => "end_turn",
            Finish::StopSequence => "stop_sequence",
            Finish::Length => "max_tokens",
            Finish::ToolCalls => "tool_use",
            Finish::ContentFilter => "refusal",
            Finish::Pause => "pause_turn",
        }
    }

    /// Writes a message's first members.
    fn write(&self, json: &mut json::Writer) {
        match &self.id {
            Some(id) if !id.is_empty() => json.str_at("id", id),
            _ => json.str_at("id", &format!("msg_{}", self.asked.request_id)),
        }
        json.str_at("type", "message");
        json.str_at("role", "assistant");
        json.str_at("model", self.model.as_deref().unwrap_or(&self.asked.model));
    }

    fn write_stop(&self, reason: &str, json: &mut json::Writer) {
        json.str_at("stop_reason", reason);
        match &self.stop_sequence {
            Some(text) => json.str_at("stop_sequence", text),
            None => json.raw_at("stop_sequence", "null"),
        }
    }

    fn write_usage(&self, json: &mut json::Writer) {
        let usage = &self.usage;
        json.object(|json| {
            json.u64_at("input_tokens", usage.uncached_input());
            json.u64_at("cache_creation_input_tokens", usage.cache_write.unwrap_or(0));
            json.u64_at("cache_read_input_tokens", usage.cache_read.unwrap_or(0));
            json.u64_at("output_tokens", usage.output.unwrap_or(0));
            if let Some(reasoning) = usage.reasoning {
                json.object_at("output_tokens_details", |json| json.u64_at("thinking_tokens", reasoning));
            }
        });
    }
}

/// Writes the first event, with what has been counted by now: clients show it.
fn write_start(head: &Head, out: &mut Vec<u8>) {
    write_event("message_start", out, |json| {
        json.object_at("message", |json| {
            head.write(json);
            json.raw_at("content", "[]");
            json.raw_at("stop_reason", "null");
            json.raw_at("stop_sequence", "null");
            json.key("usage");
            head.write_usage(json);
        });
    });
}

fn write_end(head: &Head, reason: &str, out: &mut Vec<u8>) {
    write_event("message_delta", out, |json| {
        json.object_at("delta", |json| head.write_stop(reason, json));
        json.key("usage");
        head.write_usage(json);
    });
    write_event("message_stop", out, |_| {});
}

fn write_error(failure: &Failure<'_>, asked: &Asked, out: &mut Vec<u8>) {
    write_framed("error", out, |json| failure::write_to(json, failure, asked));
}

#[cfg(test)]
mod tests;
