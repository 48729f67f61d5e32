//! Reads answers of Converse (whole) and ConverseStream.

use super::citation;
use super::eventstream::{Frame, Frames, Kind};
use super::failure;
use crate::alias::Aliases;
use crate::answer::{Event, Failure, Finish, Usage};
use crate::json::{Object, Text, Value, parse};
use crate::translation::{Broken, ReadAnswer, Whole};

/// Calls that may be open at once. Claude's come one after the other.
const MAX_OPEN_CALLS: usize = 128;

/// Events that are read.
const EVENTS: [&str; 6] =
    ["messageStart", "contentBlockStart", "contentBlockDelta", "contentBlockStop", "messageStop", "metadata"];

/// Reads one answer.
#[derive(Debug)]
pub(crate) struct Reader {
    form: Form,
    answer: Answer,
}

#[derive(Debug)]
enum Form {
    Stream(Frames),
    Whole(Whole),
}

/// What was read of an answer.
#[derive(Debug)]
struct Answer {
    aliases: Aliases,
    progress: Progress,
    /// Calls so far.
    calls: usize,
    /// Blocks that are calls and have not ended, and which call each is.
    open: Vec<(u64, usize)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Nothing,
    Started,
    /// Said why it ends; what it used comes after that.
    Finished,
    Complete,
}

impl Reader {
    /// A reader of an answer, a stream or a whole, to the request whose writer made `aliases`.
    pub(crate) fn new(aliases: Aliases, is_stream: bool) -> Self {
        let form = if is_stream { Form::Stream(Frames::default()) } else { Form::Whole(Whole::default()) };
        Self { form, answer: Answer { aliases, progress: Progress::Nothing, calls: 0, open: Vec::new() } }
    }
}

