//! Holding a response back until it has content: an upstream that fails after its 200 has not been heard by the client.

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, header};
use penstock_tap::Tap;
use penstock_wire::{Connection, Event};
use pingora_http::ResponseHeader;

use super::next;
use crate::client::Client;
use crate::context::{Arrived, Attempt};
use crate::error::Error;

/// The most that is held back, in bytes: heartbeats and roles have some hundred.
const MAX_HELD_BYTES: usize = 64 * 1024;

/// What was held of a response's body, decoded.
pub(super) struct Held {
    pub(super) data: Bytes,
    /// Whether the body ends with it.
    pub(super) is_end: bool,
}

impl Held {
    pub(super) fn into_event(self) -> Event {
        Event::Body { data: self.data, is_end: self.is_end }
    }
}

/// Reads the response up to its first content, or as much as is held at most.
///
/// # Errors
/// The upstream failed before there was any, by breaking off or by an event that says so; the client left; a deadline
/// passed.
pub(super) async fn until_content(
    connection: &mut Connection,
    client: &mut Client<'_>,
    arrived: &mut Arrived,
    attempt: &mut Attempt,
    header: &mut ResponseHeader,
    is_end: bool,
) -> Result<Held, Error> {
    if let Some(decoder) = &mut attempt.decoder {
        // What comes out has another length, and no other encoding than what the decoder gives it.
        header.remove_header(&header::CONTENT_LENGTH);
        decoder.head(header)?;
    }
    // Where a response is translated, its decoder knows content from failures.
    let mut tap = attempt.decoder.is_none().then(|| {
        let content_type = header.headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
        let encoding = header.headers.get(header::CONTENT_ENCODING).map(HeaderValue::as_bytes);
        Tap::new(content_type, encoding)
    });
    let mut held = BytesMut::new();
    let mut is_end = is_end;
    let mut has_content = false;
    if is_end && let Some(decoder) = &mut attempt.decoder {
        // A response without a body is one that the decoder has to judge as well.
        held.extend_from_slice(&decoder.body(Bytes::new(), true)?);
    }
    while !is_end && !has_content && held.len() < MAX_HELD_BYTES {
        let data = match next(connection, client, arrived).await.map_err(not_yet_heard)? {
            Event::Body { data, is_end: ends } => {
                is_end = ends;
                data
            }
            // Nobody can be told of trailers whose response has not begun, and there is nothing in them.
            Event::Trailers(_) => {
                is_end = true;
                Bytes::new()
            }
            Event::Sent => continue,
            Event::Informational(_) | Event::Head { .. } => return Err(Error::unexpected_event()),
        };
        let data = match &mut attempt.decoder {
            Some(decoder) => decoder.body(data, is_end)?,
            None => data,
        };
        held.extend_from_slice(&data);
        has_content = match (&attempt.decoder, &mut tap) {
            (Some(decoder), _) => decoder.has_content(),
            (None, Some(tap)) => {
                tap.feed(&data).content_events > 0 || !tap.is_event_stream() && !held.is_empty()
            }
            (None, None) => true,
        };
    }
    if !has_content && tap.is_some_and(|mut tap| tap.finish().has_error_event) {
        return Err(Error::UpstreamReset(Some("its stream began with an error".into())));
    }
    Ok(Held { data: held.freeze(), is_end })
}

/// A response that breaks before the client has heard of it is one that did not come.
fn not_yet_heard(error: Error) -> Error {
    match error {
        Error::StreamBroken(cause) => Error::UpstreamReset(cause),
        error => error,
    }
}
