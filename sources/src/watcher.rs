//! Tells when the content of a set of files has changed, however it was changed.
//!
//! Three ways of changing a file look different to the kernel: a write in place, a rename over the old
//! file, and Kubernetes' mounts, where the file is a link into a directory behind the link `..data`,
//! and it is `..data` that is renamed. So directories are watched, not files, and an event is only a
//! hint to look: whether something changed is decided by comparing content. Where the kernel's events
//! do not come (network file systems, exhausted inotify watches), a slow poll finds the change.
//!
//! Turned down: trusting modification times, which a restored backup or two writes within one tick
//! leave alone; and watching the files themselves, which loses them at the first rename.

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use notify::{
    EventKind, RecommendedWatcher, RecursiveMode, Watcher as _,
    event::{AccessKind, AccessMode},
};
use tokio::{sync::mpsc, time::Instant};

use crate::files::{self, ReadError};

/// How patient a [`FileWatcher`] is.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// How often to look without a hint from the kernel.
    pub poll: Duration,
    /// How long the content has to stay the same before a change is reported, so that a file is not
    /// loaded half-written.
    pub settle: Duration,
    /// When to report a change although the content keeps changing.
    pub settle_limit: Duration,
    /// Whether to ask the kernel for events at all.
    pub kernel_events: bool,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            poll: Duration::from_secs(5),
            settle: Duration::from_millis(100),
            settle_limit: Duration::from_secs(2),
            kernel_events: true,
        }
    }
}

/// Watches the content of files. See the module's documentation.
#[derive(Debug)]
pub struct FileWatcher {
    files: Vec<Watched>,
    timing: Timing,
    limit_bytes: u64,
    kernel: Option<Kernel>,
}

impl FileWatcher {
    /// Watches `paths`, taking their present content as known. Files larger than `limit_bytes` count
    /// as unreadable.
    pub async fn new(paths: impl IntoIterator<Item = PathBuf>, limit_bytes: u64, timing: Timing) -> Self {
        let kernel = timing.kernel_events.then(Kernel::new).and_then(|kernel| match kernel {
            Ok(kernel) => Some(kernel),
            Err(error) => {
                tracing::warn!(%error, poll = ?timing.poll, "no file events from the kernel; files are polled");
                None
            }
        });
        let mut watcher = Self { files: Vec::new(), timing, limit_bytes, kernel };
        watcher.set_paths(paths).await;
        watcher
    }

    /// Changes which files are watched. What is known of those that stay is kept; of new ones, the
    /// present content is taken as known. Says whether there are new ones.
    pub async fn set_paths(&mut self, paths: impl IntoIterator<Item = PathBuf>) -> bool {
        let paths: BTreeSet<PathBuf> = paths.into_iter().collect();
        if self.files.iter().map(|file| &file.path).eq(&paths) {
            return false;
        }
        let looked = self.look_at(paths.into_iter().collect()).await;
        let known = std::mem::take(&mut self.files);
        let mut has_new = false;
        for new in looked {
            let old = known.binary_search_by(|old| old.path.cmp(&new.path));
            has_new |= old.is_err();
            self.files.push(old.map_or(new, |index| known[index].clone()));
        }
        has_new
    }

    /// Waits until at least one file has other content than last reported, or has come or gone, and
    /// says which. May be cancelled and called again without missing a change.
    pub async fn changed(&mut self) -> Vec<PathBuf> {
        loop {
            if self.look().await != self.files {
                let settled = self.settle().await;
                let known = std::mem::replace(&mut self.files, settled);
                let changed: Vec<PathBuf> = self
                    .files
                    .iter()
                    .zip(&known)
                    .filter(|(new, old)| new != old)
                    .map(|(new, _)| new.path.clone())
                    .collect();
                if !changed.is_empty() {
                    return changed;
                }
            }
            self.wait_for_hint().await;
        }
    }

