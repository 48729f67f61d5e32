//! Reads what Claude answers, whoever serves it.

use crate::alias::Aliases;
use crate::answer::{Event, Finish, Usage};
use crate::anthropic::failure;
use crate::json::{self, Object, Text, Value};
use crate::sse::Events;
use crate::translation::{Broken, ReadAnswer, Whole};

/// Reads an answer, a stream or a whole body.
#[derive(Debug)]
pub(crate) struct Reader {
    form: Form,
    answer: Answer,
}

#[derive(Debug)]
enum Form {
    Stream(Events),
    Whole(Whole),
}

/// How far an answer has come.
#[derive(Debug)]
struct Answer {
    aliases: Aliases,
    has_begun: bool,
    has_finished: bool,
    has_stopped: bool,
    has_failed: bool,
    /// Tools called so far.
    calls: usize,
    /// The block that is open.
    open: Open,
    counts: Counts,
}

/// A block of the stream, for what its deltas and its end mean.
#[derive(Debug, PartialEq, Eq)]
enum Open {
    /// None, or one that no other API has.
    None,
    /// Text or a thought.
    Words,
    /// A call. Its input stood in its first event already if `input` has it, which some servers do instead of deltas.
    Call { call: usize, input: Option<String> },
}

/// Tokens as this API counts them: the three of the prompt are apart.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    input: Option<u64>,
    cache_read: Option<u64>,
    cache_write: Option<u64>,
    output: Option<u64>,
    reasoning: Option<u64>,
}

type Sink<'s> = dyn FnMut(Event<'_>) + 's;

impl Reader {
    /// Reads a stream. What tools are called in it is named back by `aliases`.
    pub(crate) fn stream(aliases: Aliases) -> Self {
        Self { form: Form::Stream(Events::default()), answer: Answer::new(aliases) }
    }

    /// Reads a body as a whole.
    pub(crate) fn whole(aliases: Aliases) -> Self {
        Self { form: Form::Whole(Whole::default()), answer: Answer::new(aliases) }
    }

    /// Reads one event of a stream, whatever that is framed in: the JSON that is its `data` in an event stream.
    ///
    /// # Errors
    /// It is not JSON, or not an object.
    pub(crate) fn event(&mut self, data: &[u8], sink: &mut Sink<'_>) -> Result<(), Broken> {
        self.answer.event(data, sink)
    }
}

impl ReadAnswer for Reader {
    fn read(&mut self, piece: &[u8], is_end: bool, sink: &mut dyn FnMut(Event<'_>)) -> Result<(), Broken> {
        let Self { form, answer } = self;
        match form {
            Form::Stream(events) => {
                let mut result = Ok(());
                let mut handle = |_: &[u8], data: &[u8]| {
                    if result.is_ok() {
                        result = answer.event(data, sink);
                    }
                };
                let fed = events.feed(piece, &mut handle);
                if is_end && fed.is_ok() {
                    events.finish(&mut handle);
                }
                result.and(fed.map_err(|error| Broken::Unreadable(error.to_string())))
            }
            Form::Whole(whole) => match whole.feed(piece, is_end)? {
                Some(body) => answer.message(&body, sink),
                None => Ok(()),
            },
        }
    }

    fn held_bytes(&self) -> usize {
        match &self.form {
            Form::Whole(whole) => whole.held_bytes(),
            _ => 0,
        }
    }

    fn is_complete(&self) -> bool {
        self.answer.has_stopped
    }
}

impl Answer {
    fn new(aliases: Aliases) -> Self {
        Self {
            aliases,
            has_begun: false,
            has_finished: false,
            has_stopped: false,
            has_failed: false,
            calls: 0,
            open: Open::None,
            counts: Counts::default(),
        }
    }

