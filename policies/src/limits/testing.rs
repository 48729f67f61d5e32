//! Requests, limits and times for tests.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use http::{HeaderMap, Method};
use penstock_config::{Consumer, Count, Dimension, LimitMatch, LimitSpec, Missing, PolicySpec, Window};

use super::{Ask, Counters, Denied, Holds, Limiter, Now, Stop, Usage};
use crate::authenticator::{By, Identity};
use crate::authorizer::{Facts, Model};

pub(crate) const MINUTE: Duration = Duration::from_secs(60);

/// A request, with all that a limit may ask for.
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) headers: HeaderMap,
    pub(crate) identities: Vec<Identity>,
    pub(crate) address: Option<std::net::IpAddr>,
    pub(crate) of_model: Option<Model<'static>>,
    pub(crate) model: Option<&'static str>,
    pub(crate) target_model: Option<&'static str>,
    pub(crate) upstream: Option<&'static str>,
    pub(crate) host: &'static str,
    pub(crate) path: &'static str,
    pub(crate) query: Option<&'static str>,
}

impl Request {
    /// Of nobody.
    pub(crate) fn new() -> Self {
        Self {
            method: Method::POST,
            headers: HeaderMap::new(),
            identities: Vec::new(),
            address: None,
            of_model: None,
            model: Some("gpt"),
            target_model: None,
            upstream: None,
            host: "api.example.com",
            path: "/v1/chat/completions",
            query: None,
        }
    }

    /// Of a consumer.
    pub(crate) fn by(name: &str) -> Self {
        Self { identities: vec![identity(consumer(name))], ..Self::new() }
    }

    /// What a limiter is told of it.
    pub(crate) fn with<T>(&self, tell: impl FnOnce(&Ask<'_>) -> T) -> T {
        let model = self.of_model.unwrap_or(self.model.map_or(Model::Unknown, Model::Named));
        let facts = Facts {
            method: &self.method,
            host: "models.test",
            path: "/v1/chat/completions",
            query: None,
            tokens: None,
            port: 0,
            model,
            address: self.address,
            identities: &self.identities,
            headers: &self.headers,
        };
        tell(&Ask {
            facts: &facts,
            model: self.model,
            target_model: self.target_model,
            upstream: self.upstream,
            route: "chat",
            rule: "0",
            listener: "public",
            host: self.host,
            path: self.path,
            query: self.query,
            prompt_bytes: 0,
            allowed_output: None,
        })
    }
}

pub(crate) fn consumer(name: &str) -> Consumer {
    Consumer {
        name: name.into(),
        keys: Box::default(),
        tags: BTreeMap::new(),
        models: None,
        limits: BTreeMap::new(),
        priority: None,
    }
}

pub(crate) fn identity(consumer: Consumer) -> Identity {
    Identity { consumer: Arc::new(consumer), by: By::ApiKey, policy: Arc::default(), claims: None }
}

/// A limit by consumer, which is not shared.
pub(crate) fn limit(name: &str, count: Count, amount: u64, window: Window) -> LimitSpec {
    LimitSpec {
        name: name.into(),
        each: u64::from(count == Count::Requests),
        count,
        amount,
        window,
        per: [Dimension::Consumer].into(),
        missing: Missing::Together,
        when: LimitMatch::default(),
        is_shadow: false,
        is_shared: false,
        shared_as: None,
        cuts_streams: false,
    }
}

/// A limit on requests a minute, by consumer.
pub(crate) fn requests(amount: u64) -> LimitSpec {
    limit("requests", Count::Requests, amount, Window::Fixed(MINUTE))
}

/// A limit on tokens a minute, by consumer.
pub(crate) fn tokens(amount: u64) -> LimitSpec {
    limit("tokens", Count::TotalTokens, amount, Window::Fixed(MINUTE))
}

pub(crate) fn policy(limits: impl IntoIterator<Item = LimitSpec>) -> PolicySpec {
    PolicySpec {
        name: "tenants".into(),
        external: None,
        authentication: None,
        authorization: None,
        cors: None,
        limits: limits.into_iter().collect(),
    }
}

pub(crate) fn limiter(counters: &Arc<Counters>, limits: impl IntoIterator<Item = LimitSpec>) -> Limiter {
    Limiter::new(&policy(limits), counters, 1, false).unwrap()
}

pub(crate) fn at(seconds: f64) -> Now {
    at_ms((seconds * 1000.0).round() as u64)
}

pub(crate) fn at_ms(ms: u64) -> Now {
    let since = Duration::from_millis(ms);
    Now { wall: UNIX_EPOCH + since, mono: since }
}

pub(crate) fn usage(input: u64, output: u64) -> Usage {
    Usage { input, output, ..Usage::default() }
}

/// What is held for a request, or why nothing is.
pub(crate) fn reserve(
    limiter: &Limiter,
    request: &Request,
    expected: Usage,
    now: Now,
) -> Result<Holds, Stop> {
    let mut holds = Holds::default();
    request.with(|ask| limiter.reserve(ask, &expected, None, now, &mut holds)).map(|()| holds)
}

/// Why a request is refused.
pub(crate) fn refusal(limiter: &Limiter, request: &Request, expected: Usage, now: Now) -> Denied {
    match reserve(limiter, request, expected, now) {
        Err(Stop::Denied(denied)) => denied,
        other => panic!("{other:?}"),
    }
}

/// What is left of each limit.
pub(crate) fn remaining(limiter: &Limiter, request: &Request, now: Now) -> Vec<u64> {
    let standings = request.with(|ask| limiter.peek(ask, &Usage::default(), None, now));
    standings.into_iter().map(|standing| standing.remaining).collect()
}
