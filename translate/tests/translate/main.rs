//! What translations say, over corpora of objects, whole and broken.
#![expect(clippy::unwrap_used, reason = "a test that panics is a test that fails")]

mod access;
mod clients;
mod closed;
mod crds;
mod credentials;
mod filters;
mod golden;
mod hostile;
mod limits;
mod overrides;
mod properties;
mod statuses;
mod support;
mod traffic;
mod upstream_tls;
