//! Addresses: where people came to, and where a provider may be.

use std::net::IpAddr;

use http::Uri;
use http::uri::Authority;

use super::{Login, LoginFault, Visit};

/// Where a login leads back to.
pub(super) struct Site {
    /// Whether that is by `https`.
    pub(super) is_secure: bool,
    /// The address that the provider knows.
    pub(super) redirect_uri: String,
}

impl Login {
    /// Whether a login leads back by `https`, so that cookies are for that alone.
    pub(super) fn is_secure(&self, visit: &Visit<'_>) -> bool {
        match &self.spec.redirect.origin {
            Some((scheme, _)) => *scheme == http::uri::Scheme::HTTPS,
            None => visit.is_https,
        }
    }

    /// Where a login that is begun at this host leads back to.
    ///
    /// # Errors
    /// No cookie is for both hosts.
    pub(super) fn site(&self, visit: &Visit<'_>) -> Result<Site, LoginFault> {
        let is_secure = self.is_secure(visit);
        let scheme = if is_secure { "https" } else { "http" };
        let redirect = &self.spec.redirect;
        let own = host(visit.authority).ok_or(LoginFault::OtherHost)?;
        let origin = redirect.origin.as_ref().map(|(_, authority)| authority);
        let is_common = match &self.spec.cookie.domain {
            Some(domain) => is_within(&own, domain),
            None => origin.is_none_or(|origin| origin.host().eq_ignore_ascii_case(&own)),
        };
        if !is_common {
            return Err(LoginFault::OtherHost);
        }
        let authority = origin.map_or(visit.authority, Authority::as_str);
        Ok(Site { is_secure, redirect_uri: format!("{scheme}://{authority}{}", redirect.path) })
    }
}

/// The host of a host with a port, in lower case; `None` if it is none.
fn host(authority: &str) -> Option<String> {
    let parsed = authority.parse::<Authority>().ok()?;
    let is_plain = !authority.contains('@') && !parsed.host().is_empty();
    is_plain.then(|| parsed.host().to_ascii_lowercase())
}

/// Whether a host is a domain or lies in it; both in lower case.
fn is_within(host: &str, domain: &str) -> bool {
    host.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// Whether an issuer may name this address: with TLS where it has that itself, and on this machine only where it is.
pub(super) fn may_name(issuer: &str, address: &str) -> bool {
    let is_sound =
        address.starts_with("https://") || address.starts_with("http://") && issuer.starts_with("http://");
    let Ok(uri) = address.parse::<Uri>() else { return false };
    let is_plain = uri.authority().is_some_and(|authority| !authority.as_str().contains('@'));
    is_sound && is_plain && !address.contains('#') && (!is_own(address) || is_own(issuer))
}

/// Whether an address is one of this machine's.
fn is_own(address: &str) -> bool {
    let Ok(uri) = address.parse::<Uri>() else { return false };
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).trim_end_matches('.');
    let host = host.to_ascii_lowercase();
    let is_ip = |ip: IpAddr| ip.to_canonical().is_loopback() || ip.to_canonical().is_unspecified();
    host == "localhost" || host.ends_with(".localhost") || host.parse().is_ok_and(is_ip)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_names_nothing_that_is_less_safe_than_itself() {
        let (far, near) = ("https://login.test", "http://127.0.0.1:5556/dex");
        for (issuer, address, expected) in [
            (far, "https://login.test/token", true),
            (far, "https://other.test/token?a=b", true),
            (far, "http://login.test/token", false),
            (far, "https://127.0.0.1/token", false),
            (far, "https://[::1]/token", false),
            (far, "https://localhost./token", false),
            (far, "https://a@login.test/token", false),
            (far, "https://login.test/token#a", false),
            (far, "ftp://login.test/token", false),
            (far, "", false),
            (near, "http://127.0.0.1:5556/dex/token", true),
            (near, "https://login.test/token", true),
        ] {
            assert_eq!(may_name(issuer, address), expected, "{issuer} {address}");
        }
    }

    #[test]
    fn a_host_lies_in_its_domain_and_in_none_that_ends_alike() {
        for (host, expected) in [("a.test", true), ("x.a.test", true), ("xa.test", false), ("test", false)] {
            assert_eq!(is_within(host, "a.test"), expected, "{host}");
        }
        assert_eq!(host("Gateway.test:8443").as_deref(), Some("gateway.test"));
        assert_eq!(host("[::1]:80").as_deref(), Some("[::1]"));
        for wrong in ["", "a@b", "a/b", "a b"] {
            assert_eq!(host(wrong), None, "{wrong}");
        }
    }
}
