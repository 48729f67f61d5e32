//! `/tokenize` and `/detokenize`.

use std::borrow::Cow;

use http::Response;
use serde::Deserialize;
use serde_json::json;

use super::{
    Api,
    chat::Message,
    error::ApiError,
    json as json_response,
    request::{GenerateRequest, Text, bytes, parse},
};
use crate::{body::SimBody, tokens};

#[derive(Deserialize)]
struct Tokenize<'a> {
    #[serde(borrow)]
    model: Option<Text<'a>>,
    #[serde(borrow)]
    prompt: Option<Text<'a>>,
    #[serde(borrow)]
    messages: Option<Vec<Message<'a>>>,
}

pub(super) fn tokenize(api: &Api, body: &[u8]) -> Result<Response<SimBody>, ApiError> {
    let request: Tokenize<'_> = parse(body)?;
    api.resolve(request.model.as_ref().map(|model| &*model.0))?;
    let text: Cow<'_, [u8]> = match (&request.prompt, &request.messages) {
        (Some(prompt), None) => bytes(&prompt.0),
        (None, Some(messages)) => {
            let mut chat = GenerateRequest::default();
            for message in messages {
                chat.push_turn(&message.role.0, &message.content);
            }
            chat.push_opening(None);
            Cow::Owned(chat.pieces.concat())
        }
        _ => return Err(ApiError::bad_request("Either prompt or messages must be given.")),
    };
    let tokens = tokens::encode(&text);
    Ok(json_response(&json!({
        "count": tokens.len(), "max_model_len": api.options.max_model_len, "tokens": tokens, "token_strs": null,
    })))
}

#[derive(Deserialize)]
struct Detokenize<'a> {
    #[serde(borrow)]
    model: Option<Text<'a>>,
    tokens: Vec<u32>,
}

pub(super) fn detokenize(api: &Api, body: &[u8]) -> Result<Response<SimBody>, ApiError> {
    let request: Detokenize<'_> = parse(body)?;
    api.resolve(request.model.as_ref().map(|model| &*model.0))?;
    Ok(json_response(&json!({"prompt": tokens::decode(&request.tokens)})))
}
