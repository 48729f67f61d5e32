//! The relay phase: response bytes go out as they come in; what they tell is read in passing.

use bytes::Bytes;
use http::{StatusCode, header};
use penstock_config::HeaderEdits;
use penstock_picker::orca;
use pingora_error::{Error as PingoraError, ErrorType, Result};
use pingora_http::ResponseHeader;
use pingora_proxy::Session;
use tokio::time::Instant;

use crate::attempt::AttemptEndpoint;
use crate::context::RequestContext;
use crate::forward::retry;
use crate::metrics::StreamClock;
use crate::request_id;
use crate::usage::Tap;

/// Reads the header of an attempt's response, and drops the response if another attempt is to be made instead.
///
/// # Errors
/// The response is dropped for another attempt.
pub fn judge(ctx: &mut RequestContext, header: &mut ResponseHeader) -> Result<()> {
    if header.status == StatusCode::SWITCHING_PROTOCOLS {
        // No request asks for it: upgrades are not forwarded. What follows would reach the client as it is.
        let error = PingoraError::explain(ErrorType::InvalidHTTPHeader, "protocols switched unasked");
        return Err(error.into_up());
    }
    if header.status.is_informational() {
        return Ok(());
    }
    if let Some(report) = header.remove_header(&orca::REPORT_HEADER)
        && let Some(AttemptEndpoint::Pool { endpoint, .. }) =
            ctx.attempt.as_ref().map(|attempt| &attempt.endpoint)
    {
        endpoint.observe_load_report(report.as_bytes());
    }
    if retry::claim_after_status(header.status, ctx) {
        ctx.dropped_status = Some(header.status);
        return Err(PingoraError::explain(retry::RETRYABLE_STATUS, "the rule retries this status").into_up());
    }
    ctx.dropped_status = None;
    Ok(())
}

/// Makes the response's header what the client is to see. From here on there is no other attempt.
///
/// # Errors
/// A header that the configuration sets is refused by Pingora; its own checks leave no such case.
pub fn header(session: &mut Session, ctx: &mut RequestContext, header: &mut ResponseHeader) -> Result<()> {
    if header.status.is_informational() {
        return Ok(());
    }
    ctx.relay.status = Some(header.status.as_u16());
    if header.status == StatusCode::NO_CONTENT {
        // RFC 9110 §8.6 forbids a length here, and a client that goes by it waits for a body that cannot come.
        header.remove_header(&header::CONTENT_LENGTH);
    }
    if session.is_body_done() {
        ctx.exchange.release();
    }
    let now = Instant::now();
    ctx.exchange.touch(now);
    ctx.relay.header_at = Some(now);
    if let Some(attempt) = &mut ctx.attempt {
        attempt.first_byte();
    }
    let content_type = header.headers.get(header::CONTENT_TYPE).map(http::HeaderValue::as_bytes);
    let encoding = header.headers.get(header::CONTENT_ENCODING).map(http::HeaderValue::as_bytes);
    ctx.relay.tap = Some(Tap::new(content_type, encoding));
    ctx.relay.is_event_stream = ctx.relay.tap.as_ref().is_some_and(Tap::is_event_stream);
    header.insert_header(request_id::HEADER, ctx.request_id.header_value())?;
    if let Some(AttemptEndpoint::Pool { session: Some((name, value)), .. }) =
        ctx.attempt.as_ref().map(|attempt| &attempt.endpoint)
    {
        header.insert_header(name.clone(), value.clone())?;
    }
    let runtime = ctx.runtime().clone();
    if let Some(plan) = &ctx.plan {
        apply_edits(header, &runtime.snapshot().rules()[plan.rule].response_headers)?;
    }
    Ok(())
}

/// Reads a piece of the response body in passing.
pub fn body(ctx: &mut RequestContext, chunk: Option<&Bytes>, is_end: bool) {
    let relay = &mut ctx.relay;
    if let Some(chunk) = chunk.filter(|chunk| !chunk.is_empty()) {
        let now = Instant::now();
        ctx.exchange.touch(now);
        if relay.first_byte.is_none() {
            relay.first_byte = Some(now - ctx.started);
        }
        relay.last_chunk = Some(now);
        relay.bytes += chunk.len() as u64;
        if let Some(tap) = &mut relay.tap {
            let seen = tap.feed(chunk);
            if relay.is_event_stream {
                relay
                    .clock
                    .get_or_insert_with(|| StreamClock::new(ctx.started))
                    .content(now, seen.content_events);
            }
        }
    }
    relay.is_complete |= is_end;
}

fn apply_edits(header: &mut ResponseHeader, edits: &HeaderEdits) -> Result<()> {
    for name in &edits.remove {
        header.remove_header(name);
    }
    for (name, value) in &edits.set {
        header.insert_header(name.clone(), value.clone())?;
    }
    for (name, value) in &edits.add {
        header.append_header(name.clone(), value.clone())?;
    }
    Ok(())
}
