//! Everything that shall be there for one Gateway, made anew from a translation, or in part when only endpoints changed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use penstock_translate::{
    DataSource, EndpointSource, Endpoints, GatewayOutput, HostSource, Options, endpoints,
    world::{Key, Kind, World},
};
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::{
    Routing, RoutingError, Shard,
    document::Additions,
    shard::{ShardError, shards_for},
};
use crate::{
    cluster::Changes,
    manifest::{Manifest, Names, OwnedKey, OwnedKind, Owner},
    provision::{self, DataPlane, Settings},
    watch::Owned,
};

/// What is to be written for one Gateway, in this order.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The Gateway.
    pub gateway: Key,
    /// Names of its objects.
    pub names: Names,
    /// Each step after the one before it: nothing refers to what comes later.
    pub steps: Vec<Vec<Arc<Manifest>>>,
    /// The generation of the routing document.
    pub generation: u64,
    /// Whether the Deployment and the Service are part of it; else they are left as they are.
    pub has_workload: bool,
    /// When the first change arrived that this follows from.
    pub since: Option<Instant>,
}

/// What a [`Plan`] is made of.
#[derive(Debug, Clone)]
pub struct Pieces {
    owner: Owner,
    upstreams: BTreeMap<String, Upstream>,
    data: Vec<Arc<Manifest>>,
    access: Vec<Arc<Manifest>>,
    routing: Arc<Routing>,
    workload: Vec<Arc<Manifest>>,
}

/// The endpoints of one pool or backend.
#[derive(Debug, Clone)]
struct Upstream {
    source: EndpointSource,
    /// The Pods among them, to know which upstreams a Pod that changes concerns.
    pods: BTreeSet<String>,
    shards: Vec<Arc<Manifest>>,
}

/// Why a Gateway cannot be published.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// Its document.
    #[error(transparent)]
    Routing(#[from] RoutingError),
    /// Its endpoints.
    #[error(transparent)]
    Shard(#[from] ShardError),
}

/// What all Gateways' pieces are made from.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The cluster.
    pub world: &'a World,
    /// How it is translated.
    pub options: &'a Options,
    /// What holds for all data planes.
    pub data_plane: &'a DataPlane,
    /// What is there already.
    pub owned: &'a Owned,
}

impl Pieces {
    /// All pieces of a Gateway.
    ///
    /// # Errors
    /// Something in it cannot be written.
    pub fn new(context: Context<'_>, gateway: &Key, output: &GatewayOutput) -> Result<Self, PlanError> {
        let owner = owner(context.world, gateway, output);
        let there = context.owned.of_gateway(&gateway.namespace, &owner.names.label);
        let mut upstreams = BTreeMap::new();
        for (name, source) in &output.endpoints {
            let current = (0..).take_while(|shard| {
                let name = owner.names.endpoints(name, *shard);
                there.contains(&OwnedKey {
                    kind: OwnedKind::ConfigMap,
                    namespace: gateway.namespace.clone(),
                    name,
                })
            });
            upstreams.insert(name.clone(), Upstream::new(context, &owner, name, source, current.count())?);
        }
        let settings =
            Settings { owner: &owner, data_plane: context.data_plane, provisioning: &output.provisioning };
        let endpoints_from = upstreams.iter().map(|(name, upstream)| {
            (name.clone(), upstream.shards.iter().map(|shard| shard.key.name.clone()).collect())
        });
        let additions = Additions {
            endpoints_from: endpoints_from.collect(),
            has_secrets: !output.secrets.is_empty(),
            replicas: settings.expected_replicas(),
            drain: settings.drain(),
            debug: context.data_plane.admin.debug,
        };
        let last = OwnedKey {
            kind: OwnedKind::ConfigMap,
            namespace: gateway.namespace.clone(),
            name: owner.names.routing(0),
        };
        let last = context.owned.get(&last);
        let routing = Arc::new(Routing::new(&owner, &output.document, &additions, last.as_ref())?);
        let config_maps: Vec<String> = upstreams
            .values()
            .flat_map(|upstream| upstream.shards.iter().map(|shard| shard.key.name.clone()))
            // One part more than there is: a document that grows is readable at once.
            .chain((0..=routing.manifests.len()).map(|part| owner.names.routing(part)))
            .collect();
        let mut access = settings.access();
        access.push(provision::role(&owner, &config_maps));
        let secrets = (!output.secrets.is_empty()).then(|| secret(context.world, &owner, &output.secrets));
        Ok(Self {
            data: secrets.into_iter().map(Arc::new).collect(),
            access: access.into_iter().map(Arc::new).collect(),
            workload: settings.workload().into_iter().map(Arc::new).collect(),
            owner,
            upstreams,
            routing,
        })
    }

    /// Makes the endpoints anew that `changes` concern. `Some(true)` if anything came out differently; `None` if that
    /// takes more than new shards.
    ///
    /// # Errors
    /// Something in them cannot be written.
    pub fn refresh(&mut self, context: Context<'_>, changes: &Changes) -> Result<Option<bool>, PlanError> {
        let mut is_changed = false;
        for (name, upstream) in &mut self.upstreams {
            if !upstream.is_concerned(context.world, changes) {
                continue;
            }
            let fresh = Upstream::new(context, &self.owner, name, &upstream.source, upstream.shards.len())?;
            if fresh.shards.len() != upstream.shards.len() {
                return Ok(None);
            }
            is_changed |= fresh.shards != upstream.shards;
            *upstream = fresh;
        }
        Ok(Some(is_changed))
    }

