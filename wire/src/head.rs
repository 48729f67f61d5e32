//! The head of an HTTP/1.1 response: copied once as a whole, its values being parts of that, and the framing of what
//! follows it.

use std::mem::MaybeUninit;

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Version, header};
use httparse::{Header, ParserConfig, Status};
use pingora_http::ResponseHeader;

/// The longest head that is read, in bytes.
pub const MAX_HEAD_BYTES: usize = 1 << 20;

/// Headers that are tried for first, and the most that a response may have.
const USUAL_HEADERS: usize = 48;
const MAX_HEADERS: usize = 256;

/// Headers that the gateway may add.
const ADDED_HEADERS: usize = 6;

/// The response is no HTTP/1.1, or framed in a way that can be read in two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadHead {
    /// The status line or a header is malformed.
    #[error("the response's head is malformed: {0}")]
    Malformed(#[from] httparse::Error),
    /// A header's name or value is not legal.
    #[error("a header of the response is not legal")]
    Header,
    /// `Content-Length` is no number, or is two.
    #[error("the response's Content-Length is not one number")]
    Length,
    /// `Transfer-Encoding` is not `chunked`.
    #[error("the response's Transfer-Encoding is not `chunked`")]
    Coding,
    /// Longer than [`MAX_HEAD_BYTES`].
    #[error("the response's head is too long")]
    TooLong,
}

/// How the body behind a head ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    Empty,
    /// After so many bytes.
    Length(u64),
    /// With its last chunk.
    Chunked,
    /// With the connection.
    Close,
}

/// A head, and what it says about the connection.
#[derive(Debug)]
pub struct Head {
    /// The head itself. Length, if any, is as sent; no other header frames the body or speaks of the connection.
    pub header: ResponseHeader,
    /// How the body ends.
    pub framing: Framing,
    /// Whether the connection may carry another request once the body is read.
    pub keeps_alive: bool,
}

/// Takes a head out of `buffer`; `None` while it is incomplete. `is_head` tells that HEAD was asked for.
///
/// # Errors
/// See [`BadHead`].
pub fn take(buffer: &mut BytesMut, is_head: bool) -> Result<Option<Head>, BadHead> {
    let Some(length) = end_of_head(buffer) else {
        // Another protocol's greeting is told at once, and not when a deadline has passed.
        parse_into(&mut [const { MaybeUninit::uninit() }; MAX_HEADERS], buffer, |_| Ok(()))?;
        return if buffer.len() > MAX_HEAD_BYTES { Err(BadHead::TooLong) } else { Ok(None) };
    };
    // Copied: a header would keep the whole buffer, and a stream's headers are kept for as long as it lasts.
    let raw = Bytes::copy_from_slice(&buffer[..length]);
    buffer.advance(length);
    // The larger array costs more to set up than most heads to parse.
    let mut usual = [const { MaybeUninit::uninit() }; USUAL_HEADERS];
    let taken = match parse_into(&mut usual, &raw, |response| build(response, &raw, is_head)) {
        Err(BadHead::Malformed(httparse::Error::TooManyHeaders)) => {
            let mut all = [const { MaybeUninit::uninit() }; MAX_HEADERS];
            parse_into(&mut all, &raw, |response| build(response, &raw, is_head))?
        }
        taken => taken?,
    };
    // The two must agree on where the head ends.
    taken.map(Some).ok_or(BadHead::Malformed(httparse::Error::NewLine))
}

/// Behind the empty line that ends a head.
fn end_of_head(bytes: &[u8]) -> Option<usize> {
    memchr::memchr_iter(b'\n', bytes).find_map(|at| match &bytes[at + 1..] {
        [b'\r', b'\n', ..] => Some(at + 3),
        [b'\n', ..] => Some(at + 2),
        _ => None,
    })
}

/// Parses `raw` and hands what was parsed to `build`; `None` if it is no whole head.
fn parse_into<'a, T>(
    slots: &mut [MaybeUninit<Header<'a>>],
    raw: &'a [u8],
    build: impl FnOnce(&httparse::Response<'_, 'a>) -> Result<T, BadHead>,
) -> Result<Option<T>, BadHead> {
    let mut response = httparse::Response::new(&mut []);
    let mut config = ParserConfig::default();
    // RFC 9112 §5.1: a proxy removes such spaces from a response. Lines that go on are refused (§5.2).
    config.allow_spaces_after_header_name_in_responses(true);
    match config.parse_response_with_uninit_headers(&mut response, raw, slots)? {
        Status::Complete(length) if length == raw.len() => build(&response).map(Some),
        Status::Complete(_) | Status::Partial => Ok(None),
    }
}

