//! The question and its answer by gRPC (`envoy.service.auth.v3.Authorization/Check`).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, UNIX_EPOCH};

use bytes::{BufMut, Bytes, BytesMut};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use prost::Message;

use super::ask::{Answered, Fault, Question};
use super::changes::{Changes, HeaderChange, How, may_change_request, may_change_response};
use super::messages::{
    Address, AttributeContext, CheckRequest, CheckResponse, DeniedHttpResponse, HeaderValueOption,
    HttpRequest, HttpResponse, OkHttpResponse, Peer, Request, SocketAddress, Timestamp,
};
use super::{Answer, Seen};
use crate::policy::Reply;

const PATH: PathAndQuery = PathAndQuery::from_static("/envoy.service.auth.v3.Authorization/Check");

/// What stands before a message: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;

/// The most changes that an answer may ask for. A head has room for some hundred headers.
const MAX_CHANGES: usize = 256;

/// The longest message that servers take which were told nothing else.
const USUAL_LIMIT_BYTES: usize = 4 << 20;

/// The statuses of a call whose message is longer than its server takes: `RESOURCE_EXHAUSTED`, and tonic's `OUT_OF_RANGE`.
const STATUSES_OF_LENGTH: [&str; 2] = ["8", "11"];

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// The question about a request. `context` is what the policy tells of itself.
pub(super) fn question(seen: &Seen<'_>, context: &[(Box<str>, Box<str>)], limit: Duration) -> Question {
    let message = CheckRequest { attributes: Some(attributes(seen, context)) };
    let length = message.encoded_len();
    let mut framed = BytesMut::with_capacity(PREFIX_BYTES + length);
    framed.put_u8(0);
    // What is longer than this was refused before: bodies that are shown are bounded.
    framed.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    // There is room for all of it.
    let _ = message.encode(&mut framed);
    let mut headers = HeaderMap::with_capacity(5);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(header::TE, HeaderValue::from_static("trailers"));
    if let Ok(limit) = HeaderValue::from_str(&format!("{}m", limit.as_millis())) {
        headers.insert(HeaderName::from_static("grpc-timeout"), limit);
    }
    Question { method: Method::POST, target: PATH, headers, body: vec![framed.freeze()] }
}

fn attributes(seen: &Seen<'_>, context: &[(Box<str>, Box<str>)]) -> AttributeContext {
    let since = seen.now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let time = Timestamp {
        seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(since.subsec_nanos()).unwrap_or(0),
    };
    let context = context.iter().map(|(name, value)| (name.to_string(), value.to_string()));
    AttributeContext {
        source: seen.source.map(peer),
        destination: seen.destination.map(peer),
        request: Some(Request { time: Some(time), http: Some(http_request(seen)) }),
        context_extensions: context.collect(),
    }
}

fn peer(address: SocketAddr) -> Peer {
    let (address, port) = (address.ip().to_canonical().to_string(), u32::from(address.port()));
    let socket_address = SocketAddress { address, port_value: Some(port) };
    Peer { address: Some(Address { socket_address: Some(socket_address) }) }
}

fn http_request(seen: &Seen<'_>) -> HttpRequest {
    let body = match seen.body {
        None => Bytes::new(),
        Some([only]) => only.clone(),
        Some(chunks) => chunks.concat().into(),
    };
    // What is no text cannot stand in one.
    let (body, raw_body) = if is_text(&body) { (body, Bytes::new()) } else { (Bytes::new(), body) };
    HttpRequest {
        id: seen.request_id.to_owned(),
        method: seen.head.method.as_str().to_owned(),
        headers: headers(seen),
        path: seen.target.as_str().to_owned(),
        host: seen.host.to_owned(),
        scheme: seen.scheme.to_owned(),
        size: seen.body_bytes().unwrap_or(-1),
        protocol: format!("{:?}", seen.head.version),
        body,
        raw_body,
    }
}

fn is_text(body: &[u8]) -> bool {
    std::str::from_utf8(body).is_ok()
}

/// Headers by name, with commas between several of one name, and among them what HTTP/2 has in their place.
fn headers(seen: &Seen<'_>) -> BTreeMap<String, String> {
    let mut headers: BTreeMap<String, String> = BTreeMap::new();
    let shown = seen.shown_headers();
    for (name, value) in &shown {
        let value = String::from_utf8_lossy(value.as_bytes());
        headers
            .entry(name.as_str().to_owned())
            .and_modify(|before| {
                before.push(',');
                before.push_str(&value);
            })
            .or_insert_with(|| value.into_owned());
    }
    if seen.listed.is_none() {
        for (name, value) in [
            (":authority", seen.host),
            (":method", seen.head.method.as_str()),
            (":path", seen.target.as_str()),
            (":scheme", seen.scheme),
        ] {
            headers.insert(name.to_owned(), value.to_owned());
        }
    }
    headers
}

/// A server that was asked more than servers take by default, and has no room for it: the client made it so.
pub(super) fn judge(fault: Fault, question: &Question) -> Fault {
    let bytes: usize = question.body.iter().map(Bytes::len).sum();
    match fault {
        Fault::GrpcStatus(status)
            if bytes > USUAL_LIMIT_BYTES
                && STATUSES_OF_LENGTH.iter().any(|of_length| status == of_length) =>
        {
            Fault::TooLongToAsk
        }
        fault => fault,
    }
}

