//! `/v1/chat/completions`.

use serde::Deserialize;

use super::{
    Answer, Dialect, Finish,
    error::ApiError,
    quoted,
    request::{Content, GenerateRequest, StreamOptions, Text, parse},
};

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow)]
    model: Option<Text<'a>>,
    messages: Vec<Message<'a>>,
    tools: Option<serde_json::Value>,
    max_tokens: Option<i64>,
    max_completion_tokens: Option<i64>,
    min_tokens: Option<usize>,
    ignore_eos: Option<bool>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    seed: Option<u64>,
}

/// A turn of a chat.
#[derive(Deserialize)]
pub(super) struct Message<'a> {
    #[serde(borrow)]
    pub(super) role: Text<'a>,
    #[serde(borrow, default)]
    pub(super) content: Content<'a>,
}

pub(super) fn generate_request(body: &[u8]) -> Result<GenerateRequest<'_>, ApiError> {
    let parsed: Request<'_> = parse(body)?;
    let mut request = GenerateRequest {
        model: parsed.model.map(|model| model.0),
        max_tokens: parsed.max_completion_tokens.or(parsed.max_tokens),
        min_tokens: parsed.min_tokens.unwrap_or(0),
        ignores_end: parsed.ignore_eos.unwrap_or(false),
        streams: parsed.stream.unwrap_or(false),
        includes_usage: parsed.stream_options.is_some_and(|options| options.include_usage),
        seed: parsed.seed,
        ..GenerateRequest::default()
    };
    request.push_tools(parsed.tools.as_ref());
    for message in &parsed.messages {
        request.push_turn(&message.role.0, &message.content);
    }
    request.push_opening(parsed.tools.as_ref());
    Ok(request)
}

pub(super) struct Chat;

impl Dialect for Chat {
    fn whole(&self, answer: &Answer) -> Vec<u8> {
        let reason = finish_reason(answer);
        let (id, created, model) = (&answer.id, answer.created, quoted(&answer.model));
        let (text, usage) = (quoted(&answer.completion.text()), usage(answer));
        let (content, calls) = match &answer.call {
            Some(_) => ("null".into(), tool_call(answer, &text)),
            None => (text, String::new()),
        };
        format!(
            r#"{{"id":"chatcmpl-{id}","object":"chat.completion","created":{created},"model":{model},"choices":[{{"index":0,"message":{{"role":"assistant","content":{content},"refusal":null,"annotations":null,"audio":null,"function_call":null,"tool_calls":[{calls}],"reasoning_content":null}},"logprobs":null,"finish_reason":"{reason}","stop_reason":null}}],"service_tier":null,"system_fingerprint":null,"usage":{usage},"prompt_logprobs":null,"kv_transfer_params":null}}"#
        )
        .into_bytes()
    }

    fn open(&self, answer: &Answer) -> String {
        let head = head(answer);
        let mut opening = format!(
            "{head}\"choices\":[{{\"index\":0,\"delta\":{{\"role\":\"assistant\",\"content\":\"\"}},\"logprobs\":null,\
             \"finish_reason\":null}}]}}\n\n"
        );
        if answer.call.is_some() {
            let call = tool_call(answer, "\"\"");
            opening.push_str(&format!(
                "{head}\"choices\":[{{\"index\":0,\"delta\":{{\"tool_calls\":[{call}]}},\"logprobs\":null,\
                 \"finish_reason\":null}}]}}\n\n"
            ));
        }
        opening
    }

    fn frame(&self, answer: &Answer) -> (String, &'static str) {
        if answer.call.is_some() {
            let call = "\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":";
            return (
                format!("{}{call}", head(answer)),
                "}}]},\"logprobs\":null,\"finish_reason\":null}]}\n\n",
            );
        }
        let head = format!("{}\"choices\":[{{\"index\":0,\"delta\":{{\"content\":", head(answer));
        (head, "},\"logprobs\":null,\"finish_reason\":null}]}\n\n")
    }

    fn close(&self, answer: &Answer) -> String {
        let (head, reason) = (head(answer), finish_reason(answer));
        let mut events = format!(
            "{head}\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"\"}},\"logprobs\":null,\
             \"finish_reason\":\"{reason}\",\"stop_reason\":null}}]}}\n\n"
        );
        if answer.includes_usage {
            events.push_str(&format!("{head}\"choices\":[],\"usage\":{}}}\n\n", usage(answer)));
        }
        events.push_str("data: [DONE]\n\n");
        events
    }
}

/// The start of every event.
fn head(answer: &Answer) -> String {
    let Answer { id, created, .. } = answer;
    let model = quoted(&answer.model);
    format!(
        "data: {{\"id\":\"chatcmpl-{id}\",\"object\":\"chat.completion.chunk\",\"created\":{created},\"model\":{model},"
    )
}

fn finish_reason(answer: &Answer) -> &'static str {
    match answer.finish() {
        Finish::Stop => "stop",
        Finish::Length => "length",
        Finish::Call => "tool_calls",
    }
}

/// The call with these arguments, a quoted text.
fn tool_call(answer: &Answer, arguments: &str) -> String {
    let name = quoted(answer.call.as_ref().map_or("", |call| &call.name));
    format!(
        r#"{{"index":0,"id":"call_{}","type":"function","function":{{"name":{name},"arguments":{arguments}}}}}"#,
        answer.id
    )
}

/// OpenAI's `usage`.
pub(super) fn usage(answer: &Answer) -> String {
    let (prompt, output, cached) = (answer.prompt_tokens, answer.completion.tokens(), answer.cached_tokens);
    let total = prompt + output;
    format!(
        r#"{{"prompt_tokens":{prompt},"total_tokens":{total},"completion_tokens":{output},"prompt_tokens_details":{{"cached_tokens":{cached}}}}}"#
    )
}
