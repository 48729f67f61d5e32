//! The forward phase: runs the attempts, and decides what each sends, and to whom.

use std::future::poll_fn;
use std::io::Write;
use std::net::IpAddr;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use penstock_config::{Engine, Rewrite, Rule, Target, Upstream};
use penstock_picker::orca;

use crate::attempt::AttemptEndpoint;
use crate::client::Client;
use crate::context::RequestContext;
use crate::error::Error;
use crate::forward::retry::Failure;
use crate::peers::Peers;
use crate::runtime::Runtime;
use crate::upstream::{BodyFraming, Connection, Connections, Outgoing};
use crate::{pick, relay, request_id};

pub(crate) mod hop;
pub mod retry;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Runs attempts until one of them was answered, and passes its response on.
///
/// # Errors
/// The request cannot be answered by an upstream, or the response broke off.
pub async fn run(
    connections: &Connections,
    client: &mut Client,
    ctx: &mut RequestContext,
) -> Result<(), Error> {
    loop {
        match attempt(connections, client, ctx).await {
            Ok(Attempted::Answered) => return Ok(()),
            Ok(Attempted::Dropped) => {}
            Err(failure) => {
                retry::after(client, ctx, failure)?;
                if ctx.last_failure.is_some() {
                    retry::back_off(client, ctx).await?;
                }
                let chosen = pick::choose(client, ctx, pick::Patience::Queue).await;
                chosen.map_err(|error| retry::exhausted(ctx, error))?;
            }
        }
    }
}

/// What an attempt that got a response came to.
enum Attempted {
    /// The response was passed on.
    Answered,
    /// The response was dropped for another attempt, whose endpoint is chosen.
    Dropped,
}

async fn attempt(
    connections: &Connections,
    client: &mut Client,
    ctx: &mut RequestContext,
) -> Result<Attempted, Failure> {
    let runtime = ctx.runtime().clone();
    let (peers, body) = start(&runtime, ctx)?;
    let outgoing = head(client, ctx, &body)?;
    let mut connection = connect(connections, peers, client, ctx).await?;
    let exchanged = match connection.start(outgoing, body) {
        Ok(()) => relay::exchange(&mut connection, client, ctx).await,
        Err(error) => Err(error),
    };
    let is_stale = connection.is_stale();
    if matches!(exchanged, Err(Error::UpstreamTimeout | Error::StreamIdle)) {
        connection.distrust();
    }
    connections.release(connection);
    match exchanged {
        Ok(relay::Exchanged::Relayed) => Ok(Attempted::Answered),
        Ok(relay::Exchanged::Dropped) => Ok(Attempted::Dropped),
        Err(error) => Err(Failure { error, is_stale }),
    }
}

/// Starts the attempt that `pick` chose: its clock, its account, and the body that it sends.
fn start<'a>(runtime: &'a Runtime, ctx: &mut RequestContext) -> Result<(&'a Peers, Vec<Bytes>), Error> {
    let (rule, target) = chosen(runtime, ctx)?;
    let body = body_for(ctx, ctx.attempt.as_ref().and_then(|attempt| attempt.model.as_deref()))?;
    let upstream = target.upstream().ok_or(Error::Internal(None))?;
    let peers = match upstream {
        Upstream::Pool(index) => runtime.pool_peers(index),
        Upstream::Backend(index) => runtime.backend_peers(index),
    };
    ctx.deadlines.start_attempt(&rule.timeouts, peers.connection());
    ctx.attempts += 1;
    if let Some(attempt) = &mut ctx.attempt {
        attempt.start(runtime.upstream_metrics(upstream));
    }
    Ok((peers, body))
}

/// The rule that serves the request, and the target of the attempt.
fn chosen<'a>(runtime: &'a Runtime, ctx: &RequestContext) -> Result<(&'a Rule, &'a Target), Error> {
    let (Some(plan), Some(attempt)) = (&ctx.plan, &ctx.attempt) else { return Err(Error::Internal(None)) };
    let rule = &runtime.snapshot().rules()[plan.rule];
    let target = attempt.target_of(rule).ok_or(Error::Internal(None))?;
    Ok((rule, target))
}

