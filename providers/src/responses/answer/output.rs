//! The response's output: items, each of which begins, grows and ends in events of its own.
//!
//! Messages and thoughts follow one another. Calls of tools may be open together, since some upstreams mix the pieces of
//! their arguments; they end together, or when the upstream says so. An end that the upstream tells of is written with what
//! comes next: only then it is known whether the part is complete or was cut.

mod item;

pub(super) use self::item::Ending;
use self::item::{Item, Kind, Message, Part};
use super::sink::Sink;
use crate::json::{Text, Value, Writer as Json};
use crate::responses::thought::Carried;

/// What an item or a part takes besides its text, for the account of [`Output::held_bytes`].
const OVERHEAD_BYTES: usize = 512;

/// The output so far.
#[derive(Debug, Default)]
pub(super) struct Output {
    /// What the items' ids are made of.
    base: String,
    /// The items that ended, as they are written, with commas in between.
    done: String,
    /// The place of the next item.
    next: usize,
    /// The items that did not end: one, or several calls.
    open: Vec<Item>,
    /// The upstream says that what is open has ended.
    is_ended: bool,
    held_bytes: usize,
}

impl Output {
    /// Makes the items' ids of `base`.
    pub(super) fn name(&mut self, base: String) {
        self.base = base;
    }

    /// How much is kept, in bytes.
    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Writes the items that ended into an array.
    pub(super) fn write(&self, json: &mut Json) {
        if !self.done.is_empty() {
            json.raw(&self.done);
        }
    }

    /// A piece of a message's text, or of a refusal's.
    pub(super) fn text(&mut self, text: &Text<'_>, is_refusal: bool, sink: &mut Sink<'_>) {
        if text.is_empty() {
            return;
        }
        if !matches!(self.open.last(), Some(Item { kind: Kind::Message(_), .. })) {
            self.close(Ending::Completed, sink);
            self.open("msg", Kind::Message(Message::default()), sink);
        }
        let is_ended = std::mem::take(&mut self.is_ended);
        let Some(Item { index, id, kind: Kind::Message(message) }) = self.open.last_mut() else { return };
        if message.part.as_ref().is_some_and(|part| is_ended || part.is_refusal != is_refusal) {
            message.close_part(*index, id, sink);
        }
        if message.part.is_none() {
            self.held_bytes += OVERHEAD_BYTES;
            message.open_part(Part::new(is_refusal), *index, id, sink);
        }
        if let Some(part) = &mut message.part {
            self.held_bytes += append(&mut part.text, text);
        }
        let kind = if is_refusal { "response.refusal.delta" } else { "response.output_text.delta" };
        sink.event(kind, |json| {
            json.str_at("item_id", id);
            json.u64_at("output_index", *index);
            json.u64_at("content_index", message.count);
            json.text_at("delta", text);
            if !is_refusal {
                json.raw_at("logprobs", "[]");
            }
        });
    }

    /// Where the text that came last is from. What names no address has no place in this API.
    pub(super) fn citation(&mut self, citation: &Value<'_>) {
        let Some(Item { kind: Kind::Message(message), .. }) = self.open.last_mut() else { return };
        let Some(part) = message.part.as_mut().filter(|part| !part.is_refusal) else { return };
        let Some(citation) = citation.as_object() else { return };
        let Some(url) = citation.text("url").or_else(|| citation.text("source")) else { return };
        let (mut address, mut title) = (String::new(), String::new());
        self.held_bytes += OVERHEAD_BYTES + append(&mut address, url);
        if let Some(name) = citation.text("title") {
            self.held_bytes += append(&mut title, name);
        }
        part.citations.push((address, title));
    }