    /// The generation of the routing document.
    pub fn generation(&self) -> u64 {
        self.routing.generation
    }

    /// The plan. `since` is when the first change arrived that it follows from.
    pub fn plan(&self, since: Option<Instant>) -> Plan {
        // The API server lets nobody bind a role that it does not know yet, unless they may bind any.
        let (bindings, access): (Vec<_>, Vec<_>) =
            self.access.iter().cloned().partition(|manifest| manifest.key.kind == OwnedKind::RoleBinding);
        let endpoints = self.upstreams.values().flat_map(|upstream| upstream.shards.iter().cloned());
        Plan {
            gateway: self.owner.gateway.clone(),
            names: self.owner.names.clone(),
            steps: vec![
                access,
                bindings.into_iter().chain(self.data.iter().cloned()).chain(endpoints).collect(),
                self.routing.manifests.iter().cloned().map(Arc::new).collect(),
                self.workload.clone(),
            ],
            generation: self.routing.generation,
            has_workload: !self.workload.is_empty(),
            since,
        }
    }
}

impl Plan {
    /// The names of all that is to be there.
    pub fn keys(&self) -> BTreeSet<OwnedKey> {
        self.steps.iter().flatten().map(|manifest| manifest.key.clone()).collect()
    }

    /// Whether an object stays although it is not part of the plan: what runs, while it is not known how it shall run.
    pub fn leaves(&self, key: &OwnedKey) -> bool {
        use OwnedKind::{Deployment, HorizontalPodAutoscaler, NetworkPolicy, PodDisruptionBudget, Service};
        let workload = [Deployment, HorizontalPodAutoscaler, NetworkPolicy, PodDisruptionBudget, Service];
        !self.has_workload && workload.contains(&key.kind)
    }
}

impl Upstream {
    fn new(
        context: Context<'_>,
        owner: &Owner,
        name: &str,
        source: &EndpointSource,
        current: usize,
    ) -> Result<Self, ShardError> {
        let found = endpoints(context.world, source, context.options);
        let pods = match &found {
            Endpoints::Pool(endpoints) => {
                endpoints.iter().filter_map(|endpoint| endpoint.name.clone()).collect()
            }
            Endpoints::Backend(_) => BTreeSet::new(),
        };
        let shards = Shard::split(name, &found, shards_for(found.len(), current))?;
        let shards = shards.into_iter().enumerate().map(|(index, shard)| {
            let body = json!({ "data": { "endpoints.yaml": shard.text } });
            let name = owner.names.endpoints(name, index);
            Arc::new(Manifest::new(owner, OwnedKind::ConfigMap, &name, &[], &[], body))
        });
        Ok(Self { source: source.clone(), pods, shards: shards.collect() })
    }

    /// Whether its endpoints may come out differently.
    fn is_concerned(&self, world: &World, changes: &Changes) -> bool {
        changes.objects.iter().any(|id| match (&self.source, id.kind) {
            (EndpointSource::Pool(pool), Kind::Pod) if pool.namespace == id.key.namespace => {
                self.pods.contains(&id.key.to_string()) || is_selected(world, pool, &id.key)
            }
            (EndpointSource::Hosts(hosts), Kind::EndpointSlice) => hosts.iter().any(|host| match host {
                HostSource::Service { service, .. } => service.namespace == id.key.namespace,
                HostSource::Host { .. } => false,
            }),
            _ => false,
        })
    }
}

/// Whether a Pod is one of a pool's, ready or not.
fn is_selected(world: &World, pool: &Key, pod: &Key) -> bool {
    let pool = world.pools.get(pool).and_then(|pool| pool.spec.as_ref().ok());
    let (Some(pool), Some(pod)) = (pool, world.pods.get(pod)) else { return false };
    pool.selector.match_labels.iter().all(|(name, value)| pod.meta.labels.get(name) == Some(value))
}

fn owner(world: &World, gateway: &Key, output: &GatewayOutput) -> Owner {
    let meta = world.gateways.get(gateway).map(|gateway| &gateway.meta);
    Owner {
        gateway: gateway.clone(),
        uid: meta.map(|meta| meta.uid.clone()).unwrap_or_default(),
        api_version: meta.map(|meta| meta.api_version.clone()).unwrap_or_default(),
        names: Names::of(gateway),
        labels: output.provisioning.labels.clone(),
        annotations: output.provisioning.annotations.clone(),
    }
}

/// The Secret with everything that the document names as `secret:KEY`. What is missing is left out: the data plane
/// refuses what needs it, and a status says so already.
fn secret(world: &World, owner: &Owner, sources: &BTreeMap<String, DataSource>) -> Manifest {
    let mut data = Map::new();
    for (key, source) in sources {
        if let Some(value) = source.value(world) {
            data.insert(key.clone(), Value::String(STANDARD.encode(value)));
        }
    }
    let body = json!({ "type": "Opaque", "data": data });
    Manifest::new(owner, OwnedKind::Secret, &owner.names.secrets(), &[], &[], body)
}
