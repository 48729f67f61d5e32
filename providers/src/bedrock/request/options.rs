//! All that is no message and no tool: limits, sampling, how to think, and what only some models know.

mod thinking;

use std::borrow::Cow;

use self::thinking::{Thinking, thinking};
use super::Turns;
use crate::bedrock::model::Family;
use crate::conversation::{Conversation, Format, Notes, Refused, ToolChoice};
use crate::json::{Text, Value, Writer};

/// Pairs of metadata that are taken, and the length of each half in characters.
const MAX_METADATA: usize = 16;
const MAX_METADATA_CHARACTERS: usize = 256;

/// How much of a name is noted that a client made up, in characters.
const MAX_NOTED: usize = 64;

/// Texts that end an answer.
const MAX_STOPS: usize = 2500;

/// The features under test of which one is needed for the member `context_management`.
const CONTEXT_MANAGEMENT: [&str; 2] = ["context-management-2025-06-27", "compact-2026-01-12"];

/// Members of a client's request in [`Conversation::rest`] that are seen to elsewhere.
const PLACED: [&str; 5] = ["anthropic_beta", "betas", "context_management", "metadata", "n"];

/// How such members begin that are pairs of Anthropic's `metadata`.
const METADATA: &str = "metadata.";

/// What is decided before anything is written, for one option forbids another.
pub(super) struct Plan<'c> {
    family: Family,
    thinking: Thinking,
    temperature: Option<&'c str>,
    top_p: Option<&'c str>,
    top_k: Option<&'c str>,
}

/// Refuses what no answer of this API could be.
pub(super) fn check(conversation: &Conversation<'_>) -> Result<(), Refused> {
    let is_count = |number: &str| number.parse::<u64>().is_ok_and(|number| number > 0);
    if conversation.max_tokens.is_some_and(|most| !is_count(most)) {
        return Err(Refused::new(
            "max_tokens",
            "the most tokens to generate has to be a whole number from 1",
        ));
    }
    let alternatives = rest(conversation, "n").and_then(Value::as_number);
    if alternatives.is_some_and(|number| number != "1") {
        return Err(Refused::new(
            "n",
            "Bedrock gives one answer to a request: leave n out, and ask several times",
        ));
    }
    Ok(())
}

/// A member of the client's request that has no place in the common form.
fn rest<'c, 'a>(conversation: &'c Conversation<'a>, name: &str) -> Option<&'c Value<'a>> {
    let mut found = conversation.rest.iter().filter(|(known, value)| known == name && !value.is_null());
    found.next().map(|(_, value)| value)
}

impl<'c> Plan<'c> {
    pub(super) fn new(
        conversation: &'c Conversation<'_>,
        family: Family,
        turns: &Turns<'_, '_>,
        notes: &mut Notes,
    ) -> Self {
        let thinking = thinking(conversation, family, turns, notes);
        let mut plan = Self {
            family,
            temperature: conversation.temperature,
            top_p: conversation.top_p,
            top_k: conversation.top_k,
            thinking,
        };
        let is_one = |number: &str| number.parse() == Ok(1.0);
        if family.refuses_sampling() || (plan.thinking.is_on() && !plan.temperature.is_some_and(is_one)) {
            leave_out(&mut plan.temperature, "temperature", notes);
        }
        if family.refuses_sampling() || plan.thinking.is_on() {
            leave_out(&mut plan.top_k, "top_k", notes);
        }
        if family.refuses_sampling() || (family.may_be_claude() && plan.temperature.is_some()) {
            leave_out(&mut plan.top_p, "top_p", notes);
        }
        if plan.temperature.is_some_and(|number| number.parse().is_ok_and(|number: f64| number > 1.0)) {
            notes.dropped("temperature");
            plan.temperature = Some("1");
        }
        plan
    }

