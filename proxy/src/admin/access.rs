//! Who may ask the admin listener, and for what.
//!
//! Health and metrics are for whoever can connect: probes and Prometheus come from other machines and bring nothing to be
//! known by. A browser on a machine that can connect is another matter, since any web page may use it: by a name that its
//! owner lets lead here (DNS rebinding), which the `Host` header gives away, or across origins, which `Origin` does.
//!
//! The debug pages show what is configured and where requests go, and are for people on the machine. Tokens of the
//! cluster (TokenReview) were turned down: the gateway would need the right to ask for reviews, and `kubectl
//! port-forward`, which arrives on loopback, is bound to the cluster's own rights already.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::uri::Authority;
use http::{HeaderMap, Request, StatusCode, header};
use penstock_config::{AdminSpec, DebugAccess};
use thiserror::Error;

use crate::text::clip;

/// The longest piece of a host that an answer quotes, in bytes.
const MAX_QUOTED_BYTES: usize = 128;

/// Why a request is not answered.
#[derive(Debug, PartialEq, Eq, Error)]
pub(super) enum Refusal {
    /// It was asked by a name that is not the listener's.
    #[error(
        "this listener does not answer to the name {0:?}: use its IP address or localhost, or list the name in \
         admin.hosts of the routing document"
    )]
    Host(Box<str>),
    /// A web page from elsewhere asks.
    #[error("web pages of other origins may not ask this listener")]
    Origin,
    /// The debug pages are asked for from another machine.
    #[error(
        "the debug pages are for 127.0.0.1 and ::1: use `kubectl port-forward POD PORT` or ask from the machine itself, \
         or set admin.debug to anyone in the routing document"
    )]
    NotLocal,
}

impl Refusal {
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Host(_) => StatusCode::MISDIRECTED_REQUEST,
            Self::Origin | Self::NotLocal => StatusCode::FORBIDDEN,
        }
    }
}

/// Whether `peer` may ask what `request` asks.
///
/// # Errors
/// Why not.
pub(super) fn check<B>(spec: &AdminSpec, peer: IpAddr, request: &Request<B>) -> Result<(), Refusal> {
    if let Some(authority) = request.uri().authority() {
        check_host(spec, authority.as_str())?;
    }
    // What has none is no browser.
    for host in request.headers().get_all(header::HOST) {
        check_host(spec, host.to_str().unwrap_or_default())?;
    }
    if !is_same_origin(request.headers()) {
        return Err(Refusal::Origin);
    }
    let is_open = !request.uri().path().starts_with("/debug") || spec.debug == DebugAccess::Anyone;
    if is_open || is_local(peer) { Ok(()) } else { Err(Refusal::NotLocal) }
}

fn check_host(spec: &AdminSpec, given: &str) -> Result<(), Refusal> {
    let refusal = || Refusal::Host(clip(given, MAX_QUOTED_BYTES).into());
    let authority: Authority = given.parse().map_err(|_| refusal())?;
    if given.contains('@') {
        return Err(refusal());
    }
    let host = authority.host();
    let host = host.strip_suffix('.').unwrap_or(host);
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let is_known = bare.parse::<IpAddr>().is_ok()
        || host.eq_ignore_ascii_case("localhost")
        || spec.hosts.iter().any(|known| known.eq_ignore_ascii_case(host));
    if is_known { Ok(()) } else { Err(refusal()) }
}

/// Whether no page of another origin asks. Pages say theirs with everything but a plain GET, whose answer the browser
/// keeps from them.
fn is_same_origin(headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).map(|host| host.as_bytes());
    headers.get_all(header::ORIGIN).iter().all(|origin| {
        let origin = origin.as_bytes();
        let authority = origin.strip_prefix(b"http://").or_else(|| origin.strip_prefix(b"https://"));
        authority.zip(host).is_some_and(|(authority, host)| authority.eq_ignore_ascii_case(host))
    })
}

