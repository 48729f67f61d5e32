//! An item of the output, while it grows. Texts are kept escaped, as they go into each of the events that repeat them.

use crate::json::{Text, Writer as Json};
use crate::responses::answer::sink::Sink;

/// An item that did not end.
#[derive(Debug)]
pub(super) struct Item {
    /// Its place in the output.
    pub(super) index: u64,
    /// Its id.
    pub(super) id: String,
    /// What it is.
    pub(super) kind: Kind,
}

/// What an item is.
#[derive(Debug)]
pub(super) enum Kind {
    /// A message.
    Message(Message),
    /// A thought.
    Thought {
        /// In words.
        text: String,
        /// What it carries for its provider.
        carried: Option<String>,
    },
    /// A call of a tool.
    Call {
        /// Which call of the answer it is.
        call: usize,
        /// The upstream's id.
        call_id: String,
        /// The tool.
        name: String,
        /// Its arguments.
        arguments: String,
    },
}

/// A message's parts.
#[derive(Debug, Default)]
pub(super) struct Message {
    /// Those that ended, as they are written, with commas in between.
    pub(super) done: String,
    /// How many these are: the place of the next one.
    pub(super) count: u64,
    /// The one that did not.
    pub(super) part: Option<Part>,
}

/// A part of a message.
#[derive(Debug)]
pub(super) struct Part {
    /// Whether it is a refusal.
    pub(super) is_refusal: bool,
    /// What it says.
    pub(super) text: String,
    /// Addresses and titles of what it is from.
    pub(super) citations: Vec<(String, String)>,
}

/// How an item ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::responses::answer) enum Ending {
    /// Whole.
    Completed,
    /// Cut.
    Incomplete,
}

impl Item {
    /// Tells that it begins.
    pub(super) fn added_event(&self, sink: &mut Sink<'_>) {
        sink.event("response.output_item.added", |json| {
            json.u64_at("output_index", self.index);
            json.key("item");
            self.write("in_progress", json);
        });
    }

    /// Tells of a piece of a call's arguments.
    pub(super) fn arguments_event(&self, piece: &Text<'_>, sink: &mut Sink<'_>) {
        sink.event("response.function_call_arguments.delta", |json| {
            json.str_at("item_id", &self.id);
            json.u64_at("output_index", self.index);
            json.text_at("delta", piece);
        });
    }

    /// Tells that it ends, and gives it as it is written.
    pub(super) fn close(mut self, ending: Ending, sink: &mut Sink<'_>) -> String {
        let Self { index, id, kind } = &mut self;
        match kind {
            Kind::Message(message) => message.close_part(*index, id, sink),
            Kind::Thought { text, .. } if text.is_empty() => {}
            Kind::Thought { text, .. } => {
                let text = Text::Escaped(text);
                let place = |json: &mut Json| {
                    json.str_at("item_id", id);
                    json.u64_at("output_index", *index);
                    json.u64_at("summary_index", 0);
                };
                sink.event("response.reasoning_summary_text.done", |json| {
                    place(json);
                    json.text_at("text", &text);
                });
                sink.event("response.reasoning_summary_part.done", |json| {
                    place(json);
                    json.object_at("part", |json| {
                        json.str_at("type", "summary_text");
                        json.text_at("text", &text);
                    });
                });
            }
            Kind::Call { arguments, .. } => {
                if arguments.is_empty() && ending == Ending::Completed {
                    arguments.push_str("{}");
                    self.arguments_event(&Text::Escaped("{}"), sink);
                }
                self.arguments_done_event(sink);
            }
        }
        let mut json = Json::default();
        self.write(if ending == Ending::Completed { "completed" } else { "incomplete" }, &mut json);
        let written = String::from_utf8(json.finish()).unwrap_or_default();
        sink.event("response.output_item.done", |json| {
            json.u64_at("output_index", self.index);
            json.raw_at("item", &written);
        });
        written
    }

    fn arguments_done_event(&self, sink: &mut Sink<'_>) {
        let Kind::Call { name, arguments, .. } = &self.kind else { return };
        sink.event("response.function_call_arguments.done", |json| {
            json.str_at("item_id", &self.id);
            json.u64_at("output_index", self.index);
            json.text_at("name", &Text::Escaped(name));
            json.text_at("arguments", &Text::Escaped(arguments));
        });
    }

