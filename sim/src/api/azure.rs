//! Azure's paths of OpenAI's API: by deployment with a version, or below `/openai/v1`.

use bytes::Bytes;
use http::request::Parts;
use serde_json::{Value, json};

use super::{Answer, Dialect, chat::Chat, endpoint, error::ApiError, request::parse};

/// The body as OpenAI would have it: the deployment of the path takes the place of the model.
pub(super) fn body(parts: &Parts, body: Bytes) -> Result<Bytes, ApiError> {
    let path = parts.uri.path();
    if path.starts_with("/openai/v1/") {
        return Ok(body);
    }
    let query = parts.uri.query().unwrap_or_default();
    let version = query.split('&').find_map(|pair| pair.strip_prefix("api-version="));
    if version.is_none_or(str::is_empty) {
        return Err(ApiError::azure_not_found("Resource not found"));
    }
    let Some(deployment) = endpoint::deployment_of(path) else { return Ok(body) };
    let mut value: Value = parse(&body)?;
    let Some(object) = value.as_object_mut() else {
        return Err(ApiError::bad_request("The body has to be an object."));
    };
    object.insert("model".to_owned(), json!(deployment));
    Ok(value.to_string().into())
}

/// OpenAI's chat, whose streams begin with what the content filter says of the prompt.
pub(super) struct AzureChat;

impl Dialect for AzureChat {
    fn whole(&self, answer: &Answer) -> Vec<u8> {
        Chat.whole(answer)
    }

    fn open(&self, answer: &Answer) -> String {
        let filtered = json!([{"prompt_index": 0, "content_filter_results": {"hate": {"filtered": false, "severity": "safe"}}}]);
        let first = json!({
            "choices": [], "created": 0, "id": "", "model": "", "object": "", "prompt_filter_results": filtered,
        });
        format!("data: {first}\n\n{}", Chat.open(answer))
    }

    fn frame(&self, answer: &Answer) -> (String, &'static str) {
        Chat.frame(answer)
    }

    fn close(&self, answer: &Answer) -> String {
        Chat.close(answer)
    }
}
