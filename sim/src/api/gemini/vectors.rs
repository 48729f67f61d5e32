//! Embeddings by Google: the Gemini API's contents and batches, and Vertex's contents and predictions.

use http::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::{
    Api, endpoint::Embeds, error::ApiError, json as json_response, pooling::embedding, request::parse,
};
use crate::body::SimBody;

/// Longest vector, and the length where none is asked for.
const LENGTH: usize = 3072;
/// Most texts of a batch or a prediction.
const MAX_TEXTS: usize = 250;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Asked {
    model: Option<String>,
    content: Contents,
    output_dimensionality: Option<usize>,
    #[serde(rename = "taskType")]
    _task: Option<String>,
    #[serde(rename = "title")]
    _title: Option<String>,
    embed_content_config: Option<Config>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Contents {
    #[serde(rename = "role")]
    _role: Option<String>,
    parts: Vec<Part>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Part {
    text: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Config {
    output_dimensionality: Option<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Batch {
    requests: Vec<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Predict {
    instances: Vec<Instance>,
    #[serde(default)]
    parameters: Config,
}

#[derive(Deserialize)]
struct Instance {
    content: String,
}

/// Answers a request for embeddings by `model`; `is_vertex` tells the two platforms apart.
pub(in super::super) async fn embed(
    api: &Api,
    how: Embeds,
    model: &str,
    is_vertex: bool,
    body: &[u8],
) -> Result<Response<SimBody>, ApiError> {
    api.resolve(Some(model))?;
    match how {
        Embeds::One => {
            let (text, length) = content(parse(body)?, model, is_vertex, false)?;
            let (values, tokens) = vector(api, &text, length).await?;
            let mut answer = json!({"embedding": {"values": values}});
            if is_vertex {
                answer["usageMetadata"] = json!({"promptTokenCount": tokens, "totalTokenCount": tokens});
                answer["truncated"] = json!(false);
            }
            Ok(json_response(&answer))
        }
        Embeds::Batch => {
            let batch: Batch = parse(body)?;
            limited(batch.requests.len())?;
            let mut embeddings = Vec::new();
            for request in batch.requests {
                let asked = serde_json::from_value(request).map_err(|error| ApiError::bad_body(&error))?;
                let (text, length) = content(asked, model, is_vertex, true)?;
                embeddings.push(json!({"values": vector(api, &text, length).await?.0}));
            }
            Ok(json_response(&json!({"embeddings": embeddings})))
        }
        Embeds::Predicts => {
            let asked: Predict = parse(body)?;
            limited(asked.instances.len())?;
            let mut predictions = Vec::new();
            for instance in &asked.instances {
                let length = asked.parameters.output_dimensionality;
                let (values, tokens) = vector(api, &instance.content, length).await?;
                let statistics = json!({"token_count": tokens, "truncated": false});
                predictions.push(json!({"embeddings": {"values": values, "statistics": statistics}}));
            }
            let billable: usize = asked.instances.iter().map(|instance| instance.content.len()).sum();
            let metadata = json!({"billableCharacterCount": billable});
            Ok(json_response(&json!({"predictions": predictions, "metadata": metadata})))
        }
    }
}

/// The text of a content, and how long its vector is to be.
fn content(
    asked: Asked,
    model: &str,
    is_vertex: bool,
    in_batch: bool,
) -> Result<(String, Option<usize>), ApiError> {
    if in_batch && !is_vertex && asked.model.as_deref() != Some(&format!("models/{model}")) {
        return Err(ApiError::bad_request(
            "BatchEmbedContentsRequest.requests[0].model: must match the model of the path",
        ));
    }
    if asked.embed_content_config.is_some() && !is_vertex {
        let message =
            "Invalid JSON payload received. Unknown name \"embedContentConfig\": Cannot find field.";
        return Err(ApiError::bad_request(message));
    }
    let config = asked.embed_content_config.unwrap_or_default();
    let length = config.output_dimensionality.or(asked.output_dimensionality);
    let text: Vec<_> = asked.content.parts.into_iter().map(|part| part.text).collect();
    Ok((text.concat(), length))
}

fn limited(texts: usize) -> Result<(), ApiError> {
    if (1..=MAX_TEXTS).contains(&texts) {
        Ok(())
    } else {
        Err(ApiError::bad_request(format!("{texts} instance(s) are not allowed: expected 1 to {MAX_TEXTS}.")))
    }
}

async fn vector(api: &Api, text: &str, length: Option<usize>) -> Result<(Vec<f32>, usize), ApiError> {
    let length = length.unwrap_or(LENGTH);
    if !(1..=LENGTH).contains(&length) {
        return Err(ApiError::bad_request(format!("outputDimensionality must be 1 to {LENGTH}.")));
    }
    let tokens = api.read(None, &[text.as_bytes()]).await?;
    Ok((embedding(text.as_bytes(), length), tokens))
}
