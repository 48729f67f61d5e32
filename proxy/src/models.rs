//! `GET /v1/models` and `GET /v1/models/{id}` in OpenAI's shape: what a listener serves, as far as who asks may ask for it.

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use crate::client::Client;
use crate::context::{Arrived, Response};
use crate::decide::MODELS_PATH;
use crate::error::Error;
use crate::{admit, respond};

/// Answers with the models that the request's host can ask for, or with the one that its path names.
///
/// # Errors
/// The path names a model that does not exist, or the client is gone.
pub(crate) async fn list(
    client: &mut Client<'_>,
    arrived: &mut Arrived,
    response: &mut Response,
) -> Result<(), Error> {
    let mut models = arrived.runtime().models(arrived.listener, &arrived.target.host);
    models.retain(|model| admit::may_ask(arrived, client.head(), &model.id));
    let path = arrived.target.path().trim_end_matches('/');
    let asked = path.strip_prefix(MODELS_PATH).and_then(|below| below.strip_prefix('/'));
    let body = match asked {
        None => {
            let entries: Vec<Value> = models.iter().map(|model| model.to_json()).collect();
            json!({ "object": "list", "data": entries })
        }
        Some(asked) => {
            let asked = percent_encoding::percent_decode_str(asked).decode_utf8_lossy();
            let Some(model) = models.iter().find(|model| *model.id == *asked) else {
                return Err(Error::unknown_model(&asked, models.iter().map(|model| &*model.id)));
            };
            model.to_json()
        }
    };
    let content_type = (header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let body = Bytes::from(body.to_string());
    respond::answer(client, arrived, response, StatusCode::OK, content_type, body).await
}