/// What the server says.
///
/// # Errors
/// It failed, or says nothing that can be understood.
pub(super) fn answer(answered: Answered) -> Result<Answer, Fault> {
    if answered.status != StatusCode::OK {
        return Err(Fault::Status(answered.status));
    }
    // Without a message, the status stands in the head.
    let status = answered.trailers.get(&GRPC_STATUS).or_else(|| answered.headers.get(&GRPC_STATUS));
    let status = status.ok_or(Fault::Malformed("it has no grpc-status"))?;
    if status != "0" {
        return Err(Fault::GrpcStatus(status.clone()));
    }
    let message = unframed(answered.body)?;
    read(CheckResponse::decode(message).map_err(Fault::Unreadable)?)
}

fn unframed(mut body: Bytes) -> Result<Bytes, Fault> {
    if body.len() < PREFIX_BYTES {
        return Err(Fault::Malformed("it has no message"));
    }
    let prefix = body.split_to(PREFIX_BYTES);
    let length = prefix[1..].iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
    match prefix[0] {
        0 if length == body.len() => Ok(body),
        0 => Err(Fault::Malformed("it is not one message")),
        _ => Err(Fault::Malformed("it is compressed, which it was not asked to be")),
    }
}

fn read(response: CheckResponse) -> Result<Answer, Fault> {
    // Left out, it is OK.
    let is_ok = response.status.is_none_or(|status| status.code == 0);
    match (is_ok, response.http_response) {
        (_, Some(HttpResponse::Error(_))) => Err(Fault::Failed),
        (true, Some(HttpResponse::Denied(_))) => Err(Fault::Malformed("it allows the request and denies it")),
        (true, Some(HttpResponse::Ok(ok))) => changes(ok).map(Answer::Allowed),
        (true, None) => Ok(Answer::Allowed(Changes::default())),
        (false, Some(HttpResponse::Denied(denied))) => reply(denied).map(|reply| Answer::Denied(Some(reply))),
        (false, Some(HttpResponse::Ok(_)) | None) => Ok(Answer::Denied(None)),
    }
}

fn changes(ok: OkHttpResponse) -> Result<Changes, Fault> {
    let all = [
        ok.headers.len(),
        ok.headers_to_remove.len(),
        ok.response_headers_to_add.len(),
        ok.query_parameters_to_set.len(),
        ok.query_parameters_to_remove.len(),
    ];
    if all.iter().sum::<usize>() > MAX_CHANGES {
        return Err(Fault::Malformed("it wants more changes than a request has room for"));
    }
    let removed = ok.headers_to_remove.iter().filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok());
    let set = header_changes(ok.headers, Unsaid::Set, may_change_request)?;
    Ok(Changes {
        remove: removed.filter(may_change_request).collect(),
        set,
        set_query: ok.query_parameters_to_set.into_iter().map(|of| (of.key, of.value)).collect(),
        remove_query: ok.query_parameters_to_remove,
        response: header_changes(ok.response_headers_to_add, Unsaid::ByAction, may_change_response)?,
    })
}

fn reply(denied: DeniedHttpResponse) -> Result<Box<Reply>, Fault> {
    if denied.headers.len() > MAX_CHANGES {
        return Err(Fault::Malformed("it has more headers than a response has room for"));
    }
    let code = denied.status.and_then(|status| u16::try_from(status.code).ok());
    let status =
        code.filter(|code| (200..600).contains(code)).and_then(|code| StatusCode::from_u16(code).ok());
    let mut headers = HeaderMap::new();
    for HeaderChange { name, value, how } in header_changes(denied.headers, Unsaid::Set, may_change_response)?
    {
        // A client that is sent two cookies is meant to have both.
        if how == How::Append || name == header::SET_COOKIE {
            headers.append(name, value);
        } else {
            headers.insert(name, value);
        }
    }
    Ok(Box::new(super::reply(status.unwrap_or(StatusCode::FORBIDDEN), headers, denied.body)))
}

/// What a header means that does not say whether it is appended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unsaid {
    /// It takes the place of others.
    Set,
    /// What its action says.
    ByAction,
}

/// Headers as they are to be set, without those that are not the server's to set.
fn header_changes(
    options: Vec<HeaderValueOption>,
    unsaid: Unsaid,
    may_change: fn(&HeaderName) -> bool,
) -> Result<Vec<HeaderChange>, Fault> {
    let mut changes = Vec::with_capacity(options.len());
    for option in options {
        let header = option.header.ok_or(Fault::Malformed("a header has no name"))?;
        // HTTP/2's own, such as `:path`, are none of ours to set.
        if header.key.starts_with(':') {
            continue;
        }
        let name = HeaderName::from_bytes(header.key.as_bytes());
        let name = name.map_err(|_| Fault::Malformed("a header's name is none"))?;
        let value = if header.value.is_empty() { header.raw_value } else { header.value };
        let value = HeaderValue::from_maybe_shared(value);
        let value = value.map_err(|_| Fault::Malformed("a header's value is none"))?;
        let how = match (option.append.map(|append| append.value), unsaid, option.append_action) {
            (Some(true), ..) | (None, Unsaid::ByAction, 0) => How::Append,
            (None, Unsaid::ByAction, 1) => How::IfAbsent,
            (None, Unsaid::ByAction, 3) => How::IfPresent,
            _ => How::Set,
        };
        if may_change(&name) {
            changes.push(HeaderChange { name, value, how });
        } else {
            tracing::debug!(header = name.as_str(), "an authorization server may not set this header");
        }
    }
    Ok(changes)
}

#[cfg(test)]
mod tests;
