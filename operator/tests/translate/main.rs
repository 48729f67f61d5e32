//! What translations say, over corpora of objects, whole and broken.
#![expect(clippy::unwrap_used, reason = "a test that panics is a test that fails")]

mod cli;
mod crds;
mod golden;
mod hostile;
mod properties;
mod published;
mod statuses;
mod support;
mod upstream_tls;