/// Whether a connection comes from the machine itself. Of 127.0.0.0/8 only the address that programs use: sidecars pass
/// on what comes from elsewhere from others of it (Istio's from 127.0.0.6).
pub(super) fn is_local(peer: IpAddr) -> bool {
    match peer.to_canonical() {
        IpAddr::V4(peer) => peer == Ipv4Addr::LOCALHOST,
        IpAddr::V6(peer) => peer == Ipv6Addr::LOCALHOST,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(path: &str, headers: &[(&str, &str)]) -> Request<()> {
        let request = Request::get(path);
        headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)).body(()).unwrap()
    }

    fn spec(hosts: &[&str], debug: DebugAccess) -> AdminSpec {
        AdminSpec { hosts: hosts.iter().map(|host| (*host).into()).collect(), debug, ..AdminSpec::default() }
    }

    const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 9));

    #[test]
    fn only_addresses_and_known_names_are_answered_to() {
        let spec = spec(&["Admin.example.com", "penstock"], DebugAccess::Local);
        for host in [
            "127.0.0.1:9901",
            "10.1.2.3",
            "[::1]:9901",
            "[fd00::1]",
            "localhost",
            "LocalHost:1234",
            "localhost.:80",
            "admin.example.com",
            "ADMIN.example.com:443",
            "penstock:9901",
        ] {
            assert_eq!(check(&spec, ELSEWHERE, &asked("/metrics", &[("host", host)])), Ok(()), "{host}");
        }
        assert_eq!(check(&spec, ELSEWHERE, &asked("/metrics", &[])), Ok(()));
        for host in [
            "evil.example",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "127.1",
            "0x7f000001",
            "",
            "a b",
            "localhost@evil.example",
            "evil@localhost",
            "example.com",
            "x.admin.example.com",
            "[::1",
            "penstock:9901:1",
        ] {
            let refused = check(&spec, LOCAL, &asked("/metrics", &[("host", host)]));
            assert!(matches!(refused, Err(Refusal::Host(_))), "{host}: {refused:?}");
        }
        let two = asked("/metrics", &[("host", "localhost"), ("host", "evil.example")]);
        assert!(check(&spec, LOCAL, &two).is_err());
        assert!(
            check(&spec, LOCAL, &asked("http://evil.example/metrics", &[("host", "localhost")])).is_err()
        );
        assert_eq!(check(&spec, LOCAL, &asked("http://localhost/metrics", &[("host", "localhost")])), Ok(()));
    }

    #[test]
    fn pages_of_other_origins_are_refused() {
        let spec = AdminSpec::default();
        let from = |origin| asked("/debug/pools", &[("host", "localhost:9901"), ("origin", origin)]);
        for origin in ["http://localhost:9901", "https://LOCALHOST:9901"] {
            assert_eq!(check(&spec, LOCAL, &from(origin)), Ok(()), "{origin}");
        }
        for origin in ["null", "http://localhost:3000", "http://evil.example", "localhost:9901", ""] {
            assert_eq!(check(&spec, LOCAL, &from(origin)), Err(Refusal::Origin), "{origin}");
        }
    }

    #[test]
    fn debug_pages_are_local_unless_they_are_for_anyone() {
        let by = |debug, peer: &str, path| check(&spec(&[], debug), peer.parse().unwrap(), &asked(path, &[]));
        for peer in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(by(DebugAccess::Local, peer, "/debug/pools"), Ok(()), "{peer}");
        }
        for peer in ["10.0.0.9", "127.0.0.6", "::ffff:10.0.0.9", "fe80::1"] {
            assert_eq!(by(DebugAccess::Local, peer, "/debug/pools"), Err(Refusal::NotLocal), "{peer}");
            assert_eq!(by(DebugAccess::Anyone, peer, "/debug/pools"), Ok(()), "{peer}");
            for path in ["/", "/livez", "/healthz", "/readyz", "/metrics"] {
                assert_eq!(by(DebugAccess::Local, peer, path), Ok(()), "{peer} {path}");
            }
        }
    }
}
