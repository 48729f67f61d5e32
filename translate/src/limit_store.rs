//! Where data planes share the counters of limits, as a URL says it.

use penstock_config::raw::{RawLimitStore, RawOnStoreFailure, RawRedis, RawRedisMode, RawRedisTls};

use crate::compile::{compile_store, shown};

/// Reads `redis://HOST:PORT`, or the same without `redis://`; `rediss://` is with TLS. Several addresses, with commas, are nodes
/// of a cluster; with `redis+sentinel://` or `rediss+sentinel://` they are sentinels, and the path is the primary's name.
///
/// # Errors
/// It is none: what is wrong with it.
pub fn limit_store(text: &str) -> Result<RawLimitStore, String> {
    let (scheme, rest) = text.split_once("://").unwrap_or(("redis", text));
    let (has_tls, is_of_sentinels) = match scheme {
        "redis" => (false, false),
        "rediss" => (true, false),
        "redis+sentinel" => (false, true),
        "rediss+sentinel" => (true, true),
        _ => return Err("the scheme is redis, rediss, redis+sentinel or rediss+sentinel".to_owned()),
    };
    let (addresses, primary) = rest.split_once('/').unwrap_or((rest, ""));
    let addresses: Vec<String> = addresses.split(',').map(ToOwned::to_owned).collect();
    let mode = match (is_of_sentinels, addresses.len()) {
        (true, _) => RawRedisMode::Sentinel,
        (false, 1) => RawRedisMode::Single,
        (false, _) => RawRedisMode::Cluster,
    };
    let redis = RawRedis {
        addresses,
        mode,
        primary: (!primary.is_empty()).then(|| primary.to_owned()),
        tls: has_tls.then(RawRedisTls::default),
        ..RawRedis::default()
    };
    let store = RawLimitStore { redis, on_failure: RawOnStoreFailure::default() };
    compile_store(store.clone()).map(|()| store).map_err(|fault| shown(&fault))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_url_is_a_server_a_cluster_or_sentinels() {
        for (text, redis) in [
            (
                "redis.redis-system.svc:6379",
                json!({"addresses": ["redis.redis-system.svc:6379"], "mode": "Single"}),
            ),
            ("redis://10.0.0.1:6379", json!({"addresses": ["10.0.0.1:6379"], "mode": "Single"})),
            ("rediss://a:1,b:2", json!({"addresses": ["a:1", "b:2"], "mode": "Cluster", "tls": {}})),
            (
                "redis+sentinel://a:1,b:2/mymaster",
                json!({"addresses": ["a:1", "b:2"], "mode": "Sentinel", "primary": "mymaster"}),
            ),
        ] {
            assert_eq!(
                serde_json::to_value(limit_store(text).unwrap()).unwrap(),
                json!({"redis": redis}),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_none_is_told_without_its_password() {
        for text in [
            "",
            "http://a:1",
            "redis://a",
            "redis://u:hunter2@a:1",
            "redis://a:1/0",
            "redis+sentinel://a:1",
            "a:1,",
        ] {
            let message = limit_store(text).expect_err(text);
            assert!(!message.contains("hunter2"), "{text}: {message}");
        }
    }
}
