//! The peek phase: reads the body once, as it arrives, for what routing needs of it.

use bytes::Bytes;
use http::{HeaderMap, Version, header};
use penstock_peek::{Options, Peek, Peeked};
use pingora_error::Result;
use pingora_proxy::Session;

use crate::context::RequestContext;
use crate::error::Error;

/// Reads the whole body; its chunks stay in the exchange for every attempt.
///
/// # Errors
/// The client broke off, exceeded a limit, or sent a body that must not be forwarded.
pub async fn read(session: &mut Session, ctx: &RequestContext) -> Result<Peeked> {
    let mut peek = start(&session.req_header().headers, ctx.runtime().peek_options())
        .map_err(|error| ctx.exchange.refuse(error))?;
    let length = session.req_header().headers.get(header::CONTENT_LENGTH);
    if let Some(length) = length.and_then(|length| length.to_str().ok()?.parse().ok()) {
        peek.expect_bytes(length);
    }
    continue_if_expected(session).await?;
    while let Some(chunk) = next_chunk(session).await? {
        peek.feed(&chunk).map_err(|error| ctx.exchange.refuse(error.into()))?;
    }
    peek.finish().map_err(|error| ctx.exchange.refuse(error.into()))
}

async fn next_chunk(session: &mut Session) -> Result<Option<Bytes>> {
    // Whatever goes wrong here, it is the client's doing: there is no upstream yet.
    session.downstream_session.read_request_body().await.map_err(|error| error.into_down())
}

/// A client that announced `Expect: 100-continue` waits until it is told to go on.
///
/// # Errors
/// The client is gone.
pub async fn continue_if_expected(session: &mut Session) -> Result<()> {
    let request = session.req_header();
    let expect = request.headers.get(header::EXPECT);
    if request.version >= Version::HTTP_11
        && expect.is_some_and(|expect| expect.as_bytes().eq_ignore_ascii_case(b"100-continue"))
    {
        session.downstream_session.write_continue_response().await?;
    }
    Ok(())
}

fn start(headers: &HeaderMap, options: &Options) -> Result<Peek, Error> {
    let mut types = headers.get_all(header::CONTENT_TYPE).iter();
    let content_type = types.next().map(http::HeaderValue::as_bytes);
    if types.next().is_some() {
        return Err(Error::BadHeader("Content-Type is sent more than once"));
    }
    let encoding = encodings(headers);
    Ok(Peek::new(content_type, encoding.as_deref(), options)?)
}

/// The content codings in the order in which they were applied; several header lines are one list.
fn encodings(headers: &HeaderMap) -> Option<Vec<u8>> {
    let mut lines = headers.get_all(header::CONTENT_ENCODING).iter();
    let mut joined = lines.next()?.as_bytes().to_vec();
    for line in lines {
        joined.extend_from_slice(b", ");
        joined.extend_from_slice(line.as_bytes());
    }
    Some(joined)
}
