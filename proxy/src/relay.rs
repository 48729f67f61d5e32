//! The exchange and relay phases: sends what the client sends, and passes the response on as it comes; what it tells is
//! read in passing.
//!
//! Between the upstream's bytes and the client's stands the attempt's decoder, where it has one, and then the policies of
//! the rule that want to see the response. Without either the bytes go through untouched. Status and headers are held
//! back, where the rule or a decoder asks for it, until there is content: an upstream that fails right after its 200 has
//! then not been heard by the client, and another attempt can follow. A hosted API's own stream is held back for its first
//! event, where another target could follow.

mod head;
mod hold;

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use penstock_config::RetryPolicy;
use penstock_picker::orca;
use penstock_wire::{Connection, Event};
use pingora_http::ResponseHeader;
use tokio::time::Instant;

use self::hold::{Goal, Held};
use crate::client::{Client, Follows};
use crate::context::{Arrived, Attempt, Response, Routed};
use crate::error::{Error, Origin};
use crate::overrides::{self, Overridden};
use crate::quota;
use crate::retry::{self, Replacement};

/// The longest that is waited for the rest of a response that nobody is to see.
const LONGEST_REST: Duration = Duration::from_millis(250);

/// What an exchange that got a response came to.
pub(crate) enum Exchanged {
    /// The response was passed on to its end.
    Relayed,
    /// Its status is retried.
    Dropped(Replacement),
    /// The rule answers something in its place.
    Overridden(Overridden),
}

