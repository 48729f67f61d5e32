//! The certificates and keys that a snapshot names, loaded, and which listener, pool or backend uses which.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use penstock_config::{BackendSpec, Fault, ListenerTls, PoolSpec, Secrets, Snapshot, UpstreamTls};
use penstock_credentials::Keeper;
use penstock_tls::{PemErrors, PemFiles};
use penstock_wire::Peers;

use crate::credential::{Credential, CredentialError};
use crate::metrics::{CertificateInForce, CredentialKept};
use crate::peers::peers;
use crate::tls::{DownstreamTls, UpstreamContext};

/// Everything that was built from files: TLS, and the secrets that upstreams ask for.
#[derive(Default)]
pub(crate) struct Certificates {
    listeners: HashMap<Arc<str>, Arc<DownstreamTls>>,
    pools: HashMap<Arc<str>, Arc<UpstreamContext>>,
    backends: HashMap<Arc<str>, Arc<UpstreamContext>>,
    pool_credentials: HashMap<Arc<str>, Arc<Credential>>,
    backend_credentials: HashMap<Arc<str>, Arc<Credential>>,
    /// Of rules, in their order; those that show the same share it.
    rule_credentials: Vec<Option<Arc<Credential>>>,
}

impl Certificates {
    /// Loads what `snapshot` names; what is loaded already and still named stays. Credentials that have to be fetched are
    /// `keeper`'s to fetch from now on; without one, only the files for that are looked at.
    ///
    /// # Errors
    /// Everything that is wrong with any of the files.
    pub(crate) fn load(&self, snapshot: &Snapshot, keeper: Option<&Keeper>) -> Result<Self, Vec<Fault>> {
        let mut faults = missing_keys(snapshot);
        if !faults.is_empty() {
            return Err(faults);
        }
        let mut next = Self::default();
        for index in snapshot.sockets() {
            let listener = &snapshot.listeners[index.0];
            // All listeners of an address share its certificates: the handshake comes before the request's host.
            let sharing = snapshot.listeners_at(index).filter_map(|listener| listener.tls.as_ref());
            let pairs: Vec<_> = sharing.flat_map(|tls| &tls.certificates).cloned().collect();
            let Some(own) = listener.tls.as_ref().filter(|_| !pairs.is_empty()) else { continue };
            let spec = ListenerTls { certificates: pairs, ..own.clone() };
            let index = index.0;
            let known = self.listeners.get(&listener.name).filter(|known| *known.spec() == spec);
            let load = || DownstreamTls::load(spec.clone()).map(Arc::new);
            let loaded = known.cloned().map_or_else(load, Ok);
            keep(loaded, &listener.name, &mut next.listeners, &mut faults, || {
                format!("listeners[{index}].tls")
            });
        }
        for (index, pool) in snapshot.pools.iter().enumerate() {
            let Some(spec) = &pool.tls else { continue };
            let loaded = upstream(spec, self.pools.get(&pool.name));
            keep(loaded, &pool.name, &mut next.pools, &mut faults, || format!("pools[{index}].tls"));
        }
        for (index, backend) in snapshot.backends.iter().enumerate() {
            let Some(spec) = &backend.tls else { continue };
            let loaded = upstream(spec, self.backends.get(&backend.name));
            keep(loaded, &backend.name, &mut next.backends, &mut faults, || format!("backends[{index}].tls"));
        }
        for (index, pool) in snapshot.pools.iter().enumerate() {
            let known = self.pool_credentials.get(&pool.name);
            let loaded = pool.credential.as_ref().map(|spec| credential(spec, known, keeper));
            next.pool_credentials.extend(loaded.and_then(|loaded| {
                let at = || format!("pools[{index}].credential.file");
                Some((pool.name.clone(), sound(loaded, at, &mut faults)?))
            }));
        }
        for (index, of) in snapshot.backends.iter().enumerate() {
            let known = self.backend_credentials.get(&of.name);
            let loaded = of.credential.as_ref().map(|spec| credential(spec, known, keeper));
            next.backend_credentials.extend(loaded.and_then(|loaded| {
                let at = || format!("backends[{index}].credential.file");
                Some((of.name.clone(), sound(loaded, at, &mut faults)?))
            }));
        }
        next.rule_credentials = self.of_rules(snapshot, keeper, &mut faults);
        if faults.is_empty() { Ok(next) } else { Err(faults) }
    }

