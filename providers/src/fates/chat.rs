//! Members of OpenAI's chat.

use super::Fate::{Dropped, Moot, Partly, Refused, To};
use super::{ANTHROPIC, BEDROCK, Client, GEMINI, Row};
use crate::api::Api;

/// The API.
pub(super) const CLIENT: Client = Client {
    api: Api::ChatCompletions,
    path: "/v1/chat/completions",
    minimal: r#"{"model": "m", "messages": [{"role": "user", "content": "hi"}]}"#,
    upstreams: &[ANTHROPIC, BEDROCK, GEMINI],
    rows: ROWS,
};

/// By name, what is nested after what it is in.
#[rustfmt::skip]
const ROWS: &[Row] = &[
    ("messages", r#"{}"#, &[To("messages"), To("messages"), To("contents")]),
    ("messages[].name", r#"{"messages": [{"role": "user", "content": "hi", "name": "bob"}]}"#, &[Dropped("messages[].name"), Dropped("messages[].name"), Dropped("messages[].name")]),
    ("messages[].content[text]", r#"{"messages": [{"role": "user", "content": [{"type": "refusal", "refusal": "x"}, {"type": "text", "text": "hi"}]}]}"#, &[To("messages[0].content[1]"), To("messages[0].content[1].text"), To("contents[0].parts[1].text")]),
    ("messages[].content[image_url]", r#"{"messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBO"}}]}]}"#, &[To("messages[0].content[1]"), To("messages[0].content[1].image"), To("contents[0].parts[1].inlineData")]),
    ("messages[].content[].image_url.detail", r#"{"messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBO", "detail": "low"}}]}]}"#, &[Dropped("messages[].content[].image_url.detail"), Dropped("messages[].content[].image_url.detail"), Dropped("messages[].content[].image_url.detail")]),
    ("messages[].content[file]", r#"{"messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}, {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBE"}}]}]}"#, &[To("messages[0].content[1]"), To("messages[0].content[1].document"), Partly("contents[0].parts[1].inlineData", "messages[].content[].title")]),
    ("messages[].content[input_audio]", r#"{"messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}, {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}]}]}"#, &[Refused("messages[0].content[1]"), To("messages[0].content[1].audio"), To("contents[0].parts[1].inlineData")]),
    ("messages[].content[].cache_control", r#"{"messages": [{"role": "user", "content": [{"type": "text", "text": "hi", "cache_control": {"type": "ephemeral"}}]}]}"#, &[To("messages[0].content[0].cache_control.type"), To("messages[0].content[1].cachePoint.type"), Dropped("cache_control")]),
    ("messages[].tool_calls", r#"{"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]}], "tools": [{"type": "function", "function": {"name": "f"}}]}"#, &[To("messages[1]"), To("messages[1]"), To("contents[1]")]),
    ("messages[].reasoning_content", r#"{"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "a", "reasoning_content": "because"}, {"role": "user", "content": "hi"}]}"#, &[Dropped("messages[].reasoning_content"), Dropped("messages[].reasoning_content"), To("contents[1].parts")]),
    ("messages[].audio", r#"{"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "a", "audio": {"id": "x"}}, {"role": "user", "content": "hi"}]}"#, &[Dropped("messages[].audio"), Dropped("messages[].audio"), Dropped("messages[].audio")]),
    ("audio", r#"{"audio": {"voice": "alloy", "format": "wav"}}"#, &[Dropped("audio"), Dropped("audio"), Dropped("audio")]),
    ("frequency_penalty", r#"{"frequency_penalty": 0.5}"#, &[Dropped("frequency_penalty"), Dropped("frequency_penalty"), To("generationConfig.frequencyPenalty")]),
    ("function_call", r#"{"function_call": {"name": "f"}, "functions": [{"name": "f"}]}"#, &[To("tool_choice"), To("toolConfig.toolChoice.tool.name"), To("toolConfig.functionCallingConfig")]),
    ("functions", r#"{"functions": [{"name": "f"}]}"#, &[To("tools[0]"), To("toolConfig.tools[0].toolSpec"), To("tools[0].functionDeclarations[0].name")]),
    ("logit_bias", r#"{"logit_bias": {"1": 5}}"#, &[Dropped("logit_bias"), Dropped("logit_bias"), Dropped("logit_bias")]),
    ("logprobs", r#"{"logprobs": true}"#, &[Dropped("logprobs"), Dropped("logprobs"), To("generationConfig.responseLogprobs")]),
    ("max_completion_tokens", r#"{"max_completion_tokens": 50}"#, &[To("max_tokens"), To("inferenceConfig.maxTokens"), To("generationConfig.maxOutputTokens")]),
    ("max_tokens", r#"{"max_tokens": 50}"#, &[To("max_tokens"), To("inferenceConfig.maxTokens"), To("generationConfig.maxOutputTokens")]),
    ("metadata", r#"{"metadata": {"a": "b"}}"#, &[Dropped("metadata"), To("requestMetadata.a"), Dropped("metadata")]),
    ("modalities", r#"{"modalities": ["text", "audio"]}"#, &[Dropped("modalities"), Dropped("modalities"), Dropped("modalities")]),
    ("moderation", r#"{"moderation": {"model": "omni"}}"#, &[Dropped("moderation"), Dropped("moderation"), Dropped("moderation")]),
    ("model", r#"{}"#, &[Moot("the rule's name of the model is sent"), Moot("the rule's name of the model is sent"), Moot("the rule's name of the model is sent")]),
    ("n", r#"{"n": 2}"#, &[Refused("n"), Refused("n"), Refused("n")]),
    ("parallel_tool_calls", r#"{"parallel_tool_calls": false, "tools": [{"type": "function", "function": {"name": "f"}}]}"#, &[To("tool_choice"), Dropped("parallel_tool_calls"), Dropped("parallel_tool_calls")]),
    ("prediction", r#"{"prediction": {"type": "content", "content": "x"}}"#, &[Dropped("prediction"), Dropped("prediction"), Dropped("prediction")]),
    ("presence_penalty", r#"{"presence_penalty": 0.5}"#, &[Dropped("presence_penalty"), Dropped("presence_penalty"), To("generationConfig.presencePenalty")]),
    ("prompt_cache_key", r#"{"prompt_cache_key": "k"}"#, &[Dropped("prompt_cache_key"), Dropped("prompt_cache_key"), Dropped("prompt_cache_key")]),
    ("prompt_cache_retention", r#"{"prompt_cache_retention": "24h"}"#, &[Dropped("prompt_cache_retention"), Dropped("prompt_cache_retention"), Dropped("prompt_cache_retention")]),
    ("reasoning_effort", r#"{"reasoning_effort": "low"}"#, &[To("thinking"), To("additionalModelRequestFields.thinking"), To("generationConfig.thinkingConfig")]),
    ("response_format", r#"{"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object", "properties": {}, "additionalProperties": false}}}}"#, &[To("output_config.format"), To("outputConfig.textFormat"), To("generationConfig")]),
    ("response_format.json_schema.name", r#"{"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object", "properties": {}, "additionalProperties": false}}}}"#, &[Moot("schemas have no names there"), To("outputConfig.textFormat.structure.jsonSchema.name"), Moot("schemas have no names there")]),
    ("response_format.json_schema.description", r#"{"response_format": {"type": "json_schema", "json_schema": {"name": "n", "description": "d", "schema": {"type": "object", "properties": {}, "additionalProperties": false}}}}"#, &[Dropped("response_format.json_schema.description"), Dropped("response_format.json_schema.description"), Dropped("response_format.json_schema.description")]),
    ("safety_identifier", r#"{"safety_identifier": "u"}"#, &[To("metadata.user_id"), To("requestMetadata.user_id"), Dropped("user")]),
    ("seed", r#"{"seed": 7}"#, &[Dropped("seed"), Dropped("seed"), To("generationConfig.seed")]),
    ("service_tier", r#"{"service_tier": "flex"}"#, &[Dropped("service_tier"), To("serviceTier.type"), To("serviceTier")]),
    ("stop", r#"{"stop": ["END"]}"#, &[To("stop_sequences[0]"), To("inferenceConfig.stopSequences[0]"), To("generationConfig.stopSequences[0]")]),
    ("store", r#"{"store": true}"#, &[Dropped("store"), Dropped("store"), Dropped("store")]),
    ("stream", r#"{"stream": true}"#, &[To("stream"), Moot("the path says so"), Moot("the path says so")]),
    ("stream_options", r#"{"stream": true, "stream_options": {"include_usage": true}}"#, &[Moot("the upstream counts anyway; the client gets its chunk"), Moot("the upstream counts anyway; the client gets its chunk"), Moot("the upstream counts anyway; the client gets its chunk")]),
    ("temperature", r#"{"temperature": 0.5}"#, &[To("temperature"), To("inferenceConfig.temperature"), To("generationConfig.temperature")]),
    ("thinking", r#"{"thinking": {"type": "enabled", "budget_tokens": 2048}, "max_tokens": 4096}"#, &[To("thinking"), To("additionalModelRequestFields.thinking"), To("generationConfig.thinkingConfig")]),
    ("tool_choice", r#"{"tool_choice": "required", "tools": [{"type": "function", "function": {"name": "f"}}]}"#, &[To("tool_choice.type"), To("toolConfig.toolChoice.any"), To("toolConfig.functionCallingConfig.mode")]),
    ("tools", r#"{"tools": [{"type": "function", "function": {"name": "f"}}]}"#, &[To("tools[0]"), To("toolConfig.tools[0].toolSpec"), To("tools[0].functionDeclarations[0].name")]),
    ("tools[].function.description", r#"{"tools": [{"type": "function", "function": {"name": "f", "description": "d"}}]}"#, &[To("tools[0].description"), To("toolConfig.tools[0].toolSpec.description"), To("tools[0].functionDeclarations[0].description")]),
    ("tools[].function.parameters", r#"{"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {"a": {"type": "string"}}}}}]}"#, &[To("tools[0].input_schema.properties.a.type"), To("toolConfig.tools[0].toolSpec.inputSchema.json.properties.a.type"), To("tools[0].functionDeclarations[0].parametersJsonSchema")]),
    ("tools[].function.strict", r#"{"tools": [{"type": "function", "function": {"name": "f", "strict": true}}]}"#, &[To("tools[0].strict"), To("toolConfig.tools[0].toolSpec.strict"), Dropped("tools[].function.strict")]),
    ("tools[custom]", r#"{"tools": [{"type": "custom", "custom": {"name": "c"}}]}"#, &[Refused("tools[].type"), Dropped("tools[].c"), Dropped("tools[].type")]),
    ("top_k", r#"{"top_k": 5}"#, &[To("top_k"), To("additionalModelRequestFields.top_k"), To("generationConfig.topK")]),
    ("top_logprobs", r#"{"logprobs": true, "top_logprobs": 3}"#, &[Dropped("top_logprobs"), Dropped("top_logprobs"), To("generationConfig.logprobs")]),
    ("top_p", r#"{"top_p": 0.5}"#, &[To("top_p"), To("inferenceConfig.topP"), To("generationConfig.topP")]),
    ("user", r#"{"user": "u"}"#, &[To("metadata.user_id"), To("requestMetadata.user_id"), Dropped("user")]),
    ("verbosity", r#"{"verbosity": "low"}"#, &[Dropped("verbosity"), Dropped("verbosity"), Dropped("verbosity")]),
    ("web_search_options", r#"{"web_search_options": {"search_context_size": "low"}}"#, &[Dropped("web_search_options"), Dropped("web_search_options"), Dropped("web_search_options")]),
];
