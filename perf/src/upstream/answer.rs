//! Answers of the upstream, made beforehand.

use std::{cell::RefCell, collections::HashMap};

use bytes::Bytes;
use penstock_sim::metrics::idle_page;

use super::request::{ParsedRequest, Route};

mod messages;

/// All answers of one server.
pub(super) struct Answers {
    bytes: usize,
    chat: StreamPieces,
    messages: StreamPieces,
    models: Bytes,
    metrics: Bytes,
    info: Bytes,
    /// Whole answers by their API and the tokens of prompt and answer; a run has few sizes of either.
    whole: RefCell<HashMap<(Route, u64, u64), Bytes>>,
}

/// What the streams of an API consist of, but for their ends.
struct StreamPieces {
    /// The head of the response, and the events before the first token.
    head: Bytes,
    token: Bytes,
}

impl StreamPieces {
    fn new(begin: &str, token: &str) -> Self {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n";
        Self { head: format!("{head}{}", chunk(begin)).into(), token: chunk(token).into() }
    }
}

impl Answers {
    /// `bytes` is the size of a whole answer's body.
    pub(super) fn new(bytes: usize, model: &str) -> Self {
        let models = format!(
            "{{\"object\":\"list\",\"data\":[{{\"id\":\"{model}\",\"object\":\"model\",\"owned_by\":\"vllm\",\"max_model_len\":131072}}]}}"
        );
        let info = format!(
            "{{\"model_path\":\"{model}\",\"served_model_name\":\"{model}\",\"tokenizer_path\":\"{model}\",\"is_generation\":true,\"dp_size\":1}}"
        );
        Self {
            bytes,
            chat: StreamPieces::new(
                &event("{\"role\":\"assistant\",\"content\":\"\"}"),
                &event("{\"content\":\"the \"}"),
            ),
            messages: StreamPieces::new(messages::BEGIN, messages::TOKEN),
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
            Route::Inference | Route::Messages => {
                let mut whole = self.whole.borrow_mut();
                whole
                    .entry((request.route, request.prompt_tokens, request.max_tokens))
                    .or_insert_with(|| completion(self.bytes, request))
                    .clone()
            }
        }
    }

    /// The head of a stream with its opening events.
    pub(super) fn stream_head(&self, request: &ParsedRequest) -> &[u8] {
        &self.pieces(request).head
    }

    pub(super) fn token(&self, request: &ParsedRequest) -> &[u8] {
        &self.pieces(request).token
    }

    /// The last events of a stream: why it ended, its usage, its end.
    pub(super) fn stream_end(request: &ParsedRequest) -> Vec<u8> {
        let ParsedRequest { prompt_tokens, max_tokens, .. } = request;
        let frame = "\"id\":\"chatcmpl-0\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":\"model\"";
        let events = if request.route == Route::Messages {
            messages::end(request)
        } else {
            format!(
                "data: {{{frame},\"choices\":[{{\"index\":0,\"delta\":{{}},\"finish_reason\":\"length\"}}]}}\n\n\
                 data: {{{frame},\"choices\":[],\"usage\":{{\"prompt_tokens\":{prompt_tokens},\"completion_tokens\":{max_tokens},\"total_tokens\":{}}}}}\n\n\
                 data: [DONE]\n\n",
                prompt_tokens + max_tokens
            )
        };
        format!("{}0\r\n\r\n", chunk(&events)).into_bytes()
    }

    fn pieces(&self, request: &ParsedRequest) -> &StreamPieces {
        if request.route == Route::Messages { &self.messages } else { &self.chat }
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

/// An answer of `bytes`, or somewhat more if that is too few.
fn completion(bytes: usize, request: &ParsedRequest) -> Bytes {
    let ParsedRequest { prompt_tokens, max_tokens, .. } = request;
    let with = |content: &str| match request.route {
        Route::Messages => messages::whole(content, request),
        _ => format!(
            "{{\"id\":\"chatcmpl-0\",\"object\":\"chat.completion\",\"created\":1700000000,\"model\":\"model\",\
             \"choices\":[{{\"index\":0,\"message\":{{\"role\":\"assistant\",\"content\":\"{content}\"}},\
             \"logprobs\":null,\"finish_reason\":\"length\"}}],\
             \"usage\":{{\"prompt_tokens\":{prompt_tokens},\"completion_tokens\":{max_tokens},\"total_tokens\":{}}}}}",
            prompt_tokens + max_tokens
        ),
    };
    let missing = bytes.saturating_sub(with("").len()).max(1);
    respond("application/json", &with(&"x".repeat(missing)))
}
