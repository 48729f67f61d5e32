//! The routing document as it is published: with endpoints' whereabouts, generation and digest, in as many parts as it
//! takes.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use penstock_config::{Address, DebugAccess, Span, raw::Document};
use penstock_translate::{ADMIN_PORT, RenderError, render};
use sha2::{Digest as _, Sha256};

use super::{CONTENT, DOCUMENT_DIGEST, GENERATION, MAX_PART_BYTES, PARTS};
use crate::{
    manifest::{Manifest, OwnedKind, Owner, hex},
    watch::Observed,
};

/// Where a data plane's admin listener is, for probes, metrics and the operator's question which generation runs.
const ADMIN_ADDRESS: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), ADMIN_PORT);

/// The largest seed that documents take.
const MAX_HASH_SEED: u32 = 0x7fff_ffff;

/// A document that is ready to be published.
#[derive(Debug, Clone, PartialEq)]
pub struct Routing {
    /// Its generation, which `/readyz` of a data plane tells.
    pub generation: u64,
    /// The SHA-256 of its text.
    pub digest: String,
    /// Its hash without the generation.
    content: String,
    /// Its ConfigMaps.
    pub manifests: Vec<Manifest>,
}

/// Why a document cannot be published.
#[derive(Debug, thiserror::Error)]
pub enum RoutingError {
    /// Not as YAML.
    #[error(transparent)]
    Render(#[from] RenderError),
    /// Not as JSON.
    #[error("the routing document cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// What publishing adds to a document.
#[derive(Debug, Clone, Default)]
pub struct Additions {
    /// By the names of pools and backends: the ConfigMaps with their endpoints.
    pub endpoints_from: BTreeMap<String, Vec<String>>,
    /// Whether there is a Secret.
    pub has_secrets: bool,
    /// The number of data planes.
    pub replicas: u32,
    /// How long a data plane that ends may go on serving.
    pub drain: Duration,
    /// Who is answered on its debug pages.
    pub debug: DebugAccess,
}

impl Routing {
    /// Puts a document into ConfigMaps. `last` is what is known of the one published last: a document that says the same
    /// keeps its generation, any other gets the next one.
    ///
    /// # Errors
    /// It cannot be written as text.
    pub fn new(
        owner: &Owner,
        document: &Document,
        additions: &Additions,
        last: Option<&Observed>,
    ) -> Result<Self, RoutingError> {
        let mut document = document.clone();
        complete(&mut document, additions, owner);
        let json = serde_json::to_vec(&document)?;
        let content = hex(&Sha256::digest(&json));
        let annotation = |name: &str| last.and_then(|last| last.annotations.get(name));
        let last_generation = annotation(GENERATION).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
        let generation = if annotation(CONTENT) == Some(&content) {
            last_generation
        } else {
            last_generation.saturating_add(1)
        };
        document.metadata.generation = Some(generation);
        let text = render(&document)?;
        let digest = hex(&Sha256::digest(&text));
        let parts = split(&text, MAX_PART_BYTES);
        let (count, generation_text) = (parts.len().to_string(), generation.to_string());
        let annotations = [
            (PARTS, count.as_str()),
            (DOCUMENT_DIGEST, digest.as_str()),
            (GENERATION, generation_text.as_str()),
            (CONTENT, content.as_str()),
        ];
        let manifests = parts.iter().enumerate().map(|(index, part)| {
            let name = owner.names.routing(index);
            let body = serde_json::json!({ "data": { "routing.yaml": part } });
            Manifest::new(owner, OwnedKind::ConfigMap, &name, &[], &annotations, body)
        });
        // The first part last: it is what a data plane that starts looks at first.
        let manifests = manifests.rev().collect();
        Ok(Self { generation, digest, content, manifests })
    }

    /// Whether two documents say the same.
    pub fn says_the_same(&self, other: &Self) -> bool {
        self.content == other.content
    }
}

/// Adds what only the publisher knows.
fn complete(document: &mut Document, additions: &Additions, owner: &Owner) {
    let from = |name: &str| additions.endpoints_from.get(name).cloned().unwrap_or_default();
    for pool in &mut document.pools {
        pool.endpoints_from = from(&pool.name);
    }
    for backend in &mut document.backends {
        backend.endpoints_from = from(&backend.name);
    }
    document.secrets_from = additions.has_secrets.then(|| owner.names.secrets());
    document.replicas = additions.replicas.max(1);
    document.metadata.generation = None;
    let name = &mut document.metadata.name;
    name.get_or_insert_with(|| owner.gateway.to_string().replace('/', "."));
    document.admin.address = Address(ADMIN_ADDRESS);
    document.admin.debug = additions.debug;
    document.shutdown.drain_timeout = Span(additions.drain);
    document.peek.hash_seed = hash_seed(&owner.uid);
}

/// What all data planes of a Gateway hash prompts with, so that they agree where to send what none of them has seen. By
/// the Gateway's identity, which is another in each cluster and stays when the operator or the data planes restart.
fn hash_seed(uid: &str) -> u32 {
    // 31 bits, and not 0, which would let each data plane draw its own.
    let bits = xxhash_rust::xxh3::xxh3_64(uid.as_bytes()) & u64::from(MAX_HASH_SEED);
    u32::try_from(bits).unwrap_or(MAX_HASH_SEED).max(1)
}

/// Cuts a text into parts of at most `max` bytes, at ends of lines where there are any.
fn split(text: &str, max: usize) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = text;
    while rest.len() > max {
        let mut at = rest.floor_char_boundary(max);
        if let Some(line) = rest[..at].rfind('\n') {
            at = line + 1;
        }
        parts.push(&rest[..at]);
        rest = &rest[at..];
    }
    parts.push(rest);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_put_together_are_the_whole() {
        let text: String = (0..1000).map(|line| format!("- name: é{line}\n")).collect();
        let parts = split(&text, 1000);
        assert_eq!(parts.concat(), text);
        assert!(parts.len() > 10 && parts.iter().all(|part| part.len() <= 1000 && part.ends_with('\n')));
        let wide = "é".repeat(1000);
        let parts = split(&wide, 999);
        assert_eq!(parts.concat(), wide);
        assert!(parts.iter().all(|part| part.len() <= 999));
        assert_eq!(split("", 10), [""]);
    }

    #[test]
    fn data_planes_of_one_gateway_hash_alike_and_those_of_another_differently() {
        let uid = "0f6b1f0e-6d07-4f0c-9a53-2b3d0a0a4c11";
        assert_eq!(hash_seed(uid), hash_seed(uid));
        assert_ne!(hash_seed(uid), hash_seed("0f6b1f0e-6d07-4f0c-9a53-2b3d0a0a4c12"));
        for number in 0..10_000_u32 {
            assert!((1..=MAX_HASH_SEED).contains(&hash_seed(&number.to_string())));
        }
    }
}