    pub(super) fn write(
        &self,
        conversation: &Conversation<'_>,
        betas: &[&str],
        notes: &mut Notes,
        out: &mut Writer,
    ) {
        self.limits(conversation, notes, out);
        self.for_this_model(conversation, betas, notes, out);
        self.output_config(conversation, notes, out);
        if matches!(self.family, Family::Claude { .. }) && !conversation.stop.is_empty() {
            out.array_at("additionalModelResponseFieldPaths", |out| out.str("/stop_sequence"));
        }
        metadata(conversation, notes, out);
        service_tier(conversation, notes, out);
        leftovers(conversation, notes);
    }

    fn limits(&self, conversation: &Conversation<'_>, notes: &mut Notes, out: &mut Writer) {
        // Claude refuses those of white space only.
        let is_taken = |stop: &&Text<'_>| {
            if self.family.may_be_claude() { !stop.is_blank() } else { !stop.is_empty() }
        };
        let stops: Vec<_> = conversation.stop.iter().filter(is_taken).take(MAX_STOPS).collect();
        if stops.len() < conversation.stop.len() {
            notes.dropped("stop");
        }
        optional_object(out, "inferenceConfig", |out| {
            for (name, number) in [
                ("maxTokens", conversation.max_tokens),
                ("temperature", self.temperature),
                ("topP", self.top_p),
            ] {
                if let Some(number) = number {
                    out.raw_at(name, number);
                }
            }
            if !stops.is_empty() {
                out.array_at("stopSequences", |out| stops.iter().for_each(|stop| out.text(stop)));
            }
        });
    }

    fn for_this_model(
        &self,
        conversation: &Conversation<'_>,
        betas: &[&str],
        notes: &mut Notes,
        out: &mut Writer,
    ) {
        optional_object(out, "additionalModelRequestFields", |out| {
            match (self.family, self.top_k) {
                (_, None) => {}
                (Family::Claude { .. } | Family::Unknown, Some(number)) => out.raw_at("top_k", number),
                (Family::Nova { .. }, Some(number)) => {
                    out.object_at("inferenceConfig", |out| out.raw_at("topK", number));
                }
                (Family::OpenAi | Family::Other, Some(_)) => notes.dropped("top_k"),
            }
            self.thinking.write(out);
            self.for_claude(conversation, betas, notes, out);
        });
    }

    /// Members that Claude alone knows. A feature's name and its member go together.
    fn for_claude(
        &self,
        conversation: &Conversation<'_>,
        betas: &[&str],
        notes: &mut Notes,
        out: &mut Writer,
    ) {
        let betas = if self.family.may_be_claude() {
            betas
        } else {
            betas.iter().for_each(|beta| notes.dropped(format!("anthropic-beta.{beta}")));
            &[]
        };
        if !betas.is_empty() {
            out.array_at("anthropic_beta", |out| betas.iter().for_each(|beta| out.str(beta)));
        }
        match rest(conversation, "context_management") {
            Some(value) if betas.iter().any(|beta| CONTEXT_MANAGEMENT.contains(beta)) => {
                out.value_at("context_management", value);
            }
            Some(_) => notes.dropped("context_management"),
            None => {}
        }
    }

    fn output_config(&self, conversation: &Conversation<'_>, notes: &mut Notes, out: &mut Writer) {
        optional_object(out, "outputConfig", |out| {
            match &conversation.format {
                Some(Format::JsonSchema { name, schema: Value::Object(schema), .. }) => {
                    out.object_at("textFormat", |out| {
                        out.str_at("type", "json_schema");
                        out.object_at("structure", |out| {
                            out.object_at("jsonSchema", |out| {
                                out.str_at("schema", schema.raw);
                                if let Some(name) = name.as_ref().filter(|name| !name.is_empty()) {
                                    out.text_at("name", name);
                                }
                            });
                        });
                    });
                }
                Some(_) => notes.dropped("response_format"),
                None => {}
            }
            if let Some(effort) = self.thinking.effort() {
                out.str_at("effort", effort);
            }
        });
    }
}

fn leave_out(option: &mut Option<&str>, name: &'static str, notes: &mut Notes) {
    if option.take().is_some() {
        notes.dropped(name);
    }
}

