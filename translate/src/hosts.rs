//! Hostnames of listeners and routes, exact or with a leftmost wildcard; and hosts that are whoever uses them.

use std::net::IpAddr;

/// Whether there is a host that both patterns match. Case does not count.
pub(crate) fn overlap(a: &str, b: &str) -> bool {
    let (a, b) = (a.to_ascii_lowercase(), b.to_ascii_lowercase());
    match (a.strip_prefix("*."), b.strip_prefix("*.")) {
        (None, None) => a == b,
        (Some(suffix), None) => is_below(&b, suffix),
        (None, Some(suffix)) => is_below(&a, suffix),
        (Some(a), Some(b)) => a == b || is_below(a, b) || is_below(b, a),
    }
}

/// The hosts of a route that a listener can have requests for, in the route's order and each once; `None` if there are
/// none. No hosts are all hosts.
pub(crate) fn intersect(route: &[String], listener: Option<&str>) -> Option<Vec<String>> {
    let mut hosts: Vec<String> = Vec::new();
    for host in route {
        let host = host.to_ascii_lowercase();
        if !hosts.contains(&host) && listener.is_none_or(|listener| overlap(&host, listener)) {
            hosts.push(host);
        }
    }
    (route.is_empty() || !hosts.is_empty()).then_some(hosts)
}

/// Whether a host is that of whoever uses it: to a data plane, itself.
pub(crate) fn is_own_host(host: &str) -> bool {
    let host = host.trim_end_matches('.');
    host.eq_ignore_ascii_case("localhost")
        || host.to_ascii_lowercase().ends_with(".localhost")
        || host.parse::<IpAddr>().map_or_else(|_| is_old_number(host), is_own)
}

/// Whether a text is the address of something that data planes ask by HTTP, which their own host is only where that is
/// allowed.
///
/// # Errors
/// It is not: what it is or lacks, to stand behind the address.
pub(crate) fn check_address(text: &str, allow_loopback: bool) -> Result<(), &'static str> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let rest = rest.ok_or("is not an address that begins with https://")?;
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    if host.is_empty() || authority.contains('@') {
        return Err("has no host");
    }
    if is_own_host(host) && !allow_loopback {
        return Err("is the gateway itself");
    }
    Ok(())
}

/// Whether resolvers take it for an IPv4 address in one of the old forms, such as 127.1 or 0x7f000001.
fn is_old_number(host: &str) -> bool {
    let last = host.rsplit('.').next().unwrap_or_default();
    match last.strip_prefix("0x").or_else(|| last.strip_prefix("0X")) {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

/// Whether an address is that of whoever uses it.
pub(crate) fn is_own(address: IpAddr) -> bool {
    let address = address.to_canonical();
    address.is_loopback() || address.is_unspecified()
}

fn is_below(host: &str, suffix: &str) -> bool {
    host.strip_suffix(suffix).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::{intersect, is_own_host, overlap};

    #[test]
    fn the_hosts_that_are_whoever_asks_them() {
        for host in
            ["localhost", "LOCALHOST.", "a.localhost", "127.0.0.1", "0.0.0.0", "::1", "::ffff:127.0.0.1"]
        {
            assert!(is_own_host(host), "{host}");
        }
        for host in ["127.1", "2130706433", "0x7f000001", "0177.0.0.1", "0x7f.1", "a.0X1"] {
            assert!(is_own_host(host), "{host}");
        }
        for host in
            ["10.0.0.1", "fd00::1", "example.com", "localhost.example.com", "1a.example", "7.example.com"]
        {
            assert!(!is_own_host(host), "{host}");
        }
    }

    #[test]
    fn patterns_overlap_as_gateway_api_says() {
        for (a, b, expected) in [
            ("a.com", "a.com", true),
            ("A.com", "a.COM", true),
            ("*.a.com", "x.a.com", true),
            ("*.a.com", "y.x.a.com", true),
            ("*.a.com", "a.com", false),
            ("*.a.com", "*.x.a.com", true),
            ("*.a.com", "*.b.com", false),
            ("*.a.com", "xa.com", false),
        ] {
            assert_eq!(overlap(a, b), expected, "{a} {b}");
            assert_eq!(overlap(b, a), expected, "{b} {a}");
        }
    }

    #[test]
    fn a_route_keeps_the_hosts_that_a_listener_has() {
        let route = ["x.a.com".to_owned(), "b.com".to_owned(), "X.a.com".to_owned()];
        assert_eq!(intersect(&route, Some("*.a.com")), Some(vec!["x.a.com".to_owned()]));
        assert_eq!(intersect(&route, Some("c.com")), None);
        assert_eq!(intersect(&[], Some("c.com")), Some(vec![]));
    }
}
