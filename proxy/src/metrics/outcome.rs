//! What picks and scrapes come to, as labels.

/// What a pick came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PickOutcome {
    /// An endpoint was picked.
    Picked,
    /// The pool or backend has no endpoint that could be asked.
    NoEndpoints,
    /// The credential that the gateway has to show is not there.
    NoCredential,
    /// This request has tried every endpoint.
    AllExcluded,
    /// Every endpoint is full.
    Saturated,
    /// Every endpoint is full and the request's priority is below zero.
    Shed,
    /// Every endpoint is full and so is the queue.
    QueueFull,
    /// The request waited in the queue for as long as it may.
    QueueTimeout,
    /// Who is there asked to be left alone for a while.
    Cooling,
    /// A limit of its policies does not let the request pass.
    Limited,
    /// As much is under way at the backend as may be.
    CircuitOpen,
}

/// What a scrape came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ScrapeOutcome {
    /// The numbers were read.
    Read,
    /// There are no new numbers.
    Failed,
}

impl PickOutcome {
    pub(super) const ALL: [Self; 11] = [
        Self::Picked,
        Self::NoEndpoints,
        Self::NoCredential,
        Self::AllExcluded,
        Self::Saturated,
        Self::Shed,
        Self::QueueFull,
        Self::QueueTimeout,
        Self::Cooling,
        Self::Limited,
        Self::CircuitOpen,
    ];

    /// The outcome as a label.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Picked => "picked",
            Self::NoEndpoints => "no_endpoints",
            Self::NoCredential => "no_credential",
            Self::AllExcluded => "all_excluded",
            Self::Saturated => "saturated",
            Self::Shed => "shed",
            Self::QueueFull => "queue_full",
            Self::QueueTimeout => "queue_timeout",
            Self::Cooling => "cooling",
            Self::Limited => "limited",
            Self::CircuitOpen => "circuit_open",
        }
    }
}

impl ScrapeOutcome {
    pub(super) const ALL: [Self; 2] = [Self::Read, Self::Failed];

    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Failed => "failed",
        }
    }
}
