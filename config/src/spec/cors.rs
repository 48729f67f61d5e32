//! Which web pages may ask.

use http::HeaderValue;

/// Which web pages of other origins may ask, and see answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cors {
    /// Their origins.
    pub origins: Box<[Origin]>,
    /// Methods.
    pub methods: Listed,
    /// Headers of requests.
    pub headers: Listed,
    /// Headers of answers.
    pub exposed: Listed,
    /// How long it may be kept in mind, in seconds.
    pub max_age: Option<HeaderValue>,
    /// Whether requests may have what the browser holds for the gateway.
    pub allows_credentials: bool,
}

/// Names that a header lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listed {
    /// None.
    None,
    /// These.
    These(HeaderValue),
    /// All.
    All,
}

/// Origins of pages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// All, `null` among them.
    Any,
    /// This one, in lower case.
    Exact(Box<str>),
    /// All with a scheme, a port, and a host that ends so; any port if the host may be any and none is given.
    Below {
        /// The scheme, in lower case.
        scheme: Box<str>,
        /// What hosts end in, with its dot; empty for all hosts.
        suffix: Box<str>,
        /// The port.
        port: Option<Box<str>>,
    },
}

impl Cors {
    /// Whether a page of this origin may ask.
    pub fn allows(&self, origin: &str) -> bool {
        let origin = origin.to_ascii_lowercase();
        self.origins.iter().any(|allowed| allowed.is_met(&origin))
    }

    /// Whether any origin will do, and answers do not differ by it.
    pub fn is_public(&self) -> bool {
        !self.allows_credentials && self.origins.contains(&Origin::Any)
    }
}

impl Origin {
    /// Reads `*`, `scheme://host`, `scheme://*.host` or `scheme://*`, each but the first with a port if need be; `None` if it is
    /// something else.
    pub fn parse(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::Any);
        }
        let text = text.to_ascii_lowercase();
        let (scheme, rest) = text.split_once("://")?;
        let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+.-".contains(&byte));
        let (host, port) = host_and_port(rest)?;
        let is_port =
            |port: &str| port.parse::<u16>().is_ok() && port.bytes().all(|byte| byte.is_ascii_digit());
        if !is_scheme || port.is_some_and(|port| !is_port(port)) {
            return None;
        }
        let suffix = match host.strip_prefix('*') {
            None if is_host(host) => return Some(Self::Exact(text.into())),
            None => return None,
            Some("") => "",
            Some(suffix) if suffix.strip_prefix('.').is_some_and(is_host) => suffix,
            Some(_) => return None,
        };
        Some(Self::Below { scheme: scheme.into(), suffix: suffix.into(), port: port.map(Into::into) })
    }

    /// Whether an origin in lower case is one of them.
    fn is_met(&self, origin: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(exact) => **exact == *origin,
            Self::Below { scheme, suffix, port } => {
                let Some((own_scheme, rest)) = origin.split_once("://") else { return false };
                let Some((host, own_port)) = host_and_port(rest) else { return false };
                let is_below = host.strip_suffix(&**suffix).is_some_and(|below| !below.is_empty());
                let is_port = own_port == port.as_deref() || suffix.is_empty() && port.is_none();
                own_scheme == &**scheme && is_below && is_host(host) && is_port
            }
        }
    }
}

/// What stands before and behind the colon, if there is one outside of brackets.
fn host_and_port(text: &str) -> Option<(&str, Option<&str>)> {
    match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => Some((host, Some(port))),
        _ if text.is_empty() => None,
        _ => Some((text, None)),
    }
}

fn is_host(host: &str) -> bool {
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_address = |text: &str| text.parse::<std::net::Ipv6Addr>().is_ok();
    match inner {
        Some(address) => is_address(address),
        None => {
            let is_of_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
            !host.is_empty() && !host.starts_with('.') && host.bytes().all(is_of_host)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_met(origin: &str, by: &str) -> bool {
        Origin::parse(origin).unwrap().is_met(by)
    }

    #[test]
    fn an_origin_is_met_by_itself_or_by_hosts_below() {
        for (origin, by) in [
            ("https://app.example.com", "https://app.example.com"),
            ("HTTPS://App.example.com", "https://app.example.com"),
            ("http://localhost:3000", "http://localhost:3000"),
            ("http://[::1]:3000", "http://[::1]:3000"),
            ("https://*.example.com", "https://a.example.com"),
            ("https://*.example.com", "https://a.b.example.com"),
            ("https://*.example.com:8443", "https://a.example.com:8443"),
            ("https://*", "https://a.example.com"),
            ("https://*", "https://a.example.com:8443"),
            ("moz-extension://*", "moz-extension://0b1c"),
            ("*", "null"),
            ("*", "https://a.example"),
        ] {
            assert!(is_met(origin, by), "{origin} {by}");
        }
    }

    #[test]
    fn nothing_else_meets_it() {
        for (origin, by) in [
            ("https://app.example.com", "http://app.example.com"),
            ("https://app.example.com", "https://app.example.com:443"),
            ("https://app.example.com", "https://app.example.com.evil.example"),
            ("https://app.example.com", "https://evil.example#https://app.example.com"),
            ("https://*.example.com", "https://example.com"),
            ("https://*.example.com", "https://.example.com"),
            ("https://*.example.com", "https://evilexample.com"),
            ("https://*.example.com", "https://evil.example/.example.com"),
            ("https://*.example.com", "https://evil.example?.example.com"),
            ("https://*.example.com", "https://evil.example@a.example.com"),
            ("https://*.example.com", "https://a.example.com:8443"),
            ("https://*.example.com", "http://a.example.com"),
            ("https://*.example.com", "null"),
            ("https://*:8443", "https://a.example.com"),
            ("https://*", "http://a.example.com"),
            ("https://*", "https://"),
        ] {
            assert!(!is_met(origin, by), "{origin} {by}");
        }
    }

    #[test]
    fn what_is_no_origin_is_none() {
        for text in [
            "",
            "null",
            "example.com",
            "https://",
            "https://a/",
            "https://a/b",
            "https://a?b",
            "https://a:b",
            "https://a:99999",
            "https://a b",
            "https://*a",
            "https://*.",
            "https://*.*.a",
            "https://a.*",
            "https://u@a",
            "://a",
            "1a://b",
            "https://[::g]",
        ] {
            assert_eq!(Origin::parse(text), None, "{text}");
        }
    }
}
