//! Peers as data: one YAML file each.

use std::{collections::BTreeMap, fs, io, path::Path};

use serde::Deserialize;
use thiserror::Error;

/// The peers that come with the harness, in the order of their turns. Whoever comes right after LiteLLM was often seen to
/// pay up to twice as much for long bodies, so those with much memory or many processes come last, `direct` after them.
const BUILT_IN: [(&str, &str); 9] = [
    ("direct", include_str!("../../peers/direct.yaml")),
    ("nginx", include_str!("../../peers/nginx.yaml")),
    ("haproxy", include_str!("../../peers/haproxy.yaml")),
    ("envoy", include_str!("../../peers/envoy.yaml")),
    ("bare-pingora", include_str!("../../peers/bare-pingora.yaml")),
    ("penstock", include_str!("../../peers/penstock.yaml")),
    ("envoy-epp", include_str!("../../peers/envoy-epp.yaml")),
    ("sglang-router", include_str!("../../peers/sglang-router.yaml")),
    ("litellm", include_str!("../../peers/litellm.yaml")),
];

/// A gateway, and how it is run. `perf/peers/README.md` describes the fields.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Peer {
    /// Its name.
    pub name: String,
    /// What it is configured to do.
    pub about: String,
    /// How to get it.
    pub install: Install,
    /// Its command; none for no gateway at all.
    #[serde(default)]
    pub program: Option<String>,
    /// What is started instead and starts the program, such as a shell for one of its files; looked for in `PATH`.
    #[serde(default)]
    pub through: Option<String>,
    /// Arguments that make it print its version.
    #[serde(default)]
    pub version: Vec<String>,
    /// Templates of files, by name.
    #[serde(default)]
    pub files: BTreeMap<String, String>,
    /// Templates of its arguments; those that come out empty are left away.
    #[serde(default)]
    pub start: Vec<String>,
    /// Templates of variables.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// The path that answers 200 as soon as it serves; empty: its port is open.
    #[serde(default)]
    pub ready: String,
    /// How long it may take to be ready.
    #[serde(default = "default_start_seconds")]
    pub start_seconds: u64,
    /// Scenarios that it can take part in.
    #[serde(default)]
    pub can: Vec<Ability>,
    /// Requests a second at which its latency is measured, where the usual rate is too much.
    #[serde(default)]
    pub rate: Option<f64>,
}

/// How to get a peer's program.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Install {
    /// There is nothing to get.
    None {},
    /// Debian packages.
    Apt(Vec<String>),
    /// Python packages, in a virtual environment.
    Pip(Vec<String>),
    /// What `testbed/tools.sh` builds, and Python packages.
    Testbed {
        /// Beside etcd and Kubernetes.
        tools: Vec<String>,
        /// As in [`Install::Pip`].
        pip: Vec<String>,
    },
    /// It takes more than a package: what, and where it is described. Such a peer is reported as missing.
    Manual(String),
    /// A binary of this repository.
    Cargo {},
}

/// What a scenario asks of a peer beside proxying small requests.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub enum Ability {
    /// A TLS listener.
    Tls,
    /// Many endpoints behind one address.
    Endpoints,
    /// Many routes.
    Routes,
    /// Bodies of 32 KB and more.
    Large,
    /// Streams.
    Stream,
    /// More than the usual load: other numbers of connections, new ones for each request, streams of 10,000 tokens.
    Connections,
}

/// Why a peer cannot be read.
#[derive(Debug, Error)]
pub enum PeerError {
    /// The file cannot be read.
    #[error("cannot read the peer {0}")]
    Read(String, #[source] io::Error),
    /// The file is not a peer.
    #[error("the peer {0} is malformed")]
    Parse(String, #[source] Box<serde_saphyr::Error>),
    /// There is no such peer.
    #[error("there is no peer `{0}`; there are {1}, or a file that ends in .yaml")]
    Unknown(String, String),
}

fn default_start_seconds() -> u64 {
    20
}

impl Peer {
    /// The peer of this name, or of this file.
    ///
    /// # Errors
    /// See [`PeerError`].
    pub fn find(name: &str) -> Result<Self, PeerError> {
        if Path::new(name).extension().is_some_and(|extension| extension == "yaml") {
            let text = fs::read_to_string(name).map_err(|error| PeerError::Read(name.to_owned(), error))?;
            return Self::parse(name, &text);
        }
        let built_in = BUILT_IN.iter().find(|(built_in, _)| *built_in == name);
        let (name, text) =
            built_in.ok_or_else(|| PeerError::Unknown(name.to_owned(), Self::names().join(", ")))?;
        Self::parse(name, text)
    }

    /// The names of the peers that come with the harness.
    #[must_use]
    pub fn names() -> Vec<&'static str> {
        BUILT_IN.iter().map(|(name, _)| *name).collect()
    }

    /// Whether it can do this.
    #[must_use]
    pub fn can(&self, ability: Ability) -> bool {
        self.can.contains(&ability)
    }

    fn parse(name: &str, text: &str) -> Result<Self, PeerError> {
        serde_saphyr::from_str(text).map_err(|error| PeerError::Parse(name.to_owned(), Box::new(error)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_peer_is_read_and_is_called_as_its_file() {
        for name in Peer::names() {
            let peer = Peer::find(name).unwrap();
            assert_eq!(peer.name, name);
            assert_eq!(peer.program.is_none(), peer.start.is_empty(), "{name}");
        }
    }

    #[test]
    fn what_translation_is_measured_with_differs_by_the_api_alone() {
        let path = |name: &str| format!("{}/peers/{name}.yaml", env!("CARGO_MANIFEST_DIR"));
        let [passed, translated] =
            ["penstock-provider", "penstock-translated"].map(|name| Peer::find(&path(name)).unwrap());
        let document = |peer: &Peer| peer.files["penstock.yaml"].clone();
        assert_eq!(document(&passed).replace("schema: OpenAI", "schema: Anthropic"), document(&translated));
        assert!(document(&passed) != document(&translated) && passed.can == translated.can);
    }

    #[test]
    fn an_unknown_peer_is_told_which_there_are() {
        assert!(Peer::find("squid").unwrap_err().to_string().contains("there are direct, nginx,"));
        assert!(matches!(Peer::find("/nowhere/x.yaml"), Err(PeerError::Read(..))));
    }
}
