//! What an attempt holds of the limits of its pool or backend.

use http::HeaderMap;
use penstock_config::Rule;
use penstock_policies::limits::{Holds, LeaseWait, Spent};
use tokio::time::Instant;

use super::reserve::{Halt, one, unavailable};
use super::{ask, facts};
use crate::context::Arrived;
use crate::metrics::PickOutcome;
use crate::upstreams::{Unavailable, Upstream, Wait};

/// What one choice of a target holds, until the attempt has it.
pub(crate) struct Held<'a> {
    arrived: &'a Arrived,
    headers: &'a HeaderMap,
    rule: &'a Rule,
    holds: Option<Box<Holds>>,
    /// What a target waits for.
    lease: Option<LeaseWait>,
}

impl<'a> Held<'a> {
    /// Nothing yet, of a request that `rule` takes.
    pub(crate) fn new(arrived: &'a Arrived, headers: &'a HeaderMap, rule: &'a Rule) -> Self {
        Self { arrived, headers, rule, holds: None, lease: None }
    }

    /// Holds what an attempt at `upstream` is expected to take there, where the model is called `model`.
    ///
    /// # Errors
    /// A limit does not let it pass, or has to be waited for.
    pub(crate) fn hold(&mut self, upstream: &Upstream, model: &str) -> Result<(), Unavailable> {
        if upstream.quotas.is_empty() {
            return Ok(());
        }
        let facts = facts(self.arrived, self.headers);
        let mut ask = ask(self.arrived, &facts, Some(self.rule));
        ask.upstream = Some(&upstream.name);
        // What the body says is not what counts where the path says something else.
        let is_own = model.is_empty() || self.arrived.model() == Some(model);
        ask.target_model = if is_own { ask.model } else { Some(model) };
        let runtime = self.arrived.runtime();
        let meter = runtime.meter();
        let estimate = meter.estimator.estimate(&ask);
        let rates = meter.prices().rates();
        let price = ask.target_model.and_then(|model| rates.of(&upstream.name, model));
        let now = meter.at((self.arrived.started, self.arrived.started_at), Instant::now());
        let holds = self.holds.get_or_insert_default();
        for quota in &upstream.quotas {
            let (error, wait) = match one(runtime, quota, &ask, &estimate, price, now, holds) {
                Ok(()) => continue,
                Err(Halt::Refused(error)) => (error, None),
                Err(Halt::Wait(lease)) => {
                    self.lease = Some(lease);
                    (unavailable(Some(quota)), Some(Wait::Counter))
                }
            };
            self.release();
            return Err(Unavailable { outcome: PickOutcome::Limited, error, wait });
        }
        Ok(())
    }

    /// Gives back what is held: nobody was asked.
    pub(crate) fn release(&mut self) {
        give_back(self.arrived, &mut self.holds);
    }

    /// What is held, and what is waited for.
    pub(crate) fn into_parts(self) -> (Option<Box<Holds>>, Option<LeaseWait>) {
        (self.holds, self.lease)
    }
}

/// Gives back what is held for an attempt that asked nobody.
pub(crate) fn give_back(arrived: &Arrived, holds: &mut Option<Box<Holds>>) {
    if let Some(mut holds) = holds.take() {
        holds.settle(Spent::Nothing, arrived.runtime().meter().now());
    }
}
