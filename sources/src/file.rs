//! A routing document in a file, and what happens when it changes: `penstock serve FILE`.
//!
//! A document goes the same way at start and at every reload: read, compile, apply. What fails on the
//! way changes nothing: the snapshot in force stays, and [`ReloadStatus`](crate::ReloadStatus) says what is wrong. Files
//! that the document names (certificates, keys) are watched along with it.
//!
//! SIGHUP forces all of this even if no file seems to have changed.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use futures::{Stream, StreamExt as _};
use parking_lot::Mutex;
use penstock_config::{Fault, Faults, ProfileCheck, Snapshot, Surroundings};
use thiserror::Error;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::applier::Applier;
use crate::files::{self, DOCUMENT_LIMIT_BYTES, ReadError};
use crate::status::StatusCell;
use crate::watcher::{FileWatcher, Timing};

/// Why a document was not put in force.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The file could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The document is faulty.
    #[error(transparent)]
    Invalid(#[from] Faults),
    /// The document is sound, but what it asks for cannot be had.
    #[error("{}", .0.iter().map(Fault::to_string).collect::<Vec<_>>().join("\n"))]
    Refused(Vec<Fault>),
}

impl LoadError {
    /// What is wrong, each with its place in the document; without one where the file itself is.
    #[must_use]
    pub fn faults(&self) -> Vec<Fault> {
        match self {
            Self::Read(error) => vec![Fault::new("", error.to_string())],
            Self::Invalid(faults) => faults.iter().cloned().collect(),
            Self::Refused(faults) => faults.clone(),
        }
    }
}

/// A routing document in a file.
#[derive(Clone)]
pub struct FileSource {
    path: PathBuf,
    profiles: Arc<dyn ProfileCheck + Send + Sync>,
    timing: Timing,
    status: Arc<StatusCell>,
    /// The hash of the text that was last compiled, successfully or not. `None` if it was unreadable.
    last_read: Arc<Mutex<Option<u64>>>,
    /// The lists of endpoints that the document in force names.
    lists: Arc<Mutex<Vec<Arc<str>>>>,
}

impl FileSource {
    /// The document at `path`, whose picker profiles `profiles` checks.
    pub fn new(path: impl Into<PathBuf>, profiles: Arc<dyn ProfileCheck + Send + Sync>) -> Self {
        Self {
            path: path.into(),
            profiles,
            timing: Timing::default(),
            status: Arc::default(),
            last_read: Arc::default(),
            lists: Arc::default(),
        }
    }

    /// As `self`, watching with another patience.
    #[must_use]
    pub fn with_timing(self, timing: Timing) -> Self {
        Self { timing, ..self }
    }

    /// Where the document is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How loading went, kept up to date.
    #[must_use]
    pub fn status(&self) -> &Arc<StatusCell> {
        &self.status
    }

    /// Reads and compiles the document, for the start, when there is nothing to fall back on.
    ///
    /// # Errors
    /// See [`LoadError`].
    pub fn start(&self) -> Result<Arc<Snapshot>, LoadError> {
        let snapshot = self.load()?;
        self.warn(&snapshot);
        self.status.succeeded(&snapshot);
        *self.lists.lock() = snapshot.endpoint_lists().collect();
        Ok(snapshot)
    }

    /// Hands all lists of endpoints that the document in force names to `set`: to be called before it is applied.
    pub fn read_lists(&self, mut set: impl FnMut(&str, Option<&str>)) {
        for reference in self.lists.lock().clone() {
            self.read_list(&reference, &mut set);
        }
    }

    fn read_list(&self, reference: &str, mut set: impl FnMut(&str, Option<&str>)) {
        let path = self.directory().join(reference);
        match files::read_text(&path, DOCUMENT_LIMIT_BYTES) {
            Ok(text) => set(reference, Some(&text)),
            Err(ReadError::Open(error)) if error.kind() == io::ErrorKind::NotFound => set(reference, None),
            Err(error) => {
                tracing::error!(path = %path.display(), %error, "list of endpoints cannot be read; the one before stays");
            }
        }
    }

    /// What the document's paths are relative to.
    fn directory(&self) -> PathBuf {
        self.path.parent().unwrap_or(Path::new("")).to_owned()
    }