fn build(response: &httparse::Response<'_, '_>, raw: &Bytes, is_head: bool) -> Result<Head, BadHead> {
    let mut parts = Response::new(()).into_parts().0;
    parts.status = StatusCode::from_u16(response.code.unwrap_or_default()).map_err(|_| BadHead::Header)?;
    parts.version = if response.version == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 };
    parts.headers = HeaderMap::with_capacity(response.headers.len() + ADDED_HEADERS);
    for header in response.headers.iter() {
        let name = HeaderName::from_bytes(header.name.as_bytes()).map_err(|_| BadHead::Header)?;
        let value =
            HeaderValue::from_maybe_shared(raw.slice_ref(header.value)).map_err(|_| BadHead::Header)?;
        parts.headers.try_append(name, value).map_err(|_| BadHead::Header)?;
    }
    let (status, version) = (parts.status, parts.version);
    let (framing, is_framed_twice) = framing(&mut parts.headers, status, is_head)?;
    let keeps_alive = !is_framed_twice
        && framing != Framing::Close
        && status != StatusCode::SWITCHING_PROTOCOLS
        && keeps_alive(&parts.headers, version);
    strip_hop_by_hop(&mut parts.headers);
    let mut header = ResponseHeader::from(parts);
    let reason = response.reason.filter(|reason| Some(*reason) != status.canonical_reason());
    if let Some(reason) = reason.filter(|reason| !reason.is_empty()) {
        header.set_reason_phrase(Some(reason)).map_err(|_| BadHead::Header)?;
    }
    Ok(Head { header, framing, keeps_alive })
}

/// How the body ends (RFC 9112 §6.3), and whether the response says it in two ways, of which the coding counts.
fn framing(headers: &mut HeaderMap, status: StatusCode, is_head: bool) -> Result<(Framing, bool), BadHead> {
    let length = length(headers);
    let is_chunked = is_chunked(headers)?;
    let is_framed_twice = is_chunked && headers.remove(header::CONTENT_LENGTH).is_some();
    let is_empty = is_head
        || status.is_informational()
        || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let framing = match (is_empty, is_chunked, if is_framed_twice { Ok(None) } else { length }?) {
        (true, ..) => Framing::Empty,
        (false, true, _) => Framing::Chunked,
        (false, false, Some(length)) => Framing::Length(length),
        (false, false, None) => Framing::Close,
    };
    Ok((framing, is_framed_twice))
}

/// Whether `Transfer-Encoding` says `chunked`, and takes it out. Said twice, or with another coding on a line of its own,
/// it means what no two readers agree on.
fn is_chunked(headers: &mut HeaderMap) -> Result<bool, BadHead> {
    let mut lines = headers.get_all(header::TRANSFER_ENCODING).iter();
    let Some(coding) = lines.next() else { return Ok(false) };
    if lines.next().is_some() || !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
        return Err(BadHead::Coding);
    }
    headers.remove(header::TRANSFER_ENCODING);
    Ok(true)
}

/// The one value of all `Content-Length`s. Lines and lists that repeat it are reduced to it.
fn length(headers: &mut HeaderMap) -> Result<Option<u64>, BadHead> {
    let mut lines = headers.get_all(header::CONTENT_LENGTH).iter();
    let Some(first) = lines.next() else { return Ok(None) };
    if lines.next().is_none()
        && let Some(length) = number(first.as_bytes())
    {
        return Ok(Some(length));
    }
    let all = headers.get_all(header::CONTENT_LENGTH).iter();
    let mut all = all.flat_map(|line| line.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    let first = all.next().and_then(number).ok_or(BadHead::Length)?;
    if !all.all(|other| number(other) == Some(first)) {
        return Err(BadHead::Length);
    }
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(first));
    Ok(Some(first))
}

fn number(digits: &[u8]) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    is_number.then(|| std::str::from_utf8(digits).ok()?.parse().ok()).flatten()
}

fn keeps_alive(headers: &HeaderMap, version: Version) -> bool {
    let mut says_keep_alive = false;
    for token in connection_tokens(headers) {
        if token.eq_ignore_ascii_case(b"close") {
            return false;
        }
        says_keep_alive |= token.eq_ignore_ascii_case(b"keep-alive");
    }
    version == Version::HTTP_11 || says_keep_alive
}

fn connection_tokens(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let lines = headers.get_all(header::CONNECTION).iter();
    lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii)
}

