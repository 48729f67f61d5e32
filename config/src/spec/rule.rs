//! What is done with a request that matched.

use std::num::NonZeroU32;
use std::sync::Arc;

use http::{HeaderName, HeaderValue, StatusCode};

use super::{
    BackendIndex, BodyEdits, Cors, HeaderEdits, PolicyIndex, PoolIndex, Redirect, ResponseOverride, Rewrite,
    RuleCredential,
};
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
    /// A secret that requests are sent with, behind those changes.
    pub credential: Option<RuleCredential>,
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

#[cfg(test)]
mod tests;
