//! How much is under way at a backend, and whether there may be more (a circuit breaker, as Envoy calls it).
//!
//! What is taken is given back where it is dropped, so that no way in which a request ends can keep it.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{
    AtomicU32,
    Ordering::{Relaxed, Release},
};
use std::task::Poll;

use futures::poll;
use penstock_config::{BackendSpec, CircuitBreaker, UpstreamProtocol};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::{CircuitBound, Error};

/// What is under way at a backend that has bounds.
#[derive(Debug)]
pub(crate) struct Circuit {
    bounds: CircuitBreaker,
    requests: AtomicU32,
    retries: AtomicU32,
    pending: AtomicU32,
    /// A permit is what takes a request at some connection; `None` if there may be any number of these.
    connections: Option<Arc<Semaphore>>,
    /// How many requests one connection takes.
    per_connection: u32,
}

/// A request's place among those under way.
#[derive(Debug)]
pub(super) struct Slot {
    circuit: Arc<Circuit>,
    is_retry: bool,
    /// Its place at a connection, once it has one.
    connection: Option<OwnedSemaphorePermit>,
}

/// One more of those that wait for a connection.
struct Pending<'a>(&'a Circuit);

impl Circuit {
    /// That of a backend, with what is under way now where its bounds are as `before`; `None` if it has none.
    pub(super) fn of(spec: &BackendSpec, before: Option<&Arc<Self>>) -> Option<Arc<Self>> {
        let bounds = spec.circuit_breaker?;
        let per_connection = match spec.protocol {
            UpstreamProtocol::H2 | UpstreamProtocol::H2c => spec.connection.http2_streams,
            // Whether several share one is not known beforehand.
            UpstreamProtocol::Http1 | UpstreamProtocol::Auto => 1,
        };
        let is_same = |known: &&Arc<Self>| known.bounds == bounds && known.per_connection == per_connection;
        if let Some(known) = before.filter(is_same) {
            return Some(known.clone());
        }
        let permits = |connections: u32| connections as usize * per_connection as usize;
        Some(Arc::new(Self {
            bounds,
            requests: AtomicU32::new(0),
            retries: AtomicU32::new(0),
            pending: AtomicU32::new(0),
            connections: bounds.max_connections.map(|most| Arc::new(Semaphore::new(permits(most)))),
            per_connection,
        }))
    }

    /// Takes a request in.
    ///
    /// # Errors
    /// There may be no more.
    pub(super) fn enter(self: &Arc<Self>, is_retry: bool) -> Result<Slot, CircuitBound> {
        if !take(&self.requests, self.bounds.max_parallel_requests) {
            return Err(CircuitBound::Requests);
        }
        if is_retry && !take(&self.retries, self.bounds.max_parallel_retries) {
            give_back(&self.requests);
            return Err(CircuitBound::Retries);
        }
        Ok(Slot { circuit: self.clone(), is_retry, connection: None })
    }

    /// Whether [`Self::enter`] would take a request in. Changes nothing.
    ///
    /// # Errors
    /// There may be no more.
    pub(super) fn would_enter(&self, is_retry: bool) -> Result<(), CircuitBound> {
        let is_full =
            |count: &AtomicU32, most: Option<u32>| most.is_some_and(|most| count.load(Relaxed) >= most);
        if is_full(&self.requests, self.bounds.max_parallel_requests) {
            Err(CircuitBound::Requests)
        } else if is_retry && is_full(&self.retries, self.bounds.max_parallel_retries) {
            Err(CircuitBound::Retries)
        } else {
            Ok(())
        }
    }

    /// The most requests that one endpoint may have at one time.
    pub(super) fn per_endpoint(&self) -> Option<u32> {
        Some(self.bounds.max_connections_per_endpoint?.saturating_mul(self.per_connection))
    }

    /// Connects as soon as there is a place among the connections. A connection that is there takes no time; whoever waits
    /// is one of those that are pending.
    ///
    /// # Errors
    /// There may be no more that wait; or connecting failed.
    pub(crate) async fn connect<T, E>(
        &self,
        connecting: impl Future<Output = Result<T, E>>,
    ) -> Result<(T, Option<OwnedSemaphorePermit>), Error>
    where
        Error: From<E>,
    {
        let mut pending = None;
        let permit = match &self.connections {
            None => None,
            Some(places) => Some(match places.clone().try_acquire_owned() {
                Ok(permit) => permit,
                Err(_) => {
                    pending = Some(self.pend()?);
                    let permit = places.clone().acquire_owned().await;
                    permit.map_err(|_| Error::internal("the places of a circuit breaker are closed"))?
                }
            }),
        };
        let mut connecting = pin!(connecting);
        if let Poll::Ready(connected) = poll!(connecting.as_mut()) {
            return Ok((connected?, permit));
        }
        let _pending = match pending {
            Some(pending) => pending,
            None => self.pend()?,
        };
        Ok((connecting.await?, permit))
    }

    fn pend(&self) -> Result<Pending<'_>, Error> {
        match take(&self.pending, self.bounds.max_pending_requests) {
            true => Ok(Pending(self)),
            false => Err(Error::CircuitOpen { bound: CircuitBound::Pending }),
        }
    }
}

impl Slot {
    pub(super) fn circuit(&self) -> &Arc<Circuit> {
        &self.circuit
    }

    /// Keeps a place at a connection as long as the request has its own.
    pub(super) fn keep(&mut self, connection: OwnedSemaphorePermit) {
        self.connection = Some(connection);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        give_back(&self.circuit.requests);
        if self.is_retry {
            give_back(&self.circuit.retries);
        }
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        give_back(&self.0.pending);
    }
}

