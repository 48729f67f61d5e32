//! Lowering where gateways share counters.

use rustc_hash::FxHashSet;

use super::file::Files;
use super::text;
use crate::knob::Knob as _;
use crate::raw::{RawLimitStore, RawOnStoreFailure, RawRedis, RawRedisMode};
use crate::report::{FieldPath, Quoted, Report};
use crate::spec::{LimitStore, OnStoreFailure, RedisMode, RedisSpec, RedisTls};

/// The store of a document at `place`.
pub(super) fn lower(
    raw: &RawLimitStore,
    place: &FieldPath<'_>,
    files: &mut Files,
    report: &mut Report,
) -> LimitStore {
    let on_failure = match raw.on_failure {
        RawOnStoreFailure::LocalShare => OnStoreFailure::LocalShare,
        RawOnStoreFailure::Open => OnStoreFailure::Open,
        RawOnStoreFailure::Closed => OnStoreFailure::Closed,
    };
    LimitStore { redis: redis(&raw.redis, &place.field("redis"), files, report), on_failure }
}

fn redis(raw: &RawRedis, place: &FieldPath<'_>, files: &mut Files, report: &mut Report) -> RedisSpec {
    check_addresses(raw, &place.field("addresses"), report);
    if raw.mode == RawRedisMode::Cluster && raw.database > 0 {
        report.add(&place.field("database"), || "a cluster has database 0 alone: leave it out".to_owned());
    }
    for (field, text) in [("keyPrefix", Some(&raw.key_prefix)), ("scope", raw.scope.as_ref())] {
        let is_of_key = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':');
        if let Some(text) = text.filter(|text| !text.bytes().all(is_of_key)) {
            let message = || format!("{} is none: use letters, digits, `-`, `_`, `.` and `:`", Quoted(text));
            report.add(&place.field(field), message);
        }
    }
    if let Some(Err(message)) = raw.username.as_deref().map(text::label) {
        report.add(&place.field("username"), || message);
    }
    let tls_place = place.field("tls");
    let mut path = |written: &str, place: &FieldPath<'_>| files.path(written, place, report);
    let password_file = raw.password_file.as_deref().map(|file| path(file, &place.field("passwordFile")));
    let tls = raw.tls.as_ref().map(|tls| RedisTls {
        ca_file: tls.ca_file.as_deref().map(|file| path(file, &tls_place.field("caFile"))),
    });
    RedisSpec {
        addresses: raw.addresses.iter().map(|address| address.as_str().into()).collect(),
        mode: mode(raw, place, report),
        database: raw.database,
        username: raw.username.as_deref().map(Into::into),
        password_file,
        tls,
        deadline: raw.deadline.value(),
        key_prefix: raw.key_prefix.as_str().into(),
        scope: raw.scope.as_deref().map(Into::into),
    }
}

fn mode(raw: &RawRedis, place: &FieldPath<'_>, report: &mut Report) -> RedisMode {
    let place = place.field("primary");
    match (raw.mode, raw.primary.as_deref()) {
        (RawRedisMode::Sentinel, Some(primary)) => RedisMode::Sentinel(primary.into()),
        (RawRedisMode::Sentinel, None) => {
            let message = "is missing: sentinels know the primary by a name, such as \"mymaster\"";
            report.add(&place, || message.to_owned());
            RedisMode::Sentinel(Box::default())
        }
        (mode, primary) => {
            if primary.is_some() {
                report.add(&place, || "has no meaning without sentinels: write mode: Sentinel".to_owned());
            }
            if mode == RawRedisMode::Cluster { RedisMode::Cluster } else { RedisMode::Single }
        }
    }
}

fn check_addresses(raw: &RawRedis, place: &FieldPath<'_>, report: &mut Report) {
    let mut seen = FxHashSet::default();
    for (index, address) in raw.addresses.iter().enumerate() {
        let place = place.index(index);
        if let Err(message) = check_address(address) {
            report.add(&place, || message);
        }
        if !seen.insert(address.as_str()) {
            report.add(&place, || format!("{} is given twice", Quoted(address)));
        }
    }
    if raw.mode == RawRedisMode::Single && raw.addresses.len() > 1 {
        let message =
            || "one server has one address: write mode: Cluster or Sentinel, or leave it out".to_owned();
        report.add(&place.index(1), message);
    }
}

/// `HOST:PORT`, of which the host may be an address, in brackets if of IPv6. A URL is not repeated: it may have a password.
fn check_address(address: &str) -> Result<(), String> {
    if address.contains("://") || address.contains('@') {
        return Err("is not HOST:PORT: leave out the scheme, and a user and password, which have fields of their own \
                    (tls, username, passwordFile)"
            .to_owned());
    }
    let wanted = || format!("{} is not HOST:PORT, such as \"redis:6379\"", Quoted(address));
    let (host, port) = address.rsplit_once(':').ok_or_else(wanted)?;
    if port.parse::<u16>().ok().filter(|port| *port > 0).is_none() {
        return Err(wanted());
    }
    let of_ipv6 = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_address = match of_ipv6 {
        Some(host) => host.parse::<std::net::Ipv6Addr>().is_ok(),
        None => host.parse::<std::net::Ipv4Addr>().is_ok(),
    };
    if is_address { Ok(()) } else { text::dns_name(host.trim_end_matches('.')).map_err(|_| wanted()) }
}
