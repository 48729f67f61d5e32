//! Answers that the gateway writes itself.

use std::io::Write as _;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use penstock_config::Action as RuleAction;
use pingora_http::ResponseHeader;
use tokio::io::{AsyncWrite, AsyncWriteExt};

use crate::client::{Client, Follows};
use crate::context::{Arrived, Response, Routed};
use crate::cors;
use crate::error::{Dialect, Error, Limit};
use crate::overrides;
use crate::policy::{Reply, SessionCookies};
use crate::request_id::{self, RequestId};
use crate::trail;

/// Answers an HTTP/1.1 request whose head could not be read. The connection is to be closed behind it.
pub(crate) async fn refuse_unread(stream: &mut (impl AsyncWrite + Unpin), error: &Error) {
    let answer = error.answer(Dialect::OpenAi, &RequestId::generate());
    let mut wire = Vec::with_capacity(512);
    // Writing to memory does not fail.
    let _ = write!(wire, "HTTP/1.1 {}\r\n", answer.status);
    for (name, value) in &answer.headers {
        wire.extend_from_slice(name.as_str().as_bytes());
        wire.extend_from_slice(b": ");
        wire.extend_from_slice(value.as_bytes());
        wire.extend_from_slice(b"\r\n");
    }
    wire.extend_from_slice(b"connection: close\r\n\r\n");
    wire.extend_from_slice(&answer.body);
    // Nobody may be left to read it; the connection is closed either way.
    let _gone = stream.write_all(&wire).await;
}

/// Answers a request, which may have been routed, with an error. Returns whether the connection may be kept.
pub(crate) async fn refuse(
    client: &mut Client<'_>,
    arrived: &Arrived,
    routed: Option<&Routed>,
    response: &mut Response,
    error: &Error,
) -> bool {
    let answer = error.answer(Dialect::of_path(arrived.target.path()), &arrived.request_id);
    let may_reuse = !answer.closes_connection && let_rest_follow(client, arrived);
    if !may_reuse {
        client.close_after();
    }
    let mut reply =
        Reply { status: answer.status, headers: answer.headers.into_iter().collect(), body: answer.body };
    if let Some(routed) = routed {
        reply.headers.extend(trail::headers(arrived, routed, None));
    }
    let taken = routed.map(|routed| (routed.rule, routed.prefix_length));
    let may_be_replaced = taken.is_some() || error.refused_by().is_some();
    if may_be_replaced
        && matches!(overrides::of_gateway(client, arrived, taken, &mut reply), Ok(true))
        && has_length(reply.status)
    {
        reply.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(reply.body.len()));
    }
    let Reply { status, mut headers, mut body } = reply;
    response.status = Some(status.as_u16());
    edit(arrived, &mut headers);
    if arrived.target.method == Method::HEAD {
        // Nothing follows, so nothing is said about it: there are clients that parse what is typed as JSON.
        headers.remove(header::CONTENT_TYPE);
        headers.remove(header::CONTENT_LENGTH);
        body = Bytes::new();
    }
    cors::say(&mut headers, client, arrived);
    response.bytes = body.len() as u64;
    write(client, status, headers, body).await.is_ok() && may_reuse
}

/// Ends an answer that broke off after its head. A stream ends with an event that says so; anything else is cut off in a
/// way that the client can tell from a complete answer. `dialect` is that of the answer. Returns whether the connection may
/// be kept: a client that got such an event has a whole body, so it keeps the connection and sends its next request there.
pub(crate) async fn end_broken(
    client: &mut Client<'_>,
    response: &mut Response,
    error: &Error,
    dialect: Dialect,
) -> bool {
    let position = if error.row().status == 499 { None } else { response.position() };
    if let Some(position) = position {
        let event = error.stream_event(dialect, position);
        response.bytes += event.len() as u64;
        let may_reuse = client.is_body_done() || client.is_http2();
        if !may_reuse {
            client.close_after();
        }
        if client.write_body(event, true).await.is_ok() {
            return may_reuse;
        }
    }
    client.close_after();
    client.abort().await;
    false
}

/// Answers with a redirect.
///
/// # Errors
/// The client is gone.
pub(crate) async fn redirect(
    client: &mut Client<'_>,
    arrived: &Arrived,
    response: &mut Response,
    status: StatusCode,
    location: &str,
) -> Result<(), Error> {
    let location = HeaderValue::from_str(location).map_err(Error::internal)?;
    answer(client, arrived, response, status, (header::LOCATION, location), Bytes::new()).await
}

/// Answers with the methods that are served, as `Allow` lists them.
///
/// # Errors
/// The client is gone.
pub(crate) async fn methods(
    client: &mut Client<'_>,
    arrived: &Arrived,
    response: &mut Response,
    allow: &'static str,
) -> Result<(), Error> {
    let allow = (header::ALLOW, HeaderValue::from_static(allow));
    answer(client, arrived, response, StatusCode::NO_CONTENT, allow, Bytes::new()).await
}

