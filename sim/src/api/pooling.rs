//! Endpoints that read a prompt and generate nothing: embeddings, rerank, score.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::Response;
use serde::Deserialize;
use serde_json::{Value, json};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::{
    Api,
    completions::Prompt,
    error::ApiError,
    json as json_response,
    request::{Text, parse},
};
use crate::{body::SimBody, metrics::now, text::draw};

/// Longest embedding that a request may ask for.
const MAX_DIMENSIONS: usize = 16_384;

#[derive(Deserialize)]
struct Embeddings<'a> {
    #[serde(borrow)]
    model: Option<Text<'a>>,
    #[serde(borrow)]
    input: Prompt<'a>,
    dimensions: Option<usize>,
    #[serde(borrow)]
    encoding_format: Option<Text<'a>>,
}

pub(super) async fn embeddings(api: &Api, body: &[u8]) -> Result<Response<SimBody>, ApiError> {
    let request: Embeddings<'_> = parse(body)?;
    let (model, lora) = api.resolve(request.model.as_ref().map(|model| &*model.0))?;
    let dimensions = request.dimensions.unwrap_or(api.options.embedding_dimensions);
    if !(1..=MAX_DIMENSIONS).contains(&dimensions) {
        return Err(ApiError::bad_request(format!("dimensions must be 1 to {MAX_DIMENSIONS}.")));
    }
    let is_base64 = request.encoding_format.is_some_and(|format| format.0 == "base64");
    let mut tokens = 0;
    let mut data = Vec::new();
    for (index, input) in request.input.all().iter().enumerate() {
        tokens += api.read(lora, &[input]).await?;
        let vector = embedding(input, dimensions);
        let value = if is_base64 {
            let bytes: Vec<u8> = vector.iter().flat_map(|value| value.to_le_bytes()).collect();
            json!(BASE64_STANDARD.encode(bytes))
        } else {
            json!(vector)
        };
        data.push(json!({"index": index, "object": "embedding", "embedding": value}));
    }
    Ok(json_response(&json!({
        "id": format!("embd-{}", api.unique(xxh3_64_with_seed(body, 0))),
        "object": "list",
        "created": now() as u64,
        "model": model,
        "data": data,
        "usage": usage(tokens),
    })))
}

#[derive(Deserialize)]
struct Rerank<'a> {
    #[serde(borrow)]
    model: Option<Text<'a>>,
    query: String,
    documents: Vec<String>,
    top_n: Option<usize>,
}

pub(super) async fn rerank(api: &Api, body: &[u8]) -> Result<Response<SimBody>, ApiError> {
    let request: Rerank<'_> = parse(body)?;
    let (model, lora) = api.resolve(request.model.as_ref().map(|model| &*model.0))?;
    let mut tokens = 0;
    let mut scored = Vec::new();
    for (index, document) in request.documents.iter().enumerate() {
        tokens += api.read(lora, &[request.query.as_bytes(), b"\n", document.as_bytes()]).await?;
        scored.push((index, relevance(&request.query, document)));
    }
    scored.sort_by(|one, other| other.1.total_cmp(&one.1));
    // 0 means all, as in vLLM.
    scored.truncate(request.top_n.filter(|top| *top > 0).unwrap_or(usize::MAX));
    let results: Vec<Value> = scored
        .into_iter()
        .map(|(index, score)| {
            json!({"index": index, "document": {"text": request.documents[index]}, "relevance_score": score})
        })
        .collect();
    Ok(json_response(&json!({
        "id": format!("rerank-{}", api.unique(xxh3_64_with_seed(body, 0))),
        "model": model,
        "usage": {"total_tokens": tokens},
        "results": results,
    })))
}

#[derive(Deserialize)]
struct Score<'a> {
    #[serde(borrow)]
    model: Option<Text<'a>>,
    text_1: Texts,
    text_2: Texts,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Texts {
    One(String),
    Many(Vec<String>),
}

impl Texts {
    fn all(&self) -> &[String] {
        match self {
            Self::One(text) => std::slice::from_ref(text),
            Self::Many(texts) => texts,
        }
    }
}

pub(super) async fn score(api: &Api, body: &[u8]) -> Result<Response<SimBody>, ApiError> {
    let request: Score<'_> = parse(body)?;
    let (model, lora) = api.resolve(request.model.as_ref().map(|model| &*model.0))?;
    let (left, right) = (request.text_1.all(), request.text_2.all());
    if left.is_empty() || (left.len() != 1 && left.len() != right.len()) {
        return Err(ApiError::bad_request("text_1 must be one text, or as many as text_2."));
    }
    let mut tokens = 0;
    let mut data = Vec::new();
    for (index, text) in right.iter().enumerate() {
        let query = if left.len() == 1 { &left[0] } else { &left[index] };
        tokens += api.read(lora, &[query.as_bytes(), b"\n", text.as_bytes()]).await?;
        data.push(json!({"index": index, "object": "score", "score": relevance(query, text)}));
    }
    Ok(json_response(&json!({
        "id": format!("score-{}", api.unique(xxh3_64_with_seed(body, 0))),
        "object": "list",
        "created": now() as u64,
        "model": model,
        "data": data,
        "usage": usage(tokens),
    })))
}

fn usage(tokens: usize) -> Value {
    json!({"prompt_tokens": tokens, "total_tokens": tokens, "completion_tokens": 0, "prompt_tokens_details": null})
}

/// A unit vector that only the text decides.
pub(super) fn embedding(text: &[u8], dimensions: usize) -> Vec<f32> {
    let seed = xxh3_64_with_seed(text, 0);
    let raw: Vec<f32> = (0..dimensions)
        .map(|index| (draw(seed, index as u64) >> 40) as f32 / (1 << 23) as f32 - 1.0)
        .collect();
    let length = raw.iter().map(|value| value * value).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
    raw.into_iter().map(|value| value / length).collect()
}

/// The share of the query's words that the document has, 0 to 1.
pub(super) fn relevance(query: &str, document: &str) -> f64 {
    let document = document.to_lowercase();
    let words: Vec<_> = query.split_whitespace().map(str::to_lowercase).collect();
    let hits = words.iter().filter(|word| document.contains(word.as_str())).count();
    hits as f64 / words.len().max(1) as f64
}
