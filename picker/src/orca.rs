//! Reads load reports (ORCA) that an engine attaches to its responses.

use tokio::time::Instant;

use crate::endpoint::LoadSample;

/// Parses the value of the response header `endpoint-load-metrics`.
pub(crate) fn parse(_value: &[u8], _at: Instant) -> Option<LoadSample> {
    None
}
