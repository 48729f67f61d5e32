//! What requests are forwarded to.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::{Credential, HashBy, PolicyIndex};
use crate::settings::{
    ApiSchema, Balancing, CircuitBreaker, ConnectionSpec, EjectionSpec, Encoding, Engine, FailureRuns,
    HealthCheckSpec, MetricsSpec, SaturationSpec, ServedApi, UpstreamProtocol,
};

/// A group of model servers that serve the same models, among which the picker chooses.
#[derive(Debug, Clone, PartialEq)]
pub struct PoolSpec {
    /// Its name, unique among pools.
    pub name: Arc<str>,
    /// Its model servers; may be empty. Addresses are unique in a pool.
    pub endpoints: Vec<EndpointSpec>,
    /// Where more of them are listed: see [`Endpoints`](crate::Endpoints). Which engine those have that name none is
    /// `engine`.
    pub endpoints_from: Vec<Arc<str>>,
    /// The engine of endpoints that name none.
    pub engine: Engine,
    /// How they are spoken to.
    pub protocol: UpstreamProtocol,
    /// TLS towards them; `None` is plain.
    pub tls: Option<UpstreamTls>,
    /// The API that they serve; `None` passes requests and responses as they are.
    pub api: Option<ApiSpec>,
    /// What is shown to them to be let in.
    pub credential: Option<Credential>,
    /// How compressed requests reach them.
    pub request_encoding: Encoding,
    /// How their responses may be compressed.
    pub response_encoding: Encoding,
    /// Connections to them.
    pub connection: ConnectionSpec,
    /// Reading their load.
    pub metrics: MetricsSpec,
    /// The `EndpointPickerConfig` as written, approved by the [`ProfileCheck`](crate::ProfileCheck). `None` is the
    /// default profile.
    pub picker: Option<serde_json::Value>,
    /// What happens when all of them are full.
    pub saturation: SaturationSpec,
    /// When one of them is left out for a while.
    pub ejection: EjectionSpec,
    /// Priorities that requests can ask for by name.
    pub objectives: Vec<Objective>,
    /// What models are called here; the first that names a model is used.
    pub model_rewrites: Vec<ModelRewrite>,
    /// Limits of what is asked of it: policies that have nothing else.
    pub policies: Box<[PolicyIndex]>,
}

/// New names for models (`InferenceModelRewrite`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelRewrite {
    /// The models that are renamed. Empty is every model.
    pub models: Vec<Arc<str>>,
    /// What they become, each with its share of the requests. Never empty.
    pub targets: Vec<(Arc<str>, NonZeroU32)>,
}

/// The API that an upstream serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiSpec {
    /// The API.
    pub schema: ApiSchema,
    /// What stands before its paths in place of `v1`, without slashes at its ends; `None` is `v1`.
    pub prefix: Option<Box<str>>,
    /// Its version; `None` is the schema's own.
    pub version: Option<Box<str>>,
    /// The Google Cloud project; there if the schema is one of Vertex AI.
    pub project: Option<Box<str>>,
    /// What it serves itself beside chat completions, if the schema is one of OpenAI's API.
    pub serves: Vec<ServedApi>,
    /// The region; there if the schema is one of Vertex AI.
    pub region: Option<Box<str>>,
}

impl PoolSpec {
    /// A pool without endpoints that has every default of the document.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self {
            name: name.into(),
            endpoints: Vec::new(),
            endpoints_from: Vec::new(),
            engine: Engine::default(),
            protocol: UpstreamProtocol::default(),
            tls: None,
            api: None,
            credential: None,
            request_encoding: Encoding::Identity,
            response_encoding: Encoding::Identity,
            connection: ConnectionSpec::default(),
            metrics: MetricsSpec::default(),
            picker: None,
            saturation: SaturationSpec::default(),
            ejection: EjectionSpec::default(),
            objectives: Vec::new(),
            model_rewrites: Vec::new(),
            policies: Box::default(),
        }
    }
}

impl ModelRewrite {
    /// The new name for `model` by the first of `rewrites` that names it; `r` is uniformly random. `None`: it keeps its
    /// name.
    pub fn choose<'a>(rewrites: &'a [Self], model: &str, r: u64) -> Option<&'a Arc<str>> {
        let is_for =
            |rewrite: &&Self| rewrite.models.is_empty() || rewrite.models.iter().any(|of| **of == *model);
        let rewrite = rewrites.iter().find(is_for)?;
        let total: u64 = rewrite.targets.iter().map(|(_, weight)| u64::from(weight.get())).sum();
        let mut rest = r.checked_rem(total)?;
        rewrite.targets.iter().find_map(|(name, weight)| {
            let share = u64::from(weight.get());
            let is_hit = rest < share;
            rest = rest.saturating_sub(share);
            is_hit.then_some(name)
        })
    }
}

