//! The limits of one policy.

use std::sync::Arc;

use penstock_config::PolicySpec;

use super::ask::{Ask, Now, Usage};
use super::counters::Counters;
use super::holds::Holds;
use super::prices::PriceFor;
use super::standing::{Standing, Stop};

/// The limits of one policy, ready to use.
#[derive(Debug)]
pub struct Limiter {
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
        _counters: &Arc<Counters>,
        _replicas: u32,
        _has_store: bool,
    ) -> Option<Self> {
        (!policy.limits.is_empty()).then(|| Self { wants: Wants { model: true, tokens: true, cost: true } })
    }

    /// What has to be known of a request.
    pub fn wants(&self) -> Wants {
        self.wants
    }

    /// Holds what the request is expected to take of each limit, in order, and adds it to `into`. `price` is what the tokens
    /// cost; `None` if that is not known: limits on money let such a request pass.
    ///
    /// # Errors
    /// The request may not pass, or has to wait. `into` is as it was then: what it held before, it still holds, and whoever
    /// gives up settles it with [`Spent::Nothing`](super::Spent::Nothing).
    pub fn reserve(
        &self,
        _ask: &Ask<'_>,
        _estimate: &Usage,
        _price: Option<&PriceFor>,
        _now: Now,
        _into: &mut Holds,
    ) -> Result<(), Stop> {
        Ok(())
    }

    /// How each limit that is for the request stands. Holds nothing, counts nothing and makes no counter.
    pub fn peek(
        &self,
        _ask: &Ask<'_>,
        _estimate: &Usage,
        _price: Option<&PriceFor>,
        _now: Now,
    ) -> Vec<Standing> {
        Vec::new()
    }
}
