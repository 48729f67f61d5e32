//! The outcome of one request.

use std::{fmt, io, time::Duration};

use tokio::time::Instant;

/// Why a request does not count as answered. The label is the error's name in every report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FailureKind {
    /// No connection could be opened.
    Connect,
    /// The TLS handshake failed.
    Tls,
    /// No complete answer within the time limit.
    Timeout,
    /// The connection broke.
    Io,
    /// The connection ended before the answer did.
    Truncated,
    /// What came was not HTTP.
    Protocol,
    /// An HTTP status other than 200.
    Status(u16),
    /// The body is not JSON.
    NotJson,
    /// JSON, but not an answer of this API.
    Shape,
    /// The stream told of an error.
    ErrorEvent,
    /// A stream that ended without `[DONE]`, or went on after it.
    NoDone,
    /// More or fewer tokens than were asked for.
    TokenCount,
    /// The generator was too late to send it at all.
    NotSent,
}

impl fmt::Display for FailureKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::Io => "io",
            Self::Truncated => "truncated",
            Self::Protocol => "protocol",
            Self::Status(status) => return write!(formatter, "status {status}"),
            Self::NotJson => "not JSON",
            Self::Shape => "shape",
            Self::ErrorEvent => "error event",
            Self::NoDone => "no [DONE]",
            Self::TokenCount => "token count",
            Self::NotSent => "not sent",
        })
    }
}

/// A failed request: its kind, and what was seen.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) kind: FailureKind,
    pub(crate) detail: String,
}

impl Failure {
    pub(crate) fn new(kind: FailureKind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into() }
    }

    pub(crate) fn io(error: &io::Error) -> Self {
        let kind = if error.kind() == io::ErrorKind::UnexpectedEof {
            FailureKind::Truncated
        } else {
            FailureKind::Io
        };
        Self::new(kind, error.to_string())
    }
}

/// What was measured of one request.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// When it was to be sent.
    pub(crate) intended: Instant,
    /// When it was sent: later than intended where the generator or a free connection was waited for.
    pub(crate) sent: Instant,
    /// When its answer was complete, or had failed.
    pub(crate) ended: Instant,
    /// When the first token came; only streams have one.
    pub(crate) first_token: Option<Instant>,
    /// When the last token came.
    pub(crate) last_token: Option<Instant>,
    /// Tokens of the prompt, as the server counted them, or as they were meant.
    pub(crate) input_tokens: u64,
    /// Tokens of the answer.
    pub(crate) output_tokens: u64,
    /// How it failed, if it did.
    pub(crate) failure: Option<Failure>,
}

impl Outcome {
    /// From the intended time of sending to the end.
    pub(crate) fn e2e(&self) -> Duration {
        self.ended - self.intended
    }

    /// From the intended time of sending to the first token.
    pub(crate) fn ttft(&self) -> Option<Duration> {
        Some(self.first_token? - self.intended)
    }

    /// The mean time of the tokens after the first; none for an answer of one token.
    pub(crate) fn tpot(&self) -> Option<Duration> {
        let rest = u32::try_from(self.output_tokens.checked_sub(1)?).ok().filter(|rest| *rest > 0)?;
        Some((self.last_token? - self.first_token?) / rest)
    }
}
