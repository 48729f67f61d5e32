//! The inference API: one path for all dialects that generate text, and the smaller endpoints beside it.
//!
//! A dialect reads its request into an [`Ask`] and writes an [`Answer`] in its own words; everything between
//! (limits, adapters, the engine, the stream) is here once.

mod ask;
mod chat;
mod completions;
pub(crate) mod error;
pub(crate) mod lora;
mod media;
mod messages;
mod pooling;
mod responses;
mod stream;
mod tokenizer;

use std::{
    borrow::Cow,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header, request::Parts};
use serde::Serialize;

pub(crate) use self::ask::Ask;
use self::{error::ApiError, lora::Loras, stream::Streaming};
use super::{
    body::SimBody,
    engine::{Engine, Job, Sequence},
    metrics::{self, FakeMetrics, Page},
    options::{Mode, Options},
    text::{Bounds, Script, draw},
    tokens::PrefixHasher,
};

/// An inference endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Chat,
    Completions,
    Responses,
    Messages,
    Embeddings,
    Rerank,
    Score,
    Tokenize,
    Detokenize,
    Transcription,
    Speech,
    Images,
    LoadLora,
    UnloadLora,
    Models,
    Version,
}

impl Endpoint {
    /// Every endpoint with its paths and its method.
    const TABLE: [(&'static str, Self); 24] = [
        ("/v1/chat/completions", Self::Chat),
        ("/v1/completions", Self::Completions),
        ("/v1/responses", Self::Responses),
        ("/v1/messages", Self::Messages),
        ("/v1/embeddings", Self::Embeddings),
        ("/rerank", Self::Rerank),
        ("/v1/rerank", Self::Rerank),
        ("/v2/rerank", Self::Rerank),
        ("/score", Self::Score),
        ("/v1/score", Self::Score),
        ("/tokenize", Self::Tokenize),
        ("/v1/tokenize", Self::Tokenize),
        ("/detokenize", Self::Detokenize),
        ("/v1/detokenize", Self::Detokenize),
        ("/v1/audio/transcriptions", Self::Transcription),
        ("/v1/audio/translations", Self::Transcription),
        ("/v1/audio/speech", Self::Speech),
        ("/v1/images/generations", Self::Images),
        ("/v1/images/edits", Self::Images),
        ("/v1/load_lora_adapter", Self::LoadLora),
        ("/v1/unload_lora_adapter", Self::UnloadLora),
        ("/v1/models", Self::Models),
        ("/models", Self::Models),
        ("/version", Self::Version),
    ];

    /// The endpoint of a path, with the path as metrics name it.
    pub(crate) fn of(path: &str) -> Option<(&'static str, Self)> {
        Self::TABLE.into_iter().find(|(known, _)| *known == path)
    }

    fn method(self) -> (Method, &'static str) {
        match self {
            Self::Models | Self::Version => (Method::GET, "GET"),
            _ => (Method::POST, "POST"),
        }
    }
}

/// The inference side of one server.
#[derive(Debug)]
pub(crate) struct Api {
    pub(crate) options: Arc<Options>,
    pub(crate) engine: Arc<Engine>,
    pub(crate) loras: Loras,
    pub(crate) fakes: parking_lot::Mutex<Option<FakeMetrics>>,
    requests: AtomicU64,
    created: u64,
}

/// What a dialect needs to write its answer.
#[derive(Debug)]
struct Answer {
    /// Unique part of the answer's id.
    id: String,
    model: String,
    /// Seconds since 1970.
    created: u64,
    script: Script,
    prompt_tokens: usize,
    cached_tokens: usize,
    includes_usage: bool,
}

/// How one API words an answer.
trait Dialect: Send + Sync {
    /// The whole answer as JSON.
    fn whole(&self, answer: &Answer) -> Vec<u8>;
    /// The SSE events before the first token.
    fn open(&self, answer: &Answer) -> String;
    /// What stands before and after a token, as an escaped JSON string, in its SSE event.
    fn frame(&self, answer: &Answer) -> (String, &'static str);
    /// The SSE events after the last token.
    fn close(&self, answer: &Answer) -> String;
}

/// What one request asks the engine for, ready to run.
struct Prepared {
    job: Job,
    hasher: PrefixHasher,
    answer: Answer,
}

impl Api {
    pub(crate) fn new(options: Arc<Options>) -> Self {
        Self {
            engine: Engine::new(&options),
            loras: Loras::new(&options.loras),
            fakes: parking_lot::Mutex::new(None),
            requests: AtomicU64::new(0),
            created: metrics::now() as u64,
            options,
        }
    }