async fn connect(
    connections: &Connections,
    peers: &Peers,
    client: &mut Client,
    ctx: &mut RequestContext,
) -> Result<Connection, Error> {
    let (address, generation, host, mut leaving) = match ctx.attempt.as_ref().map(|of| &of.endpoint) {
        Some(AttemptEndpoint::Pool { endpoint, .. }) => {
            (endpoint.address(), endpoint.id().get(), None, Some(endpoint.clone()))
        }
        Some(AttemptEndpoint::Backend { address, name, .. }) => (*address, 0, Some(&*name.host), None),
        None => return Err(Error::Internal(None)),
    };
    let mut connected = std::pin::pin!(connections.connect(peers, address, generation, host));
    loop {
        let left = async {
            match &leaving {
                Some(endpoint) => endpoint.left().await,
                None => std::future::pending().await,
            }
        };
        let deadlines = &mut ctx.deadlines;
        tokio::select! {
            biased;
            connected = &mut connected => return connected,
            // A pod that is gone may leave an address behind that never answers: nobody shall wait for that to time out.
            () = left => {
                if retry::has_other_endpoint(ctx) {
                    return Err(Error::UpstreamConnect(None));
                }
                leaving = None;
            }
            gone = client.gone() => return Err(gone),
            error = poll_fn(|cx| deadlines.poll(cx, None)) => return Err(error),
        }
    }
}

/// The head that the attempt's upstream is to see.
///
/// # Errors
/// A `Connection` header that would take away what must arrive, or a rewrite that gave no URI; the configuration's own
/// checks leave no such case of the latter.
fn head(client: &Client, ctx: &RequestContext, body: &[Bytes]) -> Result<Outgoing, Error> {
    let runtime = ctx.runtime();
    let (rule, target) = chosen(runtime, ctx)?;
    let mut headers = client.head().headers.clone();
    hop::strip(&mut headers)?;
    set_host(&mut headers, rule, target, ctx)?;
    let framing = set_framing(&mut headers, ctx, body);
    set_own_headers(&mut headers, client, ctx);
    for edits in [&rule.request_headers, &target.request_headers] {
        edits.apply(&mut headers);
    }
    if let Some(credential) = target.upstream().and_then(|upstream| runtime.credential(upstream)) {
        headers.insert(credential.spec().header.clone(), credential.value());
    }
    Ok(Outgoing {
        method: ctx.target.method.clone(),
        target: rewritten_path(rewrites(rule, target), ctx)?,
        headers,
        framing,
    })
}

/// The body for an upstream that knows the model by the name `model`; as it came where that is none, or its own name. One
/// that names no model passes as it is: there is nothing to replace, and what its absence means is the model server's to
/// say.
pub(crate) fn body_for(ctx: &RequestContext, model: Option<&str>) -> Result<Vec<Bytes>, Error> {
    let named = ctx.peeked.as_ref().and_then(|peeked| peeked.model.as_ref());
    let (named, name) = match (named, model) {
        (Some(named), Some(name)) if named.name != name => (named, name),
        _ => return Ok(ctx.body.chunks().to_vec()),
    };
    let Some(range) = named.range.clone() else { return Err(Error::EncodedRename) };
    let replaced = penstock_peek::replacement(name, named.notation)
        .and_then(|with| penstock_peek::splice(ctx.body.chunks(), range, with));
    match replaced {
        Ok(spliced) => Ok(spliced.chunks),
        Err(error) => Err(Error::Internal(Some(Box::new(error)))),
    }
}

/// The path that an upstream is to see, by the first of `rewrites` that changes it. An upstream is no proxy: whatever
/// form the client used, it gets the origin form.
pub(crate) fn rewritten_path<'a>(
    mut rewrites: impl Iterator<Item = &'a Rewrite>,
    ctx: &RequestContext,
) -> Result<PathAndQuery, Error> {
    let Some(rewrite) = rewrites.find_map(|rewrite| rewrite.path.as_ref()) else {
        return Ok(ctx.target.path_and_query.clone());
    };
    let prefix_length = ctx.plan.as_ref().and_then(|plan| plan.prefix_length);
    let path = ctx.target.path();
    let path = rewrite.apply(path, path.get(..prefix_length.unwrap_or(0)).unwrap_or_default());
    let target = match ctx.target.query() {
        Some(query) => PathAndQuery::try_from(format!("{path}?{query}")),
        None => PathAndQuery::try_from(path),
    };
    target.map_err(|error| Error::Internal(Some(Box::new(error))))
}

