//! Writes a response: a stream of events, or a whole body.
//!
//! The API's last events repeat what came before: the text at its end, the item at its end, and the whole output in the
//! final response. So the writer keeps what was said, in the one form in which all of these need it. That is the one thing
//! in a translation that grows with an answer; it ends at [`MAX_OUTPUT_BYTES`], and with it the answer, as one that failed.
//! (Turned down: to repeat a part of it only, which clients that read the final response would take for all of it.)

mod output;
mod sink;
#[cfg(test)]
mod tests;

use self::output::{Ending, Output};
use self::sink::Sink;
use super::echo::Echo;
use super::failure::stream_code;
use crate::alias::safe;
use crate::answer::{Event, Failure, Finish, Usage};
use crate::json::{Text, Writer as Json};
use crate::translation::{Asked, WriteAnswer};

/// The most that a stream's answer may have, in bytes as they are written. Models stop at some hundred thousand tokens,
/// which are a quarter of it. A body that is read as a whole has its own limit.
const MAX_OUTPUT_BYTES: usize = 4 * 1024 * 1024;

/// The longest name of a model that is taken over from an upstream.
const MAX_MODEL_BYTES: usize = 256;

/// Writes one response.
#[derive(Debug)]
pub(crate) struct Writer {
    asked: Asked,
    echo: Echo,
    state: State,
    /// Of the response; empty before the answer begins.
    id: String,
    model: String,
    created: u64,
    sequence: u64,
    output: Output,
    usage: Option<Usage>,
}

/// How far the response is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    InProgress,
    Finished(Finish),
    Failed,
}

impl Writer {
    /// A writer of the response to what was asked, which repeats `echo`.
    pub(crate) fn new(asked: Asked, echo: Echo) -> Self {
        Self {
            asked,
            echo,
            state: State::Waiting,
            id: String::new(),
            model: String::new(),
            created: 0,
            sequence: 0,
            output: Output::default(),
            usage: None,
        }
    }

    fn begin(
        &mut self,
        id: Option<&Text<'_>>,
        model: Option<&Text<'_>>,
        created: Option<u64>,
        out: &mut Vec<u8>,
    ) {
        if self.state != State::Waiting {
            return;
        }
        self.state = State::InProgress;
        let id = id.map(Text::decoded).filter(|id| !id.is_empty());
        let id = id.as_deref().unwrap_or(&self.asked.request_id);
        let base = safe(id.strip_prefix("resp_").unwrap_or(id), 64).into_owned();
        self.id = format!("resp_{base}");
        self.output.name(base);
        let model = model.map(Text::decoded).filter(|model| (1..=MAX_MODEL_BYTES).contains(&model.len()));
        self.model = model.map_or_else(|| self.asked.model.to_string(), std::borrow::Cow::into_owned);
        self.created = created.unwrap_or(self.asked.now);
        for kind in ["response.created", "response.in_progress"] {
            self.response_event(kind, "in_progress", None, out);
        }
    }

    /// Writes an event of the response as a whole.
    fn response_event(&mut self, kind: &str, status: &str, failure: Option<&Failure<'_>>, out: &mut Vec<u8>) {
        let mut sequence = self.sequence;
        let mut sink = Sink { is_stream: self.asked.is_stream, sequence: &mut sequence, out };
        sink.event(kind, |json| {
            json.key("response");
            self.response(status, failure, json);
        });
        self.sequence = sequence;
    }

    fn response(&self, status: &str, failure: Option<&Failure<'_>>, json: &mut Json) {
        json.object(|json| {
            json.str_at("id", &self.id);
            json.str_at("object", "response");
            json.u64_at("created_at", self.created);
            json.str_at("status", status);
            match failure {
                Some(failure) => json.object_at("error", |json| {
                    json.str_at("code", stream_code(failure.kind));
                    json.text_at("message", &failure.message);
                }),
                None => json.raw_at("error", "null"),
            }
            match self.incomplete() {
                Some(reason) => json.object_at("incomplete_details", |json| json.str_at("reason", reason)),
                None => json.raw_at("incomplete_details", "null"),
            }
            json.str_at("model", &self.model);
            json.array_at("output", |json| self.output.write(json));
            match &self.usage {
                Some(usage) => json.object_at("usage", |json| write_usage(usage, json)),
                None => json.raw_at("usage", "null"),
            }
            self.echo.write(json);
        });
    }

