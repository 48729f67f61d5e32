//! Writes an answer as one body.

use super::places::{Place, Thoughts};
use super::stream::{annotation, head_of, logprobs_at, signature_at};
use super::usage;
use crate::answer::{Event, Finish, Usage};
use crate::json::{Text, Value, Writer, parse};
use crate::translation::Asked;

/// A body that is put together.
#[derive(Debug)]
pub(crate) struct Body {
    asked: Asked,
    id: Option<Text<'static>>,
    model: Option<Text<'static>>,
    created: Option<u64>,
    content: Escaped,
    reasoning: Escaped,
    refusal: Escaped,
    blocks: Vec<Block>,
    calls: Vec<Call>,
    /// Citations as they are, and the text that they are of.
    citations: Vec<(String, (u64, u64))>,
    /// Items of `logprobs.content`.
    logprobs: String,
    place: Place,
    thoughts: Thoughts,
    usage: Usage,
    finish: Option<Finish>,
    has_failed: bool,
}

/// Text as it stands between quotes, put together from pieces.
#[derive(Debug, Default)]
struct Escaped(String);

/// Something that the model thought.
#[derive(Debug)]
enum Block {
    Thinking { text: Escaped, signature: Option<Escaped> },
    Redacted(Escaped),
}

#[derive(Debug)]
struct Call {
    id: Escaped,
    name: Escaped,
    arguments: Escaped,
    signature: Option<Escaped>,
}

impl Escaped {
    fn of(text: &Text<'_>) -> Self {
        let mut escaped = Self::default();
        escaped.push(text);
        escaped
    }

