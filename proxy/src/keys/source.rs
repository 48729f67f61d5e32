//! One source: where it is, who uses what it says, and how it is.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use parking_lot::Mutex;
use penstock_config::KeySetSource;
use penstock_policies::{
    ClientSecret, ConsumerBook, Held, KeySet, KeySetError, KeyTable, LineError, Provider, ProviderError,
    SecretError, Users,
};
use penstock_sources::files::{self, DOCUMENT_LIMIT_BYTES, ReadError};

use crate::metrics::KeysState;

/// The largest key set, in bytes: large identity providers' have some ten thousand.
pub(super) const KEY_SET_LIMIT_BYTES: usize = 256 << 10;

/// Why what a file says cannot be used. Nothing that the file says is part of the message.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeysError {
    /// The file could not be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: ReadError,
    },
    /// It is no file of keys or users.
    #[error("{}: {source}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: LineError,
    },
    /// It is no key set.
    #[error("{place}: {source}")]
    KeySet {
        /// The file or the address.
        place: String,
        /// What is wrong with it.
        source: KeySetError,
    },
    /// It is no client's secret.
    #[error("{}: {source}", path.display())]
    Secret {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: SecretError,
    },
    /// It is no provider's discovery, or its keys are no key set.
    #[error("{issuer}: {source}")]
    Provider {
        /// The issuer.
        issuer: Arc<str>,
        /// What is wrong with what it says.
        source: ProviderError,
    },
}

/// Where something is, and what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// Keys of consumers.
    Keys(PathBuf),
    /// Users.
    Users(PathBuf),
    /// A key set in a file.
    KeySetFile(PathBuf),
    /// A key set that is fetched.
    KeySetUrl(Arc<str>),
    /// A client's secret.
    ClientSecret(PathBuf),
    /// What an issuer says of itself, and its keys.
    Provider(Arc<str>),
}

/// Who gets what is read.
pub(super) enum Sink {
    Keys { held: Weak<Held<KeyTable>>, book: Arc<ConsumerBook> },
    Users(Weak<Held<Users>>),
    KeySet(Weak<Held<KeySet>>),
    ClientSecret(Weak<Held<ClientSecret>>),
    Provider(Weak<Held<Provider>>),
}

/// How long a key set is used before it is fetched again. A configuration may change that.
#[derive(Debug, Default, Clone)]
pub(super) struct CachedFor(Arc<AtomicU64>);

/// What is read or fetched, and used.
pub(super) struct Source {
    place: Place,
    sink: Sink,
    cached_for: CachedFor,
    about: Mutex<About>,
}

/// What is known of a source.
#[derive(Debug, Default, Clone)]
pub(super) struct About {
    loaded_at: Option<SystemTime>,
    loaded: u64,
    failed: u64,
    error: Option<Box<str>>,
    /// Of what was read last, good or bad.
    fingerprint: Option<u64>,
    /// What a file of keys said when it was good, for the next configuration, whose consumers may be others.
    good: Option<Bytes>,
}

impl Place {
    pub(super) fn of_key_set(source: &KeySetSource) -> Self {
        match source {
            KeySetSource::Url { url, .. } => Self::KeySetUrl(url.clone()),
            KeySetSource::File(path) => Self::KeySetFile(path.clone()),
        }
    }

    /// The file, if it is one.
    pub(super) fn file(&self) -> Option<&Path> {
        match self {
            Self::Keys(path) | Self::Users(path) | Self::KeySetFile(path) | Self::ClientSecret(path) => {
                Some(path)
            }
            Self::KeySetUrl(_) | Self::Provider(_) => None,
        }
    }

    /// Reads the file, if it is one, and says what is wrong with it.
    ///
    /// # Errors
    /// See [`KeysError`].
    pub(super) fn check(&self, book: &ConsumerBook) -> Result<(), KeysError> {
        let Some(content) = self.content()? else { return Ok(()) };
        match self {
            Self::Keys(_) => self.keys(&content, book).map(drop),
            Self::Users(_) => self.users(&content).map(drop),
            Self::KeySetFile(_) | Self::KeySetUrl(_) => self.key_set(&content).map(drop),
            Self::ClientSecret(_) => self.client_secret(&content).map(drop),
            Self::Provider(_) => Ok(()),
        }
    }

