//! The groups of knobs, each declared once for the raw document and for the snapshot.

mod process;
mod traffic;
mod upstream;

pub use process::{
    AccessLog, AdminSpec, Limits, PeekSpec, RawAccessLog, RawAdmin, RawLimits, RawPeek, RawShutdown,
    ShutdownSpec,
};
pub use traffic::{RawTimeouts, Timeouts};
pub use upstream::{
    ConnectionSpec, EjectionSpec, HealthCheckSpec, MetricsSpec, QueueSpec, RawConnection, RawEjection,
    RawHealthCheck, RawMetrics, RawQueue,
};
