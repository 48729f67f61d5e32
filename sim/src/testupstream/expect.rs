//! Expectations: checks that a request's own headers ask for.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::{HeaderMap, header, request::Parts};

use super::Refusal;
use crate::text::lossy;

/// Checks every expectation, in the original's order.
pub(super) fn check(id: &str, parts: &Parts, body: &[u8]) -> Result<(), Refusal> {
    let headers = &parts.headers;
    check_host(parts)?;
    for (name, expected) in pairs(headers, "x-expected-headers", "expected headers")? {
        let got = value(headers, &name);
        if got != expected {
            return unexpected(format!("unexpected header {name:?}: got {got:?}, expected {expected:?}"));
        }
    }
    let listed = decoded(headers, "x-non-expected-request-headers", "non-expected headers")?;
    for name in lossy(&listed.unwrap_or_default()).split(',') {
        let got = value(headers, name);
        if !got.is_empty() {
            return unexpected(format!("unexpected header {name:?} presence with value {got:?}"));
        }
    }
    let expected = value(headers, "x-expected-testupstream-id");
    if !expected.is_empty() && expected != id {
        return unexpected(format!(
            "unexpected testupstream-id: received by '{id}' but expected '{expected}'\n"
        ));
    }
    let path = parts.uri.path();
    if let Some(expected) = decoded(headers, "x-expected-path", "expected path")?
        && expected != path.as_bytes()
    {
        return unexpected(format!("unexpected path: got {path}, expected {}", lossy(&expected)));
    }
    let query = parts.uri.query().unwrap_or_default();
    let expected = value(headers, "x-expected-raw-query");
    if !expected.is_empty() && expected != query {
        return unexpected(format!("unexpected raw query: got {query}, expected {expected}"));
    }
    let is_picked = headers.contains_key("x-gateway-destination-endpoint");
    if !headers.contains_key(header::CONTENT_LENGTH) && !is_picked {
        let length = body.len();
        return unexpected(format!("no Content-Length header, using request body length: {length}"));
    }
    if let Some(expected) = decoded(headers, "x-expected-request-body", "expected request body")?
        && expected != body
    {
        return unexpected(format!(
            "unexpected request body: got {}, expected {}",
            lossy(body),
            lossy(&expected)
        ));
    }
    Ok(())
}

fn check_host(parts: &Parts) -> Result<(), Refusal> {
    let expected = value(&parts.headers, "x-expected-host");
    let host = match parts.headers.get(header::HOST) {
        Some(host) => lossy(host.as_bytes()).into_owned(),
        None => parts.uri.authority().map_or_else(String::new, ToString::to_string),
    };
    if expected.is_empty() || expected == host {
        return Ok(());
    }
    unexpected(format!("unexpected host: got {host:?}, expected {expected:?}"))
}

fn unexpected(message: String) -> Result<(), Refusal> {
    Err(Refusal::Unexpected(message))
}

/// The first value of a header, or nothing.
fn value(headers: &HeaderMap, name: &str) -> String {
    headers.get(name).map_or_else(String::new, |value| lossy(value.as_bytes()).into_owned())
}

/// The base64 content of a header, unless it is absent or empty.
pub(super) fn decoded(
    headers: &HeaderMap,
    name: &str,
    what: &'static str,
) -> Result<Option<Vec<u8>>, Refusal> {
    match headers.get(name) {
        None => Ok(None),
        Some(value) if value.is_empty() => Ok(None),
        Some(value) => {
            BASE64_STANDARD.decode(value).map(Some).map_err(|source| Refusal::Base64 { what, source })
        }
    }
}

/// The pairs of a base64 list `key:value,key:value`, as they stand.
pub(super) fn pairs(
    headers: &HeaderMap,
    name: &str,
    what: &'static str,
) -> Result<Vec<(String, String)>, Refusal> {
    let Some(list) = decoded(headers, name, what)? else { return Ok(Vec::new()) };
    lossy(&list)
        .split(',')
        .map(|pair| match pair.split_once(':') {
            Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
            None => Err(Refusal::Pair(pair.to_owned())),
        })
        .collect()
}