    /// Answers a request whose body was read to its end.
    pub(crate) async fn answer(
        &self,
        handler: &'static str,
        endpoint: Endpoint,
        parts: &Parts,
        body: Bytes,
    ) -> Response<SimBody> {
        let (method, name) = endpoint.method();
        let answered = if parts.method == method {
            self.run(endpoint, parts, body).await
        } else {
            Err(ApiError::method_not_allowed(&method))
        };
        let mut response = answered.unwrap_or_else(|error| error.response());
        self.engine.ledger.answered(handler, name, response.status().as_u16());
        self.decorate(&parts.headers, response.headers_mut());
        response
    }

    /// Names under which the base model is served.
    pub(crate) fn served_names(&self) -> &[String] {
        match self.options.served_model_names.as_slice() {
            [] => std::slice::from_ref(&self.options.model),
            names => names,
        }
    }

    /// The metrics page.
    pub(crate) fn metrics(&self) -> String {
        let options = &self.options;
        let page = Page {
            model: &self.served_names()[0],
            load: self.engine.load(),
            fakes: self.fakes.lock().clone(),
            max_loras: options.max_loras,
            lora_names: &|adapters| self.loras.names(adapters),
            block_tokens: options.kv.block_tokens,
            blocks: options.kv.blocks,
            reuses_prefixes: options.kv.reuses_prefixes,
        };
        metrics::render(&self.engine.ledger, &page)
    }

    async fn run(
        &self,
        endpoint: Endpoint,
        parts: &Parts,
        body: Bytes,
    ) -> Result<Response<SimBody>, ApiError> {
        match endpoint {
            Endpoint::Chat => self.generate(&parts.headers, chat::ask(&body)?, &chat::Chat).await,
            Endpoint::Completions => {
                self.generate(&parts.headers, completions::ask(&body)?, &completions::Completions).await
            }
            Endpoint::Responses => {
                self.generate(&parts.headers, responses::ask(&body)?, &responses::Responses).await
            }
            Endpoint::Messages => {
                self.generate(&parts.headers, messages::ask(&body)?, &messages::Messages).await
            }
            Endpoint::Embeddings => pooling::embeddings(self, &body).await,
            Endpoint::Rerank => pooling::rerank(self, &body).await,
            Endpoint::Score => pooling::score(self, &body).await,
            Endpoint::Tokenize => tokenizer::tokenize(self, &body),
            Endpoint::Detokenize => tokenizer::detokenize(self, &body),
            Endpoint::Transcription => media::transcription(self, &parts.headers, &body).await,
            Endpoint::Speech => media::speech(self, &body).await,
            Endpoint::Images => media::images(self, &body).await,
            Endpoint::LoadLora => self.loras.load(&body),
            Endpoint::UnloadLora => self.loras.unload(&body),
            Endpoint::Models => Ok(json(&self.models())),
            Endpoint::Version => Ok(json(&serde_json::json!({"version": "0.32.0"}))),
        }
    }

