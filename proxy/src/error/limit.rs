//! The limits that a request can hit, each under the name that it has in the routing document.

/// A limit. Its name in errors and metrics is its path in the routing document, where it can be set there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Limit {
    /// `limits.headerBytes`
    HeaderBytes,
    /// `limits.headerCount`
    HeaderCount,
    /// `limits.headerTimeout`
    HeaderTimeout,
    /// `limits.keepAliveTimeout`
    KeepAliveTimeout,
    /// `limits.bodyBytes`
    BodyBytes,
    /// `routes[].rules[].bodyBytes`
    RuleBodyBytes,
    /// `limits.decodedBodyBytes`
    DecodedBodyBytes,
    /// `limits.decodedBodyRatio`
    DecodedBodyRatio,
    /// `limits.decodeTimeout`
    DecodeTimeout,
    /// `limits.bodyIdleTimeout`
    BodyIdleTimeout,
    /// `limits.bodyTimeout`
    BodyTimeout,
    /// `peek.maxDepth`
    BodyDepth,
    /// `limits.bodiesInFlightBytes`
    BodiesInFlightBytes,
    /// `limits.concurrentRequests`
    ConcurrentRequests,
    /// `limits.connections`
    Connections,
    /// `limits.http2ControlFrames`
    Http2ControlFrames,
    /// `limits.hops`
    Hops,
    /// `limits.writeTimeout`
    WriteTimeout,
    /// `limits.modelBytes`
    ModelBytes,
    /// `limits.drainBytes`
    DrainBytes,
    /// `limits.mirroredRequests`
    MirroredRequests,
    /// `timeouts.request`
    RequestTimeout,
    /// `timeouts.perTry`
    PerTryTimeout,
    /// `timeouts.streamIdle`
    StreamIdleTimeout,
    /// `retry.attempts`
    RetryAttempts,
    /// `retry.budgetPercent`
    RetryBudget,
    /// `connection.connectTimeout`
    ConnectTimeout,
    /// `saturation.queue.maxRequests` and `saturation.queue.maxBytes`
    Queue,
    /// `saturation.queue.timeout`
    QueueTimeout,
    /// `policies[].external.body.maxBytes`
    CheckBodyBytes,
    /// Of the admin listener, as the three that follow: constants, in `admin/bounds.rs`.
    AdminConnections,
    /// How long it waits for a head or a body.
    AdminTimeout,
    /// The largest request that it explains.
    AdminBodyBytes,
    /// How many it explains at one time.
    AdminPicks,
}

impl Limit {
    /// Every limit, in the order of its discriminant.
    pub(crate) const ALL: [Self; 34] = [
        Self::HeaderBytes,
        Self::HeaderCount,
        Self::HeaderTimeout,
        Self::KeepAliveTimeout,
        Self::BodyBytes,
        Self::RuleBodyBytes,
        Self::DecodedBodyBytes,
        Self::DecodedBodyRatio,
        Self::DecodeTimeout,
        Self::BodyIdleTimeout,
        Self::BodyTimeout,
        Self::BodyDepth,
        Self::BodiesInFlightBytes,
        Self::ConcurrentRequests,
        Self::Connections,
        Self::Http2ControlFrames,
        Self::Hops,
        Self::WriteTimeout,
        Self::ModelBytes,
        Self::DrainBytes,
        Self::MirroredRequests,
        Self::RequestTimeout,
        Self::PerTryTimeout,
        Self::StreamIdleTimeout,
        Self::RetryAttempts,
        Self::RetryBudget,
        Self::ConnectTimeout,
        Self::Queue,
        Self::QueueTimeout,
        Self::CheckBodyBytes,
        Self::AdminConnections,
        Self::AdminTimeout,
        Self::AdminBodyBytes,
        Self::AdminPicks,
    ];

    /// The limit's path in the routing document, or what would be it, as errors and the metric's `limit` label spell it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::HeaderBytes => "limits.headerBytes",
            Self::HeaderCount => "limits.headerCount",
            Self::HeaderTimeout => "limits.headerTimeout",
            Self::KeepAliveTimeout => "limits.keepAliveTimeout",
            Self::BodyBytes => "limits.bodyBytes",
            Self::RuleBodyBytes => "rules.bodyBytes",
            Self::DecodedBodyBytes => "limits.decodedBodyBytes",
            Self::DecodedBodyRatio => "limits.decodedBodyRatio",
            Self::DecodeTimeout => "limits.decodeTimeout",
            Self::BodyIdleTimeout => "limits.bodyIdleTimeout",
            Self::BodyTimeout => "limits.bodyTimeout",
            Self::BodyDepth => "peek.maxDepth",
            Self::BodiesInFlightBytes => "limits.bodiesInFlightBytes",
            Self::ConcurrentRequests => "limits.concurrentRequests",
            Self::Connections => "limits.connections",
            Self::Http2ControlFrames => "limits.http2ControlFrames",
            Self::Hops => "limits.hops",
            Self::WriteTimeout => "limits.writeTimeout",
            Self::ModelBytes => "limits.modelBytes",
            Self::DrainBytes => "limits.drainBytes",
            Self::MirroredRequests => "limits.mirroredRequests",
            Self::RequestTimeout => "timeouts.request",
            Self::PerTryTimeout => "timeouts.perTry",
            Self::StreamIdleTimeout => "timeouts.streamIdle",
            Self::RetryAttempts => "retry.attempts",
            Self::RetryBudget => "retry.budgetPercent",
            Self::ConnectTimeout => "connection.connectTimeout",
            Self::Queue => "saturation.queue",
            Self::QueueTimeout => "saturation.queue.timeout",
            Self::CheckBodyBytes => "external.body.maxBytes",
            Self::AdminConnections => "admin.connections",
            Self::AdminTimeout => "admin.timeout",
            Self::AdminBodyBytes => "admin.bodyBytes",
            Self::AdminPicks => "admin.picks",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::Limit;

    #[test]
    fn every_limit_stands_at_its_index_under_a_name_of_its_own() {
        for (index, limit) in Limit::ALL.into_iter().enumerate() {
            assert_eq!(limit as usize, index);
        }
        assert_eq!(Limit::ALL.iter().map(|l| l.name()).collect::<HashSet<_>>().len(), Limit::ALL.len());
    }
}
