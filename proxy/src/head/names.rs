//! Headers that are judged by their names alone, all in one pass: those that only the gateway may set, those that only
//! proxies in front of it may, those that a server behind it may take for others, and cookies.

use http::{HeaderMap, HeaderName, HeaderValue, header};
use penstock_config::HeadersWithUnderscores;
use pingora_http::RequestHeader;

use crate::error::Error;

/// Headers that the gateway itself sets. A client that sends one would decide where it goes, or claim what
/// only the gateway knows, so they are dropped.
const OWN_HEADERS: [&str; 2] = ["x-ai-eg-model", "x-gateway-model-name"];

/// Families of such headers.
const OWN_PREFIXES: [&str; 2] = ["x-penstock-", "x-gateway-destination-endpoint"];

/// The header in which a gateway tells the next how many a request has passed. It is believed whoever sends it: whoever says
/// more than is true has less of the gateway, and who takes it away makes a circle of his own.
pub(crate) const HOPS: HeaderName = HeaderName::from_static("x-penstock-hops");

/// Removes what a client may not say, and joins its cookies. `is_trusted` tells that it is a proxy that may speak for its
/// own clients. Returns how many gateways the request has passed before.
///
/// # Errors
/// A name has an underscore, and such requests are refused; or the request wants a WebSocket.
pub(super) fn sift(
    header: &mut RequestHeader,
    underscores: HeadersWithUnderscores,
    is_trusted: bool,
) -> Result<u32, Error> {
    let mut removed = Vec::new();
    let mut hops = 0;
    let (mut has_cookies, mut wants_upgrade) = (false, false);
    for name in header.headers.keys() {
        has_cookies |= *name == header::COOKIE;
        wants_upgrade |= *name == header::UPGRADE;
        let text = name.as_str();
        if text.as_bytes().contains(&b'_') {
            match underscores {
                HeadersWithUnderscores::Reject => return Err(Error::underscore(text)),
                HeadersWithUnderscores::Drop => removed.push(name.clone()),
                HeadersWithUnderscores::Allow => {}
            }
        } else if is_own(text) || !is_trusted && is_forwarding(text) {
            if *name == HOPS {
                hops = passed(&header.headers);
            }
            removed.push(name.clone());
        }
    }
    if wants_upgrade && names_websocket(&header.headers) {
        return Err(Error::WebSocket);
    }
    for name in removed {
        header.remove_header(&name);
    }
    if has_cookies {
        join_cookies(header)?;
    }
    Ok(hops)
}

/// What [`HOPS`] says. A number that is none, or a second one, is no gateway's: such a request has passed as many as there can
/// be.
#[cold]
fn passed(headers: &HeaderMap) -> u32 {
    let mut values = headers.get_all(&HOPS).iter();
    match (values.next().and_then(|value| value.to_str().ok()), values.next()) {
        (Some(value), None) => value.parse().unwrap_or(u32::MAX),
        _ => u32::MAX,
    }
}

/// Other upgrades are offers that a server may pass over (RFC 9110, 7.8), and are: a WebSocket's client can do nothing
/// else.
fn names_websocket(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(header::UPGRADE).iter();
    let mut protocols = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    protocols.any(|protocol| protocol.trim_ascii().eq_ignore_ascii_case(b"websocket"))
}

/// Makes one field of the cookies that an HTTP/2 client sends in several: HTTP/1.1 has one, and whoever reads cookies
/// expects one (RFC 9113, 8.2.3). Done here and not towards HTTP/1.1 upstreams, so that routes and policies see the same.
fn join_cookies(header: &mut RequestHeader) -> Result<(), Error> {
    let mut cookies = header.headers.get_all(header::COOKIE).iter();
    let (Some(first), Some(second)) = (cookies.next(), cookies.next()) else { return Ok(()) };
    let mut joined = [first.as_bytes(), second.as_bytes()].join(&b"; "[..]);
    for cookie in cookies {
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(cookie.as_bytes());
    }
    let joined = HeaderValue::from_maybe_shared(bytes::Bytes::from(joined)).map_err(Error::internal)?;
    header.insert_header(header::COOKIE, joined).map_err(Error::internal)
}

/// Removes what only the gateway may set from a request that is only talked about.
pub(crate) fn strip_own(headers: &mut HeaderMap) {
    let own: Vec<HeaderName> = headers.keys().filter(|name| is_own(name.as_str())).cloned().collect();
    for name in own {
        headers.remove(name);
    }
}

/// Whether only the gateway may set a header.
pub(crate) fn is_own(name: &str) -> bool {
    name.starts_with("x-")
        && (OWN_HEADERS.contains(&name) || OWN_PREFIXES.iter().any(|prefix| name.starts_with(prefix)))
}

/// What proxies tell of a client and of how it was connected to them.
fn is_forwarding(name: &str) -> bool {
    matches!(
        name,
        "x-forwarded-for"
            | "x-forwarded-proto"
            | "x-forwarded-host"
            | "x-forwarded-port"
            | "x-forwarded-client-cert"
            | "x-real-ip"
            | "x-envoy-external-address"
            | "forwarded"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_gateways_own_headers_are_stripped() {
        for name in [
            "x-ai-eg-model",
            "x-gateway-model-name",
            "x-penstock-pool",
            "x-gateway-destination-endpoint",
            "x-gateway-destination-endpoint-subset",
        ] {
            assert!(is_own(name), "{name}");
        }
        for name in ["x-request-id", "x-gateway-inference-objective", "x-session-token", "authorization"] {
            assert!(!is_own(name), "{name}");
        }
    }
}
