//! Escaped slashes in paths. Servers differ in whether `%2f` and `%5c` delimit segments, so that one may see another path
//! than whoever checked it.

use http::Uri;
use http::uri::PathAndQuery;
use penstock_config::EscapedSlashes;
use pingora_http::RequestHeader;

use crate::error::Error;

/// Refuses a path with an escaped slash, or makes it a slash, before anything looks at the path.
///
/// # Errors
/// The path has one, and such requests are refused.
pub(super) fn judge(header: &mut RequestHeader, action: EscapedSlashes) -> Result<(), Error> {
    let Some(target) = header.uri.path_and_query().filter(|target| has_one(target.path())) else {
        return Ok(());
    };
    match action {
        EscapedSlashes::Keep => Ok(()),
        EscapedSlashes::Refuse => {
            Err(Error::BadTarget("its path has an escaped slash (listeners[].escapedSlashes)"))
        }
        EscapedSlashes::Unescape => {
            let mut text = unescaped(target.path());
            if let Some(query) = target.query() {
                text.push('?');
                text.push_str(query);
            }
            let target = PathAndQuery::try_from(text).map_err(Error::internal)?;
            let mut parts = header.uri.clone().into_parts();
            parts.path_and_query = Some(target);
            header.set_uri(Uri::from_parts(parts).map_err(Error::internal)?);
            Ok(())
        }
    }
}

fn has_one(path: &str) -> bool {
    memchr::memchr_iter(b'%', path.as_bytes()).any(|at| is_slash(&path.as_bytes()[at..]))
}

/// Whether a text begins with an escaped slash.
fn is_slash(text: &[u8]) -> bool {
    let escape = text.get(..3);
    escape.is_some_and(|escape| escape.eq_ignore_ascii_case(b"%2f") || escape.eq_ignore_ascii_case(b"%5c"))
}

fn unescaped(path: &str) -> String {
    let mut text = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = rest.find('%') {
        text.push_str(&rest[..at]);
        rest = &rest[at..];
        // What is no slash stays as it is, and so does what an escaped percent sign makes look like one.
        let (instead, length) = if is_slash(rest.as_bytes()) { ("/", 3) } else { ("%", 1) };
        text.push_str(instead);
        rest = &rest[length..];
    }
    text.push_str(rest);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(target: &str, action: EscapedSlashes) -> Result<String, Error> {
        let mut header = RequestHeader::build("GET", target.as_bytes(), None).unwrap();
        judge(&mut header, action)?;
        Ok(header.uri.to_string())
    }

    #[test]
    fn escaped_slashes_are_kept_refused_or_made_slashes() {
        for (target, is_there, unescaped) in [
            ("/v1/a%2Fb?x=%2f", true, "/v1/a/b?x=%2f"),
            ("/v1/a%5cb", true, "/v1/a/b"),
            ("/v1/a%2f%2Fb", true, "/v1/a//b"),
            ("/v1/a%252fb", false, "/v1/a%252fb"),
            ("/v1/a%20b?x=%2f", false, "/v1/a%20b?x=%2f"),
            ("/v1/%", false, "/v1/%"),
            ("/v1/%2", false, "/v1/%2"),
            ("/v1/%%2f", true, "/v1/%/"),
        ] {
            assert_eq!(judged(target, EscapedSlashes::Keep).unwrap(), target);
            assert_eq!(judged(target, EscapedSlashes::Refuse).is_err(), is_there, "{target}");
            assert_eq!(judged(target, EscapedSlashes::Unescape).unwrap(), unescaped, "{target}");
        }
    }
}
