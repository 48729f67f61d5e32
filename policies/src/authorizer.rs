//! One policy's rules of who may do what.

use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, Method};
use penstock_config::{
    Access, AccessRule, Authorization, ClaimMatch, Consumer, Expression, ExpressionIdentity,
    ExpressionRequest, ModelNames, plain_path,
};
use serde_json::Value;
use smallvec::SmallVec;

use crate::authenticator::{By, Identity};
use crate::jwt::claim;

/// Decides by the rules of one policy.
#[derive(Debug)]
pub struct Authorizer {
    authorization: Authorization,
    needs_model: bool,
    own: Own,
}

/// What a policy calls providers that it has itself: another's of the same name is another.
#[derive(Debug, Default)]
struct Own {
    policy: Arc<str>,
    providers: Box<[Arc<str>]>,
}

/// What is known of a request.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// Its method.
    pub method: &'a Method,
    /// Its host: the name alone, without a port or a dot at its end, in lower case.
    pub host: &'a str,
    /// Its path, as routes see it.
    pub path: &'a str,
    /// Its query, without the question mark.
    pub query: Option<&'a str>,
    /// The model that it asks for. Rules that say nothing of models do not look at it: before the model is known, and where
    /// [`Authorizer::needs_model`] is false, it is [`Model::Unknown`].
    pub model: Model<'a>,
    /// How many tokens the answer may have; `None` as long as the body was not read.
    pub tokens: Option<u64>,
    /// The address of the client; `None` if it is not known.
    pub address: Option<IpAddr>,
    /// The client's port; 0 if a proxy told the address.
    pub port: u16,
    /// Who sent it, by each policy that found out.
    pub identities: &'a [Identity],
    /// Its headers: the client's, without those that only policies set, and those that policies set by then.
    pub headers: &'a HeaderMap,
}

/// The model that a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Model<'a> {
    /// This one, by the name that the client uses.
    Named(&'a str),
    /// Some or none: the request does not say it where it can be read. Rules that serve some models do not serve it, rules
    /// that refuse some models refuse it: hiding the model leads nowhere.
    Unknown,
    /// The request asks which models there are. Rules that serve some models serve it, rules that refuse some do not refuse
    /// it: the list shows those that may be asked for.
    List,
}

/// Whether a request is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It is.
    Allow,
    /// It is not.
    Deny {
        /// The name of the rule that says so; `None` if no rule was met and the default is to refuse.
        rule: Option<Arc<str>>,
    },
}

impl Authorizer {
    /// The rules of `authorization`.
    pub fn new(authorization: &Authorization) -> Self {
        let by_expression = |rule: &AccessRule| rule.cel.as_ref().is_some_and(Expression::uses_body);
        let by_model = |rule: &AccessRule| rule.models.is_some() || by_expression(rule);
        Self {
            authorization: authorization.clone(),
            needs_model: authorization.rules.iter().any(by_model),
            own: Own::default(),
        }
    }

    /// Of the policy of this name, which has these providers itself: by their names its rules mean these, and no other
    /// policy's.
    #[must_use]
    pub fn of_policy(self, policy: Arc<str>, providers: impl IntoIterator<Item = Arc<str>>) -> Self {
        Self { own: Own { policy, providers: providers.into_iter().collect() }, ..self }
    }

    /// Whether a rule asks for the model, or for how many tokens are asked for, so that a decision has to wait for the body.
    pub fn needs_model(&self) -> bool {
        self.needs_model
    }

    /// Decides: the first rule that the request meets, else the default.
    pub fn decide(&self, facts: &Facts<'_>) -> Decision {
        let met = self.authorization.rules.iter().find(|rule| is_met(rule, &self.own, facts));
        match met.map_or(self.authorization.default_action, |rule| rule.action) {
            Access::Allow => Decision::Allow,
            Access::Deny => Decision::Deny { rule: met.map(|rule| Arc::clone(&rule.name)) },
        }
    }
}