    fn event(&mut self, data: &[u8], sink: &mut Sink<'_>) -> Result<(), Broken> {
        if self.has_failed || self.has_stopped {
            return Ok(());
        }
        let value = parsed(data)?;
        let Value::Object(event) = &value else {
            return Err(Broken::Unreadable(format!("an event is {}, not an object", value.kind())));
        };
        let kind = event.word("type").unwrap_or_default();
        if !self.has_begun && matches!(kind, "content_block_start" | "content_block_delta" | "message_delta")
        {
            self.begin(None, sink);
        }
        match kind {
            "message_start" if !self.has_begun => self.begin(event.object("message"), sink),
            "content_block_start" => {
                if let Some(block) = event.object("content_block") {
                    self.block_starts(block, sink);
                }
            }
            "content_block_delta" => {
                if let Some(delta) = event.object("delta") {
                    self.delta(delta, sink);
                }
            }
            "content_block_stop" => self.block_stops(sink),
            "message_delta" => {
                self.count(event.object("usage"), sink);
                if let Some(delta) = event.object("delta") {
                    self.finish(delta, sink);
                }
            }
            "message_stop" => {
                if !self.has_finished {
                    sink(Event::Finish { reason: Finish::Stop, stop_sequence: None });
                }
                self.has_stopped = true;
            }
            "ping" => sink(Event::Ping),
            "error" => {
                self.has_failed = true;
                sink(Event::Error(failure::read_event(event)));
            }
            _ => {}
        }
        Ok(())
    }

    fn message(&mut self, body: &[u8], sink: &mut Sink<'_>) -> Result<(), Broken> {
        let value = parsed(body)?;
        let Value::Object(message) = &value else {
            return Err(Broken::Unreadable(format!("the answer is {}, not an object", value.kind())));
        };
        if message.word("type") == Some("error") {
            self.has_failed = true;
            sink(Event::Error(failure::read_event(message)));
            return Ok(());
        }
        let Some(Value::Array(content)) = message.get("content") else {
            return Err(Broken::Unreadable("the answer has no content".to_owned()));
        };
        self.begin(Some(message), sink);
        for block in content.items.iter().filter_map(Value::as_object) {
            self.block_starts(block, sink);
            if let (Open::Words, Some(signature)) = (&self.open, said(block, "signature")) {
                sink(Event::Signature(signature));
            }
            for citation in block.items("citations") {
                sink(Event::Citation(citation.clone()));
            }
            self.block_stops(sink);
        }
        self.finish(message, sink);
        if !self.has_finished {
            sink(Event::Finish { reason: Finish::Stop, stop_sequence: None });
        }
        self.has_stopped = true;
        Ok(())
    }

    fn begin(&mut self, message: Option<&Object<'_>>, sink: &mut Sink<'_>) {
        self.has_begun = true;
        let text = |name: &str| message.and_then(|message| message.text(name)).cloned();
        sink(Event::Start { id: text("id"), model: text("model"), created: None });
        self.count(message.and_then(|message| message.object("usage")), sink);
    }

    fn block_starts(&mut self, block: &Object<'_>, sink: &mut Sink<'_>) {
        self.open = Open::None;
        match block.word("type").unwrap_or_default() {
            "text" => {
                self.open = Open::Words;
                if let Some(text) = said(block, "text") {
                    sink(Event::Text(text));
                }
            }
            "thinking" => {
                self.open = Open::Words;
                if let Some(text) = said(block, "thinking") {
                    sink(Event::Reasoning(text));
                }
            }
            "redacted_thinking" => {
                if let Some(data) = block.text("data") {
                    sink(Event::Redacted(data.clone()));
                }
            }
            "tool_use" => {
                let empty = Text::Escaped("");
                let name = block.text("name").unwrap_or(&empty).decoded();
                let call = self.calls;
                self.calls += 1;
                sink(Event::ToolCall {
                    call,
                    id: block.text("id").unwrap_or(&empty).clone(),
                    name: Text::from(self.aliases.name(&name)),
                    signature: None,
                });
                let input = block.object("input").filter(|input| !input.members.is_empty());
                self.open = Open::Call { call, input: input.map(|input| input.raw.to_owned()) };
            }
            _ => {}
        }
    }

