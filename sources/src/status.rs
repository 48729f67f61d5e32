//! How loading the configuration went, for the admin page and the metrics.

use std::time::SystemTime;

use parking_lot::Mutex;
use penstock_config::{Fault, Snapshot};

/// How loading the configuration went so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReloadStatus {
    /// Counts the snapshots that were in force since the start: 1 for the first.
    pub generation: u64,
    /// What the publisher calls the document in force (`metadata.generation`).
    pub document_generation: Option<u64>,
    /// When the snapshot in force was put there.
    pub loaded_at: SystemTime,
    /// How many reloads failed since the start.
    pub failures: u64,
    /// Why the last attempt failed. `None` once one has succeeded.
    pub last_failure: Option<ReloadFailure>,
    /// What a next document waits for, such as an object that does not exist yet.
    pub waits_for: Option<String>,
}

/// A reload that changed nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReloadFailure {
    /// When it was tried.
    pub at: SystemTime,
    /// What was wrong. Never empty.
    pub faults: Vec<Fault>,
}

/// A [`ReloadStatus`] that the source writes and others read.
#[derive(Debug)]
pub struct StatusCell(Mutex<ReloadStatus>);

impl StatusCell {
    /// How it went so far.
    #[must_use]
    pub fn get(&self) -> ReloadStatus {
        self.0.lock().clone()
    }

    /// Notes that a snapshot was put in force. Returns its number.
    pub fn succeeded(&self, snapshot: &Snapshot) -> u64 {
        let mut status = self.0.lock();
        status.generation += 1;
        status.document_generation = snapshot.generation;
        status.loaded_at = SystemTime::now();
        status.last_failure = None;
        status.waits_for = None;
        status.generation
    }

    /// Notes what a next document waits for.
    pub fn waits(&self, reason: impl Into<String>) {
        self.0.lock().waits_for = Some(reason.into());
    }

    /// Notes that the snapshot in force stays, because of `faults`.
    pub fn failed(&self, faults: Vec<Fault>) {
        let mut status = self.0.lock();
        status.failures += 1;
        status.waits_for = None;
        status.last_failure = Some(ReloadFailure { at: SystemTime::now(), faults });
    }
}

impl Default for StatusCell {
    /// Before the start: nothing is in force.
    fn default() -> Self {
        Self(Mutex::new(ReloadStatus {
            generation: 0,
            document_generation: None,
            loaded_at: SystemTime::UNIX_EPOCH,
            failures: 0,
            last_failure: None,
            waits_for: None,
        }))
    }
}
