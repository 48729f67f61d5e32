//! Headers that speak of the connection to the client, and do not go on (RFC 9110 §7.6.1).

use http::{HeaderMap, HeaderName, header};

use crate::error::Error;

/// The most headers that `Connection` may name. Honest clients name one or two.
const MAX_NAMED: usize = 10;

/// What arrives upstream whatever `Connection` says: a client that could take it away would hide where it comes from.
const PROTECTED: [&str; 4] = ["host", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"];

/// A copy of the headers that go on, with room for `added` ones: without hop-by-hop headers, those among them that
/// `Connection` names, and without what the client expects of the gateway.
///
/// # Errors
/// `Connection` names too many, what is no header, or one that must arrive.
pub(crate) fn copy(headers: &HeaderMap, added: usize) -> Result<HeaderMap, Error> {
    // One by one: a copy of the whole map has to be made larger, and searched for each name that is taken out.
    let mut copy = HeaderMap::with_capacity(headers.len() + added);
    let mut names_others = false;
    for (name, value) in headers {
        if is_hop_by_hop(name) {
            names_others |= *name == header::CONNECTION;
        } else if *name != header::EXPECT {
            copy.append(name.clone(), value.clone());
        }
    }
    if names_others {
        for name in named(headers)? {
            copy.remove(name);
        }
    }
    Ok(copy)
}

/// Whether a header speaks of the connection.
pub(crate) fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
            | "http2-settings"
    )
}

fn named(headers: &HeaderMap) -> Result<Vec<HeaderName>, Error> {
    let lines = headers.get_all(header::CONNECTION).iter();
    let tokens = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    let mut names = Vec::new();
    for token in tokens.map(<[u8]>::trim_ascii).filter(|token| !token.is_empty()) {
        // What speaks of the connection itself names no header.
        if token.eq_ignore_ascii_case(b"keep-alive") || token.eq_ignore_ascii_case(b"close") {
            continue;
        }
        let name =
            HeaderName::from_bytes(token).map_err(|_| Error::BadHeader("Connection names no header"))?;
        if PROTECTED.contains(&name.as_str()) {
            return Err(Error::BadHeader("Connection names a header that must arrive"));
        }
        names.push(name);
        if names.len() >= MAX_NAMED {
            return Err(Error::BadHeader("Connection names too many headers"));
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn stripped(headers: &[(&'static str, &'static str)]) -> Result<Vec<String>, Error> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let copy = copy(&map, 0)?;
        Ok(copy.keys().map(|name| name.as_str().to_owned()).collect())
    }

    #[test]
    fn what_speaks_of_the_connection_stays_behind() {
        let left = stripped(&[
            ("connection", "keep-alive, X-Hop"),
            ("connection", "upgrade"),
            ("x-hop", "1"),
            ("upgrade", "websocket"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("keep-alive", "1"),
            ("http2-settings", "x"),
            ("proxy-authorization", "Basic x"),
            ("expect", "100-continue"),
            ("authorization", "Bearer x"),
        ]);
        assert_eq!(left.unwrap(), ["authorization"]);
        assert_eq!(stripped(&[("connection", "close"), ("close", "kept")]).unwrap(), ["close"]);
    }

    #[test]
    fn what_must_arrive_cannot_be_taken_away() {
        for value in ["Host", "x-forwarded-for", "close, X-Forwarded-Proto", "a b", ":authority", "\"x\""] {
            assert!(stripped(&[("connection", value)]).is_err(), "{value}");
        }
        assert!(stripped(&[("connection", "a,b,c,d,e,f,g,h,i,j")]).is_err());
    }
}