    fn delta(&mut self, delta: &Object<'_>, sink: &mut Sink<'_>) {
        match (delta.word("type").unwrap_or_default(), &mut self.open) {
            ("text_delta", Open::Words) => {
                if let Some(text) = said(delta, "text") {
                    sink(Event::Text(text));
                }
            }
            ("thinking_delta", Open::Words) => {
                if let Some(text) = said(delta, "thinking") {
                    sink(Event::Reasoning(text));
                }
            }
            ("signature_delta", Open::Words) => {
                if let Some(signature) = said(delta, "signature") {
                    sink(Event::Signature(signature));
                }
            }
            ("citations_delta", Open::Words) => {
                if let Some(citation) = delta.get("citation") {
                    sink(Event::Citation(citation.clone()));
                }
            }
            ("input_json_delta", Open::Call { call, input }) => {
                if let Some(text) = said(delta, "partial_json") {
                    *input = None;
                    sink(Event::Arguments { call: *call, text });
                }
            }
            _ => {}
        }
    }

    fn block_stops(&mut self, sink: &mut Sink<'_>) {
        match std::mem::replace(&mut self.open, Open::None) {
            Open::None => return,
            Open::Words | Open::Call { input: None, .. } => {}
            Open::Call { call, input: Some(input) } => {
                sink(Event::Arguments { call, text: Text::from(input) });
            }
        }
        sink(Event::EndOfPart);
    }

    /// Hands on why the answer ends, if `from` says so: a message, or the delta of one.
    fn finish(&mut self, from: &Object<'_>, sink: &mut Sink<'_>) {
        let Some(reason) = from.text("stop_reason").filter(|_| !self.has_finished) else { return };
        self.has_finished = true;
        let reason = match reason.as_word().unwrap_or_default() {
            "stop_sequence" => Finish::StopSequence,
            "max_tokens" | "model_context_window_exceeded" => Finish::Length,
            "tool_use" => Finish::ToolCalls,
            "refusal" => Finish::ContentFilter,
            "pause_turn" => Finish::Pause,
            _ => Finish::Stop,
        };
        let details = from.object("stop_details").filter(|_| reason == Finish::ContentFilter);
        if let Some(explanation) = details.and_then(|details| said(details, "explanation")) {
            sink(Event::Refusal(explanation));
        }
        sink(Event::Finish { reason, stop_sequence: from.text("stop_sequence").cloned() });
    }

    /// Hands on what was counted. A stream's last counts replace its first, as far as it has them.
    fn count(&mut self, usage: Option<&Object<'_>>, sink: &mut Sink<'_>) {
        let Some(usage) = usage else { return };
        let counts = &mut self.counts;
        let details = usage.object("output_tokens_details");
        for (count, told) in [
            (&mut counts.input, usage.u64("input_tokens")),
            (&mut counts.cache_read, usage.u64("cache_read_input_tokens")),
            (&mut counts.cache_write, usage.u64("cache_creation_input_tokens")),
            (&mut counts.output, usage.u64("output_tokens")),
            (&mut counts.reasoning, details.and_then(|details| details.u64("thinking_tokens"))),
        ] {
            *count = told.or(*count);
        }
        let cached = counts.cache_read.unwrap_or(0).saturating_add(counts.cache_write.unwrap_or(0));
        sink(Event::Usage(Usage {
            input: counts.input.map(|input| input.saturating_add(cached)),
            output: counts.output,
            cache_read: counts.cache_read,
            cache_write: counts.cache_write,
            reasoning: counts.reasoning,
        }));
    }
}

fn parsed(data: &[u8]) -> Result<Value<'_>, Broken> {
    json::parse(data).map_err(|error| Broken::Unreadable(error.to_string()))
}

/// A string that is not empty.
fn said<'a>(object: &Object<'a>, name: &str) -> Option<Text<'a>> {
    object.text(name).filter(|text| !text.is_empty()).cloned()
}

#[cfg(test)]
mod tests;
