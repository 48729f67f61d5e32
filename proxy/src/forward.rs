//! The forward phase: what an attempt sends, and to whom.

use std::net::IpAddr;

use bytes::Bytes;
use http::request::Parts as ReqParts;
use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, Uri, header};
use penstock_config::{Engine, Rule, Target, Upstream};
use penstock_picker::orca;
use pingora_core::protocols::l4::socket::SocketAddr;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_error::Result;
use pingora_http::RequestHeader;
use pingora_proxy::Session;

use crate::attempt::{Attempt, AttemptEndpoint};
use crate::context::RequestContext;
use crate::error::Error;
use crate::request_id;

pub mod retry;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Starts the attempt that `pick` chose: sets its body and its clock, and names the peer to connect to.
///
/// # Errors
/// The rule renames the model of a body in which it cannot be replaced.
pub fn start(ctx: &mut RequestContext) -> Result<Box<HttpPeer>> {
    let runtime = ctx.runtime().clone();
    let (Some(plan), Some(attempt)) = (&ctx.plan, &ctx.attempt) else {
        return Err(ctx.exchange.refuse(Error::Internal(None)));
    };
    let rule = &runtime.snapshot().rules()[plan.rule];
    let Some(target) = attempt.target_of(rule) else {
        return Err(ctx.exchange.refuse(Error::Internal(None)));
    };
    let outgoing = renamed_body(ctx, target).map_err(|error| ctx.exchange.refuse(error))?;
    let peer = match (&attempt.endpoint, target.upstream) {
        (AttemptEndpoint::Pool { endpoint, .. }, Upstream::Pool(index)) => {
            runtime.pool_peers(index).peer(endpoint.address(), endpoint.id().get(), None)
        }
        (AttemptEndpoint::Backend { address, name, .. }, Upstream::Backend(index)) => {
            runtime.backend_peers(index).peer(*address, 0, Some(&name.host))
        }
        _ => return Err(ctx.exchange.refuse(Error::Internal(None))),
    };
    ctx.exchange.set_outgoing(outgoing);
    ctx.exchange.start_attempt(rule.timeouts.per_try, rule.timeouts.stream_idle);
    ctx.attempts += 1;
    let upstream = target.upstream;
    if let Some(attempt) = &mut ctx.attempt {
        attempt.start(runtime.upstream_metrics(upstream));
    }
    Ok(Box::new(peer))
}

/// Makes the request's header what the attempt's upstream is to see.
///
/// # Errors
/// A rewrite gave something that is no URI; the configuration's own checks leave no such case.
pub fn rewrite(session: &Session, request: &mut RequestHeader, ctx: &RequestContext) -> Result<()> {
    let runtime = ctx.runtime();
    let (Some(plan), Some(attempt)) = (&ctx.plan, &ctx.attempt) else {
        return Err(ctx.exchange.refuse(Error::Internal(None)));
    };
    let rule = &runtime.snapshot().rules()[plan.rule];
    let Some(target) = attempt.target_of(rule) else {
        return Err(ctx.exchange.refuse(Error::Internal(None)));
    };
    set_path(request, rule, ctx)?;
    forget_spelling(request);
    set_host(request, rule, attempt, ctx)?;
    set_framing(request, ctx)?;
    set_own_headers(session, request, ctx)?;
    for edits in [&rule.request_headers, &target.request_headers] {
        apply_edits(request, edits)?;
    }
    Ok(())
}

/// The body with the model replaced, where the target renames it; `None` for the body as it came.
fn renamed_body(ctx: &RequestContext, target: &Target) -> Result<Option<Vec<Bytes>>, Error> {
    let Some(name) = &target.model_override else { return Ok(None) };
    let Some(model) = ctx.peeked.as_ref().and_then(|peeked| peeked.model.as_ref()) else { return Ok(None) };
    if model.name == **name {
        return Ok(None);
    }
    let Some(range) = model.range.clone() else { return Err(Error::EncodedRename) };
    let replaced = penstock_peek::replacement(name, model.notation)
        .and_then(|with| penstock_peek::splice(&ctx.exchange.held(), range, with));
    match replaced {
        Ok(spliced) => Ok(Some(spliced.chunks)),
        Err(error) => Err(Error::Internal(Some(Box::new(error)))),
    }
}

fn set_path(request: &mut RequestHeader, rule: &Rule, ctx: &RequestContext) -> Result<()> {
    let rewrite = rule.rewrite.as_ref().and_then(|rewrite| rewrite.path.as_ref());
    let is_absolute_form = request.uri.scheme().is_some() && request.version != http::Version::HTTP_2;
    let target = match rewrite {
        Some(rewrite) => {
            let prefix_length = ctx.plan.as_ref().and_then(|plan| plan.prefix_length);
            let path = ctx.target.path();
            let prefix = path.get(..prefix_length.unwrap_or(0)).unwrap_or_default();
            let path = rewrite.apply(path, prefix);
            match ctx.target.query() {
                Some(query) => PathAndQuery::try_from(format!("{path}?{query}")),
                None => PathAndQuery::try_from(path),
            }
        }
        // An upstream is no proxy: it gets the origin form.
        None if is_absolute_form => match request.uri.path_and_query() {
            Some(target) => Ok(target.clone()),
            None => Ok(PathAndQuery::from_static("/")),
        },
        None => return Ok(()),
    };
    let target = target.map_err(|error| ctx.exchange.refuse(Error::Internal(Some(Box::new(error)))))?;
    request.set_uri(Uri::from(target));
    Ok(())
}

