//! Keys, users, key sets and providers that policies go by: read from files, and again when those change, or fetched in the background.
//!
//! They outlive configurations. A reload neither waits for a fetch nor loses what is there: what the configuration before
//! had stays in use until it is read or fetched anew. Somebody has to hold what is held here; what no configuration names
//! any more is forgotten, and no longer fetched.

mod fetch;
mod source;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use penstock_config::{KeySetSource, Oidc, PolicySpec, Snapshot};
use penstock_credentials::Documents;
use penstock_policies::{ClientSecret, Held, KeySet, KeyTable, Login, Provider, Sources, Users};
use rustc_hash::FxHashMap;
use serde_json::{Value, json};

use self::source::{Place, Sink, Source};
use crate::meter::Quota;
use crate::metrics::{KeysInUse, Metrics};
use crate::policy::{Access, Consumers, LogIn};

pub(crate) use self::source::KeysError;

/// How long what an issuer says of itself is used before it is fetched again.
const PROVIDER_CACHED_FOR: Duration = Duration::from_secs(300);

/// All that is in use. Has to be used within a tokio runtime.
pub(crate) struct KeyStore {
    documents: Arc<Documents>,
    sources: Mutex<Vec<Arc<Source>>>,
}

/// The sources of one configuration.
struct Opened<'a> {
    store: &'a KeyStore,
    consumers: &'a Consumers,
    /// How long key sets are used: the shortest time that a policy names.
    cached: Mutex<FxHashMap<Arc<str>, Duration>>,
}

impl KeyStore {
    /// None yet.
    pub(crate) fn new() -> Self {
        Self { documents: Arc::new(Documents::new()), sources: Mutex::default() }
    }

    /// The policies of a document with their limits, in its order. Files are read before this returns; what cannot be read or is not fetched
    /// yet comes later.
    pub(crate) fn policies(
        &self,
        snapshot: &Snapshot,
        quotas: &[Option<Arc<Quota>>],
        metrics: &Metrics,
    ) -> Vec<Arc<Access>> {
        if snapshot.policies.is_empty() {
            self.sources.lock().retain(|source| source.is_used());
            return Vec::new();
        }
        let consumers = Consumers::new(&snapshot.consumers);
        let opened = Opened { store: self, consumers: &consumers, cached: Mutex::default() };
        let access = |(spec, quota): (&Arc<PolicySpec>, &Option<Arc<Quota>>)| {
            let access = Access::new(spec, &consumers, &opened, metrics).limited(quota.clone());
            let oidc = spec.authentication.as_ref().and_then(|ways| ways.oidc.as_ref());
            let login = oidc.map(|oidc| {
                let (policy, documents) = (spec.name.clone(), self.documents.clone());
                LogIn::new(policy.clone(), opened.login(oidc), documents, metrics.logins(&policy))
            });
            Arc::new(access.logging_in(login))
        };
        let policies = snapshot.policies.iter().zip(quotas).map(access).collect();
        self.sources.lock().retain(|source| source.is_used());
        policies
    }

