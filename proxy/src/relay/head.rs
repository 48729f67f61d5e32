//! The head of a response, made what the client is to see.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version, header};
use penstock_config::HeaderEdits;
use pingora_http::ResponseHeader;
use tokio::time::Instant;

use crate::client::Client;
use crate::context::{Arrived, Attempt, Response, Routed};
use crate::cors;
use crate::error::Error;
use crate::external::ResponseChanges;
use crate::policy::SessionCookies;
use crate::quota;
use crate::request_id;
use crate::trail;
use penstock_tap::{Tap, UsageFilter};

/// Names members of the request that the upstream's API has no place for.
const DROPPED: HeaderName = HeaderName::from_static("x-penstock-dropped");

/// Makes the response's head what the client is to see. From here on there is no other attempt.
///
/// # Errors
/// A header cannot be set, or a policy gives the response up.
pub(super) fn begin(
    client: &mut Client<'_>,
    arrived: &mut Arrived,
    routed: &Routed,
    attempt: &mut Attempt,
    response: &mut Response,
    header: &mut ResponseHeader,
    is_end: bool,
) -> Result<(), Error> {
    response.status = Some(header.status.as_u16());
    if client.is_body_done() {
        arrived.body.release();
        attempt.release();
    }
    arrived.deadlines.answered(Instant::now());
    attempt.endpoint.first_byte();
    attempt.endpoint.answered(header.status.as_u16());
    let content_type = header.headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    let encoding = header.headers.get(header::CONTENT_ENCODING).map(HeaderValue::as_bytes);
    let is_counted = attempt.decoder.as_ref().is_some_and(|decoder| decoder.counts_usage());
    let tap = if is_counted { Tap::of_counted } else { Tap::new }(content_type, encoding);
    response.is_event_stream = tap.is_event_stream();
    if attempt.hides_usage && tap.is_event_stream() {
        response.usage_filter = Some(Box::<UsageFilter>::default());
        header.remove_header(&header::CONTENT_LENGTH);
    }
    response.tap = Some(tap);
    set_all(header, |headers| {
        headers.insert(request_id::HEADER, arrived.request_id.header_value().clone());
        if let Some((name, value)) = attempt.endpoint.session() {
            headers.insert(name.clone(), value.clone());
        }
        if let Some(dropped) = &attempt.dropped {
            headers.insert(DROPPED, dropped.clone());
        }
        for (name, value) in trail::headers(arrived, routed, Some(attempt)) {
            headers.insert(name, value);
        }
        quota::tell(arrived, attempt, headers);
    })?;
    let runtime = arrived.runtime().clone();
    let rule = &runtime.snapshot().rules()[routed.rule];
    apply_edits(header, &rule.response_headers)?;
    apply_edits(header, &rule.tiers()[attempt.target.0].targets[attempt.target.1].response_headers)?;
    if let Some(changes) = arrived.extensions.get::<ResponseChanges>() {
        changes.apply(header)?;
    }
    if let Some(cookie) = attempt.endpoint.cookie() {
        header.append_header(header::SET_COOKIE, cookie.clone()).map_err(Error::internal)?;
    }
    if let Some(cookies) = arrived.extensions.get::<SessionCookies>() {
        for cookie in cookies.iter() {
            header.append_header(header::SET_COOKIE, cookie.clone()).map_err(Error::internal)?;
        }
    }
    let compiled = runtime.rule(routed.rule);
    if compiled.wants.response_head {
        compiled.chain.response_head(header, &mut arrived.extensions)?;
    }
    let listener = &runtime.snapshot().listeners[arrived.listener];
    apply_edits(header, &listener.response_headers)?;
    cors::replace(header, client, arrived)?;
    frame(client, header, is_end)
}

/// Frames the body for the client: a length stays, everything else is chunked, and HTTP/1.0 knows neither that nor any
/// other end than the connection's.
fn frame(client: &Client<'_>, header: &mut ResponseHeader, is_end: bool) -> Result<(), Error> {
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

/// Sets headers whose names are sound, as `set_in` does. Pingora makes each name anew of its bytes, which takes more than
/// all else about a header: they are set in the map itself, which it hands out with the rest of the head.
fn set_all(header: &mut ResponseHeader, set_in: impl FnOnce(&mut HeaderMap)) -> Result<(), Error> {
    if header.has_case() {
        let mut headers = HeaderMap::new();
        set_in(&mut headers);
        return headers.iter().try_for_each(|(name, value)| set(header, name.clone(), value.clone()));
    }
    let reason =
        header.get_reason_phrase().filter(|reason| Some(*reason) != header.status.canonical_reason());
    let reason = reason.map(str::to_owned);
    let nothing = ResponseHeader::from(http::Response::new(()).into_parts().0);
    let mut parts = http::response::Parts::from(std::mem::replace(header, nothing));
    set_in(&mut parts.headers);
    *header = ResponseHeader::from(parts);
    match reason {
        Some(reason) => header.set_reason_phrase(Some(&reason)).map_err(Error::internal),
        None => Ok(()),
    }
}

fn set(header: &mut ResponseHeader, name: HeaderName, value: HeaderValue) -> Result<(), Error> {
    header.insert_header(name, value).map_err(Error::internal)
}

fn apply_edits(header: &mut ResponseHeader, edits: &HeaderEdits) -> Result<(), Error> {
    for name in &edits.remove {
        header.remove_header(name);
    }
    for (name, value) in &edits.set {
        set(header, name.clone(), value.clone())?;
    }
    for (name, value) in &edits.add {
        header.append_header(name.clone(), value.clone()).map_err(Error::internal)?;
    }
    Ok(())
}