/// Changes to host and path; what the target sets takes the place of what the rule sets.
fn rewrites<'a>(rule: &'a Rule, target: &'a Target) -> impl Iterator<Item = &'a Rewrite> {
    target.rewrite.iter().chain(&rule.rewrite)
}

fn set_host(
    headers: &mut HeaderMap,
    rule: &Rule,
    target: &Target,
    ctx: &RequestContext,
) -> Result<(), Error> {
    if let Some(host) = rewrites(rule, target).find_map(|rewrite| rewrite.hostname.as_ref()) {
        headers.insert(header::HOST, host.clone());
        return Ok(());
    }
    let named = match ctx.attempt.as_ref().map(|attempt| &attempt.endpoint) {
        // A service that is known by a DNS name, such as a hosted API, is asked by that name.
        Some(AttemptEndpoint::Backend { name, .. }) if name.host.parse::<IpAddr>().is_err() => {
            Some(&*name.authority)
        }
        _ if headers.contains_key(header::HOST) || ctx.target.host.is_empty() => None,
        _ => Some(ctx.target.host.as_str()),
    };
    if let Some(host) = named {
        let host = HeaderValue::from_str(host).map_err(|error| Error::Internal(Some(error.into())))?;
        headers.insert(header::HOST, host);
    }
    Ok(())
}

/// A body that is all here is sent with its length, however it came: some model servers read no chunked bodies,
/// and none reads them faster.
fn set_framing(headers: &mut HeaderMap, ctx: &RequestContext, body: &[Bytes]) -> BodyFraming {
    headers.remove(header::EXPECT);
    if ctx.body.is_complete() {
        let length: usize = body.iter().map(Bytes::len).sum();
        if length > 0 || headers.contains_key(header::CONTENT_LENGTH) {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        }
        return BodyFraming::Whole;
    }
    if headers.contains_key(header::CONTENT_LENGTH) {
        return BodyFraming::Length;
    }
    headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    BodyFraming::Chunked
}

fn set_own_headers(headers: &mut HeaderMap, client: &Client, ctx: &RequestContext) {
    headers.insert(request_id::HEADER, ctx.request_id.header_value().clone());
    if let Some(AttemptEndpoint::Pool { endpoint, .. }) =
        ctx.attempt.as_ref().map(|attempt| &attempt.endpoint)
        && reports_load(endpoint.engine())
    {
        let (name, format) = orca::FORMAT_HEADER;
        headers.insert(name, format);
    }
    if let Some(address) = client.address() {
        let mut chain = Vec::with_capacity(40);
        // Several lines are one list (RFC 9110 §5.3).
        for before in headers.get_all(&X_FORWARDED_FOR) {
            chain.extend_from_slice(before.as_bytes());
            chain.extend_from_slice(b", ");
        }
        // Writing to memory does not fail.
        let _ = write!(chain, "{}", address.ip());
        match HeaderValue::from_maybe_shared(Bytes::from(chain)) {
            Ok(chain) => headers.insert(X_FORWARDED_FOR, chain),
            Err(_) => headers.remove(X_FORWARDED_FOR),
        };
    }
    let is_tls = ctx.runtime().snapshot().listeners[ctx.listener].is_tls();
    let protocol = if is_tls { "https" } else { "http" };
    headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(protocol));
}

/// Whether an engine answers with its load where it is asked to (ORCA).
fn reports_load(engine: Engine) -> bool {
    match engine {
        Engine::Vllm | Engine::Triton | Engine::TritonTensorrtLlm => true,
        Engine::Sglang | Engine::TrtllmServe => false,
    }
}
