//! Members of Anthropic's Messages.

use super::Fate::{Dropped, Moot, Refused, To};
use super::{BEDROCK, Client, ENGINE, GEMINI, OPENAI, Row};
use crate::api::Api;

/// The API.
pub(super) const CLIENT: Client = Client {
    api: Api::Messages,
    path: "/v1/messages",
    minimal: r#"{"model": "m", "max_tokens": 4000, "messages": [{"role": "user", "content": "hi"}]}"#,
    upstreams: &[OPENAI, ENGINE, BEDROCK, GEMINI],
    rows: ROWS,
};

/// By name, what is nested after what it is in.
#[rustfmt::skip]
const ROWS: &[Row] = &[
    ("messages", r#"{}"#, &[To("messages"), To("messages"), To("messages"), To("contents")]),
    ("messages[].content[image]", r#"{"messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}, {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBO"}}]}]}"#, &[To("messages[0].content"), To("messages[0].content"), To("messages[0].content[1].image"), To("contents[0].parts[1].inlineData")]),
    ("messages[].content[document]", r#"{"messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}, {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBE"}}]}]}"#, &[To("messages[0].content"), Refused("messages[0].content[1]"), To("messages[0].content[1].document"), To("contents[0].parts[1].inlineData")]),
    ("messages[].content[].title", r#"{"messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}, {"type": "document", "title": "t", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBE"}}]}]}"#, &[To("messages[0].content[1].file.filename"), Refused("messages[0].content[1]"), To("messages[0].content[1].document.name"), Dropped("messages[].content[].title")]),
    ("messages[].content[].context", r#"{"messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}, {"type": "document", "context": "c", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBE"}}]}]}"#, &[Dropped("messages[].content[].context"), Refused("messages[0].content[1]"), To("messages[0].content[1].document.context"), Dropped("messages[].content[].context")]),
    ("messages[].content[].citations", r#"{"messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}, {"type": "document", "citations": {"enabled": true}, "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBE"}}]}]}"#, &[Dropped("messages[].content[].citations"), Refused("messages[0].content[1]"), To("messages[0].content[1].document.citations.enabled"), Dropped("messages[].content[].citations")]),
    ("messages[].content[search_result]", r#"{"messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}, {"type": "search_result", "source": "s", "title": "t", "content": [{"type": "text", "text": "x"}]}]}]}"#, &[Dropped("messages[].content[].search_result"), Dropped("messages[].content[].search_result"), To("messages[0].content[1].searchResult"), Dropped("messages[].content[].search_result")]),
    ("messages[].content[thinking]", r#"{"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": [{"type": "thinking", "thinking": "because", "signature": "c2ln"}, {"type": "text", "text": "a"}]}, {"role": "user", "content": "hi"}]}"#, &[Dropped("messages[].content[].thinking"), To("messages[1].reasoning_content"), To("messages[1].content"), To("contents[1].parts")]),
    ("messages[].content[redacted_thinking]", r#"{"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": [{"type": "redacted_thinking", "data": "c2ln"}, {"type": "text", "text": "a"}]}, {"role": "user", "content": "hi"}]}"#, &[Dropped("messages[].content[].redacted_thinking"), Dropped("messages[].content[].redacted_thinking"), To("messages[1].content"), Dropped("messages[].content[].redacted_thinking")]),
    ("messages[].content[server_tool_use]", r#"{"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": [{"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {}}, {"type": "text", "text": "a"}]}, {"role": "user", "content": "hi"}]}"#, &[Dropped("messages[].content[].server_tool_use"), Dropped("messages[].content[].server_tool_use"), Dropped("messages[].content[].server_tool_use"), Dropped("messages[].content[].server_tool_use")]),
    ("messages[].content[tool_use]", r#"{"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": [{"type": "text", "text": "a"}, {"type": "tool_use", "id": "c1", "name": "f", "input": {}}]}], "tools": [{"name": "f", "input_schema": {"type": "object", "properties": {}}}]}"#, &[To("messages[1].tool_calls[0]"), To("messages[1].tool_calls[0]"), To("messages[1].content[1].toolUse"), To("contents[1].parts[1].functionCall")]),
    ("messages[].content[].is_error", r#"{"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": [{"type": "tool_use", "id": "c1", "name": "f", "input": {}}]}, {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": "r", "is_error": true}]}], "tools": [{"name": "f", "input_schema": {"type": "object", "properties": {}}}]}"#, &[Dropped("messages[].content[].is_error"), Dropped("messages[].content[].is_error"), To("messages[2].content[0].toolResult.status"), To("contents[2].parts[0].functionResponse.response.error")]),
    ("messages[].content[].cache_control", r#"{"messages": [{"role": "user", "content": [{"type": "text", "text": "hi", "cache_control": {"type": "ephemeral"}}]}]}"#, &[Dropped("cache_control"), Dropped("cache_control"), To("messages[0].content[1].cachePoint.type"), Dropped("cache_control")]),
    ("system", r#"{"system": "Be brief."}"#, &[To("messages"), To("messages"), To("system[0].text"), To("systemInstruction.parts[0].text")]),
    ("system[].cache_control", r#"{"system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}]}"#, &[Dropped("cache_control"), Dropped("cache_control"), To("system[1].cachePoint.type"), Dropped("cache_control")]),
    ("cache_control", r#"{"cache_control": {"type": "ephemeral"}}"#, &[Dropped("cache_control"), Dropped("cache_control"), Dropped("cache_control"), Dropped("cache_control")]),
    ("container", r#"{"container": "c"}"#, &[Dropped("container"), Dropped("container"), Dropped("container"), Dropped("container")]),
    ("context_management", r#"{"context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]}}"#, &[Dropped("context_management"), Dropped("context_management"), Dropped("context_management"), Dropped("context_management")]),
    ("inference_geo", r#"{"inference_geo": "us"}"#, &[Dropped("inference_geo"), Dropped("inference_geo"), Dropped("inference_geo"), Dropped("inference_geo")]),
    ("max_tokens", r#"{"max_tokens": 50}"#, &[To("max_completion_tokens"), To("max_tokens"), To("inferenceConfig.maxTokens"), To("generationConfig.maxOutputTokens")]),
    ("mcp_servers", r#"{"mcp_servers": [{"type": "url", "url": "https://x", "name": "n"}]}"#, &[Dropped("mcp_servers"), Dropped("mcp_servers"), Dropped("mcp_servers"), Dropped("mcp_servers")]),
    ("metadata.user_id", r#"{"metadata": {"user_id": "u"}}"#, &[To("user"), To("user"), To("requestMetadata.user_id"), Dropped("user")]),
    ("model", r#"{}"#, &[Moot("the rule's name of the model is sent"), Moot("the rule's name of the model is sent"), Moot("the rule's name of the model is sent"), Moot("the rule's name of the model is sent")]),
    ("output_config.effort", r#"{"output_config": {"effort": "low"}}"#, &[To("reasoning_effort"), To("reasoning_effort"), To("additionalModelRequestFields.thinking"), To("generationConfig.thinkingConfig")]),
    ("output_config.format", r#"{"output_config": {"format": {"type": "json_schema", "schema": {"type": "object", "properties": {}, "additionalProperties": false}}}}"#, &[To("response_format"), To("response_format"), To("outputConfig.textFormat"), To("generationConfig")]),
    ("output_format", r#"{"output_format": {"type": "json_schema", "schema": {"type": "object", "properties": {}, "additionalProperties": false}}}"#, &[To("response_format"), To("response_format"), To("outputConfig.textFormat"), To("generationConfig")]),
    ("service_tier", r#"{"service_tier": "standard_only"}"#, &[To("service_tier"), Dropped("service_tier"), To("serviceTier.type"), Moot("the standard tier is what it is without")]),
    ("speed", r#"{"speed": "fast"}"#, &[Dropped("speed"), Dropped("speed"), Dropped("speed"), Dropped("speed")]),
    ("stop_sequences", r#"{"stop_sequences": ["END"]}"#, &[To("stop[0]"), To("stop[0]"), To("inferenceConfig.stopSequences[0]"), To("generationConfig.stopSequences[0]")]),
    ("stream", r#"{"stream": true}"#, &[To("stream"), To("stream"), Moot("the path says so"), Moot("the path says so")]),
    ("temperature", r#"{"temperature": 0.5}"#, &[To("temperature"), To("temperature"), To("inferenceConfig.temperature"), To("generationConfig.temperature")]),
    ("thinking", r#"{"thinking": {"type": "enabled", "budget_tokens": 2048}, "max_tokens": 4096}"#, &[To("reasoning_effort"), To("reasoning_effort"), To("additionalModelRequestFields.thinking"), To("generationConfig.thinkingConfig")]),
    ("thinking.display", r#"{"thinking": {"type": "enabled", "budget_tokens": 2048, "display": "omitted"}, "max_tokens": 4096}"#, &[Dropped("thinking.display"), Dropped("thinking.display"), Dropped("thinking.display"), Dropped("thinking.display")]),
    ("tool_choice", r#"{"tool_choice": {"type": "any"}, "tools": [{"name": "f", "input_schema": {"type": "object", "properties": {}}}]}"#, &[To("tool_choice"), To("tool_choice"), To("toolConfig.toolChoice.any"), To("toolConfig.functionCallingConfig.mode")]),
    ("tool_choice.disable_parallel_tool_use", r#"{"tool_choice": {"type": "auto", "disable_parallel_tool_use": true}, "tools": [{"name": "f", "input_schema": {"type": "object", "properties": {}}}]}"#, &[To("parallel_tool_calls"), To("parallel_tool_calls"), Dropped("parallel_tool_calls"), Dropped("parallel_tool_calls")]),
    ("tools", r#"{"tools": [{"name": "f", "input_schema": {"type": "object", "properties": {}}}]}"#, &[To("tools[0]"), To("tools[0]"), To("toolConfig.tools[0].toolSpec"), To("tools[0].functionDeclarations[0]")]),
    ("tools[].description", r#"{"tools": [{"name": "f", "input_schema": {"type": "object", "properties": {}}, "description": "d"}]}"#, &[To("tools[0].function.description"), To("tools[0].function.description"), To("toolConfig.tools[0].toolSpec.description"), To("tools[0].functionDeclarations[0].description")]),
    ("tools[].strict", r#"{"tools": [{"name": "f", "input_schema": {"type": "object", "properties": {}}, "strict": true}]}"#, &[To("tools[0].function.strict"), To("tools[0].function.strict"), To("toolConfig.tools[0].toolSpec.strict"), Dropped("tools[].function.strict")]),
    ("tools[].cache_control", r#"{"tools": [{"name": "f", "input_schema": {"type": "object", "properties": {}}, "cache_control": {"type": "ephemeral"}}]}"#, &[Dropped("cache_control"), Dropped("cache_control"), To("toolConfig.tools[1].cachePoint.type"), Dropped("cache_control")]),
    ("tools[].defer_loading", r#"{"tools": [{"name": "f", "input_schema": {"type": "object", "properties": {}}, "defer_loading": true}]}"#, &[Dropped("tools[].defer_loading"), Dropped("tools[].defer_loading"), Dropped("tools[].defer_loading"), Dropped("tools[].defer_loading")]),
    ("tools[].input_examples", r#"{"tools": [{"name": "f", "input_schema": {"type": "object", "properties": {}}, "input_examples": [{"a": 1}]}]}"#, &[Dropped("tools[].input_examples"), Dropped("tools[].input_examples"), Dropped("tools[].input_examples"), Dropped("tools[].input_examples")]),
    ("tools[web_search_20250305]", r#"{"tools": [{"name": "f", "input_schema": {"type": "object", "properties": {}}}, {"type": "web_search_20250305", "name": "web_search"}]}"#, &[Dropped("tools[].web_search_20250305"), Dropped("tools[].web_search_20250305"), Dropped("tools[].web_search_20250305"), Dropped("tools[].web_search")]),
    ("top_k", r#"{"top_k": 5}"#, &[Dropped("top_k"), To("top_k"), To("additionalModelRequestFields.top_k"), To("generationConfig.topK")]),
    ("top_p", r#"{"top_p": 0.5}"#, &[To("top_p"), To("top_p"), To("inferenceConfig.topP"), To("generationConfig.topP")]),
];
