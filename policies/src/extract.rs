//! Credentials in headers, queries and cookies: where they stand, and how they are taken out.

use http::HeaderValue;

/// A query without the parameter `name`, however its name is encoded and however often it is there; all else stays byte for
/// byte. Empty if nothing is left.
pub fn remove_query(query: &str, name: &str) -> String {
    todo!()
}

/// The value of a `cookie` header without the cookie `name`; `None` if nothing is left. A request may have several of these
/// headers.
pub fn remove_cookie(header: &HeaderValue, name: &str) -> Option<HeaderValue> {
    todo!()
}
