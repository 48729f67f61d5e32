//! Where data planes share the counters of limits, as a URL says it.

use penstock_config::raw::{RawLimitStore, RawOnStoreFailure, RawRedis, RawRedisMode, RawRedisTls};
use serde::de::DeserializeOwned;

use crate::compile::{compile_store, shown};

/// Reads `redis://HOST:PORT`, or the same without `redis://`; `rediss://` is with TLS. Several addresses, with commas, are nodes
/// of a cluster; with `redis+sentinel://` or `rediss+sentinel://` they are sentinels, and the path is the primary's name. Behind
/// a `?` stand `username`, `passwordFile` and `caFile` (paths in the data planes' pods), `database`, `deadline` and `onFailure`,
/// with `&` between them. A password has no place in it: it would be seen by whoever sees the command line.
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
    let (rest, parameters) = rest.split_once('?').unwrap_or((rest, ""));
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
    let mut store = RawLimitStore { redis, on_failure: RawOnStoreFailure::default() };
    for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        set(&mut store, name, value)?;
    }
    compile_store(store.clone()).map(|()| store).map_err(|fault| shown(&fault))
}

fn set(store: &mut RawLimitStore, name: &str, value: &str) -> Result<(), String> {
    let redis = &mut store.redis;
    match name {
        "username" => redis.username = Some(value.to_owned()),
        "passwordFile" => redis.password_file = Some(value.to_owned()),
        "caFile" => match &mut redis.tls {
            Some(tls) => tls.ca_file = Some(value.to_owned()),
            None => return Err("`caFile` is for rediss:// and rediss+sentinel://".to_owned()),
        },
        "database" => redis.database = value.parse().map_err(|_| "`database` is a number".to_owned())?,
        "deadline" => redis.deadline = read(name, value)?,
        "onFailure" => store.on_failure = read(name, value)?,
        "password" => return Err("a password is read from a file: `passwordFile`".to_owned()),
        _ => {
            return Err(
                "behind the `?` stand `username`, `passwordFile`, `caFile`, `database`, `deadline` and \
                        `onFailure`, each with a `=`"
                    .to_owned(),
            );
        }
    }
    Ok(())
}

/// A value as the document has it.
fn read<T: DeserializeOwned>(name: &str, value: &str) -> Result<T, String> {
    serde_json::from_value(value.into()).map_err(|error| format!("`{name}`: {error}"))
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
    fn what_stands_behind_the_address_says_how_it_is_spoken_to() {
        let text = "rediss://a:1?username=limits&passwordFile=/etc/limits/password&caFile=/etc/limits/ca.crt&database=2\
                    &deadline=50ms&onFailure=Closed";
        assert_eq!(
            serde_json::to_value(limit_store(text).unwrap()).unwrap(),
            json!({
                "redis": {
                    "addresses": ["a:1"], "mode": "Single", "database": 2, "username": "limits",
                    "passwordFile": "/etc/limits/password", "tls": {"caFile": "/etc/limits/ca.crt"}, "deadline": "50ms",
                },
                "onFailure": "Closed",
            })
        );
        for (text, said) in [
            ("redis://a:1?password=hunter2", "passwordFile"),
            ("redis://a:1?caFile=/ca", "rediss://"),
            ("redis://a:1?deadline=hunter2", "deadline"),
            ("redis://a:1?onFailure=Never", "LocalShare"),
            ("redis://a:1?database=x", "database"),
            ("redis://a:1?user=limits", "username"),
            ("redis://a:1?deadline=1h", "5s"),
        ] {
            let message = limit_store(text).expect_err(text);
            assert!(message.contains(said), "{text}: {message}");
        }
    }

    #[test]
    fn what_is_none_is_told_without_its_password() {
        for text in [
            "",
            "http://a:1",
            "redis://a",
            "redis://u:hunter2@a:1",
            "redis://a:1?password=hunter2",
            "redis://a:1/0",
            "redis+sentinel://a:1",
            "a:1,",
        ] {
            let message = limit_store(text).expect_err(text);
            assert!(!message.contains("hunter2"), "{text}: {message}");
        }
    }
}