    /// What the file says, if it is one.
    fn content(&self) -> Result<Option<Bytes>, KeysError> {
        let Some(path) = self.file() else { return Ok(None) };
        let read = match self {
            Self::KeySetFile(_) => files::read(path, KEY_SET_LIMIT_BYTES as u64),
            _ => files::read_text(path, DOCUMENT_LIMIT_BYTES).map(String::into_bytes),
        };
        let content = read.map_err(|source| KeysError::Read { path: path.to_owned(), source })?;
        Ok(Some(content.into()))
    }

    fn keys(&self, content: &[u8], book: &ConsumerBook) -> Result<KeyTable, KeysError> {
        KeyTable::parse_file(&String::from_utf8_lossy(content), book).map_err(|source| self.line(source))
    }

    fn users(&self, content: &[u8]) -> Result<Users, KeysError> {
        Users::parse(&String::from_utf8_lossy(content)).map_err(|source| self.line(source))
    }

    fn key_set(&self, content: &[u8]) -> Result<KeySet, KeysError> {
        KeySet::parse(content).map_err(|source| KeysError::KeySet { place: self.to_string(), source })
    }

    fn client_secret(&self, content: &[u8]) -> Result<ClientSecret, KeysError> {
        ClientSecret::parse(content).map_err(|source| {
            let path = self.file().unwrap_or(Path::new("")).to_owned();
            KeysError::Secret { path, source }
        })
    }

    fn line(&self, source: LineError) -> KeysError {
        KeysError::Line { path: self.file().unwrap_or(Path::new("")).to_owned(), source }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Keys(path) | Self::Users(path) | Self::KeySetFile(path) | Self::ClientSecret(path) => {
                path.display().fmt(f)
            }
            Self::KeySetUrl(address) | Self::Provider(address) => f.write_str(address),
        }
    }
}

