//! Metrics of credentials that are fetched.

use std::sync::Arc;

use penstock_credentials::State;
use prometheus::Registry;

use super::family::Family;
use super::register::{counters, gauges, unix_now};
use super::value::{Counter, Gauge};

/// How credentials that are fetched are kept fresh.
#[derive(Debug)]
pub(super) struct CredentialMetrics {
    available: Family<Gauge>,
    expiry: Family<Gauge>,
    fetches: Family<Counter>,
}

/// A credential that is kept fresh for a pool or backend. Those that share one have each its counts.
#[derive(Debug)]
pub(crate) struct CredentialKept {
    /// What uses it: `pool` or `backend`.
    pub(crate) owner_kind: &'static str,
    /// That one's name.
    pub(crate) owner: Arc<str>,
    /// How it is.
    pub(crate) state: State,
}

impl CredentialMetrics {
    pub(super) fn register(registry: &Registry) -> Self {
        let owner = &["owner_kind", "owner"];
        Self {
            available: gauges(
                registry,
                "penstock_credential_available",
                "1 if the credential that is fetched for a pool or backend is there and valid, 0 if not.",
                owner,
            ),
            expiry: gauges(
                registry,
                "penstock_credential_expiry_seconds",
                "When the credential that was fetched for a pool or backend expires, in Unix time.",
                owner,
            ),
            fetches: counters(
                registry,
                "penstock_credential_fetches_total",
                "Fetches of the credential for a pool or backend, by what became of them.",
                &["owner_kind", "owner", "outcome"],
            ),
        }
    }

    /// Makes these the credentials that are exposed.
    pub(super) fn replace(&self, kept: &[CredentialKept]) {
        self.available.replace(
            kept.iter().map(|of| (vec![of.owner_kind, &*of.owner], Gauge::of(of.state.is_available.into()))),
        );
        self.expiry.replace(kept.iter().filter_map(|of| {
            let expiry = unix_now().saturating_add_unsigned(of.state.expires_in?.as_secs());
            Some((vec![of.owner_kind, &*of.owner], Gauge::of(expiry)))
        }));
        self.fetches.replace(kept.iter().flat_map(|of| {
            let series = |outcome, count| (vec![of.owner_kind, &*of.owner, outcome], Counter::of(count));
            [series("fetched", of.state.fetched), series("failed", of.state.failed)]
        }));
    }
}
