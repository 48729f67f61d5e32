//! The running gateway: listeners, the configuration in force, and the way it ends.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use penstock_config::{Fault, Snapshot};
use penstock_picker::Picker;
use penstock_sources::Applier;
use penstock_wire::Connections;
use pingora_core::apps::HttpServerOptions;
use pingora_core::server::configuration::ServerConf;
use pingora_proxy::HttpProxy;
use rustc_hash::FxHashSet;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use crate::access_log::AccessLog;
use crate::balance::Balancers;
use crate::decode::Decoders;
use crate::gateway::{Gateway, Shared};
use crate::handover::{Handed, Inherited};
use crate::listen::Listening;
use crate::lists::{self, Lists};
use crate::metrics::{Configured, Conventions, Metrics};
use crate::mirror::Mirrors;
use crate::policy::Extension;
use crate::quota;
use crate::runtime::Live;

pub(crate) mod certificates;
mod cooldowns;
mod core;
mod exported;
mod listeners;

use self::core::Core;
use certificates::Certificates;
use exported::Exported;
use listeners::{Bound, Listeners};

/// How often idle connections to upstreams are looked at.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// How long connections that have nothing in flight may take to close, at the end of a drain: what was written is on its
/// way, and their ends are told.
const CLOSING_TIME: Duration = Duration::from_secs(1);

/// A gateway that serves.
pub struct Server {
    live: Arc<Live>,
    core: Core,
    shared: Arc<Shared>,
    /// Pingora's part of it, which has one knob that matters here: how it shards what wakes idle connections at the end.
    proxy_conf: Arc<ServerConf>,
    listeners: Mutex<Listeners>,
    certificates: Mutex<Certificates>,
    tracker: TaskTracker,
    exported: Mutex<Exported>,
    lists: Arc<Mutex<Lists>>,
}

/// How a drain ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// Every request in flight was finished.
    Completely,
    /// The deadline came first; this many requests were cut off.
    Cut(usize),
}

impl Server {
    /// Binds the listeners of `snapshot` and serves it. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// What only shows when files are opened and addresses bound, with paths in the document.
    pub fn start(
        snapshot: &Arc<Snapshot>,
        metrics: Arc<Metrics>,
        access_log: AccessLog,
    ) -> Result<Arc<Self>, Vec<Fault>> {
        Self::start_with(snapshot, metrics, access_log, Arc::default(), None, &Inherited::default())
    }

