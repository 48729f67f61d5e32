//! The calls of tools in an upstream's answer, whole or in pieces.

use crate::alias::Aliases;
use crate::answer::Event;
use crate::json::{Object, Text, Value};
use crate::translation::Broken;

/// The most calls of one answer: more are an upstream's fault.
const MAX_CALLS: usize = 1024;

/// The most bytes of arguments that wait for the names of their tools, of all calls together.
const MAX_HELD_BYTES: usize = 1024 * 1024;

/// The calls so far.
#[derive(Debug, Default)]
pub(super) struct Calls {
    /// Makes ids for calls that have none.
    request_id: String,
    /// Names that the request had for its tools.
    aliases: Aliases,
    calls: Vec<Call>,
    /// Bytes of arguments that wait.
    held_bytes: usize,
}

#[derive(Debug)]
struct Call {
    /// What the upstream calls it.
    index: u64,
    id: String,
    has_begun: bool,
    /// Arguments that came before the tool's name.
    held: String,
}

impl Calls {
    pub(super) fn new(request_id: &str, aliases: Aliases) -> Self {
        Self { request_id: request_id.to_owned(), aliases, calls: Vec::new(), held_bytes: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// Reads `tool_calls` of a delta or a message, and `function_call`, which it was before.
    ///
    /// # Errors
    /// There are too many, or a tool's name does not come.
    pub(super) fn read(&mut self, said: &Object<'_>, sink: &mut dyn FnMut(Event<'_>)) -> Result<(), Broken> {
        for call in said.items("tool_calls").iter().filter_map(Value::as_object) {
            let called = call.object("function");
            let signature = call.object("extra_content").and_then(|extra| extra.object("google"));
            let signature = signature.and_then(|google| google.text("thought_signature"));
            self.piece(call.u64("index"), call.text("id"), called, signature, sink)?;
        }
        if let Some(called) = said.object("function_call") {
            self.piece(Some(0), None, Some(called), None, sink)?;
        }
        Ok(())
    }

    fn piece(
        &mut self,
        index: Option<u64>,
        id: Option<&Text<'_>>,
        called: Option<&Object<'_>>,
        signature: Option<&Text<'_>>,
        sink: &mut dyn FnMut(Event<'_>),
    ) -> Result<(), Broken> {
        let id = id.filter(|id| !id.is_empty());
        let name = called.and_then(|called| called.text("name")).filter(|name| !name.is_empty());
        let number = self.number(index, id, name.is_some())?;
        let Some(call) = self.calls.get_mut(number) else { return Ok(()) };
        if let (Some(id), true) = (id, call.id.is_empty()) {
            call.id = id.decoded().into_owned();
        }
        if let (Some(name), false) = (name, call.has_begun) {
            if call.id.is_empty() {
                call.id = format!("call_{}_{number}", self.request_id);
            }
            call.has_begun = true;
            let (id, alias) = (Text::from(call.id.as_str()), name.decoded());
            let name = Text::from(self.aliases.name(&alias));
            sink(Event::ToolCall { call: number, id, name, signature: signature.cloned() });
            let held = std::mem::take(&mut call.held);
            self.held_bytes -= held.len();
            if !held.is_empty() {
                sink(Event::Arguments { call: number, text: Text::from(held) });
            }
        }
        match called.and_then(|called| called.get("arguments")) {
            Some(Value::String(text)) if call.has_begun && !text.is_empty() => {
                sink(Event::Arguments { call: number, text: text.clone() });
            }
            Some(Value::String(text)) if !text.is_empty() => {
                let text = text.decoded();
                self.held_bytes += text.len();
                call.held.push_str(&text);
                if self.held_bytes > MAX_HELD_BYTES {
                    return Err(Broken::Unreadable("a call has arguments and no tool's name".to_owned()));
                }
            }
            // Some servers send the object itself.
            Some(Value::Object(object)) if call.has_begun => {
                sink(Event::Arguments { call: number, text: Text::from(object.raw) });
            }
            _ => {}
        }
        Ok(())
    }

    /// Which call of the answer a piece is of. Some servers number none, and some number all the same.
    fn number(&mut self, index: Option<u64>, id: Option<&Text<'_>>, has_name: bool) -> Result<usize, Broken> {
        let by_id = id.and_then(|id| self.calls.iter().position(|call| *id == call.id.as_str()));
        let by_index = match index {
            Some(index) => self.calls.iter().rposition(|call| call.index == index),
            None => self.calls.len().checked_sub(1),
        };
        let is_another = |call: &Call| {
            id.is_some() && has_name && !call.id.is_empty() && by_id.is_none() && call.has_begun
        };
        match by_id.or(by_index).and_then(|number| Some((number, self.calls.get(number)?))) {
            // Without a number, a name begins a call as well.
            Some((number, call))
                if !is_another(call) && (index.is_some() || by_id.is_some() || !has_name) =>
            {
                Ok(number)
            }
            _ if self.calls.len() >= MAX_CALLS => {
                Err(Broken::Unreadable(format!("it calls more than {MAX_CALLS} tools")))
            }
            _ => {
                let index = index.unwrap_or(self.calls.len() as u64);
                self.calls.push(Call { index, id: String::new(), has_begun: false, held: String::new() });
                Ok(self.calls.len() - 1)
            }
        }
    }

    /// Ends the calls.
    ///
    /// # Errors
    /// One of them has arguments, and is of no tool.
    pub(super) fn finish(&self) -> Result<(), Broken> {
        match self.calls.iter().find(|call| !call.has_begun) {
            Some(_) => Err(Broken::Unreadable("a call is of no tool: it has no name".to_owned())),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::parse;

    #[test]
    fn calls_without_names_share_what_may_wait() {
        let mut calls = Calls::new("r", Aliases::default());
        let half = "x".repeat(MAX_HELD_BYTES / 2 + 1);
        let delta = |index: usize, name: &str| {
            format!(r#"{{"tool_calls":[{{"index":{index},"function":{{{name}"arguments":"{half}"}}}}]}}"#)
        };
        let mut read = |delta: String| {
            let delta = parse(delta.as_bytes()).unwrap();
            calls.read(delta.as_object().unwrap(), &mut |_| {})
        };
        read(delta(0, "")).unwrap();
        // What has its name waits no longer.
        read(delta(0, r#""name":"a","#)).unwrap();
        read(delta(1, "")).unwrap();
        assert!(read(delta(2, "")).is_err());
    }
}
