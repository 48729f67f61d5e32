//! What a BackendTrafficPolicy changes of the backends that a rule leads to: how much may be under way there, and for how
//! long they are waited for.
//!
//! Pools choose by themselves among endpoints that they know, so nothing of this is for them.

use penstock_config::raw::{RawBackend, RawHashBy};
use penstock_config::{Balancing, CircuitBreaker, Span};

use super::hash;
use super::health::{self, Health};
use super::span;
use crate::api::{TrafficCircuitBreaker, TrafficSettings};
use crate::world::shorten;

/// The most of anything that documents let be under way.
const MAX_UNDER_WAY: i64 = 10_000_000;

/// The bounds of documents for these waits.
const CONNECT_TIMEOUT: (Span, Span) = (Span::ms(1), Span::secs(300));
const IDLE_TIMEOUT: (Span, Span) = (Span::secs(1), Span::secs(3600));

/// The most requests that documents let share one connection.
const MAX_STREAMS: i64 = 10_000;

/// What a policy changes of backends.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Backing {
    circuit: Option<CircuitBreaker>,
    connect_timeout: Option<Span>,
    idle_timeout: Option<Span>,
    http2_streams: Option<u32>,
    health: Option<Health>,
    balancing: Option<Balancing>,
    hash_by: Option<RawHashBy>,
}

impl Backing {
    /// Reads what a policy says.
    ///
    /// # Errors
    /// It says something that cannot be: what, by its field.
    pub(super) fn read(settings: &TrafficSettings) -> Result<Self, String> {
        let timeout = settings.timeout.as_ref();
        let tcp = timeout.and_then(|timeout| timeout.tcp.as_ref());
        let http = timeout.and_then(|timeout| timeout.http.as_ref());
        let connect = tcp.and_then(|tcp| tcp.connect_timeout.as_deref());
        let idle = http.and_then(|http| http.connection_idle_timeout.as_deref());
        let within =
            |span: Option<Span>, (least, most): (Span, Span)| span.map(|span| span.max(least).min(most));
        Ok(Self {
            circuit: settings.circuit_breaker.as_ref().map(circuit),
            connect_timeout: within(span(connect, "timeout.tcp.connectTimeout")?, CONNECT_TIMEOUT),
            balancing: settings.load_balancer.as_ref().and_then(|balancer| balancing(&balancer.kind)),
            hash_by: hash::read(settings.load_balancer.as_ref())?,
            health: settings.health_check.as_ref().map(Health::read).transpose()?,
            idle_timeout: within(span(idle, "timeout.http.connectionIdleTimeout")?, IDLE_TIMEOUT),
            http2_streams: settings.http2.as_ref().and_then(|http2| streams(http2.max_concurrent_streams?)),
        })
    }

    /// This, and what a less specific policy says beside it.
    pub(super) fn over(&self, parent: &Self) -> Self {
        // One way of choosing in place of the other.
        let choosing = if self.balancing.is_some() || self.hash_by.is_some() { self } else { parent };
        Self {
            circuit: self.circuit.or(parent.circuit),
            connect_timeout: self.connect_timeout.or(parent.connect_timeout),
            idle_timeout: self.idle_timeout.or(parent.idle_timeout),
            http2_streams: self.http2_streams.or(parent.http2_streams),
            balancing: choosing.balancing,
            hash_by: choosing.hash_by.clone(),
            health: self.health.clone().or_else(|| parent.health.clone()),
        }
    }

    /// Changes a backend.
    pub(crate) fn apply(&self, backend: &mut RawBackend) {
        backend.circuit_breaker = self.circuit.or(backend.circuit_breaker);
        backend.balancing = self.balancing.unwrap_or(backend.balancing);
        backend.hash_by = self.hash_by.clone().or_else(|| backend.hash_by.take());
        let connection = &mut backend.connection;
        connection.connect_timeout = self.connect_timeout.unwrap_or(connection.connect_timeout);
        connection.idle_timeout = self.idle_timeout.unwrap_or(connection.idle_timeout);
        connection.http2_streams = self.http2_streams.unwrap_or(connection.http2_streams);
        self.health.iter().for_each(|health| health.apply(backend));
    }

    /// This without what backends are anyway: two that differ in that alone are one.
    pub(crate) fn essence(&self) -> Self {
        let balancing = self.balancing.filter(|balancing| *balancing != Balancing::default());
        Self { balancing, ..self.clone() }
    }

    /// What it says, by the fields of the policy.
    pub(crate) fn fields(&self) -> impl Iterator<Item = &'static str> {
        let said = [
            (self.circuit.is_some(), "circuitBreaker"),
            (self.health.is_some(), "healthCheck"),
            (self.balancing.is_some() || self.hash_by.is_some(), "loadBalancer.type"),
            (self.connect_timeout.is_some(), "timeout.tcp.connectTimeout"),
            (self.idle_timeout.is_some(), "timeout.http.connectionIdleTimeout"),
            (self.http2_streams.is_some(), "http2.maxConcurrentStreams"),
        ];
        said.into_iter().filter(|(is_said, _)| *is_said).map(|(_, field)| field)
    }
}

