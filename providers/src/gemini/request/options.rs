//! `generationConfig`, and members of the request beside it.

use super::{thinking, try_object, vendor};
use crate::conversation::{Conversation, Format, Notes, Refused};
use crate::gemini::schema::{self, Budget};
use crate::gemini::{Platform, Target};
use crate::json::{Object, Value, Writer};

/// The most texts that may end an answer.
const MAX_STOPS: usize = 5;

/// The member of a request that is the answer's schema.
const SCHEMA: &str = "response_format.json_schema.schema";

/// Writes how to generate, and what clients add of Gemini's own; notes everything else.
pub(super) fn write(
    out: &mut Writer,
    conversation: &Conversation<'_>,
    target: Target<'_>,
    notes: &mut Notes,
    budget: &mut Budget,
) -> Result<(), Refused> {
    if has_options(conversation) {
        out.key("generationConfig");
        try_object(out, |out| {
            write_sampling(out, conversation)?;
            if let Some(format) = &conversation.format {
                write_format(out, format, target, notes, budget)?;
            }
            if let Some(reasoning) = &conversation.reasoning {
                thinking::write(out, reasoning, target, notes);
            }
            Ok(())
        })?;
    }
    if let Some(settings @ Value::Array(_)) = vendor(conversation, ["safetySettings", "safety_settings"]) {
        out.value_at("safetySettings", settings);
    }
    let labels = vendor(conversation, ["labels", "labels"]).filter(|_| target.platform == Platform::Vertex);
    if let Some(labels @ Value::Object(_)) = labels {
        out.value_at("labels", labels);
    }
    write_service_tier(out, conversation, target, notes);
    note_rest(conversation, target, notes)
}

fn has_options(conversation: &Conversation<'_>) -> bool {
    let numbers = [
        conversation.max_tokens,
        conversation.temperature,
        conversation.top_p,
        conversation.top_k,
        conversation.seed,
        conversation.presence_penalty,
        conversation.frequency_penalty,
    ];
    numbers.iter().any(Option::is_some)
        || !conversation.stop.is_empty()
        || conversation.format.is_some()
        || conversation.reasoning.is_some()
        || conversation.logprobs == Some(true)
}

fn write_sampling(out: &mut Writer, conversation: &Conversation<'_>) -> Result<(), Refused> {
    for (name, number) in [
        ("maxOutputTokens", conversation.max_tokens),
        ("temperature", conversation.temperature),
        ("topP", conversation.top_p),
        ("topK", conversation.top_k),
        ("seed", conversation.seed),
        ("presencePenalty", conversation.presence_penalty),
        ("frequencyPenalty", conversation.frequency_penalty),
    ] {
        if let Some(number) = number {
            out.raw_at(name, number);
        }
    }
    let stops: Vec<_> = conversation.stop.iter().filter(|stop| !stop.is_empty()).collect();
    if stops.len() > MAX_STOPS {
        let message = format!("Gemini takes at most {MAX_STOPS} stop sequences, not {}", stops.len());
        return Err(Refused::new("stop", message));
    }
    if !stops.is_empty() {
        out.array_at("stopSequences", |out| stops.iter().for_each(|stop| out.text(stop)));
    }
    if conversation.logprobs == Some(true) {
        out.bool_at("responseLogprobs", true);
        // 0 alternatives are the chosen token alone, which Gemini's absence of the member stands for.
        if let Some(alternatives) = conversation.top_logprobs.filter(|number| *number != "0") {
            out.raw_at("logprobs", alternatives);
        }
    }
    Ok(())
}

fn write_format(
    out: &mut Writer,
    format: &Format<'_>,
    target: Target<'_>,
    notes: &mut Notes,
    budget: &mut Budget,
) -> Result<(), Refused> {
    out.str_at("responseMimeType", "application/json");
    let Format::JsonSchema { schema, .. } = format else { return Ok(()) };
    let Value::Object(object) = schema else {
        let message = format!("a schema has to be an object, not {}", schema.kind());
        return Err(Refused::new(SCHEMA, message));
    };
    if target.takes_json_schema() {
        out.raw_at("responseJsonSchema", object.raw);
        return Ok(());
    }
    out.key("responseSchema");
    schema::write(out, object, SCHEMA, notes, budget)
}

/// Vertex takes the class of service as a header, which is not the client's to set.
fn write_service_tier(
    out: &mut Writer,
    conversation: &Conversation<'_>,
    target: Target<'_>,
    notes: &mut Notes,
) {
    let Some(tier) = &conversation.service_tier else { return };
    match tier.decoded().as_ref() {
        "auto" | "default" => {}
        tier @ ("flex" | "priority") if target.platform == Platform::GeminiApi => {
            out.str_at("serviceTier", tier)
        }
        _ => notes.dropped("service_tier"),
    }
}

fn note_rest(conversation: &Conversation<'_>, target: Target<'_>, notes: &mut Notes) -> Result<(), Refused> {
    if conversation.user.is_some() {
        notes.dropped("user");
    }
    for (name, value) in &conversation.rest {
        let is_written = match name.as_ref() {
            "n" if value.as_u64().is_some_and(|count| count > 1) => {
                return Err(Refused::new(
                    "n",
                    "several answers at once have no counterpart here: ask for one",
                ));
            }
            "n" => value.as_u64() == Some(1),
            "safetySettings" | "safety_settings" => matches!(value, Value::Array(_)),
            "cachedContent" | "cached_content" => matches!(value, Value::String(_)),
            "labels" => target.platform == Platform::Vertex && matches!(value, Value::Object(_)),
            _ => false,
        };
        if !is_written && !says_nothing(value) {
            notes.dropped(name.clone().into_owned());
        }
    }
    Ok(())
}

/// Whether a member is as good as absent.
fn says_nothing(value: &Value<'_>) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(array) => array.items.is_empty(),
        Value::Object(Object { members, .. }) => members.is_empty(),
        Value::Bool(true) | Value::Number(_) | Value::String(_) => false,
    }
}
