//! The targets that a request left, and why.

use penstock_config::Upstream;

use super::TargetAt;

/// A target that was asked, or was to be asked, before another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tried {
    /// The target.
    pub(crate) target: TargetAt,
    /// Its pool or backend.
    pub(crate) upstream: Upstream,
    /// Why it was left: a word of the metrics.
    pub(crate) reason: &'static str,
    /// Whether a metric has counted it.
    pub(crate) is_counted: bool,
}

/// What was tried for one request, in order. Takes no memory as long as that is nothing.
#[derive(Debug, Default)]
pub(crate) struct Trail(Vec<Tried>);

impl Trail {
    /// Whether nothing was tried before.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a target is among them.
    pub(crate) fn has(&self, target: TargetAt) -> bool {
        self.0.iter().any(|tried| tried.target == target)
    }

    /// All of them.
    pub(crate) fn all(&self) -> &[Tried] {
        &self.0
    }

    /// Adds one, and says where.
    pub(crate) fn add(&mut self, target: TargetAt, upstream: Upstream, reason: &'static str) -> usize {
        self.0.push(Tried { target, upstream, reason, is_counted: false });
        self.0.len() - 1
    }

    /// Takes back the one at `place`: its answer is passed on after all.
    pub(crate) fn take_back(&mut self, place: usize) {
        if place < self.0.len() {
            self.0.remove(place);
        }
    }

    /// Those that have not been counted, which they are herewith.
    pub(crate) fn count(&mut self) -> impl Iterator<Item = Tried> {
        self.0.iter_mut().filter_map(|tried| {
            let is_new = !std::mem::replace(&mut tried.is_counted, true);
            is_new.then_some(*tried)
        })
    }
}
