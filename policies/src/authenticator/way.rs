//! The ways of saying who asks, each by itself.

use std::sync::Arc;
use std::time::SystemTime;

use http::{HeaderMap, HeaderName, HeaderValue};
use penstock_config::Extract;

use super::told::header_value;
use super::{Edits, Identified};

mod key;
mod password;
mod token;

pub(super) use key::ByKey;
pub(super) use password::ByPassword;
pub(super) use token::ByToken;
pub(crate) use token::bearer;

const TWICE: &str = "the credential is there more than once";

/// One of the ways.
#[derive(Debug)]
pub(super) enum Way {
    Key(ByKey),
    Password(ByPassword),
    Token(ByToken),
}

/// What a request is looked at for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request<'a> {
    pub(super) headers: &'a HeaderMap,
    pub(super) query: Option<&'a str>,
    pub(super) now: SystemTime,
}

/// What a way finds out.
#[derive(Debug)]
pub(super) enum Attempt {
    /// The request does not take it.
    NotShown,
    /// Who asks.
    Identified(Identified),
    /// What is shown is not valid.
    Invalid(&'static str),
    /// What is shown cannot be judged: keys or users were never had.
    Unavailable,
}

impl Way {
    pub(super) fn attempt(&self, request: Request<'_>) -> Attempt {
        match self {
            Self::Key(way) => way.attempt(request),
            Self::Password(way) => way.attempt(request),
            Self::Token(way) => way.attempt(request),
        }
    }

    /// Whether its challenge is `Bearer`.
    pub(super) fn is_bearers(&self) -> bool {
        !matches!(self, Self::Password(_))
    }
}

fn told(header: Option<&HeaderName>, name: &str) -> Vec<(HeaderName, HeaderValue)> {
    header.and_then(|header| Some((header.clone(), header_value(name)?))).into_iter().collect()
}

fn edits(place: &Arc<Extract>, is_forwarded: bool, set: Vec<(HeaderName, HeaderValue)>) -> Edits {
    Edits { remove: (!is_forwarded).then(|| Arc::clone(place)), set }
}
