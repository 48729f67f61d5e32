//! What policies do to something: nothing but close it, and have it told.

use std::collections::BTreeSet;

use super::{Policy, UNSUPPORTED};
use crate::status::{CLOSED, Condition, POLICIES_IGNORED, POLICIES_NOT_ACTED_ON};
use crate::world::IGNORE_ANNOTATION;

/// What policies do to something.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Effect<'u> {
    /// What closes it.
    pub(crate) closed_by: BTreeSet<&'u str>,
    /// What closes it since it cannot be as it is written.
    invalid: BTreeSet<String>,
    /// What it is served without.
    idle: BTreeSet<&'u str>,
    /// What has no meaning where it leads.
    pointless: BTreeSet<String>,
    /// What its owners say is enforced elsewhere.
    ignored: BTreeSet<&'u str>,
}

impl<'u> Effect<'u> {
    /// Adds what a policy does. What closes is always told; the rest only where it `is_own`, so that a Gateway's policy is
    /// not told by each of its routes.
    pub(super) fn add(&mut self, policy: &'u Policy<'_>, is_own: bool) {
        if policy.is_ignored {
            self.ignored.extend(is_own.then_some(policy.name.as_str()));
            return;
        }
        self.closed_by.extend(policy.closing.as_deref());
        self.idle.extend(policy.idle.as_deref().filter(|_| is_own));
    }

    /// Adds something that closes.
    pub(super) fn close(&mut self, by: Option<&'u str>) {
        self.closed_by.extend(by);
    }

    /// Adds what has no meaning where it leads.
    pub(crate) fn leave_out(&mut self, what: Option<String>) {
        self.pointless.extend(what);
    }

    /// Adds a policy that cannot be enforced, with what is wrong with it.
    pub(crate) fn invalidate(&mut self, fault: Option<String>) {
        self.invalid.extend(fault);
    }

    /// Adds what another does.
    pub(crate) fn join(&mut self, other: Self) {
        self.closed_by.extend(other.closed_by);
        self.invalid.extend(other.invalid);
        self.idle.extend(other.idle);
        self.pointless.extend(other.pointless);
        self.ignored.extend(other.ignored);
    }

    /// Whether it is closed.
    pub(crate) fn is_closed(&self) -> bool {
        !self.closed_by.is_empty() || !self.invalid.is_empty()
    }

    /// Why it is closed, in a sentence; `None` if it is not.
    pub(crate) fn closed(&self) -> Option<String> {
        let unsupported = (!self.closed_by.is_empty()).then(|| {
            let by: Vec<&str> = self.closed_by.iter().copied().collect();
            format!("{} restricts and is not supported, so requests get 500", by.join(", "))
        });
        let invalid = (!self.invalid.is_empty()).then(|| {
            let by: Vec<&str> = self.invalid.iter().map(String::as_str).collect();
            format!("{} cannot be enforced, so requests get 500", by.join(", "))
        });
        match (unsupported, invalid) {
            (Some(unsupported), Some(invalid)) => Some(format!("{unsupported}; {invalid}")),
            (unsupported, invalid) => unsupported.or(invalid),
        }
    }

    /// The conditions that tell of all but what closes.
    pub(crate) fn notes(&self) -> impl Iterator<Item = Condition> {
        let list = |names: &BTreeSet<&str>| names.iter().copied().collect::<Vec<_>>().join(", ");
        let without: BTreeSet<&str> =
            self.idle.iter().copied().chain(self.pointless.iter().map(String::as_str)).collect();
        let idle = (!without.is_empty()).then(|| {
            let message = format!("served without {}", list(&without));
            Condition::yes(POLICIES_NOT_ACTED_ON, UNSUPPORTED, message)
        });
        let ignored = (!self.ignored.is_empty()).then(|| {
            let message = format!(
                "nobody here enforces {}: {IGNORE_ANNOTATION} says that something else does",
                list(&self.ignored)
            );
            Condition::yes(POLICIES_IGNORED, "Ignored", message)
        });
        idle.into_iter().chain(ignored)
    }

    /// All conditions.
    pub(crate) fn conditions(&self) -> impl Iterator<Item = Condition> {
        self.closed().map(|why| closed_condition(&why)).into_iter().chain(self.notes())
    }
}

/// The condition of something that is closed.
pub(crate) fn closed_condition(why: &str) -> Condition {
    let message = format!(
        "{why}; mend or delete what is named, or, if something else enforces a policy, set the annotation {IGNORE_ANNOTATION}: \
         \"true\" on it"
    );
    Condition::yes(CLOSED, UNSUPPORTED, message)
}
