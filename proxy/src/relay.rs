//! The relay phase: response bytes go out as they come in; what they tell is read in passing.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, Version, header};
use penstock_config::HeaderEdits;
use penstock_picker::orca;
use penstock_tap::Tap;
use pingora_http::ResponseHeader;
use tokio::time::Instant;

use crate::attempt::AttemptEndpoint;
use crate::client::{Client, Then};
use crate::context::RequestContext;
use crate::error::Error;
use crate::forward::retry;
use crate::metrics::StreamClock;
use crate::request_id;
use crate::upstream::{Connection, Event};

/// What an exchange that got a response came to.
pub(crate) enum Exchanged {
    /// The response was passed on to its end.
    Relayed,
    /// Its status is retried: another endpoint is chosen.
    Dropped,
}

/// Sends what the client sends, and passes the response on as it comes.
///
/// # Errors
/// The upstream failed, the client left, or a deadline passed.
pub(crate) async fn exchange(
    connection: &mut Connection,
    client: &mut Client,
    ctx: &mut RequestContext,
) -> Result<Exchanged, Error> {
    let (mut header, is_end) = response_head(connection, client, ctx).await?;
    judge(ctx, &mut header);
    if retry::replace_status(header.status, client, ctx).await? {
        return Ok(Exchanged::Dropped);
    }
    begin(client, ctx, &mut header, is_end)?;
    ctx.relay.is_complete = is_end;
    // What is here of the body already goes out with the head.
    let mut event = if is_end { None } else { here(connection).await? };
    let then = match &event {
        None if is_end => Then::End,
        None | Some(Event::Sent) => Then::Later,
        Some(_) => Then::Body,
    };
    client.write_head(header, then).await?;
    while !ctx.relay.is_complete {
        let next = match event.take() {
            Some(event) => event,
            None => next(connection, client, ctx).await?,
        };
        match next {
            Event::Body { data, is_end } => {
                body(ctx, &data, is_end);
                client.write_body(data, is_end).await?;
            }
            Event::Trailers(trailers) => {
                ctx.relay.is_complete = true;
                client.write_trailers(trailers).await?;
            }
            Event::Sent => {}
            Event::Informational(_) | Event::Head { .. } => return Err(Error::InvalidResponse(None)),
        }
    }
    Ok(Exchanged::Relayed)
}

/// What has happened at the upstream already.
async fn here(connection: &mut Connection) -> Result<Option<Event>, Error> {
    poll_fn(|cx| match connection.poll_event(cx) {
        Poll::Ready(event) => Poll::Ready(event.map(Some)),
        Poll::Pending => Poll::Ready(Ok(None)),
    })
    .await
}

/// Waits for the head of the final response, and whether that is all of it.
async fn response_head(
    connection: &mut Connection,
    client: &mut Client,
    ctx: &mut RequestContext,
) -> Result<(Box<ResponseHeader>, bool), Error> {
    loop {
        match next(connection, client, ctx).await? {
            Event::Head { header, is_end } => return Ok((header, is_end)),
            // No request asks for it: upgrades are not forwarded. What follows would reach the client as it is.
            Event::Informational(header) if header.status == StatusCode::SWITCHING_PROTOCOLS => {
                return Err(Error::InvalidResponse(None));
            }
            Event::Informational(header) => {
                // An upstream that sends hints without a pause must not outlast its attempt.
                if let Some(error) = ctx.deadlines.passed(Instant::now(), None) {
                    return Err(error);
                }
                client.write_informational(header).await?;
            }
            Event::Sent => {}
            Event::Body { .. } | Event::Trailers(_) => return Err(Error::InvalidResponse(None)),
        }
    }
}

/// What happens next at the upstream. Meanwhile the client's body is read and handed over as fast as the upstream takes
/// it, the client is watched, and so are the deadlines.
async fn next(
    connection: &mut Connection,
    client: &mut Client,
    ctx: &mut RequestContext,
) -> Result<Event, Error> {
    loop {
        let reads_body = !ctx.body.is_complete() && connection.wants_body();
        let chunk = {
            let limit = ctx.runtime().limits().body_idle_timeout;
            let deadlines = &mut ctx.deadlines;
            let mut watch = pin!(async {
                if reads_body { client.read_body(limit).await } else { Err(client.gone().await) }
            });
            let happened = poll_fn(|cx| {
                if let Poll::Ready(event) = connection.poll_event(cx) {
                    return Poll::Ready(event.map(Happened::Upstream));
                }
                if let Poll::Ready(chunk) = watch.as_mut().poll(cx) {
                    return Poll::Ready(chunk.map(Happened::Client));
                }
                deadlines.poll(cx, connection.stalled_since()).map(Err)
            });
            match happened.await? {
                Happened::Upstream(event) => return Ok(event),
                Happened::Client(chunk) => chunk,
            }
        };
        match chunk {
            Some(chunk) => {
                ctx.hold(chunk.clone())?;
                connection.push(chunk);
                // Told at once where it shows: a response that overtakes the end would cost the connection.
                if client.is_body_done() {
                    ctx.body.complete();
                }
            }
            None => ctx.body.complete(),
        }
        if ctx.body.is_complete() {
            connection.finish();
        }
    }
}

