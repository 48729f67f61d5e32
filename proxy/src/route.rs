//! The route phase: which rule serves a request, and the answers that need no upstream.

use bytes::Bytes;
use http::{Method, StatusCode, header};
use penstock_config::{Action, ListenerIndex, Lookup, Matched, RequestModel, RouteRequest};
use pingora_error::Result;
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::Session;
use serde_json::json;

use crate::attempt::Plan;
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
pub async fn decide(session: &mut Session, ctx: &mut RequestContext) -> Result<bool> {
    let has_body = !session.downstream_session.is_body_empty();
    if !has_body {
        ctx.exchange.complete();
    }
    let first = if has_body { RequestModel::Unread } else { RequestModel::Absent };
    let mut step = look_up(session.req_header(), ctx, first);
    if has_body && step.needs_body(ctx) {
        ctx.peeked = Some(peek::read(session, ctx).await?);
        step = match ctx.model() {
            Some(model) => look_up(session.req_header(), ctx, RequestModel::Named(model)),
            None => look_up(session.req_header(), ctx, RequestModel::Absent),
        };
    } else if has_body {
        peek::continue_if_expected(session).await?;
    }
    if step.lists_models(ctx) {
        return list_models(session, ctx).await;
    }
    match step {
        Step::Forward(plan) => {
            ctx.plan = Some(plan);
            Ok(false)
        }
        Step::Redirect { status, location } => {
            respond::redirect(session, ctx, status, &location).await?;
            Ok(true)
        }
        Step::Unknown => Err(ctx.exchange.refuse(unknown_model(ctx))),
        Step::NeedsModel => Err(ctx.exchange.refuse(Error::MissingModel)),
        Step::Nowhere => Err(ctx.exchange.refuse(no_route(ctx))),
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
        let is_claimed = match self {
            // A rule for everything below `/` or `/v1` serves models, not the list of them.
            Self::Forward(plan) => {
                plan.prefix_length.is_none_or(|length| length >= MODELS_PATH.len())
                    || ctx.runtime().models(ctx.exchange.listener(), &ctx.target.host).is_empty()
            }
            Self::Redirect { .. } => true,
            Self::NeedsModel | Self::Unknown | Self::Nowhere => false,
        };
        is_asked && !is_claimed
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
    match snapshot.route(ListenerIndex(ctx.exchange.listener()), &request) {
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
            let listener = &ctx.runtime().snapshot().listeners[ctx.exchange.listener()];
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
    let known = ctx.runtime().models(ctx.exchange.listener(), &ctx.target.host);
    Error::unknown_model(ctx.model().unwrap_or_default(), known.iter().map(|model| &*model.id))
}

/// Answers `GET /v1/models` and `GET /v1/models/{id}` in OpenAI's shape.
async fn list_models(session: &mut Session, ctx: &mut RequestContext) -> Result<bool> {
    let models = ctx.runtime().models(ctx.exchange.listener(), &ctx.target.host);
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
                    return Err(ctx.exchange.refuse(Error::unknown_model(&asked, known)));
                }
            }
        }
        _ => return Err(ctx.exchange.refuse(no_route(ctx))),
    };
    let mut header = ResponseHeader::build(StatusCode::OK, Some(4))?;
    header.insert_header(header::CONTENT_TYPE, "application/json")?;
    respond::answer(session, ctx, header, Bytes::from(body.to_string())).await?;
    Ok(true)
}
