//! The head of a request: limits, shapes that are used to smuggle requests, and headers that are not the client's to
//! set.

mod forwarded;
mod names;
mod slashes;

use std::borrow::Cow;

use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, Method, Uri, Version, header};
use penstock_config::{EscapedSlashes, HeaderEdits, ListenerIndex, Pattern, RequestIds};
use pingora_http::RequestHeader;

use crate::client::Client;
use crate::context::{Arrived, RequestTarget};
use crate::error::Error;
use crate::hop::is_hop_by_hop;
use crate::policy::edits::check_arrives;
use crate::request_id::{self, RequestId};

pub(crate) use names::{HOPS, is_own, strip_own};

/// The methods that may be served, as `Allow` lists them.
pub(crate) const ALLOWED_METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// Longest host in bytes: a DNS name has at most 253, a port adds 6, brackets of an IPv6 address 2.
const MAX_HOST_BYTES: usize = 261;

/// Checks the head of a request and fills in what the later phases need of it.
///
/// # Errors
/// The request must not be served.
pub(crate) fn check(client: &mut Client<'_>, arrived: &mut Arrived) -> Result<(), Error> {
    let own = ListenerIndex(arrived.listener);
    arrived.listener = arrived.runtime().snapshot().listener_for(own, asked_host(client.head())).0;
    let listener = &arrived.runtime().snapshot().listeners[arrived.listener];
    let (keeps_id, slashes) = (listener.request_ids == RequestIds::Keep, listener.escaped_slashes);
    let id = client.head().headers.get(request_id::HEADER).and_then(RequestId::accept);
    if let Some(id) = id.filter(|_| keeps_id) {
        arrived.request_id = id;
    }
    if arrived.listener != own.0 {
        client.limit_body(arrived.limits().body_timeout);
    }
    let is_coded = !client.is_http2() && client.head().headers.contains_key(header::TRANSFER_ENCODING);
    let (is_framed_twice, has_fragment) = (is_coded && has_length_too(client), has_fragment(client));
    let limits = arrived.limits();
    let header = client.head();
    check_size(header, limits.header_bytes, limits.header_count as usize)?;
    if is_framed_twice {
        return Err(Error::AmbiguousFraming("it has both Content-Length and Transfer-Encoding; send one"));
    }
    check_method(&header.method)?;
    if has_fragment {
        return Err(Error::BadTarget("it has a number sign; escape it, or leave the fragment out"));
    }
    if is_coded || client.is_http2() {
        check_coding(header)?;
    }
    check_length(header, limits.body_bytes)?;
    check_expectation(header)?;
    if slashes != EscapedSlashes::Keep {
        slashes::judge(client.head_mut(), slashes)?;
    }
    arrived.target = target(client.head())?;
    check_listener(client, arrived)?;
    arrived.user_agent = client.head().headers.get(header::USER_AGENT).cloned();
    if is_coded {
        client.take_chunks_apart()?;
    }
    judge_names(client, arrived)
}

/// Removes the headers that are not the client's to set, or believes them if it is a proxy that may speak for others.
fn judge_names(client: &mut Client<'_>, arrived: &mut Arrived) -> Result<(), Error> {
    let listener = &arrived.runtime().snapshot().listeners[arrived.listener];
    let underscores = listener.headers_with_underscores;
    let hops = listener.trusted_hops;
    let is_trusted = hops > 0 || arrived.peer.is_some_and(|peer| listener.trusts(peer.ip()));
    if is_trusted {
        arrived.forwarded_for = match hops {
            0 => forwarded::client(&client.head().headers, listener),
            hops => forwarded::behind(&client.head().headers, hops),
        };
        arrived.is_proxy_trusted = true;
    }
    let runtime = arrived.runtime().clone();
    let listener = &runtime.snapshot().listeners[arrived.listener];
    if let Some(header) = &listener.client_address {
        arrived.forwarded_for = forwarded::named(&client.head().headers, &header.name);
        if header.is_required && arrived.forwarded_for.is_none() {
            return Err(Error::UnknownClient);
        }
    }
    arrived.hops = names::sift(client.head_mut(), underscores, is_trusted)?;
    let limit = arrived.runtime().limits().hops;
    if arrived.hops > limit {
        return Err(Error::Loop { limit });
    }
    if !listener.drop_headers.is_empty() {
        drop_matching(client.head_mut(), &listener.drop_headers);
    }
    if listener.request_headers.is_empty() {
        Ok(())
    } else {
        edit(client.head_mut(), &listener.request_headers)
    }
}