    /// Why the response is incomplete, if it is.
    fn incomplete(&self) -> Option<&'static str> {
        match self.state {
            State::Finished(Finish::Length) => Some("max_output_tokens"),
            State::Finished(Finish::ContentFilter) => Some("content_filter"),
            // A long turn that was paused goes on when it is sent back, as after any other answer.
            State::Finished(Finish::Stop | Finish::StopSequence | Finish::ToolCalls | Finish::Pause)
            | State::Waiting
            | State::InProgress
            | State::Failed => None,
        }
    }

    fn fail(&mut self, failure: &Failure<'_>, out: &mut Vec<u8>) {
        self.state = State::Failed;
        let mut sink = Sink { is_stream: self.asked.is_stream, sequence: &mut self.sequence, out };
        sink.event("error", |json| {
            json.str_at("code", stream_code(failure.kind));
            json.text_at("message", &failure.message);
            match &failure.param {
                Some(param) => json.text_at("param", param),
                None => json.raw_at("param", "null"),
            }
        });
        self.response_event("response.failed", "failed", Some(failure), out);
    }

    /// Writes what belongs to the output.
    fn content(&mut self, event: Event<'_>, out: &mut Vec<u8>) {
        let mut sink = Sink { is_stream: self.asked.is_stream, sequence: &mut self.sequence, out };
        match event {
            Event::Text(text) => self.output.text(&text, false, &mut sink),
            Event::Refusal(text) => self.output.text(&text, true, &mut sink),
            Event::Reasoning(text) => self.output.thought(&text, &mut sink),
            Event::Signature(signature) => self.output.signature(signature, &mut sink),
            Event::Redacted(thought) => self.output.redacted(thought, &mut sink),
            Event::ToolCall { call, id, name, signature } => {
                self.output.call(call, &id, &name, signature, &mut sink);
            }
            Event::Arguments { call, text } => self.output.arguments(call, &text, &mut sink),
            Event::Citation(citation) => self.output.citation(&citation),
            Event::EndOfPart => self.output.end_part(),
            Event::Finish { reason, .. } => {
                let is_cut = matches!(reason, Finish::Length | Finish::ContentFilter);
                self.output.close(if is_cut { Ending::Incomplete } else { Ending::Completed }, &mut sink);
                self.state = State::Finished(reason);
            }
            Event::Start { .. } | Event::Ping | Event::Usage(_) | Event::Logprobs(_) | Event::Error(_) => {}
        }
        if self.asked.is_stream && self.output.held_bytes() > MAX_OUTPUT_BYTES {
            let message = format!(
                "the answer is longer than {MAX_OUTPUT_BYTES} bytes, which is the most that a response can repeat at \
                 its end: ask for fewer max_output_tokens"
            );
            self.fail(&Failure::new(502, message), out);
        }
    }
}

impl WriteAnswer for Writer {
    fn write(&mut self, event: Event<'_>, out: &mut Vec<u8>) {
        match (self.state, event) {
            (State::Failed, _) => {}
            (_, Event::Ping) => {
                if self.asked.is_stream {
                    out.extend_from_slice(b": ping\n\n");
                }
            }
            (_, Event::Usage(counted)) => self.usage.get_or_insert_default().update(counted),
            (_, Event::Start { id, model, created }) => self.begin(id.as_ref(), model.as_ref(), created, out),
            (_, Event::Error(failure)) => {
                self.begin(None, None, None, out);
                self.fail(&failure, out);
            }
            (State::Finished(_), _) => {}
            (State::Waiting | State::InProgress, event) => {
                self.begin(None, None, None, out);
                self.content(event, out);
            }
        }
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        self.begin(None, None, None, out);
        if self.state == State::InProgress {
            self.content(Event::Finish { reason: Finish::Stop, stop_sequence: None }, out);
        }
        if self.state == State::Failed {
            return;
        }
        let (kind, status) = match self.incomplete() {
            Some(_) => ("response.incomplete", "incomplete"),
            None => ("response.completed", "completed"),
        };
        if self.asked.is_stream {
            self.response_event(kind, status, None, out);
        } else {
            let mut json = Json::new(std::mem::take(out));
            self.response(status, None, &mut json);
            *out = json.finish();
        }
    }
}

fn write_usage(usage: &Usage, json: &mut Json) {
    json.u64_at("input_tokens", usage.input.unwrap_or(0));
    json.object_at("input_tokens_details", |json| {
        json.u64_at("cached_tokens", usage.cache_read.unwrap_or(0));
        json.u64_at("cache_write_tokens", usage.cache_write.unwrap_or(0));
    });
    json.u64_at("output_tokens", usage.output.unwrap_or(0));
    json.object_at("output_tokens_details", |json| {
        json.u64_at("reasoning_tokens", usage.reasoning.unwrap_or(0));
    });
    json.u64_at("total_tokens", usage.total());
}