fn set_host(request: &mut RequestHeader, rule: &Rule, attempt: &Attempt, ctx: &RequestContext) -> Result<()> {
    if let Some(host) = rule.rewrite.as_ref().and_then(|rewrite| rewrite.hostname.as_ref()) {
        return request.insert_header(header::HOST, host.clone());
    }
    // A service that is known by a DNS name, such as a hosted API, is asked by that name.
    if let AttemptEndpoint::Backend { name, .. } = &attempt.endpoint
        && name.host.parse::<IpAddr>().is_err()
    {
        return request.insert_header(header::HOST, &*name.authority);
    }
    if !request.headers.contains_key(header::HOST) && !ctx.target.host.is_empty() {
        return request.insert_header(header::HOST, ctx.target.host.as_str());
    }
    Ok(())
}

/// Names of headers go out in lower case. Pingora keeps how the client spelled them in a second map beside the
/// headers, which every change and every write would have to walk too.
fn forget_spelling(request: &mut RequestHeader) {
    let path = request.uri.path_and_query().map(|path| path.as_str().as_bytes());
    // A target that the URI cannot express is kept aside by Pingora as well, and would be lost.
    if path != Some(request.raw_path()) {
        return;
    }
    let empty = RequestHeader::from(http::Request::new(()).into_parts().0);
    let parts = ReqParts::from(std::mem::replace(request, empty));
    *request = RequestHeader::from(parts);
}

/// A body that is all here is sent with its length, however it came: some model servers read no chunked bodies,
/// and none reads them faster.
fn set_framing(request: &mut RequestHeader, ctx: &RequestContext) -> Result<()> {
    request.remove_header(&header::EXPECT);
    if ctx.exchange.is_complete() {
        let length = ctx.exchange.outgoing_bytes();
        request.remove_header(&header::TRANSFER_ENCODING);
        if length > 0 || request.headers.contains_key(header::CONTENT_LENGTH) {
            let length = HeaderValue::from(length);
            if request.headers.get(header::CONTENT_LENGTH) != Some(&length) {
                request.insert_header(header::CONTENT_LENGTH, length)?;
            }
        }
    }
    Ok(())
}

fn set_own_headers(session: &Session, request: &mut RequestHeader, ctx: &RequestContext) -> Result<()> {
    request.insert_header(request_id::HEADER, ctx.request_id.header_value())?;
    if let Some(AttemptEndpoint::Pool { endpoint, .. }) =
        ctx.attempt.as_ref().map(|attempt| &attempt.endpoint)
        && reports_load(endpoint.engine())
    {
        let (name, format) = orca::FORMAT_HEADER;
        request.insert_header(name, format)?;
    }
    if let Some(SocketAddr::Inet(client)) = session.client_addr() {
        let mut chain = Vec::new();
        // Several lines are one list (RFC 9110 §5.3).
        for before in request.headers.get_all(&X_FORWARDED_FOR) {
            chain.extend_from_slice(before.as_bytes());
            chain.extend_from_slice(b", ");
        }
        chain.extend_from_slice(client.ip().to_string().as_bytes());
        request.remove_header(&X_FORWARDED_FOR);
        if let Ok(chain) = HeaderValue::from_bytes(&chain) {
            request.insert_header(X_FORWARDED_FOR, chain)?;
        }
    }
    let is_tls = ctx.runtime().snapshot().listeners[ctx.exchange.listener()].is_tls();
    let protocol = if is_tls { "https" } else { "http" };
    request.insert_header(X_FORWARDED_PROTO, HeaderValue::from_static(protocol))
}

/// Whether an engine answers with its load where it is asked to (ORCA).
fn reports_load(engine: Engine) -> bool {
    match engine {
        Engine::Vllm | Engine::Triton | Engine::TritonTensorrtLlm => true,
        Engine::Sglang | Engine::TrtllmServe => false,
    }
}

/// As [`penstock_config::HeaderEdits::apply`], through Pingora's header, which keeps names' spelling apart.
fn apply_edits(request: &mut RequestHeader, edits: &penstock_config::HeaderEdits) -> Result<()> {
    for name in &edits.remove {
        request.remove_header(name);
    }
    for (name, value) in &edits.set {
        request.insert_header(name.clone(), value.clone())?;
    }
    for (name, value) in &edits.add {
        request.append_header(name.clone(), value.clone())?;
    }
    Ok(())
}
