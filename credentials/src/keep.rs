//! Keeps credentials fresh in the background.
//!
//! One task for each source, whoever uses it: equal sources give the same, over reloads of the configuration too. It
//! fetches, rests until the credential is due again, and after a failure tries again with growing pauses. What is there is
//! used meanwhile for as long as it is valid; then it is taken away, so that nobody looks at a clock on the request path.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::{ArcSwapOption, Guard};
use backon::{BackoffBuilder, ExponentialBuilder};
use parking_lot::Mutex;
use penstock_config::TokenSource;
use rustc_hash::FxHashMap;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::task::AbortOnDropHandle;

use crate::context::Fetched;
use crate::fetch::Fetch;
use crate::secret::Secret;

#[cfg(test)]
mod tests;

/// How long before its end a credential is fetched again: keys of AWS, as its SDKs do, and tokens of others. Of one that
/// lasts less than twice as long, half of its time.
const AWS_LEAD: Duration = Duration::from_secs(15 * 60);
const LEAD: Duration = Duration::from_secs(5 * 60);

/// By how much of the lead a fetch is put forward at random, so that many gateways do not ask in one instant.
const JITTER: f64 = 0.1;

/// How long before its end a credential is no longer shown, so that a request does not arrive with it too late. Of one that
/// lasts less than ten times as long, a tenth of its time.
const MARGIN: Duration = Duration::from_secs(30);

/// A lifetime beyond this is taken for a mistake, and the credential fetched anew by then.
const MAX_LIFETIME: Duration = Duration::from_secs(7 * 24 * 3600);

/// The shortest rest between two fetches that succeed, however short the lifetime.
const MIN_REST: Duration = Duration::from_secs(1);

/// How long one fetch may take with all its requests.
const FETCH_LIMIT: Duration = Duration::from_secs(30);

/// Pauses after failures: these, doubled with each up to the longest, plus up to as much again at random.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// A credential that an upstream refused is not fetched again more often than this.
const MIN_SUSPICION: Duration = Duration::from_secs(60);

/// All credentials that are kept.
pub struct Keeper {
    fetch: Arc<dyn Fetch>,
    kept: Mutex<FxHashMap<TokenSource, Weak<Kept>>>,
}

/// A credential that is kept fresh for as long as somebody holds it.
pub struct Kept {
    shared: Arc<Shared>,
    _task: AbortOnDropHandle<()>,
}

/// What is known of a credential, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// Whether there is one that is valid.
    pub is_available: bool,
    /// In how long it ends; `None` if it does not, or there is none.
    pub expires_in: Option<Duration>,
    /// Why the last fetch failed; `None` if it did not.
    pub error: Option<Box<str>>,
    /// Fetches that succeeded.
    pub fetched: u64,
    /// Fetches that failed.
    pub failed: u64,
}

struct Shared {
    source: TokenSource,
    secret: ArcSwapOption<Secret>,
    is_available: AtomicBool,
    fetched: AtomicU64,
    failed: AtomicU64,
    /// Whether a fetch has ended, however.
    has_ended: watch::Sender<bool>,
    /// Ends the rest between fetches.
    wake: Notify,
    /// Of the content of the source's files.
    fingerprint: AtomicU64,
    about: Mutex<About>,
}

#[derive(Default)]
struct About {
    /// From when on the credential is not shown any more.
    until: Option<Instant>,
    expires: Option<Instant>,
    error: Option<Box<str>>,
    /// When an upstream last had it fetched again.
    suspected: Option<Instant>,
}

impl Keeper {
    /// Keeps none yet.
    #[must_use]
    pub fn new(fetch: Arc<dyn Fetch>) -> Self {
        Self { fetch, kept: Mutex::default() }
    }

    /// The credential of a source: the one that is kept already, or else one that is fetched from now on. Has to be called
    /// within a tokio runtime.
    #[must_use]
    pub fn keep(&self, source: &TokenSource) -> Arc<Kept> {
        let mut all = self.kept.lock();
        all.retain(|_, kept| kept.strong_count() > 0);
        if let Some(known) = all.get(source).and_then(Weak::upgrade) {
            return known;
        }
        let shared = Arc::new(Shared {
            source: source.clone(),
            secret: ArcSwapOption::empty(),
            is_available: AtomicBool::new(false),
            fetched: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            has_ended: watch::channel(false).0,
            wake: Notify::new(),
            fingerprint: AtomicU64::new(fingerprint(source)),
            about: Mutex::default(),
        });
        let task = tokio::spawn(keep_fresh(shared.clone(), self.fetch.clone()));
        let kept = Arc::new(Kept { shared, _task: AbortOnDropHandle::new(task) });
        all.insert(source.clone(), Arc::downgrade(&kept));
        kept
    }
}

impl Kept {
    /// The credential, if there is one that is valid.
    #[must_use]
    pub fn secret(&self) -> Guard<Option<Arc<Secret>>> {
        self.shared.secret.load()
    }

    /// Whether there is one that is valid.
    #[must_use]
    pub fn is_available(&self) -> bool {
        self.shared.is_available.load(Ordering::Relaxed)
    }

    /// Whether the first fetch is still under way.
    #[must_use]
    pub fn is_awaited(&self) -> bool {
        !*self.shared.has_ended.borrow()
    }

    /// Waits until the first fetch has ended, however, or `limit` is over.
    pub async fn first(&self, limit: Duration) {
        let mut ended = self.shared.has_ended.subscribe();
        let _ = timeout(limit, ended.wait_for(|has_ended| *has_ended)).await;
    }

