//! Which requests go to the same endpoint of a backend.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, header};

/// What requests have to have in common to go to the same endpoint. Never nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HashBy {
    /// Whether the client's address counts.
    pub client: bool,
    /// Headers.
    pub headers: Box<[HeaderName]>,
    /// Query parameters.
    pub query_params: Box<[Box<str>]>,
    /// A cookie.
    pub cookie: Option<HashCookie>,
}

/// A cookie by which requests are spread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HashCookie {
    /// Its name.
    pub name: Box<str>,
    /// What follows name and value of one that is given to a client that lacks it; `None` if nobody is given one.
    pub attributes: Option<Box<str>>,
}

impl HashBy {
    /// What a request has of it, apart from the cookie; empty if it has nothing.
    pub fn key(&self, client: Option<IpAddr>, headers: &HeaderMap, query: Option<&str>) -> Vec<u8> {
        let mut key = Vec::new();
        let mut add = |value: &[u8]| {
            // With its length, so that two values are not taken for another two.
            key.extend_from_slice(&(value.len() as u64).to_be_bytes());
            key.extend_from_slice(value);
        };
        if let Some(client) = client.filter(|_| self.client) {
            add(client.to_canonical().to_string().as_bytes());
        }
        for name in &self.headers {
            headers.get_all(name).iter().for_each(|value| add(value.as_bytes()));
        }
        for name in &self.query_params {
            let pairs = query.into_iter().flat_map(|query| query.split('&'));
            let mut pairs = pairs.filter_map(|pair| pair.split_once('='));
            if let Some((_, value)) = pairs.find(|(key, _)| **key == **name) {
                add(value.as_bytes());
            }
        }
        key
    }
}

impl HashCookie {
    /// Its value in a request; `None` if it has none.
    pub fn value<'h>(&self, headers: &'h HeaderMap) -> Option<&'h str> {
        let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
        let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
        let mut values = pairs.filter(|(name, _)| **name == *self.name).map(|(_, value)| value);
        values.find(|value| !value.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(all: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in all {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn what_is_said_counts_together_and_nothing_else_does() {
        let by = HashBy {
            client: true,
            headers: [HeaderName::from_static("x-user"), HeaderName::from_static("x-team")].into(),
            query_params: ["q".into()].into(),
            cookie: None,
        };
        let address = Some("192.0.2.7".parse().unwrap());
        let key = |all: &[(&'static str, &'static str)], query| by.key(address, &headers(all), query);
        let same = key(&[("x-user", "a"), ("x-other", "1")], Some("x=1&q=2&q=3"));
        assert_eq!(same, key(&[("x-user", "a"), ("x-other", "2")], Some("q=2")));
        for (all, query) in [
            (&[("x-user", "b")][..], Some("q=2")),
            (&[("x-user", "a")], Some("q=3")),
            (&[("x-user", "a")], None),
            (&[("x-user", "a"), ("x-team", "")], Some("q=2")),
        ] {
            assert_ne!(same, key(all, query), "{all:?} {query:?}");
        }
        assert_ne!(
            key(&[("x-user", "ab"), ("x-team", "c")], None),
            key(&[("x-user", "a"), ("x-team", "bc")], None)
        );
        // As IPv4 and as IPv6 has it.
        let mapped = Some("::ffff:192.0.2.7".parse().unwrap());
        assert_eq!(by.key(mapped, &headers(&[]), None), by.key(address, &headers(&[]), None));
        assert!(HashBy { client: false, ..by }.key(address, &headers(&[]), None).is_empty());
    }

    #[test]
    fn a_cookie_is_found_among_others() {
        let cookie = HashCookie { name: "at".into(), attributes: None };
        for (all, value) in [
            (&[("cookie", "a=1; at=x=y; b=2")][..], Some("x=y")),
            (&[("cookie", "a=1"), ("cookie", "at=z")], Some("z")),
            (&[("cookie", "at=; bat=1; At=2")], None),
            (&[], None),
        ] {
            assert_eq!(cookie.value(&headers(all)), value, "{all:?}");
        }
    }
}
