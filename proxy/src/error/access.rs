//! Requests that policies do not let pass, in words that tell nothing of what a policy says.

use std::fmt;
use std::sync::Arc;

use http::HeaderValue;

use super::{Error, quotable};

/// Why nobody knows who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unauthenticated {
    /// The name of the policy that wants to know.
    pub policy: Arc<str>,
    /// What is wrong with what the request shows; `None` if it shows nothing.
    pub invalid: Option<&'static str>,
    /// How to show it, a value of `WWW-Authenticate` each.
    pub challenges: Arc<[HeaderValue]>,
}

impl Error {
    /// An [`Error::ModelNotAllowed`] about the model of this name, or about one that could not be read.
    pub(crate) fn model_not_allowed(model: Option<&str>) -> Self {
        Self::ModelNotAllowed { model: model.map(|model| quotable(model).into()) }
    }

    /// The policy that refused the request, and its rule if one of its rules did.
    pub(crate) fn refused_by(&self) -> Option<(&Arc<str>, Option<&Arc<str>>)> {
        match self {
            Self::Unauthenticated(refused) => Some((&refused.policy, None)),
            Self::Forbidden { policy, rule } => Some((policy, rule.as_ref())),
            Self::KeysUnavailable { policy }
            | Self::LoginFailed { policy, .. }
            | Self::LoginUnavailable { policy }
            | Self::SessionTooLarge { policy }
            | Self::CheckDenied { policy }
            | Self::CheckBodyTooLarge { policy, .. }
            | Self::CheckFailed { policy, .. }
            | Self::LimitsUnavailable { policy } => Some((policy, None)),
            other => other.reached().map(|reached| (&reached.policy, None)),
        }
    }
}

impl fmt::Display for Unauthenticated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.invalid {
            None => f.write_str("the request does not show who asks: send a credential"),
            Some(why) => write!(f, "the credential is not valid: {why}"),
        }
    }
}

/// The message of an [`Error::Forbidden`].
pub(super) fn forbidden(policy: &str, rule: Option<&str>) -> String {
    match rule {
        Some(rule) => format!("the rule `{rule}` of the policy `{policy}` does not allow this request"),
        None => format!("the default of the policy `{policy}` does not allow this request"),
    }
}

/// The message of an [`Error::ModelNotAllowed`].
pub(super) fn model_not_allowed(model: Option<&str>) -> String {
    match model {
        Some(model) => format!("the model `{model}` is none of those that you may ask for"),
        None => "you may ask for some models only, and the request names none".to_owned(),
    }
}