    async fn generate(
        &self,
        headers: &HeaderMap,
        ask: Ask<'_>,
        dialect: &'static dyn Dialect,
    ) -> Result<Response<SimBody>, ApiError> {
        let streams = ask.streams;
        let Prepared { job, mut hasher, mut answer } = self.prepare(headers, ask)?;
        let admission = self.engine.admit(job).map_err(|_| ApiError::queue_full())?;
        if streams {
            let streaming = Streaming::new(admission, hasher, answer, dialect);
            let mut response = Response::new(SimBody::stream(streaming.into_stream()));
            let events = HeaderValue::from_static("text/event-stream; charset=utf-8");
            response.headers_mut().insert(header::CONTENT_TYPE, events);
            return Ok(response);
        }
        let mut sequence = admission.wait().await.ok_or_else(ApiError::queue_full)?;
        answer.cached_tokens = sequence.cached_tokens();
        self.produce(&mut sequence, answer.script.tokens()).await;
        answer.script.pieces(|piece| hasher.push(piece.as_bytes()));
        sequence.finish(answer.script.finish_reason(), hasher.blocks());
        Ok(json_bytes(StatusCode::OK, dialect.whole(&answer)))
    }

    /// Generates block by block, so that gauges move while nobody reads.
    async fn produce(&self, sequence: &mut Sequence, tokens: usize) {
        if sequence.is_instant() {
            sequence.produce(tokens).await;
            return;
        }
        let mut left = tokens;
        while left > 0 {
            let stride = left.min(self.options.kv.block_tokens.max(1));
            sequence.produce(stride).await;
            left -= stride;
        }
    }

    fn prepare(&self, headers: &HeaderMap, ask: Ask<'_>) -> Result<Prepared, ApiError> {
        let (model, lora) = self.resolve(ask.model.as_deref())?;
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        let mut hasher = self.hasher(lora);
        ask.pieces.iter().for_each(|piece| hasher.push(piece));
        let prompt_tokens = hasher.tokens();
        let bounds = self.bounds(&ask, prompt_tokens)?;
        let script = match self.options.mode {
            Mode::Echo => Script::echo(&ask.echo(), bounds),
            Mode::Random => {
                let last = hasher.digest();
                Script::from_bank(draw(self.options.seed ^ ask.seed.unwrap_or(0), last), bounds)
            }
        };
        let id = match headers.get("x-request-id").and_then(|id| id.to_str().ok()) {
            Some(id) => id.to_owned(),
            None => self.unique(number),
        };
        let job = Job {
            blocks: hasher.blocks().to_vec(),
            prompt_tokens,
            // Even an answer of nothing takes a step.
            output_tokens: script.tokens().max(1),
            max_tokens: ask.max_tokens.and_then(|max| usize::try_from(max).ok()),
            lora,
        };
        let answer = Answer {
            id,
            model,
            created: metrics::now() as u64,
            script,
            prompt_tokens,
            cached_tokens: 0,
            includes_usage: ask.includes_usage,
        };
        Ok(Prepared { job, hasher, answer })
    }

    /// Runs a prompt that only has to be read: embeddings, scores, audio.
    async fn read(&self, lora: Option<usize>, pieces: &[&[u8]]) -> Result<usize, ApiError> {
        let mut hasher = self.hasher(lora);
        pieces.iter().for_each(|piece| hasher.push(piece));
        let prompt_tokens = hasher.tokens();
        if prompt_tokens > self.context() {
            return Err(ApiError::prompt_too_long(self.context(), prompt_tokens));
        }
        let blocks = hasher.blocks().to_vec();
        let job = Job { blocks, prompt_tokens, output_tokens: 1, max_tokens: None, lora };
        let admission = self.engine.admit(job).map_err(|_| ApiError::queue_full())?;
        let mut sequence = admission.wait().await.ok_or_else(ApiError::queue_full)?;
        sequence.produce(1).await;
        sequence.finish("stop", hasher.blocks());
        Ok(prompt_tokens)
    }

    /// The model of that name, and its adapter. No name means the base model, as in vLLM.
    fn resolve(&self, name: Option<&str>) -> Result<(String, Option<usize>), ApiError> {
        let Some(name) = name else { return Ok((self.served_names()[0].clone(), None)) };
        if self.served_names().iter().any(|served| served == name) {
            return Ok((name.to_owned(), None));
        }
        match self.loras.find(name) {
            Some(lora) => Ok((name.to_owned(), Some(lora))),
            None => Err(ApiError::unknown_model(name)),
        }
    }