    fn push(&mut self, text: &Text<'_>) {
        match text {
            Text::Escaped(escaped) => self.0.push_str(escaped),
            Text::Plain(plain) => {
                let mut quoted = Writer::default();
                quoted.str(plain);
                let quoted = quoted.finish();
                let within = quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default();
                self.0.push_str(&String::from_utf8_lossy(within));
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn text(&self) -> Text<'_> {
        Text::Escaped(&self.0)
    }
}

impl Body {
    pub(super) fn new(asked: &Asked) -> Self {
        Self {
            asked: asked.clone(),
            id: None,
            model: None,
            created: None,
            content: Escaped::default(),
            reasoning: Escaped::default(),
            refusal: Escaped::default(),
            blocks: Vec::new(),
            calls: Vec::new(),
            citations: Vec::new(),
            logprobs: String::new(),
            place: Place::default(),
            thoughts: Thoughts::default(),
            usage: Usage::default(),
            finish: None,
            has_failed: false,
        }
    }

    pub(super) fn take(&mut self, event: Event<'_>) {
        self.place.pass(&event);
        let thought = self.thoughts.pass(&event);
        match event {
            Event::Start { id, model, created } => {
                self.id = id.map(Text::into_owned);
                self.model = model.map(Text::into_owned);
                self.created = created;
            }
            Event::Text(text) => self.content.push(&text),
            Event::Reasoning(text) => {
                self.reasoning.push(&text);
                match self.blocks.get_mut(thought) {
                    Some(Block::Thinking { text: thought, .. }) => thought.push(&text),
                    _ => self.blocks.push(Block::Thinking { text: Escaped::of(&text), signature: None }),
                }
            }
            Event::Signature(text) => match self.blocks.get_mut(thought) {
                Some(Block::Thinking { signature, .. }) => *signature = Some(Escaped::of(&text)),
                _ => {
                    let signature = Some(Escaped::of(&text));
                    self.blocks.push(Block::Thinking { text: Escaped::default(), signature });
                }
            },
            Event::Redacted(data) => self.blocks.push(Block::Redacted(Escaped::of(&data))),
            Event::Refusal(text) => self.refusal.push(&text),
            Event::ToolCall { id, name, signature, .. } => {
                let signature = signature.as_ref().map(Escaped::of);
                let arguments = Escaped::default();
                self.calls.push(Call {
                    id: Escaped::of(&id),
                    name: Escaped::of(&name),
                    arguments,
                    signature,
                });
            }
            Event::Arguments { call, text } => {
                if let Some(call) = self.calls.get_mut(call) {
                    call.arguments.push(&text);
                }
            }
            Event::Citation(Value::Object(citation)) if citation.text("url").is_some() => {
                self.citations.push((citation.raw.to_owned(), self.place.range()));
            }
            Event::Usage(counted) => self.usage.update(counted),
            Event::Finish { reason, .. } => self.finish = Some(reason),
            Event::Error(_) => self.has_failed = true,
            Event::Logprobs(items) => {
                if !self.logprobs.is_empty() {
                    self.logprobs.push(',');
                }
                self.logprobs.push_str(&items);
            }
            Event::Citation(_) | Event::EndOfPart | Event::Ping => {}
        }
    }

    pub(super) fn end(&mut self, out: &mut Vec<u8>) {
        if self.has_failed {
            return;
        }
        /// What is around the texts, in bytes.
        const AROUND: usize = 512;
        let texts = [&self.content, &self.reasoning, &self.refusal];
        out.reserve(texts.iter().map(|text| text.0.len()).sum::<usize>() + AROUND);
        let mut document = Writer::new(std::mem::take(out));
        document.object(|out| {
            let (id, model) = (self.id.as_ref(), self.model.as_ref());
            head_of(&self.asked, "chat.completion", id, model, self.created, out);
            out.array_at("choices", |out| {
                out.object(|out| {
                    out.raw_at("index", "0");
                    out.object_at("message", |out| self.message(out));
                    logprobs_at(&self.logprobs, out);
                    let reason = self.finish.unwrap_or(Finish::Stop);
                    out.str_at("finish_reason", usage::finish_reason(reason));
                });
            });
            usage::write_at(&self.usage, out);
        });
        *out = document.finish();
    }

    fn message(&self, out: &mut Writer) {
        out.str_at("role", "assistant");
        if self.content.is_empty() && !(self.calls.is_empty() && self.refusal.is_empty()) {
            out.raw_at("content", "null");
        } else {
            out.text_at("content", &self.content.text());
        }
        if self.refusal.is_empty() {
            out.raw_at("refusal", "null");
        } else {
            out.text_at("refusal", &self.refusal.text());
        }
        if !self.reasoning.is_empty() {
            out.text_at("reasoning_content", &self.reasoning.text());
        }
        if !self.blocks.is_empty() {
            out.array_at("thinking_blocks", |out| self.blocks.iter().for_each(|block| block.write(out)));
        }
        if !self.calls.is_empty() {
            out.array_at("tool_calls", |out| self.calls.iter().for_each(|call| call.write(out)));
        }
        if !self.citations.is_empty() {
            out.array_at("annotations", |out| {
                for (citation, range) in &self.citations {
                    if let Ok(Value::Object(citation)) = parse(citation.as_bytes()) {
                        annotation(&citation, *range, None, out);
                    }
                }
            });
        }
    }
}

impl Block {
    fn write(&self, out: &mut Writer) {
        out.object(|out| match self {
            Self::Thinking { text, signature } => {
                out.str_at("type", "thinking");
                out.text_at("thinking", &text.text());
                if let Some(signature) = signature {
                    out.text_at("signature", &signature.text());
                }
            }
            Self::Redacted(data) => {
                out.str_at("type", "redacted_thinking");
                out.text_at("data", &data.text());
            }
        });
    }
}

impl Call {
    fn write(&self, out: &mut Writer) {
        out.object(|out| {
            out.text_at("id", &self.id.text());
            out.str_at("type", "function");
            out.object_at("function", |out| {
                out.text_at("name", &self.name.text());
                let arguments =
                    if self.arguments.is_empty() { Text::Escaped("{}") } else { self.arguments.text() };
                out.text_at("arguments", &arguments);
            });
            signature_at(self.signature.as_ref().map(Escaped::text).as_ref(), out);
        });
    }
}
