//! What a request holds of limits until it is settled.

use std::sync::Arc;

use smallvec::SmallVec;

use super::ask::{Now, Usage};
use super::counter::{Counter, Part, Reserved, Want};
use super::counters::Counters;
use super::expression::Names;
use super::prices::PriceFor;
use super::rule::{Rule, Took};
use super::standing::{CountKind, LimitName, Standing};

/// So many limits are held without the heap.
const INLINE: usize = 4;
/// How often what a stream took is reckoned where that is not a matter of its tokens alone.
const TOKENS_BETWEEN_RECKONINGS: u64 = 32;

/// What a request, or one attempt at it, holds of limits. One that is dropped is settled with what it has seen: as
/// [`Spent::Seen`] if it saw anything, else as [`Spent::Failed`].
#[derive(Debug, Default)]
pub struct Holds {
    list: SmallVec<[Hold; INLINE]>,
    about: Option<About>,
    /// How many tokens were generated so far; `None` if nothing was seen.
    seen: Option<u64>,
    /// From so many on, something is to be looked at.
    next_look: Option<u64>,
}

/// What is known of the request.
#[derive(Debug)]
struct About {
    counters: Arc<Counters>,
    expected: Usage,
    price: Option<PriceFor>,
    names: Option<Arc<Names>>,
}

/// What is held of one limit.
#[derive(Debug)]
pub(crate) struct Hold {
    rule: Arc<Rule>,
    counter: Arc<Counter>,
    part: Part,
    amount: u64,
    /// Whether there was not enough, where the limit only counts.
    is_exceeded: bool,
}

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
    /// An answer began, and nobody said what it took: counts the input that was expected and the output that was seen, of which
    /// as much was reasoning as expected, at the price of who served it ([`Holds::served_by`]).
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
    /// The limit.
    pub limit: Arc<LimitName>,
    /// What was held.
    pub held: u64,
    /// What was counted.
    pub used: u64,
}

impl Holds {
    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Notes that so many tokens were generated so far, and says whether the answer goes on. Costs a comparison as long as
    /// they are within what is held.
    pub fn seen(&mut self, output_tokens: u64, now: Now) -> Seen {
        self.seen = Some(self.seen.unwrap_or_default().max(output_tokens));
        match self.next_look {
            Some(next) if output_tokens >= next => self.look(output_tokens, now),
            _ => Seen::Go,
        }
    }

    /// Notes who served the request, under which name of its model, and at which price (`None` if that is not known): when it
    /// was reserved, nobody knew.
    pub fn served_by(&mut self, upstream: &str, model: Option<&str>, price: Option<&PriceFor>) {
        let Some(about) = &mut self.about else { return };
        about.price = price.cloned();
        let Some(names) = about.names.as_mut() else { return };
        let names = Arc::make_mut(names);
        upstream.clone_into(&mut names.backend);
        if let Some(model) = model {
            model.clone_into(&mut names.model);
        }
    }

    /// Counts what was used in the place of what was held. Nothing is held any more then.
    pub fn settle(&mut self, spent: Spent<'_>, now: Now) {
        self.settle_each(spent, now, |_| {});
    }

    /// [`settle`](Self::settle), and tells what was counted of each limit.
    pub fn settle_each(&mut self, spent: Spent<'_>, now: Now, mut tell: impl FnMut(Settled)) {
        let Some(about) = self.about.take() else { return };
        let spent = match spent {
            Spent::Failed if self.seen.is_some() => Spent::Seen,
            spent => spent,
        };
        let seen = about.expected.seen(self.seen.unwrap_or_default());
        for hold in self.list.drain(..) {
            let took = |usage, price| {
                let took = Took { usage, price, names: about.names.as_deref() };
                hold.rule.took(took, &about.counters)
            };
            let used = match spent {
                Spent::Nothing => 0,
                Spent::Failed => hold.rule.each(),
                Spent::Seen => took(&seen, about.price.as_ref()),
                Spent::Used { usage, price } => took(usage, price),
            };
            hold.counter.settle(hold.part, used, now);
            tell(hold.settled(used));
        }
        (self.seen, self.next_look) = (None, None);
    }

