//! Metrics of people who log in.

use std::sync::Arc;

use prometheus::Registry;

use super::family::Family;
use super::register::counters;
use super::value::Counter;

/// What became of a login, or of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LoginOutcome {
    /// Somebody was led to the provider.
    Led,
    /// Somebody came back and is logged in.
    LoggedIn,
    /// A session was renewed.
    Renewed,
    /// What somebody came back with, or what a session was to be renewed with, was not taken.
    Refused,
    /// The provider could not be asked.
    Unavailable,
    /// Somebody logged out.
    LoggedOut,
}

/// The families with a `policy` label.
#[derive(Debug)]
pub(super) struct LoginFamilies {
    logins: Family<Counter>,
}

/// What is counted of one policy's logins. Keep it with the policy.
#[derive(Clone, Debug)]
pub(crate) struct LoginMetrics {
    logins: [Arc<Counter>; LoginOutcome::ALL.len()],
}

impl LoginOutcome {
    const ALL: [Self; 6] =
        [Self::Led, Self::LoggedIn, Self::Renewed, Self::Refused, Self::Unavailable, Self::LoggedOut];

    const fn label(self) -> &'static str {
        match self {
            Self::Led => "led",
            Self::LoggedIn => "logged_in",
            Self::Renewed => "renewed",
            Self::Refused => "refused",
            Self::Unavailable => "unavailable",
            Self::LoggedOut => "logged_out",
        }
    }
}

impl LoginFamilies {
    pub(super) fn register(registry: &Registry) -> Self {
        Self {
            logins: counters(
                registry,
                "penstock_logins_total",
                "Steps of people who log in by a policy: led to the provider, logged in, session renewed, refused, provider \
                 unavailable, logged out.",
                &["policy", "outcome"],
            ),
        }
    }

    pub(super) fn of(&self, policy: &str) -> LoginMetrics {
        LoginMetrics { logins: LoginOutcome::ALL.map(|outcome| self.logins.get(&[policy, outcome.label()])) }
    }

    pub(super) fn retain(&self, is_kept: &dyn Fn(&str, &str) -> bool) {
        self.logins.retain(is_kept);
    }
}

impl LoginMetrics {
    pub(crate) fn count(&self, outcome: LoginOutcome) {
        self.logins[outcome as usize].increment();
    }
}
