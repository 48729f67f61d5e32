//! Metrics of the gateway as a whole: load, limits, reloads, the access log, the build.

use std::sync::Arc;

use penstock_sources::cluster::WatchMetrics;
use prometheus::Registry;

use super::{
    credentials::{CredentialKept, CredentialMetrics},
    family::Family,
    keys::{KeyMetrics, KeysInUse},
    register::{counters, gauge, gauges, unix_now},
    value::{Counter, Gauge, GaugeGuard},
};
use crate::error::Limit;

/// Metrics that belong to no route and no upstream.
#[derive(Debug)]
pub struct GatewayMetrics {
    /// Requests between their head and their settlement.
    pub requests_in_flight: Arc<Gauge>,
    /// Bytes of request bodies held in memory.
    pub bodies_in_flight_bytes: Arc<Gauge>,
    /// What became of the access log's entries.
    pub access_log: AccessLogMetrics,
    connections: Family<Gauge>,
    connections_accepted: Family<Counter>,
    limits: [Arc<Counter>; Limit::ALL.len()],
    reloads: ReloadMetrics,
    certificates: Family<Gauge>,
    credentials: CredentialMetrics,
    keys: KeyMetrics,
    /// Lists of endpoints whose last state was refused.
    pub lists_faulty: Arc<Gauge>,
    /// What became of copies of requests.
    pub mirrors: MirrorMetrics,
    /// How following a cluster goes.
    pub cluster: ClusterMetrics,
}

/// What became of routing documents.
#[derive(Debug)]
struct ReloadMetrics {
    applied: Arc<Counter>,
    refused: Arc<Counter>,
    is_current: Arc<Gauge>,
    generation: Arc<Gauge>,
    applied_at: Arc<Gauge>,
}

/// What became of copies of requests for mirrors.
#[derive(Clone, Debug)]
pub struct MirrorMetrics {
    /// Copies that were answered, however.
    pub sent: Arc<Counter>,
    /// Copies that found no answer.
    pub failed: Arc<Counter>,
    /// Copies that were not sent, for want of room or of an endpoint.
    pub dropped: Arc<Counter>,
}

/// How following the objects of a cluster goes.
#[derive(Clone, Debug, Default)]
pub struct ClusterMetrics {
    /// Objects that are watched.
    pub watches: Arc<Gauge>,
    /// Objects whose watch does not work now.
    pub failing: Arc<Gauge>,
    /// Watches that failed.
    pub errors: Arc<Counter>,
}

/// A certificate that is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CertificateInForce {
    /// What uses it: `listener`, `pool` or `backend`.
    pub(crate) owner_kind: &'static str,
    /// That one's name.
    pub(crate) owner: Arc<str>,
    /// Its file, or the key of the Secret that it is in.
    pub(crate) file: String,
    /// When it expires, in seconds since 1970.
    pub(crate) not_after: i64,
}

/// What became of the access log's entries.
#[derive(Clone, Debug, Default)]
pub struct AccessLogMetrics {
    /// Entries written.
    pub written: Arc<Counter>,
    /// Entries lost because the writer fell behind.
    pub queue_full: Arc<Counter>,
    /// Entries lost because the file or pipe refused them.
    pub write_failed: Arc<Counter>,
}

/// A listener's connections.
#[derive(Clone, Debug)]
pub struct ListenerMetrics {
    open: Arc<Gauge>,
    accepted: Arc<Counter>,
}

impl WatchMetrics for ClusterMetrics {
    fn set_watched(&self, objects: usize, failing: usize) {
        self.watches.set(i64::try_from(objects).unwrap_or(i64::MAX));
        self.failing.set(i64::try_from(failing).unwrap_or(i64::MAX));
    }

    fn add_error(&self) {
        self.errors.increment();
    }
}

impl GatewayMetrics {
    pub(super) fn register(registry: &Registry) -> Self {
        gauges(registry, "penstock_build_info", "Always 1; the labels tell the build.", &["version"])
            .get(&[env!("CARGO_PKG_VERSION")])
            .set(1);
        gauge(registry, "penstock_start_time_seconds", "When the gateway started, in Unix time.")
            .set(unix_now());
        let limits = counters(
            registry,
            "penstock_limit_hits_total",
            "How often a limit was hit, by its path in the configuration; those of the admin listener are fixed.",
            &["limit"],
        );
        Self {
            requests_in_flight: gauge(registry, "penstock_requests_in_flight", "Requests being served."),
            bodies_in_flight_bytes: gauge(
                registry,
                "penstock_bodies_in_flight_bytes",
                "Bytes of request bodies held.",
            ),
            access_log: AccessLogMetrics::register(registry),
            connections: gauges(
                registry,
                "penstock_connections_open",
                "Open client connections, by listener.",
                &["listener"],
            ),
            connections_accepted: counters(
                registry,
                "penstock_connections_accepted_total",
                "Client connections accepted, by listener.",
                &["listener"],
            ),
            limits: Limit::ALL.map(|limit| limits.get(&[limit.name()])),
            reloads: ReloadMetrics::register(registry),
            certificates: gauges(
                registry,
                "penstock_tls_certificate_not_after_seconds",
                "When a certificate in force expires, in Unix time: of listeners, and of pools and backends that are shown \
                 one.",
                &["owner_kind", "owner", "file"],
            ),
            credentials: CredentialMetrics::register(registry),
            keys: KeyMetrics::register(registry),
            lists_faulty: gauge(
                registry,
                "penstock_endpoint_lists_faulty",
                "Lists of endpoints whose last state was refused; the one before stays.",
            ),
            mirrors: MirrorMetrics::register(registry),
            cluster: ClusterMetrics::register(registry),
        }
    }

