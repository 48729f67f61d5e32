//! Writes a request for an upstream.

mod messages;

use crate::alias::{Aliases, safe};
use crate::conversation::{Conversation, Format, Notes, Reasoning, Refused, Tool, ToolChoice};
use crate::json::{Object, Text, Value, Writer, Written};

/// The longest name of a tool, in characters, that OpenAI takes.
const MAX_NAME: usize = 64;

/// The longest name of an end user, in characters, that OpenAI takes.
const MAX_USER: usize = 64;

/// The most texts that OpenAI ends an answer at.
const MAX_STOPS: usize = 4;

/// What OpenAI has and others have not, and engines do not either.
const OPENAI_ONLY: &[&str] = &[
    "audio",
    "metadata",
    "modalities",
    "moderation",
    "prediction",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "store",
    "verbosity",
    "web_search_options",
];

/// What vLLM takes beside OpenAI's members, and other engines partly do.
const ENGINE_ONLY: &[&str] = &[
    "add_generation_prompt",
    "add_special_tokens",
    "allowed_token_ids",
    "bad_words",
    "cache_salt",
    "chat_template",
    "chat_template_kwargs",
    "continue_final_message",
    "documents",
    "ignore_eos",
    "include_reasoning",
    "include_stop_str_in_output",
    "kv_transfer_params",
    "length_penalty",
    "min_p",
    "min_tokens",
    "mm_processor_kwargs",
    "priority",
    "repetition_penalty",
    "skip_special_tokens",
    "spaces_between_special_tokens",
    "stop_token_ids",
    "structured_outputs",
    "thinking_token_budget",
    "truncate_prompt_tokens",
    "vllm_xargs",
];

/// Who is to read the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Upstream {
    /// OpenAI, Azure, or who is as strict.
    OpenAi,
    /// vLLM, or another engine of a pool: takes sampling that OpenAI does not, and wants its reasoning back.
    Engine,
}

/// Writes `conversation` as the body of a request for a chat completion. A stream's usage is always asked for. Names of
/// tools that the upstream does not take are replaced by `aliases`, which the answer's reader needs.
///
/// # Errors
/// The conversation has a part that the upstream cannot take.
pub(crate) fn write(
    conversation: &Conversation<'_>,
    notes: &mut Notes,
    upstream: Upstream,
    aliases: &mut Aliases,
) -> Result<Written, Refused> {
    let planned = messages::plan(conversation, notes, upstream)?;
    let mut form = Form { upstream, notes, aliases };
    let mut out = Writer::over(conversation.body);
    out.object(|out| {
        if let Some(model) = &conversation.model {
            out.text_at("model", model);
        }
        out.array_at("messages", |out| planned.iter().for_each(|message| message.write(&mut form, out)));
        form.tools(conversation, out);
        form.sampling(conversation, out);
        form.format(conversation, out);
        form.reasoning(conversation, out);
        form.rest(conversation, out);
        if conversation.is_stream {
            out.bool_at("stream", true);
            out.object_at("stream_options", |out| out.bool_at("include_usage", true));
        }
    });
    Ok(out.written())
}

/// How an upstream wants things, and what it does not get.
struct Form<'f> {
    upstream: Upstream,
    notes: &'f mut Notes,
    aliases: &'f mut Aliases,
}

