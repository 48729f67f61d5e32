//! Answers of the upstream, made beforehand.

use std::{cell::RefCell, collections::HashMap};

use bytes::Bytes;
use penstock_sim::metrics::idle_page;

use super::request::{ParsedRequest, Route};

/// All answers of one server.
pub(super) struct Answers {
    bytes: usize,
    stream_head: Bytes,
    token: Bytes,
    models: Bytes,
    metrics: Bytes,
    info: Bytes,
    /// Whole answers by the tokens of prompt and answer; a run has few sizes of either.
    whole: RefCell<HashMap<(u64, u64), Bytes>>,
}

impl Answers {
    /// `bytes` is the size of a whole answer's body.
    pub(super) fn new(bytes: usize, model: &str) -> Self {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n";
        let models = format!(
            "{{\"object\":\"list\",\"data\":[{{\"id\":\"{model}\",\"object\":\"model\",\"owned_by\":\"vllm\",\"max_model_len\":131072}}]}}"
        );
        let info = format!(
            "{{\"model_path\":\"{model}\",\"served_model_name\":\"{model}\",\"tokenizer_path\":\"{model}\",\"is_generation\":true,\"dp_size\":1}}"
        );
        Self {
            bytes,
            stream_head: format!("{head}{}", chunk(&event("{\"role\":\"assistant\",\"content\":\"\"}")))
                .into(),
            token: chunk(&event("{\"content\":\"the \"}")).into(),
            models: respond("application/json", &models),
            metrics: respond("text/plain; version=0.0.4; charset=utf-8", &idle_page(model)),
            info: respond("application/json", &info),
            whole: RefCell::default(),
        }
    }

    pub(super) fn whole(&self, request: &ParsedRequest) -> Bytes {
        match request.route {
            Route::Models => self.models.clone(),
            Route::Metrics => self.metrics.clone(),
            Route::Info => self.info.clone(),
            Route::Inference => {
                let mut whole = self.whole.borrow_mut();
                whole
                    .entry((request.prompt_tokens, request.max_tokens))
                    .or_insert_with(|| completion(self.bytes, request))
                    .clone()
            }
        }
    }

    /// The head of a stream with its opening event.
    pub(super) fn stream_head(&self) -> &[u8] {
        &self.stream_head
    }

    pub(super) fn token(&self) -> &[u8] {
        &self.token
    }

    /// The last events of a stream: why it ended, its usage, `[DONE]`.
    pub(super) fn stream_end(request: &ParsedRequest) -> Vec<u8> {
        let ParsedRequest { prompt_tokens, max_tokens, .. } = request;
        let frame = "\"id\":\"chatcmpl-0\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":\"model\"";
        let events = format!(
            "data: {{{frame},\"choices\":[{{\"index\":0,\"delta\":{{}},\"finish_reason\":\"length\"}}]}}\n\n\
             data: {{{frame},\"choices\":[],\"usage\":{{\"prompt_tokens\":{prompt_tokens},\"completion_tokens\":{max_tokens},\"total_tokens\":{}}}}}\n\n\
             data: [DONE]\n\n",
            prompt_tokens + max_tokens
        );
        format!("{}0\r\n\r\n", chunk(&events)).into_bytes()
    }
}

fn event(delta: &str) -> String {
    format!(
        "data: {{\"id\":\"chatcmpl-0\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":\"model\",\"choices\":[{{\"index\":0,\"delta\":{delta},\"logprobs\":null,\"finish_reason\":null}}]}}\n\n"
    )
}

fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

fn respond(content_type: &str, body: &str) -> Bytes {
    format!("HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
        .into()
}

/// A chat completion of `bytes`, or somewhat more if that is too few.
fn completion(bytes: usize, request: &ParsedRequest) -> Bytes {
    let ParsedRequest { prompt_tokens, max_tokens, .. } = request;
    let with = |content: &str| {
        format!(
            "{{\"id\":\"chatcmpl-0\",\"object\":\"chat.completion\",\"created\":1700000000,\"model\":\"model\",\
             \"choices\":[{{\"index\":0,\"message\":{{\"role\":\"assistant\",\"content\":\"{content}\"}},\
             \"logprobs\":null,\"finish_reason\":\"length\"}}],\
             \"usage\":{{\"prompt_tokens\":{prompt_tokens},\"completion_tokens\":{max_tokens},\"total_tokens\":{}}}}}",
            prompt_tokens + max_tokens
        )
    };
    let missing = bytes.saturating_sub(with("").len()).max(1);
    respond("application/json", &with(&"x".repeat(missing)))
}
