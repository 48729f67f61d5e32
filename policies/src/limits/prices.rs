//! What tokens cost.

use std::collections::BTreeSet;
use std::sync::Arc;

use penstock_config::{NanoDollars, Price, PriceTier};
use rustc_hash::FxHashMap;

use super::ask::Usage;

/// Prices are of a million tokens.
const TOKENS_PER_PRICE: u128 = 1_000_000;

/// What models cost, at whose upstreams.
#[derive(Debug, Clone, Default)]
pub struct Prices {
    /// By the upstream; those of any have no name.
    /// Names that are looked for change nothing here: those that are there are the operator's.
    by_upstream: FxHashMap<Box<str>, Models>,
    of_any: Models,
}

/// What a model costs at an upstream. Copies are cheap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PriceFor(Arc<Tariff>);

#[derive(Debug, PartialEq, Eq)]
struct Tariff {
    request: NanoDollars,
    tiers: Box<[PriceTier]>,
}

#[derive(Debug, Clone, Default)]
struct Models {
    exact: FxHashMap<Box<str>, PriceFor>,
    prefixes: FxHashMap<Box<str>, PriceFor>,
    prefix_lengths: BTreeSet<usize>,
}

impl Prices {
    /// What `prices` say. Where two name the same models at the same upstream, the first counts.
    pub fn new(prices: &[Price]) -> Self {
        let mut all = Self::default();
        for price in prices {
            let tariff = Tariff { request: price.request, tiers: price.tiers.clone() };
            let models = match &price.upstream {
                Some(upstream) => all.by_upstream.entry(upstream.clone()).or_default(),
                None => &mut all.of_any,
            };
            models.add(price, &PriceFor(Arc::new(tariff)));
        }
        all
    }

    /// What `model`, as the upstream knows it, costs at `upstream`; `None` if nobody said. What is said of the upstream comes
    /// before what is said of any, then the whole name before the longest beginning.
    pub fn of(&self, upstream: &str, model: &str) -> Option<&PriceFor> {
        let own = self.by_upstream.get(upstream).and_then(|models| models.of(model));
        own.or_else(|| self.of_any.of(model))
    }
}

impl Models {
    fn add(&mut self, price: &Price, is: &PriceFor) {
        for name in price.models.exact() {
            self.exact.entry(name.into()).or_insert_with(|| is.clone());
        }
        for prefix in price.models.prefixes() {
            self.prefix_lengths.insert(prefix.len());
            self.prefixes.entry(prefix.into()).or_insert_with(|| is.clone());
        }
    }

    fn of(&self, model: &str) -> Option<&PriceFor> {
        let by_prefix = || {
            let prefixes = self.prefix_lengths.iter().rev().filter_map(|length| model.get(..*length));
            prefixes.filter_map(|prefix| self.prefixes.get(prefix)).next()
        };
        self.exact.get(model).or_else(by_prefix)
    }
}

impl PriceFor {
    /// What `usage` costs, rounded up.
    pub fn cost(&self, usage: &Usage) -> NanoDollars {
        let tier = self.0.tiers.iter().rev().find(|tier| usage.input > tier.above_input_tokens);
        // A prompt of no tokens lies above none, and belongs to the first.
        let Some(tier) = tier.or(self.0.tiers.first()) else { return self.0.request };
        let plain = usage.input.saturating_sub(usage.cached_input.saturating_add(usage.cache_write));
        let answer = usage.output.saturating_sub(usage.reasoning);
        let parts = [
            (plain, tier.input),
            (usage.cached_input, tier.cached_input),
            (usage.cache_write, tier.cache_write),
            (answer, tier.output),
            (usage.reasoning, tier.reasoning),
        ];
        let product = |(tokens, price): (u64, u64)| u128::from(tokens) * u128::from(price);
        let sum = parts.into_iter().map(product).fold(0, u128::saturating_add);
        let cost = sum.div_ceil(TOKENS_PER_PRICE).saturating_add(u128::from(self.0.request));
        NanoDollars::try_from(cost).unwrap_or(NanoDollars::MAX)
    }
}

#[cfg(test)]
mod tests;
