//! One policy's rules of who may do what.

use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderMap, Method};
use penstock_config::Authorization;

use crate::authenticator::Identity;

/// Decides by the rules of one policy.
#[derive(Debug)]
pub struct Authorizer {
    authorization: Authorization,
}

/// What is known of a request.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// Its method.
    pub method: &'a Method,
    /// The model that it asks for. Rules that say nothing of models do not look at it: before the model is known, and where
    /// [`Authorizer::needs_model`] is false, it is [`Model::Unknown`].
    pub model: Model<'a>,
    /// The address of the client; `None` if it is not known.
    pub address: Option<IpAddr>,
    /// Who sent it, by each policy that found out.
    pub identities: &'a [Identity],
    /// Its headers, as the client sent them.
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
        Self { authorization: authorization.clone() }
    }

    /// Whether a rule asks for the model, so that a decision has to wait for it.
    pub fn needs_model(&self) -> bool {
        self.authorization.rules.iter().any(|rule| rule.models.is_some())
    }

    /// Decides: the first rule that the request meets, else the default.
    pub fn decide(&self, facts: &Facts<'_>) -> Decision {
        todo!()
    }
}

/// Whether all who sent a request may ask for the model, by their lists of models.
pub fn may_ask(identities: &[Identity], model: Model<'_>) -> bool {
    todo!()
}
