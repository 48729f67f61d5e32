//! Whom a proxy in front of the gateway speaks for.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;
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
