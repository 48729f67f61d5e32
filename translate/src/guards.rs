//! The policies of one document: what SecurityPolicies ask of requests, under names that no two of them share.

use std::collections::{BTreeMap, BTreeSet};

use penstock_config::MAX_DOCUMENT_BYTES;
use penstock_config::raw::RawPolicy;

use crate::context::Secrets;
use crate::names;
use crate::unsupported::{InForce, Unsupported};

/// The most bytes of policies that a document may have.
const MAX_BYTES: usize = MAX_DOCUMENT_BYTES / 8;

/// The most policies that a document may have.
const MAX_POLICIES: usize = 20_000;

/// The policies of one document.
#[derive(Debug, Default)]
pub(crate) struct Guards {
    /// All of them.
    pub(crate) policies: Vec<RawPolicy>,
    /// What they name.
    pub(crate) secrets: Secrets,
    /// What each of them comes from.
    pub(crate) origins: BTreeMap<String, InForce>,
    names: BTreeMap<InForce, Vec<String>>,
}

impl Guards {
    /// The policies of what is in force. What cannot be, or has no room, gets no names.
    pub(crate) fn of(unsupported: &Unsupported<'_>, in_force: &BTreeSet<InForce>) -> Self {
        let mut guards = Self::default();
        let mut bytes = 0;
        for in_force in in_force {
            let Ok(asked) = unsupported.asked(*in_force) else { continue };
            bytes += serde_json::to_vec(&asked.policies).map_or(usize::MAX, |json| json.len());
            if bytes > MAX_BYTES || guards.policies.len() + asked.policies.len() > MAX_POLICIES {
                break;
            }
            let base = unsupported.access_name(*in_force);
            let is_alone = asked.policies.len() == 1;
            let mut own = Vec::with_capacity(asked.policies.len());
            for policy in &asked.policies {
                let name = if is_alone { base.clone() } else { names::in_document([&*base, &policy.name]) };
                let name = guards.free_name(name);
                guards.origins.insert(name.clone(), *in_force);
                guards.policies.push(RawPolicy { name: name.clone(), ..policy.clone() });
                own.push(name);
            }
            guards.secrets.extend(asked.secrets.clone());
            guards.names.insert(*in_force, own);
        }
        guards
    }

    /// The names of what is in force, in the order in which they are to be asked; `None` if it cannot be enforced.
    pub(crate) fn names(&self, in_force: InForce) -> Option<&[String]> {
        self.names.get(&in_force).map(Vec::as_slice)
    }

    fn free_name(&self, name: String) -> String {
        let numbered = (2_u32..).map(|number| names::in_document([&*name, &number.to_string()]));
        let mut candidates = std::iter::once(name.clone()).chain(numbered);
        candidates.find(|name| !self.origins.contains_key(name)).unwrap_or(name)
    }
}