/// What speaks of the connection to the upstream does not go on (RFC 9110 §7.6.1).
fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let is_hop_by_hop = |name: &&HeaderName| {
        matches!(name.as_str(), "connection" | "keep-alive" | "proxy-connection" | "upgrade" | "trailer")
    };
    // A look at each name is cheaper than a look-up of each of these.
    let mut found: Vec<HeaderName> = headers.keys().filter(is_hop_by_hop).cloned().collect();
    if found.contains(&header::CONNECTION) {
        let named = connection_tokens(headers).filter_map(|token| HeaderName::from_bytes(token).ok());
        found.extend(named.filter(|name| *name != header::CONTENT_LENGTH));
    }
    for name in found {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Option<Head>, BadHead> {
        take(&mut BytesMut::from(text), false)
    }

    fn whole(text: &str) -> Head {
        parse(text).unwrap().unwrap()
    }

    #[test]
    fn a_head_is_taken_once_it_is_whole() {
        let text = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nX-Kept: y\r\n\r\n";
        for at in 0..text.len() {
            assert!(parse(&text[..at]).unwrap().is_none(), "{at}");
        }
        let mut buffer = BytesMut::from(format!("{text}good").as_str());
        let head = take(&mut buffer, false).unwrap().unwrap();
        assert_eq!((head.framing, head.keeps_alive, &buffer[..]), (Framing::Length(4), true, &b"good"[..]));
        assert_eq!(head.header.headers["x-kept"], "y");
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: y\r\n".repeat(MAX_HEADERS));
        assert_eq!(whole(&many).header.headers.get_all("x").iter().count(), MAX_HEADERS);
    }

    #[test]
    fn a_head_does_not_keep_the_buffer_that_it_was_read_into() {
        let mut buffer = BytesMut::with_capacity(4096);
        buffer.extend_from_slice(b"HTTP/1.1 200 OK\r\nX-Kept: y\r\n\r\n");
        let head = take(&mut buffer, false).unwrap().unwrap();
        assert!(buffer.try_reclaim(4096));
        assert_eq!(head.header.headers["x-kept"], "y");
    }

    #[test]
    fn the_framing_is_decided_as_the_standard_says() {
        let of = |headers: &str| whole(&format!("HTTP/1.1 200 OK\r\n{headers}\r\n")).framing;
        assert_eq!(of("transfer-encoding: Chunked\r\n"), Framing::Chunked);
        assert_eq!(of("content-length: 4, 4\r\ncontent-length: 4\r\n"), Framing::Length(4));
        assert_eq!(of(""), Framing::Close);
        assert_eq!(whole("HTTP/1.1 204 No Content\r\ncontent-length: 6\r\n\r\n").framing, Framing::Empty);
        assert_eq!(whole("HTTP/1.1 103 Early Hints\r\n\r\n").framing, Framing::Empty);
        let head = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n";
        let head = take(&mut BytesMut::from(head), true).unwrap().unwrap();
        assert_eq!(
            (head.framing, head.header.headers["content-length"].as_bytes()),
            (Framing::Empty, &b"6"[..])
        );
    }

    #[test]
    fn the_coding_counts_where_both_are_sent_and_the_connection_is_given_up() {
        let head = whole("HTTP/1.1 200 OK\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n");
        assert_eq!((head.framing, head.keeps_alive), (Framing::Chunked, false));
        assert!(!head.header.headers.contains_key("content-length"));
    }

    #[test]
    fn heads_that_could_be_read_in_two_ways_are_refused() {
        for headers in [
            "content-length: 4\r\ncontent-length: 5\r\n",
            "content-length: +4\r\n",
            "content-length: \r\n",
            "content-length: 99999999999999999999\r\n",
            "transfer-encoding: gzip\r\n",
            "transfer-encoding: gzip, chunked\r\n",
            "transfer-encoding: chunked\r\ntransfer-encoding: gzip\r\n",
            "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
            "x: a\r\n set-cookie: evil=1\r\n",
            "x: a\rset-cookie: evil=1\r\n",
            "x: a\0b\r\n",
            ": x\r\n",
        ] {
            assert!(parse(&format!("HTTP/1.1 200 OK\r\n{headers}\r\n")).is_err(), "{headers}");
        }
        for line in
            ["HTTP/1.1 abc OK", "HTTP/1.1 2000 OK", "HTTP/1.1 099 OK", "HTTP/2 200 OK", "220 mail ESMTP"]
        {
            assert!(parse(&format!("{line}\r\n\r\n")).is_err(), "{line}");
        }
        assert!(parse("220 mail ESMTP\r\n").is_err(), "at once, though the head has no end");
    }

    #[test]
    fn the_connection_is_kept_as_version_and_header_say() {
        let keeps = |line: &str, headers: &str| {
            whole(&format!("{line} 200 OK\r\ncontent-length: 0\r\n{headers}\r\n")).keeps_alive
        };
        assert!(keeps("HTTP/1.1", ""));
        assert!(!keeps("HTTP/1.0", ""));
        assert!(keeps("HTTP/1.0", "connection: keep-alive\r\n"));
        assert!(!keeps("HTTP/1.1", "connection: x, Close\r\n"));
        assert!(!whole("HTTP/1.1 200 OK\r\n\r\n").keeps_alive);
    }

    #[test]
    fn what_speaks_of_the_connection_stays_behind() {
        let head = whole(
            "HTTP/1.1 200 OK\r\nconnection: X-Hop\r\nx-hop: 1\r\nkeep-alive: timeout=5\r\nx: y\r\n\r\n",
        );
        let names: Vec<_> = head.header.headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["x"]);
    }
}
