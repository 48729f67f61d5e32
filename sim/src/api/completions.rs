//! `/v1/completions`.

use std::borrow::Cow;

use serde::Deserialize;

use super::{
    Answer, Dialect,
    chat::usage,
    error::ApiError,
    quoted,
    request::{GenerateRequest, StreamOptions, Text, bytes, parse},
};

/// `max_tokens` of a request that sets none, as in the OpenAI API and vLLM.
const DEFAULT_MAX_TOKENS: i64 = 16;

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow)]
    model: Option<Text<'a>>,
    #[serde(borrow)]
    prompt: Prompt<'a>,
    max_tokens: Option<i64>,
    min_tokens: Option<usize>,
    ignore_eos: Option<bool>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    seed: Option<u64>,
}

/// A prompt as text or tokens; of several, the first is completed.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Prompt<'a> {
    Text(#[serde(borrow)] Cow<'a, str>),
    Tokens(Vec<u32>),
    Texts(Vec<String>),
    TokenLists(Vec<Vec<u32>>),
}

impl<'a> Prompt<'a> {
    /// Each prompt as bytes.
    pub(super) fn all(self) -> Vec<Cow<'a, [u8]>> {
        match self {
            Self::Text(text) => vec![bytes(&text)],
            Self::Tokens(tokens) => vec![from_tokens(&tokens)],
            Self::Texts(texts) => texts.into_iter().map(|text| Cow::Owned(text.into_bytes())).collect(),
            Self::TokenLists(lists) => lists.iter().map(|tokens| from_tokens(tokens)).collect(),
        }
    }
}

fn from_tokens(tokens: &[u32]) -> Cow<'static, [u8]> {
    Cow::Owned(tokens.iter().flat_map(|token| token.to_le_bytes()).collect())
}

pub(super) fn generate_request(body: &[u8]) -> Result<GenerateRequest<'_>, ApiError> {
    let parsed: Request<'_> = parse(body)?;
    let mut prompts = parsed.prompt.all();
    if prompts.len() != 1 {
        return Err(ApiError::bad_request("The simulator completes one prompt a request."));
    }
    Ok(GenerateRequest {
        model: parsed.model.map(|model| model.0),
        pieces: vec![prompts.remove(0)],
        max_tokens: Some(parsed.max_tokens.unwrap_or(DEFAULT_MAX_TOKENS)),
        min_tokens: parsed.min_tokens.unwrap_or(0),
        ignores_end: parsed.ignore_eos.unwrap_or(false),
        streams: parsed.stream.unwrap_or(false),
        includes_usage: parsed.stream_options.is_some_and(|options| options.include_usage),
        seed: parsed.seed,
        ..GenerateRequest::default()
    })
}

pub(super) struct Completions;

impl Dialect for Completions {
    fn whole(&self, answer: &Answer) -> Vec<u8> {
        let (id, created, model) = (&answer.id, answer.created, quoted(&answer.model));
        let (text, reason) = (quoted(&answer.completion.text()), answer.completion.finish_reason());
        let usage = usage(answer);
        format!(
            r#"{{"id":"cmpl-{id}","object":"text_completion","created":{created},"model":{model},"choices":[{{"index":0,"text":{text},"logprobs":null,"finish_reason":"{reason}","stop_reason":null,"prompt_logprobs":null}}],"service_tier":null,"system_fingerprint":null,"usage":{usage},"kv_transfer_params":null}}"#
        )
        .into_bytes()
    }

    fn open(&self, _answer: &Answer) -> String {
        String::new()
    }

    fn frame(&self, answer: &Answer) -> (String, &'static str) {
        let head = format!("{}\"choices\":[{{\"index\":0,\"text\":", head(answer));
        (head, ",\"logprobs\":null,\"finish_reason\":null,\"stop_reason\":null}]}\n\n")
    }

    fn close(&self, answer: &Answer) -> String {
        let (head, reason) = (head(answer), answer.completion.finish_reason());
        let mut events = format!(
            "{head}\"choices\":[{{\"index\":0,\"text\":\"\",\"logprobs\":null,\"finish_reason\":\"{reason}\",\
             \"stop_reason\":null}}]}}\n\n"
        );
        if answer.includes_usage {
            events.push_str(&format!("{head}\"choices\":[],\"usage\":{}}}\n\n", usage(answer)));
        }
        events.push_str("data: [DONE]\n\n");
        events
    }
}

fn head(answer: &Answer) -> String {
    let Answer { id, created, .. } = answer;
    let model = quoted(&answer.model);
    format!(
        "data: {{\"id\":\"cmpl-{id}\",\"object\":\"text_completion\",\"created\":{created},\"model\":{model},"
    )
}
