//! Scenarios: a usual case, and one thing varied at a time.

use serde::{Deserialize, Serialize};

use super::peer::{Ability, Peer};

/// Requests a second at which latency is measured, unless the command line or the peer says otherwise.
pub(super) const RATE: f64 = 1000.0;

/// What stands still while a gateway runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topology {
    /// Servers behind the gateway.
    pub endpoints: u16,
    /// Routes, one for each model.
    pub routes: usize,
    /// Whether clients speak TLS.
    pub has_tls: bool,
}

/// The usual topology.
const USUAL: Topology = Topology { endpoints: 3, routes: 1, has_tls: false };

/// How much is asked at a time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Pressure {
    /// As fast as answers come.
    Saturate,
    /// So that latency can be compared.
    Rate,
}

/// One case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scenario {
    /// Its name.
    pub name: String,
    /// The axis on which it is a point, and its place there.
    pub axis: Option<(Axis, f64)>,
    /// What it runs on.
    pub topology: Topology,
    /// Bytes of a request's body.
    pub body_bytes: usize,
    /// Tokens of a streamed answer; none for an answer of 1 KB.
    pub stream_tokens: Option<u64>,
    /// Connections, each with a request in flight.
    pub connections: usize,
    /// Whether each request has a connection of its own.
    pub new_connections: bool,
    /// How much is asked.
    pub pressure: Pressure,
}

/// What grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Axis {
    /// Kilobytes of a request.
    Prompt,
    /// Connections.
    Connections,
    /// Endpoints.
    Endpoints,
    /// Routes.
    Routes,
}

impl Axis {
    /// What its plot says below it.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Prompt => "request body, KB",
            Self::Connections => "connections",
            Self::Endpoints => "endpoints",
            Self::Routes => "routes",
        }
    }
}

impl Scenario {
    fn usual(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            axis: None,
            topology: USUAL,
            body_bytes: 1200,
            stream_tokens: None,
            connections: 64,
            new_connections: false,
            pressure: Pressure::Saturate,
        }
    }

    /// Whether it leaves a peer that is slow already with more than it works off before the next scenario.
    fn is_heavy(&self) -> bool {
        let usual = Self::usual("");
        self.new_connections
            || self.connections != usual.connections
            || self.stream_tokens.is_some_and(|tokens| tokens > 1000)
    }

    /// Whether a peer can take part.
    #[must_use]
    pub fn suits(&self, peer: &Peer) -> bool {
        let needs = [
            (self.topology.has_tls, Ability::Tls),
            (self.topology.endpoints > USUAL.endpoints, Ability::Endpoints),
            (self.topology.routes > 1, Ability::Routes),
            (self.body_bytes > 2000, Ability::Large),
            (self.stream_tokens.is_some(), Ability::Stream),
            (self.is_heavy(), Ability::Connections),
        ];
        needs.iter().all(|(needed, ability)| !needed || peer.can(*ability))
    }
}

/// The scenarios of the headline: few enough for ten minutes.
pub(super) fn headline() -> Vec<Scenario> {
    let prompt = |name: &str, bytes: usize| Scenario {
        body_bytes: bytes,
        axis: Some((Axis::Prompt, bytes as f64 / 1024.0)),
        ..Scenario::usual(name)
    };
    vec![
        prompt("1.2 KB", 1200),
        prompt("32 KB", 32 << 10),
        prompt("220 KB", 220 << 10),
        Scenario { stream_tokens: Some(200), ..Scenario::usual("stream of 200") },
        Scenario { pressure: Pressure::Rate, ..Scenario::usual("latency") },
    ]
}

/// All scenarios.
pub(super) fn full() -> Vec<Scenario> {
    let mut all = headline();
    let axis = |axis, value: usize| Some((axis, value as f64));
    all.push(Scenario { stream_tokens: Some(10_000), ..Scenario::usual("stream of 10,000") });
    for connections in [8, 64, 512, 2000] {
        all.push(Scenario {
            connections,
            axis: axis(Axis::Connections, connections),
            ..Scenario::usual(&format!("{connections} connections"))
        });
    }
    all.push(Scenario { new_connections: true, ..Scenario::usual("new connections") });
    let tls = Topology { has_tls: true, ..USUAL };
    all.push(Scenario { topology: tls, ..Scenario::usual("TLS") });
    all.push(Scenario { topology: tls, new_connections: true, ..Scenario::usual("TLS, new connections") });
    for endpoints in [3, 100, 1000] {
        all.push(Scenario {
            topology: Topology { endpoints, ..USUAL },
            axis: axis(Axis::Endpoints, endpoints.into()),
            ..Scenario::usual(&format!("{endpoints} endpoints"))
        });
    }
    for routes in [1, 100, 2000] {
        all.push(Scenario {
            topology: Topology { routes, ..USUAL },
            axis: axis(Axis::Routes, routes),
            ..Scenario::usual(&format!("{routes} routes"))
        });
    }
    all
}

/// For a smoke test: that everything runs at all.
pub(super) fn smoke() -> Vec<Scenario> {
    let names = ["1.2 KB", "stream of 200", "latency"];
    headline().into_iter().filter(|scenario| names.contains(&scenario.name.as_str())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_the_headline_is_part_of_all() {
        let all = full();
        let names: std::collections::BTreeSet<&str> =
            all.iter().map(|scenario| scenario.name.as_str()).collect();
        assert_eq!(names.len(), all.len());
        assert!(headline().iter().chain(&smoke()).all(|scenario| all.contains(scenario)));
    }

    #[test]
    fn a_peer_takes_part_in_what_it_can() {
        let takes = |peer: &str| {
            let peer = Peer::find(peer).unwrap();
            full()
                .into_iter()
                .filter(|scenario| scenario.suits(&peer))
                .map(|scenario| scenario.name)
                .collect::<Vec<_>>()
        };
        assert_eq!(takes("penstock").len(), full().len());
        assert!(!takes("bare-pingora").contains(&"100 routes".to_owned()));
        assert!(
            takes("litellm").contains(&"1.2 KB".to_owned())
                && !takes("litellm").contains(&"220 KB".to_owned())
        );
    }
}