/// Writes metadata for the account's log of requests, as far as its characters are taken there.
fn metadata(conversation: &Conversation<'_>, notes: &mut Notes, out: &mut Writer) {
    let mut pairs: Vec<(&str, Cow<'_, str>)> = Vec::new();
    if let Some(user) = &conversation.user {
        match user.decoded() {
            user if is_metadata(&user) => pairs.push(("user_id", user)),
            _ => notes.dropped("user"),
        }
    }
    // OpenAI's clients have an object of pairs; Anthropic's have the user there, and seldom more.
    let object = rest(conversation, "metadata").and_then(Value::as_object);
    let members = object.map(|object| object.members.as_slice()).unwrap_or_default();
    let members = members.iter().map(|(name, value)| (name.as_ref(), value));
    let named =
        conversation.rest.iter().filter_map(|(name, value)| Some((name.strip_prefix(METADATA)?, value)));
    for (name, value) in members.chain(named) {
        let value = value.as_text().map(Text::decoded).filter(|value| is_metadata(value));
        let is_new = !name.is_empty() && is_metadata(name) && pairs.iter().all(|(known, _)| *known != name);
        match value {
            Some(value) if is_new && pairs.len() < MAX_METADATA => pairs.push((name, value)),
            _ => notes.dropped("metadata"),
        }
    }
    if !pairs.is_empty() {
        out.object_at("requestMetadata", |out| {
            for (name, value) in &pairs {
                out.str_at(name, value);
            }
        });
    }
}

fn is_metadata(text: &str) -> bool {
    let is_taken = |character: char| character.is_ascii_alphanumeric() || " :_@$#=/+,-.".contains(character);
    text.len() <= MAX_METADATA_CHARACTERS && text.chars().all(is_taken)
}

fn service_tier(conversation: &Conversation<'_>, notes: &mut Notes, out: &mut Writer) {
    let Some(tier) = &conversation.service_tier else { return };
    let tier = match tier.decoded().as_ref() {
        "auto" => return,
        "default" | "standard_only" => "default",
        "flex" => "flex",
        "priority" => "priority",
        "reserved" => "reserved",
        _ => return notes.dropped("service_tier"),
    };
    out.object_at("serviceTier", |out| out.str_at("type", tier));
}

/// Notes what has no place in this API.
fn leftovers(conversation: &Conversation<'_>, notes: &mut Notes) {
    let is_zero = |number: &str| number.parse() == Ok(0.0);
    for (name, is_asked) in [
        ("seed", conversation.seed.is_some()),
        ("presence_penalty", conversation.presence_penalty.is_some_and(|number| !is_zero(number))),
        ("frequency_penalty", conversation.frequency_penalty.is_some_and(|number| !is_zero(number))),
        ("logprobs", conversation.logprobs == Some(true)),
        ("top_logprobs", conversation.top_logprobs.is_some_and(|number| !is_zero(number))),
    ] {
        if is_asked {
            notes.dropped(name);
        }
    }
    for (name, value) in &conversation.rest {
        if !PLACED.contains(&name.as_ref()) && !name.starts_with(METADATA) && !says_nothing(value) {
            notes.dropped(name.chars().take(MAX_NOTED).collect::<String>());
        }
    }
    if conversation.tools.is_empty()
        && matches!(conversation.tool_choice, Some(ToolChoice::Any | ToolChoice::Named(_)))
    {
        notes.dropped("tool_choice");
    }
}

fn says_nothing(value: &Value<'_>) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(array) => array.items.is_empty(),
        Value::Object(object) => object.members.is_empty(),
        Value::Bool(true) | Value::Number(_) => false,
    }
}

/// Writes a member that is an object, unless there is nothing in it.
fn optional_object(out: &mut Writer, name: &str, members: impl FnOnce(&mut Writer)) {
    let mut inner = Writer::default();
    inner.object(members);
    // Only strings of documents were written, which are UTF-8.
    if let Ok(object) = String::from_utf8(inner.finish())
        && object != "{}"
    {
        out.raw_at(name, &object);
    }
}
