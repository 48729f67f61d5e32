//! What policies limit: `rateLimit` of BackendTrafficPolicies, and QuotaPolicies, as limits of documents.
//!
//! Limits count as those who wrote them expect it of Envoy Gateway, with differences that statuses tell: a request without a
//! `Distinct` header is counted together with its like, where Envoy lets it pass uncounted; a cost under a key that no route
//! has closes what it is for, where Envoy never charges it; and tokens are reserved before a request is served, where Envoy
//! charges them when all is over. A global limit counts in windows as Envoy's service does, aligned to 1970 in UTC: a month
//! is 30 days, a year 365. Calendars, which documents have, were turned down, because a limit would then mean something else
//! here than there.

mod costs;
mod quota;
mod rules;
mod selectors;

use penstock_config::raw::{RawLimit, RawPolicy};

use crate::compile::{compile_policies, shown};

pub(crate) use costs::Costs;
pub(crate) use quota::read as read_quota;

/// The most bytes of one policy's limits as JSON.
const MAX_BYTES: usize = 256 << 10;

/// The most limits of a policy in documents.
const MAX_LIMITS: usize = 256;

/// What cannot be, by the field in which it stands.
type Fault = String;

/// What a BackendTrafficPolicy limits.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Limits {
    /// Counted by each data plane.
    pub(crate) local: Option<Group>,
    /// Counted for all together.
    pub(crate) global: Option<Group>,
}

/// Limits that come from one list.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Group {
    limits: Vec<Limit>,
    /// Whether it goes by clients' addresses.
    pub(crate) goes_by_address: bool,
    /// What a status shall say beside that it is in force.
    pub(crate) notes: Vec<String>,
}

/// A limit as documents have it, but for what it counts where that is said elsewhere.
#[derive(Debug, Clone, PartialEq)]
struct Limit {
    raw: RawLimit,
    /// The key of what it counts.
    cost: Option<String>,
}

impl Limits {
    /// Reads what a policy says; `None` if it limits nothing.
    ///
    /// # Errors
    /// Something in it cannot be: what, by its field.
    pub(crate) fn read(settings: &serde_json::Value) -> Result<Option<Self>, Fault> {
        rules::read(settings)
    }

    /// What its status shall say beside that it is in force.
    pub(crate) fn notes(&self) -> impl Iterator<Item = &String> {
        self.local.iter().chain(&self.global).flat_map(|group| &group.notes)
    }
}

impl Group {
    /// The limits, where requests count what `costs` say. Of routes that are not about models, those whose cost has no key are
    /// left out if `may_lack` says so.
    ///
    /// # Errors
    /// A cost has no such key, or one that cannot be reckoned.
    pub(crate) fn limits(&self, costs: &Costs<'_>, may_lack: bool) -> Result<Vec<RawLimit>, Fault> {
        let mut limits = Vec::with_capacity(self.limits.len());
        for Limit { raw, cost } in &self.limits {
            let mut raw = raw.clone();
            if let Some(key) = cost {
                match costs.get(key)? {
                    Some(counted) => counted.put_into(&mut raw),
                    None if may_lack => continue,
                    None => return Err(costs.unknown(key)),
                }
            }
            limits.push(raw);
        }
        Ok(limits)
    }

    /// Checks that documents take it. In a document with others its faults would count as theirs.
    fn check(&self, field: &str) -> Result<(), Fault> {
        let limits: Vec<RawLimit> = self.limits.iter().map(|limit| limit.raw.clone()).collect();
        check(limits, field, |policy| compile_policies(&[policy]))
    }
}

/// Checks that documents take limits that a field has.
fn check(
    limits: Vec<RawLimit>,
    field: &str,
    compile: impl FnOnce(RawPolicy) -> Result<(), penstock_config::Fault>,
) -> Result<(), Fault> {
    if limits.len() > MAX_LIMITS {
        return Err(format!("{field}: there are {} rules; the most is {MAX_LIMITS}", limits.len()));
    }
    if serde_json::to_vec(&limits).map_or(usize::MAX, |json| json.len()) > MAX_BYTES {
        return Err(format!("{field} has more than {MAX_BYTES} bytes"));
    }
    if limits.is_empty() {
        return Ok(());
    }
    let policy = RawPolicy { name: "limits".to_owned(), limits, ..RawPolicy::default() };
    compile(policy).map_err(|fault| format!("{field}: {}", shown(&fault)))
}

#[cfg(test)]
mod tests;
