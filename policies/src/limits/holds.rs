//! What a request holds of limits until it is settled.

use std::sync::Arc;

use super::ask::{Now, Usage};
use super::prices::PriceFor;
use super::standing::{CountKind, Standing};

/// What a request, or one attempt at it, holds of limits. One that is dropped is settled with what it has seen: as
/// [`Spent::Seen`] if it saw anything, else as [`Spent::Failed`].
#[derive(Debug, Default)]
pub struct Holds {}

/// Whether an answer goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// It does.
    Go,
    /// It is cut: a limit that cuts has nothing left.
    Cut {
        /// The policy.
        policy: Arc<str>,
        /// The limit's name in it.
        limit: Arc<str>,
    },
}

/// What became of a request.
#[derive(Debug, Clone, Copy)]
pub enum Spent<'a> {
    /// The gateway refused it, and asked nobody: nothing is counted.
    Nothing,
    /// Somebody was asked, and no answer of a model began: counts what each request counts. Where something of an answer was
    /// seen nevertheless, it is as [`Spent::Seen`].
    Failed,
    /// An answer began, and nobody said what it took: counts the input that was expected and the output that was seen.
    Seen,
    /// It took this.
    Used {
        /// What was reported.
        usage: &'a Usage,
        /// What it costs; `None` if that is not known.
        price: Option<&'a PriceFor>,
    },
}

/// What was counted of a limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// The policy.
    pub policy: Arc<str>,
    /// The limit's name in it.
    pub limit: Arc<str>,
    /// What it counts.
    pub count: CountKind,
    /// What was held.
    pub held: u64,
    /// What was counted.
    pub used: u64,
}

impl Holds {
    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        true
    }

    /// Notes that so many tokens were generated so far, and says whether the answer goes on. Costs a comparison as long as
    /// they are within what is held.
    pub fn seen(&mut self, _output_tokens: u64, _now: Now) -> Seen {
        Seen::Go
    }

    /// Counts what was used in the place of what was held. Nothing is held any more then.
    pub fn settle(&mut self, spent: Spent<'_>, now: Now) {
        self.settle_each(spent, now, |_| {});
    }

    /// [`settle`](Self::settle), and tells what was counted of each limit.
    pub fn settle_each(&mut self, _spent: Spent<'_>, _now: Now, _tell: impl FnMut(Settled)) {}

    /// How the limits stand of which something is held, in the order in which they were asked.
    pub fn standing(&self, _now: Now) -> impl Iterator<Item = Standing> + '_ {
        std::iter::empty()
    }
}
