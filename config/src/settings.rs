//! The groups of knobs, each declared once for the raw document and for the snapshot.

mod choice;
mod process;
mod traffic;
mod upstream;

pub use choice::{
    ApiSchema, Balancing, DebugAccess, Encoding, Engine, HeadersWithUnderscores, Provider, SaturationAction,
    ServedApi, StreamUsage, TargetHeaders, Untranslatable, UpstreamProtocol,
};
pub use process::{
    AccessLog, AdminSpec, Limits, PeekSpec, RawAccessLog, RawAdmin, RawLimits, RawPeek, RawShutdown,
    ShutdownSpec,
};
pub use traffic::{RawRetry, RawTimeouts, RetryPolicy, StatusSet, Statuses, Timeouts};
pub use upstream::{
    ConnectionSpec, EjectionSpec, HealthCheckSpec, MetricsSpec, QueueSpec, RawConnection, RawEjection,
    RawHealthCheck, RawMetrics, RawQueue, RawSaturation, SaturationSpec,
};
