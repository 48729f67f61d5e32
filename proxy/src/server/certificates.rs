//! The certificates and keys that a snapshot names, loaded, and which listener, pool or backend uses which.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use penstock_config::{BackendSpec, Fault, PoolSpec, Snapshot, UpstreamTls};

use crate::peers::Peers;
use crate::tls::{DownstreamTls, PemError, PemFiles, UpstreamContext};

/// Everything of TLS that was built from files.
#[derive(Default)]
pub(crate) struct Certificates {
    listeners: HashMap<Arc<str>, Arc<DownstreamTls>>,
    pools: HashMap<Arc<str>, Arc<UpstreamContext>>,
    backends: HashMap<Arc<str>, Arc<UpstreamContext>>,
}

impl Certificates {
    /// Loads what `snapshot` names; what is loaded already and still named stays.
    ///
    /// # Errors
    /// Everything that is wrong with any of the files.
    pub(crate) fn load(&self, snapshot: &Snapshot) -> Result<Self, Vec<Fault>> {
        let mut faults = Vec::new();
        let mut next = Self::default();
        for (index, listener) in snapshot.listeners.iter().enumerate() {
            let Some(tls) = &listener.tls else { continue };
            let known = self.listeners.get(&listener.name).filter(|known| known.pairs() == tls.certificates);
            let load = || DownstreamTls::load(tls.certificates.clone()).map(Arc::new);
            let loaded = known.cloned().map_or_else(load, Ok);
            keep(loaded, &listener.name, &mut next.listeners, &mut faults, || {
                format!("listeners[{index}].tls.certificates")
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
        if faults.is_empty() { Ok(next) } else { Err(faults) }
    }

    /// The certificates of a listener.
    pub(crate) fn listener(&self, name: &str) -> Option<&Arc<DownstreamTls>> {
        self.listeners.get(name)
    }

    /// TLS towards a backend.
    pub(crate) fn backend(&self, spec: &BackendSpec) -> Option<Arc<UpstreamContext>> {
        self.backends.get(&spec.name).cloned()
    }

    /// How the endpoints of each pool are connected to, in the snapshot's order.
    pub(crate) fn pool_peers(&self, snapshot: &Snapshot) -> Vec<Peers> {
        let peers = |pool: &Arc<PoolSpec>| {
            Peers::new(pool.protocol, &pool.connection, self.pools.get(&pool.name).cloned())
        };
        snapshot.pools.iter().map(peers).collect()
    }

    /// How the endpoints of each backend are connected to, in the snapshot's order.
    pub(crate) fn backend_peers(&self, snapshot: &Snapshot) -> Vec<Peers> {
        let peers = |backend: &Arc<BackendSpec>| {
            Peers::new(backend.protocol, &backend.connection, self.backend(backend))
        };
        snapshot.backends.iter().map(peers).collect()
    }

    /// All files that this was built from.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        self.all().flat_map(PemFiles::files).collect()
    }

    /// Reads all files again. A bad one leaves what was loaded from it before in force.
    pub(crate) fn reload(&self) {
        for files in self.all() {
            match files.reload() {
                Ok(false) => {}
                Ok(true) => tracing::info!(files = ?files.files(), "certificates reloaded"),
                Err(errors) => {
                    for error in errors {
                        tracing::error!(%error, "certificate refused; the one loaded before stays");
                    }
                }
            }
        }
    }

    fn all(&self) -> impl Iterator<Item = &dyn PemFiles> {
        let downstream = self.listeners.values().map(|tls| &**tls as &dyn PemFiles);
        let upstream = self.pools.values().chain(self.backends.values());
        downstream.chain(upstream.map(|tls| &**tls as &dyn PemFiles))
    }
}

fn upstream(
    spec: &UpstreamTls,
    known: Option<&Arc<UpstreamContext>>,
) -> Result<Arc<UpstreamContext>, Vec<PemError>> {
    match known.filter(|known| known.spec() == spec) {
        Some(known) => Ok(known.clone()),
        None => UpstreamContext::load(spec.clone()).map(Arc::new),
    }
}

fn keep<T>(
    loaded: Result<T, Vec<PemError>>,
    name: &Arc<str>,
    into: &mut HashMap<Arc<str>, T>,
    faults: &mut Vec<Fault>,
    path: impl Fn() -> String,
) {
    match loaded {
        Ok(loaded) => {
            into.insert(name.clone(), loaded);
        }
        Err(errors) => faults.extend(errors.iter().map(|error| Fault::new(path(), error.to_string()))),
    }
}