/// What a policy says of these things and is not acted on, as its status names it.
pub(super) fn idle(settings: &TrafficSettings) -> impl Iterator<Item = String> {
    let circuit = settings.circuit_breaker.iter();
    let of_circuit = circuit.clone().flat_map(|circuit| circuit.others.keys());
    let of_circuit = of_circuit.map(|name| format!("spec.circuitBreaker.{}", shorten(name, 40)));
    let per_endpoint = circuit.filter_map(|circuit| circuit.per_endpoint.as_ref());
    let per_endpoint = per_endpoint.flat_map(|endpoint| endpoint.others.keys());
    let per_endpoint =
        per_endpoint.map(|name| format!("spec.circuitBreaker.perEndpoint.{}", shorten(name, 40)));
    let tcp = settings.timeout.iter().filter_map(|timeout| timeout.tcp.as_ref());
    let tcp =
        tcp.flat_map(|tcp| tcp.others.keys()).map(|name| format!("spec.timeout.tcp.{}", shorten(name, 40)));
    let http2 = settings.http2.iter().flat_map(|http2| http2.others.keys());
    let http2 = http2.map(|name| format!("spec.http2.{}", shorten(name, 40)));
    let health = settings.health_check.iter().flat_map(health::idle);
    of_circuit.chain(per_endpoint).chain(tcp).chain(http2).chain(health)
}

/// How endpoints are chosen; `None` if not in this way.
pub(super) fn balancing(kind: &str) -> Option<Balancing> {
    match kind {
        "RoundRobin" => Some(Balancing::RoundRobin),
        "Random" => Some(Balancing::Random),
        "LeastRequest" => Some(Balancing::LeastRequest),
        _ => None,
    }
}

/// How many requests share a connection. None could be served over one that takes none.
fn streams(wanted: i64) -> Option<u32> {
    u32::try_from(wanted.clamp(1, MAX_STREAMS)).ok()
}

fn circuit(wanted: &TrafficCircuitBreaker) -> CircuitBreaker {
    let bound =
        |number: Option<i64>| Some(u32::try_from(number?.clamp(0, MAX_UNDER_WAY)).unwrap_or_default());
    let per_endpoint = wanted.per_endpoint.as_ref();
    CircuitBreaker {
        max_parallel_requests: bound(wanted.max_parallel_requests),
        max_parallel_retries: bound(wanted.max_parallel_retries),
        max_pending_requests: bound(wanted.max_pending_requests),
        max_connections: bound(wanted.max_connections),
        max_connections_per_endpoint: bound(per_endpoint.and_then(|endpoint| endpoint.max_connections)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::service::raw_backend;

    fn settings(settings: Value) -> TrafficSettings {
        serde_json::from_value(settings).unwrap()
    }

    fn applied(said: Value) -> RawBackend {
        let mut backend = raw_backend("b".to_owned());
        Backing::read(&settings(said)).unwrap().apply(&mut backend);
        backend
    }

    #[test]
    fn a_circuit_breaker_has_the_bounds_that_are_said_and_no_others() {
        let backend = applied(json!({"circuitBreaker": {
            "maxConnections": 5, "maxPendingRequests": 0, "maxParallelRequests": 4294967295_u32,
            "perEndpoint": {"maxConnections": 2},
        }}));
        let bounds = CircuitBreaker {
            max_parallel_requests: Some(10_000_000),
            max_parallel_retries: None,
            max_pending_requests: Some(0),
            max_connections: Some(5),
            max_connections_per_endpoint: Some(2),
        };
        assert_eq!(backend.circuit_breaker, Some(bounds));
        assert_eq!(applied(json!({})), raw_backend("b".to_owned()));
    }

    #[test]
    fn endpoints_are_chosen_as_is_said() {
        for (kind, expected) in [
            ("RoundRobin", Balancing::RoundRobin),
            ("Random", Balancing::Random),
            ("LeastRequest", Balancing::LeastRequest),
        ] {
            assert_eq!(applied(json!({"loadBalancer": {"type": kind}})).balancing, expected, "{kind}");
        }
    }

    #[test]
    fn waits_are_those_of_connections_within_what_documents_have() {
        let backend = applied(json!({"timeout": {
            "tcp": {"connectTimeout": "10s"}, "http": {"connectionIdleTimeout": "2h"},
        }}));
        let connection = &backend.connection;
        assert_eq!((connection.connect_timeout, connection.idle_timeout), (Span::secs(10), Span::secs(3600)));
        let error = Backing::read(&settings(json!({"timeout": {"tcp": {"connectTimeout": "soon"}}})));
        assert!(error.unwrap_err().starts_with("timeout.tcp.connectTimeout: "));
    }

    #[test]
    fn as_many_requests_share_a_connection_as_is_said_within_what_documents_have() {
        let streams = |http2: Value| applied(json!({"http2": http2})).connection.http2_streams;
        for (said, expected) in [(7, 7), (0, 1), (-1, 1), (2_147_483_647_i64, 10_000)] {
            assert_eq!(streams(json!({"maxConcurrentStreams": said})), expected, "{said}");
        }
        assert_eq!(streams(json!({"onInvalidMessage": "TerminateStream"})), streams(json!({})));
        let read = |said: Value| Backing::read(&settings(said)).unwrap();
        let (own, parent) = (json!({}), json!({"http2": {"maxConcurrentStreams": 7}}));
        assert_eq!(read(own).over(&read(parent.clone())), read(parent.clone()));
        assert_eq!(read(parent).fields().collect::<Vec<_>>(), ["http2.maxConcurrentStreams"]);
    }

    #[test]
    fn what_is_left_out_is_named() {
        let said = settings(json!({
            "circuitBreaker": {
                "maxConnections": 1, "maxRequestsPerConnection": 1, "perEndpoint": {"maxThings": 1},
            },
            "timeout": {"tcp": {"connectTimeout": "1s", "later": 1}},
            "http2": {"maxConcurrentStreams": 1, "initialStreamWindowSize": "64Ki"},
        }));
        let expected = [
            "spec.circuitBreaker.maxRequestsPerConnection",
            "spec.circuitBreaker.perEndpoint.maxThings",
            "spec.timeout.tcp.later",
            "spec.http2.initialStreamWindowSize",
        ];
        assert_eq!(idle(&said).collect::<Vec<_>>(), expected);
    }
}
