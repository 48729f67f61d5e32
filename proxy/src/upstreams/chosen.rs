//! The endpoint that was chosen for an attempt, and the account kept of the attempt there.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use penstock_config::Engine;
use penstock_picker::{Endpoint, EndpointId, Failures, InFlight, Outcome, Picked};
use tokio::sync::OwnedSemaphorePermit;

use super::Excluded;
use crate::balance::{self, Circuit};

/// The chosen endpoint. The attempt is booked there until it is settled; dropped, the client went away.
pub(crate) struct Chosen {
    address: SocketAddr,
    account: Account,
}

/// What an endpoint is: its address alone may be another's by now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EndpointKey {
    /// Of a pool.
    Pool(EndpointId),
    /// Of a backend.
    Backend(SocketAddr),
}

enum Account {
    Pool {
        endpoint: Arc<Endpoint>,
        /// Until the attempt is settled.
        in_flight: Option<InFlight>,
        session: Option<(HeaderName, HeaderValue)>,
        matched_blocks: usize,
    },
    Backend {
        name: balance::BackendAddress,
        /// What gives the client a cookie that binds it to this endpoint.
        cookie: Option<HeaderValue>,
        /// Until the attempt is settled.
        chosen: Option<balance::Chosen>,
    },
}

impl Chosen {
    /// One of a backend, for a request that may be bound to it.
    pub(crate) fn of_backend(chosen: balance::Chosen, excluded: &Excluded) -> Self {
        let (address, name) = (chosen.address(), chosen.name().clone());
        let cookie = excluded.bound.as_ref().and_then(|bound| bound.cookie.clone());
        Self { address, account: Account::Backend { name, cookie, chosen: Some(chosen) } }
    }

    /// Where it is.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it is.
    pub(crate) fn key(&self) -> EndpointKey {
        match &self.account {
            Account::Pool { endpoint, .. } => EndpointKey::Pool(endpoint.id()),
            Account::Backend { .. } => EndpointKey::Backend(self.address),
        }
    }

    /// Connections are used again only within one generation: a pod's address may become another pod's.
    pub(crate) fn generation(&self) -> u64 {
        match &self.account {
            Account::Pool { endpoint, .. } => endpoint.id().get(),
            Account::Backend { .. } => 0,
        }
    }

    /// The name that TLS asks for: a DNS name, or the address as text; `None` is the address.
    pub(crate) fn tls_name(&self) -> Option<&str> {
        match &self.account {
            Account::Pool { .. } => None,
            Account::Backend { name, .. } => Some(&name.host),
        }
    }

    /// The host and port that a service with a DNS name, such as a hosted API, is asked by.
    pub(crate) fn authority(&self) -> Option<&str> {
        match &self.account {
            Account::Backend { name, .. } if name.host.parse::<IpAddr>().is_err() => Some(&name.authority),
            Account::Backend { .. } | Account::Pool { .. } => None,
        }
    }

    /// The header that keeps a session at this endpoint, where the pool's profile has one.
    pub(crate) fn session(&self) -> Option<&(HeaderName, HeaderValue)> {
        match &self.account {
            Account::Pool { session, .. } => session.as_ref(),
            Account::Backend { .. } => None,
        }
    }

    /// What gives the client a cookie that binds it to this endpoint, where it is to have one.
    pub(crate) fn cookie(&self) -> Option<&HeaderValue> {
        match &self.account {
            Account::Backend { cookie, .. } => cookie.as_ref(),
            Account::Pool { .. } => None,
        }
    }

    /// Blocks of the prompt that the endpoint is believed to hold; `None` where nobody looks at prompts.
    pub(crate) fn matched_blocks(&self) -> Option<usize> {
        match &self.account {
            Account::Pool { matched_blocks, .. } => Some(*matched_blocks),
            Account::Backend { .. } => None,
        }
    }

    /// Whether the endpoint answers with its load where it is asked to (ORCA).
    pub(crate) fn reports_load(&self) -> bool {
        match &self.account {
            Account::Pool { endpoint, .. } => match endpoint.engine() {
                Engine::Vllm | Engine::Triton | Engine::TritonTensorrtLlm => true,
                Engine::Sglang | Engine::TrtllmServe => false,
            },
            Account::Backend { .. } => false,
        }
    }

    /// Takes note of a load report that came with a response.
    pub(crate) fn observe_load_report(&self, report: &[u8]) {
        if let Account::Pool { endpoint, .. } = &self.account {
            endpoint.observe_load_report(report);
        }
    }

    /// Why attempts at the endpoint failed; `None` once this one is settled at a backend.
    pub(crate) fn failures(&self) -> Option<&Failures> {
        match &self.account {
            Account::Pool { endpoint, .. } => Some(endpoint.failures()),
            Account::Backend { chosen, .. } => chosen.as_ref().map(balance::Chosen::failures),
        }
    }

    /// What is under way at the backend, where that has bounds.
    pub(crate) fn circuit(&self) -> Option<&Arc<Circuit>> {
        match &self.account {
            Account::Pool { .. } => None,
            Account::Backend { chosen, .. } => chosen.as_ref()?.circuit(),
        }
    }

    /// Keeps a place at a connection until the attempt is settled.
    pub(crate) fn keep(&mut self, connection: OwnedSemaphorePermit) {
        if let Account::Backend { chosen: Some(chosen), .. } = &mut self.account {
            chosen.keep(connection);
        }
    }

    /// Resolves when the endpoint has left its pool.
    pub(crate) async fn left(&self) {
        match &self.account {
            Account::Pool { endpoint, .. } => endpoint.left().await,
            Account::Backend { .. } => std::future::pending().await,
        }
    }

    /// Notes that the first byte of the response arrived.
    pub(crate) fn first_byte(&mut self) {
        if let Account::Pool { in_flight: Some(in_flight), .. } = &mut self.account {
            in_flight.first_byte();
        }
    }

    /// Notes the status that the attempt was answered with.
    pub(crate) fn answered(&mut self, status: u16) {
        if let Account::Backend { chosen: Some(chosen), .. } = &mut self.account {
            chosen.answered(status);
        }
    }

    /// Closes the endpoint's account and judges its health. Later calls do nothing.
    pub(crate) fn settle(&mut self, outcome: Outcome) {
        match &mut self.account {
            Account::Pool { in_flight, .. } => {
                if let Some(in_flight) = in_flight.take() {
                    in_flight.finish(outcome);
                }
            }
            Account::Backend { chosen, .. } => {
                if let Some(chosen) = chosen.take() {
                    chosen.finish(outcome);
                }
            }
        }
    }
}

impl From<Picked> for Chosen {
    fn from(picked: Picked) -> Self {
        let Picked { endpoint, in_flight, matched_blocks, session } = picked;
        let address = endpoint.address();
        Self {
            address,
            account: Account::Pool { endpoint, in_flight: Some(in_flight), session, matched_blocks },
        }
    }
}