    /// As [`Self::start`], with what an embedder adds to each configuration.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_extended(
        snapshot: &Arc<Snapshot>,
        metrics: Arc<Metrics>,
        access_log: AccessLog,
        extension: Arc<dyn Extension>,
    ) -> Result<Arc<Self>, Vec<Fault>> {
        let inherited = Inherited::default();
        Self::start_with(snapshot, metrics, access_log, Arc::default(), Some(extension), &inherited)
    }

    /// As [`Self::start`], with lists of endpoints that are known already, and sockets that another process listens on.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub(crate) fn start_with(
        snapshot: &Arc<Snapshot>,
        metrics: Arc<Metrics>,
        access_log: AccessLog,
        lists: Arc<Mutex<Lists>>,
        extension: Option<Arc<dyn Extension>>,
        inherited: &Inherited,
    ) -> Result<Arc<Self>, Vec<Fault>> {
        let core = Core::new(metrics, extension, proxy_threads());
        let mut certificates = Certificates::default();
        let live =
            Arc::new(Live::from_pointee(core.build(snapshot, &mut certificates, &mut lists.lock())?));
        let connections = Arc::new(Connections::new(snapshot.limits.idle_upstream_connections as usize));
        let shared = Arc::new(Shared {
            live: live.clone(),
            in_flight: core.in_flight.clone(),
            requests: TaskTracker::new(),
            memory: core.memory.clone(),
            decoders: core.decoders.clone(),
            draining: core.draining.clone(),
            access_log,
            connections: connections.clone(),
            mirrors: Mirrors::default(),
        });
        tokio::spawn(sweep(
            Arc::downgrade(&connections),
            Arc::downgrade(&core.picker),
            Arc::downgrade(&core.balancers),
        ));
        tokio::spawn(quota::sweep(Arc::downgrade(&core.meter)));
        let server = Self {
            live,
            core,
            shared,
            proxy_conf: Arc::new(ServerConf { threads: proxy_threads(), ..ServerConf::default() }),
            listeners: Mutex::new(Listeners::new()),
            certificates: Mutex::new(certificates),
            tracker: TaskTracker::new(),
            exported: Mutex::default(),
            lists,
        };
        let bound = server.listeners.lock().bind_missing(snapshot, inherited)?;
        server.core.shared_limits.apply(snapshot);
        server.listen(snapshot, bound);
        Ok(Arc::new(server))
    }

    /// The addresses that are listened on, by listener, with the ports that the system chose. None while draining.
    pub fn addresses(&self) -> Vec<(Arc<str>, SocketAddr)> {
        self.listeners.lock().addresses()
    }

    /// The sockets that are listened on, for a process that takes this one's place.
    ///
    /// # Errors
    /// The system has no file descriptor left.
    pub(crate) fn handed(&self) -> std::io::Result<Vec<Handed>> {
        self.listeners.lock().handed()
    }

    /// Set while another process has the listening sockets too: they are left as they are then.
    pub(crate) fn is_shared(&self) -> &Arc<AtomicBool> {
        &self.core.is_shared
    }

    /// What decodes bodies that are compressed.
    pub(crate) fn decoders(&self) -> &Arc<Decoders> {
        &self.core.decoders
    }

    /// The configuration in force.
    pub(crate) fn live(&self) -> &Arc<Live> {
        &self.live
    }

    /// The document in force, compiled.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.live.load().snapshot().clone()
    }

    /// The pools, with the state of their endpoints.
    pub fn picker(&self) -> &Arc<Picker> {
        &self.core.picker
    }

    /// The backends, with the state of their endpoints.
    pub fn balancers(&self) -> &Arc<Balancers> {
        &self.core.balancers
    }

    /// The process's metrics.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.core.metrics
    }

    /// Brings gauges up to date that are read from elsewhere. To be called before metrics are encoded.
    pub fn observe(&self) {
        let gateway = &self.core.metrics.gateway;
        gateway.requests_in_flight.set(i64::try_from(self.in_flight()).unwrap_or(i64::MAX));
        gateway.bodies_in_flight_bytes.set(i64::try_from(self.body_bytes()).unwrap_or(i64::MAX));
        gateway.lists_faulty.set(i64::try_from(self.lists.lock().faulty()).unwrap_or(i64::MAX));
        let live = self.live.load();
        let certificates = self.certificates.lock();
        gateway.certificates(&certificates.in_force(live.snapshot().secrets.as_ref()));
        gateway.credentials(&certificates.kept());
        drop(certificates);
        gateway.keys(&self.core.keys.in_use(live.snapshot()));
        let meter = &self.core.meter;
        self.core.metrics.limits.observe(meter.counters(), meter.prices().error().is_some());
        self.exported.lock().update(&live);
    }

    /// What is known of lists of endpoints, for people.
    pub fn lists_report(&self) -> serde_json::Value {
        self.lists.lock().report()
    }

    /// What is known of the keys, users and key sets that policies go by, for people.
    pub(crate) fn keys_report(&self) -> serde_json::Value {
        self.core.keys.report(self.live.load().snapshot())
    }

    /// Requests that are being served.
    pub fn in_flight(&self) -> usize {
        self.core.in_flight.count()
    }

    /// Bytes of request bodies that are held.
    pub fn body_bytes(&self) -> usize {
        self.core.memory.held()
    }

    /// Whether the gateway is shutting down.
    pub fn is_draining(&self) -> bool {
        self.core.draining.load(Ordering::Relaxed)
    }

    /// Stops accepting, lets what is in flight finish, and returns as soon as that is done, whoever is connected, or
    /// `deadline` has passed. HTTP/1.1 answers say `connection: close` from now on, HTTP/2 connections get a GOAWAY.
    pub async fn drain(&self, deadline: Duration) -> Drained {
        self.core.draining.store(true, Ordering::Relaxed);
        self.listeners.lock().stop_all();
        let (connections, requests) = (&self.tracker, &self.shared.requests);
        connections.close();
        requests.close();
        let all_closed = async {
            connections.wait().await;
            requests.wait().await;
        };
        let linger = self.live.load().snapshot().shutdown.linger;
        let nothing_in_flight = async {
            tokio::time::sleep(linger).await;
            requests.wait().await;
            let _open = tokio::time::timeout(CLOSING_TIME, connections.wait()).await;
        };
        let over = async {
            tokio::select! {
                () = all_closed => {}
                () = nothing_in_flight => {}
            }
        };
        let ended = tokio::time::timeout(deadline, over).await;
        self.core.shared_limits.drain().await;
        match ended {
            Ok(()) => Drained::Completely,
            Err(_elapsed) => match self.in_flight() {
                0 => Drained::Completely,
                requests => Drained::Cut(requests),
            },
        }
    }

    /// Drops the series of routes, upstreams and models that are no longer configured.
    fn forget_metrics_of_others(&self, snapshot: &Snapshot) {
        let rules = snapshot.rules();
        let routes: FxHashSet<&str> = rules.iter().map(|rule| &*rule.route).collect();
        let models: FxHashSet<&str> =
            rules.iter().flat_map(|rule| &rule.models).map(|model| &**model).collect();
        let pools = snapshot.pools.iter().map(|pool| &*pool.name);
        let upstreams: FxHashSet<&str> = pools.chain(snapshot.backends.iter().map(|of| &*of.name)).collect();
        let policies: FxHashSet<&str> = snapshot.policies.iter().map(|policy| &*policy.name).collect();
        let limited = snapshot.policies.iter().filter(|policy| !policy.limits.is_empty());
        let limited = limited.map(|policy| &*policy.name).collect();
        let tiers = rules.iter().flat_map(|rule| rule.tiers());
        let overrides =
            tiers.flat_map(|tier| &tier.targets).filter_map(|target| target.model_override.as_deref());
        let renamed = snapshot.pools.iter().flat_map(|pool| &pool.model_rewrites);
        let renamed = renamed.flat_map(|rewrite| &rewrite.targets).map(|(name, _)| &**name);
        self.core.metrics.retain(Configured {
            routes: &routes,
            upstreams: &upstreams,
            models: &models,
            policies: &policies,
            limited: &limited,
            targets: &overrides.chain(renamed).collect(),
            conventions: Conventions::of(&snapshot.telemetry.gen_ai_metrics),
        });
    }

    fn listen(&self, snapshot: &Snapshot, bound: Bound) {
        let listening = |name: &Arc<str>| Listening {
            name: name.clone(),
            proxy: self.proxy(name),
            live: self.live.clone(),
            open: self.core.connections.clone(),
            tls: None,
            tracker: self.tracker.clone(),
            shutdown: watch::channel(false).1,
            is_shared: self.core.is_shared.clone(),
        };
        let certificates = self.certificates.lock();
        self.listeners.lock().switch_to(snapshot, bound, &certificates, listening);
    }

    /// Pingora's proxy around the gateway behind a listener.
    fn proxy(&self, listener: &Arc<str>) -> Arc<HttpProxy<Gateway>> {
        let gateway = Gateway::new(self.shared.clone(), listener.clone());
        let mut proxy = pingora_proxy::http_proxy(&self.proxy_conf, gateway);
        let mut options = HttpServerOptions::default();
        // Tunnels are refused, but in the gateway's own words.
        options.allow_connect_method_proxying = true;
        proxy.server_options = Some(options);
        Arc::new(proxy)
    }
}

