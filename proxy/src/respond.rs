//! Answers that the gateway writes itself.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, header};
use pingora_core::protocols::http::ServerSession;
use pingora_http::ResponseHeader;

use crate::client::{Client, Then};
use crate::context::RequestContext;
use crate::error::{Answer, Dialect, Error, Limit};
use crate::request_id::{self, RequestId};

/// Answers a request whose header could not be read, and ends the connection.
pub async fn refuse_unread(session: ServerSession, error: &Error) {
    let answer = error.answer(Dialect::OpenAi, &RequestId::generate());
    let mut client = Client::new(session, Arc::default(), Duration::ZERO);
    client.close_after();
    // Nobody may be left to read it; the connection is closed either way.
    let _gone = write(&mut client, answer, false).await;
    client.abort().await;
}

/// Answers a request with an error. Returns whether the connection may be kept.
pub async fn refuse(client: &mut Client, ctx: &mut RequestContext, error: &Error) -> bool {
    let answer = error.answer(Dialect::of_path(ctx.target.path()), &ctx.request_id);
    let may_reuse = !answer.closes_connection && let_rest_follow(client, ctx);
    if !may_reuse {
        client.close_after();
    }
    ctx.relay.status = Some(answer.status.as_u16());
    ctx.relay.bytes = answer.body.len() as u64;
    let is_head = ctx.target.method == http::Method::HEAD;
    write(client, answer, is_head).await.is_ok() && may_reuse
}

/// Answers with a redirect.
///
/// # Errors
/// The client is gone.
pub async fn redirect(
    client: &mut Client,
    ctx: &mut RequestContext,
    status: StatusCode,
    location: &str,
) -> Result<(), Error> {
    let location = HeaderValue::from_str(location).map_err(|error| Error::Internal(Some(error.into())))?;
    answer(client, ctx, status, (header::LOCATION, location), Bytes::new()).await
}

/// Answers with `body` and a header that says something about it; length and request id are added.
///
/// # Errors
/// The client is gone.
pub async fn answer(
    client: &mut Client,
    ctx: &mut RequestContext,
    status: StatusCode,
    (name, value): (HeaderName, HeaderValue),
    body: Bytes,
) -> Result<(), Error> {
    if !let_rest_follow(client, ctx) {
        client.close_after();
    }
    let headers = vec![
        (name, value),
        (header::CONTENT_LENGTH, HeaderValue::from(body.len())),
        (request_id::HEADER, ctx.request_id.header_value().clone()),
    ];
    ctx.relay.status = Some(status.as_u16());
    ctx.relay.bytes = body.len() as u64;
    ctx.relay.is_complete = true;
    let is_head = ctx.target.method == http::Method::HEAD;
    write(client, Answer { status, body, headers, closes_connection: false }, is_head).await
}

/// Has what is left of the body read and dropped after the answer, where that is little enough; else the connection
/// has to be closed.
fn let_rest_follow(client: &mut Client, ctx: &RequestContext) -> bool {
    let can_be_drained = rest_can_be_drained(client, ctx);
    if can_be_drained {
        client.set_drain_timeout(ctx.runtime().limits().drain_timeout);
        client.set_body_may_follow(true);
    }
    can_be_drained
}

/// Whether what the client still has to send is small enough to be read and thrown away.
fn rest_can_be_drained(client: &mut Client, ctx: &RequestContext) -> bool {
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
    let is_little = length.saturating_sub(read) <= ctx.runtime().limits().drain_bytes;
    if !is_little {
        ctx.runtime().metrics().gateway.limit_hit(Limit::DrainBytes);
    }
    is_little
}

async fn write(client: &mut Client, answer: Answer, is_head: bool) -> Result<(), Error> {
    let mut parts = http::Response::new(()).into_parts().0;
    parts.status = answer.status;
    parts.headers.extend(answer.headers);
    client.write_head(Box::new(ResponseHeader::from(parts)), Then::Body).await?;
    // The header of an answer to HEAD tells the length of a body that does not come.
    client.write_body(if is_head { Bytes::new() } else { answer.body }, true).await
}