    /// All files.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let sources = self.sources.lock();
        let used = sources.iter().filter(|source| source.is_used());
        used.filter_map(|source| source.place().file()).map(Path::to_owned).collect()
    }

    /// Reads all files again. A bad one leaves what was read from it before in force.
    pub(crate) fn reload(&self) {
        let sources = self.sources.lock().clone();
        for source in sources.iter().filter(|source| source.is_used()) {
            source.read();
        }
    }

    /// What the policies of a document go by, in its order.
    pub(crate) fn in_use(&self, snapshot: &Snapshot) -> Vec<KeysInUse> {
        let sources = self.sources.lock();
        let named = snapshot.policies.iter().flat_map(|policy| places(policy).map(move |of| (policy, of)));
        let in_use = named.filter_map(|(policy, (way, provider, place))| {
            let source = sources.iter().rev().find(|of| *of.place() == place && of.is_used())?;
            Some(KeysInUse { policy: policy.name.clone(), way, provider, state: source.state() })
        });
        in_use.collect()
    }

    /// The same, for people.
    pub(crate) fn report(&self, snapshot: &Snapshot) -> Value {
        let report = |KeysInUse { policy, way, provider, state }| {
            json!({
                "policy": &*policy,
                "way": way,
                "provider": Some(&*provider).filter(|provider| !provider.is_empty()),
                "available": state.is_available,
                "loaded_at": state.loaded_at.map(|at| humantime::format_rfc3339_millis(at).to_string()),
                "error": state.error,
                "loaded": state.loaded,
                "failed": state.failed,
            })
        };
        self.in_use(snapshot).into_iter().map(report).collect()
    }

    /// The newest source of that kind at `place` that is still in use, if there is one.
    fn known<T>(&self, place: &Place, sink: impl Fn(&Source) -> Option<T>) -> Option<T> {
        let sources = self.sources.lock();
        let used = sources.iter().rev().filter(|source| source.place() == place && source.is_used());
        used.into_iter().find_map(|of| sink(of))
    }

    fn add(&self, source: Source) -> Arc<Source> {
        let source = Arc::new(source);
        self.sources.lock().push(source.clone());
        source
    }
}

/// Looks at the files that the policies of a document name, without using them.
///
/// # Errors
/// Why each that cannot be used cannot, with the place in the document that names it.
pub(crate) fn check_files(snapshot: &Snapshot) -> Vec<(String, KeysError)> {
    let book = penstock_policies::ConsumerBook::new(&snapshot.consumers);
    let named = snapshot.policies.iter().enumerate();
    let checked = named.flat_map(|(at, policy)| places(policy).map(move |of| (at, of)));
    checked
        .filter_map(|(at, (way, provider, place))| {
            let error = place.check(&book).err()?;
            Some((
                format!("policies[{at}] ({way}{}{provider})", if provider.is_empty() { "" } else { " " }),
                error,
            ))
        })
        .collect()
}

/// Where a policy's keys are: the way, the provider's name and the place of each.
fn places(policy: &PolicySpec) -> impl Iterator<Item = (&'static str, Arc<str>, Place)> {
    let ways = policy.authentication.as_ref();
    let keys = ways.and_then(|ways| ways.api_key.as_ref()?.file.clone());
    let users = ways.and_then(|ways| Some(ways.basic.as_ref()?.file.clone()));
    let providers = ways.into_iter().flat_map(|ways| ways.jwt.iter().flatten());
    let sets = providers.map(|of| ("jwt", of.name.clone(), Place::of_key_set(&of.keys)));
    let keys = keys.map(|file| ("api_key", Arc::default(), Place::Keys(file)));
    let oidc = ways.and_then(|ways| ways.oidc.as_deref());
    let clients = oidc.into_iter().flat_map(|client| {
        let provider = Place::Provider(client.provider.issuer.clone());
        let secret = Place::ClientSecret(client.client_secret.clone());
        [("oidc", client.name.clone(), provider), ("oidc_secret", client.name.clone(), secret)]
    });
    let users = users.map(|file| ("basic", Arc::default(), Place::Users(file)));
    keys.into_iter().chain(users).chain(sets).chain(clients)
}

impl Opened<'_> {
    fn login(&self, spec: &Arc<Oidc>) -> Login {
        let (provider, secret) =
            (self.provider(&spec.provider.issuer), self.client_secret(&spec.client_secret));
        Login::new(spec.clone(), provider, secret, self.consumers.book().clone())
    }

    fn provider(&self, issuer: &Arc<str>) -> Arc<Held<Provider>> {
        let place = Place::Provider(issuer.clone());
        if let Some(known) = self.store.known(&place, Source::provider) {
            return known;
        }
        let held = Held::new();
        let source = self.store.add(Source::new(place, Sink::Provider(Arc::downgrade(&held))));
        source.cached_for().set(PROVIDER_CACHED_FOR);
        drop(tokio::spawn(fetch::keep_fresh(source, self.store.documents.clone())));
        held
    }

    fn client_secret(&self, file: &Path) -> Arc<Held<ClientSecret>> {
        let place = Place::ClientSecret(file.to_owned());
        if let Some(known) = self.store.known(&place, Source::client_secret) {
            return known;
        }
        let held = Held::new();
        self.store.add(Source::new(place, Sink::ClientSecret(Arc::downgrade(&held)))).read();
        held
    }
}