    /// Counts a request as in flight until the guard is dropped.
    pub fn request_started(&self) -> GaugeGuard {
        self.requests_in_flight.hold(1)
    }

    /// The handle for a listener, to be kept with it.
    pub fn listener(&self, name: &str) -> ListenerMetrics {
        ListenerMetrics {
            open: self.connections.get(&[name]),
            accepted: self.connections_accepted.get(&[name]),
        }
    }

    /// Makes these the certificates that are exposed.
    pub(crate) fn certificates(&self, in_force: &[CertificateInForce]) {
        self.certificates.replace(
            in_force
                .iter()
                .map(|of| (vec![of.owner_kind, &*of.owner, of.file.as_str()], Gauge::of(of.not_after))),
        );
    }

    /// Makes these the credentials that are exposed.
    pub(crate) fn credentials(&self, kept: &[CredentialKept]) {
        self.credentials.replace(kept);
    }

    /// Makes these the keys, users and key sets that are exposed.
    pub(crate) fn keys(&self, in_use: &[KeysInUse]) {
        self.keys.replace(in_use);
    }

    /// Counts a limit that was hit without ending a request, such as an idle connection's.
    pub(crate) fn limit_hit(&self, limit: Limit) {
        self.limits[limit as usize].increment();
    }

    /// Records that a routing document took effect. `generation` is its own number, zero where it has none.
    pub fn reload_applied(&self, generation: u64) {
        self.reloads.applied.increment();
        self.reloads.is_current.set(1);
        self.reloads.generation.set(i64::try_from(generation).unwrap_or(i64::MAX));
        self.reloads.applied_at.set(unix_now());
    }

    /// Records that a routing document was refused and the running one stays.
    pub fn reload_refused(&self) {
        self.reloads.refused.increment();
        self.reloads.is_current.set(0);
    }
}

impl ListenerMetrics {
    /// Counts a connection as open until the guard is dropped.
    pub fn accepted(&self) -> GaugeGuard {
        self.accepted.increment();
        self.open.hold(1)
    }
}

impl ReloadMetrics {
    fn register(registry: &Registry) -> Self {
        let outcomes = counters(
            registry,
            "penstock_config_reloads_total",
            "Routing documents offered, by what became of them.",
            &["outcome"],
        );
        Self {
            applied: outcomes.get(&["applied"]),
            refused: outcomes.get(&["refused"]),
            is_current: gauge(
                registry,
                "penstock_config_is_current",
                "1 if the last routing document offered is the one that runs, 0 if it was refused.",
            ),
            generation: gauge(
                registry,
                "penstock_config_generation",
                "The generation of the routing document that runs.",
            ),
            applied_at: gauge(
                registry,
                "penstock_config_applied_timestamp_seconds",
                "When the routing document that runs was applied, in Unix time.",
            ),
        }
    }
}

impl AccessLogMetrics {
    fn register(registry: &Registry) -> Self {
        let outcomes = counters(
            registry,
            "penstock_access_log_entries_total",
            "Access log entries, by what became of them.",
            &["outcome"],
        );
        Self {
            written: outcomes.get(&["written"]),
            queue_full: outcomes.get(&["queue_full"]),
            write_failed: outcomes.get(&["write_failed"]),
        }
    }
}

impl MirrorMetrics {
    fn register(registry: &Registry) -> Self {
        let outcomes = counters(
            registry,
            "penstock_mirrored_requests_total",
            "Copies of requests for mirrors, by what became of them.",
            &["outcome"],
        );
        Self {
            sent: outcomes.get(&["sent"]),
            failed: outcomes.get(&["failed"]),
            dropped: outcomes.get(&["dropped"]),
        }
    }
}

impl ClusterMetrics {
    fn register(registry: &Registry) -> Self {
        let errors = "penstock_kubernetes_watch_errors_total";
        Self {
            watches: gauge(
                registry,
                "penstock_kubernetes_watches",
                "Objects of the cluster that are watched.",
            ),
            failing: gauge(
                registry,
                "penstock_kubernetes_watches_failing",
                "Objects of the cluster whose watch does not work now.",
            ),
            errors: counters(registry, errors, "Watches that failed.", &[]).get(&[]),
        }
    }
}