    fn hasher(&self, lora: Option<usize>) -> PrefixHasher {
        PrefixHasher::new(self.options.kv.block_tokens.max(1), lora.map_or(0, |lora| lora as u64 + 1))
    }

    fn context(&self) -> usize {
        self.options.max_model_len.min(self.engine.longest_context())
    }

    fn bounds(&self, ask: &Ask<'_>, prompt_tokens: usize) -> Result<Bounds, ApiError> {
        let context = self.context();
        let room = context.saturating_sub(prompt_tokens);
        if room == 0 {
            return Err(ApiError::prompt_too_long(context, prompt_tokens));
        }
        let max = match ask.max_tokens {
            None => room,
            Some(max) if max < 1 => return Err(ApiError::max_tokens_too_small(max)),
            Some(max) => {
                let max = usize::try_from(max).unwrap_or(usize::MAX);
                if max > room {
                    return Err(ApiError::too_long(context, prompt_tokens, max));
                }
                max
            }
        };
        Ok(Bounds { max, min: ask.min_tokens.min(max), ignores_end: ask.ignores_end })
    }

    /// 32 hexadecimal digits that no other request of this server gets.
    fn unique(&self, number: u64) -> String {
        let server = self.options.seed ^ u64::from(self.options.listen.port());
        format!("{:016x}{number:016x}", draw(server, number))
    }

    fn models(&self) -> serde_json::Value {
        let base = &self.served_names()[0];
        let card = |id: &str, root: &str, parent: Option<&str>| {
            serde_json::json!({
                "id": id, "object": "model", "created": self.created, "owned_by": "vllm",
                "root": root, "parent": parent, "max_model_len": self.options.max_model_len,
            })
        };
        let mut data: Vec<_> =
            self.served_names().iter().map(|name| card(name, &self.options.model, None)).collect();
        data.extend(self.loras.modules().iter().map(|lora| {
            let root = if lora.path.is_empty() { &lora.name } else { &lora.path };
            let parent = if lora.base_model_name.is_empty() { base } else { &lora.base_model_name };
            card(&lora.name, root, Some(parent))
        }));
        serde_json::json!({"object": "list", "data": data})
    }

    /// Adds the load report, if the request wants one.
    fn decorate(&self, asked: &HeaderMap, headers: &mut HeaderMap) {
        if !self.options.load_reports {
            return;
        }
        let Some(format) = asked.get("endpoint-load-metrics-format") else { return };
        let load = self.engine.load();
        let fakes = self.fakes.lock().clone().unwrap_or_default();
        let usage = fakes.kv_cache_usage.unwrap_or(load.kv_usage);
        let waiting = fakes.waiting_requests.unwrap_or(load.waiting as f64);
        let report = match format.as_bytes().to_ascii_lowercase().as_slice() {
            b"text" => format!(
                "TEXT named_metrics.kv_cache_usage_perc={usage:?}, named_metrics.num_requests_waiting={waiting:?}"
            ),
            b"json" => format!(
                r#"JSON {{"named_metrics": {{"kv_cache_usage_perc": {usage:?}, "num_requests_waiting": {waiting:?}}}}}"#
            ),
            _ => return,
        };
        if let Ok(report) = HeaderValue::try_from(report) {
            headers.insert("endpoint-load-metrics", report);
        }
    }
}

/// Text as a JSON string, quotes included.
fn quoted(text: &str) -> Cow<'static, str> {
    serde_json::to_string(text).map_or(Cow::Borrowed("\"\""), Cow::Owned)
}

fn json(value: &impl Serialize) -> Response<SimBody> {
    // Only maps with keys other than strings fail, and no answer has one.
    json_bytes(StatusCode::OK, serde_json::to_vec(value).unwrap_or_default())
}

fn json_bytes(status: StatusCode, body: Vec<u8>) -> Response<SimBody> {
    let mut response = Response::new(SimBody::whole(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