impl Sources for Opened<'_> {
    /// One for each document: the same name may be another consumer in the next.
    fn keys(&self, file: &Path) -> Arc<Held<KeyTable>> {
        let (place, book) = (Place::Keys(file.to_owned()), self.consumers.book());
        if let Some(known) = self.store.known(&place, |source| source.keys_of(book)) {
            return known;
        }
        let before = self.store.known(&place, |source| Some(source.about()));
        let held = Held::new();
        let sink = Sink::Keys { held: Arc::downgrade(&held), book: book.clone() };
        let source = self.store.add(Source::new(place, sink));
        source.read();
        if let Some(before) = before {
            source.succeed(before);
        }
        held
    }

    fn users(&self, file: &Path) -> Arc<Held<Users>> {
        let place = Place::Users(file.to_owned());
        if let Some(known) = self.store.known(&place, Source::users) {
            return known;
        }
        let held = Held::new();
        self.store.add(Source::new(place, Sink::Users(Arc::downgrade(&held)))).read();
        held
    }

    fn key_set(&self, source: &KeySetSource) -> Arc<Held<KeySet>> {
        let place = Place::of_key_set(source);
        let known = self.store.known(&place, |source| Some((source.key_set()?, source.cached_for())));
        let (held, cached_for) = match known {
            Some(known) => known,
            None => {
                let held = Held::new();
                let source = self.store.add(Source::new(place, Sink::KeySet(Arc::downgrade(&held))));
                match source.place() {
                    Place::KeySetUrl(_) => {
                        drop(tokio::spawn(fetch::keep_fresh(source.clone(), self.store.documents.clone())))
                    }
                    _ => source.read(),
                }
                (held, source.cached_for())
            }
        };
        if let KeySetSource::Url { url, cache_duration } = source {
            let mut cached = self.cached.lock();
            let shortest = cached.entry(url.clone()).or_insert(*cache_duration);
            *shortest = (*shortest).min(*cache_duration);
            cached_for.set(*shortest);
        }
        held
    }
}

#[cfg(test)]
mod tests {
    use penstock_config::NoProfileCheck;

    use super::*;

    #[test]
    fn files_that_cannot_be_used_are_told_with_their_policies_and_without_what_they_say() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).display().to_string();
        std::fs::write(path("keys"), "search sk-hush\n").unwrap();
        std::fs::write(path("set"), "{\"keys\": []}").unwrap();
        let document = json!({
            "apiVersion": "penstock.dev/v1alpha1", "kind": "RoutingConfig",
            "listeners": [{"name": "a", "address": "127.0.0.1:0", "policies": ["p"]}],
            "policies": [{"name": "p", "authentication": {
                "apiKey": {"file": path("keys")}, "basic": {"file": path("none")},
                "jwt": {"providers": [
                    {"name": "here", "keysFile": path("set")},
                    {"name": "there", "keysUrl": "http://127.0.0.1:9/keys"},
                    {"name": "gone", "keysFile": path("none")},
                ]},
            }}],
        });
        let snapshot = Snapshot::compile(&document.to_string(), &NoProfileCheck).unwrap();
        let faults = check_files(&snapshot);
        let places: Vec<&str> = faults.iter().map(|(place, _)| place.as_str()).collect();
        assert_eq!(places, ["policies[0] (api_key)", "policies[0] (basic)", "policies[0] (jwt gone)"]);
        let message = faults[0].1.to_string();
        assert!(message.contains("keys: line 1") && !message.contains("hush"), "{message}");
    }
}
