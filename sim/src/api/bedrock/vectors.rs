//! Embeddings by Bedrock's InvokeModel: each maker's models have a form of their own, and refuse the others'.

use http::{HeaderValue, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::{Api, error::ApiError, json as json_response, pooling::embedding, request::parse};
use crate::body::SimBody;

/// Most texts of a request to Cohere's models.
const MAX_TEXTS: usize = 96;

/// Whether a model embeds.
pub(in super::super) fn is_for(model: &str) -> bool {
    model.contains("embed")
}

/// `/model/{id}/invoke` of a model that embeds.
pub(in super::super) async fn invoke(
    api: &Api,
    model: &str,
    body: &[u8],
) -> Result<Response<SimBody>, ApiError> {
    api.resolve(Some(model))?;
    let (answer, tokens) = if model.contains("cohere.") {
        cohere(api, model, body).await?
    } else if model.contains("nova") {
        nova(api, body).await?
    } else {
        titan(api, model, body).await?
    };
    let mut response = json_response(&answer);
    response.headers_mut().insert("x-amzn-bedrock-input-token-count", HeaderValue::from(tokens));
    Ok(response)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Titan {
    input_text: String,
    dimensions: Option<usize>,
    #[serde(rename = "normalize")]
    _normalize: Option<bool>,
    embedding_config: Option<TitanConfig>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct TitanConfig {
    output_embedding_length: Option<usize>,
}

async fn titan(api: &Api, model: &str, body: &[u8]) -> Result<(Value, usize), ApiError> {
    let asked: Titan = parse(body)?;
    let is_second = model.contains("titan-embed-text-v2");
    let is_image = model.contains("titan-embed-image");
    let lengths: &[usize] = if is_image { &[256, 384, 1024] } else { &[256, 512, 1024] };
    let extra = [
        ("dimensions", asked.dimensions.is_some() && !is_second),
        ("normalize", asked._normalize.is_some() && !is_second),
        ("embeddingConfig", asked.embedding_config.is_some() && !is_image),
    ];
    if let Some((name, _)) = extra.iter().find(|(_, is_there)| *is_there) {
        let message = format!(
            "Malformed input request: extraneous key [{name}] is not permitted, please reformat your \
                               input and try again."
        );
        return Err(ApiError::bad_request(message));
    }
    let length =
        asked.dimensions.or(asked.embedding_config.and_then(|config| config.output_embedding_length));
    if length.is_some_and(|length| !lengths.contains(&length)) {
        let message = "Malformed input request: the length of the embedding is not one that is valid, please reformat \
                       your input and try again.";
        return Err(ApiError::bad_request(message));
    }
    let length = length.unwrap_or(if is_second || is_image { 1024 } else { 1536 });
    let tokens = api.read(None, &[asked.input_text.as_bytes()]).await?;
    let vector = embedding(asked.input_text.as_bytes(), length);
    Ok((json!({"embedding": vector, "inputTextTokenCount": tokens}), tokens))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cohere {
    texts: Vec<String>,
    input_type: String,
    truncate: Option<String>,
    output_dimension: Option<usize>,
}

async fn cohere(api: &Api, model: &str, body: &[u8]) -> Result<(Value, usize), ApiError> {
    let asked: Cohere = parse(body)?;
    if asked.texts.is_empty() || asked.texts.len() > MAX_TEXTS {
        let message = format!("Malformed input request: #/texts: expected 1 to {MAX_TEXTS} items");
        return Err(ApiError::bad_request(message));
    }
    if !["search_document", "search_query", "classification", "clustering", "image"]
        .contains(&asked.input_type.as_str())
    {
        return Err(ApiError::bad_request("Malformed input request: #/input_type: not a valid enum value"));
    }
    if asked.truncate.is_some_and(|end| !["NONE", "START", "END", "LEFT", "RIGHT"].contains(&end.as_str())) {
        return Err(ApiError::bad_request("Malformed input request: #/truncate: not a valid enum value"));
    }
    let is_fourth = model.contains("embed-v4");
    if asked.output_dimension.is_some() && !is_fourth {
        let message = "Malformed input request: extraneous key [output_dimension] is not permitted";
        return Err(ApiError::bad_request(message));
    }
    let length = asked.output_dimension.unwrap_or(if is_fourth { 1536 } else { 1024 });
    let (vectors, tokens) = all(api, &asked.texts, length).await?;
    let answer = json!({
        "id": "0", "response_type": "embeddings_floats", "texts": asked.texts, "embeddings": vectors,
    });
    Ok((answer, tokens))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Nova {
    #[serde(rename = "schemaVersion")]
    _schema: Option<String>,
    task_type: String,
    single_embedding_params: NovaParams,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NovaParams {
    embedding_purpose: String,
    embedding_dimension: Option<usize>,
    text: NovaText,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NovaText {
    #[serde(rename = "truncationMode")]
    _truncation: String,
    value: String,
}

async fn nova(api: &Api, body: &[u8]) -> Result<(Value, usize), ApiError> {
    let asked: Nova = parse(body)?;
    let params = asked.single_embedding_params;
    let length = params.embedding_dimension.unwrap_or(3072);
    let is_known = asked.task_type == "SINGLE_EMBEDDING" && !params.embedding_purpose.is_empty();
    if !is_known || ![256, 384, 1024, 3072].contains(&length) {
        return Err(ApiError::bad_request(
            "Invalid request: taskType or singleEmbeddingParams is not valid.",
        ));
    }
    let tokens = api.read(None, &[params.text.value.as_bytes()]).await?;
    let vector = embedding(params.text.value.as_bytes(), length);
    Ok((json!({"embeddings": [{"embeddingType": "TEXT", "embedding": vector}]}), tokens))
}

/// The vectors of texts, and their tokens.
pub(in super::super) async fn all(
    api: &Api,
    texts: &[String],
    length: usize,
) -> Result<(Vec<Vec<f32>>, usize), ApiError> {
    let mut tokens = 0;
    let mut vectors = Vec::with_capacity(texts.len());
    for text in texts {
        tokens += api.read(None, &[text.as_bytes()]).await?;
        vectors.push(embedding(text.as_bytes(), length));
    }
    Ok((vectors, tokens))
}
