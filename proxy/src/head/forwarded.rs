//! Whom a proxy in front of the gateway speaks for.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName};
use penstock_config::Listener;

/// The client's address by what trusted proxies say: the last in `x-forwarded-for` that is no trusted proxy's. Whoever
/// stands before that one may have written the rest. If all are trusted, the first; `None` if there is none.
///
/// Only to be asked if a trusted proxy sent the request.
pub(super) fn client(headers: &HeaderMap, listener: &Listener) -> Option<IpAddr> {
    let lines = headers.get_all("x-forwarded-for").iter().rev();
    let mut known = None;
    for entry in lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b',')) {
        // What is no address was not written by a proxy that means well: the one behind it is the last that is known.
        let Some(address) = address(entry) else { break };
        known = Some(address);
        if !listener.trusts(address) {
            break;
        }
    }
    known
}

/// The client's address where there are `hops` proxies: that entry of `x-forwarded-for`, counted from its end. `None` if there
/// are fewer, or that one is no address.
pub(super) fn behind(headers: &HeaderMap, hops: usize) -> Option<IpAddr> {
    let lines = headers.get_all("x-forwarded-for").iter().rev();
    let mut entries = lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
    entries.nth(hops.checked_sub(1)?).and_then(address)
}

/// The address in a header that is there once and has nothing else in it.
pub(super) fn named(headers: &HeaderMap, name: &HeaderName) -> Option<IpAddr> {
    let mut lines = headers.get_all(name).iter();
    let (first, None) = (lines.next()?, lines.next()) else { return None };
    address(first.as_bytes())
}

/// An address, as some proxies write it with a port or in brackets.
fn address(entry: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(entry).ok()?.trim();
    let address = text.parse().ok().or_else(|| Some(text.parse::<SocketAddr>().ok()?.ip()));
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    address.or_else(bracketed).map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use penstock_config::{NoProfileCheck, Snapshot};

    use super::*;

    #[test]
    fn proxies_that_are_counted_are_counted_from_the_end() {
        let of = |lines: &[&str], hops| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append("x-forwarded-for", line.parse().unwrap());
            }
            behind(&headers, hops).map(|address| address.to_string())
        };
        let lines = &["203.0.113.128, 203.0.113.10", "203.0.113.1"];
        assert_eq!(of(lines, 1).as_deref(), Some("203.0.113.1"));
        assert_eq!(of(lines, 2).as_deref(), Some("203.0.113.10"));
        assert_eq!(of(lines, 3).as_deref(), Some("203.0.113.128"));
        assert_eq!(of(lines, 4), None);
        assert_eq!(of(&["a, 1.1.1.1"], 2), None);
        assert_eq!(of(&[], 1), None);
    }

    #[test]
    fn a_header_that_names_the_client_does_so_once_and_alone() {
        let name = HeaderName::from_static("x-client");
        let of = |lines: &[&str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(&name, line.parse().unwrap());
            }
            named(&headers, &name).map(|address| address.to_string())
        };
        assert_eq!(of(&["203.0.113.7"]).as_deref(), Some("203.0.113.7"));
        assert_eq!(of(&[" 2001:db8::1 "]).as_deref(), Some("2001:db8::1"));
        for bad in [&[][..], &["203.0.113.7, 10.0.0.1"], &["203.0.113.7", "203.0.113.7"], &["me"], &[""]] {
            assert_eq!(of(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn the_client_is_the_last_that_is_no_trusted_proxy() {
        let text = "apiVersion: penstock.dev/v1alpha1\nkind: RoutingConfig\nlisteners: [{name: a, address: \
                    '127.0.0.1:0', trustedProxies: [10.0.0.0/8, 'fd00::/8']}]\n";
        let snapshot = Snapshot::compile(text, &NoProfileCheck).unwrap();
        let of = |lines: &[&str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append("x-forwarded-for", line.parse().unwrap());
            }
            client(&headers, &snapshot.listeners[0]).map(|address| address.to_string())
        };
        for (lines, found) in [
            (&[][..], None),
            (&["203.0.113.7"], Some("203.0.113.7")),
            (&["1.1.1.1, 203.0.113.7"], Some("203.0.113.7")),
            (&["1.1.1.1, 203.0.113.7 ,10.0.0.1,10.0.0.2"], Some("203.0.113.7")),
            (&["1.1.1.1", "203.0.113.7", "fd00::1"], Some("203.0.113.7")),
            (&["10.0.0.1, 10.0.0.2"], Some("10.0.0.1")),
            (&["203.0.113.7, unknown, 10.0.0.2"], Some("10.0.0.2")),
            (&["203.0.113.7, "], None),
            (&["203.0.113.7:4711, [fd00::1]:80, ::ffff:10.0.0.1"], Some("203.0.113.7")),
            (&["[2001:db8::1]"], Some("2001:db8::1")),
        ] {
            assert_eq!(of(lines).as_deref(), found, "{lines:?}");
        }
    }
}
