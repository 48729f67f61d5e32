//! Splitting a pool's endpoints over ConfigMaps.
//!
//! By a hash of each endpoint's name rather than by position: a Pod that comes or goes changes one shard, not all that
//! follow it. A shard has about 500 endpoints, well below what fits, since each change sends it whole to every data plane.

use penstock_config::raw::{RawBackendEndpoint, RawEndpoint};
use penstock_translate::{Endpoints, RenderError, render_endpoints};

use super::MAX_PART_BYTES;

/// Endpoints in a shard when the number of shards is chosen.
const SHARD_ENDPOINTS: usize = 500;

/// The most shards of one pool or backend: what a document's `endpointsFrom` may have.
const MAX_SHARDS: usize = 1024;

/// One shard: an `Endpoints` document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shard {
    /// The document, in YAML.
    pub text: String,
}

/// Over how many shards `count` endpoints are spread that are over `current` ones now; a power of two, so that they
/// seldom change. It grows when they are full and shrinks when they are a quarter full.
pub fn shards_for(count: usize, current: usize) -> usize {
    let wanted = count.div_ceil(SHARD_ENDPOINTS).next_power_of_two().clamp(1, MAX_SHARDS);
    let is_roomy = current > 1 && count * 4 < current * SHARD_ENDPOINTS;
    if current.is_power_of_two() && wanted < current && !is_roomy { current.min(MAX_SHARDS) } else { wanted }
}

impl Shard {
    /// `endpoints` over `shards` shards. More, if one of them would be too large for a ConfigMap; then their number
    /// tells.
    ///
    /// # Errors
    /// An endpoint cannot be written as YAML, or alone is too large.
    pub fn split(name: &str, endpoints: &Endpoints, shards: usize) -> Result<Vec<Self>, ShardError> {
        let mut count = shards.max(1);
        loop {
            let split = Self::split_into(name, endpoints, count)?;
            if split.iter().all(|shard| shard.text.len() <= MAX_PART_BYTES) {
                return Ok(split);
            }
            if count >= MAX_SHARDS {
                return Err(ShardError::TooLarge { name: name.to_owned() });
            }
            count *= 2;
        }
    }

    fn split_into(name: &str, endpoints: &Endpoints, count: usize) -> Result<Vec<Self>, ShardError> {
        let shards = match endpoints {
            Endpoints::Pool(all) => {
                // Several ports of a Pod stay together, so that they come and go in one step.
                let key = |it: &RawEndpoint| it.name.clone().unwrap_or_else(|| it.address.0.to_string());
                deal(all, count, key).into_iter().map(Endpoints::Pool).collect::<Vec<_>>()
            }
            Endpoints::Backend(all) => {
                let key = |it: &RawBackendEndpoint| format!("{}:{}", it.host, it.port);
                deal(all, count, key).into_iter().map(Endpoints::Backend).collect()
            }
        };
        let texts = shards.iter().map(|shard| render_endpoints(shard, name, None));
        let texts: Result<Vec<String>, RenderError> = texts.collect();
        let texts = texts.map_err(|source| ShardError::Render { name: name.to_owned(), source })?;
        Ok(texts.into_iter().map(|text| Self { text }).collect())
    }
}

/// Deals endpoints out to shards by a hash of their keys.
fn deal<T: Clone>(all: &[T], count: usize, key: impl Fn(&T) -> String) -> Vec<Vec<T>> {
    let mut shards = vec![Vec::new(); count];
    for endpoint in all {
        shards[place(&key(endpoint), count)].push(endpoint.clone());
    }
    shards
}

/// Why endpoints cannot be published.
#[derive(Debug, thiserror::Error)]
pub enum ShardError {
    /// Not expressible.
    #[error("the endpoints of {name} cannot be written: {source}")]
    Render {
        /// Of what.
        name: String,
        /// Why.
        #[source]
        source: RenderError,
    },
    /// Labels of a Pod have no limit but the object's.
    #[error("the endpoints of {name} do not fit into {MAX_SHARDS} ConfigMaps")]
    TooLarge {
        /// Of what.
        name: String,
    },
}

fn place(key: &str, count: usize) -> usize {
    let hash = xxhash_rust::xxh3::xxh3_64(key.as_bytes());
    usize::try_from(hash % count as u64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use penstock_config::Address;

    use super::*;

    fn endpoint(number: u32, label: &str) -> RawEndpoint {
        let ip = std::net::Ipv4Addr::from_bits(0x0a00_0000 + number);
        RawEndpoint {
            address: Address((ip, 8000).into()),
            name: Some(format!("default/pod-{number}")),
            engine: None,
            metrics_port: None,
            labels: BTreeMap::from([("app".to_owned(), label.to_owned())]),
        }
    }

    fn pool(count: u32) -> Endpoints {
        Endpoints::Pool((0..count).map(|number| endpoint(number, "llama")).collect())
    }

    #[test]
    fn the_number_of_shards_does_not_waver() {
        assert_eq!(shards_for(0, 0), 1);
        assert_eq!(shards_for(500, 1), 1);
        assert_eq!(shards_for(501, 1), 2);
        assert_eq!(shards_for(499, 2), 2, "one Pod less is no reason to move all others");
        assert_eq!(shards_for(249, 2), 1);
        assert_eq!(shards_for(10_000, 1), 32);
        assert_eq!(shards_for(0, 32), 1);
        assert_eq!(shards_for(usize::MAX / 8, 1), MAX_SHARDS);
    }

    #[test]
    fn every_endpoint_is_in_one_shard_and_a_change_touches_one() {
        let before = Shard::split("default.llama", &pool(1000), 4).unwrap();
        let after = Shard::split("default.llama", &pool(1001), 4).unwrap();
        assert_eq!(before.len(), 4);
        for number in 0..1000 {
            let line = format!("default/pod-{number}\n");
            assert_eq!(before.iter().filter(|shard| shard.text.contains(&line)).count(), 1, "{line}");
        }
        assert_eq!(before.iter().zip(&after).filter(|(before, after)| before != after).count(), 1);
    }

    #[test]
    fn a_shard_fits_into_a_configmap() {
        let long = "x".repeat(60_000);
        let endpoints = Endpoints::Pool((0..64).map(|number| endpoint(number, &long)).collect());
        let shards = Shard::split("default.llama", &endpoints, 1).unwrap();
        assert!(shards.len() > 4, "{}", shards.len());
        assert!(shards.iter().all(|shard| shard.text.len() <= MAX_PART_BYTES));
        let huge = Endpoints::Pool(vec![endpoint(0, &"x".repeat(1 << 20))]);
        assert!(matches!(Shard::split("default.llama", &huge, 1), Err(ShardError::TooLarge { .. })));
    }
}
