//! What policies change of a request's head, and what of it only they may set.

use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Uri, header};
use penstock_config::Extract;
use penstock_policies::{Edits, has_cookie, remove_cookie, remove_cookies, remove_query};
use pingora_http::RequestHeader;

use super::Subject;
use crate::error::Error;

/// Takes out the headers that only policies may set.
///
/// # Errors
/// The client names one of them in `Connection`, which would take away what a policy sets.
pub(crate) fn reserve<'a>(
    reserved: impl Iterator<Item = &'a HeaderName>,
    head: &mut RequestHeader,
) -> Result<(), Error> {
    for name in reserved {
        check_arrives(name, head)?;
        head.remove_header(name);
    }
    Ok(())
}

/// What clients sent in headers that routes do not see.
#[derive(Clone)]
struct Withheld(HeaderMap);

/// Takes the client's headers of these names out of the request until [`give_back`].
pub(super) fn withhold(names: &[HeaderName], request: &mut Subject<'_>) {
    if names.is_empty() {
        return;
    }
    let mut withheld = HeaderMap::new();
    for name in names {
        let values = request.head.headers.get_all(name).iter();
        withheld.extend(values.map(|value| (name.clone(), value.clone())));
        request.head.remove_header(name);
    }
    request.extensions.insert(Withheld(withheld));
}

/// Puts back what was withheld: servers are shown what the client sent.
///
/// # Errors
/// The request has no room for it, which it had before.
pub(super) fn give_back(request: &mut Subject<'_>) -> Result<(), Error> {
    let Some(Withheld(withheld)) = request.extensions.remove() else { return Ok(()) };
    for (name, value) in &withheld {
        request.head.append_header(name.clone(), value.clone()).map_err(Error::internal)?;
    }
    Ok(())
}

/// Whether a header would arrive at an upstream.
///
/// # Errors
/// The client names it in `Connection`, which takes it away.
pub(crate) fn check_arrives(name: &HeaderName, head: &RequestHeader) -> Result<(), Error> {
    let lines = head.headers.get_all(header::CONNECTION).iter();
    let mut tokens = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    if tokens.any(|token| token.trim_ascii().eq_ignore_ascii_case(name.as_str().as_bytes())) {
        return Err(Error::BadHeader("Connection names a header that must arrive"));
    }
    Ok(())
}

/// Takes out what somebody was identified by, and sets the headers that tell upstreams who it is.
///
/// # Errors
/// What is left of the request is none.
pub(super) fn apply(edits: Edits, target: &mut PathAndQuery, head: &mut RequestHeader) -> Result<(), Error> {
    match edits.remove.as_deref() {
        None => {}
        Some(Extract::Header { name, .. }) => drop(head.remove_header(name)),
        Some(Extract::Query(name)) => take_from_query(name, target, head)?,
        Some(Extract::Cookie(name)) => take_from_cookies(name, head)?,
    }
    for (name, value) in edits.set {
        head.insert_header(name, value).map_err(Error::internal)?;
    }
    Ok(())
}

/// The target is what routes and upstreams go by, and the head what policies see.
fn take_from_query(name: &str, target: &mut PathAndQuery, head: &mut RequestHeader) -> Result<(), Error> {
    let Some(query) = target.query() else { return Ok(()) };
    let query = remove_query(query, name);
    set_query(&query, target, head)
}

/// Sets the query in both places that have it.
///
/// # Errors
/// It is none.
pub(crate) fn set_query(
    query: &str,
    target: &mut PathAndQuery,
    head: &mut RequestHeader,
) -> Result<(), Error> {
    let text = if query.is_empty() { target.path().to_owned() } else { format!("{}?{query}", target.path()) };
    *target = PathAndQuery::try_from(text).map_err(Error::internal)?;
    let mut parts = head.uri.clone().into_parts();
    parts.path_and_query = Some(target.clone());
    head.set_uri(Uri::from_parts(parts).map_err(Error::internal)?);
    Ok(())
}

fn take_from_cookies(name: &str, head: &mut RequestHeader) -> Result<(), Error> {
    let lines = head.headers.get_all(header::COOKIE).iter();
    let left: Vec<HeaderValue> = lines.filter_map(|line| remove_cookie(line, name)).collect();
    head.remove_header(&header::COOKIE);
    for line in left {
        head.append_header(header::COOKIE, line).map_err(Error::internal)?;
    }
    Ok(())
}