/// Takes out the headers whose names match.
fn drop_matching(header: &mut RequestHeader, patterns: &[Pattern]) {
    let stays =
        |name: &HeaderName| is_hop_by_hop(name) || *name == header::HOST || *name == header::CONTENT_LENGTH;
    let is_met =
        |name: &&HeaderName| patterns.iter().any(|pattern| pattern.matches(name.as_str())) && !stays(name);
    let dropped: Vec<HeaderName> = header.headers.keys().filter(is_met).cloned().collect();
    for name in dropped {
        header.remove_header(&name);
    }
}

/// Changes the headers of a request, for all that look at them from now on.
fn edit(header: &mut RequestHeader, edits: &HeaderEdits) -> Result<(), Error> {
    for name in &edits.remove {
        header.remove_header(name);
    }
    for (name, _) in edits.set.iter().chain(&edits.add) {
        check_arrives(name, header)?;
    }
    for (name, value) in &edits.set {
        header.insert_header(name.clone(), value.clone()).map_err(Error::internal)?;
    }
    for (name, value) in &edits.add {
        header.append_header(name.clone(), value.clone()).map_err(Error::internal)?;
    }
    Ok(())
}

/// The checks of [`check`] that hold for a request that is only talked about.
///
/// # Errors
/// Such a request would be refused.
pub(crate) fn check_target(method: &Method, path: &str, host: &str) -> Result<(), Error> {
    check_method(method)?;
    check_form(path.as_bytes())?;
    check_path(path)?;
    if is_host(host.as_bytes()) {
        Ok(())
    } else {
        Err(Error::BadHost("it is no host name, optionally with a port"))
    }
}

fn check_size(header: &RequestHeader, limit_bytes: usize, limit_count: usize) -> Result<(), Error> {
    let count = header.headers.len();
    if count > limit_count {
        return Err(Error::TooManyHeaders { limit: limit_count });
    }
    let target = header.uri.path_and_query().map_or(0, |target| target.as_str().len());
    let fields: usize =
        header.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if target + fields > limit_bytes {
        return Err(Error::HeadersTooLarge { limit_bytes });
    }
    Ok(())
}

/// Pingora cuts a fragment off the target. Others take it for part of the path, or refuse it, as RFC 9112 §3.2 has it. In
/// HTTP/2 the library cuts it off as well, and nothing of it can be seen here.
fn has_fragment(client: &Client<'_>) -> bool {
    if client.is_http2() {
        return false;
    }
    let raw = client.raw_head();
    let line = raw.trim_ascii_start();
    memchr::memchr2(b'#', b'\n', line).is_some_and(|at| line[at] == b'#')
}

/// Pingora drops `Content-Length` where both it and `Transfer-Encoding` are sent. Other servers do it the other
/// way round, which is how requests are smuggled past one of them; RFC 9112 §6.1 allows to refuse.
fn has_length_too(client: &Client<'_>) -> bool {
    let raw = client.raw_head();
    raw.split(|byte| *byte == b'\n').any(|line| {
        line.get(..14).is_some_and(|name| name.eq_ignore_ascii_case(b"content-length"))
            && line.get(14).is_some_and(|next| matches!(next, b':' | b' ' | b'\t'))
    })
}

fn check_coding(header: &RequestHeader) -> Result<(), Error> {
    let mut codings = header.headers.get_all(header::TRANSFER_ENCODING).iter();
    if let Some(first) = codings.next() {
        let is_plain_chunked = first.as_bytes().eq_ignore_ascii_case(b"chunked") && codings.next().is_none();
        if !is_plain_chunked || header.version == Version::HTTP_2 {
            return Err(Error::AmbiguousFraming(
                "Transfer-Encoding may be `chunked`, once, in HTTP/1.1 only",
            ));
        }
    }
    Ok(())
}

