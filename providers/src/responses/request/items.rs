//! The input: a string, or items, of which those of the model that follow one another are one turn.

use super::fields::{Place, items, required_text, says_something, text};
use super::parts::{self, Of};
use crate::conversation::{Arguments, Content, Conversation, Notes, Part, Refused, Role, Turn};
use crate::json::{Object, Text, Value, Writer};
use crate::responses::thought::Carried;

/// Reads the input into the conversation's turns and instructions.
pub(super) fn read<'a>(
    input: Option<&Value<'a>>,
    conversation: &mut Conversation<'a>,
    notes: &mut Notes,
) -> Result<(), Refused> {
    let at = Place::Root.member("input");
    let mut reader = Reader { conversation, at: 0, notes, call_signature: None };
    match input {
        Some(Value::String(text)) => reader.turn(Role::User, vec![Part::text(text.clone())]),
        Some(Value::Array(array)) => {
            for (index, item) in array.items.iter().enumerate() {
                let at = at.item(index);
                let Value::Object(item) = item else { return Err(at.wrong("an object", item)) };
                reader.at = index;
                reader.item(item, &at)?;
            }
        }
        Some(other) => return Err(at.wrong("a string or an array of items", other)),
        None => return Err(at.refuse("is missing, and has to be a string or an array of items")),
    }
    Ok(())
}

struct Reader<'r, 'a> {
    conversation: &'r mut Conversation<'a>,
    /// Which item is read.
    at: usize,
    notes: &'r mut Notes,
    /// The signature of the call that the next item is.
    call_signature: Option<Text<'a>>,
}