    fn of_rules(
        &self,
        snapshot: &Snapshot,
        keeper: Option<&Keeper>,
        faults: &mut Vec<Fault>,
    ) -> Vec<Option<Arc<Credential>>> {
        let known = self.rule_credentials.iter().flatten();
        let mut known: HashMap<_, _> = known.map(|of| (of.spec().clone(), of.clone())).collect();
        let rules = snapshot.rules().iter().map(|rule| {
            let spec = &rule.credential.as_ref()?.credential;
            if let Some(known) = known.get(spec) {
                return Some(known.clone());
            }
            let at = || format!("route {}, rule {}: credential.file", rule.route, rule.name);
            let loaded = sound(credential(spec, None, keeper), at, faults)?;
            known.insert(spec.clone(), loaded.clone());
            Some(loaded)
        });
        rules.collect()
    }

    /// The certificates of a listener.
    pub(crate) fn listener(&self, name: &str) -> Option<&Arc<DownstreamTls>> {
        self.listeners.get(name)
    }

    /// TLS towards a backend.
    pub(crate) fn backend(&self, spec: &BackendSpec) -> Option<Arc<UpstreamContext>> {
        self.backends.get(&spec.name).cloned()
    }

    /// How a pool's endpoints are connected to.
    pub(crate) fn pool_peers(&self, spec: &PoolSpec) -> Peers {
        peers(spec.protocol, &spec.connection, self.pools.get(&spec.name).cloned())
    }

    /// How a backend's endpoints are connected to.
    pub(crate) fn backend_peers(&self, spec: &BackendSpec) -> Peers {
        peers(spec.protocol, &spec.connection, self.backend(spec))
    }

    /// What is shown to a pool's endpoints.
    pub(crate) fn pool_credential(&self, name: &str) -> Option<Arc<Credential>> {
        self.pool_credentials.get(name).cloned()
    }

    /// What is shown to a backend.
    pub(crate) fn backend_credential(&self, name: &str) -> Option<Arc<Credential>> {
        self.backend_credentials.get(name).cloned()
    }

    /// What requests of rules are sent with, in the rules' order.
    pub(crate) fn rule_credentials(&self) -> &[Option<Arc<Credential>>] {
        &self.rule_credentials
    }

    /// All files that this was built from.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let secrets = self.credentials().flat_map(|of| of.spec().files()).map(Path::to_owned);
        self.all().flat_map(PemFiles::files).chain(secrets).collect()
    }

    /// The certificates in force, for the metrics.
    pub(crate) fn in_force(&self, secrets: Option<&Secrets>) -> Vec<CertificateInForce> {
        let of = |owner_kind, owner: &Arc<str>, (file, not_after): (PathBuf, i64)| {
            // The directory of a Secret's keys is another at each start.
            let key = secrets.and_then(|secrets| file.strip_prefix(&secrets.directory).ok());
            let file = match key {
                Some(key) => format!("secret:{}", key.display()),
                None => file.display().to_string(),
            };
            CertificateInForce { owner_kind, owner: owner.clone(), file, not_after }
        };
        let listeners = self.listeners.iter().flat_map(|(name, tls)| {
            tls.expiries().into_iter().map(move |expiry| of("listener", name, expiry))
        });
        let upstream = |kind, all: &HashMap<Arc<str>, Arc<UpstreamContext>>| {
            let shown = all.iter().filter_map(|(name, tls)| Some(of(kind, name, tls.expiry()?)));
            shown.collect::<Vec<_>>()
        };
        let upstreams = upstream("pool", &self.pools).into_iter().chain(upstream("backend", &self.backends));
        listeners.chain(upstreams).collect()
    }

    /// The credentials that are kept fresh, for the metrics.
    pub(crate) fn kept(&self) -> Vec<CredentialKept> {
        let of = |owner_kind, all: &HashMap<Arc<str>, Arc<Credential>>| {
            let kept = all.iter().filter_map(|(owner, credential)| {
                let state = credential.kept()?.state();
                Some(CredentialKept { owner_kind, owner: owner.clone(), state })
            });
            kept.collect::<Vec<_>>()
        };
        let mut kept = of("pool", &self.pool_credentials);
        kept.extend(of("backend", &self.backend_credentials));
        kept
    }

    /// Reads all files again. A bad one leaves what was loaded from it before in force.
    pub(crate) fn reload(&self) {
        self.reload_credentials();
        for files in self.all() {
            match files.reload() {
                Ok(false) => {}
                Ok(true) => tracing::info!(files = ?files.files(), "certificates reloaded"),
                Err(errors) => {
                    for error in errors.0 {
                        tracing::error!(%error, "certificate refused; the one loaded before stays");
                    }
                }
            }
        }
    }

    fn reload_credentials(&self) {
        for credential in self.credentials() {
            match credential.reload() {
                Ok(false) => {}
                Ok(true) => {
                    tracing::info!(files = ?credential.spec().files(), "credential reloaded")
                }
                Err(error) => tracing::error!(%error, "credential refused; the one loaded before stays"),
            }
        }
    }

    fn credentials(&self) -> impl Iterator<Item = &Arc<Credential>> {
        let of_rules = self.rule_credentials.iter().flatten();
        self.pool_credentials.values().chain(self.backend_credentials.values()).chain(of_rules)
    }

    fn all(&self) -> impl Iterator<Item = &dyn PemFiles> {
        let downstream = self.listeners.values().map(|tls| &**tls as &dyn PemFiles);
        let upstream = self.pools.values().chain(self.backends.values());
        downstream.chain(upstream.map(|tls| &**tls as &dyn PemFiles))
    }
}

