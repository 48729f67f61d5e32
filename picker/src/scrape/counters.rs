//! How scrapes went, counted.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use super::error::{ErrorKind, ScrapeError};

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

    pub(super) fn count_success(&self, malformed_lines: u32) {
        self.successes.fetch_add(1, Relaxed);
        self.malformed_lines.fetch_add(malformed_lines.into(), Relaxed);
    }

    pub(super) fn count_error(&self, error: &ScrapeError) {
        self.errors[error.kind() as usize].fetch_add(1, Relaxed);
    }

    /// Counts what a scrape cost, whatever came of it.
    pub(super) fn count_cost(&self, bytes: usize, took: Duration) {
        self.bytes.fetch_add(bytes as u64, Relaxed);
        self.busy_micros.fetch_add(took.as_micros() as u64, Relaxed);
    }

    /// Counts a load report that came with a response.
    pub(crate) fn count_report(&self, is_usable: bool) {
        if is_usable { &self.reports } else { &self.malformed_reports }.fetch_add(1, Relaxed);
    }
}
