//! Causes of failed attempts: kept with their endpoint for `/debug/pools`, and told in the log, at the level that is shown
//! by default and never once a request.

use std::error::Error as StdError;

use crate::error::{Error, Origin};
use crate::upstreams::{Chosen, Upstream};

/// Takes note of why an attempt at `endpoint` failed, where it is the endpoint's doing.
pub(crate) fn note(upstream: &Upstream, endpoint: &Chosen, error: &Error) {
    let row = error.row();
    if row.origin != Origin::Upstream {
        return;
    }
    let Some(failures) = endpoint.failures() else { return };
    if let Some(cause) = failures.note(row.reason, &beneath(error)) {
        tracing::warn!(
            upstream_kind = upstream.kind.label(),
            upstream = %upstream.name,
            endpoint = %endpoint.address(),
            reason = row.reason,
            %cause,
            "an attempt failed; further ones that fail like this are not told for a minute"
        );
    }
}

/// What lies beneath an error: each cause in turn, unless the one above it says it already. The error itself, where it
/// has none.
fn beneath(error: &dyn StdError) -> String {
    let mut text = String::new();
    let mut next = error.source();
    while let Some(cause) = next {
        let words = cause.to_string();
        if !text.contains(&words) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&words);
        }
        next = cause.source();
    }
    if text.is_empty() { error.to_string() } else { text }
}

/// An error with what lies beneath it, each said once.
pub(crate) fn whole(error: &dyn StdError) -> String {
    let (own, beneath) = (error.to_string(), beneath(error));
    if own.contains(&beneath) { own } else { format!("{own}: {beneath}") }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the handshake failed")]
    struct Handshake(#[source] io::Error);

    #[test]
    fn every_cause_is_named_once() {
        let io = || io::Error::other("wrong certificate");
        let error = Error::UpstreamTls(Some(Box::new(Handshake(io()))));
        assert_eq!(beneath(&error), "the handshake failed: wrong certificate");
        assert_eq!(whole(&Handshake(io())), "the handshake failed: wrong certificate");
        assert_eq!(whole(&io()), "wrong certificate");
        let error = Error::UpstreamTls(Some("outer: inner".into()));
        assert_eq!(beneath(&error), "outer: inner");
        assert_eq!(
            beneath(&Error::UpstreamConnectTimeout),
            "the model server could not be reached in time (connection.connectTimeout)"
        );
    }
}
