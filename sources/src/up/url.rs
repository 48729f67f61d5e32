//! The address of a model server, as people type it.

use std::fmt;
use std::str::FromStr;

use http::Uri;
use thiserror::Error;

/// Scheme, host and port of a model server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerUrl {
    /// Whether it is spoken to in TLS.
    pub is_tls: bool,
    /// A DNS name, or an IP address without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// Where a hosted API is served, as clients' libraries take it (`OPENAI_BASE_URL`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseUrl {
    /// Scheme, host and port.
    pub server: ServerUrl,
    /// What stands before the API's paths, without slashes at its ends; may be empty.
    pub path: String,
}

/// Why a text is not the address of a model server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum UrlError {
    /// Not a URL at all.
    #[error("not a URL: write http://HOST:PORT, https://HOST or HOST:PORT")]
    Syntax,
    /// Another scheme.
    #[error("only http:// and https:// can be served")]
    Scheme,
    /// Something that a routing document says in another place.
    #[error(
        "only a host and a port: a path (other than /v1), a query or a user name need a configuration file"
    )]
    Surplus,
    /// A query where only a path can be.
    #[error("write a URL without a query, such as https://HOST/v1")]
    Query,
}

impl ServerUrl {
    /// Host and port as `Host` has them.
    #[must_use]
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        match self.port {
            port if port == implied_port(self.is_tls) => host,
            port => format!("{host}:{port}"),
        }
    }
}

impl FromStr for ServerUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let with_scheme;
        let text = if text.contains("://") {
            text
        } else {
            with_scheme = format!("http://{text}");
            &with_scheme
        };
        let uri: Uri = text.parse().map_err(|_| UrlError::Syntax)?;
        let is_tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(UrlError::Scheme),
        };
        let authority = uri.authority().ok_or(UrlError::Syntax)?;
        let has_path = !matches!(uri.path(), "" | "/" | "/v1" | "/v1/");
        if has_path || uri.query().is_some() || authority.as_str().contains('@') {
            return Err(UrlError::Surplus);
        }
        let port = match authority.as_str().strip_prefix(authority.host()) {
            Some("") => implied_port(is_tls),
            Some(port) => {
                port.strip_prefix(':').and_then(|port| port.parse().ok()).ok_or(UrlError::Syntax)?
            }
            None => return Err(UrlError::Syntax),
        };
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err(UrlError::Syntax);
        }
        Ok(Self { is_tls, host: host.to_owned(), port })
    }
}

impl FromStr for BaseUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let after_scheme = text.find("://").ok_or(UrlError::Syntax)? + "://".len();
        let end = text[after_scheme..].find(['/', '?', '#']).map_or(text.len(), |slash| after_scheme + slash);
        let path = text[end..].trim_matches('/');
        if path.contains(['?', '#']) {
            return Err(UrlError::Query);
        }
        Ok(Self { server: text[..end].parse()?, path: path.to_owned() })
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls { "https" } else { "http" };
        write!(formatter, "{scheme}://{}", self.authority())
    }
}

fn implied_port(is_tls: bool) -> u16 {
    if is_tls { 443 } else { 80 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_type_is_understood() {
        for (text, is_tls, host, port, shown) in [
            ("http://10.0.0.1:8000", false, "10.0.0.1", 8000, "http://10.0.0.1:8000"),
            ("10.0.0.1:8000", false, "10.0.0.1", 8000, "http://10.0.0.1:8000"),
            ("vllm.models.svc", false, "vllm.models.svc", 80, "http://vllm.models.svc"),
            ("https://a.test/v1/", true, "a.test", 443, "https://a.test"),
            ("http://[::1]:8000/", false, "::1", 8000, "http://[::1]:8000"),
        ] {
            let url: ServerUrl = text.parse().unwrap();
            assert_eq!((url.is_tls, &*url.host, url.port), (is_tls, host, port), "{text}");
            assert_eq!(url.to_string(), shown);
        }
    }

    #[test]
    fn the_path_of_a_base_url_is_kept() {
        for (text, server, path) in [
            ("https://api.openai.com/v1/", "https://api.openai.com", "v1"),
            ("http://127.0.0.1:8000", "http://127.0.0.1:8000", ""),
            ("https://a.test/of/ours/v1", "https://a.test", "of/ours/v1"),
        ] {
            let base: BaseUrl = text.parse().unwrap();
            assert_eq!((&*base.server.to_string(), &*base.path), (server, path));
        }
        assert_eq!("https://a.test/v1?key=1".parse::<BaseUrl>(), Err(UrlError::Query));
        assert_eq!("https://user:secret@a.test/v1".parse::<BaseUrl>(), Err(UrlError::Surplus));
        assert_eq!("a.test/v1".parse::<BaseUrl>(), Err(UrlError::Syntax));
    }

    #[test]
    fn what_cannot_be_served_is_refused_with_a_reason() {
        for (text, error) in [
            ("", UrlError::Syntax),
            ("http://", UrlError::Syntax),
            ("http://a.test:port", UrlError::Syntax),
            ("http://a.test:99999", UrlError::Syntax),
            ("http://a.test:", UrlError::Syntax),
            ("a b", UrlError::Syntax),
            ("ftp://a.test", UrlError::Scheme),
            ("http://a.test/openai", UrlError::Surplus),
            ("http://a.test/v1?key=1", UrlError::Surplus),
            ("http://user:secret@a.test", UrlError::Surplus),
        ] {
            assert_eq!(text.parse::<ServerUrl>(), Err(error), "{text}");
        }
    }
}