impl ReadAnswer for Reader {
    fn read(&mut self, piece: &[u8], is_end: bool, sink: &mut dyn FnMut(Event<'_>)) -> Result<(), Broken> {
        let answer = &mut self.answer;
        match &mut self.form {
            Form::Stream(frames) => {
                let mut read = Ok(());
                let fed = frames.feed(piece, |frame| {
                    if read.is_ok() && answer.progress != Progress::Complete {
                        read = answer.frame(frame, sink);
                    }
                });
                read?;
                // What comes after the end is nobody's.
                if answer.progress == Progress::Complete {
                    return Ok(());
                }
                fed.map_err(|error| Broken::Unreadable(error.to_string()))?;
                if is_end && !frames.is_between_frames() { Err(Broken::Incomplete) } else { Ok(()) }
            }
            Form::Whole(whole) => match whole.feed(piece, is_end)? {
                Some(body) => answer.whole(&body, sink),
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
        self.answer.progress == Progress::Complete
    }
}

impl Answer {
    fn frame(&mut self, frame: Frame<'_>, sink: &mut dyn FnMut(Event<'_>)) -> Result<(), Broken> {
        match frame.kind {
            // What the API has new does no harm.
            Kind::Event(name) if !EVENTS.contains(&name) => {}
            Kind::Event(name) => {
                let document = parse(frame.payload).map_err(|error| unreadable(name, &error.to_string()))?;
                let event = document.as_object().ok_or_else(|| unreadable(name, "it is no object"))?;
                self.event(name, event, sink)?;
            }
            Kind::Exception(name) => sink(Event::Error(failure::exception(name, frame.payload))),
            Kind::Error { code, message } => {
                sink(Event::Error(failure::failure(code, 502, message.to_owned())));
            }
        }
        Ok(())
    }

    fn event(
        &mut self,
        name: &str,
        event: &Object<'_>,
        sink: &mut dyn FnMut(Event<'_>),
    ) -> Result<(), Broken> {
        let block = event.u64("contentBlockIndex").unwrap_or(0);
        match name {
            "messageStart" => self.start(sink),
            "contentBlockStart" => {
                self.start(sink);
                // Tools of other types are the provider's own affair.
                let call = event.object("start").and_then(|start| start.object("toolUse"));
                if let Some(call) = call.filter(|call| call.get("type").is_none()) {
                    if self.open.len() >= MAX_OPEN_CALLS {
                        return Err(unreadable(name, "too many calls are open"));
                    }
                    self.open.push((block, self.calls));
                    self.call(call, sink);
                }
            }
            "contentBlockDelta" => {
                self.start(sink);
                if let Some(delta) = event.object("delta") {
                    self.delta(block, delta, sink);
                }
            }
            "contentBlockStop" => {
                self.open.retain(|(open, _)| *open != block);
                sink(Event::EndOfPart);
            }
            "messageStop" => {
                self.start(sink);
                self.finish(event, sink);
            }
            "metadata" => {
                if let Some(usage) = event.object("usage") {
                    sink(Event::Usage(read_usage(usage)));
                }
                if self.progress == Progress::Finished {
                    self.progress = Progress::Complete;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn delta(&mut self, block: u64, delta: &Object<'_>, sink: &mut dyn FnMut(Event<'_>)) {
        if let Some(text) = delta.text("text") {
            sink(Event::Text(text.clone()));
        } else if let Some(call) = delta.object("toolUse") {
            let open = self.open.iter().find(|(open, _)| *open == block);
            if let (Some((_, call)), Some(text)) = (open, call.text("input")) {
                sink(Event::Arguments { call: *call, text: text.clone() });
            }
        } else if let Some(thought) = delta.object("reasoningContent") {
            reasoning(thought, sink);
        } else if let Some(citation) = delta.object("citation") {
            cite(citation, sink);
        }
    }

    fn whole(&mut self, body: &[u8], sink: &mut dyn FnMut(Event<'_>)) -> Result<(), Broken> {
        let document = parse(body).map_err(|error| Broken::Unreadable(error.to_string()))?;
        let answer = document.as_object();
        let message = answer.and_then(|answer| answer.object("output")?.object("message"));
        let (Some(answer), Some(message)) = (answer, message) else {
            return Err(Broken::Unreadable("it has no output.message".to_owned()));
        };
        self.start(sink);
        for block in message.items("content").iter().filter_map(Value::as_object) {
            self.block(block, sink);
            sink(Event::EndOfPart);
        }
        if let Some(usage) = answer.object("usage") {
            sink(Event::Usage(read_usage(usage)));
        }
        self.finish(answer, sink);
        self.progress = Progress::Complete;
        Ok(())
    }

    fn block(&mut self, block: &Object<'_>, sink: &mut dyn FnMut(Event<'_>)) {
        if let Some(text) = block.text("text") {
            sink(Event::Text(text.clone()));
        } else if let Some(call) = block.object("toolUse").filter(|call| call.get("type").is_none()) {
            let number = self.calls;
            self.call(call, sink);
            if let Some(input) = call.object("input") {
                sink(Event::Arguments { call: number, text: input.raw.into() });
            }
        } else if let Some(thought) = block.object("reasoningContent") {
            match thought.object("reasoningText") {
                Some(words) => reasoning(words, sink),
                None => reasoning(thought, sink),
            }
        } else if let Some(cited) = block.object("citationsContent") {
            for text in cited.items("content").iter().filter_map(|piece| piece.as_object()?.text("text")) {
                sink(Event::Text(text.clone()));
            }
            for citation in cited.items("citations").iter().filter_map(Value::as_object) {
                cite(citation, sink);
            }
        }
    }

    fn start(&mut self, sink: &mut dyn FnMut(Event<'_>)) {
        if self.progress == Progress::Nothing {
            self.progress = Progress::Started;
            sink(Event::Start { id: None, model: None, created: None });
        }
    }

    fn call(&mut self, call: &Object<'_>, sink: &mut dyn FnMut(Event<'_>)) {
        let alias = call.text("name").map(Text::decoded).unwrap_or_default();
        sink(Event::ToolCall {
            call: self.calls,
            id: call.text("toolUseId").cloned().unwrap_or(Text::plain("")),
            name: self.aliases.name(&alias).into(),
            signature: None,
        });
        self.calls += 1;
    }

    fn finish(&mut self, end: &Object<'_>, sink: &mut dyn FnMut(Event<'_>)) {
        self.progress = Progress::Finished;
        let stop_sequence =
            end.object("additionalModelResponseFields").and_then(|fields| fields.text("stop_sequence"));
        let reason = match end.word("stopReason").unwrap_or_default() {
            "tool_use" => Finish::ToolCalls,
            "max_tokens" | "model_context_window_exceeded" => Finish::Length,
            "stop_sequence" => Finish::StopSequence,
            "guardrail_intervened" | "content_filtered" | "refusal" => Finish::ContentFilter,
            "pause_turn" => Finish::Pause,
            // What came is not what the model meant: to end it as if it were would have clients believe it.
            code @ ("malformed_model_output" | "malformed_tool_use") => {
                let message =
                    format!("the model's answer cannot be used ({code}); the request may be sent again");
                let code = Some(Text::plain(code));
                return sink(Event::Error(Failure { code, ..Failure::new(502, message) }));
            }
            _ => Finish::Stop,
        };
        sink(Event::Finish { reason, stop_sequence: stop_sequence.cloned() });
    }
}

/// Tells a thought, or a piece of one.
fn reasoning(thought: &Object<'_>, sink: &mut dyn FnMut(Event<'_>)) {
    if let Some(text) = thought.text("text") {
        sink(Event::Reasoning(text.clone()));
    }
    if let Some(signature) = thought.text("signature") {
        sink(Event::Signature(signature.clone()));
    }
    if let Some(data) = thought.text("redactedContent") {
        sink(Event::Redacted(data.clone()));
    }
}

fn cite(citation: &Object<'_>, sink: &mut dyn FnMut(Event<'_>)) {
    let Some(document) = citation::rewrite(citation) else { return };
    if let Ok(citation) = parse(&document) {
        sink(Event::Citation(citation));
    }
}

/// Usage. Tokens of the input do not contain here those that a cache had or got.
fn read_usage(usage: &Object<'_>) -> Usage {
    let (cache_read, cache_write) = (usage.u64("cacheReadInputTokens"), usage.u64("cacheWriteInputTokens"));
    let cached = cache_read.unwrap_or(0).saturating_add(cache_write.unwrap_or(0));
    Usage {
        input: usage.u64("inputTokens").map(|input| input.saturating_add(cached)),
        output: usage.u64("outputTokens"),
        cache_read,
        cache_write,
        reasoning: None,
    }
}

fn unreadable(event: &str, why: &str) -> Broken {
    let event: String = event.chars().take(64).collect();
    Broken::Unreadable(format!("event {event}: {why}"))
}

#[cfg(test)]
mod tests;
