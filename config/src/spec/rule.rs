//! What is done with a request that matched.

use std::num::NonZeroU32;
use std::sync::Arc;

use http::{HeaderName, HeaderValue, StatusCode};
use regex::Regex;

use super::{BackendIndex, BodyEdits, Cors, HeaderEdits, PolicyIndex, PoolIndex, ResponseOverride};
use crate::settings::{RetryPolicy, StreamUsage, Timeouts, Untranslatable};

/// One rule of a route.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Its position in [`Snapshot::rules`](crate::Snapshot::rules).
    pub index: usize,
    /// The name of its route.
    pub route: Arc<str>,
    /// Its own name, or its position in the route (`0`, `1`, …).
    pub name: Arc<str>,
    /// The models that its conditions name exactly, in document order.
    pub models: Vec<Arc<str>>,
    /// What is done.
    pub action: Action,
    /// Where copies of requests are sent.
    pub mirrors: Vec<Mirror>,
    /// Headers in which clients bring credentials for one of its upstreams. No upstream is sent them.
    pub client_credentials: Box<[HeaderName]>,
    /// Changes to the request's headers, before those of the target.
    pub request_headers: HeaderEdits,
    /// Changes to the response's headers.
    pub response_headers: HeaderEdits,
    /// Answers in place of those that have some statuses. The first that fits counts.
    pub response_overrides: Box<[ResponseOverride]>,
    /// Changes to host and path before forwarding.
    pub rewrite: Option<Rewrite>,
    /// What requests have to pass, in this order, behind what the listener asks.
    pub policies: Box<[PolicyIndex]>,
    /// Which web pages may ask, whatever policies say of that.
    pub cors: Option<Arc<Cors>>,
    /// What becomes of a request with members that the API of its upstream has no place for.
    pub untranslatable: Untranslatable,
    /// When streams report the tokens that they took.
    pub usage: StreamUsage,
    /// The most bytes that a body may have, where that is less than at the listener.
    pub body_bytes: usize,
    /// Deadlines.
    pub timeouts: Timeouts,
    /// When a further attempt is made.
    pub retry: RetryPolicy,
}

/// What a rule does.
#[derive(Debug, Clone)]
pub enum Action {
    /// Forwards to the first of these tiers that can serve, in order of priority. Empty if every target has weight 0:
    /// the answer is 503.
    Forward(Vec<Tier>),
    /// Answers with a redirect.
    Redirect(Redirect),
    /// Answers with this.
    Respond(FixedAnswer),
}

/// An answer that is the same for all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FixedAnswer {
    /// Its status.
    pub status: StatusCode,
    /// What its body is.
    pub content_type: Option<HeaderValue>,
    /// Its body.
    pub body: Arc<str>,
}

/// Targets of equal priority. Never empty.
#[derive(Debug, Clone)]
pub struct Tier {
    /// Lower is tried first.
    pub priority: u32,
    /// Targets of positive weight, in document order.
    pub targets: Vec<Target>,
}

/// Where requests are sent.
#[derive(Debug, Clone)]
pub struct Target {
    /// What serves them.
    pub destination: Destination,
    /// Its share among the targets of its tier.
    pub weight: NonZeroU32,
    /// The model's name there, where it differs from what clients ask for.
    pub model_override: Option<Arc<str>>,
    /// How many tokens the model's context has there; 0 where that is not said.
    pub context_window: u32,
    /// Changes to the request's headers, after those of the rule.
    pub request_headers: HeaderEdits,
    /// Changes to the response's headers, after those of the rule.
    pub response_headers: HeaderEdits,
    /// Changes to the members of the request's body, as the upstream is sent it.
    pub body: BodyEdits,
    /// Changes to host and path. What is set here takes the place of what the rule's sets.
    pub rewrite: Option<Rewrite>,
}

/// What serves the requests of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Destination {
    /// A pool or backend.
    Upstream(Upstream),
    /// Nothing: the answer is this error.
    Status(StatusCode),
    /// Nothing: the answer is this error, since a policy restricts these requests and nothing here enforces it.
    Closed(StatusCode),
}

/// Where copies of requests are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mirror {
    /// The pool or backend.
    pub upstream: Upstream,
    /// Which requests are copied.
    pub share: Share,
}

/// A share of requests, exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    numerator: u32,
    denominator: NonZeroU32,
}

/// A reference to a pool or a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Upstream {
    /// A pool: the picker chooses the endpoint.
    Pool(PoolIndex),
    /// A backend: its load balancer chooses the endpoint.
    Backend(BackendIndex),
}

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

impl Rule {
    /// The tiers that it forwards to, in order of priority; none if it does not forward.
    pub fn tiers(&self) -> &[Tier] {
        match &self.action {
            Action::Forward(tiers) => tiers,
            Action::Redirect(_) | Action::Respond(_) => &[],
        }
    }
}

impl Tier {
    /// The target that a uniformly random `r` falls on, by weight among those that are not `excluded`; `None` if all
    /// are.
    pub fn choose(&self, r: u64, excluded: impl Fn(&Target) -> bool) -> Option<&Target> {
        let total: u64 = self.targets.iter().filter(|target| !excluded(target)).map(Target::share).sum();
        let mut rest = r.checked_rem(total)?;
        self.targets.iter().filter(|target| !excluded(target)).find(|target| {
            let is_hit = rest < target.share();
            rest = rest.saturating_sub(target.share());
            is_hit
        })
    }
}

impl Target {
    /// The pool or backend, unless the target is a fixed answer.
    pub fn upstream(&self) -> Option<Upstream> {
        match self.destination {
            Destination::Upstream(upstream) => Some(upstream),
            Destination::Status(_) | Destination::Closed(_) => None,
        }
    }

    fn share(&self) -> u64 {
        u64::from(self.weight.get())
    }
}

impl Share {
    /// So many of so many; `None` for more than all, or of none.
    pub fn new(numerator: u32, denominator: u32) -> Option<Self> {
        let denominator = NonZeroU32::new(denominator)?;
        (numerator <= denominator.get()).then_some(Self { numerator, denominator })
    }

    /// Whether it is no request at all.
    pub fn is_nothing(self) -> bool {
        self.numerator == 0
    }

    /// Whether a request is among them that a uniformly random `r` was drawn for.
    pub fn includes(self, r: u64) -> bool {
        r % u64::from(self.denominator.get()) < u64::from(self.numerator)
    }
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