    /// Looks until two looks in a row see the same.
    async fn settle(&mut self) -> Vec<Watched> {
        let deadline = Instant::now() + self.timing.settle_limit;
        let mut seen = self.look().await;
        loop {
            tokio::time::sleep(self.timing.settle).await;
            let again = self.look().await;
            if again == seen || Instant::now() >= deadline {
                return again;
            }
            seen = again;
        }
    }

    async fn wait_for_hint(&mut self) {
        match &mut self.kernel {
            None => tokio::time::sleep(self.timing.poll).await,
            Some(kernel) => {
                // Either way it is time to look; the sender lives as long as the watcher beside it.
                let _ = tokio::time::timeout(self.timing.poll, kernel.hints.recv()).await;
            }
        }
    }

    async fn look(&mut self) -> Vec<Watched> {
        let paths = self.files.iter().map(|file| file.path.clone()).collect();
        self.look_at(paths).await
    }

    async fn look_at(&mut self, paths: Vec<PathBuf>) -> Vec<Watched> {
        if let Some(kernel) = &mut self.kernel {
            // Before reading, so that nothing that happens after the read goes unseen.
            kernel.watch_directories_of(&paths);
        }
        let limit_bytes = self.limit_bytes;
        let read = tokio::task::spawn_blocking(move || {
            paths
                .into_iter()
                .map(|path| Watched { content: Content::of(&path, limit_bytes), path })
                .collect::<Vec<_>>()
        });
        match read.await {
            Ok(looked) => looked,
            // Only when the runtime is shutting down: nothing has changed then.
            Err(_) => self.files.clone(),
        }
    }
}

/// A file and what was last seen in it. Kept sorted by path.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Watched {
    path: PathBuf,
    content: Content,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Content {
    /// The content's length and hash.
    Bytes(usize, u64),
    Missing,
    /// Unreadable, and why.
    Unreadable(String),
}

impl Content {
    fn of(path: &Path, limit_bytes: u64) -> Self {
        match files::read(path, limit_bytes) {
            Ok(content) => Self::Bytes(content.len(), xxhash_rust::xxh3::xxh3_64(&content)),
            Err(ReadError::Open(error)) if error.kind() == io::ErrorKind::NotFound => Self::Missing,
            Err(error) => Self::Unreadable(error.to_string()),
        }
    }
}

/// The kernel's file events, boiled down to "look again".
#[derive(Debug)]
struct Kernel {
    watcher: RecommendedWatcher,
    directories: BTreeSet<PathBuf>,
    /// One slot: a hint that is waiting already says all there is to say.
    hints: mpsc::Receiver<()>,
}

impl Kernel {
    fn new() -> notify::Result<Self> {
        let (sender, hints) = mpsc::channel(1);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if event.is_ok_and(|event| !is_mere_access(event.kind)) {
                let _ = sender.try_send(());
            }
        })?;
        Ok(Self { watcher, directories: BTreeSet::new(), hints })
    }

    /// Watches the directory that each path is in and, where the path is a link, the one that it
    /// leads to. A watch dies with its directory, so each is renewed every time.
    fn watch_directories_of(&mut self, paths: &[PathBuf]) {
        let mut wanted = BTreeSet::new();
        for path in paths {
            wanted.extend(parent(path));
            wanted.extend(path.canonicalize().ok().as_deref().and_then(parent));
        }
        for gone in self.directories.difference(&wanted) {
            let _ = self.watcher.unwatch(gone);
        }
        wanted.retain(|directory| self.watcher.watch(directory, RecursiveMode::NonRecursive).is_ok());
        self.directories = wanted;
    }
}

/// Our own reading causes such events: reacting to them would never end.
fn is_mere_access(kind: EventKind) -> bool {
    matches!(kind, EventKind::Access(access) if access != AccessKind::Close(AccessMode::Write))
}

fn parent(path: &Path) -> Option<PathBuf> {
    let parent = path.parent()?;
    Some(if parent.as_os_str().is_empty() { PathBuf::from(".") } else { parent.to_owned() })
}

#[cfg(test)]
mod tests;
