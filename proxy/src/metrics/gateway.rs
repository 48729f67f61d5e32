//! Metrics of the gateway as a whole: load, limits, reloads, the access log, the build.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use penstock_sources::cluster::WatchMetrics;
use prometheus::Registry;

use super::{
    family::Family,
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
    reloads_applied: Arc<Counter>,
    reloads_refused: Arc<Counter>,
    certificates: Family<Gauge>,
    config_is_current: Arc<Gauge>,
    config_generation: Arc<Gauge>,
    config_applied_at: Arc<Gauge>,
    /// Lists of endpoints whose last state was refused.
    pub lists_faulty: Arc<Gauge>,
    /// What became of copies of requests.
    pub mirrors: MirrorMetrics,
    /// How following a cluster goes.
    pub cluster: ClusterMetrics,
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

impl ClusterMetrics {
    fn register(registry: &Registry) -> Self {
        let gauge = |name, help| Family::register(registry, name, help, &[], Gauge::default).get(&[]);
        let errors = "penstock_kubernetes_watch_errors_total";
        Self {
            watches: gauge("penstock_kubernetes_watches", "Objects of the cluster that are watched."),
            failing: gauge(
                "penstock_kubernetes_watches_failing",
                "Objects of the cluster whose watch does not work now.",
            ),
            errors: Family::register(registry, errors, "Watches that failed.", &[], Counter::default)
                .get(&[]),
        }
    }
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
        let counter = |name, help, labels| Family::register(registry, name, help, labels, Counter::default);
        let gauge = |name, help, labels| Family::register(registry, name, help, labels, Gauge::default);

        gauge("penstock_build_info", "Always 1; the labels tell the build.", &["version"])
            .get(&[env!("CARGO_PKG_VERSION")])
            .set(1);
        gauge("penstock_start_time_seconds", "When the gateway started, in Unix time.", &[])
            .get(&[])
            .set(unix_now());

        let limits = counter(
            "penstock_limit_hits_total",
            "How often a limit was hit, by its path in the configuration; those of the admin listener are fixed.",
            &["limit"],
        );
        let entries = counter(
            "penstock_access_log_entries_total",
            "Access log entries, by what became of them.",
            &["outcome"],
        );
        let mirrors = counter(
            "penstock_mirrored_requests_total",
            "Copies of requests for mirrors, by what became of them.",
            &["outcome"],
        );
        let reloads = counter(
            "penstock_config_reloads_total",
            "Routing documents offered, by what became of them.",
            &["outcome"],
        );
        Self {
            requests_in_flight: gauge("penstock_requests_in_flight", "Requests being served.", &[]).get(&[]),
            bodies_in_flight_bytes: gauge(
                "penstock_bodies_in_flight_bytes",
                "Bytes of request bodies held.",
                &[],
            )
            .get(&[]),
            access_log: AccessLogMetrics {
                written: entries.get(&["written"]),
                queue_full: entries.get(&["queue_full"]),
                write_failed: entries.get(&["write_failed"]),
            },
            connections: gauge(
                "penstock_connections_open",
                "Open client connections, by listener.",
                &["listener"],
            ),
            connections_accepted: counter(
                "penstock_connections_accepted_total",
                "Client connections accepted, by listener.",
                &["listener"],
            ),
            limits: Limit::ALL.map(|limit| limits.get(&[limit.name()])),
            reloads_applied: reloads.get(&["applied"]),
            reloads_refused: reloads.get(&["refused"]),
            certificates: gauge(
                "penstock_tls_certificate_not_after_seconds",
                "When a certificate in force expires, in Unix time: of listeners, and of pools and backends that are shown \
                 one.",
                &["owner_kind", "owner", "file"],
            ),
            config_is_current: gauge(
                "penstock_config_is_current",
                "1 if the last routing document offered is the one that runs, 0 if it was refused.",
                &[],
            )
            .get(&[]),
            config_generation: gauge(
                "penstock_config_generation",
                "The generation of the routing document that runs.",
                &[],
            )
            .get(&[]),
            config_applied_at: gauge(
                "penstock_config_applied_timestamp_seconds",
                "When the routing document that runs was applied, in Unix time.",
                &[],
            )
            .get(&[]),
            lists_faulty: gauge(
                "penstock_endpoint_lists_faulty",
                "Lists of endpoints whose last state was refused; the one before stays.",
                &[],
            )
            .get(&[]),
            mirrors: MirrorMetrics {
                sent: mirrors.get(&["sent"]),
                failed: mirrors.get(&["failed"]),
                dropped: mirrors.get(&["dropped"]),
            },
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

    /// Counts a limit that was hit without ending a request, such as an idle connection's.
    pub(crate) fn limit_hit(&self, limit: Limit) {
        self.limits[limit as usize].increment();
    }

    /// Records that a routing document took effect. `generation` is its own number, zero where it has none.
    pub fn reload_applied(&self, generation: u64) {
        self.reloads_applied.increment();
        self.config_is_current.set(1);
        self.config_generation.set(i64::try_from(generation).unwrap_or(i64::MAX));
        self.config_applied_at.set(unix_now());
    }

    /// Records that a routing document was refused and the running one stays.
    pub fn reload_refused(&self) {
        self.reloads_refused.increment();
        self.config_is_current.set(0);
    }
}

impl ListenerMetrics {
    /// Counts a connection as open until the guard is dropped.
    pub fn accepted(&self) -> GaugeGuard {
        self.accepted.increment();
        self.open.hold(1)
    }
}

fn unix_now() -> i64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(elapsed.as_secs()).unwrap_or(i64::MAX)
}
