//! What outlives every configuration, and how a configuration is put on it.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use penstock_config::{
    BackendIndex, Fault, PolicyIndex, PoolIndex, PoolSpec, Snapshot, Upstream as UpstreamAt,
};
use penstock_credentials::{Environment, Fetcher, Keeper};
use penstock_picker::{Picker, Shows};

use super::certificates::Certificates;
use super::cooldowns::KnownCooldowns;
use crate::balance::{Balancer, Balancers};
use crate::body::BodyMemory;
use crate::count::Count;
use crate::decode::Decoders;
use crate::keys::KeyStore;
use crate::leases::SharedLimits;
use crate::lists::Lists;
use crate::meter::{Meter, Quota};
use crate::metrics::{self, Conventions, Metrics, UpstreamKind, UpstreamName};
use crate::policy::Extension;
use crate::provider;
use crate::runtime::{self, Runtime};
use crate::upstreams::{Chooser, Upstream};

/// What lives as long as the process, whatever the configuration.
pub(super) struct Core {
    pub(super) picker: Arc<Picker>,
    pub(super) balancers: Arc<Balancers>,
    keeper: Keeper,
    pub(super) keys: KeyStore,
    pub(super) meter: Arc<Meter>,
    pub(super) shared_limits: SharedLimits,
    pub(super) metrics: Arc<Metrics>,
    pub(super) in_flight: Arc<Count>,
    pub(super) connections: Arc<Count>,
    pub(super) memory: Arc<BodyMemory>,
    pub(super) decoders: Arc<Decoders>,
    pub(super) draining: Arc<AtomicBool>,
    /// Whether another process has the listening sockets too.
    pub(super) is_shared: Arc<AtomicBool>,
    extension: Arc<dyn Extension>,
    hash_seed: u64,
    cooldowns: KnownCooldowns,
}

/// Adds nothing.
struct NoExtension;

impl Extension for NoExtension {}

impl Core {
    /// Nothing yet; bodies are decoded on `decoders` threads at most.
    pub(super) fn new(metrics: Arc<Metrics>, extension: Option<Arc<dyn Extension>>, decoders: usize) -> Self {
        let meter = Arc::new(Meter::new());
        Self {
            picker: Picker::new(),
            balancers: Balancers::new(),
            keeper: Keeper::new(Arc::new(Fetcher::new(Environment::of_process()))),
            keys: KeyStore::new(),
            shared_limits: SharedLimits::new(&meter, &metrics),
            meter,
            metrics,
            in_flight: Arc::default(),
            connections: Arc::default(),
            memory: Arc::default(),
            decoders: Arc::new(Decoders::new(decoders)),
            draining: Arc::default(),
            is_shared: Arc::default(),
            extension: extension.unwrap_or_else(|| Arc::new(NoExtension)),
            hash_seed: crate::random::next_u64(),
            cooldowns: KnownCooldowns::default(),
        }
    }

    /// Loads what `snapshot` names, and makes its pools and backends the ones there are.
    pub(super) fn build(
        &self,
        snapshot: &Arc<Snapshot>,
        certificates: &mut Certificates,
        lists: &mut Lists,
    ) -> Result<Runtime, Vec<Fault>> {
        let next = certificates.load(snapshot, Some(&self.keeper))?;
        let pools: Vec<_> = snapshot.pools.iter().map(|spec| lists.pool(spec, snapshot.replicas)).collect();
        let shown = |pool: &PoolSpec| next.pool_credential(&pool.name).map(|own| own as Arc<dyn Shows>);
        self.picker
            .apply_with(&pools, shown)
            .map_err(|error| vec![Fault::new("pools", error.to_string())])?;
        let backends: Vec<_> = snapshot.backends.iter().map(|spec| lists.backend(spec)).collect();
        let balancers =
            self.balancers.apply(&backends, |spec| (next.backend(spec), next.backend_credential(&spec.name)));
        *certificates = next;
        self.meter.prices().apply(snapshot);
        let quotas = self.meter.quotas(snapshot);
        let upstreams = self.upstreams(snapshot, balancers, certificates, &quotas);
        let policies = self.keys.policies(snapshot, &quotas, &self.metrics);
        let (extension, hash_seed) = (&*self.extension, self.hash_seed);
        let (metrics, meter) = (&self.metrics, &self.meter);
        let asked = (&*policies, certificates.rule_credentials());
        Ok(Runtime::new(snapshot.clone(), upstreams, asked, extension, hash_seed, metrics, meter))
    }

    /// Pools, then backends, each in the snapshot's order.
    fn upstreams(
        &self,
        snapshot: &Snapshot,
        balancers: Vec<Arc<Balancer>>,
        certificates: &Certificates,
        quotas: &[Option<Arc<Quota>>],
    ) -> Vec<Upstream> {
        let quotas =
            |of: &[PolicyIndex]| of.iter().filter_map(|index| quotas[index.0].clone()).collect::<Box<[_]>>();
        let models = runtime::models_by_upstream(snapshot);
        self.cooldowns.retain(snapshot);
        let conventions = Conventions::of(&snapshot.telemetry.gen_ai_metrics);
        let metrics = |kind, name: &str, provider, index| {
            let models = models.get(&index).into_iter().flatten().copied();
            self.metrics.upstream(UpstreamName { kind, name, provider, conventions }, models)
        };
        let pools = snapshot.pools.iter().enumerate().map(|(at, spec)| {
            let (kind, index) = (UpstreamKind::Pool, UpstreamAt::Pool(PoolIndex(at)));
            let pool = self.picker.pool(&spec.name).expect("the picker was given the snapshot's pools");
            Upstream {
                kind,
                name: spec.name.clone(),
                chooser: Chooser::Pool { pool, spec: spec.clone() },
                peers: certificates.pool_peers(spec),
                credential: certificates.pool_credential(&spec.name),
                codec: provider::codec(spec.api.as_ref(), kind)
                    .or_else(|| self.extension.codec(kind, &spec.name)),
                hash_by: None,
                request_encoding: spec.request_encoding,
                response_encoding: spec.response_encoding,
                cooldowns: self.cooldowns.of_pool(&spec.name),
                quotas: quotas(&spec.policies),
                metrics: metrics(kind, &spec.name, metrics::of_pool(spec), index),
            }
        });
        let backends = snapshot.backends.iter().zip(balancers).enumerate().map(|(at, (spec, balancer))| {
            let (kind, index) = (UpstreamKind::Backend, UpstreamAt::Backend(BackendIndex(at)));
            Upstream {
                kind,
                name: spec.name.clone(),
                chooser: Chooser::Balancer(balancer),
                peers: certificates.backend_peers(spec),
                credential: certificates.backend_credential(&spec.name),
                codec: provider::codec(spec.api.as_ref(), kind)
                    .or_else(|| self.extension.codec(kind, &spec.name)),
                hash_by: spec.hash_by.clone(),
                request_encoding: spec.request_encoding,
                response_encoding: spec.response_encoding,
                cooldowns: self.cooldowns.of_backend(spec),
                quotas: quotas(&spec.policies),
                metrics: metrics(kind, &spec.name, metrics::of_backend(spec), index),
            }
        });
        pools.chain(backends).collect()
    }
}
