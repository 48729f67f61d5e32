//! The route phase: which rule serves a request, and the answers that need no upstream.

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header};
use penstock_config::{Action, ListenerIndex, Lookup, Matched, RequestModel, RouteRequest};
use pingora_http::RequestHeader;
use serde_json::json;

use crate::attempt::Plan;
use crate::client::Client;
use crate::context::RequestContext;
use crate::error::Error;
use crate::{peek, respond};

/// Where the models that a listener serves are listed.
const MODELS_PATH: &str = "/v1/models";

/// Decides where the request goes; reads its body if that takes it.
///
/// Returns `true` when the request has been answered here.
///
/// # Errors
/// The request is refused, or the client is gone.
pub async fn decide(client: &mut Client, ctx: &mut RequestContext) -> Result<bool, Error> {
    let has_body = !client.is_body_empty();
    if !has_body {
        ctx.body.complete();
    }
    let first = if has_body { RequestModel::Unread } else { RequestModel::Absent };
    let mut step = look_up(client.head(), ctx, first);
    if has_body && step.needs_body(ctx) {
        ctx.peeked = Some(peek::read(client, ctx).await?);
        step = match ctx.model() {
            Some(model) => look_up(client.head(), ctx, RequestModel::Named(model)),
            None => look_up(client.head(), ctx, RequestModel::Absent),
        };
    } else if has_body && matches!(step, Step::Forward(_)) {
        peek::continue_if_expected(client).await?;
    }
    if step.lists_models(ctx) {
        return list_models(client, ctx).await;
    }
    match step {
        Step::Forward(plan) => {
            ctx.plan = Some(plan);
            Ok(false)
        }
        Step::Redirect { status, location } => {
            respond::redirect(client, ctx, status, &location).await?;
            Ok(true)
        }
        Step::Unknown => Err(unknown_model(ctx)),
        Step::NeedsModel => Err(Error::MissingModel),
        Step::Nowhere => Err(no_route(ctx)),
    }
}

/// What a lookup came to, without borrowing the snapshot.
enum Step {
    Forward(Plan),
    Redirect { status: StatusCode, location: String },
    NeedsModel,
    Unknown,
    Nowhere,
}

impl Step {
    /// Whether the body has to be read before the request can go on: to learn the model, or, for a pool, to
    /// know the prompt that the picker looks for.
    fn needs_body(&self, ctx: &RequestContext) -> bool {
        match self {
            Self::NeedsModel => true,
            Self::Forward(plan) => ctx.runtime().rule_wants_prompt(plan.rule),
            Self::Redirect { .. } | Self::Unknown | Self::Nowhere => false,
        }
    }

    /// Whether the request asks for the list of models and no rule claims it.
    fn lists_models(&self, ctx: &RequestContext) -> bool {
        let is_models = |rest: &str| rest.is_empty() || rest.starts_with('/');
        let is_asked = ctx.target.method == Method::GET
            && ctx.target.path().strip_prefix(MODELS_PATH).is_some_and(is_models);
        // Looking for models takes time with each of them, so only the requests that ask pay for it.
        is_asked
            && match self {
                // A rule for everything below `/` or `/v1` serves models, not the list of them.
                Self::Forward(plan) => {
                    plan.prefix_length.is_some_and(|length| length < MODELS_PATH.len())
                        && !ctx.runtime().models(ctx.listener, &ctx.target.host).is_empty()
                }
                Self::Redirect { .. } => false,
                Self::NeedsModel | Self::Unknown | Self::Nowhere => true,
            }
    }
}

fn look_up(header: &RequestHeader, ctx: &RequestContext, model: RequestModel<'_>) -> Step {
    let target = &ctx.target;
    let request = RouteRequest {
        host: &target.host,
        path: target.path(),
        query: target.query(),
        method: &target.method,
        headers: &header.headers,
        model,
    };
    let snapshot = ctx.runtime().snapshot();
    match snapshot.route(ListenerIndex(ctx.listener), &request) {
        Lookup::Rule(matched) => step_for(&matched, ctx),
        Lookup::NeedsModel => Step::NeedsModel,
        Lookup::UnknownModel if model == RequestModel::Absent => Step::NeedsModel,
        Lookup::UnknownModel => Step::Unknown,
        Lookup::NoRoute => Step::Nowhere,
    }
}

fn step_for(matched: &Matched<'_>, ctx: &RequestContext) -> Step {
    let prefix = matched.prefix.map(str::len);
    match &matched.rule.action {
        Action::Forward(_) => Step::Forward(Plan::new(matched.rule.index, prefix)),
        Action::Redirect(redirect) => {
            let listener = &ctx.runtime().snapshot().listeners[ctx.listener];
            let target = penstock_config::RedirectTarget {
                is_tls: listener.is_tls(),
                host: &ctx.target.host,
                port: listener.address.port(),
                path: ctx.target.path(),
                query: ctx.target.query(),
            };
            let location = redirect.location(&target, matched.prefix.unwrap_or(ctx.target.path()));
            Step::Redirect { status: redirect.status, location }
        }
    }
}

fn no_route(ctx: &RequestContext) -> Error {
    Error::no_route(ctx.target.method.as_str(), ctx.target.path())
}

fn unknown_model(ctx: &RequestContext) -> Error {
    let known = ctx.runtime().models(ctx.listener, &ctx.target.host);
    Error::unknown_model(ctx.model().unwrap_or_default(), known.iter().map(|model| &*model.id))
}

/// Answers `GET /v1/models` and `GET /v1/models/{id}` in OpenAI's shape.
async fn list_models(client: &mut Client, ctx: &mut RequestContext) -> Result<bool, Error> {
    let models = ctx.runtime().models(ctx.listener, &ctx.target.host);
    let entry = |model: &&penstock_config::ModelEntry| json!({ "id": &*model.id, "object": "model", "created": model.created, "owned_by": &*model.owned_by });
    let path = ctx.target.path().trim_end_matches('/');
    let body = match path.strip_prefix(MODELS_PATH) {
        Some("") => json!({ "object": "list", "data": models.iter().map(entry).collect::<Vec<_>>() }),
        Some(rest) if rest.starts_with('/') => {
            let asked = percent_encoding::percent_decode_str(&rest[1..]).decode_utf8_lossy();
            match models.iter().find(|model| *model.id == *asked) {
                Some(model) => entry(model),
                None => {
                    let known = models.iter().map(|model| &*model.id);
                    return Err(Error::unknown_model(&asked, known));
                }
            }
        }
        _ => return Err(no_route(ctx)),
    };
    let content_type = (header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    respond::answer(client, ctx, StatusCode::OK, content_type, Bytes::from(body.to_string())).await?;
    Ok(true)
}
