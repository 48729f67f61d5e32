//! An endpoint that was chosen for an attempt, and what its end tells of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use penstock_picker::{Failures, Outcome};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::Shared;
use super::circuit::{Circuit, Slot};
use super::ejection::{Ended, Terms};
use super::endpoint::{Admission, BackendAddress, Endpoint};

/// An endpoint that was chosen for an attempt. To be told how it ended; dropped, the client went away.
#[derive(Debug)]
pub(crate) struct Chosen {
    endpoint: Arc<Endpoint>,
    admission: Admission,
    shared: Arc<Shared>,
    /// Its place among what is under way, where that has bounds.
    slot: Option<Slot>,
    /// The status that it was answered with.
    status: Option<u16>,
    is_settled: bool,
}

impl Chosen {
    /// An endpoint that has taken a request, which has its place in `slot` where there are bounds.
    pub(super) fn new(
        endpoint: Arc<Endpoint>,
        admission: Admission,
        shared: Arc<Shared>,
        slot: Option<Slot>,
    ) -> Self {
        Self { endpoint, admission, shared, slot, status: None, is_settled: false }
    }

    /// Where to connect to.
    #[must_use]
    pub(crate) fn address(&self) -> SocketAddr {
        self.endpoint.address
    }

    /// What the endpoint is called: the name for TLS and the authority for `Host`.
    #[must_use]
    pub(crate) fn name(&self) -> &BackendAddress {
        &self.endpoint.name
    }

    /// What is under way at the backend, where that has bounds.
    pub(crate) fn circuit(&self) -> Option<&Arc<Circuit>> {
        self.slot.as_ref().map(Slot::circuit)
    }

    /// Notes the status that the attempt was answered with.
    pub(crate) fn answered(&mut self, status: u16) {
        self.status = Some(status);
    }

    /// Keeps a place at a connection until the attempt is settled.
    pub(crate) fn keep(&mut self, connection: OwnedSemaphorePermit) {
        if let Some(slot) = &mut self.slot {
            slot.keep(connection);
        }
    }

    /// Why attempts at the endpoint failed.
    pub(crate) fn failures(&self) -> &Failures {
        &self.endpoint.causes
    }

    /// Says how the attempt ended.
    pub(crate) fn finish(mut self, outcome: Outcome) {
        self.settle(outcome);
    }

    fn settle(&mut self, outcome: Outcome) {
        if std::mem::replace(&mut self.is_settled, true) {
            return;
        }
        let endpoint = &self.endpoint;
        endpoint.in_flight.fetch_sub(1, Relaxed);
        if outcome == Outcome::Failed {
            endpoint.failures.fetch_add(1, Relaxed);
        }
        let spec = &self.shared.spec.ejection;
        let may_eject = || self.shared.members.may_eject_one_more(spec.max_ejected_percent);
        let terms = Terms { ejection: spec, runs: self.shared.spec.failure_runs.as_ref() };
        let ended = Ended { outcome, status: self.status };
        let was_ejected = endpoint.ejection.settle(self.admission, ended, terms, Instant::now(), may_eject);
        if was_ejected {
            self.shared.ejections.fetch_add(1, Relaxed);
            let backend = &*self.shared.spec.name;
            tracing::warn!(backend, address = %endpoint.address, "endpoint ejected after repeated failures");
        }
    }
}

impl Drop for Chosen {
    fn drop(&mut self) {
        self.settle(Outcome::Cancelled);
    }
}