/// Takes one of at most so many.
pub(super) fn take(count: &AtomicU32, most: Option<u32>) -> bool {
    let next = |now: u32| most.is_none_or(|most| now < most).then(|| now.saturating_add(1));
    count.fetch_update(Relaxed, Relaxed, next).is_ok()
}

fn give_back(count: &AtomicU32) {
    count.fetch_sub(1, Release);
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use futures::FutureExt as _;

    use super::*;

    fn circuit(bounds: CircuitBreaker) -> Arc<Circuit> {
        let spec = BackendSpec { circuit_breaker: Some(bounds), ..BackendSpec::new("b") };
        Circuit::of(&spec, None).unwrap()
    }

    fn ready_connection() -> impl Future<Output = Result<(), Error>> {
        ready(Ok(()))
    }

    fn is_open(error: &Error) -> bool {
        matches!(error, Error::CircuitOpen { bound: CircuitBound::Pending })
    }

    #[test]
    fn requests_and_retries_are_taken_in_up_to_their_bounds_and_given_back() {
        let bounds = CircuitBreaker {
            max_parallel_requests: Some(2),
            max_parallel_retries: Some(1),
            ..CircuitBreaker::default()
        };
        let circuit = circuit(bounds);
        let retry = circuit.enter(true).unwrap();
        assert_eq!(circuit.enter(true).unwrap_err(), CircuitBound::Retries);
        let first = circuit.enter(false).unwrap();
        assert_eq!(circuit.would_enter(false), Err(CircuitBound::Requests));
        assert_eq!(circuit.enter(false).unwrap_err(), CircuitBound::Requests);
        drop(retry);
        assert_eq!(circuit.would_enter(true), Ok(()));
        let _second = circuit.enter(true).unwrap();
        drop(first);
        assert!(circuit.enter(false).is_ok());
    }

    #[test]
    fn nothing_left_out_is_bounded_and_zero_lets_nothing_in() {
        let unbounded = circuit(CircuitBreaker::default());
        let slots: Vec<_> = (0..5000).map(|_| unbounded.enter(true).unwrap()).collect();
        assert_eq!(slots.len(), 5000);
        let none = CircuitBreaker { max_parallel_requests: Some(0), ..CircuitBreaker::default() };
        assert_eq!(circuit(none).enter(false).unwrap_err(), CircuitBound::Requests);
    }

    #[tokio::test]
    async fn who_has_a_connection_at_once_does_not_pend_and_who_is_dropped_makes_room() {
        let none = CircuitBreaker { max_pending_requests: Some(0), ..CircuitBreaker::default() };
        let circuit_of_none = circuit(none);
        assert!(circuit_of_none.connect(ready_connection()).await.is_ok());
        let never = pending::<Result<(), Error>>();
        assert!(is_open(&circuit_of_none.connect(never).await.unwrap_err()));

        let one = circuit(CircuitBreaker { max_pending_requests: Some(1), ..CircuitBreaker::default() });
        let mut first = Box::pin(one.connect(pending::<Result<(), Error>>()));
        assert!(first.as_mut().now_or_never().is_none());
        assert!(is_open(&one.connect(pending::<Result<(), Error>>()).await.unwrap_err()));
        drop(first);
        assert!(one.connect(pending::<Result<(), Error>>()).now_or_never().is_none(), "there is room again");
    }

    #[tokio::test]
    async fn who_finds_all_connections_in_use_waits_for_one_in_turn() {
        let bounds = CircuitBreaker {
            max_connections: Some(1),
            max_pending_requests: Some(1),
            ..CircuitBreaker::default()
        };
        let circuit = circuit(bounds);
        let mut slot = circuit.enter(false).unwrap();
        slot.keep(circuit.connect(ready_connection()).await.unwrap().1.unwrap());
        let mut waiting = Box::pin(circuit.connect(ready_connection()));
        assert!(waiting.as_mut().now_or_never().is_none());
        assert!(is_open(&circuit.connect(ready_connection()).await.unwrap_err()));
        drop(slot);
        let (_connected, permit) = waiting.await.unwrap();
        drop(permit);
        assert!(circuit.connect(ready_connection()).await.is_ok());
    }

    #[test]
    fn counts_go_on_while_bounds_stay_and_begin_anew_with_others() {
        let spec = |most| {
            let bounds = CircuitBreaker { max_parallel_requests: Some(most), ..CircuitBreaker::default() };
            BackendSpec { circuit_breaker: Some(bounds), ..BackendSpec::new("b") }
        };
        let first = Circuit::of(&spec(1), None).unwrap();
        let _slot = first.enter(false).unwrap();
        assert!(Circuit::of(&spec(1), Some(&first)).unwrap().enter(false).is_err());
        assert!(Circuit::of(&spec(2), Some(&first)).unwrap().enter(false).is_ok());
        assert!(Circuit::of(&BackendSpec::new("b"), Some(&first)).is_none());
    }

    #[test]
    fn a_connection_of_http2_takes_many_requests() {
        let bounds = CircuitBreaker { max_connections_per_endpoint: Some(2), ..CircuitBreaker::default() };
        for (protocol, most) in [(UpstreamProtocol::Http1, 2), (UpstreamProtocol::H2c, 200)] {
            let spec = BackendSpec { circuit_breaker: Some(bounds), protocol, ..BackendSpec::new("b") };
            assert_eq!(Circuit::of(&spec, None).unwrap().per_endpoint(), Some(most));
        }
    }
}
