//! Which requests go to the same endpoint, as a BackendTrafficPolicy says it.

use std::collections::BTreeMap;

use penstock_config::Span;
use penstock_config::raw::{RawHashBy, RawHashCookie};
use serde_json::Value;

use super::span;
use crate::api::{TrafficBalancer, TrafficHash};
use crate::world::shorten;

/// The type of load balancers that go by this.
pub(super) const KIND: &str = "ConsistentHash";

/// The size of Maglev's table where nobody says another. A ring has none, and does what the table is for.
const TABLE_SIZE: i64 = 65_537;

/// The longest that documents have clients keep a cookie.
const LONGEST_COOKIE: Span = Span::secs(8760 * 3600);

/// The most headers and query parameters, and the most attributes of a cookie, that documents have.
const MAX_NAMES: usize = 16;

/// Reads what a policy says of it; `None` if it says nothing.
///
/// # Errors
/// It says something that cannot be: what, by its field.
pub(super) fn read(balancer: Option<&TrafficBalancer>) -> Result<Option<RawHashBy>, String> {
    const FIELD: &str = "loadBalancer.consistentHash";
    let Some(balancer) = balancer.filter(|balancer| balancer.kind == KIND) else { return Ok(None) };
    let wanted = balancer.consistent_hash.as_ref().ok_or_else(|| format!("{FIELD} is missing"))?;
    let names = |names: &[crate::api::TrafficHashName]| {
        let names: Vec<String> = names.iter().map(|it| it.name.clone()).filter(|it| !it.is_empty()).collect();
        names
    };
    let by = match wanted.kind.as_str() {
        "SourceIP" => RawHashBy { client: true, ..RawHashBy::default() },
        "Header" => {
            let header = wanted.header.as_slice();
            RawHashBy { headers: names(header), ..RawHashBy::default() }
        }
        "Headers" => RawHashBy { headers: names(&wanted.headers), ..RawHashBy::default() },
        "QueryParams" => RawHashBy { query_params: names(&wanted.query_params), ..RawHashBy::default() },
        "Cookie" => RawHashBy { cookie: cookie(wanted, FIELD)?, ..RawHashBy::default() },
        other => return Err(format!("{FIELD}.type: {:?} is not known", shorten(other, 40))),
    };
    if by == RawHashBy::default() {
        return Err(format!("{FIELD}: the section of type {} is missing", wanted.kind));
    }
    if by.headers.len().max(by.query_params.len()) > MAX_NAMES {
        return Err(format!("{FIELD}: {MAX_NAMES} names are the most"));
    }
    Ok(Some(by))
}

fn cookie(wanted: &TrafficHash, field: &str) -> Result<Option<RawHashCookie>, String> {
    let Some(wanted) = &wanted.cookie else { return Ok(None) };
    let ttl = span(wanted.ttl.as_deref(), &format!("{field}.cookie.ttl"))?;
    if wanted.attributes.len() > MAX_NAMES {
        return Err(format!("{field}.cookie.attributes: {MAX_NAMES} are the most"));
    }
    Ok(Some(RawHashCookie {
        name: wanted.name.clone(),
        ttl: ttl.map(|ttl| ttl.min(LONGEST_COOKIE)),
        // Of a cookie that nobody is given.
        attributes: ttl.map(|_| wanted.attributes.clone()).unwrap_or_default(),
    }))
}

/// What a policy says of it and is not acted on, as its status names it.
pub(super) fn idle(balancer: &TrafficBalancer) -> Vec<String> {
    const FIELD: &str = "spec.loadBalancer.consistentHash";
    let Some(wanted) = &balancer.consistent_hash else { return Vec::new() };
    if balancer.kind != KIND {
        return vec![FIELD.to_owned()];
    }
    let mut idle = Vec::new();
    let mut add = |place: &str, others: &BTreeMap<String, Value>| {
        idle.extend(others.keys().map(|name| format!("{FIELD}{place}.{}", shorten(name, 40))));
    };
    add("", &wanted.others);
    wanted.header.iter().for_each(|header| add(".header", &header.others));
    wanted.headers.iter().for_each(|header| add(".headers[]", &header.others));
    wanted.query_params.iter().for_each(|param| add(".queryParams[]", &param.others));
    wanted.cookie.iter().for_each(|cookie| add(".cookie", &cookie.others));
    if wanted.table_size.is_some_and(|size| size != TABLE_SIZE) {
        idle.push(format!("{FIELD}.tableSize"));
    }
    idle
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn balancer(balancer: Value) -> TrafficBalancer {
        serde_json::from_value(balancer).unwrap()
    }

    #[allow(clippy::needless_pass_by_value)] // as what `json!` makes
    fn by(hash: Value) -> Result<RawHashBy, String> {
        let balancer = balancer(json!({"type": "ConsistentHash", "consistentHash": hash}));
        read(Some(&balancer)).map(|by| by.expect("it says something"))
    }

    #[test]
    fn each_kind_is_read_and_one_without_its_section_is_told() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert!(by(json!({"type": "SourceIP", "tableSize": 65537})).unwrap().client);
        assert_eq!(
            by(json!({"type": "Header", "header": {"name": "x-user"}})).unwrap().headers,
            names(&["x-user"])
        );
        let headers = json!({"type": "Headers", "headers": [{"name": "a"}, {"name": "b"}]});
        assert_eq!(by(headers).unwrap().headers, names(&["a", "b"]));
        let params = json!({"type": "QueryParams", "queryParams": [{"name": "q"}]});
        assert_eq!(by(params).unwrap().query_params, names(&["q"]));
        let cookie = by(json!({"type": "Cookie", "cookie": {
            "name": "at", "ttl": "60s", "attributes": {"SameSite": "Strict"},
        }}));
        let cookie = cookie.unwrap().cookie.unwrap();
        assert_eq!((cookie.name.as_str(), cookie.ttl), ("at", Some(Span::secs(60))));
        assert_eq!(cookie.attributes["SameSite"], "Strict");
        let plain = by(json!({"type": "Cookie", "cookie": {"name": "at", "attributes": {"Path": "/"}}}));
        assert!(plain.unwrap().cookie.unwrap().attributes.is_empty());
        for (hash, word) in [
            (json!({"type": "Header"}), "section of type Header is missing"),
            (json!({"type": "Moon"}), "type: \"Moon\" is not known"),
            (json!({"type": "Cookie", "cookie": {"name": "a", "ttl": "soon"}}), "cookie.ttl: "),
        ] {
            let fault = by(hash).unwrap_err();
            assert!(fault.starts_with("loadBalancer.consistentHash") && fault.contains(word), "{fault}");
        }
        assert_eq!(read(Some(&balancer(json!({"type": "RoundRobin"})))), Ok(None));
        assert_eq!(read(None), Ok(None));
    }

    #[test]
    fn what_is_left_out_is_named() {
        let named = |of: Value| idle(&balancer(of));
        let hash = json!({"type": "ConsistentHash", "consistentHash": {
            "type": "Header", "header": {"name": "a", "terminal": true}, "tableSize": 1009, "later": 1,
        }});
        let fields = ["later", "header.terminal", "tableSize"];
        assert_eq!(named(hash), fields.map(|field| format!("spec.loadBalancer.consistentHash.{field}")));
        let other = json!({"type": "RoundRobin", "consistentHash": {"type": "SourceIP"}});
        assert_eq!(named(other), ["spec.loadBalancer.consistentHash"]);
        assert!(named(json!({"type": "RoundRobin"})).is_empty());
    }
}