    /// How the limits stand of which something is held, in the order in which they were asked.
    pub fn standing(&self, now: Now) -> impl Iterator<Item = Standing> + '_ {
        self.list.iter().map(move |hold| hold.standing(now))
    }

    /// As [`Self::standing`], of those that count what `is_asked` for, and do more than count.
    pub fn enforced(&self, now: Now, is_asked: fn(CountKind) -> bool) -> impl Iterator<Item = Standing> + '_ {
        // How a limit stands takes its lock and some arithmetic: not for those that nobody hears of.
        self.list
            .iter()
            .filter(move |hold| !hold.rule.is_shadow && is_asked(hold.rule.count))
            .map(move |hold| hold.standing(now))
    }

    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    pub(crate) fn push(&mut self, hold: Hold) {
        self.list.push(hold);
    }

    /// Lets go of what was held from this position on: nothing of it is counted.
    pub(crate) fn release_from(&mut self, position: usize, now: Now) {
        for hold in self.list.drain(position..) {
            hold.counter.settle(hold.part, 0, now);
        }
    }

    /// What is expected of the request for which something is held now.
    pub(crate) fn expect(
        &mut self,
        counters: &Arc<Counters>,
        expected: &Usage,
        price: Option<&PriceFor>,
        names: Option<Arc<Names>>,
    ) {
        let before = self.about.take();
        let (known_price, known_names) = before.map_or((None, None), |about| (about.price, about.names));
        self.about = Some(About {
            counters: Arc::clone(counters),
            expected: *expected,
            price: price.cloned().or(known_price),
            names: names.or(known_names),
        });
        if self.list.iter().any(|hold| hold.rule.cuts_streams) {
            self.next_look = Some(0);
        }
    }

    /// Looks whether each limit that cuts holds enough for what was seen, and holds more if not.
    fn look(&mut self, output: u64, now: Now) -> Seen {
        let Some(about) = &self.about else { return Seen::Go };
        let mut next_look = u64::MAX;
        for hold in self.list.iter_mut().filter(|hold| hold.rule.cuts_streams) {
            match hold.follow(about, output, now) {
                Some(next) => next_look = next_look.min(next),
                None => return hold.cut(),
            }
        }
        self.next_look = Some(next_look);
        Seen::Go
    }
}

/// Nobody said how the request ended: a panic, or a fault. What is not told is not forgotten.
impl Drop for Holds {
    fn drop(&mut self) {
        match &self.about {
            Some(about) => {
                let now = about.counters.latest();
                self.settle(Spent::Failed, now);
            }
            // It was being made when something panicked.
            None => self.release_from(0, Now::EARLIEST),
        }
    }
}

impl Hold {
    pub(crate) fn new(
        rule: &Arc<Rule>,
        counter: Arc<Counter>,
        part: Part,
        amount: u64,
        is_exceeded: bool,
    ) -> Self {
        Self { rule: Arc::clone(rule), counter, part, amount, is_exceeded }
    }

    /// Holds enough for an answer of so many tokens; `None` if that is not there. Says from how many on to look again.
    fn follow(&mut self, about: &About, output: u64, now: Now) -> Option<u64> {
        let took = |output| {
            let usage = about.expected.seen(output);
            let took = Took { usage: &usage, price: about.price.as_ref(), names: about.names.as_deref() };
            self.rule.took(took, &about.counters)
        };
        let (used, nothing) = (took(output), took(0));
        let lack = used.saturating_sub(self.part.total());
        if lack > 0 {
            let more = took(about.expected.output).saturating_sub(nothing).min(self.amount / 2).max(lack);
            if !self.extend(more, now) && !self.extend(lack, now) {
                return None;
            }
        }
        let room = self.part.total().saturating_sub(used);
        let step = if self.rule.is_by_token() { room.saturating_add(1) } else { TOKENS_BETWEEN_RECKONINGS };
        Some(output.saturating_add(step))
    }

    /// Whether so much more is held, or may still be: the store is asked, and the stream does not wait for it.
    fn extend(&mut self, more: u64, now: Now) -> bool {
        let (amount, replicas) = (self.amount, self.rule.replicas());
        let want = Want { hold: more, amount, replicas, is_forced: self.rule.is_shadow };
        match self.counter.reserve(&want, now) {
            Reserved::Held(part) => {
                self.part.held = self.part.held.saturating_add(part.held);
                self.part.held_apart = self.part.held_apart.saturating_add(part.held_apart);
                true
            }
            Reserved::Wait(_) => true,
            Reserved::Short(_) | Reserved::Unavailable => false,
        }
    }

    fn cut(&self) -> Seen {
        Seen::Cut { policy: Arc::clone(&self.rule.policy), limit: Arc::clone(&self.rule.name) }
    }

    fn settled(&self, used: u64) -> Settled {
        Settled { limit: Arc::clone(&self.rule.called), held: self.part.total(), used }
    }

    fn standing(&self, now: Now) -> Standing {
        let level = self.counter.level(self.amount, 0, now);
        Standing {
            policy: Arc::clone(&self.rule.policy),
            limit: Arc::clone(&self.rule.name),
            count: self.rule.count,
            amount: self.amount,
            remaining: level.remaining,
            reset: level.reset,
            held: self.part.total(),
            is_shadow: self.rule.is_shadow,
            is_exceeded: self.is_exceeded,
        }
    }
}

#[cfg(test)]
mod tests;