    fn write(&self, status: &str, json: &mut Json) {
        json.object(|json| {
            json.str_at("id", &self.id);
            match &self.kind {
                Kind::Message(message) => {
                    json.str_at("type", "message");
                    json.str_at("status", status);
                    json.str_at("role", "assistant");
                    json.array_at("content", |json| {
                        if !message.done.is_empty() {
                            json.raw(&message.done);
                        }
                    });
                }
                Kind::Thought { text, carried } => {
                    json.str_at("type", "reasoning");
                    json.array_at("summary", |json| {
                        if !text.is_empty() {
                            json.object(|json| {
                                json.str_at("type", "summary_text");
                                json.text_at("text", &Text::Escaped(text));
                            });
                        }
                    });
                    match carried {
                        Some(carried) => json.text_at("encrypted_content", &Text::Escaped(carried)),
                        None => json.raw_at("encrypted_content", "null"),
                    }
                }
                Kind::Call { call_id, name, arguments, .. } => {
                    json.str_at("type", "function_call");
                    json.str_at("status", status);
                    json.text_at("call_id", &Text::Escaped(call_id));
                    json.text_at("name", &Text::Escaped(name));
                    json.text_at("arguments", &Text::Escaped(arguments));
                }
            }
        });
    }
}

impl Message {
    /// Begins a part, and tells so.
    pub(super) fn open_part(&mut self, part: Part, index: u64, id: &str, sink: &mut Sink<'_>) {
        self.part_event("response.content_part.added", index, id, sink, |json| part.write(json, 0));
        self.part = Some(part);
    }

    /// Ends the part that is open, if there is one, and tells so.
    pub(super) fn close_part(&mut self, index: u64, id: &str, sink: &mut Sink<'_>) {
        let Some(part) = self.part.take() else { return };
        let text = Text::Escaped(&part.text);
        // A citation is of the whole part: its place is from the first character to the last.
        let characters = if part.citations.is_empty() { 0 } else { text.decoded().chars().count() as u64 };
        let place = |json: &mut Json| {
            json.str_at("item_id", id);
            json.u64_at("output_index", index);
            json.u64_at("content_index", self.count);
        };
        for (nth, citation) in part.citations.iter().enumerate() {
            sink.event("response.output_text.annotation.added", |json| {
                place(json);
                json.u64_at("annotation_index", nth as u64);
                json.key("annotation");
                annotation(citation, characters, json);
            });
        }
        if part.is_refusal {
            sink.event("response.refusal.done", |json| {
                place(json);
                json.text_at("refusal", &text);
            });
        } else {
            sink.event("response.output_text.done", |json| {
                place(json);
                json.text_at("text", &text);
                json.raw_at("logprobs", "[]");
            });
        }
        let mut json = Json::default();
        part.write(&mut json, characters);
        let written = String::from_utf8(json.finish()).unwrap_or_default();
        self.part_event("response.content_part.done", index, id, sink, |json| json.raw(&written));
        if !self.done.is_empty() {
            self.done.push(',');
        }
        self.done.push_str(&written);
        self.count += 1;
    }

    fn part_event(
        &self,
        kind: &str,
        index: u64,
        id: &str,
        sink: &mut Sink<'_>,
        part: impl FnOnce(&mut Json),
    ) {
        sink.event(kind, |json| {
            json.str_at("item_id", id);
            json.u64_at("output_index", index);
            json.u64_at("content_index", self.count);
            json.key("part");
            part(json);
        });
    }
}

impl Part {
    /// A part that says nothing yet.
    pub(super) fn new(is_refusal: bool) -> Self {
        Self { is_refusal, text: String::new(), citations: Vec::new() }
    }

    fn write(&self, json: &mut Json, characters: u64) {
        let text = Text::Escaped(&self.text);
        json.object(|json| {
            if self.is_refusal {
                json.str_at("type", "refusal");
                json.text_at("refusal", &text);
            } else {
                json.str_at("type", "output_text");
                json.text_at("text", &text);
                json.array_at("annotations", |json| {
                    for citation in &self.citations {
                        annotation(citation, characters, json);
                    }
                });
                json.raw_at("logprobs", "[]");
            }
        });
    }
}

fn annotation((address, title): &(String, String), characters: u64, json: &mut Json) {
    json.object(|json| {
        json.str_at("type", "url_citation");
        json.u64_at("start_index", 0);
        json.u64_at("end_index", characters);
        json.text_at("url", &Text::Escaped(address));
        json.text_at("title", &Text::Escaped(title));
    });
}
