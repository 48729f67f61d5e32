use serde_json::json;

use super::*;
use crate::conversation::{Arguments, Format, Reasoning, Source, Tool, ToolChoice, Turn};
use crate::json::{Text, Value, parse};

mod content;
mod features;

const CLAUDE: &str = "anthropic.claude-sonnet-4-6";
const OLD_CLAUDE: &str = "us.anthropic.claude-3-7-sonnet-20250219-v1:0";
const LLAMA: &str = "meta.llama3-1-70b-instruct-v1:0";
const NOVA: &str = "us.amazon.nova-pro-v1:0";
const PROFILE: &str = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc123";

fn value(text: &'static str) -> Value<'static> {
    parse(text.as_bytes()).unwrap()
}

fn text(text: &'static str) -> Part<'static> {
    Part::text(Text::Escaped(text))
}

fn marked(part: Part<'static>, mark: &'static str) -> Part<'static> {
    Part { cache: Some(value(mark)), ..part }
}

fn call(id: &'static str, name: &'static str, arguments: &'static str) -> Part<'static> {
    let arguments = Arguments::Written(Text::plain(arguments));
    Part::new(Content::ToolCall { id: id.into(), name: name.into(), arguments, signature: None })
}

fn result(id: &'static str, parts: Vec<Part<'static>>) -> Part<'static> {
    Part::new(Content::ToolResult { id: id.into(), parts, is_error: false })
}

fn thought(words: &'static str, signature: Option<&'static str>) -> Part<'static> {
    Part::new(Content::Reasoning { text: words.into(), signature: signature.map(Text::from) })
}

fn user(parts: Vec<Part<'static>>) -> Turn<'static> {
    Turn { role: Role::User, parts }
}

fn assistant(parts: Vec<Part<'static>>) -> Turn<'static> {
    Turn { role: Role::Assistant, parts }
}

fn tool(name: &'static str) -> Tool<'static> {
    Tool {
        name: name.into(),
        description: Some("Finds things".into()),
        parameters: Some(value(r#"{"type":"object","properties":{"q":{"type":"string"}}}"#)),
        is_strict: None,
        cache: None,
        other: None,
    }
}

fn asked(model: &'static str, turns: Vec<Turn<'static>>) -> Conversation<'static> {
    Conversation { model: Some(model.into()), turns, ..Conversation::default() }
}

fn hello(model: &'static str) -> Conversation<'static> {
    asked(model, vec![user(vec![text("hello")])])
}

/// The body, and what was left out.
fn written(conversation: &Conversation<'_>) -> (serde_json::Value, Vec<String>) {
    written_with(conversation, &[])
}

fn written_with(conversation: &Conversation<'_>, betas: &[&str]) -> (serde_json::Value, Vec<String>) {
    let (mut aliases, mut notes) = (Aliases::default(), Notes::default());
    let body = write(conversation, betas, &mut aliases, &mut notes).unwrap();
    let dropped = notes.names().iter().map(ToString::to_string).collect();
    (serde_json::from_slice(&body.concat(b"")).unwrap(), dropped)
}

fn body(conversation: &Conversation<'_>) -> serde_json::Value {
    let (body, dropped) = written(conversation);
    assert_eq!(dropped, [""; 0]);
    body
}

fn refused(conversation: &Conversation<'_>) -> Refused {
    write(conversation, &[], &mut Aliases::default(), &mut Notes::default()).unwrap_err()
}
