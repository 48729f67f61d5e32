//! Counts of tokens, as Anthropic, Bedrock and Google answer them.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::Response;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    Api, bedrock, claude,
    error::ApiError,
    gemini, json as json_response, messages,
    request::{GenerateRequest, parse},
};
use crate::body::SimBody;

/// `/v1/messages/count_tokens`, and `…/publishers/anthropic/models/count-tokens:rawPredict` on Vertex.
pub(super) fn of_messages(api: &Api, body: &[u8]) -> Result<Response<SimBody>, ApiError> {
    let tokens = anthropic(api, body, None)?;
    Ok(json_response(&json!({"input_tokens": tokens})))
}

/// `/model/{id}/count-tokens`.
pub(super) fn of_bedrock(api: &Api, model: String, body: &[u8]) -> Result<Response<SimBody>, ApiError> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Request {
        input: Input,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    enum Input {
        Converse(Value),
        InvokeModel { body: String },
    }
    let tokens = match parse::<Request>(body)?.input {
        Input::Converse(request) => {
            let request = request.to_string();
            api.count(&bedrock::conversation(model, false, request.as_bytes())?)?
        }
        Input::InvokeModel { body } => {
            let body = BASE64_STANDARD
                .decode(body)
                .map_err(|_| ApiError::bad_request("input.invokeModel.body: not base64"))?;
            claude::check(claude::Platform::Bedrock, &body)?;
            anthropic(api, &body, Some(model))?
        }
    };
    Ok(json_response(&json!({"inputTokens": tokens})))
}

/// `…:countTokens`.
pub(super) fn of_google(api: &Api, model: String, body: &[u8]) -> Result<Response<SimBody>, ApiError> {
    let mut members: Map<String, Value> = parse(body)?;
    let request = match members.remove("generateContentRequest") {
        Some(Value::Object(mut request)) => {
            request.remove("model");
            Value::Object(request)
        }
        Some(_) => return Err(ApiError::bad_request("generateContentRequest: not an object")),
        None => Value::Object(members),
    };
    let request = request.to_string();
    let tokens = api.count(&gemini::generate_request(model, false, request.as_bytes())?)?;
    let details = json!([{"modality": "TEXT", "tokenCount": tokens}]);
    Ok(json_response(&json!({"totalTokens": tokens, "promptTokensDetails": details})))
}

/// The tokens of a request of Anthropic's, which must not say how many may be written.
fn anthropic(api: &Api, body: &[u8], model: Option<String>) -> Result<usize, ApiError> {
    let mut members: Map<String, Value> = parse(body)?;
    if model.is_none()
        && let Some(extra) = ["max_tokens", "stream", "temperature", "metadata"]
            .into_iter()
            .find(|name| members.contains_key(*name))
    {
        return Err(ApiError::bad_request(format!("{extra}: Extra inputs are not permitted")));
    }
    members.insert("max_tokens".to_owned(), json!(1));
    if let Some(model) = model {
        members.insert("model".to_owned(), json!(model));
    }
    let body = Value::Object(members).to_string();
    api.count(&messages::generate_request(body.as_bytes())?)
}

impl Api {
    /// The tokens of a prompt.
    fn count(&self, request: &GenerateRequest<'_>) -> Result<usize, ApiError> {
        let (_, lora) = self.resolve(request.model.as_deref())?;
        let mut hasher = self.hasher(lora);
        request.pieces.iter().for_each(|piece| hasher.push(piece));
        Ok(hasher.tokens())
    }
}
