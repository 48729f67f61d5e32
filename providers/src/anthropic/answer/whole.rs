//! An answer that is written as a whole.

use super::form::{append, call_id};
use crate::answer::Event;
use crate::json::{self, Text, Value, Writer};

/// What arguments that are no object are kept under: what Anthropic advises for them, so that the model sees what it wrote.
const INVALID_JSON: &str = "INVALID_JSON";

/// Puts the content of an answer together.
#[derive(Debug)]
pub(super) struct Whole {
    /// What ids of calls are made of that have none.
    request_id: String,
    blocks: Vec<Block>,
    /// The last block has ended.
    is_closed: bool,
    calls: usize,
}

/// A block. Texts and arguments are as they stand between quotes: pieces may have halves of a character.
#[derive(Debug)]
enum Block {
    Text { text: String, citations: Vec<String> },
    Thinking { text: String, signature: String },
    Redacted(String),
    Call { call: usize, id: String, name: String, arguments: String },
}

impl Whole {
    pub(super) fn new(request_id: String) -> Self {
        Self { request_id, blocks: Vec::new(), is_closed: false, calls: 0 }
    }

    /// Whether a tool was called.
    pub(super) fn has_called(&self) -> bool {
        self.calls > 0
    }

    /// Takes what happens within the answer.
    pub(super) fn write(&mut self, event: Event<'_>) {
        match event {
            Event::Text(piece) | Event::Refusal(piece) if !piece.is_empty() => {
                if self.is_closed || !matches!(self.blocks.last(), Some(Block::Text { .. })) {
                    self.push(Block::Text { text: String::new(), citations: Vec::new() });
                }
                if let Some(Block::Text { text, .. }) = self.blocks.last_mut() {
                    append(text, &piece);
                }
            }
            Event::Reasoning(piece) if !piece.is_empty() => {
                self.think();
                if let Some(Block::Thinking { text, .. }) = self.blocks.last_mut() {
                    append(text, &piece);
                }
            }
            Event::Signature(piece) => {
                self.think();
                if let Some(Block::Thinking { signature, .. }) = self.blocks.last_mut() {
                    append(signature, &piece);
                }
                self.is_closed = true;
            }
            Event::Redacted(piece) => {
                let mut data = String::new();
                append(&mut data, &piece);
                self.push(Block::Redacted(data));
            }
            Event::Citation(citation) => {
                if let Some(Block::Text { citations, .. }) = self.blocks.last_mut() {
                    let mut json = Writer::default();
                    json.value(&citation);
                    citations.push(String::from_utf8(json.finish()).unwrap_or_default());
                }
            }
            Event::ToolCall { call, id, name, signature } if call >= self.calls => {
                self.calls = call.saturating_add(1);
                let id = call_id(&id, signature.as_ref(), call, &self.request_id);
                let name = name.decoded().into_owned();
                self.push(Block::Call { call, id, name, arguments: String::new() });
            }
            Event::Arguments { call: of, text } => {
                let call = self.blocks.iter_mut().rev().find_map(|block| match block {
                    Block::Call { call, arguments, .. } if *call == of => Some(arguments),
                    _ => None,
                });
                if let Some(arguments) = call {
                    append(arguments, &text);
                }
            }
            Event::EndOfPart => self.is_closed = true,
            _ => {}
        }
    }

    fn push(&mut self, block: Block) {
        self.blocks.push(block);
        self.is_closed = false;
    }

    /// Begins a thought, unless one is open.
    fn think(&mut self) {
        let is_open = matches!(self.blocks.last(), Some(Block::Thinking { .. }));
        if self.is_closed || !is_open {
            self.push(Block::Thinking { text: String::new(), signature: String::new() });
        }
    }

    /// Writes the content.
    pub(super) fn write_content(&self, json: &mut Writer) {
        json.array_at("content", |json| {
            for block in &self.blocks {
                json.object(|json| block.write(json));
            }
        });
    }
}

impl Block {
    fn write(&self, json: &mut Writer) {
        match self {
            Self::Text { text, citations } => {
                json.str_at("type", "text");
                json.text_at("text", &Text::Escaped(text));
                if !citations.is_empty() {
                    json.array_at("citations", |json| citations.iter().for_each(|raw| json.raw(raw)));
                }
            }
            Self::Thinking { text, signature } => {
                json.str_at("type", "thinking");
                json.text_at("thinking", &Text::Escaped(text));
                json.text_at("signature", &Text::Escaped(signature));
            }
            Self::Redacted(data) => {
                json.str_at("type", "redacted_thinking");
                json.text_at("data", &Text::Escaped(data));
            }
            Self::Call { id, name, arguments, .. } => {
                json.str_at("type", "tool_use");
                json.str_at("id", id);
                json.str_at("name", name);
                let arguments = Text::Escaped(arguments);
                match json::parse(arguments.decoded().as_bytes()) {
                    Ok(Value::Object(object)) => json.raw_at("input", object.raw),
                    _ if arguments.is_blank() => json.raw_at("input", "{}"),
                    _ => json.object_at("input", |json| json.text_at(INVALID_JSON, &arguments)),
                }
            }
        }
    }
}
