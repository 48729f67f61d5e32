//! The groups of knobs, each declared once for the raw document and for the snapshot.

mod choice;
mod circuit;
mod health;
mod process;
mod traffic;
mod upstream;

pub use choice::{
    ApiSchema, Balancing, CertificateNameKind, CertificateNameMatch, CipherSuite, ClientProof,
    ClientProtocol, DebugAccess, Encoding, Engine, EscapedSlashes, GenAiConvention, HeadersWithUnderscores,
    Provider, ProxyProtocol, RequestIds, SaturationAction, ServedApi, StreamUsage, TargetHeaders, TlsVersion,
    Untranslatable, UpstreamProtocol,
};
pub use circuit::CircuitBreaker;
pub use health::{
    FailureRuns, HealthCheckKind, HealthCheckMethod, HealthCheckSpec, HealthyStatuses, RawFailureRuns,
    RawHealthCheck,
};
pub use process::{
    AccessLog, AdminSpec, Limits, PeekSpec, RawAccessLog, RawAdmin, RawLimits, RawPeek, RawShutdown,
    RawTelemetry, ShutdownSpec, Telemetry,
};
pub use traffic::{RawRetry, RawTimeouts, RetryPolicy, StatusSet, Statuses, Timeouts};
pub use upstream::{
    ConnectionSpec, EjectionSpec, MetricsSpec, QueueSpec, RawConnection, RawEjection, RawMetrics, RawQueue,
    RawSaturation, SaturationSpec,
};
