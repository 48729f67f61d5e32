//! Session tokens: a response header names the endpoint that served it, and a client that sends it back is preferably
//! served there again. The token is the base64 of the endpoint's `namespace/name`, as the endpoint picker of llm-d
//! writes it, so that sessions survive a move from one to the other.

mod ids;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue};

pub(crate) use self::ids::SessionIds;

/// Header that carries a session's id unless the profile names another, and for how long an id is remembered; both as
/// the endpoint picker of llm-d has them.
pub(crate) const DEFAULT_ID_HEADER: HeaderName = HeaderName::from_static("x-session-id");
pub(crate) const ID_TTL_NS: u64 = 300 * 1_000_000_000;

/// Header that carries the token unless the profile names another.
pub(crate) const DEFAULT_HEADER: HeaderName = HeaderName::from_static("x-session-token");

/// The token of the endpoint of that name.
pub(crate) fn token(name: &str) -> HeaderValue {
    HeaderValue::try_from(BASE64_STANDARD.encode(name))
        .expect("base64 has only characters that a header may have")
}

/// The token that a client sent.
pub(crate) fn sent<'a>(headers: &'a HeaderMap, header: &HeaderName) -> Option<&'a HeaderValue> {
    headers.get(header)
}

#[cfg(test)]
mod tests {
    use super::token;

    #[test]
    fn the_token_is_base64_of_namespace_and_name() {
        assert_eq!(token("default/pod-a"), "ZGVmYXVsdC9wb2QtYQ==");
        assert_eq!(token(""), "");
    }
}
