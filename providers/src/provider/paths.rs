//! Paths of requests that keep their API.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::{Call, Provider, Schema};
use crate::api::Api;
use crate::conversation::Refused;

/// What is encoded in a segment of a path: all but what RFC 3986 calls unreserved.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Path and query of a request whose API is the upstream's own.
///
/// # Errors
/// The path has to name the model, and the request names none.
pub(super) fn own(provider: &Provider, call: &Call<'_>, api: Api) -> Result<String, Refused> {
    let path = match (provider.schema, api.rest(call.path)) {
        (_, None) => with_model_in_path(call, api)?,
        (Schema::AzureOpenAi, Some(rest)) => return azure(provider, call, rest),
        (Schema::Cohere, Some(rest)) if api == Api::Rerank => {
            format!("/{}{rest}", provider.place.prefix.as_deref().unwrap_or("v2"))
        }
        (_, Some(rest)) => prefixed(provider, rest),
    };
    Ok(with_query(path, call.query))
}

/// The path of an API that names the model there: with the upstream's name of it, where that is another.
///
/// # Errors
/// The body names a model as well. It would have been routed by that one, and served by the one of the path.
fn with_model_in_path(call: &Call<'_>, api: Api) -> Result<String, Refused> {
    if call.asked_model.is_some() {
        return Err(Refused::new("model", "the path names the model: leave `model` out of the body"));
    }
    if call.model.is_none() {
        return Ok(call.path.to_owned());
    }
    let model = segment(call)?;
    let (before, last) = call.path.rsplit_once('/').unwrap_or_default();
    Ok(match (api, last.split_once(':')) {
        (Api::Gemini, Some((_, method))) => format!("{before}/{model}:{method}"),
        _ => format!("{}/{model}/{last}", before.rsplit_once('/').unwrap_or_default().0),
    })
}

/// Path and query of a request that is of no known API: what stands below `/v1` does so below the prefix.
pub(super) fn other(provider: &Provider, call: &Call<'_>) -> String {
    let has_prefix = matches!(provider.schema, Schema::OpenAi | Schema::Anthropic | Schema::Cohere);
    let below = call.path.strip_prefix("/v1").filter(|rest| rest.starts_with('/'));
    let path = match below {
        Some(rest) if has_prefix => prefixed(provider, rest),
        _ => call.path.to_owned(),
    };
    with_query(path, call.query)
}

/// The path of OpenAI's chat API at an upstream that has it.
pub(super) fn chat(provider: &Provider, call: &Call<'_>) -> Result<String, Refused> {
    const CHAT: &str = "/chat/completions";
    if provider.schema == Schema::AzureOpenAi {
        azure(provider, call, CHAT)
    } else {
        Ok(prefixed(provider, CHAT))
    }
}

/// The path of Anthropic's Messages.
pub(super) fn messages(provider: &Provider) -> String {
    prefixed(provider, "/messages")
}

/// The path at which vLLM counts a prompt's tokens, which is beside its `/v1`.
pub(super) fn tokenize(provider: &Provider) -> String {
    let prefix = provider.place.prefix.as_deref().unwrap_or("v1");
    match prefix.strip_suffix("v1").unwrap_or(prefix).trim_end_matches('/') {
        "" => "/tokenize".to_owned(),
        before => format!("/{before}/tokenize"),
    }
}

fn prefixed(provider: &Provider, rest: &str) -> String {
    match provider.place.prefix.as_deref() {
        Some("") => rest.to_owned(),
        Some(prefix) => format!("/{prefix}{rest}"),
        None => format!("/v1{rest}"),
    }
}

/// Azure's path: by deployment where a version is configured, otherwise that of its v1 API, which reads the model from the
/// body.
fn azure(provider: &Provider, call: &Call<'_>, rest: &str) -> Result<String, Refused> {
    let Some(version) = provider.place.version.as_deref() else {
        return Ok(with_query(format!("/openai/v1{rest}"), call.query));
    };
    let version = utf8_percent_encode(version, SEGMENT);
    if call.api == Some(Api::Responses) {
        return Ok(format!("/openai{rest}?api-version={version}"));
    }
    let deployment = segment(call)?;
    Ok(format!("/openai/deployments/{deployment}{rest}?api-version={version}"))
}

/// The model as a segment of a path.
///
/// # Errors
/// The request names none, or one that would lead elsewhere.
pub(super) fn segment(call: &Call<'_>) -> Result<String, Refused> {
    match call.model {
        None | Some("") => Err(Refused::new("model", "`model` is missing: the upstream's path names it")),
        Some("." | "..") => Err(Refused::new("model", "`model` is no name that a path can have")),
        Some(model) => Ok(utf8_percent_encode(model, SEGMENT).to_string()),
    }
}

fn with_query(path: String, query: Option<&str>) -> String {
    match query {
        Some(query) => format!("{path}?{query}"),
        None => path,
    }
}
