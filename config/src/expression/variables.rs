//! What expressions can ask for.

use std::net::IpAddr;
use std::sync::OnceLock;

use cel::common::types::{CelInt, CelMap, CelString};
use cel::common::value::{CowVal, Val};
use cel::context::VariableResolver;
use http::{HeaderMap, Method};
use serde_json::Value;

use super::environment::Part;
use super::value::{self, Headers, text};
use crate::consumer::Consumer;

/// Variables that have a value of their own.
pub(super) const VARIABLES: [&str; 10] =
    ["address", "claims", "claims_of", "headers", "host", "method", "model", "path", "tags", "tokens"];

/// Variables that stand before one of their members, and the members. `request` and `source` are as Envoy has them.
pub(super) const MEMBERS: [(&str, &[&str]); 3] = [
    ("identity", &["by", "name", "provider"]),
    ("request", &["headers", "host", "method", "path", "query", "url_path"]),
    ("source", &["address", "port"]),
];

/// What stands before the number of a pattern, in a name that nobody can write.
pub(super) const PART: char = '@';

/// A request, as expressions see it.
#[derive(Debug, Clone, Copy)]
pub struct ExpressionRequest<'a> {
    /// Its method.
    pub method: &'a Method,
    /// Its host: the name alone, without a port or a dot at its end, in lower case.
    pub host: &'a str,
    /// Its path.
    pub path: &'a str,
    /// Its query, without the question mark.
    pub query: Option<&'a str>,
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// The client's address; without one, expressions that ask for it cannot be told.
    pub address: Option<IpAddr>,
    /// The client's port; 0 if a proxy told the address.
    pub port: u16,
    /// The model; without one, expressions that ask for it cannot be told.
    pub model: Option<&'a str>,
    /// How many tokens the answer may have; without it, expressions that ask for it cannot be told.
    pub tokens: Option<u64>,
    /// Who sent it, by each policy that found out.
    pub identities: &'a [ExpressionIdentity<'a>],
}

/// Somebody who sent a request.
#[derive(Debug, Clone, Copy)]
pub struct ExpressionIdentity<'a> {
    /// Who.
    pub consumer: &'a Consumer,
    /// By which way: `api_key`, `basic`, `jwt` or `oidc`.
    pub by: &'a str,
    /// The provider of the token; empty if there was none.
    pub provider: &'a str,
    /// What the token says, an object.
    pub claims: Option<&'a Value>,
}

/// What a running expression looks up.
pub(super) struct Variables<'a> {
    request: &'a ExpressionRequest<'a>,
    parts: &'a [Part],
    headers: Headers<'a>,
    is_sample: bool,
    tags: OnceLock<CelMap<'a>>,
    claims: OnceLock<CelMap<'a>>,
    claims_of: OnceLock<CelMap<'a>>,
}

impl<'a> Variables<'a> {
    pub(super) fn new(request: &'a ExpressionRequest<'a>, parts: &'a [Part]) -> Self {
        Self::made(request, parts, false)
    }

    /// Of a request that is only made up, to try an expression out.
    pub(super) fn of_sample(request: &'a ExpressionRequest<'a>, parts: &'a [Part]) -> Self {
        Self::made(request, parts, true)
    }

    fn made(request: &'a ExpressionRequest<'a>, parts: &'a [Part], is_sample: bool) -> Self {
        Self {
            request,
            parts,
            headers: Headers::new(request.headers, is_sample),
            is_sample,
            tags: OnceLock::new(),
            claims: OnceLock::new(),
            claims_of: OnceLock::new(),
        }
    }

    fn last(&self) -> Option<&'a ExpressionIdentity<'a>> {
        self.request.identities.last()
    }

    /// The claims of the last who showed a token.
    fn last_claims(&self) -> Option<&'a Value> {
        self.request.identities.iter().rev().find_map(|identity| identity.claims)
    }

    fn tags(&self) -> &CelMap<'a> {
        self.tags.get_or_init(|| {
            let tags = self.last().into_iter().flat_map(|identity| &identity.consumer.tags);
            value::map(tags.map(|(name, tag)| (&**name, Box::new(CelString::from(&**tag)) as Box<dyn Val>)))
        })
    }

    fn claims(&self) -> &CelMap<'a> {
        self.claims.get_or_init(|| {
            let members = self.last_claims().and_then(Value::as_object).into_iter().flatten();
            value::map(members.map(|(name, claim)| (name.as_str(), value::of_json(claim))))
        })
    }

    fn claims_of(&self) -> &CelMap<'a> {
        self.claims_of.get_or_init(|| {
            let tokens = self.request.identities.iter();
            let tokens = tokens.filter_map(|one| Some((one.provider, value::of_json(one.claims?))));
            value::map(tokens)
        })
    }

    /// A member that need not be looked up among all others: a tag, or a claim that is a text.
    fn member<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        let (of, name) = variable.split_once('.')?;
        match of {
            "tags" => match self.last().and_then(|identity| identity.consumer.tags.get(name)) {
                Some(tag) => Some(text(tag)),
                None if self.is_sample => Some(text("")),
                None => None,
            },
            "claims" => self.last_claims()?.get(name)?.as_str().map(text),
            _ => None,
        }
    }

    fn part(&self, variable: &str) -> Option<&Part> {
        self.parts.get(variable.strip_prefix(PART)?.parse::<usize>().ok()?)
    }
}

impl VariableResolver for Variables<'_> {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        let Self { request, .. } = self;
        let of_last = |what: fn(&'b ExpressionIdentity<'b>) -> &'b str| {
            text(self.last().map_or("", |identity| what(identity)))
        };
        Some(match variable {
            "method" | "request.method" => text(request.method.as_str()),
            "host" | "request.host" => text(request.host),
            "path" | "request.url_path" => text(request.path),
            "headers" | "request.headers" => CowVal::Borrowed(&self.headers),
            "model" => text(request.model?),
            "tokens" => CowVal::owned(CelInt::from(i64::try_from(request.tokens?).unwrap_or(i64::MAX))),
            "tags" => CowVal::Borrowed(self.tags()),
            "claims" => CowVal::Borrowed(self.claims()),
            "claims_of" => CowVal::Borrowed(self.claims_of()),
            "address" => CowVal::owned(CelString::from(request.address?.to_canonical().to_string())),
            "identity.name" => of_last(|identity| &identity.consumer.name),
            "identity.by" => of_last(|identity| identity.by),
            "identity.provider" => of_last(|identity| identity.provider),
            "request.query" => text(request.query.unwrap_or_default()),
            "request.path" => match request.query {
                None => text(request.path),
                Some(query) => CowVal::owned(CelString::from(format!("{}?{query}", request.path))),
            },
            "source.address" => {
                let address = std::net::SocketAddr::new(request.address?.to_canonical(), request.port);
                CowVal::owned(CelString::from(address.to_string()))
            }
            "source.port" => {
                request.address?;
                CowVal::owned(CelInt::from(i64::from(request.port)))
            }
            _ if variable.starts_with(PART) => CowVal::Borrowed(self.part(variable)?),
            _ => return self.member(variable),
        })
    }
}
