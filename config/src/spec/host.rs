//! Hostnames, exact or with a leftmost wildcard.

use std::fmt;

/// A hostname that requests are matched against (Gateway API's `Hostname`), in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// This host.
    Exact(Box<str>),
    /// Every host with one or more labels before this suffix; `*.example.com` holds `example.com`.
    Wildcard(Box<str>),
}

impl HostPattern {
    /// Whether a host matches. `host` is in lower case and has no port.
    pub fn matches(&self, host: &str) -> bool {
        match self {
            Self::Exact(exact) => host == &**exact,
            Self::Wildcard(suffix) => host
                .strip_suffix(&**suffix)
                .and_then(|rest| rest.strip_suffix('.'))
                .is_some_and(|rest| !rest.is_empty()),
        }
    }
}

impl HostPattern {
    /// How narrow the pattern is: of two that match a host, the one with the higher number is the more specific.
    pub(crate) fn specificity(&self) -> usize {
        match self {
            Self::Exact(_) => usize::MAX,
            Self::Wildcard(suffix) => 1 + suffix.len(),
        }
    }

    /// Whether there is a host that both match.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        let is_within = |suffix: &str, outer: &str| {
            suffix.strip_suffix(outer).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        match (self, other) {
            (Self::Exact(host), pattern) | (pattern, Self::Exact(host)) => pattern.matches(host),
            (Self::Wildcard(a), Self::Wildcard(b)) => is_within(a, b) || is_within(b, a),
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(host) => f.write_str(host),
            Self::Wildcard(suffix) => write!(f, "*.{suffix}"),
        }
    }
}

/// A host without its port, and without the dot that may end a name and means the same (RFC 3986, 3.2.2). The brackets of
/// an IPv6 address stay.
pub fn bare(host: &str) -> &str {
    // Byte by byte from the end, where the port is: it is short, and each request's host is asked.
    let host = match host.bytes().rposition(|byte| matches!(byte, b':' | b']')) {
        Some(at) if host.as_bytes()[at] == b':' => &host[..at],
        _ => host,
    };
    host.strip_suffix('.').unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::bare;

    #[test]
    fn a_host_is_bare_without_its_port_and_its_final_dot() {
        for (host, expected) in [
            ("a.example", "a.example"),
            ("a.example:80", "a.example"),
            ("a.example.:80", "a.example"),
            ("a.example.", "a.example"),
            ("[::1]:80", "[::1]"),
            ("[::1]", "[::1]"),
            ("a:", "a"),
            (":80", ""),
            ("", ""),
        ] {
            assert_eq!(bare(host), expected, "{host}");
        }
    }
}
