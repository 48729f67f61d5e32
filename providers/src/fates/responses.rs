//! Members of OpenAI's Responses.

use super::Fate::{Dropped, Moot, Partly, Refused, To};
use super::{ANTHROPIC, BEDROCK, Client, GEMINI, Row};
use crate::api::Api;

/// The API.
pub(super) const CLIENT: Client = Client {
    api: Api::Responses,
    path: "/v1/responses",
    minimal: r#"{"model": "m", "input": "hi"}"#,
    upstreams: &[ANTHROPIC, BEDROCK, GEMINI],
    rows: ROWS,
};

/// By name, what is nested after what it is in.
#[rustfmt::skip]
const ROWS: &[Row] = &[
    ("input", r#"{}"#, &[To("messages"), To("messages"), To("contents")]),
    ("input[].content[input_image]", r#"{"input": [{"role": "user", "content": [{"type": "input_text", "text": "hi"}, {"type": "input_image", "image_url": "data:image/png;base64,iVBO"}]}]}"#, &[To("messages[0].content[1]"), To("messages[0].content[1].image"), To("contents[0].parts[1].inlineData")]),
    ("input[].content[].detail", r#"{"input": [{"role": "user", "content": [{"type": "input_text", "text": "hi"}, {"type": "input_image", "image_url": "data:image/png;base64,iVBO", "detail": "low"}]}]}"#, &[Dropped("messages[].content[].image_url.detail"), Dropped("messages[].content[].image_url.detail"), Dropped("messages[].content[].image_url.detail")]),
    ("input[].content[input_file]", r#"{"input": [{"role": "user", "content": [{"type": "input_text", "text": "hi"}, {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBE"}]}]}"#, &[To("messages[0].content[1]"), To("messages[0].content[1].document"), Partly("contents[0].parts[1].inlineData", "messages[].content[].title")]),
    ("input[].content[input_audio]", r#"{"input": [{"role": "user", "content": [{"type": "input_text", "text": "hi"}, {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}]}]}"#, &[Refused("input[0].content[1]"), To("messages[0].content[1].audio"), To("contents[0].parts[1].inlineData")]),
    ("input[function_call]", r#"{"input": [{"role": "user", "content": "hi"}, {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}], "tools": [{"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}}]}"#, &[To("messages[1]"), To("messages[1]"), To("contents[1]")]),
    ("input[function_call_output]", r#"{"input": [{"role": "user", "content": "hi"}, {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}, {"type": "function_call_output", "call_id": "c1", "output": "r"}], "tools": [{"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}}]}"#, &[To("messages[2]"), To("messages[2]"), To("contents[2]")]),
    ("input[reasoning]", r#"{"input": [{"role": "user", "content": "hi"}, {"type": "reasoning", "id": "rs", "summary": [{"type": "summary_text", "text": "because"}]}, {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "a"}]}, {"role": "user", "content": "hi"}]}"#, &[Dropped("messages[].reasoning_content"), Dropped("messages[].reasoning_content"), To("contents[1].parts")]),
    ("input[item_reference]", r#"{"input": [{"role": "user", "content": "hi"}, {"type": "item_reference", "id": "x"}]}"#, &[Refused("input[1]"), Refused("input[1]"), Refused("input[1]")]),
    ("input[web_search_call]", r#"{"input": [{"role": "user", "content": "hi"}, {"type": "web_search_call", "id": "x", "status": "completed"}]}"#, &[Dropped("input[].web_search_call"), Dropped("input[].web_search_call"), Dropped("input[].web_search_call")]),
    ("background", r#"{"background": true}"#, &[Refused("background"), Refused("background"), Refused("background")]),
    ("context_management", r#"{"context_management": [{"type": "compaction", "compact_threshold": 5}]}"#, &[Dropped("context_management"), Dropped("context_management"), Dropped("context_management")]),
    ("conversation", r#"{"conversation": "c"}"#, &[Refused("conversation"), Refused("conversation"), Refused("conversation")]),
    ("include", r#"{"include": ["message.output_text.logprobs"]}"#, &[Dropped("include"), Dropped("include"), Dropped("include")]),
    ("instructions", r#"{"instructions": "Be brief."}"#, &[To("system[0]"), To("system[0].text"), To("systemInstruction.parts[0].text")]),
    ("max_output_tokens", r#"{"max_output_tokens": 50}"#, &[To("max_tokens"), To("inferenceConfig.maxTokens"), To("generationConfig.maxOutputTokens")]),
    ("max_tool_calls", r#"{"max_tool_calls": 3}"#, &[Dropped("max_tool_calls"), Dropped("max_tool_calls"), Dropped("max_tool_calls")]),
    ("metadata", r#"{"metadata": {"a": "b"}}"#, &[Moot("the response repeats it"), Moot("the response repeats it"), Moot("the response repeats it")]),
    ("model", r#"{}"#, &[Moot("the rule's name of the model is sent"), Moot("the rule's name of the model is sent"), Moot("the rule's name of the model is sent")]),
    ("moderation", r#"{"moderation": {"model": "omni"}}"#, &[Dropped("moderation"), Dropped("moderation"), Dropped("moderation")]),
    ("parallel_tool_calls", r#"{"parallel_tool_calls": false, "tools": [{"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}}]}"#, &[To("tool_choice"), Dropped("parallel_tool_calls"), Dropped("parallel_tool_calls")]),
    ("previous_response_id", r#"{"previous_response_id": "x"}"#, &[Refused("previous_response_id"), Refused("previous_response_id"), Refused("previous_response_id")]),
    ("prompt", r#"{"prompt": {"id": "x"}}"#, &[Refused("prompt"), Refused("prompt"), Refused("prompt")]),
    ("prompt_cache_key", r#"{"prompt_cache_key": "k"}"#, &[Dropped("prompt_cache_key"), Dropped("prompt_cache_key"), Dropped("prompt_cache_key")]),
    ("prompt_cache_retention", r#"{"prompt_cache_retention": "24h"}"#, &[Dropped("prompt_cache_retention"), Dropped("prompt_cache_retention"), Dropped("prompt_cache_retention")]),
    ("reasoning.effort", r#"{"reasoning": {"effort": "low"}}"#, &[To("thinking"), To("additionalModelRequestFields.thinking"), To("generationConfig.thinkingConfig")]),
    ("reasoning.summary", r#"{"reasoning": {"summary": "detailed"}}"#, &[Dropped("reasoning.summary"), Dropped("reasoning.summary"), Dropped("reasoning.summary")]),
    ("safety_identifier", r#"{"safety_identifier": "u"}"#, &[To("metadata.user_id"), To("requestMetadata.user_id"), Dropped("user")]),
    ("service_tier", r#"{"service_tier": "flex"}"#, &[Dropped("service_tier"), To("serviceTier.type"), To("serviceTier")]),
    ("store", r#"{"store": true}"#, &[Dropped("store"), Dropped("store"), Dropped("store")]),
    ("stream", r#"{"stream": true}"#, &[To("stream"), Moot("the path says so"), Moot("the path says so")]),
    ("stream_options.include_obfuscation", r#"{"stream": true, "stream_options": {"include_obfuscation": true}}"#, &[Dropped("stream_options.include_obfuscation"), Dropped("stream_options.include_obfuscation"), Dropped("stream_options.include_obfuscation")]),
    ("temperature", r#"{"temperature": 0.5}"#, &[To("temperature"), To("inferenceConfig.temperature"), To("generationConfig.temperature")]),
    ("text.format", r#"{"text": {"format": {"type": "json_schema", "name": "n", "schema": {"type": "object", "properties": {}, "additionalProperties": false}}}}"#, &[To("output_config.format"), To("outputConfig.textFormat"), To("generationConfig")]),
    ("text.format.description", r#"{"text": {"format": {"type": "json_schema", "name": "n", "description": "d", "schema": {"type": "object", "properties": {}, "additionalProperties": false}}}}"#, &[Dropped("text.format.description"), Dropped("text.format.description"), Dropped("text.format.description")]),
    ("text.verbosity", r#"{"text": {"verbosity": "low"}}"#, &[Dropped("verbosity"), Dropped("verbosity"), Dropped("verbosity")]),
    ("tool_choice", r#"{"tool_choice": "required", "tools": [{"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}}]}"#, &[To("tool_choice.type"), To("toolConfig.toolChoice.any"), To("toolConfig.functionCallingConfig.mode")]),
    ("tools", r#"{"tools": [{"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}}]}"#, &[To("tools[0]"), To("toolConfig.tools[0].toolSpec"), To("tools[0].functionDeclarations[0]")]),
    ("tools[].description", r#"{"tools": [{"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}, "description": "d"}]}"#, &[To("tools[0].description"), To("toolConfig.tools[0].toolSpec.description"), To("tools[0].functionDeclarations[0].description")]),
    ("tools[].strict", r#"{"tools": [{"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}, "strict": true}]}"#, &[To("tools[0].strict"), To("toolConfig.tools[0].toolSpec.strict"), Dropped("tools[].function.strict")]),
    ("tools[custom]", r#"{"tools": [{"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}}, {"type": "custom", "name": "c"}]}"#, &[Refused("tools[].type"), Dropped("tools[].c"), Dropped("tools[].type")]),
    ("tools[web_search]", r#"{"tools": [{"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}}, {"type": "web_search"}]}"#, &[Refused("tools[].type"), Dropped("tools[].web_search"), Dropped("tools[].web_search")]),
    ("top_logprobs", r#"{"top_logprobs": 3}"#, &[Dropped("top_logprobs"), Dropped("top_logprobs"), Dropped("top_logprobs")]),
    ("top_p", r#"{"top_p": 0.5}"#, &[To("top_p"), To("inferenceConfig.topP"), To("generationConfig.topP")]),
    ("truncation", r#"{"truncation": "auto"}"#, &[Dropped("truncation"), Dropped("truncation"), Dropped("truncation")]),
    ("user", r#"{"user": "u"}"#, &[To("metadata.user_id"), To("requestMetadata.user_id"), Dropped("user")]),
];