    fn load(&self) -> Result<Arc<Snapshot>, LoadError> {
        let text = self.read();
        *self.last_read.lock() = text.as_ref().ok().map(|text| hash(text));
        let text = text?;
        let surroundings = Surroundings { directory: self.directory(), secrets: None };
        Ok(Arc::new(Snapshot::compile_in(&text, &*self.profiles, &surroundings)?))
    }

    fn warn(&self, snapshot: &Snapshot) {
        for warning in snapshot.warnings() {
            tracing::warn!(path = %self.path.display(), %warning, "the routing document may not be what was meant");
        }
    }

    fn read(&self) -> Result<String, ReadError> {
        files::read_text(&self.path, DOCUMENT_LIMIT_BYTES)
    }

    /// Keeps `applier` up to date until `stop` is cancelled. To be called once the first snapshot is in
    /// force.
    ///
    /// # Errors
    /// SIGHUP cannot be listened for.
    pub async fn watch(&self, applier: Arc<dyn Applier>, stop: CancellationToken) -> io::Result<()> {
        let mut hangup = signal(SignalKind::hangup())?;
        let hangups = futures::stream::poll_fn(move |context| hangup.poll_recv(context));
        let keep_up = self.keep_up(&*applier, hangups);
        stop.run_until_cancelled(keep_up).await;
        Ok(())
    }

    /// Each item of `hangups`, which never ends, loads everything again.
    async fn keep_up(&self, applier: &dyn Applier, mut hangups: impl Stream<Item = ()> + Unpin) {
        let list_path = |reference: &Arc<str>| self.directory().join(&**reference);
        let watched = || {
            let lists: Vec<PathBuf> = self.lists.lock().iter().map(list_path).collect();
            applier.files().into_iter().chain([self.path.clone()]).chain(lists)
        };
        let mut watcher = FileWatcher::new(watched(), DOCUMENT_LIMIT_BYTES, self.timing).await;
        self.read_lists(|reference, text| applier.set_list(reference, text));
        // What changed after it was loaded and before it was watched.
        let mut document = self.read().ok().map(|text| hash(&text)) != *self.last_read.lock();
        let mut others = true;
        loop {
            if document {
                self.reload(applier);
            }
            if others {
                applier.reload_files();
            }
            let is_larger = watcher.set_paths(watched()).await;
            if is_larger {
                applier.reload_files();
                self.read_lists(|reference, text| applier.set_list(reference, text));
            }
            (document, others) = tokio::select! {
                changed = watcher.changed() => {
                    let document = changed.contains(&self.path);
                    let lists = self.lists.lock().clone();
                    let mut rest = changed.len() - usize::from(document);
                    for reference in lists.iter().filter(|reference| changed.contains(&list_path(reference))) {
                        self.read_list(reference, |reference, text| applier.set_list(reference, text));
                        rest = rest.saturating_sub(1);
                    }
                    (document, rest > 0)
                }
                _ = hangups.next() => (true, true),
            };
        }
    }

    /// Reads, compiles and applies the document once, and notes how it went.
    pub fn reload(&self, applier: &dyn Applier) {
        let outcome = self.load().and_then(|snapshot| {
            for reference in snapshot.endpoint_lists() {
                self.read_list(&reference, |reference, text| applier.set_list(reference, text));
            }
            applier.apply(&snapshot).map_err(LoadError::Refused)?;
            Ok(snapshot)
        });
        let path = self.path.display();
        match outcome {
            Ok(snapshot) => {
                self.warn(&snapshot);
                *self.lists.lock() = snapshot.endpoint_lists().collect();
                let generation = self.status.succeeded(&snapshot);
                tracing::info!(%path, generation, "routing document reloaded");
            }
            Err(error) => {
                let faults = error.faults();
                for fault in &faults {
                    tracing::error!(%path, %fault, "routing document refused; the running one stays");
                }
                self.status.failed(faults);
                applier.refused();
            }
        }
    }
}

impl std::fmt::Debug for FileSource {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("FileSource").field("path", &self.path).finish_non_exhaustive()
    }
}

fn hash(text: &str) -> u64 {
    xxhash_rust::xxh3::xxh3_64(text.as_bytes())
}

#[cfg(test)]
mod tests;