/// A body that is declared too large is refused before a byte of it is read, or asked for.
fn check_length(header: &RequestHeader, limit_bytes: usize) -> Result<(), Error> {
    let mut lengths = header.headers.get_all(header::CONTENT_LENGTH).iter();
    let Some(declared) = lengths.next() else { return Ok(()) };
    if !declared.as_bytes().iter().all(u8::is_ascii_digit) || lengths.next().is_some() {
        return Err(Error::AmbiguousFraming("Content-Length must be one decimal number"));
    }
    match declared.to_str().unwrap_or_default().parse::<usize>() {
        Ok(length) if length <= limit_bytes => Ok(()),
        // What does not fit into an integer is too large as well.
        _ => Err(Error::BodyTooLarge { limit_bytes }),
    }
}

/// RFC 9110 §10.1.1 knows one expectation, and tells HTTP/1.0's apart as meaningless.
fn check_expectation(header: &RequestHeader) -> Result<(), Error> {
    let mut expectations = header.headers.get_all(header::EXPECT).iter();
    let is_met = expectations.next().is_none_or(|one| one.as_bytes().eq_ignore_ascii_case(b"100-continue"))
        && expectations.next().is_none();
    if is_met || header.version < Version::HTTP_11 { Ok(()) } else { Err(Error::ExpectationFailed) }
}

fn check_method(method: &Method) -> Result<(), Error> {
    // TRACE echoes credentials back, CONNECT opens tunnels: neither has a place in front of models.
    // Policies and routes compare methods as they are written, and some servers do not: `delete` is no other way to delete.
    let is_written_otherwise = method.as_str().bytes().any(|byte| byte.is_ascii_lowercase());
    if is_written_otherwise || matches!(*method, Method::CONNECT | Method::TRACE) {
        return Err(Error::MethodNotAllowed { allow: ALLOWED_METHODS });
    }
    Ok(())
}

/// A client may send requests for several hosts on one connection, if its certificate is for them all (RFC 9113, 9.1.1),
/// but they must be the same listener's. It is told so where both sides have a name, and can leave its own out: this
/// leads requests to where they were meant to go, and keeps nobody away.
fn check_listener(client: &Client<'_>, arrived: &Arrived) -> Result<(), Error> {
    let (Some(server_name), host) = (client.server_name(), &*arrived.target.host) else { return Ok(()) };
    let snapshot = arrived.runtime().snapshot();
    if !host.is_empty() && snapshot.is_misdirected(ListenerIndex(arrived.listener), server_name, host) {
        return Err(Error::Misdirected { server_name: server_name.into(), host: host.into() });
    }
    Ok(())
}

fn target(header: &RequestHeader) -> Result<RequestTarget, Error> {
    let host = host(&header.uri, &header.headers, header.version)?;
    check_form(header.raw_path())?;
    check_path(header.uri.path())?;
    Ok(RequestTarget {
        method: header.method.clone(),
        host,
        path_and_query: header.uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/")),
    })
}

/// The host that a request is for, as the client wrote it. What is no host finds no listener of its own, and is refused
/// later.
fn asked_host(header: &RequestHeader) -> &str {
    let field = || header.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    header.uri.authority().map(http::uri::Authority::as_str).or_else(field).unwrap_or_default()
}

/// Pingora has already refused a `Host` that differs from the authority of an absolute-form target.
fn host(uri: &Uri, headers: &HeaderMap, version: Version) -> Result<String, Error> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let field = hosts.next();
    if hosts.next().is_some() {
        return Err(Error::BadHost("it is sent more than once"));
    }
    let host = match (uri.authority(), field) {
        (Some(authority), _) => authority.as_str().as_bytes(),
        (None, Some(field)) => field.as_bytes(),
        (None, None) if version < Version::HTTP_11 => b"",
        (None, None) => return Err(Error::BadHost("it is missing")),
    };
    let is_legal = is_host(host);
    match std::str::from_utf8(host) {
        Ok(host) if is_legal => Ok(host.to_ascii_lowercase()),
        _ => Err(Error::BadHost("it is no host name, optionally with a port")),
    }
}

