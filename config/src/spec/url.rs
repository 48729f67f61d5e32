//! Changes to host and path, and redirects.

use http::{HeaderName, HeaderValue, StatusCode};
use regex::Regex;

/// Changes to where a forwarded request appears to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewrite {
    /// The new `Host`.
    pub hostname: Option<HeaderValue>,
    /// A header whose value is the new `Host`.
    pub hostname_header: Option<HeaderName>,
    /// The new path.
    pub path: Option<PathRewrite>,
}

/// A change of path. The query stays as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathRewrite {
    /// The whole path becomes this one.
    Full(Box<str>),
    /// The prefix that matched becomes this one; it has no final slash.
    Prefix(Box<str>),
    /// What a pattern matches becomes this.
    Regex(RegexReplacement),
}

/// A pattern, and what each of its matches becomes.
#[derive(Debug, Clone)]
pub struct RegexReplacement {
    pattern: Regex,
    /// In the notation of the `regex` crate.
    substitution: Box<str>,
}

impl PartialEq for RegexReplacement {
    fn eq(&self, other: &Self) -> bool {
        self.pattern.as_str() == other.pattern.as_str() && self.substitution == other.substitution
    }
}

impl Eq for RegexReplacement {}

/// A redirect (Gateway API's `HTTPRequestRedirectFilter`). What is `None` stays as it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    /// `http` or `https`.
    pub scheme: Option<&'static str>,
    /// The host.
    pub hostname: Option<Box<str>>,
    /// The path.
    pub path: Option<PathRewrite>,
    /// The port. Without one, it is the well-known port of a changed scheme, or else the listener's.
    pub port: Option<u16>,
    /// 301, 302, 303, 307 or 308.
    pub status: StatusCode,
}

/// What a redirect keeps of a request.
#[derive(Debug, Clone, Copy)]
pub struct RedirectTarget<'a> {
    /// Whether the listener speaks TLS.
    pub is_tls: bool,
    /// The host asked for; a port in it is ignored.
    pub host: &'a str,
    /// The listener's port.
    pub port: u16,
    /// The path asked for.
    pub path: &'a str,
    /// The query asked for.
    pub query: Option<&'a str>,
}

impl PathRewrite {
    /// The new path of a request for `path`, of which `matched_prefix` (see [`Matched`](super::Matched)) matched.
    /// Gateway API's table for `ReplacePrefixMatch` holds: a slash joins the halves, whichever of them has one.
    pub fn apply(&self, path: &str, matched_prefix: &str) -> String {
        match self {
            Self::Full(full) => full.to_string(),
            Self::Prefix(prefix) => match path.strip_prefix(matched_prefix).unwrap_or(path) {
                "" if prefix.is_empty() => "/".to_owned(),
                rest if rest.is_empty() || rest.starts_with('/') => format!("{prefix}{rest}"),
                rest => format!("{prefix}/{rest}"),
            },
            Self::Regex(replacement) => replacement.apply(path),
        }
    }
}

impl RegexReplacement {
    /// Of a pattern that was compiled, and of a substitution in RE2's notation, `None` if that is none: a group that there is
    /// not, or a backslash before something else.
    pub(crate) fn new(pattern: Regex, substitution: &str) -> Option<Self> {
        let mut own = String::with_capacity(substitution.len());
        let mut rest = substitution.chars();
        while let Some(next) = rest.next() {
            match next {
                '$' => own.push_str("$$"),
                '\\' => match rest.next()? {
                    '\\' => own.push('\\'),
                    digit => {
                        let group =
                            digit.to_digit(10).filter(|group| (*group as usize) < pattern.captures_len())?;
                        own.push_str(&format!("${{{group}}}"));
                    }
                },
                other => own.push(other),
            }
        }
        Some(Self { pattern, substitution: own.into() })
    }

    /// The new path. What it is made into may be none, if it does not begin with a slash: one is put before it then.
    fn apply(&self, path: &str) -> String {
        let new = self.pattern.replace_all(path, &*self.substitution);
        if new.starts_with('/') { new.into_owned() } else { format!("/{new}") }
    }
}

impl Redirect {
    /// The `Location` for a request. The port is left out where it is the scheme's well-known one.
    pub fn location(&self, request: &RedirectTarget<'_>, matched_prefix: &str) -> String {
        let asked = if request.is_tls { "https" } else { "http" };
        let scheme = self.scheme.unwrap_or(asked);
        let well_known = if scheme == "https" { 443 } else { 80 };
        let port = self.port.unwrap_or(if self.scheme.is_some() { well_known } else { request.port });
        let host = self.hostname.as_deref().unwrap_or_else(|| super::host::bare(request.host));
        let path = self.path.as_ref().map(|rewrite| rewrite.apply(request.path, matched_prefix));
        let path = path.as_deref().unwrap_or(request.path);
        let port = if port == well_known { String::new() } else { format!(":{port}") };
        let query = request.query.map(|query| format!("?{query}")).unwrap_or_default();
        format!("{scheme}://{host}{port}{path}{query}")
    }
}

#[cfg(test)]
mod tests;
