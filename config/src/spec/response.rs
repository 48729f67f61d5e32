//! Answers in place of others.

use std::ops::RangeInclusive;
use std::sync::Arc;

use http::{HeaderValue, StatusCode};

use super::{HeaderEdits, Redirect};

/// An answer in place of those that have some statuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResponseOverride {
    /// The statuses. Never empty.
    pub statuses: Box<[RangeInclusive<u16>]>,
    /// Whether it is for responses of upstreams.
    pub of_upstreams: bool,
    /// Whether it is for the gateway's own answers.
    pub of_gateway: bool,
    /// What is answered.
    pub replacement: Replacement,
    /// Changes to its headers.
    pub headers: HeaderEdits,
}

/// What is answered in place of something else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Replacement {
    /// A body.
    Answer {
        /// The status; `None` leaves the one that there is.
        status: Option<StatusCode>,
        /// What the body is; `None` if there is none.
        content_type: Option<HeaderValue>,
        /// The body.
        body: Arc<str>,
    },
    /// A redirect.
    Redirect(Redirect),
}

impl ResponseOverride {
    /// Whether it is for answers with this status.
    pub fn is_for(&self, status: StatusCode) -> bool {
        self.statuses.iter().any(|range| range.contains(&status.as_u16()))
    }
}