/// Whether it can be a host, with a port or without.
pub(crate) fn is_host(host: &[u8]) -> bool {
    host.len() <= MAX_HOST_BYTES
        && host.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._:[]~".contains(byte))
}

/// A target is a path or an absolute URI. Anything else, such as a bare authority, belongs to proxies.
fn check_form(target: &[u8]) -> Result<(), Error> {
    let is_after =
        |scheme: &[u8]| target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
    if std::str::from_utf8(target).is_err() {
        return Err(Error::BadTarget("it is not UTF-8; escape it"));
    }
    if target.starts_with(b"/") || target == b"*" || is_after(b"http://") || is_after(b"https://") {
        Ok(())
    } else {
        Err(Error::BadTarget("it is neither a path nor an absolute URI"))
    }
}

/// Dot segments, however they are escaped and delimited, would let a request match one route and reach another
/// path behind it. Servers differ in whether they take `%2f`, `%5c` and `;` for delimiters, so all count.
fn check_path(path: &str) -> Result<(), Error> {
    if !path.starts_with('/') && path != "*" {
        return Err(Error::BadTarget("its path does not start with a slash"));
    }
    if path.bytes().any(|byte| byte < 0x20 || byte == 0x7f || byte == b'\\' || byte == b'#') {
        return Err(Error::BadTarget("its path has a control character, a backslash or a number sign"));
    }
    // As nearly all paths are.
    if memchr::memchr2(b'%', b'.', path.as_bytes()).is_none() {
        return Ok(());
    }
    let plain = match path.contains('%') {
        true => Cow::Owned(unescaped(path)?),
        false => Cow::Borrowed(path),
    };
    let is_dots = |segment: &str| matches!(segment.split(';').next(), Some("." | ".."));
    if plain.split('/').any(is_dots) {
        return Err(Error::BadTarget("its path has dot segments; resolve them first"));
    }
    Ok(())
}

/// The path with escaped dots and delimiters as such.
fn unescaped(path: &str) -> Result<String, Error> {
    let lower = path.to_ascii_lowercase();
    if lower.contains("%0") || lower.contains("%1") || lower.contains("%7f") {
        return Err(Error::BadTarget("its path has an escaped control character"));
    }
    Ok(lower.replace("%2e", ".").replace("%2f", "/").replace("%5c", "/").replace("%3b", ";"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dot_segments_are_refused_however_they_are_written() {
        for path in [
            "/..",
            "/v1/../admin",
            "/v1/%2e%2e/x",
            "/v1/.%2E/x",
            "/./x",
            "/v1/%2e",
            "/v1/..%2Fx",
            "/a%2f..%5cx",
            "/v1/..;a/x",
            "/v1/..%3ba/x",
        ] {
            assert!(check_path(path).is_err(), "{path}");
        }
        for path in [
            "/",
            "/v1/chat/completions",
            "/v1/models/org/name..x",
            "/.well-known/x",
            "/a%2fb",
            "/a..%2fb",
            "/%41",
            "*",
        ] {
            assert!(check_path(path).is_ok(), "{path}");
        }
    }

    #[test]
    fn hosts_that_could_end_a_header_or_name_two_hosts_are_refused() {
        let headers = |values: &[&str]| {
            let mut map = HeaderMap::new();
            for value in values {
                map.append(header::HOST, value.parse().unwrap());
            }
            map
        };
        let of = |values: &[&str]| host(&Uri::from_static("/"), &headers(values), Version::HTTP_11);
        assert_eq!(of(&["LLM.example.com:8080"]).unwrap(), "llm.example.com:8080");
        assert_eq!(of(&["[::1]:80"]).unwrap(), "[::1]:80");
        for bad in [&["a", "b"][..], &["a/b"], &["a b"], &["a@b"], &["a,b"], &[]] {
            assert!(of(bad).is_err(), "{bad:?}");
        }
    }
}
