//! Reads what an upstream answers.

use super::calls::Calls;
use super::usage;
use crate::alias::Aliases;
use crate::answer::{Event, Failure, Finish, Usage};
use crate::json::{Object, Text, Value, Writer, parse};
use crate::openai::failure;
use crate::sse::Events;
use crate::translation::{Asked, Broken, ReadAnswer, Whole};

/// Reads an answer of the chat completions API.
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

impl Reader {
    /// A reader of the answer to what was `asked`, with a request whose writer made `aliases`.
    pub(crate) fn new(asked: &Asked, aliases: Aliases) -> Self {
        let form =
            if asked.is_stream { Form::Stream(Events::default()) } else { Form::Whole(Whole::default()) };
        let calls = Calls::new(&asked.request_id, aliases);
        Self { form, answer: Answer { calls, ..Answer::default() } }
    }
}

impl ReadAnswer for Reader {
    fn read(&mut self, piece: &[u8], is_end: bool, sink: &mut dyn FnMut(Event<'_>)) -> Result<(), Broken> {
        let Self { form, answer } = self;
        match form {
            Form::Stream(events) => {
                let mut read = Ok(());
                let mut event = |name: &[u8], data: &[u8]| {
                    if read.is_ok() {
                        read = answer.event(name, data, sink);
                    }
                };
                let fed = events.feed(piece, &mut event);
                if is_end {
                    events.finish(&mut event);
                }
                read?;
                fed.map_err(|error| Broken::Unreadable(error.to_string()))?;
                // Some servers end without the last event, and have said all.
                answer.is_complete |= is_end && answer.has_finished;
                Ok(())
            }
            Form::Whole(whole) => match whole.feed(piece, is_end)? {
                Some(body) => answer.body(&body, sink),
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
        self.answer.is_complete
    }
}

/// What was read so far.
#[derive(Debug, Default)]
struct Answer {
    calls: Calls,
    has_begun: bool,
    has_finished: bool,
    is_complete: bool,
    /// The upstream has failed, and nothing that follows counts.
    has_failed: bool,
}

impl Answer {
    fn event(&mut self, name: &[u8], data: &[u8], sink: &mut dyn FnMut(Event<'_>)) -> Result<(), Broken> {
        if self.is_complete || self.has_failed {
            return Ok(());
        }
        if data.trim_ascii() == b"[DONE]" {
            if !self.has_finished {
                self.finish("stop", None, sink)?;
            }
            self.is_complete = !self.has_failed;
            return Ok(());
        }
        let chunk = match parse(data) {
            Ok(chunk) => chunk,
            Err(_) if name == b"error" => {
                self.fail(failure::read(500, data), sink);
                return Ok(());
            }
            Err(error) => return Err(Broken::Unreadable(format!("an event of it is {error}"))),
        };
        match chunk.as_object() {
            Some(object) if name != b"error" && !is_failure(object) => self.chunk(object, "delta", sink),
            _ => {
                self.fail(failure::of_value(200, &chunk), sink);
                Ok(())
            }
        }
    }

    fn body(&mut self, body: &[u8], sink: &mut dyn FnMut(Event<'_>)) -> Result<(), Broken> {
        let body = parse(body).map_err(|error| Broken::Unreadable(error.to_string()))?;
        let Some(object) = body.as_object().filter(|object| !is_failure(object)) else {
            self.fail(failure::of_value(200, &body), sink);
            return Ok(());
        };
        if object.items("choices").is_empty() {
            return Err(Broken::Unreadable("it has no choices".to_owned()));
        }
        self.chunk(object, "message", sink)?;
        if !self.has_finished && !self.has_failed {
            self.finish("stop", None, sink)?;
        }
        self.is_complete = !self.has_failed;
        Ok(())
    }

    /// Reads a chunk, or the whole: what is said is in the member `said` of its choice.
    fn chunk(
        &mut self,
        chunk: &Object<'_>,
        said: &str,
        sink: &mut dyn FnMut(Event<'_>),
    ) -> Result<(), Broken> {
        let choices = chunk.items("choices");
        let id = chunk.text("id").filter(|id| !id.is_empty());
        // Azure's first chunk tells of its filters only, and has neither id nor model.
        if !self.has_begun && (!choices.is_empty() || id.is_some()) {
            self.has_begun = true;
            let model = chunk.text("model").filter(|model| !model.is_empty()).cloned();
            let created = chunk.u64("created").filter(|created| *created > 0);
            sink(Event::Start { id: id.cloned(), model, created });
        }
        let first = choices.iter().filter_map(Value::as_object);
        for choice in first.filter(|choice| choice.u64("index").unwrap_or(0) == 0) {
            if self.has_finished {
                break;
            }
            if let Some(said) = choice.object(said) {
                say(said, sink);
                self.calls.read(said, sink)?;
            }
            if let Some(reason) = choice.text("finish_reason").filter(|reason| !reason.is_empty()) {
                // vLLM says which text ended the answer, or which token.
                self.finish(&reason.decoded(), choice.text("stop_reason"), sink)?;
            }
        }
        let counted = chunk.object("usage").map(usage::read).unwrap_or_default();
        if counted != Usage::default() && !self.has_failed {
            sink(Event::Usage(counted));
        }
        Ok(())
    }

    fn finish(
        &mut self,
        reason: &str,
        stop_sequence: Option<&Text<'_>>,
        sink: &mut dyn FnMut(Event<'_>),
    ) -> Result<(), Broken> {
        self.calls.finish()?;
        if !self.has_begun {
            self.has_begun = true;
            sink(Event::Start { id: None, model: None, created: None });
        }
        let reason = match usage::finish(reason) {
            // So ends a call that the request forced.
            Some(Finish::Stop) if !self.calls.is_empty() => Finish::ToolCalls,
            Some(Finish::Stop) if stop_sequence.is_some() => Finish::StopSequence,
            Some(reason) => reason,
            None => {
                self.fail(Failure::new(502, format!("the answer was broken off: {reason}")), sink);
                return Ok(());
            }
        };
        self.has_finished = true;
        let stop_sequence = stop_sequence.filter(|_| reason == Finish::StopSequence).cloned();
        sink(Event::Finish { reason, stop_sequence });
        Ok(())
    }

    fn fail(&mut self, failure: Failure<'_>, sink: &mut dyn FnMut(Event<'_>)) {
        self.has_failed = true;
        sink(Event::Error(failure));
    }
}

/// Whether a document tells of a failure, in the form of today or in the flat one before it.
fn is_failure(object: &Object<'_>) -> bool {
    object.get("error").is_some() || object.word("object") == Some("error")
}

/// Hands on what a delta or a message says, other than calls.
fn say(said: &Object<'_>, sink: &mut dyn FnMut(Event<'_>)) {
    let words = said.text("reasoning_content").or(said.text("reasoning"));
    let words = words.filter(|words| !words.is_empty());
    let blocks = said.items("thinking_blocks");
    // Who sends blocks has the same words in both.
    let has_words =
        |block: &Value<'_>| block.as_object().is_some_and(|block| block.text("thinking").is_some());
    if let (Some(words), false) = (words, blocks.iter().any(has_words)) {
        sink(Event::Reasoning(words.clone()));
    }
    for block in blocks.iter().filter_map(Value::as_object) {
        let member = |name| block.text(name).filter(|text| !text.is_empty()).cloned();
        if let Some(text) = member("thinking") {
            sink(Event::Reasoning(text));
        }
        if let Some(signature) = member("signature") {
            sink(Event::Signature(signature));
        }
        if let Some(data) = member("data") {
            sink(Event::Redacted(data));
        }
    }
    match said.get("content") {
        Some(Value::String(text)) if !text.is_empty() => sink(Event::Text(text.clone())),
        Some(Value::Array(array)) => {
            array.items.iter().filter_map(Value::as_object).for_each(|part| say_part(part, sink));
        }
        _ => {}
    }
    if let Some(refusal) = said.text("refusal").filter(|refusal| !refusal.is_empty()) {
        sink(Event::Refusal(refusal.clone()));
    }
    for annotation in said.items("annotations").iter().filter_map(Value::as_object) {
        if let Some(citation) = annotation.object("url_citation").and_then(citation)
            && let Ok(citation) = parse(&citation)
        {
            sink(Event::Citation(citation));
        }
    }
}

/// A part of content in parts, as Mistral has it.
fn say_part(part: &Object<'_>, sink: &mut dyn FnMut(Event<'_>)) {
    match part.word("type") {
        Some("text") => {
            if let Some(text) = part.text("text").filter(|text| !text.is_empty()) {
                sink(Event::Text(text.clone()));
            }
        }
        Some("thinking") => {
            for text in part.items("thinking").iter().filter_map(Value::as_object) {
                if let Some(text) = text.text("text").filter(|text| !text.is_empty()) {
                    sink(Event::Reasoning(text.clone()));
                }
            }
        }
        _ => {}
    }
}

/// OpenAI's citation in Anthropic's form.
fn citation(cited: &Object<'_>) -> Option<Vec<u8>> {
    let url = cited.text("url")?;
    let mut out = Writer::default();
    out.object(|out| {
        out.str_at("type", "web_search_result_location");
        out.text_at("url", url);
        match cited.text("title") {
            Some(title) => out.text_at("title", title),
            None => out.raw_at("title", "null"),
        }
        out.str_at("cited_text", "");
        out.str_at("encrypted_index", "");
    });
    Some(out.finish())
}