impl CachedFor {
    pub(super) fn set(&self, duration: Duration) {
        self.0.store(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }
}

impl Source {
    /// Something of which nothing was read yet.
    pub(super) fn new(place: Place, sink: Sink) -> Self {
        Self { place, sink, cached_for: CachedFor::default(), about: Mutex::default() }
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    pub(super) fn cached_for(&self) -> CachedFor {
        self.cached_for.clone()
    }

    pub(super) fn about(&self) -> About {
        self.about.lock().clone()
    }

    /// The keys of the consumers of this book.
    pub(super) fn keys_of(&self, book: &Arc<ConsumerBook>) -> Option<Arc<Held<KeyTable>>> {
        match &self.sink {
            Sink::Keys { held, book: own } if Arc::ptr_eq(own, book) => held.upgrade(),
            _ => None,
        }
    }

    pub(super) fn users(&self) -> Option<Arc<Held<Users>>> {
        if let Sink::Users(held) = &self.sink { held.upgrade() } else { None }
    }

    pub(super) fn key_set(&self) -> Option<Arc<Held<KeySet>>> {
        if let Sink::KeySet(held) = &self.sink { held.upgrade() } else { None }
    }

    pub(super) fn client_secret(&self) -> Option<Arc<Held<ClientSecret>>> {
        if let Sink::ClientSecret(held) = &self.sink { held.upgrade() } else { None }
    }

    pub(super) fn provider(&self) -> Option<Arc<Held<Provider>>> {
        if let Sink::Provider(held) = &self.sink { held.upgrade() } else { None }
    }

    /// Whether somebody met a key that is not in what was fetched. Takes the mark away.
    pub(super) fn is_asked_again(&self) -> bool {
        match &self.sink {
            Sink::KeySet(held) => held.upgrade().is_some_and(|held| held.asked_again()),
            Sink::Provider(held) => held.upgrade().is_some_and(|held| held.asked_again()),
            Sink::Keys { .. } | Sink::Users(_) | Sink::ClientSecret(_) => false,
        }
    }

    /// Whether a configuration still goes by it.
    pub(super) fn is_used(&self) -> bool {
        match &self.sink {
            Sink::Keys { held, .. } => held.strong_count() > 0,
            Sink::Users(held) => held.strong_count() > 0,
            Sink::KeySet(held) => held.strong_count() > 0,
            Sink::ClientSecret(held) => held.strong_count() > 0,
            Sink::Provider(held) => held.strong_count() > 0,
        }
    }

    fn is_available(&self) -> bool {
        match &self.sink {
            Sink::Keys { held, .. } => held.upgrade().is_some_and(|held| held.get().is_some()),
            Sink::Users(held) => held.upgrade().is_some_and(|held| held.get().is_some()),
            Sink::KeySet(held) => held.upgrade().is_some_and(|held| held.get().is_some()),
            Sink::ClientSecret(held) => held.upgrade().is_some_and(|held| held.get().is_some()),
            Sink::Provider(held) => held.upgrade().is_some_and(|held| held.get().is_some()),
        }
    }

    /// How it is.
    pub(super) fn state(&self) -> KeysState {
        let is_available = self.is_available();
        let About { loaded_at, loaded, failed, error, .. } = self.about();
        KeysState { is_available, loaded_at, error, loaded, failed }
    }

    /// Takes the place of a source of the configuration before: where the file cannot be used now, what it said then.
    pub(super) fn succeed(&self, before: About) {
        let mut about = self.about.lock();
        about.loaded += before.loaded;
        about.failed += before.failed;
        if about.good.is_some() {
            return;
        }
        if let Some(good) = before.good
            && self.put(&good).is_ok()
        {
            about.loaded_at = before.loaded_at;
            about.good = Some(good);
        }
    }

    /// Reads the file, if it is one and has changed. One that cannot be used leaves in force what it said before.
    pub(super) fn read(&self) {
        match self.place.content() {
            Ok(Some(content)) => {
                if self.about.lock().fingerprint != Some(fingerprint(&content)) {
                    self.take_over(&content);
                }
            }
            Ok(None) => {}
            Err(error) => {
                self.about.lock().fingerprint = None;
                self.fail(&error);
            }
        }
    }

    /// Takes over what was read or fetched. Says whether it could be used.
    pub(super) fn take_over(&self, content: &Bytes) -> bool {
        self.about.lock().fingerprint = Some(fingerprint(content));
        let is_good = self.note(self.put(content));
        if is_good && matches!(self.place, Place::Keys(_)) {
            self.about.lock().good = Some(content.clone());
        }
        is_good
    }

    /// Takes over what an issuer says of itself, and its keys. Says whether they could be used.
    pub(super) fn take_over_provider(&self, issuer: &Arc<str>, discovery: &[u8], keys: &[u8]) -> bool {
        let provider = Provider::parse(issuer, discovery, keys);
        let provider = provider.map_err(|source| KeysError::Provider { issuer: issuer.clone(), source });
        self.note(provider.map(|provider| {
            self.provider().inspect(|held| held.set(provider));
        }))
    }

    /// Notes whether what was read or fetched could be used.
    fn note(&self, taken: Result<(), KeysError>) -> bool {
        if let Err(error) = taken {
            self.fail(&error);
            return false;
        }
        let mut about = self.about.lock();
        about.loaded += 1;
        about.loaded_at = Some(SystemTime::now());
        let had_failed = about.error.take().is_some();
        // What is fetched every few minutes is no news.
        if had_failed || about.loaded == 1 || self.place.file().is_some() {
            tracing::info!(from = %self.place, "keys loaded");
        }
        true
    }

    /// Notes that it could not be read or fetched.
    pub(super) fn fail(&self, error: &dyn std::fmt::Display) {
        let is_available = self.is_available();
        let error: Box<str> = error.to_string().into();
        let mut about = self.about.lock();
        about.failed += 1;
        // Said once, not at every attempt.
        if about.error.as_ref() != Some(&error) {
            tracing::error!(
                from = %self.place, %error, is_available,
                "keys cannot be loaded; those loaded before stay in use"
            );
        }
        about.error = Some(error);
    }

    /// Puts what was read or fetched in force.
    fn put(&self, content: &[u8]) -> Result<(), KeysError> {
        match &self.sink {
            Sink::Keys { held, book } => {
                let keys = self.place.keys(content, book)?;
                held.upgrade().inspect(|held| held.set(keys));
            }
            Sink::Users(held) => {
                let users = self.place.users(content)?;
                held.upgrade().inspect(|held| held.set(users));
            }
            Sink::KeySet(held) => {
                let set = self.place.key_set(content)?;
                held.upgrade().inspect(|held| held.set(set));
            }
            Sink::ClientSecret(held) => {
                let secret = self.place.client_secret(content)?;
                held.upgrade().inspect(|held| held.set(secret));
            }
            // That comes in two parts.
            Sink::Provider(_) => {}
        }
        Ok(())
    }
}

fn fingerprint(content: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    hasher.finish()
}
