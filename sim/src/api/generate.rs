//! From a [`GenerateRequest`] to an [`Answer`]: limits, the engine, the way out.

use std::sync::atomic::Ordering;

use http::{HeaderMap, HeaderValue, Response, StatusCode, header};

use super::{Answer, Api, Dialect, GenerateRequest, error::ApiError, json_bytes, stream::Streaming};
use crate::{
    body::SimBody,
    engine::{Job, Sequence},
    metrics,
    options::Mode,
    text::{Completion, LengthBounds, draw},
    tokens::PrefixHasher,
};

/// What one request asks the engine for, ready to run.
struct Prepared {
    job: Job,
    hasher: PrefixHasher,
    answer: Answer,
}

impl Api {
    /// Answers a request to generate, whole or as a stream.
    pub(super) async fn generate(
        &self,
        headers: &HeaderMap,
        request: &GenerateRequest<'_>,
        dialect: &'static dyn Dialect,
    ) -> Result<Response<SimBody>, ApiError> {
        let streams = request.streams;
        let Prepared { job, mut hasher, mut answer } = self.prepare(headers, request)?;
        let admission = self.engine.admit(job).map_err(|_| ApiError::queue_full())?;
        if streams {
            let streaming = Streaming::new(admission, hasher, answer, dialect);
            let mut response = Response::new(SimBody::stream(streaming.into_stream()));
            let events = HeaderValue::from_static(dialect.content_type());
            response.headers_mut().insert(header::CONTENT_TYPE, events);
            return Ok(response);
        }
        let mut sequence = admission.wait().await.ok_or_else(ApiError::queue_full)?;
        answer.cached_tokens = sequence.cached_tokens();
        self.produce(&mut sequence, answer.completion.tokens()).await;
        answer.completion.pieces(|piece| hasher.push(piece.as_bytes()));
        sequence.finish(answer.completion.finish_reason(), hasher.blocks());
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

    fn prepare(&self, headers: &HeaderMap, request: &GenerateRequest<'_>) -> Result<Prepared, ApiError> {
        let (model, lora) = self.resolve(request.model.as_deref())?;
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        let mut hasher = self.hasher(lora);
        request.pieces.iter().for_each(|piece| hasher.push(piece));
        let prompt_tokens = hasher.tokens();
        let bounds = self.bounds(request, prompt_tokens)?;
        let completion = match self.options.mode {
            _ if request.call.is_some() => {
                Completion::echo(request.call.as_ref().map_or("", |call| &call.arguments), bounds)
            }
            Mode::Echo => Completion::echo(&request.echo(), bounds),
            Mode::Random => {
                let last = hasher.digest();
                Completion::from_bank(draw(self.options.seed ^ request.seed.unwrap_or(0), last), bounds)
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
            output_tokens: completion.tokens().max(1),
            max_tokens: request.max_tokens.and_then(|max| usize::try_from(max).ok()),
            lora,
        };
        let answer = Answer {
            id,
            model,
            created: metrics::now() as u64,
            completion,
            call: request.call.clone(),
            prompt_tokens,
            cached_tokens: 0,
            includes_usage: request.includes_usage,
        };
        Ok(Prepared { job, hasher, answer })
    }

    /// Runs a prompt that only has to be read: embeddings, scores, audio.
    pub(super) async fn read(&self, lora: Option<usize>, pieces: &[&[u8]]) -> Result<usize, ApiError> {
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

    pub(super) fn hasher(&self, lora: Option<usize>) -> PrefixHasher {
        PrefixHasher::new(self.options.kv.block_tokens.max(1), lora.map_or(0, |lora| lora as u64 + 1))
    }

    fn context(&self) -> usize {
        self.options.max_model_len.min(self.engine.longest_context())
    }

    fn bounds(&self, request: &GenerateRequest<'_>, prompt_tokens: usize) -> Result<LengthBounds, ApiError> {
        let context = self.context();
        let room = context.saturating_sub(prompt_tokens);
        if room == 0 {
            return Err(ApiError::prompt_too_long(context, prompt_tokens));
        }
        let max = match request.max_tokens {
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
        Ok(LengthBounds { max, min: request.min_tokens.min(max), ignores_end: request.ignores_end })
    }
}
