//! What is left of a rule's targets for one request.

use penstock_config::{Rule, Target, Upstream};

use crate::upstreams::{EndpointKey, Excluded};

/// A target's tier and its position in it.
pub(crate) type TargetAt = (usize, usize);

/// The targets of a rule that a request has tried, and how.
#[derive(Debug, Default)]
pub(crate) struct Candidates {
    /// Targets that have nothing left to try, or are passed over.
    exhausted: Vec<Exhausted>,
    /// The target of the last attempt: the next one stays there while it has other endpoints.
    current: Option<TargetAt>,
    failed: Vec<Failed>,
    /// The tier of the last attempt, and how many there were in it.
    in_tier: (u32, u32),
    /// Whether targets are asked now that were put off.
    takes_put_off: bool,
}

#[derive(Debug)]
struct Exhausted {
    target: TargetAt,
    /// Whether it was only passed over, because it may be overloaded: better than none, if there is none.
    is_put_off: bool,
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
            && !self.is_exhausted(current)
        {
            return Some(current);
        }
        self.current = rule.tiers().iter().enumerate().find_map(|(index, tier)| {
            let position =
                |target: &Target| tier.targets.iter().position(|other| std::ptr::eq(other, target));
            let is_exhausted =
                |target: &Target| position(target).is_some_and(|at| self.is_exhausted((index, at)));
            let chosen = tier.choose(random, is_exhausted)?;
            Some((index, position(chosen)?))
        });
        self.current
    }

    /// Whether any target but `target` is left that is no fixed answer, so that a request need not wait for this one.
    pub(crate) fn has_other(&self, rule: &Rule, target: TargetAt) -> bool {
        let is_open = |at| self.exhausted.iter().all(|one| one.target != at || one.is_put_off);
        rule.tiers().iter().enumerate().any(|(tier, of)| {
            of.targets.iter().enumerate().any(|(at, other)| {
                let at = (tier, at);
                at != target && other.upstream().is_some() && is_open(at)
            })
        })
    }

    /// Whether a target has nothing left to try.
    pub(crate) fn is_exhausted(&self, target: TargetAt) -> bool {
        self.exhausted.iter().any(|one| one.target == target)
    }

    /// Notes that an attempt at a target has begun.
    pub(crate) fn begin_attempt(&mut self, (tier, _): TargetAt) {
        let tier = position(tier);
        self.in_tier = if self.in_tier.0 == tier { (tier, self.in_tier.1 + 1) } else { (tier, 1) };
    }

    /// Forgets the last attempt.
    pub(crate) fn take_back_attempt(&mut self) {
        self.in_tier.1 = self.in_tier.1.saturating_sub(1);
    }

    /// How many attempts there were in a tier, without one in another between them.
    pub(crate) fn attempts_at(&self, tier: usize) -> u32 {
        if self.in_tier.0 == position(tier) { self.in_tier.1 } else { 0 }
    }

    /// Gives up on all targets of a tier.
    pub(crate) fn leave_tier(&mut self, rule: &Rule, tier: usize) {
        let targets = rule.tiers().get(tier).map_or(0, |tier| tier.targets.len());
        (0..targets).for_each(|at| self.exhaust((tier, at)));
    }

    /// Whether an endpoint of this upstream has failed the request.
    pub(crate) fn has_failed(&self, upstream: Upstream) -> bool {
        self.failed.iter().any(|failed| failed.upstream == upstream)
    }

    /// Passes over a target as long as there is another.
    pub(crate) fn put_off(&mut self, target: TargetAt) {
        self.exhausted.push(Exhausted { target, is_put_off: true });
    }

    /// Whether targets are asked now that were put off.
    pub(crate) fn takes_put_off(&self) -> bool {
        self.takes_put_off
    }

    /// Opens the targets that were put off again. `false` if there are none.
    pub(crate) fn take_put_off(&mut self) -> bool {
        self.takes_put_off = true;
        let before = self.exhausted.len();
        self.exhausted.retain(|one| !one.is_put_off);
        self.exhausted.len() < before
    }

    /// Gives up on a target.
    pub(crate) fn exhaust(&mut self, target: TargetAt) {
        match self.exhausted.iter_mut().find(|one| one.target == target) {
            Some(one) => one.is_put_off = false,
            None => self.exhausted.push(Exhausted { target, is_put_off: false }),
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

/// A tier's position in few bytes: a request carries it along. A document has no more than some hundred.
fn position(tier: usize) -> u32 {
    u32::try_from(tier).unwrap_or(u32::MAX)
}
