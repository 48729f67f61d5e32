//! Credentials in headers, queries and cookies: where they stand, and how they are taken out.

use std::borrow::Cow;
use std::sync::Arc;

use http::header::COOKIE;
use http::{HeaderMap, HeaderName, HeaderValue};
use penstock_config::Extract;
use percent_encoding::{percent_decode, percent_decode_str};

/// Where a credential is looked for, in order.
#[derive(Debug)]
pub(crate) struct Places(Box<[Arc<Extract>]>);

/// What a request shows.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Shown<'a> {
    /// Nothing, or an empty text, at any place.
    Nothing,
    /// More than one text at the first place that has any. Which of them somebody behind the gateway reads is not known.
    Twice,
    /// One text.
    Once {
        /// The text, as it was before it was encoded for its place.
        text: Cow<'a, [u8]>,
        /// Where it stands.
        place: &'a Arc<Extract>,
    },
}

/// What a place has.
enum Content<'a> {
    Nothing,
    Twice,
    Once(Cow<'a, [u8]>),
}

impl Places {
    pub(crate) fn new(places: impl IntoIterator<Item = Extract>) -> Self {
        Self(places.into_iter().map(Arc::new).collect())
    }

    /// What the first of these places has that has something.
    pub(crate) fn find<'a>(&'a self, headers: &'a HeaderMap, query: Option<&'a str>) -> Shown<'a> {
        for place in &self.0 {
            let content = match &**place {
                Extract::Header { name, prefix } => in_header(headers, name, prefix.as_bytes()),
                Extract::Query(name) => in_query(query.unwrap_or_default(), name),
                Extract::Cookie(name) => in_cookies(headers, name.as_bytes()),
            };
            match content {
                Content::Nothing => {}
                Content::Twice => return Shown::Twice,
                Content::Once(text) if text.is_empty() => {}
                Content::Once(text) => return Shown::Once { text, place },
            }
        }
        Shown::Nothing
    }
}

/// A header that is there twice is ambiguous whatever its values begin with.
fn in_header<'a>(headers: &'a HeaderMap, name: &HeaderName, prefix: &[u8]) -> Content<'a> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Content::Nothing };
    if values.next().is_some() {
        return Content::Twice;
    }
    match value.as_bytes().split_at_checked(prefix.len()) {
        Some((start, text)) if start.eq_ignore_ascii_case(prefix) => Content::Once(text.trim_ascii().into()),
        _ => Content::Nothing,
    }
}

/// `+` stays what it is: keys and tokens have no spaces, and Base64 has it.
fn in_query<'a>(query: &'a str, name: &str) -> Content<'a> {
    single(query_values(query, name))
}

/// The values of all parameters `name` of a query.
pub(crate) fn query_values<'a>(query: &'a str, name: &str) -> impl Iterator<Item = Cow<'a, [u8]>> {
    query.split('&').filter(move |pair| is_called(pair, name)).map(|pair| {
        let value = pair.split_once('=').map_or("", |(_, value)| value);
        percent_decode(value.as_bytes()).into()
    })
}

/// A request may have several headers with cookies (RFC 9113, section 8.2.3).
fn in_cookies<'a>(headers: &'a HeaderMap, name: &[u8]) -> Content<'a> {
    let cookies =
        headers.get_all(COOKIE).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b';'));
    single(cookies.filter_map(|cookie| {
        let (found, value) = cookie_parts(cookie);
        (found == name).then_some(Cow::Borrowed(value))
    }))
}

fn single<'a>(mut contents: impl Iterator<Item = Cow<'a, [u8]>>) -> Content<'a> {
    match (contents.next(), contents.next()) {
        (None, _) => Content::Nothing,
        (Some(text), None) => Content::Once(text),
        (Some(_), Some(_)) => Content::Twice,
    }
}

/// Whether a parameter of a query has this name, however it is encoded.
fn is_called(pair: &str, name: &str) -> bool {
    let written = pair.split_once('=').map_or(pair, |(name, _)| name);
    percent_decode_str(written).eq(name.bytes())
}

/// A cookie's name and value.
pub(crate) fn cookie_parts(cookie: &[u8]) -> (&[u8], &[u8]) {
    let equals = cookie.iter().position(|byte| *byte == b'=').unwrap_or(cookie.len());
    let (name, value) = cookie.split_at(equals);
    (name.trim_ascii(), value.get(1..).unwrap_or_default().trim_ascii())
}

/// A query without the parameter `name`, however its name is encoded and however often it is there; all else stays byte for
/// byte. Empty if nothing is left.
pub fn remove_query(query: &str, name: &str) -> String {
    let mut rest = String::with_capacity(query.len());
    let mut is_first = true;
    for pair in query.split('&').filter(|pair| !is_called(pair, name)) {
        if !std::mem::take(&mut is_first) {
            rest.push('&');
        }
        rest.push_str(pair);
    }
    rest
}

/// The value of a `cookie` header without the cookie `name`; `None` if nothing is left. A request may have several of these
/// headers.
pub fn remove_cookie(header: &HeaderValue, name: &str) -> Option<HeaderValue> {
    remove_cookies(header, |found| found == name.as_bytes())
}

/// Whether the value of a `cookie` header has a cookie of such a name.
pub fn has_cookie(header: &HeaderValue, is_meant: impl Fn(&[u8]) -> bool) -> bool {
    header.as_bytes().split(|byte| *byte == b';').any(|cookie| is_meant(cookie_parts(cookie).0))
}

/// The value of a `cookie` header without the cookies of such names; `None` if nothing is left.
pub fn remove_cookies(header: &HeaderValue, is_meant: impl Fn(&[u8]) -> bool) -> Option<HeaderValue> {
    let cookies = header.as_bytes().split(|byte| *byte == b';');
    let rest: Vec<_> = cookies.filter(|cookie| !is_meant(cookie_parts(cookie).0)).collect();
    let rest = rest.join(&b';');
    let rest = rest.trim_ascii();
    if rest.is_empty() { None } else { HeaderValue::from_bytes(rest).ok() }
}

#[cfg(test)]
mod tests;
