//! Requests to the upstream: just enough of HTTP/1.1 and of the body is read to answer them.
//!
//! Chunks are taken apart by the gateway's decoder. The head is not read by the gateway's parser, which knows responses
//! only: those of its clients are Pingora's to read.

use std::io;

use bytes::{Buf, BytesMut};
use memchr::memmem;
use penstock_wire::chunked::Decoder;

/// Header fields of a request at most.
const MAX_HEADERS: usize = 100;
/// Bytes at the end of a body that are looked at first: clients put their options behind the prompt.
const TAIL_BYTES: usize = 512;

/// A request that was read to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ParsedRequest {
    pub(super) route: Route,
    pub(super) is_stream: bool,
    pub(super) max_tokens: u64,
    /// Four bytes of the body are a token, as for the simulator.
    pub(super) prompt_tokens: u64,
    /// Whether the connection ends with the answer.
    pub(super) closes: bool,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Route {
    Inference,
    /// Inference by Anthropic's API.
    Messages,
    Models,
    Metrics,
    /// Health, and what SGLang's router wants to know of a worker.
    Info,
}

/// A request on its way.
#[derive(Debug, Default)]
pub(super) struct RequestParser {
    head: Option<RequestHead>,
    chunks: Decoder,
    /// The body of a chunked request, as far as it came.
    unframed: Vec<u8>,
    is_told_to_continue: bool,
}

#[derive(Clone, Copy, Debug)]
struct RequestHead {
    route: Route,
    closes: bool,
    expects_continue: bool,
    /// None for a chunked body.
    length: Option<usize>,
}

impl RequestParser {
    /// Takes what has come. Returns the request once it is complete; bytes behind it stay in the buffer.
    pub(super) fn advance(&mut self, buffer: &mut BytesMut) -> io::Result<Option<ParsedRequest>> {
        let head = match self.head {
            Some(head) => head,
            None => match parse_head(buffer)? {
                None => return Ok(None),
                Some((head, length)) => {
                    buffer.advance(length);
                    *self.head.insert(head)
                }
            },
        };
        match head.length {
            Some(length) if buffer.len() < length => Ok(None),
            Some(length) => Ok(Some(head.request(&buffer.split_to(length)))),
            None if self.unframe(buffer)? => Ok(Some(head.request(&self.unframed))),
            None => Ok(None),
        }
    }

    /// Whether the client waits to be told to send its body. True once.
    pub(super) fn wants_continue(&mut self) -> bool {
        let wants = self.head.is_some_and(|head| head.expects_continue) && !self.is_told_to_continue;
        self.is_told_to_continue |= wants;
        wants
    }

    /// Bytes that are still to come, as far as is known.
    pub(super) fn missing(&self, buffer: &BytesMut) -> usize {
        let length = self.head.and_then(|head| head.length).unwrap_or(0);
        length.saturating_sub(buffer.len())
    }

    /// Takes what there is of chunks; true behind the last one.
    fn unframe(&mut self, buffer: &mut BytesMut) -> io::Result<bool> {
        let data = self.chunks.decode(buffer).map_err(|error| bad(&error.to_string()))?;
        self.unframed.extend_from_slice(&data);
        Ok(self.chunks.is_done())
    }
}

impl RequestHead {
    fn request(&self, body: &[u8]) -> ParsedRequest {
        let tail = &body[body.len().saturating_sub(TAIL_BYTES)..];
        // What is not in the tail may be before the prompt, where some proxies put it.
        // SGLang's router calls the limit by its newer name.
        let limit = |text| field(text, "max_tokens").or_else(|| field(text, "max_completion_tokens"));
        let number = limit(tail).or_else(|| limit(body)).map(digits);
        let stream = field(tail, "stream").or_else(|| field(body, "stream"));
        ParsedRequest {
            route: self.route,
            is_stream: matches!(self.route, Route::Inference | Route::Messages)
                && stream.is_some_and(|value| value.starts_with(b"true")),
            max_tokens: number.unwrap_or(16),
            prompt_tokens: body.len() as u64 / 4,
            closes: self.closes,
        }
    }
}

fn parse_head(buffer: &[u8]) -> io::Result<Option<(RequestHead, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let length = match request.parse(buffer).map_err(|error| bad(&error.to_string()))? {
        httparse::Status::Partial => return Ok(None),
        httparse::Status::Complete(length) => length,
    };
    let path = request.path.unwrap_or_default().split('?').next().unwrap_or_default();
    let route = match path {
        "/metrics" => Route::Metrics,
        "/v1/models" => Route::Models,
        _ if request.method == Some("GET") => Route::Info,
        "/v1/messages" => Route::Messages,
        _ => Route::Inference,
    };
    let mut head =
        RequestHead { route, closes: request.version != Some(1), expects_continue: false, length: Some(0) };
    for header in request.headers.iter() {
        if header.name.eq_ignore_ascii_case("content-length") {
            let text = std::str::from_utf8(header.value).unwrap_or_default().trim();
            head.length = Some(text.parse().map_err(|_| bad("a bad content-length"))?);
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            head.length = None;
        } else if header.name.eq_ignore_ascii_case("connection") {
            head.closes |= header.value.eq_ignore_ascii_case(b"close");
        } else if header.name.eq_ignore_ascii_case("expect") {
            head.expects_continue = true;
        }
    }
    Ok(Some((head, length)))
}

/// The value behind a key, as far as it goes.
fn field<'a>(body: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let key = format!("\"{name}\":");
    let at = memmem::find(body, key.as_bytes())?;
    Some(body[at + key.len()..].trim_ascii_start())
}

fn digits(value: &[u8]) -> u64 {
    value
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .fold(0_u64, |number, byte| number.saturating_mul(10).saturating_add(u64::from(byte - b'0')))
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}
