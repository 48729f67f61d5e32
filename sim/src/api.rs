//! The inference API: one path for all dialects that generate text, and the smaller endpoints beside it.
//!
//! A dialect reads its request into a [`GenerateRequest`] and writes an [`Answer`] in its own words; everything between
//! (limits, adapters, the engine, the stream) is here once.

mod azure;
mod bedrock;
mod chat;
mod claude;
mod completions;
mod count;
mod endpoint;
pub(crate) mod error;
mod gemini;
mod generate;
pub(crate) mod lora;
mod media;
mod messages;
mod pooling;
mod ranking;
mod request;
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
use http::{HeaderMap, HeaderValue, Response, StatusCode, header, request::Parts};
use serde::Serialize;

use self::{endpoint::OfAzure, error::ApiError, lora::Loras, request::Call};
pub(crate) use self::{
    endpoint::{Endpoint, Provider},
    request::GenerateRequest,
};
use super::{
    body::SimBody,
    engine::Engine,
    metrics::{self, FakeMetrics, Page},
    options::Options,
    text::{Completion, draw},
};

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
    completion: Completion,
    /// The tool that is called, where one is: the text is its arguments.
    call: Option<Call>,
    prompt_tokens: usize,
    cached_tokens: usize,
    includes_usage: bool,
}

/// Why an answer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Finish {
    Stop,
    Length,
    Call,
}

impl Answer {
    fn finish(&self) -> Finish {
        match (self.completion.stops, &self.call) {
            (false, _) => Finish::Length,
            (true, Some(_)) => Finish::Call,
            (true, None) => Finish::Stop,
        }
    }

    /// The arguments of its call, as JSON; an object of nothing where they were cut off.
    fn arguments(&self) -> serde_json::Value {
        serde_json::from_str(&self.completion.text()).unwrap_or_else(|_| serde_json::json!({}))
    }
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
    /// The content type of a stream.
    fn content_type(&self) -> &'static str {
        "text/event-stream; charset=utf-8"
    }
    /// Whether a call goes out in one piece, with the last event.
    fn holds_calls(&self) -> bool {
        false
    }
    /// Frames events, where that is not done as for SSE.
    fn wire(&self, events: Bytes) -> Bytes {
        events
    }
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
        let mut response = answered.unwrap_or_else(|error| error.response_as(endpoint.dialect()));
        self.engine.ledger.answered(handler, name, response.status().as_u16());
        self.add_load_report(&parts.headers, response.headers_mut());
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
            Endpoint::Chat => {
                self.generate(&parts.headers, &chat::generate_request(&body)?, &chat::Chat).await
            }
            Endpoint::Completions => {
                let request = completions::generate_request(&body)?;
                self.generate(&parts.headers, &request, &completions::Completions).await
            }
            Endpoint::Responses => {
                let request = responses::generate_request(&body)?;
                self.generate(&parts.headers, &request, &responses::Responses).await
            }
            Endpoint::Messages => {
                self.generate(&parts.headers, &messages::generate_request(&body)?, &messages::Messages).await
            }
            Endpoint::CountMessages => count::of_messages(self, &body),
            Endpoint::Azure(of) => self.run_azure(of, parts, azure::body(parts, body)?).await,
            Endpoint::Converse { .. } | Endpoint::Invoke { .. } | Endpoint::CountBedrock => {
                let mut response = self.run_bedrock(endpoint, parts, &body).await?;
                let id = self.unique(self.requests.load(Ordering::Relaxed));
                response.headers_mut().extend(HeaderValue::try_from(id).map(|id| (bedrock::REQUEST_ID, id)));
                Ok(response)
            }
            Endpoint::GenerateContent { .. }
            | Endpoint::RawPredict { .. }
            | Endpoint::CountGoogle
            | Endpoint::EmbedGoogle(_)
            | Endpoint::RankGoogle => self.run_google(endpoint, parts, &body).await,
            Endpoint::EmbedCohere => ranking::cohere_embed(self, &body).await,
            Endpoint::Embeddings => pooling::embeddings(self, &body).await,
            Endpoint::Rerank if endpoint::is_rank_of_bedrock(&body) => ranking::of_bedrock(self, &body).await,
            Endpoint::Rerank if self.is_cohere() && parts.uri.path() == "/v2/rerank" => {
                ranking::of_cohere(self, &body).await
            }
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

    async fn run_azure(
        &self,
        of: OfAzure,
        parts: &Parts,
        body: Bytes,
    ) -> Result<Response<SimBody>, ApiError> {
        match of {
            OfAzure::Chat => {
                self.generate(&parts.headers, &chat::generate_request(&body)?, &azure::AzureChat).await
            }
            OfAzure::Completions => {
                let request = completions::generate_request(&body)?;
                self.generate(&parts.headers, &request, &completions::Completions).await
            }
            OfAzure::Responses => {
                let request = responses::generate_request(&body)?;
                self.generate(&parts.headers, &request, &responses::Responses).await
            }
            OfAzure::Embeddings => pooling::embeddings(self, &body).await,
            OfAzure::Transcription => media::transcription(self, &parts.headers, &body).await,
            OfAzure::Speech => media::speech(self, &body).await,
            OfAzure::Images => media::images(self, &body).await,
        }
    }

    async fn run_bedrock(
        &self,
        endpoint: Endpoint,
        parts: &Parts,
        body: &[u8],
    ) -> Result<Response<SimBody>, ApiError> {
        bedrock::check_signature(&parts.headers)?;
        let model = endpoint::model_of(parts.uri.path());
        match endpoint {
            Endpoint::Converse { streams } => {
                let request = bedrock::conversation(model, streams, body)?;
                self.generate(&parts.headers, &request, &bedrock::Converse).await
            }
            Endpoint::Invoke { .. } if bedrock::vectors::is_for(&model) => {
                bedrock::vectors::invoke(self, &model, body).await
            }
            Endpoint::Invoke { streams } => {
                let request = claude::generate_request(claude::Platform::Bedrock, model, streams, body)?;
                self.generate(&parts.headers, &request, &claude::Invoked).await
            }
            _ => count::of_bedrock(self, model, body),
        }
    }

    async fn run_google(
        &self,
        endpoint: Endpoint,
        parts: &Parts,
        body: &[u8],
    ) -> Result<Response<SimBody>, ApiError> {
        let path = parts.uri.path();
        let model = endpoint::model_of(path);
        match endpoint {
            Endpoint::GenerateContent { streams } => {
                let request = gemini::generate_request(model, streams, body)?;
                self.generate(&parts.headers, &request, &gemini::Gemini).await
            }
            Endpoint::RawPredict { .. } if model == "count-tokens" => count::of_messages(self, body),
            Endpoint::RawPredict { streams } => {
                let request = claude::generate_request(claude::Platform::Vertex, model, streams, body)?;
                self.generate(&parts.headers, &request, &messages::Messages).await
            }
            Endpoint::EmbedGoogle(how) => {
                gemini::vectors::embed(self, how, &model, endpoint::is_of_vertex(path), body).await
            }
            Endpoint::RankGoogle => ranking::of_google(self, body).await,
            _ => count::of_google(self, model, body),
        }
    }

    /// Whether it is Cohere's API, and not an engine, that serves `/v2/rerank`.
    fn is_cohere(&self) -> bool {
        self.options.credentials.as_ref().is_some_and(|known| known.cohere.is_some())
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
    fn add_load_report(&self, asked: &HeaderMap, headers: &mut HeaderMap) {
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