impl Own {
    /// Whether an identity is by another policy's provider that has the name of one of these.
    fn is_namesake(&self, identity: &Identity, provider: &str) -> bool {
        identity.policy != self.policy && self.providers.iter().any(|own| **own == *provider)
    }
}

/// Whether all who sent a request may ask for the model, by their lists of models. Other than a rule's, a consumer's list
/// says nothing of the list of models, which shows what is on it.
pub fn may_ask(identities: &[Identity], model: Model<'_>) -> bool {
    let lists = || identities.iter().filter_map(|identity| identity.consumer.models.as_ref());
    match model {
        Model::Named(name) => lists().all(|models| models.contains(name)),
        Model::Unknown => lists().next().is_none(),
        Model::List => true,
    }
}

fn is_met(rule: &AccessRule, own: &Own, facts: &Facts<'_>) -> bool {
    (rule.methods.is_empty() || rule.methods.contains(facts.method))
        && rule.models.as_ref().is_none_or(|models| is_model(models, rule.action, facts.model))
        && (rule.addresses.is_empty() || is_address(rule, facts.address))
        && is_consumer(rule, facts.identities)
        && is_token(rule, own, facts.identities)
        && rule.headers.iter().all(|(name, values)| is_header(name, values, rule.action, facts.headers))
        && is_path(rule, facts.path)
        && rule.cel.as_ref().is_none_or(|expression| is_expression(expression, rule.action, own, facts))
}

fn is_path(rule: &AccessRule, path: &str) -> bool {
    if rule.paths.is_empty() {
        return true;
    }
    let plain = plain_path(path);
    rule.paths.iter().any(|test| test.is_met(path, &plain))
}

/// Whether a request meets an expression. What cannot be told is met by a rule that refuses, and not by one that serves. As
/// with paths, a rule that refuses is met by the path as it is written or by its plain form, and one that serves by both.
fn is_expression(expression: &Expression, action: Access, own: &Own, facts: &Facts<'_>) -> bool {
    if facts.model == Model::List && expression.uses_body() {
        return action == Access::Allow;
    }
    let identities: SmallVec<[_; 2]> = facts.identities.iter().map(|of| identity(of, own)).collect();
    let request = ExpressionRequest {
        method: facts.method,
        host: facts.host,
        path: facts.path,
        query: facts.query,
        headers: facts.headers,
        address: facts.address,
        port: facts.port,
        model: if let Model::Named(name) = facts.model { Some(name) } else { None },
        tokens: facts.tokens,
        identities: &identities,
    };
    let is_refusal = action == Access::Deny;
    let is_met = expression.is_met(&request).unwrap_or(is_refusal);
    if is_met == is_refusal || !expression.uses_path() {
        return is_met;
    }
    match plain_path(facts.path) {
        plain if plain == facts.path => is_met,
        plain => expression.is_met(&ExpressionRequest { path: &plain, ..request }).unwrap_or(is_refusal),
    }
}

fn identity<'a>(identity: &'a Identity, own: &Own) -> ExpressionIdentity<'a> {
    let called = |provider: &'a Arc<str>| if own.is_namesake(identity, provider) { "" } else { &**provider };
    let (by, provider) = match &identity.by {
        By::ApiKey => ("api_key", ""),
        By::Basic => ("basic", ""),
        By::Jwt { provider } => ("jwt", called(provider)),
        By::Oidc { provider } => ("oidc", called(provider)),
    };
    ExpressionIdentity { consumer: &identity.consumer, by, provider, claims: identity.claims.as_deref() }
}

fn is_model(models: &ModelNames, action: Access, model: Model<'_>) -> bool {
    match model {
        // Some upstreams take a name in any case.
        Model::Named(name) if action == Access::Deny => models.contains_in_any_case(name),
        Model::Named(name) => models.contains(name),
        Model::Unknown => action == Access::Deny,
        Model::List => action == Access::Allow,
    }
}

