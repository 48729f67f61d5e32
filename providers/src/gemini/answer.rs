//! Reads an answer of generateContent, a stream or a whole body: each event of a stream is a response of its own, with what
//! is new in it and with all that was counted so far.
//!
//! Images that a model draws come as Markdown with a `data:` address: no event has a place for them, and clients that show
//! text in Markdown show them so. Signatures go with calls, and with the thought that came before; one on plain text,
//! which Google only recommends to send back, is let go.

mod candidate;
mod citations;
mod logprobs;
mod time;

#[cfg(test)]
mod tests;

use crate::alias::{Aliases, safe};
use crate::answer::{Event, Failure, Finish, Usage};
use crate::json::{Object, Value, parse};
use crate::sse::Events;
use crate::translation::{Broken, ReadAnswer, Whole};

/// Reads one answer.
#[derive(Debug)]
pub(crate) struct Reader {
    body: Body,
    answer: Answer,
}

#[derive(Debug)]
enum Body {
    Stream(Events),
    Whole(Whole),
}

/// What has to be known of the answer so far.
#[derive(Debug)]
struct Answer {
    aliases: Aliases,
    /// What ids of calls are made of where there are none.
    id: String,
    has_started: bool,
    has_candidate: bool,
    /// The last event was a thought, and its signature may still come.
    is_thought_open: bool,
    calls: usize,
    finish: Option<Finish>,
    /// The answer failed: nothing may follow.
    has_failed: bool,
    counts: Counts,
    is_complete: bool,
}

/// `usageMetadata`, each member as it was last.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    prompt: Option<u64>,
    tool_prompt: Option<u64>,
    cached: Option<u64>,
    candidates: Option<u64>,
    thoughts: Option<u64>,
}

impl Reader {
    /// A reader of the answer to a request whose tools have these `aliases`. Ids are made of `request_id` where the
    /// answer has none.
    pub(crate) fn new(is_stream: bool, aliases: Aliases, request_id: &str) -> Self {
        let body = if is_stream { Body::Stream(Events::default()) } else { Body::Whole(Whole::default()) };
        let answer = Answer {
            aliases,
            id: request_id.to_owned(),
            has_started: false,
            has_candidate: false,
            is_thought_open: false,
            calls: 0,
            finish: None,
            has_failed: false,
            counts: Counts::default(),
            is_complete: false,
        };
        Self { body, answer }
    }
}

impl ReadAnswer for Reader {
    fn read(&mut self, piece: &[u8], is_end: bool, sink: &mut dyn FnMut(Event<'_>)) -> Result<(), Broken> {
        let Self { body, answer } = self;
        match body {
            Body::Stream(events) => {
                let mut result = Ok(());
                let fed = events.feed(piece, |_, data| {
                    if result.is_ok() {
                        result = answer.response(data, sink);
                    }
                });
                result?;
                fed.map_err(|error| Broken::Unreadable(error.to_string()))?;
                if is_end {
                    // What is left is the last event, or what a break left of it.
                    let mut last = Ok(());
                    events.finish(|_, data| last = answer.response(data, sink));
                    last.map_err(|_| Broken::Incomplete)?;
                }
            }
            Body::Whole(whole) => {
                if let Some(bytes) = whole.feed(piece, is_end)? {
                    answer.response(&bytes, sink)?;
                    // A whole answer is complete, whether it says why it ends or not.
                    answer.finish = answer.finish.or(answer.has_candidate.then_some(Finish::Stop));
                }
            }
        }
        if is_end {
            answer.end(sink);
        }
        Ok(())
    }

    fn held_bytes(&self) -> usize {
        match &self.body {
            Body::Whole(whole) => whole.held_bytes(),
            _ => 0,
        }
    }

    fn is_complete(&self) -> bool {
        self.answer.is_complete
    }
}

impl Answer {
    fn response(&mut self, data: &[u8], sink: &mut dyn FnMut(Event<'_>)) -> Result<(), Broken> {
        if self.has_failed {
            return Ok(());
        }
        let document = parse(data).map_err(|error| Broken::Unreadable(error.to_string()))?;
        // Vertex wraps failures in a list at times.
        let response = match &document {
            Value::Array(list) => list.items.first().and_then(Value::as_object),
            value => value.as_object(),
        };
        let Some(response) = response else {
            return Err(Broken::Unreadable(format!("it is {}, not an object", document.kind())));
        };
        if let Some(failure) = super::failure::of_stream(response) {
            self.fail(failure, sink);
            return Ok(());
        }
        if let Some(counts) = response.object("usageMetadata") {
            self.counts.update(counts);
        }
        self.start(response, sink);
        match response.items("candidates").first().and_then(Value::as_object) {
            Some(candidate) => {
                self.has_candidate = true;
                self.candidate(candidate, sink);
            }
            None => self.blocked(response, sink),
        }
        Ok(())
    }

    fn start(&mut self, response: &Object<'_>, sink: &mut dyn FnMut(Event<'_>)) {
        if std::mem::replace(&mut self.has_started, true) {
            return;
        }
        let id = response.text("responseId").cloned();
        if let Some(id) = &id {
            // As long as what is made of it, whatever the upstream sends.
            self.id = safe(&id.decoded(), 64).into_owned();
        }
        let created = response.text("createTime").and_then(|time| time::seconds_of(&time.decoded()));
        sink(Event::Start { id, model: response.text("modelVersion").cloned(), created });
    }

    /// A prompt that is refused has no candidates, but a reason.
    fn blocked(&mut self, response: &Object<'_>, sink: &mut dyn FnMut(Event<'_>)) {
        let Some(feedback) = response.object("promptFeedback") else { return };
        if feedback.get("blockReason").is_none() {
            return;
        }
        if let Some(message) = feedback.text("blockReasonMessage") {
            sink(Event::Refusal(message.clone()));
        }
        self.finish = Some(Finish::ContentFilter);
    }

    fn fail(&mut self, failure: Failure<'_>, sink: &mut dyn FnMut(Event<'_>)) {
        self.has_failed = true;
        sink(Event::Error(failure));
    }

    fn end(&mut self, sink: &mut dyn FnMut(Event<'_>)) {
        if self.has_failed {
            return;
        }
        if let Some(reason) = self.finish {
            let reason = if reason == Finish::Stop && self.calls > 0 { Finish::ToolCalls } else { reason };
            self.is_complete = true;
            sink(Event::Finish { reason, stop_sequence: None });
        }
        // What was counted is counted, even if the rest did not come.
        let usage = self.counts.usage();
        if usage != Usage::default() {
            sink(Event::Usage(usage));
        }
    }
}

impl Counts {
    fn update(&mut self, counts: &Object<'_>) {
        for (name, count) in [
            ("promptTokenCount", &mut self.prompt),
            ("toolUsePromptTokenCount", &mut self.tool_prompt),
            ("cachedContentTokenCount", &mut self.cached),
            ("candidatesTokenCount", &mut self.candidates),
            ("thoughtsTokenCount", &mut self.thoughts),
        ] {
            *count = counts.u64(name).or(*count);
        }
    }

    fn usage(self) -> Usage {
        let sum = |one: Option<u64>, other: Option<u64>| match (one, other) {
            (Some(one), Some(other)) => Some(one.saturating_add(other)),
            (one, other) => one.or(other),
        };
        Usage {
            input: sum(self.prompt, self.tool_prompt),
            output: sum(self.candidates, self.thoughts),
            cache_read: self.cached,
            cache_write: None,
            reasoning: self.thoughts,
        }
    }
}
