//! The limits of one policy.

use std::sync::Arc;

use penstock_config::PolicySpec;

use super::ask::{Ask, Now, Usage};
use super::counter::{self, Counter, Reserved};
use super::counters::Counters;
use super::expression::Names;
use super::holds::{Hold, Holds};
use super::prices::PriceFor;
use super::rule::{Part, Rule, Took};
use super::standing::{Denied, Standing, Stop, Unavailable};

/// The limits of one policy, ready to use.
#[derive(Debug)]
pub struct Limiter {
    rules: Box<[Arc<Rule>]>,
    counters: Arc<Counters>,
    wants: Wants,
}

/// What limits have to be told of a request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wants {
    /// The model that the client asks for.
    pub model: bool,
    /// How many tokens it may take: the estimate, and what it allows.
    pub tokens: bool,
    /// What they cost.
    pub cost: bool,
}

impl Limiter {
    /// The limits of `policy`, counted in `counters`; `None` if it has none. `replicas` gateways serve the document, at least
    /// one, and share counters if there is a store.
    pub fn new(
        policy: &PolicySpec,
        counters: &Arc<Counters>,
        replicas: u32,
        has_store: bool,
    ) -> Option<Self> {
        let rule = |spec| Arc::new(Rule::new(&policy.name, spec, replicas, has_store));
        let rules: Box<[_]> = policy.limits.iter().map(rule).collect();
        let any = |wants: fn(&Rule) -> bool| rules.iter().any(|rule| wants(rule));
        let wants = Wants {
            model: any(Rule::wants_model),
            tokens: any(Rule::wants_tokens),
            cost: any(|rule| rule.count == super::CountKind::Cost),
        };
        (!rules.is_empty()).then(|| Self { rules, counters: Arc::clone(counters), wants })
    }

    /// What has to be known of a request.
    pub fn wants(&self) -> Wants {
        self.wants
    }

    /// Holds what the request is expected to take of each limit, in order, and adds it to `into`. `price` is what the tokens
    /// cost; `None` if that is not known: they cost nothing then, and limits on money let the request pass as long as there
    /// is any.
    ///
    /// # Errors
    /// The request may not pass, or has to wait. `into` is as it was then: what it held before, it still holds, and whoever
    /// gives up settles it with [`Spent::Nothing`](super::Spent::Nothing).
    pub fn reserve(
        &self,
        ask: &Ask<'_>,
        estimate: &Usage,
        price: Option<&PriceFor>,
        now: Now,
        into: &mut Holds,
    ) -> Result<(), Stop> {
        let held_before = into.len();
        let names = self.names(ask);
        let expected = Took { usage: estimate, price, names: names.as_deref() };
        for rule in &self.rules {
            match self.reserve_one(rule, ask, expected, now) {
                Ok(Some(hold)) => into.push(hold),
                Ok(None) => {}
                Err(stop) => {
                    into.release_from(held_before, now);
                    return Err(stop);
                }
            }
        }
        if into.len() > held_before {
            into.expect(&self.counters, estimate, price, names);
        }
        Ok(())
    }

    /// How each limit that is for the request stands. Holds nothing, counts nothing and makes no counter.
    pub fn peek(&self, ask: &Ask<'_>, estimate: &Usage, price: Option<&PriceFor>, now: Now) -> Vec<Standing> {
        let names = self.names(ask);
        let expected = Took { usage: estimate, price, names: names.as_deref() };
        let rules = self.rules.iter().filter(|rule| rule.is_for(ask));
        rules.filter_map(|rule| self.peek_one(rule, ask, expected, now)).collect()
    }

    fn reserve_one(
        &self,
        rule: &Arc<Rule>,
        ask: &Ask<'_>,
        expected: Took<'_>,
        now: Now,
    ) -> Result<Option<Hold>, Stop> {
        if !rule.is_for(ask) {
            return Ok(None);
        }
        let amount = rule.amount(ask);
        let key = match rule.key(ask) {
            Ok(Some(key)) => key,
            Ok(None) => return Ok(None),
            // A limit that only counts has nothing to count such a request with.
            Err(_) if rule.is_shadow => return Ok(None),
            Err(missing) => return Err(denied(rule, amount, |denied| denied.missing = Some(missing))),
        };
        let Part { hold, least } = rule.part(expected, amount, &self.counters);
        if least > amount && !rule.is_shadow {
            // Nothing is wrong with a request that meets a limit of nothing: it is closed to all, for now.
            return Err(denied(rule, amount, |denied| {
                denied.is_never = amount > 0;
                denied.is_budget = amount == 0 && rule.is_budget;
            }));
        }
        let counter = rule.counter(&key, &self.counters, now);
        self.take(rule, counter, hold, amount, now).map(Some)
    }

    fn take(
        &self,
        rule: &Arc<Rule>,
        counter: Arc<Counter>,
        hold: u64,
        amount: u64,
        now: Now,
    ) -> Result<Hold, Stop> {
        let is_exceeded = rule.is_shadow && counter.level(amount, hold, now).is_exceeded;
        let want = counter::Want { hold, amount, replicas: rule.replicas(), is_forced: rule.is_shadow };
        match counter.reserve(&want, now) {
            Reserved::Held(part) => Ok(Hold::new(rule, counter, part, amount, is_exceeded)),
            Reserved::Short(wait) => Err(denied(rule, amount, |denied| {
                denied.retry_after = Some(wait).filter(|_| !rule.is_budget);
                denied.is_budget = rule.is_budget;
            })),
            Reserved::Wait(wait) => Err(Stop::Wait(wait)),
            Reserved::Unavailable => Err(Stop::Unavailable(Unavailable {
                policy: Arc::clone(&rule.policy),
                limit: Arc::clone(&rule.name),
            })),
        }
    }

    fn peek_one(&self, rule: &Rule, ask: &Ask<'_>, expected: Took<'_>, now: Now) -> Option<Standing> {
        let amount = rule.amount(ask);
        let Part { hold, least } = rule.part(expected, amount, &self.counters);
        let (level, is_missing) = match rule.key(ask) {
            Ok(key) => (self.counters.find(&key?).map(|counter| counter.level(amount, hold, now)), false),
            Err(_) => (None, true),
        };
        Some(Standing {
            policy: Arc::clone(&rule.policy),
            limit: Arc::clone(&rule.name),
            count: rule.count,
            amount,
            remaining: level.map_or(amount, |level| level.remaining),
            reset: level.map(|level| level.reset).unwrap_or_default(),
            held: 0,
            is_shadow: rule.is_shadow,
            is_exceeded: is_missing || least > amount || level.map_or(amount == 0, |level| level.is_exceeded),
        })
    }

    /// What expressions are told, if there are any.
    fn names(&self, ask: &Ask<'_>) -> Option<Arc<Names>> {
        let is_wanted = self.rules.iter().any(|rule| rule.wants_names());
        is_wanted.then(|| {
            Arc::new(Names {
                model: ask.target_model.or(ask.model).unwrap_or_default().into(),
                backend: ask.upstream.unwrap_or_default().into(),
                route: ask.route.into(),
            })
        })
    }
}

/// A refusal, with more said of it by `say`.
fn denied(rule: &Rule, amount: u64, say: impl FnOnce(&mut Denied)) -> Stop {
    let mut denied = Denied {
        policy: Arc::clone(&rule.policy),
        limit: Arc::clone(&rule.name),
        count: rule.count,
        amount,
        retry_after: None,
        is_never: false,
        is_budget: false,
        missing: None,
    };
    say(&mut denied);
    Stop::Denied(denied)
}

#[cfg(test)]
mod tests;
