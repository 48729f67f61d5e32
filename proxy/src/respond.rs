//! Answers that the gateway writes itself.

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use pingora_core::protocols::http::ServerSession;
use pingora_error::Result;
use pingora_http::ResponseHeader;
use pingora_proxy::Session;

use crate::context::RequestContext;
use crate::error::{Answer, Dialect, Error};
use crate::request_id::{self, RequestId};
use crate::session::within_write_timeout;

/// Answers a request whose header could not be read, and ends the connection.
pub async fn refuse_unread(session: &mut ServerSession, error: &Error) {
    let answer = error.answer(Dialect::OpenAi, &RequestId::generate());
    session.set_keepalive(None);
    // Nobody may be left to read it; the connection is closed either way.
    let _gone = write(session, answer, false).await;
}

/// Answers a request with an error. The session has been unwrapped.
///
/// Returns whether the connection may be kept.
pub async fn refuse(session: &mut Session, ctx: &mut RequestContext, error: &Error, may_reuse: bool) -> bool {
    let answer = error.answer(Dialect::of_path(ctx.target.path()), &ctx.request_id);
    let may_reuse = may_reuse && !answer.closes_connection && rest_can_be_drained(session, ctx);
    if !may_reuse || ctx.exchange.is_draining() {
        session.set_keepalive(None);
    }
    let limits = ctx.runtime().limits();
    session.set_total_drain_timeout(Some(limits.drain_timeout));
    ctx.relay.status = Some(answer.status.as_u16());
    ctx.relay.bytes = answer.body.len() as u64;
    if may_reuse {
        // What is left of the body is read and dropped after the answer; Pingora would close the connection instead.
        session.downstream_session.set_close_on_response_before_downstream_finish(false);
    }
    let is_head = ctx.target.method == http::Method::HEAD;
    write(&mut session.downstream_session, answer, is_head).await.is_ok() && may_reuse
}

/// Answers with a redirect.
///
/// # Errors
/// The client is gone.
pub async fn redirect(
    session: &mut Session,
    ctx: &mut RequestContext,
    status: StatusCode,
    location: &str,
) -> Result<()> {
    let mut header = ResponseHeader::build(status, Some(4))?;
    header.insert_header(header::LOCATION, location)?;
    answer(session, ctx, header, Bytes::new()).await
}

/// Answers with `header` and `body`; length and request id are added.
///
/// # Errors
/// The client is gone.
pub async fn answer(
    session: &mut Session,
    ctx: &mut RequestContext,
    mut header: ResponseHeader,
    body: Bytes,
) -> Result<()> {
    header.insert_header(header::CONTENT_LENGTH, HeaderValue::from(body.len()))?;
    header.insert_header(request_id::HEADER, ctx.request_id.header_value())?;
    ctx.relay.status = Some(header.status.as_u16());
    ctx.relay.bytes = body.len() as u64;
    ctx.relay.is_complete = true;
    let is_head = ctx.target.method == http::Method::HEAD;
    let body = if is_head { Bytes::new() } else { body };
    send(&mut session.downstream_session, header, body).await
}

/// Whether what the client still has to send is small enough to be read and thrown away.
fn rest_can_be_drained(session: &mut Session, ctx: &RequestContext) -> bool {
    if session.is_body_done() || session.downstream_session.is_http2() {
        return true;
    }
    // A client that was not told to continue may leave its body out, and nobody knows what comes next.
    if session.req_header().headers.contains_key(header::EXPECT) && session.body_bytes_read() == 0 {
        return false;
    }
    let limit = ctx.runtime().limits().drain_bytes;
    let declared = session.req_header().headers.get(header::CONTENT_LENGTH);
    let declared = declared.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    declared.is_some_and(|length| length.saturating_sub(session.body_bytes_read()) <= limit)
}

async fn write(session: &mut ServerSession, answer: Answer, is_head: bool) -> Result<()> {
    let mut header = ResponseHeader::build(answer.status, Some(answer.headers.len() + 1))?;
    for (name, value) in answer.headers {
        header.insert_header(name, value)?;
    }
    // The header of an answer to HEAD tells the length of a body that does not come.
    send(session, header, if is_head { Bytes::new() } else { answer.body }).await
}

async fn send(session: &mut ServerSession, header: ResponseHeader, body: Bytes) -> Result<()> {
    let limit = session.get_write_timeout();
    // Pingora bounds the writes of a body, but not that of a header.
    within_write_timeout(limit, session.write_response_header(Box::new(header))).await?;
    session.write_response_body(body, true).await
}
