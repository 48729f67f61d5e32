//! The contract of Penstock: the routing document as people and the operator write it, and the validated, compiled
//! [`Snapshot`] that the proxy runs on. Nothing here does I/O.

mod fault;
mod knob;
pub mod raw;
mod settings;
mod snapshot;

pub use fault::{Fault, Faults, NoProfileCheck, ProfileCheck};
pub use knob::{Address, Knob, QuantityError, Size, Span, Timeout};
pub use settings::{
    AccessLog, AdminSpec, ConnectionSpec, EjectionSpec, HealthCheckSpec, Limits, MetricsSpec, PeekSpec,
    QueueSpec, ShutdownSpec, Timeouts,
};
pub use snapshot::{
    Action, BackendEndpoint, BackendHost, BackendIndex, BackendSpec, Balancing, CertificateFiles,
    ClientCertificate, EndpointSpec, Engine, HeaderEdits, HostPattern, Listener, ListenerIndex, ListenerTls,
    Lookup, Matched, ModelEntry, Objective, PathRewrite, PoolIndex, PoolSpec, Redirect, RedirectTarget,
    RequestModel, RetryPolicy, Rewrite, RouteRequest, Rule, SaturationAction, SaturationSpec, Snapshot,
    StatusSet, Target, Tier, Upstream, UpstreamProtocol, UpstreamTls,
};
