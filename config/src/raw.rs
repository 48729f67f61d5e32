//! The routing document as people and the operator write it.

pub use crate::settings::{
    RawAccessLog, RawAdmin, RawConnection, RawEjection, RawHealthCheck, RawLimits, RawMetrics, RawPeek,
    RawQueue, RawShutdown, RawTimeouts,
};
