//! What is known of a backend, for `/debug/pools`.

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use penstock_config::Balancing;
use penstock_picker::LastFailure;
use serde::Serialize;
use tokio::time::Instant;

use super::Shared;

/// What is known of a backend.
#[derive(Debug, Clone, Serialize)]
pub struct BackendReport {
    /// The backend's name.
    pub name: Arc<str>,
    /// How requests are spread.
    pub balancing: Balancing,
    /// Why the last look-up of one of its names failed. Its last good addresses stay in use.
    pub lookup_error: Option<String>,
    /// Its addresses, in order.
    pub endpoints: Vec<EndpointReport>,
}

/// What is known of an address of a backend.
#[derive(Debug, Clone, Serialize)]
pub struct EndpointReport {
    /// The address.
    pub address: SocketAddr,
    /// The name that it was found by, with its port.
    pub authority: Arc<str>,
    /// Its share of the requests, relative to the other addresses'.
    pub weight: usize,
    /// Whether its health checks say that it is well; always, where there are none.
    pub is_healthy: bool,
    /// Why the last health check failed.
    pub check_error: Option<String>,
    /// Requests that are there now.
    pub in_flight: u32,
    /// Attempts since the address is known.
    pub requests: u64,
    /// How many of them failed.
    pub failures: u64,
    /// Why the last attempt that failed did so; stays after one that worked.
    pub last_failure: Option<LastFailure>,
    /// How long it is left out for failing, in milliseconds; 0 while a request is trying it out.
    pub ejected_for_ms: Option<u64>,
}

pub(super) fn of(shared: &Shared) -> BackendReport {
    let table = shared.members.table();
    let now = Instant::now();
    let endpoints = shared.selection.members().into_iter().filter_map(|(address, weight, is_healthy)| {
        let endpoint = table.get(&address)?;
        let out_until = endpoint.ejection.out_until(now);
        Some(EndpointReport {
            address,
            authority: endpoint.name.authority.clone(),
            weight,
            is_healthy,
            check_error: endpoint.check_error.lock().clone(),
            in_flight: endpoint.in_flight.load(Relaxed),
            requests: endpoint.requests.load(Relaxed),
            failures: endpoint.failures.load(Relaxed),
            last_failure: endpoint.causes.last(),
            ejected_for_ms: out_until.map(|end| end.saturating_duration_since(now).as_millis() as u64),
        })
    });
    BackendReport {
        name: shared.spec.name.clone(),
        balancing: shared.spec.balancing,
        lookup_error: shared.members.lookup_error(),
        endpoints: endpoints.collect(),
    }
}