enum Happened {
    Upstream(Event),
    /// A piece of the client's body, or its end.
    Client(Option<Bytes>),
}

/// Reads what the response's head tells the gateway alone.
fn judge(ctx: &RequestContext, header: &mut ResponseHeader) {
    if let Some(report) = header.remove_header(&orca::REPORT_HEADER)
        && let Some(AttemptEndpoint::Pool { endpoint, .. }) =
            ctx.attempt.as_ref().map(|attempt| &attempt.endpoint)
    {
        endpoint.observe_load_report(report.as_bytes());
    }
}

/// Makes the response's head what the client is to see. From here on there is no other attempt.
fn begin(
    client: &mut Client,
    ctx: &mut RequestContext,
    header: &mut ResponseHeader,
    is_end: bool,
) -> Result<(), Error> {
    ctx.relay.status = Some(header.status.as_u16());
    if client.is_body_done() {
        ctx.body.release();
    }
    let now = Instant::now();
    ctx.deadlines.answered(now);
    ctx.relay.header_at = Some(now);
    if let Some(attempt) = &mut ctx.attempt {
        attempt.first_byte();
    }
    let content_type = header.headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    let encoding = header.headers.get(header::CONTENT_ENCODING).map(HeaderValue::as_bytes);
    let tap = Tap::new(content_type, encoding);
    ctx.relay.is_event_stream = tap.is_event_stream();
    ctx.relay.tap = Some(tap);
    frame(client, header, is_end)?;
    set(header, request_id::HEADER, ctx.request_id.header_value().clone())?;
    if let Some(AttemptEndpoint::Pool { session: Some((name, value)), .. }) =
        ctx.attempt.as_ref().map(|attempt| &attempt.endpoint)
    {
        set(header, name.clone(), value.clone())?;
    }
    if let Some(plan) = &ctx.plan {
        let rule = &ctx.runtime().snapshot().rules()[plan.rule];
        apply_edits(header, &rule.response_headers)?;
        if let Some(target) = ctx.attempt.as_ref().and_then(|attempt| attempt.target_of(rule)) {
            apply_edits(header, &target.response_headers)?;
        }
    }
    Ok(())
}

/// Frames the body for the client: a length stays, everything else is chunked, and HTTP/1.0 knows neither that nor any
/// other end than the connection's.
fn frame(client: &Client, header: &mut ResponseHeader, is_end: bool) -> Result<(), Error> {
    if header.status == StatusCode::NO_CONTENT {
        // RFC 9110 §8.6 forbids a length here, and a client that goes by it waits for a body that cannot come.
        header.remove_header(&header::CONTENT_LENGTH);
    }
    header.set_version(Version::HTTP_11);
    let is_open = !is_end && !header.headers.contains_key(header::CONTENT_LENGTH);
    if is_open && client.head().version == Version::HTTP_11 {
        set(header, header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"))?;
    }
    Ok(())
}

fn set(header: &mut ResponseHeader, name: HeaderName, value: HeaderValue) -> Result<(), Error> {
    header.insert_header(name, value).map_err(|error| Error::Internal(Some(error)))
}

/// Reads a piece of the response body in passing.
fn body(ctx: &mut RequestContext, data: &Bytes, is_end: bool) {
    let relay = &mut ctx.relay;
    relay.is_complete |= is_end;
    if data.is_empty() {
        return;
    }
    let now = Instant::now();
    ctx.deadlines.touch(now);
    if relay.first_byte.is_none() {
        relay.first_byte = Some(now - ctx.started);
    }
    relay.last_chunk = Some(now);
    relay.bytes += data.len() as u64;
    if let Some(tap) = &mut relay.tap {
        let seen = tap.feed(data);
        if relay.is_event_stream {
            relay
                .clock
                .get_or_insert_with(|| StreamClock::new(ctx.started))
                .content(now, seen.content_events);
        }
    }
}

fn apply_edits(header: &mut ResponseHeader, edits: &HeaderEdits) -> Result<(), Error> {
    for name in &edits.remove {
        header.remove_header(name);
    }
    for (name, value) in &edits.set {
        set(header, name.clone(), value.clone())?;
    }
    for (name, value) in &edits.add {
        let appended = header.append_header(name.clone(), value.clone());
        appended.map_err(|error| Error::Internal(Some(error)))?;
    }
    Ok(())
}
