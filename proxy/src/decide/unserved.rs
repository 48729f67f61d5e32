//! What a request is told that no rule takes as it came: that its model is unknown or missing, that its path takes other
//! methods, or that nothing is served there.
//!
//! A rule that goes by models alone holds for every path, and yet serves only requests that name a model in their body.
//! So for a request without a body it says nothing about the path: at one that is known to take another method the answer
//! is 405, `OPTIONS` is told the methods, and all else is 404.

use http::Method;
use penstock_config::{Lookup, RequestModel};

use super::{Action, Question, is_models_path};
use crate::error::Error;
use crate::head::ALLOWED_METHODS;
use crate::runtime::Runtime;

/// How the paths of the APIs end at which a body that names a model is posted. Of other paths nobody knows.
const POSTED: [&str; 16] = [
    "/completions",
    "/embeddings",
    "/responses",
    "/messages",
    "/messages/count_tokens",
    "/rerank",
    "/score",
    "/pooling",
    "/classify",
    "/tokenize",
    "/detokenize",
    "/audio/speech",
    "/audio/transcriptions",
    "/audio/translations",
    "/images/generations",
    "/images/edits",
];

/// What is done with a request that no rule takes.
///
/// # Errors
/// It is refused, unless it asks for the methods.
pub(super) fn action(
    runtime: &Runtime,
    question: &Question<'_>,
    lookup: &Lookup<'_>,
    model: RequestModel<'_>,
) -> Result<Action, Error> {
    let is_model_at_fault = !matches!(lookup, Lookup::NoRoute);
    if let (true, RequestModel::Named(name)) = (is_model_at_fault, model) {
        let known = runtime.models(question.listener, question.host);
        return Err(Error::unknown_model(name, known.iter().map(|model| &*model.id)));
    }
    let has_body = matches!(*question.method, Method::POST | Method::PUT | Method::PATCH);
    if is_model_at_fault && has_body && !is_models_path(question.path) {
        return Err(Error::MissingModel);
    }
    match allowed(question, is_model_at_fault) {
        Some(allow) if *question.method == Method::OPTIONS => Ok(Action::TellMethods { allow }),
        Some(allow) => Err(Error::MethodNotAllowed { allow }),
        None if is_model_at_fault => Err(Error::no_model(question.method.as_str(), question.path)),
        None => Err(Error::no_route(question.method.as_str(), question.path)),
    }
}

/// The methods with which something is served at the path, as `Allow` lists them, where that is known. A rule whose
/// condition on the method is not met does not count: that is 404 by Gateway API.
fn allowed(question: &Question<'_>, is_model_at_fault: bool) -> Option<&'static str> {
    let is_posted = || POSTED.iter().any(|end| question.path.ends_with(end));
    match question.path {
        // RFC 9110, 9.3.7: what the server as a whole can do.
        "*" if *question.method == Method::OPTIONS => Some(ALLOWED_METHODS),
        path if is_models_path(path) => Some("GET, HEAD, OPTIONS"),
        _ if is_model_at_fault && is_posted() => Some("POST, OPTIONS"),
        _ => None,
    }
}
