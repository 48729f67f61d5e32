//! How scrapes went, counted.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// How the scrapes of a pool went since the process started. Read by whoever exports metrics.
#[derive(Debug, Default)]
pub struct ScrapeCounters {
    successes: AtomicU64,
    errors: [AtomicU64; ErrorKind::ALL.len()],
    bytes: AtomicU64,
    busy_micros: AtomicU64,
    malformed_lines: AtomicU64,
    malformed_reports: AtomicU64,
    reports: AtomicU64,
}

/// Why a scrape failed, as it is counted.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum ErrorKind {
    /// The metrics port could not be reached.
    Connect,
    /// TLS towards the metrics port did not come about.
    Tls,
    /// The connection broke, or what came over it was not HTTP/1.1.
    Http,
    /// The page was not there before the deadline.
    Timeout,
    /// Some other status than 200.
    Status,
    /// The page is compressed, which was not asked for.
    Encoding,
    /// The page is longer than configured.
    TooLarge,
    /// The page holds none of the engine's series.
    NoSeries,
}

impl ScrapeCounters {
    /// Scrapes that brought new numbers.
    pub fn successes(&self) -> u64 {
        self.successes.load(Relaxed)
    }

    /// Scrapes that failed, by what was wrong.
    pub fn errors(&self) -> impl Iterator<Item = (ErrorKind, u64)> + '_ {
        ErrorKind::ALL.into_iter().map(|kind| (kind, self.errors[kind as usize].load(Relaxed)))
    }

    /// Bytes of metrics pages that were read.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// Time that scrapes took, from sending the request to the page's last byte, added up.
    pub fn duration(&self) -> Duration {
        Duration::from_micros(self.busy_micros.load(Relaxed))
    }

    /// Lines of wanted series that could not be used.
    pub fn malformed_lines(&self) -> u64 {
        self.malformed_lines.load(Relaxed)
    }

    /// Load reports in responses that brought new numbers.
    pub fn reports(&self) -> u64 {
        self.reports.load(Relaxed)
    }

    /// Load reports in responses that could not be read.
    pub fn malformed_reports(&self) -> u64 {
        self.malformed_reports.load(Relaxed)
    }

    /// Counts a scrape that brought new numbers.
    pub(crate) fn count_success(&self, malformed_lines: u32) {
        self.successes.fetch_add(1, Relaxed);
        self.malformed_lines.fetch_add(malformed_lines.into(), Relaxed);
    }

    /// Counts a scrape that failed.
    pub(crate) fn count_error(&self, kind: ErrorKind) {
        self.errors[kind as usize].fetch_add(1, Relaxed);
    }

    /// Counts what a scrape cost, whatever came of it.
    pub(crate) fn count_cost(&self, bytes: usize, took: Duration) {
        self.bytes.fetch_add(bytes as u64, Relaxed);
        self.busy_micros.fetch_add(took.as_micros() as u64, Relaxed);
    }

    /// Counts a load report that came with a response.
    pub(crate) fn count_report(&self, is_usable: bool) {
        if is_usable { &self.reports } else { &self.malformed_reports }.fetch_add(1, Relaxed);
    }
}

impl ErrorKind {
    /// All kinds, in the order of their discriminants.
    pub const ALL: [Self; 8] = [
        Self::Connect,
        Self::Tls,
        Self::Http,
        Self::Timeout,
        Self::Status,
        Self::Encoding,
        Self::TooLarge,
        Self::NoSeries,
    ];

    /// Value of the metric label `reason`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Http => "http",
            Self::Timeout => "timeout",
            Self::Status => "status",
            Self::Encoding => "encoding",
            Self::TooLarge => "too_large",
            Self::NoSeries => "no_series",
        }
    }
}
