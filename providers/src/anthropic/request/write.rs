//! Writes an upstream's request from the common form.

mod messages;
mod thinking;
mod tools;

use std::borrow::Cow;

use super::members::is_vacant;
use super::target::{Target, is_sent};
use crate::alias::Aliases;
use crate::anthropic::platform::betas::Betas;
use crate::anthropic::platform::{Platform, Request};
use crate::conversation::{Conversation, Format, Notes, Refused};
use crate::json::{Text, Writer};

use self::thinking::{Mode, Plan};

/// Members of the API that the common form has not, and that no other API calls the same.
const OWN_MEMBERS: [&str; 5] = ["cache_control", "container", "inference_geo", "mcp_servers", "speed"];

/// Writes a request for `platform`: with `version` as its `anthropic_version` if that is another one than the platform's
/// own, and with those of `betas`, the client's `anthropic-beta` header, that are taken there. Tools whose names are not
/// taken get others, which `aliases` keeps for the answer.
///
/// # Errors
/// It has what Claude does not take, and what cannot be left out.
pub(crate) fn write(
    conversation: &Conversation<'_>,
    platform: Platform,
    version: Option<&str>,
    betas: Option<&str>,
    aliases: &mut Aliases,
    notes: &mut Notes,
) -> Result<Request, Refused> {
    let betas = Betas::of_header(betas, platform, notes);
    let mut target = Target::new(conversation, platform, aliases, notes);
    let plan = thinking::plan(conversation, &mut target);
    let mut out = Writer::over(conversation.body);
    out.object(|out| {
        if let Some(version) = version.or(platform.version()) {
            out.str_at("anthropic_version", version);
        }
        betas.write(out, platform);
        if platform == Platform::Anthropic
            && let Some(model) = &conversation.model
        {
            out.text_at("model", model);
        }
        out.raw_at("max_tokens", &plan.max_tokens);
        tools::write(out, conversation, &mut target);
        system(out, conversation, &mut target);
        messages::write(out, conversation, &mut target);
        sampling(out, conversation, plan.is_thinking(), &mut target);
        stop(out, conversation, &mut target);
        thought(out, conversation, &plan, &mut target);
        account(out, conversation, &mut target);
        rest(out, conversation, &mut target);
        if conversation.is_stream && platform != Platform::Aws {
            out.bool_at("stream", true);
        }
    });
    target.finish()?;
    Ok(Request { body: out.written(), betas: betas.header(platform) })
}

fn system(out: &mut Writer, conversation: &Conversation<'_>, target: &mut Target<'_>) {
    if !conversation.system.iter().any(is_sent) {
        return;
    }
    out.array_at("system", |out| {
        for part in conversation.system.iter().filter(|part| is_sent(part)) {
            messages::write_part(out, part, target);
        }
    });
}

/// Writes what randomness is asked for. Temperatures go up to 1 here, newer models choose for themselves, and so do those
/// that think.
fn sampling(out: &mut Writer, conversation: &Conversation<'_>, is_thinking: bool, target: &mut Target<'_>) {
    let is_fixed = target.generation.is_from(4, 7);
    let number = |text: &str| text.parse::<f64>().unwrap_or(f64::NAN);
    let mut has_temperature = false;
    if let Some(temperature) = conversation.temperature {
        let asked = number(temperature);
        if is_fixed || is_thinking {
            // 1 is what it is without.
            if asked != 1.0 {
                target.notes.dropped("temperature");
            }
        } else {
            has_temperature = true;
            if asked > 1.0 {
                target.notes.dropped("temperature");
            }
            out.raw_at("temperature", if asked > 1.0 { "1" } else { temperature });
        }
    }
    if let Some(top_p) = conversation.top_p
        && number(top_p) != 1.0
    {
        let is_alone = !has_temperature || target.generation.is_before(4, 0);
        if is_fixed || !is_alone || is_thinking && number(top_p) < 0.95 {
            target.notes.dropped("top_p");
        } else {
            out.raw_at("top_p", top_p);
        }
    }
    if let Some(top_k) = conversation.top_k {
        if is_fixed || is_thinking {
            target.notes.dropped("top_k");
        } else {
            out.raw_at("top_k", top_k);
        }
    }
}

