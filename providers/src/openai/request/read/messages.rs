//! The messages.

use std::borrow::Cow;

use super::{leave, needed, object, parts, text, thinking, within, wrong};
use crate::conversation::{Arguments, Content, Conversation, Part, Refused, Role, Turn};
use crate::json::{Object, Text, Value};

/// Reads `messages` into `to`: instructions wherever they stand, and turns.
pub(super) fn read<'a>(body: &Object<'a>, to: &mut Conversation<'a>) -> Result<(), Refused> {
    let messages = body.get("messages").unwrap_or(&Value::Null);
    let Some(messages) = messages.as_items() else {
        return Err(wrong("messages", "an array of messages", messages));
    };
    let mut reader = Reader { to, at: 0, functions: 0 };
    for (at, value) in messages.iter().enumerate() {
        reader.at = at;
        let read = object("", value).and_then(|message| reader.message(message));
        read.map_err(|refused| within(&format!("messages[{at}]"), refused))?;
    }
    Ok(())
}

struct Reader<'r, 'a> {
    to: &'r mut Conversation<'a>,
    /// Which message is read.
    at: usize,
    /// Calls of functions in the old form, which have no ids, so far.
    functions: usize,
}

impl<'a> Reader<'_, 'a> {
    fn message(&mut self, message: &Object<'a>) -> Result<(), Refused> {
        match message.word("role") {
            Some("system" | "developer") => self.system(message),
            Some("user") => {
                let parts = parts::read(message, &mut self.to.rest)?;
                self.turn(Role::User, message, parts, &[]);
                Ok(())
            }
            Some("assistant") => self.assistant(message),
            Some("tool") => {
                let id = needed(message, "tool_call_id")?;
                self.result(message, id)
            }
            Some("function") => {
                let id = function_id(self.functions);
                self.result(message, id)
            }
            _ => Err(Refused::new(
                "role",
                "this has to be system, developer, user, assistant, tool or function",
            )),
        }
    }

    fn system(&mut self, message: &Object<'a>) -> Result<(), Refused> {
        let mut parts = parts::read(message, &mut self.to.rest)?;
        if let Some(at) = parts.iter().position(|part| !matches!(part.content, Content::Text(_))) {
            return Err(Refused::new(format!("content[{at}].type"), "instructions are texts only"));
        }
        self.mark(message, &mut parts, &[]);
        self.to.system.append(&mut parts);
        Ok(())
    }

    fn assistant(&mut self, message: &Object<'a>) -> Result<(), Refused> {
        let mut parts = thinking::read(message)?;
        let content = parts::read(message, &mut self.to.rest)?;
        // An empty text stands where there are only calls.
        parts.extend(
            content
                .into_iter()
                .filter(|part| !matches!(&part.content, Content::Text(text) if text.is_empty())),
        );
        if let Some(refusal) = message.text("refusal").filter(|refusal| !refusal.is_empty()) {
            parts.push(Part::new(Content::Refusal(refusal.clone())));
        }
        for (at, call) in message.items("tool_calls").iter().enumerate() {
            let call = object("", call).and_then(tool_call);
            parts.push(Part::new(call.map_err(|refused| within(&format!("tool_calls[{at}]"), refused))?));
        }
        if let Some(call) = message.get("function_call") {
            self.functions += 1;
            let id = function_id(self.functions);
            let call = object("", call).and_then(|call| function(call, id, None));
            parts.push(Part::new(call.map_err(|refused| within("function_call", refused))?));
        }
        self.turn(Role::Assistant, message, parts, &["refusal", "tool_calls", "function_call"]);
        Ok(())
    }

    fn result(&mut self, message: &Object<'a>, id: Text<'a>) -> Result<(), Refused> {
        let parts = parts::read(message, &mut self.to.rest)?;
        let result = Content::ToolResult { id, parts, is_error: false };
        let name = if message.word("role") == Some("function") { "name" } else { "tool_call_id" };
        self.turn(Role::User, message, vec![Part::new(result)], &[name]);
        Ok(())
    }

    fn turn(&mut self, role: Role, message: &Object<'a>, mut parts: Vec<Part<'a>>, known: &[&str]) {
        self.mark(message, &mut parts, known);
        Part::number(&mut parts, "messages", self.at);
        self.to.turns.push(Turn { role, parts });
    }

    /// Reads what messages of every role have: a cache mark, which is their last part's, and members that are `known`
    /// nowhere.
    fn mark(&mut self, message: &Object<'a>, parts: &mut [Part<'a>], known: &[&str]) {
        if let (Some(mark), Some(last)) = (message.get("cache_control"), parts.last_mut()) {
            last.cache.get_or_insert_with(|| mark.clone());
        }
        for (name, value) in &message.members {
            let is_known = match name.as_ref() {
                "role" | "content" | "cache_control" => true,
                "reasoning" | "reasoning_content" | "thinking_blocks" => {
                    message.word("role") == Some("assistant")
                }
                name => known.contains(&name),
            };
            if !is_known {
                leave(&mut self.to.rest, "messages[].", name, value);
            }
        }
    }
}

fn function_id(number: usize) -> Text<'static> {
    Text::plain(Cow::Owned(format!("call_{number}")))
}

fn tool_call<'a>(call: &Object<'a>) -> Result<Content<'a>, Refused> {
    if call.get("custom").is_some() {
        return Err(Refused::new(
            "custom",
            "this model's tools are functions: their calls are of type function",
        ));
    }
    let signature = call.object("extra_content").and_then(|extra| extra.object("google"));
    let signature = signature.and_then(|google| google.text("thought_signature")).cloned();
    let called = object("function", call.get("function").unwrap_or(&Value::Null))?;
    function(called, needed(call, "id")?, signature).map_err(|refused| within("function", refused))
}

fn function<'a>(
    function: &Object<'a>,
    id: Text<'a>,
    signature: Option<Text<'a>>,
) -> Result<Content<'a>, Refused> {
    let arguments = match function.get("arguments") {
        None => Arguments::Written(Text::Escaped("")),
        Some(value @ Value::Object(_)) => Arguments::Value(value.clone()),
        Some(value) => Arguments::Written(text("arguments", value)?),
    };
    Ok(Content::ToolCall { id, name: needed(function, "name")?, arguments, signature })
}
