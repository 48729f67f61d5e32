//! The addresses of a backend: those that the document gives, and those that its names resolve to.

use std::{
    collections::{BTreeSet, HashMap},
    io,
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use parking_lot::Mutex;
use penstock_config::{BackendEndpoint, BackendHost, BackendSpec};
use pingora_load_balancing::{Backend, Extensions, discovery::ServiceDiscovery};
use rustc_hash::FxHashMap;
use tokio::sync::watch;

use super::{
    Shared,
    endpoint::{BackendAddress, Endpoint},
    weight,
};

/// How long one look-up may take before what was known is kept.
const LOOKUP_LIMIT: Duration = Duration::from_secs(5);

/// How soon a look-up that failed is tried again, if the backend's interval is not shorter.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The most addresses of one name that are used. A DNS answer over TCP can carry thousands.
const ADDRESSES_PER_NAME: usize = 256;

/// Endpoints by address.
pub(super) type Table = FxHashMap<SocketAddr, Arc<Endpoint>>;

/// Addresses by name and port.
type Answers = FxHashMap<(Arc<str>, u16), Vec<SocketAddr>>;

/// Looks names up.
#[async_trait]
pub(super) trait Resolve: Send + Sync {
    /// All addresses of a name. Empty counts as a failure.
    async fn resolve(&self, name: &str, port: u16) -> io::Result<Vec<SocketAddr>>;
}

/// The operating system's resolver: hosts file, search domains and all.
pub(super) struct SystemResolver;

#[async_trait]
impl Resolve for SystemResolver {
    async fn resolve(&self, name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        Ok(tokio::net::lookup_host((name, port)).await?.collect())
    }
}

/// The addresses of a backend.
#[derive(Debug)]
pub(super) struct Members {
    endpoints: Vec<(BackendEndpoint, BackendAddress)>,
    /// The last good answer for each name and port.
    answers: Mutex<Answers>,
    /// Why the last look-up of a name failed.
    lookup_error: Mutex<Option<String>>,
    current: ArcSwap<Current>,
}

#[derive(Debug, Default)]
struct Current {
    table: Arc<Table>,
    weighted: BTreeSet<Backend>,
}

impl Members {
    /// The addresses of `spec` as far as they are known, keeping what is known of those in `before`.
    pub(super) fn new(spec: &BackendSpec, before: Option<&Self>) -> Arc<Self> {
        let is_tls = spec.tls.is_some();
        let named = |endpoint: &BackendEndpoint| (endpoint.clone(), BackendAddress::new(endpoint, is_tls));
        let members = Self {
            endpoints: spec.endpoints.iter().map(named).collect(),
            answers: Mutex::new(before.map(|before| before.answers.lock().clone()).unwrap_or_default()),
            lookup_error: Mutex::default(),
            current: ArcSwap::default(),
        };
        members.rebuild(&before.map(Self::table).unwrap_or_default());
        Arc::new(members)
    }

    /// The endpoints that are in use now.
    pub(super) fn table(&self) -> Arc<Table> {
        self.current.load().table.clone()
    }

    pub(super) fn has_names(&self) -> bool {
        self.names().next().is_some()
    }

    pub(super) fn lookup_error(&self) -> Option<String> {
        self.lookup_error.lock().clone()
    }

    /// Whether leaving out one endpoint more keeps within `percent` of all.
    pub(super) fn may_eject_one_more(&self, percent: u32) -> bool {
        let table = self.table();
        let out = table.values().filter(|endpoint| endpoint.ejection.is_out()).count();
        (out + 1) * 100 <= table.len() * percent as usize
    }

    /// Looks all names up. Says whether every look-up succeeded; a name whose look-up failed keeps its
    /// last good addresses.
    async fn look_up(&self, backend: &str, resolver: &dyn Resolve) -> bool {
        let lookups = self.names().map(|(name, port)| async move {
            let answer = tokio::time::timeout(LOOKUP_LIMIT, resolver.resolve(name, port)).await;
            let answer = answer.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
            ((name.clone(), port), answer.and_then(usable))
        });
        let looked_up = futures::future::join_all(lookups).await;
        let mut last_error = None;
        {
            let mut answers = self.answers.lock();
            answers.retain(|known, _| looked_up.iter().any(|(asked, _)| asked == known));
            for ((name, port), answer) in looked_up {
                match answer {
                    Ok(addresses) => drop(answers.insert((name, port), addresses)),
                    Err(error) => last_error = Some(format!("{name}: {error}")),
                }
            }
        }
        self.rebuild(&self.table());
        let is_complete = last_error.is_none();
        let before = std::mem::replace(&mut *self.lookup_error.lock(), last_error.clone());
        match last_error {
            // Said once, not at every attempt.
            Some(error) if before.as_ref() != Some(&error) => {
                tracing::warn!(backend, %error, "name not resolved; its last addresses stay");
            }
            None if before.is_some() => tracing::info!(backend, "names resolved again"),
            _ => {}
        }
        is_complete
    }

    /// Makes the table from what is known, keeping the endpoints that are in `old`.
    fn rebuild(&self, old: &Table) {
        let answers = self.answers.lock();
        let addresses = self.endpoints.iter().map(|(endpoint, _)| match &endpoint.host {
            BackendHost::Ip(ip) => vec![SocketAddr::new(*ip, endpoint.port)],
            BackendHost::Dns(name) => {
                answers.get(&(name.clone(), endpoint.port)).cloned().unwrap_or_default()
            }
        });
        let addresses: Vec<Vec<SocketAddr>> = addresses.collect();
        let shares: Vec<_> = self
            .endpoints
            .iter()
            .zip(&addresses)
            .map(|((endpoint, _), addresses)| (endpoint.weight.get(), addresses.len()))
            .collect();
        let mut table = Table::default();
        let mut weighted = BTreeSet::new();
        for (((_, name), addresses), slots) in
            self.endpoints.iter().zip(addresses).zip(weight::slots(&shares))
        {
            for address in addresses {
                // Where two names share an address, the earlier in the document has it.
                if table.contains_key(&address) {
                    continue;
                }
                let endpoint = match old.get(&address) {
                    Some(known) if known.name == *name => known.clone(),
                    _ => Arc::new(Endpoint::new(address, name.clone())),
                };
                table.insert(address, endpoint);
                weighted.insert(Backend { addr: address.into(), weight: slots, ext: Extensions::new() });
            }
        }
        drop(answers);
        self.current.store(Arc::new(Current { table: Arc::new(table), weighted }));
    }

    fn names(&self) -> impl Iterator<Item = (&Arc<str>, u16)> {
        self.endpoints.iter().filter_map(|(endpoint, _)| match &endpoint.host {
            BackendHost::Dns(name) => Some((name, endpoint.port)),
            BackendHost::Ip(_) => None,
        })
    }
}

/// Hands pingora what was looked up before, and so never waits.
pub(super) struct Discovery(pub(super) Arc<Members>);

#[async_trait]
impl ServiceDiscovery for Discovery {
    async fn discover(&self) -> pingora_error::Result<(BTreeSet<Backend>, HashMap<u64, bool>)> {
        Ok((self.0.current.load().weighted.clone(), HashMap::new()))
    }
}

/// Looks the backend's names up for ever, and says when it was done once.
pub(super) async fn keep_resolving(
    shared: Arc<Shared>,
    resolver: Arc<dyn Resolve>,
    looked_up: watch::Sender<bool>,
) {
    let interval = shared.spec.resolve_interval;
    loop {
        let is_complete = shared.members.look_up(&shared.spec.name, &*resolver).await;
        shared.selection.update();
        looked_up.send_replace(true);
        tokio::time::sleep(if is_complete { interval } else { interval.min(RETRY_AFTER) }).await;
    }
}

fn usable(mut addresses: Vec<SocketAddr>) -> io::Result<Vec<SocketAddr>> {
    // Sorted, so that an answer in another order is not another answer.
    addresses.sort_unstable();
    addresses.dedup();
    addresses.truncate(ADDRESSES_PER_NAME);
    if addresses.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no addresses"));
    }
    Ok(addresses)
}
