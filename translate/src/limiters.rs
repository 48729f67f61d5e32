//! The limits of one document, as policies of it: of requests, by rule; and of what upstreams are asked for.
//!
//! Where routes count different things under one key, one policy becomes several of different names.

use std::collections::{BTreeMap, BTreeSet};

use penstock_config::raw::{RawLimit, RawLimitStore, RawPolicy, RawWindow};
use penstock_config::{Decimal, MAX_DOCUMENT_BYTES, Span};

use crate::guards::Guards;
use crate::limits::Costs;
use crate::names;
use crate::unsupported::{Limiting, Unsupported};
use crate::world::{Key, ObjectId};

/// The most bytes of limits that a document may have.
const MAX_BYTES: usize = MAX_DOCUMENT_BYTES / 8;

/// The most policies that a document may have for limits.
const MAX_POLICIES: usize = 5_000;

/// The longest name of a Gateway that is part of keys as it is.
const MAX_SCOPE_BYTES: usize = 200;

/// The policy in place of limits of upstreams that have no room.
const NO_ROOM: &str = "no-room-for-limits";

/// The limits of one document.
pub(crate) struct Limiters<'p, 'a> {
    unsupported: &'p Unsupported<'a>,
    /// All of them.
    pub(crate) policies: Vec<RawPolicy>,
    /// What has no room, so that what it is for is closed.
    pub(crate) without_room: BTreeSet<Limiting>,
    /// Names by what they stand for.
    by_content: BTreeMap<(String, String), String>,
    names: BTreeSet<String>,
    bytes: usize,
}

impl<'p, 'a> Limiters<'p, 'a> {
    /// None yet. Names are others than those of `guards`.
    pub(crate) fn new(unsupported: &'p Unsupported<'a>, guards: &Guards) -> Self {
        Self {
            unsupported,
            policies: Vec::new(),
            without_room: BTreeSet::new(),
            by_content: BTreeMap::new(),
            names: guards.policies.iter().map(|policy| policy.name.clone()).collect(),
            bytes: 0,
        }
    }

    /// The names of policies that limit requests of a rule; `None` if they cannot be enforced.
    pub(crate) fn of_requests(&mut self, limiting: Limiting, costs: &Costs<'_>) -> Option<Vec<String>> {
        let limits = self.unsupported.limits(limiting, costs).ok()?;
        let names = limits.into_iter().map(|(name, limits)| self.name(name, &limits));
        let names: Option<Vec<String>> = names.collect();
        if names.is_none() {
            self.without_room.insert(limiting);
        }
        names
    }

    /// The name of the policy that limits what an upstream is asked for.
    pub(crate) fn of_upstream(&mut self, upstream: ObjectId) -> Option<String> {
        let (base, limits) = self.unsupported.quota(upstream)?;
        // Without room nothing may be asked of it.
        Some(self.name(base, &limits).unwrap_or_else(|| self.refusing()))
    }

    /// The name of the policy with these limits; `None` if there is no room for it.
    fn name(&mut self, base: String, limits: &[RawLimit]) -> Option<String> {
        let content = serde_json::to_string(limits).unwrap_or_default();
        if let Some(name) = self.by_content.get(&(base.clone(), content.clone())) {
            return Some(name.clone());
        }
        let has_room = self.bytes + content.len() <= MAX_BYTES && self.policies.len() < MAX_POLICIES;
        has_room.then(|| self.put(base, content, limits))
    }

    /// The name of the policy that nothing passes, for which there always is room.
    fn refusing(&mut self) -> String {
        let known = self.by_content.get(&(NO_ROOM.to_owned(), String::new())).cloned();
        known.unwrap_or_else(|| self.put(NO_ROOM.to_owned(), String::new(), &[none()]))
    }

    fn put(&mut self, base: String, content: String, limits: &[RawLimit]) -> String {
        self.bytes += content.len();
        let numbered = (2_u32..).map(|number| names::in_document([&*base, &number.to_string()]));
        let mut candidates = std::iter::once(base.clone()).chain(numbered);
        let name = candidates.find(|name| !self.names.contains(name)).unwrap_or_else(|| base.clone());
        self.names.insert(name.clone());
        let limits = limits.to_vec();
        self.policies.push(RawPolicy { name: name.clone(), limits, ..RawPolicy::default() });
        self.by_content.insert((base, content), name.clone());
        name
    }
}

/// A limit that nothing passes.
pub(crate) fn none() -> RawLimit {
    RawLimit {
        name: "none".to_owned(),
        amount: Decimal::whole(0),
        window: Some(RawWindow { fixed: Some(Span::secs(1)), ..RawWindow::default() }),
        shared: Some(false),
        ..RawLimit::default()
    }
}

/// The store as a Gateway's data planes use it: its counters are no other's, but for those of upstreams' quotas.
pub(crate) fn own(mut store: RawLimitStore, gateway: &Key) -> RawLimitStore {
    let name = format!("{}.{}", gateway.namespace, gateway.name);
    let name = if name.len() <= MAX_SCOPE_BYTES { name } else { names::in_document([name.as_str(), ""]) };
    store.redis.scope = Some(name);
    store
}