/// A client whose address is not known may have any: it is refused by a rule that refuses some, and not served by one that
/// serves some.
fn is_address(rule: &AccessRule, address: Option<IpAddr>) -> bool {
    address.map_or(rule.action == Access::Deny, |address| {
        rule.addresses.iter().any(|range| range.contains(address))
    })
}

/// Whether one of those who sent the request has the name and the tags.
fn is_consumer(rule: &AccessRule, identities: &[Identity]) -> bool {
    let is_asked = !rule.consumers.is_empty() || !rule.tags.is_empty();
    !is_asked
        || identities
            .iter()
            .any(|identity| is_called(rule, &identity.consumer) && is_tagged(rule, &identity.consumer))
}

fn is_called(rule: &AccessRule, consumer: &Consumer) -> bool {
    rule.consumers.is_empty() || rule.consumers.iter().any(|name| **name == *consumer.name)
}

fn is_tagged(rule: &AccessRule, consumer: &Consumer) -> bool {
    rule.tags.iter().all(|(name, values)| consumer.tags.get(name).is_some_and(|tag| values.contains(tag)))
}

/// Whether one token of the request has the provider, the claims and the scopes.
fn is_token(rule: &AccessRule, own: &Own, identities: &[Identity]) -> bool {
    let is_asked = rule.provider.is_some() || !rule.claims.is_empty() || !rule.scopes.is_empty();
    !is_asked
        || identities.iter().any(|identity| match (&identity.by, &identity.claims) {
            (By::Jwt { provider } | By::Oidc { provider }, Some(claims)) => {
                let is_named = |name: &str| *name == **provider && !own.is_namesake(identity, provider);
                rule.provider.as_deref().is_none_or(is_named)
                    && rule.claims.iter().all(|wanted| is_claimed(wanted, rule.action, claims))
                    && rule.scopes.iter().all(|scope| has_scope(claims, scope))
            }
            _ => false,
        })
}

/// Whether a claim is there with one of the values. A rule that serves asks for a text, or for a list of texts, as it says.
/// One that refuses is met by a number and a truth value as well, as JSON writes them, and by a list or what is in none: how
/// a provider writes a claim opens nothing.
fn is_claimed(wanted: &ClaimMatch, action: Access, claims: &Value) -> bool {
    let is_listed = |text: &str| wanted.values.iter().any(|one| **one == *text);
    let is_one = |value: &Value| match (value, action) {
        (Value::String(text), _) => is_listed(text),
        (Value::Number(_) | Value::Bool(_), Access::Deny) => is_listed(&value.to_string()),
        _ => false,
    };
    match claim(claims, &wanted.path) {
        Some(Value::Array(list)) if action == Access::Deny => list.iter().any(is_one),
        Some(value) if action == Access::Deny => is_one(value),
        Some(Value::Array(list)) => wanted.is_list && list.iter().any(is_one),
        Some(value) => !wanted.is_list && is_one(value),
        None => false,
    }
}

/// Providers write scopes as `scope` (RFC 8693, section 4.2) or `scp`, with spaces between them or as a list.
fn has_scope(claims: &Value, scope: &str) -> bool {
    ["scope", "scp"].into_iter().filter_map(|name| claims.get(name)).any(|value| match value {
        Value::String(text) => text.split(' ').any(|one| one == scope),
        Value::Array(list) => list.iter().any(|one| one == scope),
        _ => false,
    })
}

/// Whether a header is there with one of the values. Where it is there several times, a rule that serves asks it of each of
/// them and a rule that refuses of any: a client cannot add one to get through.
fn is_header(name: &HeaderName, values: &[Box<str>], action: Access, headers: &HeaderMap) -> bool {
    let mut found =
        headers.get_all(name).iter().map(|value| values.iter().any(|one| one.as_bytes() == value.as_bytes()));
    match action {
        Access::Allow => headers.contains_key(name) && found.all(|is_one| is_one),
        Access::Deny => found.any(|is_one| is_one),
    }
}

#[cfg(test)]
mod tests;