impl Form<'_> {
    fn is_openai(&self) -> bool {
        self.upstream == Upstream::OpenAi
    }

    /// Writes the name of a tool as the upstream takes it.
    fn name_at(&mut self, key: &str, name: &Text<'_>, out: &mut Writer) {
        if self.is_openai() {
            out.str_at(key, &self.aliases.of(&name.decoded(), MAX_NAME));
        } else {
            out.text_at(key, name);
        }
    }

    fn tools(&mut self, conversation: &Conversation<'_>, out: &mut Writer) {
        let mut taken: Vec<&Tool<'_>> = Vec::with_capacity(conversation.tools.len());
        for tool in &conversation.tools {
            if tool.other.as_ref().is_none_or(|other| self.is_openai() && is_custom(other)) {
                taken.push(tool);
            } else {
                // A model that is told of a tool which nobody runs calls it again and again.
                let name = tool.name.as_word().filter(|name| name.len() <= MAX_NAME);
                self.notes.dropped(name.map_or("tools[]".to_owned(), |name| format!("tools[].{name}")));
            }
            if tool.cache.is_some() {
                self.notes.dropped("cache_control");
            }
        }
        if taken.is_empty() {
            if matches!(conversation.tool_choice, Some(ToolChoice::Any | ToolChoice::Named(_))) {
                self.notes.dropped("tool_choice");
            }
            return;
        }
        out.array_at("tools", |out| taken.iter().for_each(|tool| self.tool(tool, out)));
        match &conversation.tool_choice {
            None => {}
            Some(ToolChoice::Auto) => out.str_at("tool_choice", "auto"),
            Some(ToolChoice::Any) => out.str_at("tool_choice", "required"),
            Some(ToolChoice::None) => out.str_at("tool_choice", "none"),
            Some(ToolChoice::Named(name)) => match taken.iter().find(|tool| tool.name == *name) {
                Some(tool) => out.object_at("tool_choice", |out| {
                    let kind = if tool.other.is_some() { "custom" } else { "function" };
                    out.str_at("type", kind);
                    out.object_at(kind, |out| self.name_at("name", name, out));
                }),
                None => self.notes.dropped("tool_choice"),
            },
        }
        if conversation.parallel_tools == Some(false) {
            out.bool_at("parallel_tool_calls", false);
        }
    }

    fn tool(&mut self, tool: &Tool<'_>, out: &mut Writer) {
        if let Some(other) = &tool.other {
            return out.value(other);
        }
        out.object(|out| {
            out.str_at("type", "function");
            out.object_at("function", |out| {
                self.name_at("name", &tool.name, out);
                if let Some(description) = &tool.description {
                    out.text_at("description", description);
                }
                match &tool.parameters {
                    Some(Value::Object(schema)) => out.raw_at("parameters", &with_properties(schema)),
                    Some(schema) => out.value_at("parameters", schema),
                    None => out.raw_at("parameters", r#"{"type":"object","properties":{}}"#),
                }
                if let Some(is_strict) = tool.is_strict {
                    out.bool_at("strict", is_strict);
                }
            });
        });
    }

    fn sampling(&mut self, conversation: &Conversation<'_>, out: &mut Writer) {
        let Conversation { max_tokens, temperature, top_p, top_k, seed, .. } = conversation;
        // Engines of all ages know the older name, OpenAI's newer models only the newer one.
        let most = if self.is_openai() { "max_completion_tokens" } else { "max_tokens" };
        for (name, number) in [
            (most, max_tokens),
            ("temperature", temperature),
            ("top_p", top_p),
            ("seed", seed),
            ("presence_penalty", &conversation.presence_penalty),
            ("frequency_penalty", &conversation.frequency_penalty),
        ] {
            if let Some(number) = number {
                out.raw_at(name, number);
            }
        }
        match top_k {
            Some(_) if self.is_openai() => self.notes.dropped("top_k"),
            Some(top_k) => out.raw_at("top_k", top_k),
            None => {}
        }
        let mut stops: Vec<_> = conversation.stop.iter().filter(|stop| !stop.is_empty()).collect();
        if self.is_openai() && stops.len() > MAX_STOPS {
            stops.truncate(MAX_STOPS);
            self.notes.dropped(format!("stop[{MAX_STOPS}]"));
        }
        if !stops.is_empty() {
            out.array_at("stop", |out| stops.iter().for_each(|stop| out.text(stop)));
        }
        if conversation.logprobs.is_some() || conversation.top_logprobs.is_some() {
            // No answer has a place for them on its way back.
            self.notes.dropped("logprobs");
        }
    }

    fn format(&mut self, conversation: &Conversation<'_>, out: &mut Writer) {
        let Some(format) = &conversation.format else { return };
        out.object_at("response_format", |out| match format {
            Format::JsonObject => out.str_at("type", "json_object"),
            Format::JsonSchema { name, schema, is_strict } => {
                out.str_at("type", "json_schema");
                out.object_at("json_schema", |out| {
                    let name = name.as_ref().map_or("response".into(), Text::decoded);
                    out.str_at("name", &safe(&name, MAX_NAME));
                    out.value_at("schema", schema);
                    if let Some(is_strict) = is_strict {
                        out.bool_at("strict", *is_strict);
                    }
                });
            }
        });
    }

    fn reasoning(&mut self, conversation: &Conversation<'_>, out: &mut Writer) {
        let effort = match &conversation.reasoning {
            None | Some(Reasoning::Adaptive) => return,
            Some(Reasoning::Off) if self.is_openai() => {
                // Models that cannot think refuse the word for it as well, and most others know no such word.
                return self.notes.dropped("thinking");
            }
            Some(Reasoning::Off) => {
                // The name that most models' templates have for it; others pass it over.
                if !conversation.rest.iter().any(|(name, _)| name == "chat_template_kwargs") {
                    out.raw_at("chat_template_kwargs", r#"{"enable_thinking":false}"#);
                }
                return;
            }
            Some(Reasoning::Budget(..4096)) => "low",
            Some(Reasoning::Budget(4096..16_384)) => "medium",
            Some(Reasoning::Budget(_)) => "high",
            Some(Reasoning::Effort(effort)) => match effort.decoded().as_ref() {
                // Older engines know three words only.
                "minimal" if !self.is_openai() => "low",
                "xhigh" | "max" if !self.is_openai() => "high",
                "minimal" => "minimal",
                "low" => "low",
                "medium" => "medium",
                "high" => "high",
                "xhigh" => "xhigh",
                "max" => "max",
                _ => return self.notes.dropped("reasoning_effort"),
            },
        };
        let has_tools = !conversation.tools.is_empty();
        if self.is_openai() && has_tools && refuses_effort_with_tools(conversation.model.as_ref()) {
            return self.notes.dropped("reasoning_effort");
        }
        out.str_at("reasoning_effort", effort);
    }

    fn rest(&mut self, conversation: &Conversation<'_>, out: &mut Writer) {
        if let Some(user) = &conversation.user {
            let plain = user.decoded();
            if self.is_openai() && plain.chars().nth(MAX_USER).is_some() {
                out.str_at("user", &safe(&plain, MAX_USER));
            } else {
                out.text_at("user", user);
            }
        }
        match conversation.service_tier.as_ref().map(Text::decoded).as_deref() {
            None | Some("auto") => {}
            Some("standard_only") if self.is_openai() => out.str_at("service_tier", "default"),
            Some(tier @ ("default" | "flex" | "scale" | "priority" | "fast")) if self.is_openai() => {
                out.str_at("service_tier", tier);
            }
            Some(_) => self.notes.dropped("service_tier"),
        }
        let taken = if self.is_openai() { OPENAI_ONLY } else { ENGINE_ONLY };
        for (name, value) in conversation.rest.iter().filter(|(_, value)| !value.is_null()) {
            if name == "logit_bias" || taken.contains(&name.as_ref()) {
                out.value_at(name, value);
            } else {
                self.notes.dropped(name.clone().into_owned());
            }
        }
    }
}

/// Whether a tool of another kind is one that OpenAI's models call with free text.
fn is_custom(tool: &Value<'_>) -> bool {
    tool.as_object()
        .is_some_and(|tool| tool.word("type") == Some("custom") && tool.object("custom").is_some())
}

/// A schema of a tool's arguments. OpenAI refuses an object that does not say which properties it has, even none.
fn with_properties<'a>(schema: &Object<'a>) -> std::borrow::Cow<'a, str> {
    let is_bare = schema.word("type") == Some("object")
        && !schema.members.iter().any(|(name, _)| matches!(name.as_ref(), "properties" | "$ref" | "anyOf"));
    match schema.raw.strip_suffix('}') {
        Some(open) if is_bare => format!(r#"{open},"properties":{{}}}}"#).into(),
        _ => schema.raw.into(),
    }
}

/// From GPT-5.3 on, models take either tools or an effort in this API.
fn refuses_effort_with_tools(model: Option<&Text<'_>>) -> bool {
    let Some(model) = model.map(Text::decoded) else { return false };
    let Some(version) = model.strip_prefix("gpt-5.") else { return false };
    let digits = version.find(|character: char| !character.is_ascii_digit()).unwrap_or(version.len());
    version[..digits].parse().is_ok_and(|minor: u32| minor >= 3)
}
