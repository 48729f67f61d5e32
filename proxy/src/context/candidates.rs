//! What is left of a rule's targets for one request.

use penstock_config::{Rule, Target, Upstream};

use crate::upstreams::{EndpointKey, Excluded};

/// A target's tier and its position in it.
pub(crate) type TargetAt = (usize, usize);

/// The targets of a rule that a request has tried, and how.
#[derive(Debug, Default)]
pub(crate) struct Candidates {
    /// Targets that have nothing left to try.
    exhausted: Vec<TargetAt>,
    /// The target of the last attempt: the next one stays there while it has other endpoints.
    current: Option<TargetAt>,
    failed: Vec<Failed>,
}

/// An endpoint that failed this request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Failed {
    /// The target that the attempt was for.
    pub(crate) target: TargetAt,
    /// That target's pool or backend.
    pub(crate) upstream: Upstream,
    /// The endpoint.
    pub(crate) endpoint: EndpointKey,
    /// Whether the endpoint gave no answer. Then it is out of question for every target of the upstream; one that
    /// answered may still serve what another target asks of it, such as another model.
    pub(crate) is_silent: bool,
}

impl Candidates {
    /// The next target to try: the one of the last attempt while it is not exhausted, then the others of its tier by
    /// weight (`random` decides), then the next tier. `None` when nothing is left.
    pub(crate) fn next(&mut self, rule: &Rule, random: u64) -> Option<TargetAt> {
        if let Some(current) = self.current
            && !self.exhausted.contains(&current)
        {
            return Some(current);
        }
        self.current = rule.tiers().iter().enumerate().find_map(|(index, tier)| {
            let position =
                |target: &Target| tier.targets.iter().position(|other| std::ptr::eq(other, target));
            let is_exhausted =
                |target: &Target| position(target).is_some_and(|at| self.exhausted.contains(&(index, at)));
            let chosen = tier.choose(random, is_exhausted)?;
            Some((index, position(chosen)?))
        });
        self.current
    }

    /// Whether any target but `target` is left that is no fixed answer, so that a request need not wait for this one.
    pub(crate) fn has_other(&self, rule: &Rule, target: TargetAt) -> bool {
        rule.tiers().iter().enumerate().any(|(tier, of)| {
            of.targets.iter().enumerate().any(|(at, other)| {
                let at = (tier, at);
                at != target && other.upstream().is_some() && !self.exhausted.contains(&at)
            })
        })
    }

    /// Gives up on a target.
    pub(crate) fn exhaust(&mut self, target: TargetAt) {
        if !self.exhausted.contains(&target) {
            self.exhausted.push(target);
        }
    }

    /// Keeps an endpoint from being tried again.
    pub(crate) fn exclude(&mut self, failed: Failed) {
        self.failed.push(failed);
    }

    /// The endpoints that are not to be tried for a target.
    pub(crate) fn excluded(&self, target: TargetAt, upstream: Upstream) -> Excluded {
        let mut excluded = Excluded::default();
        for failed in &self.failed {
            if failed.upstream == upstream && (failed.is_silent || failed.target == target) {
                excluded.add(failed.endpoint);
            }
        }
        excluded
    }
}