    /// Takes note that an upstream refused the credential: it is fetched again, though not more often than once a minute.
    /// Until then it is used as it is.
    pub fn suspect(&self) {
        let last = &mut self.shared.about.lock().suspected;
        if last.is_none_or(|at| at.elapsed() >= MIN_SUSPICION) {
            *last = Some(Instant::now());
            self.shared.wake.notify_one();
        }
    }

    /// Looks at the source's files, and fetches again if one has changed. Says whether.
    pub fn look_at_files(&self) -> bool {
        let now = fingerprint(&self.shared.source);
        let has_changed = self.shared.fingerprint.swap(now, Ordering::Relaxed) != now;
        if has_changed {
            self.shared.wake.notify_one();
        }
        has_changed
    }

    /// What is known of it.
    #[must_use]
    pub fn state(&self) -> State {
        let Shared { fetched, failed, about, .. } = &*self.shared;
        let about = about.lock();
        let is_available = self.is_available();
        State {
            is_available,
            expires_in: about.expires.filter(|_| is_available).map(|at| at - Instant::now()),
            error: about.error.clone(),
            fetched: fetched.load(Ordering::Relaxed),
            failed: failed.load(Ordering::Relaxed),
        }
    }
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Kept").field("state", &self.state()).finish_non_exhaustive()
    }
}

/// Fetches for ever.
async fn keep_fresh(shared: Arc<Shared>, fetch: Arc<dyn Fetch>) {
    let pauses = ExponentialBuilder::default()
        .with_min_delay(FIRST_PAUSE)
        .with_max_delay(LONGEST_PAUSE)
        .with_jitter()
        .without_max_times();
    let mut pause = pauses.build();
    loop {
        let fetching = timeout(FETCH_LIMIT, fetch.fetch(&shared.source));
        let fetched = shared.meanwhile(fetching).await;
        let next = match fetched {
            Ok(Ok(fetched)) => {
                pause = pauses.build();
                shared.store(fetched)
            }
            Ok(Err(error)) => shared.fail(&error, pause.next()),
            Err(_) => shared.fail(&"the requests took too long together", pause.next()),
        };
        shared.has_ended.send_replace(true);
        let rest = async {
            match next {
                Some(next) => sleep_until(next).await,
                None => std::future::pending().await,
            }
        };
        let rest = async {
            tokio::select! {
                () = rest => {}
                () = shared.wake.notified() => {}
            }
        };
        shared.meanwhile(rest).await;
    }
}

impl Shared {
    /// Does something that takes time, during which the credential may come to its end.
    async fn meanwhile<T>(&self, something: impl Future<Output = T>) -> T {
        let until = self.about.lock().until;
        let mut something = std::pin::pin!(something);
        if let Some(until) = until {
            tokio::select! {
                biased;
                value = &mut something => return value,
                () = sleep_until(until) => self.take_away(),
            }
        }
        something.await
    }

    /// Takes over what was fetched. Says when it has to be fetched again.
    fn store(&self, Fetched { secret, lifetime }: Fetched) -> Option<Instant> {
        let now = Instant::now();
        let lifetime = lifetime.map(|lifetime| lifetime.min(MAX_LIFETIME));
        let lead = match secret {
            Secret::Aws(_) => AWS_LEAD,
            Secret::Header(_) => LEAD,
        };
        let next = lifetime.map(|lifetime| {
            let lead = lead.min(lifetime / 2);
            let lead = lead.mul_f64(1.0 + JITTER * fastrand::f64()).min(lifetime / 2);
            now + (lifetime - lead).max(MIN_REST)
        });
        self.secret.store(Some(Arc::new(secret)));
        self.fetched.fetch_add(1, Ordering::Relaxed);
        let mut about = self.about.lock();
        about.expires = lifetime.map(|lifetime| now + lifetime);
        about.until = lifetime.map(|lifetime| now + lifetime - MARGIN.min(lifetime / 10));
        let was_available = self.is_available.swap(true, Ordering::Relaxed);
        let had_failed = about.error.take().is_some();
        if !was_available || had_failed {
            tracing::info!(credential = %self.source, lifetime = ?lifetime, "credential fetched");
        }
        next
    }

    /// Notes that a fetch failed. Says when the next one begins.
    fn fail(&self, error: &dyn std::fmt::Display, pause: Option<Duration>) -> Option<Instant> {
        let now = Instant::now();
        self.failed.fetch_add(1, Ordering::Relaxed);
        let error: Box<str> = error.to_string().into();
        let mut about = self.about.lock();
        // Said once, not at every attempt.
        if about.error.as_ref() != Some(&error) {
            let is_available = self.is_available.load(Ordering::Relaxed);
            tracing::warn!(
                credential = %self.source, %error, is_available,
                "credential cannot be fetched; what is valid of it stays in use"
            );
        }
        about.error = Some(error);
        Some(now + pause.unwrap_or(LONGEST_PAUSE))
    }

    /// The credential has come to its end.
    fn take_away(&self) {
        self.secret.store(None);
        self.is_available.store(false, Ordering::Relaxed);
        let mut about = self.about.lock();
        (about.until, about.expires) = (None, None);
        tracing::error!(
            credential = %self.source,
            error = about.error.as_deref().unwrap_or("the fetch is under way"),
            "credential expired before another could be fetched; its upstreams are left out"
        );
    }
}

/// Of the content of a source's files. One that cannot be read counts as empty.
fn fingerprint(source: &TokenSource) -> u64 {
    let mut hasher = DefaultHasher::new();
    for file in source.files() {
        crate::files::read_now(file).unwrap_or_default().hash(&mut hasher);
    }
    hasher.finish()
}