fn stop(out: &mut Writer, conversation: &Conversation<'_>, target: &mut Target<'_>) {
    let is_taken = |text: &&Text<'_>| !text.is_blank();
    if !conversation.stop.iter().all(|text| is_taken(&text)) {
        target.notes.dropped("stop");
    }
    if conversation.stop.iter().any(|text| is_taken(&text)) {
        out.array_at("stop_sequences", |out| {
            for text in conversation.stop.iter().filter(is_taken) {
                out.text(text);
            }
        });
    }
}

/// Writes `thinking` and `output_config`.
fn thought(out: &mut Writer, conversation: &Conversation<'_>, plan: &Plan<'_>, target: &mut Target<'_>) {
    match plan.mode {
        Mode::Unsaid => {}
        Mode::Off => out.raw_at("thinking", r#"{"type":"disabled"}"#),
        Mode::Adaptive => out.raw_at("thinking", r#"{"type":"adaptive"}"#),
        Mode::Budget(tokens) => out.object_at("thinking", |out| {
            out.str_at("type", "enabled");
            out.u64_at("budget_tokens", tokens);
        }),
    }
    let schema = match &conversation.format {
        None => None,
        Some(Format::JsonObject) => {
            target.notes.dropped("response_format");
            None
        }
        Some(Format::JsonSchema { .. }) if target.generation.is_before(4, 5) => {
            let message =
                "Claude takes JSON schemas from Claude 4.5 on: ask a newer model, or leave the schema out";
            target.refuse("response_format", message);
            None
        }
        Some(Format::JsonSchema { schema, .. }) => Some(schema),
    };
    if schema.is_none() && plan.effort.is_none() {
        return;
    }
    out.object_at("output_config", |out| {
        if let Some(effort) = plan.effort {
            out.str_at("effort", effort);
        }
        if let Some(schema) = schema {
            out.object_at("format", |out| {
                out.str_at("type", "json_schema");
                out.value_at("schema", schema);
            });
        }
    });
}

/// Writes on whose account the request goes: Bedrock takes neither a user nor a tier.
fn account(out: &mut Writer, conversation: &Conversation<'_>, target: &mut Target<'_>) {
    let is_taken = target.platform != Platform::Aws;
    if let Some(user) = conversation.user.as_ref().filter(|user| !user.is_empty()) {
        if is_taken {
            out.object_at("metadata", |out| out.text_at("user_id", user));
        } else {
            target.notes.dropped("user");
        }
    }
    match conversation.service_tier.as_ref().map(Text::decoded).as_deref() {
        None | Some("auto") => {}
        Some("default") if target.platform == Platform::Anthropic => {
            out.str_at("service_tier", "standard_only");
        }
        Some(_) => target.notes.dropped("service_tier"),
    }
}

/// Writes or notes what is left.
fn rest(out: &mut Writer, conversation: &Conversation<'_>, target: &mut Target<'_>) {
    let is_set = |number: Option<&str>| number.is_some_and(|number| number.parse() != Ok(0.0));
    let notes = &mut *target.notes;
    for (name, is_dropped) in [
        ("seed", conversation.seed.is_some()),
        ("presence_penalty", is_set(conversation.presence_penalty)),
        ("frequency_penalty", is_set(conversation.frequency_penalty)),
        ("logprobs", conversation.logprobs == Some(true)),
        ("top_logprobs", is_set(conversation.top_logprobs)),
    ] {
        if is_dropped {
            notes.dropped(name);
        }
    }
    for (name, value) in conversation.rest.iter().filter(|(_, value)| !is_vacant(value)) {
        if name == "n" {
            if value.as_u64() != Some(1) {
                target.refuse("n", "Claude gives one answer to a request: n has to be 1");
            }
        } else if target.platform == Platform::Anthropic && OWN_MEMBERS.contains(&name.as_ref()) {
            out.value_at(name, value);
        } else {
            target.notes.dropped(Cow::Owned(name.clone().into_owned()));
        }
    }
}