/// Sends what the client sends, and passes the response on as it comes.
///
/// # Errors
/// The upstream failed, the client left, or a deadline passed.
pub(crate) async fn exchange(
    connection: &mut Connection,
    client: &mut Client<'_>,
    arrived: &mut Arrived,
    routed: &mut Routed,
    attempt: &mut Attempt,
    response: &mut Response,
) -> Result<Exchanged, Error> {
    let (mut header, mut is_end) = response_head(connection, client, arrived).await?;
    if let Some(report) = header.remove_header(&orca::REPORT_HEADER) {
        attempt.endpoint.observe_load_report(report.as_bytes());
    }
    if matches!(header.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
        && let Some(credential) = &arrived.runtime().upstream(attempt.upstream).credential
    {
        credential.refused(&client.head().headers);
    }
    let mut held = None;
    if header.status.as_u16() >= 400 {
        match Box::pin(refused(connection, client, arrived, routed, attempt, &header, is_end)).await? {
            Refused::Dropped(replacement) => return Ok(Exchanged::Dropped(replacement)),
            Refused::Read(pieces) => held = Some(pieces),
            Refused::Unread => {}
        }
    }
    if let Some(found) = overrides::of_upstream(arrived, routed.rule, header.status) {
        let is_read = is_end || held.is_some_and(|held| held.is_end);
        Box::pin(overridden(connection, client, arrived, attempt, found, is_read)).await?;
        return Ok(Exchanged::Overridden(found));
    }
    if let Some(goal) = goal(arrived, routed, attempt, &header) {
        let start = held.take().unwrap_or_else(|| Held { is_end, ..Held::default() });
        let start = (start, policy(arrived, routed).hold_timeout);
        let held_back = hold::until(goal, connection, client, arrived, attempt, &mut header, start);
        held = Some(Box::pin(held_back).await?);
    }
    if let Some(pieces) = &held {
        is_end = pieces.is_end && pieces.data.is_empty();
        if pieces.is_end && !is_end && !arrived.runtime().rule(routed.rule).wants.response_body {
            // A body that is all here, and that no policy may change, is sent with its length, however it came.
            header.insert_header(header::CONTENT_LENGTH, pieces.data.len()).map_err(Error::internal)?;
        }
    }
    head::begin(client, arrived, routed, attempt, response, &mut header, is_end)?;
    response.is_complete = is_end;
    // What is here of the body already goes out with the head. What was held went through the decoder before.
    let held = held.filter(|pieces| !pieces.data.is_empty());
    let mut is_decoded = held.is_some();
    let mut event = match held {
        _ if is_end => None,
        Some(pieces) => Some(pieces.into_event()),
        None => here(connection).await?,
    };
    let follows = match &event {
        None if is_end => Follows::Nothing,
        None | Some(Event::Sent) => Follows::Later,
        Some(_) => Follows::Body,
    };
    client.write_head(header, follows).await?;
    while !response.is_complete {
        let next = match event.take() {
            Some(event) => event,
            None => next(connection, client, arrived).await?,
        };
        let is_decoded = std::mem::take(&mut is_decoded);
        match next {
            Event::Body { data, is_end } => {
                let data = if is_decoded { data } else { attempt.decode(data, is_end, arrived)? };
                body(client, arrived, routed, attempt, response, data, is_end).await?;
            }
            Event::Trailers(trailers) => match &attempt.decoder {
                // What they tell is of the upstream's API; that the body has ended is the decoder's to know.
                Some(_) => {
                    let data = attempt.decode(Bytes::new(), true, arrived)?;
                    body(client, arrived, routed, attempt, response, data, true).await?;
                }
                None => {
                    if response.usage_filter.is_some() {
                        // Nothing of the body may be left behind.
                        let rest = response.filter(Bytes::new(), true);
                        client.write_body(rest, false).await?;
                    }
                    response.is_complete = true;
                    client.write_trailers(trailers).await?;
                }
            },
            Event::Sent => {}
            Event::Informational(_) | Event::Head { .. } => return Err(Error::unexpected_event()),
        }
    }
    Ok(Exchanged::Relayed)
}

/// What became of a response with the status of an error.
enum Refused {
    /// Another attempt takes its place.
    Dropped(Replacement),
    /// It is passed on. This was read of it.
    Read(Held),
    /// It is passed on.
    Unread,
}

/// Judges a response with the status of an error.
///
/// # Errors
/// The upstream broke off, the client left, or a deadline passed.
async fn refused(
    connection: &mut Connection,
    client: &mut Client<'_>,
    arrived: &mut Arrived,
    routed: &mut Routed,
    attempt: &mut Attempt,
    header: &ResponseHeader,
    is_end: bool,
) -> Result<Refused, Error> {
    let mut read = None;
    if !is_end && retry::reads_body(header, arrived, routed, attempt) {
        read = Some(hold::refusal(connection, client, arrived, hold::LONGEST_REFUSAL).await?);
    }
    let body = read.as_ref().map(|read| read.data.clone()).unwrap_or_default();
    retry::leave_alone(header, &body, client, arrived, attempt);
    Ok(match retry::replace(header, &body, client, arrived, routed, attempt).await? {
        Some(replacement) => Refused::Dropped(replacement),
        None => read.map_or(Refused::Unread, Refused::Read),
    })
}

/// Notes that an upstream answered, and reads what it sends on, if that is little, so that its connection can be used again.
///
/// # Errors
/// The client left, or a deadline passed.
async fn overridden(
    connection: &mut Connection,
    client: &mut Client<'_>,
    arrived: &mut Arrived,
    attempt: &mut Attempt,
    found: Overridden,
    is_read: bool,
) -> Result<(), Error> {
    if client.is_body_done() {
        arrived.body.release();
        attempt.release();
    }
    if !is_read {
        match hold::refusal(connection, client, arrived, LONGEST_REST).await {
            Err(error) if error.row().origin != Origin::Upstream => return Err(error),
            _ => {}
        }
    }
    attempt.endpoint.first_byte();
    attempt.endpoint.answered(found.status.as_u16());
    attempt.settle(retry::outcome_of_status(found.status));
    Ok(())
}

/// What the response is held back for, if it is.
fn goal(arrived: &Arrived, routed: &Routed, attempt: &Attempt, header: &ResponseHeader) -> Option<Goal> {
    let policy = policy(arrived, routed);
    let may_follow = routed.attempts < policy.attempts;
    if attempt.decoder.is_some() || policy.until_content && may_follow {
        return Some(Goal::Content);
    }
    // A provider may find only after its 200 that it is overloaded. It says so at once, so that nobody waits for content,
    // and it is of use only where somebody else can be asked.
    let runtime = arrived.runtime();
    let is_asked = may_follow
        && runtime.upstream(attempt.upstream).codec.is_some()
        && routed.candidates.has_other(&runtime.snapshot().rules()[routed.rule], attempt.target);
    let is_stream = || {
        let content_type = header.headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
        content_type.is_some_and(|value| value.starts_with(b"text/event-stream"))
    };
    (is_asked && header.status == StatusCode::OK && is_stream()).then_some(Goal::Event)
}

fn policy<'a>(arrived: &'a Arrived, routed: &Routed) -> &'a RetryPolicy {
    &arrived.runtime().snapshot().rules()[routed.rule].retry
}