/// Takes out the cookies whose names are `own`, and shows others in their place.
///
/// # Errors
/// What is shown is no cookie.
pub(super) fn replace_cookies(
    own: impl Fn(&[u8]) -> bool,
    shown: &[(&str, &str)],
    head: &mut RequestHeader,
) -> Result<(), Error> {
    let lines = head.headers.get_all(header::COOKIE);
    if shown.is_empty() && !lines.iter().any(|line| has_cookie(line, &own)) {
        return Ok(());
    }
    let mut left: Vec<HeaderValue> = lines.iter().filter_map(|line| remove_cookies(line, &own)).collect();
    for (name, value) in shown {
        let mut cookie = HeaderValue::try_from(format!("{name}={value}")).map_err(Error::internal)?;
        cookie.set_sensitive(true);
        left.push(cookie);
    }
    head.remove_header(&header::COOKIE);
    for line in left {
        head.append_header(header::COOKIE, line).map_err(Error::internal)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http::Method;

    use super::*;

    fn request(uri: &'static str, headers: &[(&'static str, &'static str)]) -> (PathAndQuery, RequestHeader) {
        let mut head = RequestHeader::build(Method::POST, b"/", None).unwrap();
        head.set_uri(Uri::from_static(uri));
        for (name, value) in headers {
            head.append_header(*name, *value).unwrap();
        }
        (head.uri.path_and_query().unwrap().clone(), head)
    }

    fn without(extract: Extract) -> Edits {
        Edits { remove: Some(Arc::new(extract)), set: Vec::new() }
    }

    #[test]
    fn a_key_in_the_query_is_in_neither_place_that_has_the_query() {
        for (uri, left) in [
            ("http://h/v1/x?a=1&key=hush&b=%20", "/v1/x?a=1&b=%20"),
            ("/v1/x?key=hush", "/v1/x"),
            ("/v1/x?key=hush&k%65y=hush", "/v1/x"),
            ("/v1/x", "/v1/x"),
        ] {
            let (mut target, mut head) = request(uri, &[]);
            apply(without(Extract::Query("key".into())), &mut target, &mut head).unwrap();
            assert_eq!(target, left);
            assert_eq!(head.uri.path_and_query().unwrap(), left);
            assert_eq!(head.uri.host(), uri.starts_with("http").then_some("h"));
        }
    }

    #[test]
    fn other_cookies_stay_and_so_do_other_headers() {
        let (mut target, mut head) =
            request("/", &[("cookie", "a=1; key=hush; b=2"), ("x-key", "hush"), ("x-other", "o")]);
        apply(without(Extract::Cookie("key".into())), &mut target, &mut head).unwrap();
        assert_eq!(head.headers["cookie"], "a=1; b=2");
        let of_header = Extract::Header { name: HeaderName::from_static("x-key"), prefix: "".into() };
        apply(without(of_header), &mut target, &mut head).unwrap();
        assert_eq!((head.headers.len(), head.headers.get("x-key")), (2, None));
    }

    #[test]
    fn cookies_are_replaced_whatever_others_stand_beside_them() {
        for (lines, left) in [
            (&["a=1; own=x; b=2", "own=y"][..], &["a=1; b=2", "token=t"][..]),
            (&["own"], &["token=t"]),
            (&[], &["token=t"]),
            (&["owned=1"], &["owned=1", "token=t"]),
        ] {
            let headers: Vec<_> = lines.iter().map(|line| ("cookie", *line)).collect();
            let (_, mut head) = request("/", &headers);
            replace_cookies(|name| name == b"own", &[("token", "t")], &mut head).unwrap();
            assert_eq!(head.headers.get_all("cookie").iter().collect::<Vec<_>>(), left);
        }
        let (_, mut head) = request("/", &[("cookie", "a=1;  b=2 ;")]);
        replace_cookies(|name| name == b"own", &[], &mut head).unwrap();
        assert_eq!(head.headers["cookie"], "a=1;  b=2 ;", "what is no business of it stays byte for byte");
    }

    #[test]
    fn what_only_policies_set_is_taken_out_and_must_not_be_called_off() {
        let reserved = [HeaderName::from_static("x-consumer")];
        let (_, mut head) = request("/", &[("x-consumer", "admin"), ("x-consumer", "b"), ("x-other", "o")]);
        reserve(reserved.iter(), &mut head).unwrap();
        assert_eq!(head.headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-other"]);
        for connection in ["x-consumer", "close, X-Consumer ", "\tx-consumer,close"] {
            let (_, mut head) = request("/", &[("connection", connection)]);
            assert!(reserve(reserved.iter(), &mut head).is_err(), "{connection}");
        }
    }
}