/// One model server of a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointSpec {
    /// Where it serves.
    pub address: SocketAddr,
    /// What people call it, such as `namespace/pod`; the address if the document gives none.
    pub name: Arc<str>,
    /// The engine, which decides the names of its metrics.
    pub engine: Engine,
    /// Where its metrics page is.
    pub metrics_address: SocketAddr,
    /// Labels that filters select by.
    pub labels: BTreeMap<Arc<str>, Arc<str>>,
}

/// TLS towards an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamTls {
    /// The name asked for and verified; without one, the endpoint's DNS name, or its IP address.
    pub sni: Option<Arc<str>>,
    /// A PEM file of authorities that are trusted instead of the system's.
    pub ca: Option<PathBuf>,
    /// The certificate by which the gateway shows who it is.
    pub client_certificate: Option<ClientCertificate>,
    /// Whether the upstream's certificate is verified.
    pub is_verified: bool,
}

/// Where a client certificate lies. This crate does not open the files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// A PEM file: the certificate, then its chain.
    pub certificate: PathBuf,
    /// A PEM file: the private key.
    pub private_key: PathBuf,
}

/// A priority with a name (`InferenceObjective`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Objective {
    /// What requests name in `x-llm-d-inference-objective` or `x-gateway-inference-objective`.
    pub name: Arc<str>,
    /// Higher is served first; below zero is shed first.
    pub priority: i32,
}

/// A plain upstream: a service, or a hosted API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackendSpec {
    /// Its name, unique among backends.
    pub name: Arc<str>,
    /// Where it serves. At least one, unless `endpoints_from` names lists.
    pub endpoints: Vec<BackendEndpoint>,
    /// Where more of them are listed: see [`Endpoints`](crate::Endpoints).
    pub endpoints_from: Vec<Arc<str>>,
    /// How it is spoken to.
    pub protocol: UpstreamProtocol,
    /// TLS towards it; `None` is plain.
    pub tls: Option<UpstreamTls>,
    /// The API that it serves; `None` passes requests and responses as they are.
    pub api: Option<ApiSpec>,
    /// What is shown to it to be let in.
    pub credential: Option<Credential>,
    /// How requests are spread over its endpoints.
    pub balancing: Balancing,
    /// Which requests go to the same endpoint, in place of `balancing`.
    pub hash_by: Option<HashBy>,
    /// How often DNS names are resolved again.
    pub resolve_interval: Duration,
    /// Active health checks; `None` is none.
    pub health_check: Option<HealthCheckSpec>,
    /// How compressed requests reach it.
    pub request_encoding: Encoding,
    /// How its responses may be compressed.
    pub response_encoding: Encoding,
    /// Connections to it.
    pub connection: ConnectionSpec,
    /// When an endpoint is left out for a while.
    pub ejection: EjectionSpec,
    /// Runs of failures that eject an endpoint too.
    pub failure_runs: Option<FailureRuns>,
    /// The share of its endpoints, in percent, below which it does not matter whether they are well.
    pub panic_percent: u32,
    /// How much may be under way there at one time.
    pub circuit_breaker: Option<CircuitBreaker>,
    /// Limits of what is asked of it: policies that have nothing else.
    pub policies: Box<[PolicyIndex]>,
}

impl BackendSpec {
    /// A backend without endpoints that has every default of the document.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self {
            name: name.into(),
            endpoints: Vec::new(),
            endpoints_from: Vec::new(),
            protocol: UpstreamProtocol::default(),
            tls: None,
            api: None,
            credential: None,
            balancing: Balancing::default(),
            hash_by: None,
            resolve_interval: Duration::from_secs(30),
            health_check: None,
            request_encoding: Encoding::Any,
            response_encoding: Encoding::Identity,
            connection: ConnectionSpec::default(),
            ejection: EjectionSpec::default(),
            failure_runs: None,
            panic_percent: 0,
            circuit_breaker: None,
            policies: Box::default(),
        }
    }
}

/// One address of a backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackendEndpoint {
    /// The host.
    pub host: BackendHost,
    /// The port.
    pub port: u16,
    /// Its share of the requests.
    pub weight: NonZeroU32,
}

/// A backend's host.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum BackendHost {
    /// An IP address.
    Ip(IpAddr),
    /// A DNS name, which may stand for several addresses.
    Dns(Arc<str>),
}