/// Keys that the document names and the Secret does not have.
fn missing_keys(snapshot: &Snapshot) -> Vec<Fault> {
    /// How many of the keys that are there a message lists.
    const MAX_LISTED: usize = 20;
    let Some(secrets) = &snapshot.secrets else { return Vec::new() };
    let missing = snapshot.secret_uses.iter().filter(|used| !used.path.is_file());
    let missing = missing.map(|used| {
        let entries = std::fs::read_dir(&secrets.directory).into_iter().flatten().flatten();
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        let mut there: Vec<String> = names.filter(|name| !name.starts_with('.')).collect();
        there.sort();
        let listed = match there.len() {
            0 => "it has none, or does not exist".to_owned(),
            1..=MAX_LISTED => format!("it has {}", there.join(", ")),
            more => format!("it has {} and {} more", there[..MAX_LISTED].join(", "), more - MAX_LISTED),
        };
        Fault::new(
            used.place.clone(),
            format!("the Secret {} has no key {}; {listed}", secrets.name, used.key),
        )
    });
    missing.collect()
}

fn credential(
    spec: &penstock_config::Credential,
    known: Option<&Arc<Credential>>,
    keeper: Option<&Keeper>,
) -> Result<Arc<Credential>, CredentialError> {
    match known.filter(|known| known.spec() == spec) {
        Some(known) => Ok(known.clone()),
        None => Credential::load(spec.clone(), keeper).map(Arc::new),
    }
}

fn sound<T>(
    loaded: Result<T, CredentialError>,
    place: impl FnOnce() -> String,
    faults: &mut Vec<Fault>,
) -> Option<T> {
    loaded.map_err(|error| faults.push(Fault::new(place(), error.to_string()))).ok()
}

fn upstream(
    spec: &UpstreamTls,
    known: Option<&Arc<UpstreamContext>>,
) -> Result<Arc<UpstreamContext>, PemErrors> {
    match known.filter(|known| known.spec() == spec) {
        Some(known) => Ok(known.clone()),
        None => UpstreamContext::load(spec.clone()).map(Arc::new),
    }
}

fn keep<T>(
    loaded: Result<T, PemErrors>,
    name: &Arc<str>,
    into: &mut HashMap<Arc<str>, T>,
    faults: &mut Vec<Fault>,
    path: impl Fn() -> String,
) {
    match loaded {
        Ok(loaded) => {
            into.insert(name.clone(), loaded);
        }
        Err(errors) => faults.extend(errors.0.iter().map(|error| Fault::new(path(), error.to_string()))),
    }
}
