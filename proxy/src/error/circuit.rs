//! Bounds of circuit breakers.

/// What there may be no more of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CircuitBound {
    /// Requests.
    Requests,
    /// Requests that follow a failed attempt.
    Retries,
    /// Requests that wait for a connection.
    Pending,
    /// Connections in use at each endpoint.
    EndpointConnections,
}

impl CircuitBound {
    /// Its name in the document, and as a label.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Requests => "maxParallelRequests",
            Self::Retries => "maxParallelRetries",
            Self::Pending => "maxPendingRequests",
            Self::EndpointConnections => "maxConnectionsPerEndpoint",
        }
    }
}