/// Passes a piece of the response's body on.
async fn body(
    client: &mut Client<'_>,
    arrived: &mut Arrived,
    routed: &Routed,
    attempt: &mut Attempt,
    response: &mut Response,
    data: Bytes,
    is_end: bool,
) -> Result<(), Error> {
    let mut data = data;
    let runtime = arrived.runtime();
    if runtime.rule(routed.rule).wants.response_body {
        let runtime = runtime.clone();
        data = runtime.rule(routed.rule).chain.response_body(data, is_end, &mut arrived.extensions)?;
    }
    response.is_complete |= is_end;
    let mut goes_on = Ok(());
    if !data.is_empty() {
        let now = Instant::now();
        arrived.deadlines.touch(now);
        response.observe(&data, now, arrived.started);
        if response.is_event_stream && !response.is_complete {
            goes_on = quota::seen(arrived, attempt, response, now);
        }
    }
    data = response.filter(data, is_end);
    if !data.is_empty() || is_end {
        client.write_body(data, is_end).await?;
    }
    // What is here is charged, and passed on.
    goes_on
}

/// What has happened at the upstream already.
async fn here(connection: &mut Connection) -> Result<Option<Event>, Error> {
    poll_fn(|cx| match connection.poll_event(cx) {
        Poll::Ready(event) => Poll::Ready(event.map(Some).map_err(Error::from)),
        Poll::Pending => Poll::Ready(Ok(None)),
    })
    .await
}

/// Waits for the head of the final response, and whether that is all of it.
async fn response_head(
    connection: &mut Connection,
    client: &mut Client<'_>,
    arrived: &mut Arrived,
) -> Result<(Box<ResponseHeader>, bool), Error> {
    loop {
        match next(connection, client, arrived).await? {
            Event::Head { header, is_end } => return Ok((header, is_end)),
            // No request asks for it: upgrades are not forwarded. What follows would reach the client as it is.
            Event::Informational(header) if header.status == StatusCode::SWITCHING_PROTOCOLS => {
                return Err(Error::InvalidResponse(Some(
                    "it switches protocols, which nobody asked for".into(),
                )));
            }
            Event::Informational(header) => {
                // An upstream that sends hints without a pause must not outlast its attempt.
                if let Some(error) = arrived.deadlines.passed(Instant::now(), None) {
                    return Err(error);
                }
                client.write_informational(header).await?;
            }
            Event::Sent => {}
            Event::Body { .. } | Event::Trailers(_) => return Err(Error::unexpected_event()),
        }
    }
}

/// What happens next at the upstream. Meanwhile the client's body is read and handed over as fast as the upstream takes
/// it, the client is watched, and so are the deadlines.
async fn next(
    connection: &mut Connection,
    client: &mut Client<'_>,
    arrived: &mut Arrived,
) -> Result<Event, Error> {
    loop {
        let reads_body = !arrived.body.is_complete() && connection.wants_body();
        let chunk = {
            let limit = arrived.runtime().limits().body_idle_timeout;
            let (deadlines, body) = (&mut arrived.deadlines, &arrived.body);
            let mut watch = pin!(async {
                match reads_body {
                    true => body.unless_given_up(client.read_body(limit)).await,
                    false => Err(client.gone().await),
                }
            });
            let happened = poll_fn(|cx| {
                if let Poll::Ready(event) = connection.poll_event(cx) {
                    return Poll::Ready(event.map(Happened::Upstream).map_err(Error::from));
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
                arrived.hold(chunk.clone())?;
                connection.push(chunk);
                // Told at once where it shows: a response that overtakes the end would cost the connection.
                if client.is_body_done() {
                    arrived.body.complete();
                }
            }
            None => arrived.body.complete(),
        }
        if arrived.body.is_complete() {
            connection.finish();
        }
    }
}

enum Happened {
    Upstream(Event),
    /// A piece of the client's body, or its end.
    Client(Option<Bytes>),
}