impl<'a> Reader<'_, 'a> {
    fn item(&mut self, item: &Object<'a>, at: &Place<'_>) -> Result<(), Refused> {
        let kind = match text(item, "type", at)? {
            Some(kind) => kind.decoded(),
            None if item.get("role").is_some() => "message".into(),
            None if item.get("id").is_some() => "item_reference".into(),
            None => return Err(at.member("type").refuse("is missing: say what the item is")),
        };
        let signature = self.call_signature.take();
        match &*kind {
            "message" => self.message(item, at),
            "function_call" => {
                let arguments = Arguments::Written(required_text(item, "arguments", at)?);
                self.call(item, arguments, signature, at)
            }
            "custom_tool_call" => {
                let arguments = as_arguments(&required_text(item, "input", at)?);
                self.call(item, arguments, signature, at)
            }
            "function_call_output" | "custom_tool_call_output" => self.result(item, at),
            "reasoning" => self.thought(item, at),
            "item_reference" => Err(at.refuse(
                "nothing is stored that an item could refer to: send the item itself, with all its members, as \
                 clients do that are set to store: false",
            )),
            "compaction" | "compaction_trigger" => {
                Err(at.refuse("a compacted conversation can be read by its provider only: send its items"))
            }
            other => {
                // A tool of the provider's that ran earlier, which upstreams of conversations do not know.
                let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
                let is_short = other.len() <= 40 && other.bytes().all(is_name);
                self.notes.dropped(format!("input[].{}", if is_short { other } else { "type" }));
                Ok(())
            }
        }
    }

    fn message(&mut self, item: &Object<'a>, at: &Place<'_>) -> Result<(), Refused> {
        if says_something(item, "phase") {
            self.notes.dropped("input[].phase");
        }
        let role = required_text(item, "role", at)?.decoded();
        let of = match &*role {
            "user" => Of::User,
            "assistant" => Of::Assistant,
            "system" | "developer" => Of::System,
            _ => {
                let message = "has to be user, assistant, system or developer";
                return Err(at.member("role").refuse(message));
            }
        };
        let mut parts = parts::read(item.get("content"), of, &at.member("content"), self.notes)?;
        Part::number(&mut parts, "input", self.at);
        match of {
            Of::System => self.conversation.system.extend(parts),
            Of::Assistant => {
                self.end_message();
                self.said(parts);
            }
            Of::User | Of::Tool => self.turn(Role::User, parts),
        }
        Ok(())
    }

    fn call(
        &mut self,
        item: &Object<'a>,
        arguments: Arguments<'a>,
        signature: Option<Text<'a>>,
        at: &Place<'_>,
    ) -> Result<(), Refused> {
        if says_something(item, "namespace") {
            self.notes.dropped("input[].namespace");
        }
        let content = Content::ToolCall {
            id: required_text(item, "call_id", at)?,
            name: required_text(item, "name", at)?,
            arguments,
            signature,
        };
        self.said(vec![Part::new(content)]);
        Ok(())
    }

    fn result(&mut self, item: &Object<'a>, at: &Place<'_>) -> Result<(), Refused> {
        let id = required_text(item, "call_id", at)?;
        let mut parts = parts::read(item.get("output"), Of::Tool, &at.member("output"), self.notes)?;
        // They are in no content.
        parts.iter_mut().for_each(|part| part.place = None);
        let part = Part::new(Content::ToolResult { id, parts, is_error: false });
        match self.conversation.turns.last_mut() {
            Some(turn) if matches!(turn.parts.last(), Some(last) if is_result(last)) => turn.parts.push(part),
            _ => self.turn(Role::User, vec![part]),
        }
        Ok(())
    }

    /// A reasoning item: its text is its content, or what it has as a summary. A provider other than the one that
    /// encrypted it gets that text only.
    fn thought(&mut self, item: &Object<'a>, at: &Place<'_>) -> Result<(), Refused> {
        let content = texts(item, "content", at)?;
        let summary = texts(item, "summary", at)?;
        let encrypted = text(item, "encrypted_content", at)?;
        let carried = encrypted.as_ref().and_then(Carried::read);
        if carried.is_none() && encrypted.is_some_and(|encrypted| !encrypted.is_empty()) {
            self.notes.dropped("input[].encrypted_content");
        }
        self.end_message();
        let signature = match carried {
            Some(Carried::Call(signature)) => {
                self.call_signature = Some(signature);
                None
            }
            Some(Carried::Redacted(thought)) => {
                self.said(vec![Part::new(Content::Redacted(thought))]);
                None
            }
            Some(Carried::Signature(signature)) => Some(signature),
            None => None,
        };
        let text = content.or(summary).unwrap_or_else(|| "".into());
        if !text.is_empty() || signature.is_some() {
            self.said(vec![Part::new(Content::Reasoning { text, signature })]);
        }
        Ok(())
    }

    /// The model's next message or thought is a turn of its own if its last one ended in a message. It is not after a
    /// call: calls of one turn stay together, since their results follow together.
    fn end_message(&mut self) {
        let Some(turn) = self.conversation.turns.last() else { return };
        let is_said = |part: &Part<'_>| matches!(part.content, Content::Text(_) | Content::Refusal(_));
        let is_call = |part: &Part<'_>| matches!(part.content, Content::ToolCall { .. });
        if turn.role == Role::Assistant && turn.parts.iter().any(is_said) && !turn.parts.iter().any(is_call) {
            self.turn(Role::Assistant, Vec::new());
        }
    }

    /// Adds to what the model says.
    fn said(&mut self, parts: Vec<Part<'a>>) {
        match self.conversation.turns.last_mut() {
            Some(turn) if turn.role == Role::Assistant => turn.parts.extend(parts),
            _ => self.turn(Role::Assistant, parts),
        }
    }

    fn turn(&mut self, role: Role, parts: Vec<Part<'a>>) {
        self.conversation.turns.push(Turn { role, parts });
    }
}

fn is_result(part: &Part<'_>) -> bool {
    matches!(part.content, Content::ToolResult { .. })
}

/// The input of a custom tool as the arguments of a function that has this one.
fn as_arguments<'a>(input: &Text<'a>) -> Arguments<'a> {
    let mut out = Writer::default();
    out.object(|out| out.text_at("input", input));
    let written = String::from_utf8_lossy(&out.finish()).into_owned();
    Arguments::Written(written.into())
}

/// The texts of a reasoning item's member, as one; `None` if there is none.
fn texts<'a>(item: &Object<'a>, name: &str, at: &Place<'_>) -> Result<Option<Text<'a>>, Refused> {
    let place = at.member(name);
    let mut texts = Vec::new();
    for (index, part) in items(item, name, at)?.iter().enumerate() {
        let at = place.item(index);
        let Value::Object(part) = part else { return Err(at.wrong("an object", part)) };
        texts.push(required_text(part, "text", &at)?);
    }
    Ok(match texts.as_slice() {
        [] => None,
        [text] => Some(text.clone()),
        several => {
            let decoded: Vec<_> = several.iter().map(Text::decoded).collect();
            Some(decoded.join("\n\n").into())
        }
    })
}
