//! What binds a request to an endpoint of a backend.

use std::net::IpAddr;

use http::{HeaderMap, HeaderValue};
use penstock_config::HashBy;

use crate::random;

/// What of a request can bind it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asker<'a> {
    /// The client's address.
    pub(crate) client: Option<IpAddr>,
    /// The request's headers.
    pub(crate) headers: &'a HeaderMap,
    /// The query asked for.
    pub(crate) query: Option<&'a str>,
}

/// What a request has in common with those that go to the same endpoint.
#[derive(Debug, Default)]
pub(crate) struct Bound {
    /// Empty if there is nothing.
    pub(crate) key: Vec<u8>,
    /// What gives the client a cookie that binds its next requests to the same endpoint, if it lacks one.
    pub(crate) cookie: Option<HeaderValue>,
}

impl Bound {
    /// That of a request. Each call for one that lacks the cookie makes another, so that a further attempt is not bound to
    /// the endpoint that failed.
    pub(crate) fn of(by: &HashBy, asker: Asker<'_>) -> Self {
        let mut bound = Self { key: by.key(asker.client, asker.headers, asker.query), cookie: None };
        let Some(cookie) = &by.cookie else { return bound };
        if let Some(value) = cookie.value(asker.headers) {
            bound.key.extend_from_slice(value.as_bytes());
        } else if let Some(attributes) = &cookie.attributes {
            let value = format!("{:016x}", random::next_u64());
            bound.key.extend_from_slice(value.as_bytes());
            // The document's check lets nothing else through.
            bound.cookie = HeaderValue::from_str(&format!("{}={value}{attributes}", cookie.name)).ok();
        }
        bound
    }
}
