//! The policies of one document: what SecurityPolicies ask of requests, under names that no two of them share.

use std::collections::{BTreeMap, BTreeSet};

use penstock_config::MAX_DOCUMENT_BYTES;
use penstock_config::raw::{RawAuthorization, RawPolicy};

use crate::context::{Secrets, made_bytes};
use crate::names;
use crate::unsupported::{InForce, Unsupported};

/// The most bytes of policies that a document may have.
const MAX_BYTES: usize = MAX_DOCUMENT_BYTES / 8;

/// The most bytes of files that policies of a document may have, of the 1 MiB that the Gateway's Secret has room for.
/// With more, nothing would be published for anybody.
const MAX_FILE_BYTES: usize = 512 << 10;

/// The most policies that a document may have, but for one.
const MAX_POLICIES: usize = 19_999;

/// The policy in place of those that have no room, which refuses all. No other has a name without a dot.
const NO_ROOM: &str = "no-room";

/// The policies of one document.
#[derive(Debug, Default)]
pub(crate) struct Guards {
    /// All of them.
    pub(crate) policies: Vec<RawPolicy>,
    /// What they name.
    pub(crate) secrets: Secrets,
    /// What each of them comes from.
    pub(crate) origins: BTreeMap<String, InForce>,
    /// What has no room, so that all that it is for is refused.
    pub(crate) without_room: BTreeSet<InForce>,
    names: BTreeMap<InForce, Vec<String>>,
}

impl Guards {
    /// The policies of what is in force. What cannot be gets no names, and what has no room one that refuses all.
    pub(crate) fn of(unsupported: &Unsupported<'_>, in_force: &BTreeSet<InForce>) -> Self {
        let mut guards = Self::default();
        let (mut bytes, mut file_bytes) = (0, 0);
        for in_force in in_force {
            let Ok(asked) = unsupported.asked(*in_force) else { continue };
            let own_bytes = serde_json::to_vec(&asked.policies).map_or(MAX_BYTES, |json| json.len());
            let new_files = asked.secrets.iter().filter(|(name, _)| !guards.secrets.contains_key(*name));
            let own_file_bytes = made_bytes(new_files);
            let has_room = bytes + own_bytes <= MAX_BYTES
                && file_bytes + own_file_bytes <= MAX_FILE_BYTES
                && guards.policies.len() + asked.policies.len() <= MAX_POLICIES;
            if !has_room {
                guards.refuse(*in_force);
                continue;
            }
            bytes += own_bytes;
            file_bytes += own_file_bytes;
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

    fn refuse(&mut self, in_force: InForce) {
        if self.policies.iter().all(|policy| policy.name != NO_ROOM) {
            let authorization = Some(RawAuthorization::default());
            self.policies.push(RawPolicy {
                name: NO_ROOM.to_owned(),
                authentication: None,
                authorization,
                limits: Vec::new(),
            });
        }
        self.names.insert(in_force, vec![NO_ROOM.to_owned()]);
        self.without_room.insert(in_force);
    }

    fn free_name(&self, name: String) -> String {
        let numbered = (2_u32..).map(|number| names::in_document([&*name, &number.to_string()]));
        let mut candidates = std::iter::once(name.clone()).chain(numbered);
        candidates.find(|name| !self.origins.contains_key(name)).unwrap_or(name)
    }
}