/// How many threads serve requests, as far as Pingora has to know.
fn proxy_threads() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

impl Applier for Server {
    fn apply(&self, snapshot: &Arc<Snapshot>) -> Result<(), Vec<Fault>> {
        // New addresses are bound before anything changes: one that is taken refuses the whole document.
        let bound = self.listeners.lock().bind_missing(snapshot, &Inherited::default())?;
        let mut certificates = self.certificates.lock();
        let mut lists = self.lists.lock();
        let runtime = self.core.build(snapshot, &mut certificates, &mut lists)?;
        lists.retain(snapshot);
        self.live.store(Arc::new(runtime));
        drop((certificates, lists));
        self.core.shared_limits.apply(snapshot);
        self.listen(snapshot, bound);
        self.forget_metrics_of_others(snapshot);
        self.core.metrics.gateway.reload_applied(snapshot.generation.unwrap_or(0));
        Ok(())
    }

    fn refused(&self) {
        self.core.metrics.gateway.reload_refused();
    }

    fn set_list(&self, reference: &str, text: Option<&str>) {
        let mut lists = self.lists.lock();
        let snapshot = self.live.load().snapshot().clone();
        if !lists.set(reference, text) {
            return;
        }
        for pool in snapshot.pools.iter().filter(|pool| lists::names(&pool.endpoints_from, reference)) {
            let whole = lists.pool(pool, snapshot.replicas);
            self.core.picker.set_endpoints(&pool.name, &whole.endpoints);
        }
        for backend in snapshot.backends.iter().filter(|of| lists::names(&of.endpoints_from, reference)) {
            self.core.balancers.set_endpoints(&lists.backend(backend));
        }
    }

    fn files(&self) -> Vec<PathBuf> {
        let mut files = self.certificates.lock().files();
        files.extend(self.core.keys.files());
        files.extend(self.core.meter.prices().file());
        files
    }

    fn reload_files(&self) {
        self.certificates.lock().reload();
        self.core.keys.reload();
        self.core.meter.prices().reload();
    }
}

/// Closes, again and again, the idle connections to upstreams that are dead, too old, or to endpoints that are gone.
async fn sweep(connections: Weak<Connections>, picker: Weak<Picker>, balancers: Weak<Balancers>) {
    loop {
        tokio::time::sleep(SWEEP_INTERVAL).await;
        let (Some(connections), Some(picker), Some(balancers)) =
            (connections.upgrade(), picker.upgrade(), balancers.upgrade())
        else {
            return;
        };
        if connections.idle_count() == 0 {
            continue;
        }
        let pools = picker.pools();
        let endpoints = pools.iter().flat_map(|pool| pool.endpoints());
        let endpoints: FxHashSet<u64> = endpoints.map(|endpoint| endpoint.id().get()).collect();
        let addresses = balancers.addresses();
        connections.sweep(|key| match key.generation {
            0 => addresses.contains(&key.address),
            generation => endpoints.contains(&generation),
        });
    }
}
