//! What requests are forwarded to.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::settings::{
    Balancing, ConnectionSpec, EjectionSpec, Engine, HealthCheckSpec, MetricsSpec, SaturationSpec,
    UpstreamProtocol,
};

/// A group of model servers that serve the same models, among which the picker chooses.
#[derive(Debug, Clone, PartialEq)]
pub struct PoolSpec {
    /// Its name, unique among pools.
    pub name: Arc<str>,
    /// Its model servers; may be empty. Addresses are unique in a pool.
    pub endpoints: Vec<EndpointSpec>,
    /// How they are spoken to.
    pub protocol: UpstreamProtocol,
    /// TLS towards them; `None` is plain.
    pub tls: Option<UpstreamTls>,
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
    /// Where it serves. At least one.
    pub endpoints: Vec<BackendEndpoint>,
    /// How it is spoken to.
    pub protocol: UpstreamProtocol,
    /// TLS towards it; `None` is plain.
    pub tls: Option<UpstreamTls>,
    /// How requests are spread over its endpoints.
    pub balancing: Balancing,
    /// How often DNS names are resolved again.
    pub resolve_interval: Duration,
    /// Active health checks; `None` is none.
    pub health_check: Option<HealthCheckSpec>,
    /// Connections to it.
    pub connection: ConnectionSpec,
    /// When an endpoint is left out for a while.
    pub ejection: EjectionSpec,
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BackendHost {
    /// An IP address.
    Ip(IpAddr),
    /// A DNS name, which may stand for several addresses.
    Dns(Arc<str>),
}
