//! Holding a response back until it has content: an upstream that fails after its 200 has not been heard by the client.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, header};
use penstock_tap::Tap;
use penstock_wire::{Connection, Event};
use pingora_http::ResponseHeader;
use tokio::time::{Instant, timeout_at};

use super::next;
use crate::client::Client;
use crate::codec::CodecError;
use crate::context::{Arrived, Attempt};
use crate::error::Error;

/// The most that is held back, in bytes: heartbeats and roles have some hundred.
const MAX_HELD_BYTES: usize = 64 * 1024;

/// The longest that is waited for the body of a refusal that is looked into: it is here with its head, or nearly so.
pub(super) const LONGEST_REFUSAL: Duration = Duration::from_secs(5);

/// What was held of a response's body.
#[derive(Default)]
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

/// What a response is held back for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Goal {
    /// Its first content.
    Content,
    /// The first event of a stream: it may be an error.
    Event,
}

/// Reads the response up to what it is held back for, or as much and as long as is held at most. `start` is what was read
/// of it before.
///
/// # Errors
/// The upstream failed before there was any, by breaking off or by an event that says so; the client left; a deadline
/// passed.
pub(super) async fn until(
    goal: Goal,
    connection: &mut Connection,
    client: &mut Client<'_>,
    arrived: &mut Arrived,
    attempt: &mut Attempt,
    header: &mut ResponseHeader,
    (start, longest): (Held, Duration),
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
    let (mut is_end, mut is_there) = (false, false);
    // A response without a body is one that the decoder has to judge as well.
    let mut piece = (start.is_end || !start.data.is_empty()).then_some(start);
    // Pings are no content, and an upstream may send them for ever.
    let until = Instant::now() + longest;
    while !is_end && !is_there && held.len() < MAX_HELD_BYTES {
        let Held { data, is_end: ends } = match piece.take() {
            Some(piece) => piece,
            None if Instant::now() >= until => break,
            None => match timeout_at(until, next_piece(connection, client, arrived)).await {
                Ok(piece) => piece?,
                Err(_) => break,
            },
        };
        is_end = ends;
        let data = attempt.decode(data, is_end, arrived)?;
        held.extend_from_slice(&data);
        is_there = match (&attempt.decoder, &mut tap) {
            (Some(decoder), _) => decoder.has_content(),
            (None, Some(tap)) => {
                let seen = tap.feed(&data);
                match goal {
                    _ if !tap.is_event_stream() => !held.is_empty(),
                    Goal::Event => tap.position().events > 0,
                    Goal::Content => seen.content_events > 0,
                }
            }
            (None, None) => true,
        };
    }
    let has_error = tap.is_some_and(|mut tap| tap.finish().has_error_event);
    if has_error && (!is_there || goal == Goal::Event) {
        return Err(failed(&held));
    }
    Ok(Held { data: held.freeze(), is_end })
}

/// The start of a refusal's body: up to a bound of bytes, and of time.
///
/// # Errors
/// The upstream broke off, the client left, or a deadline passed.
pub(super) async fn refusal(
    connection: &mut Connection,
    client: &mut Client<'_>,
    arrived: &mut Arrived,
    longest: Duration,
) -> Result<Held, Error> {
    let mut held = BytesMut::new();
    let mut is_end = false;
    let until = Instant::now() + longest;
    while !is_end && held.len() < MAX_HELD_BYTES {
        let Ok(piece) = timeout_at(until, next_piece(connection, client, arrived)).await else { break };
        let piece = piece?;
        held.extend_from_slice(&piece.data);
        is_end = piece.is_end;
    }
    Ok(Held { data: held.freeze(), is_end })
}

async fn next_piece(
    connection: &mut Connection,
    client: &mut Client<'_>,
    arrived: &mut Arrived,
) -> Result<Held, Error> {
    loop {
        match next(connection, client, arrived).await.map_err(not_yet_heard)? {
            Event::Body { data, is_end } => return Ok(Held { data, is_end }),
            // Nobody can be told of trailers whose response has not begun, and there is nothing in them.
            Event::Trailers(_) => return Ok(Held { data: Bytes::new(), is_end: true }),
            Event::Sent => {}
            Event::Informational(_) | Event::Head { .. } => return Err(Error::unexpected_event()),
        }
    }
}

/// The error that the first event of a stream tells of.
fn failed(event: &[u8]) -> Error {
    let failure = penstock_providers::of_event(event);
    let (status, message) = match &failure {
        Some(failure) => (failure.status, failure.message.decoded()),
        None => (502, "its stream began with an error".into()),
    };
    CodecError::Failed { status, message: message.into_owned() }.into()
}

/// A response that breaks before the client has heard of it is one that did not come.
fn not_yet_heard(error: Error) -> Error {
    match error {
        Error::StreamBroken(cause) => Error::UpstreamReset(cause),
        error => error,
    }
}