/// What a load balancer is told that asks whether to send requests.
pub(crate) fn health(is_draining: bool) -> Reply {
    let (status, body) = match is_draining {
        false => (StatusCode::OK, &br#"{"ready":true}"#[..]),
        true => (StatusCode::SERVICE_UNAVAILABLE, &br#"{"ready":false,"reason":"draining"}"#[..]),
    };
    let mut headers = HeaderMap::with_capacity(4);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Reply { status, headers, body: Bytes::from_static(body) }
}

/// Answers with what a rule has for all.
///
/// # Errors
/// The client is gone, or the rule has no answer.
pub(crate) async fn fixed(
    client: &mut Client<'_>,
    arrived: &Arrived,
    response: &mut Response,
    rule: usize,
) -> Result<(), Error> {
    let runtime = arrived.runtime().clone();
    let rule = &runtime.snapshot().rules()[rule];
    let RuleAction::Respond(answer) = &rule.action else {
        return Err(Error::internal("the rule has no answer"));
    };
    let mut headers = HeaderMap::with_capacity(4);
    if let Some(content_type) = &answer.content_type {
        headers.insert(header::CONTENT_TYPE, content_type.clone());
    }
    rule.response_headers.apply(&mut headers);
    let body = Bytes::copy_from_slice(answer.body.as_bytes());
    finish(client, arrived, response, answer.status, headers, body).await
}

/// Answers with what a policy gives.
///
/// # Errors
/// The client is gone.
pub(crate) async fn reply(
    client: &mut Client<'_>,
    arrived: &Arrived,
    response: &mut Response,
    reply: Reply,
) -> Result<(), Error> {
    let Reply { status, headers, body } = reply;
    finish(client, arrived, response, status, headers, body).await
}

/// Answers with `body` and a header that says something about it; length and request id are added.
///
/// # Errors
/// The client is gone.
pub(crate) async fn answer(
    client: &mut Client<'_>,
    arrived: &Arrived,
    response: &mut Response,
    status: StatusCode,
    (name, value): (HeaderName, HeaderValue),
    body: Bytes,
) -> Result<(), Error> {
    let mut headers = HeaderMap::with_capacity(4);
    headers.insert(name, value);
    finish(client, arrived, response, status, headers, body).await
}

async fn finish(
    client: &mut Client<'_>,
    arrived: &Arrived,
    response: &mut Response,
    status: StatusCode,
    mut headers: HeaderMap,
    body: Bytes,
) -> Result<(), Error> {
    let may_reuse = let_rest_follow(client, arrived);
    if !may_reuse {
        client.close_after();
    }
    if has_length(status) {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    }
    headers.insert(request_id::HEADER, arrived.request_id.header_value().clone());
    edit(arrived, &mut headers);
    cors::say(&mut headers, client, arrived);
    // The header of an answer to HEAD tells the length of a body that does not come.
    let body = if arrived.target.method == Method::HEAD { Bytes::new() } else { body };
    response.status = Some(status.as_u16());
    response.bytes = body.len() as u64;
    response.is_complete = true;
    write(client, status, headers, body).await?;
    if !may_reuse {
        client.linger();
    }
    Ok(())
}

/// Whether an answer with this status says how long its body is.
fn has_length(status: StatusCode) -> bool {
    status != StatusCode::NO_CONTENT && status != StatusCode::NOT_MODIFIED
}

/// Changes the headers of an answer: what browsers shall keep of a session, and what the listener wants.
fn edit(arrived: &Arrived, headers: &mut HeaderMap) {
    if let Some(cookies) = arrived.extensions.get::<SessionCookies>() {
        cookies.apply(headers);
    }
    if let Some(listener) = arrived.runtime().snapshot().listeners.get(arrived.listener) {
        listener.response_headers.apply(headers);
    }
}

/// Has what is left of the body read and dropped after the answer, where that is little enough; else the connection has
/// to be closed.
fn let_rest_follow(client: &mut Client<'_>, arrived: &Arrived) -> bool {
    let can_be_drained = rest_can_be_drained(client, arrived);
    if can_be_drained {
        client.set_drain_timeout(arrived.runtime().limits().drain_timeout);
        client.set_body_may_follow(true);
    }
    can_be_drained
}

/// Whether what the client still has to send is small enough to be read and thrown away.
fn rest_can_be_drained(client: &mut Client<'_>, arrived: &Arrived) -> bool {
    if client.is_body_done() || client.is_http2() {
        return true;
    }
    let read = client.body_bytes_read();
    let headers = &client.head().headers;
    // A client that was not told to continue may leave its body out, and nobody knows what comes next.
    if headers.contains_key(header::EXPECT) && read == 0 {
        return false;
    }
    let declared = headers.get(header::CONTENT_LENGTH);
    let declared = declared.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    let Some(length) = declared else { return false };
    let is_little = length.saturating_sub(read) <= arrived.runtime().limits().drain_bytes;
    if !is_little {
        arrived.runtime().metrics().gateway.limit_hit(Limit::DrainBytes);
    }
    is_little
}

async fn write(
    client: &mut Client<'_>,
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
) -> Result<(), Error> {
    let mut parts = http::Response::new(()).into_parts().0;
    parts.status = status;
    parts.headers = headers;
    client.write_head(Box::new(ResponseHeader::from(parts)), Follows::Body).await?;
    client.write_body(body, true).await
}