    /// A piece of a thought.
    pub(super) fn thought(&mut self, text: &Text<'_>, sink: &mut Sink<'_>) {
        if text.is_empty() {
            return;
        }
        if self.is_ended || !matches!(self.open.last(), Some(Item { kind: Kind::Thought { .. }, .. })) {
            self.close(Ending::Completed, sink);
            self.open("rs", Kind::Thought { text: String::new(), carried: None }, sink);
        }
        let Some(Item { index, id, kind: Kind::Thought { text: held, .. } }) = self.open.last_mut() else {
            return;
        };
        if held.is_empty() {
            sink.event("response.reasoning_summary_part.added", |json| {
                json.str_at("item_id", id);
                json.u64_at("output_index", *index);
                json.u64_at("summary_index", 0);
                json.raw_at("part", r#"{"type":"summary_text","text":""}"#);
            });
        }
        self.held_bytes += append(held, text);
        sink.event("response.reasoning_summary_text.delta", |json| {
            json.str_at("item_id", id);
            json.u64_at("output_index", *index);
            json.u64_at("summary_index", 0);
            json.text_at("delta", text);
        });
    }

    /// The signature of the thought that is open, or of one without words.
    pub(super) fn signature(&mut self, signature: Text<'_>, sink: &mut Sink<'_>) {
        if let Some(Item { kind: Kind::Thought { carried, .. }, .. }) = self.open.last_mut() {
            self.held_bytes += carry(carried, &Carried::Signature(signature));
            self.close(Ending::Completed, sink);
        } else {
            self.carrier(&Carried::Signature(signature), sink);
        }
    }

    /// A thought that is encrypted.
    pub(super) fn redacted(&mut self, thought: Text<'_>, sink: &mut Sink<'_>) {
        self.carrier(&Carried::Redacted(thought), sink);
    }

    /// A reasoning item that says nothing, and carries this.
    fn carrier(&mut self, what: &Carried<'_>, sink: &mut Sink<'_>) {
        self.close(Ending::Completed, sink);
        let mut carried = None;
        self.held_bytes += carry(&mut carried, what);
        self.open("rs", Kind::Thought { text: String::new(), carried }, sink);
        self.close(Ending::Completed, sink);
    }

    /// A call of a tool begins.
    pub(super) fn call(
        &mut self,
        call: usize,
        id: &Text<'_>,
        name: &Text<'_>,
        signature: Option<Text<'_>>,
        sink: &mut Sink<'_>,
    ) {
        if let Some(signature) = signature {
            self.carrier(&Carried::Call(signature), sink);
        }
        let is_call = matches!(self.open.last(), Some(Item { kind: Kind::Call { .. }, .. }));
        if self.is_ended || !is_call {
            self.close(Ending::Completed, sink);
        }
        let (mut call_id, mut called) = (String::new(), String::new());
        self.held_bytes += append(&mut call_id, id) + append(&mut called, name);
        self.open("fc", Kind::Call { call, call_id, name: called, arguments: String::new() }, sink);
    }

    /// A piece of a call's arguments. One for a call that is not open has come too late.
    pub(super) fn arguments(&mut self, of: usize, text: &Text<'_>, sink: &mut Sink<'_>) {
        if text.is_empty() || self.is_ended {
            return;
        }
        for item in self.open.iter_mut().rev() {
            if let Kind::Call { call, arguments, .. } = &mut item.kind
                && *call == of
            {
                self.held_bytes += append(arguments, text);
                item.arguments_event(text, sink);
                return;
            }
        }
    }

    /// What is open has ended.
    pub(super) fn end_part(&mut self) {
        self.is_ended = !self.open.is_empty();
    }

    /// Ends what is open, the last of it in this way.
    pub(super) fn close(&mut self, ending: Ending, sink: &mut Sink<'_>) {
        self.is_ended = false;
        let last = self.open.len();
        for (nth, item) in self.open.drain(..).enumerate() {
            let ending = if nth + 1 == last { ending } else { Ending::Completed };
            let written = item.close(ending, sink);
            if !self.done.is_empty() {
                self.done.push(',');
            }
            self.done.push_str(&written);
        }
    }

    fn open(&mut self, prefix: &str, kind: Kind, sink: &mut Sink<'_>) {
        self.held_bytes += OVERHEAD_BYTES;
        let index = self.next;
        self.next += 1;
        let item = Item { index: index as u64, id: format!("{prefix}_{}_{index}", self.base), kind };
        item.added_event(sink);
        self.open.push(item);
    }
}

/// Adds `text` to the end of `held`, which is escaped. Returns how many bytes it took.
fn append(held: &mut String, text: &Text<'_>) -> usize {
    let before = held.len();
    match text {
        Text::Escaped(escaped) => held.push_str(escaped),
        Text::Plain(_) => {
            let mut json = Json::default();
            json.text(text);
            let quoted = String::from_utf8(json.finish()).unwrap_or_default();
            held.push_str(quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default());
        }
    }
    held.len() - before
}

/// Keeps what is carried, escaped. Returns how many bytes it takes.
fn carry(held: &mut Option<String>, what: &Carried<'_>) -> usize {
    let mut written = String::new();
    let bytes = what.pieces().iter().map(|piece| append(&mut written, piece)).sum();
    *held = Some(written);
    bytes
}
