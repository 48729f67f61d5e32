//! Lowering what models cost.

use rustc_hash::FxHashMap;

use super::text;
use crate::decimal::Decimal;
use crate::raw::{RawPrice, RawPriceTier, RawPriceUnit};
use crate::report::{FieldPath, Quoted, Report};
use crate::spec::{ModelNames, NanoDollars, Price, PriceTier};

/// The decimals of a dollar that are counted.
pub(super) const MONEY_DECIMALS: u32 = 9;

/// Prices of a list at `place`. `check_upstream` reports an upstream that is not known.
pub(crate) fn lower(
    raw: &[RawPrice],
    place: &FieldPath<'_>,
    report: &mut Report,
    mut check_upstream: impl FnMut(&str, &FieldPath<'_>, &mut Report),
) -> Vec<Price> {
    let mut known = FxHashMap::default();
    let mut prices = Vec::with_capacity(raw.len());
    for (index, raw) in raw.iter().enumerate() {
        let item = place.index(index);
        if let Some(upstream) = &raw.upstream {
            check_upstream(upstream, &item.field("upstream"), report);
        }
        let models = item.field("models");
        for (at, model) in raw.models.iter().enumerate() {
            if let Err(message) = model_name(model) {
                report.add(&models.index(at), || message);
            }
            let key = (raw.upstream.as_deref(), model.as_str());
            if let Some(first) = known.insert(key, index) {
                let message = || format!("{} has its price at {place}[{first}] already", Quoted(model));
                report.add(&models.index(at), message);
            }
        }
        prices.push(price(raw, &item, report));
    }
    prices
}

fn model_name(name: &str) -> Result<(), String> {
    let beginning = name.strip_suffix('*');
    if beginning.unwrap_or(name).contains('*') {
        return Err(format!(
            "{} has a `*` before its end: write a model's whole name, or its beginning and a `*`",
            Quoted(name)
        ));
    }
    match beginning {
        Some("") => Ok(()),
        beginning => text::named_model(beginning.unwrap_or(name)),
    }
}

fn price(raw: &RawPrice, place: &FieldPath<'_>, report: &mut Report) -> Price {
    let mut read = |amount: Option<Decimal>, place: &FieldPath<'_>, field: &str, otherwise: NanoDollars| {
        amount.map_or(otherwise, |amount| per_million(amount, raw.per, &place.field(field), report))
    };
    let input = read(Some(raw.input), place, "input", 0);
    let output = read(Some(raw.output), place, "output", 0);
    let mut tier = PriceTier {
        above_input_tokens: 0,
        input,
        cached_input: read(raw.cached_input, place, "cachedInput", input),
        cache_write: read(raw.cache_write, place, "cacheWrite", input),
        output,
        reasoning: read(raw.reasoning, place, "reasoning", output),
    };
    let mut tiers = vec![tier];
    let list = place.field("tiers");
    for (index, raw_tier) in raw.tiers.iter().enumerate() {
        let place = list.index(index);
        tier = next_tier(raw_tier, &tier, |amount, field, otherwise| read(amount, &place, field, otherwise));
        tiers.push(tier);
    }
    check_ascending(&raw.tiers, &list, report);
    let request = raw.request.in_units(MONEY_DECIMALS).unwrap_or_else(|| {
        report.add(&place.field("request"), || too_fine(raw.request, MONEY_DECIMALS));
        0
    });
    let models = ModelNames::new(raw.models.iter().map(String::as_str));
    Price { models, upstream: raw.upstream.as_deref().map(Into::into), request, tiers: tiers.into() }
}

/// A tier, which is as the one before it where it says nothing. Prices that follow another (of what is cached, that of the
/// prompt) follow the tier's own if it has one.
fn next_tier(
    raw: &RawPriceTier,
    before: &PriceTier,
    mut read: impl FnMut(Option<Decimal>, &str, NanoDollars) -> NanoDollars,
) -> PriceTier {
    let input = read(raw.input, "input", before.input);
    let output = read(raw.output, "output", before.output);
    let following =
        |own: NanoDollars, led: NanoDollars, leads: NanoDollars| if own == led { leads } else { own };
    PriceTier {
        above_input_tokens: raw.above_input_tokens,
        input,
        cached_input: read(
            raw.cached_input,
            "cachedInput",
            following(before.cached_input, before.input, input),
        ),
        cache_write: read(raw.cache_write, "cacheWrite", following(before.cache_write, before.input, input)),
        output,
        reasoning: read(raw.reasoning, "reasoning", following(before.reasoning, before.output, output)),
    }
}

fn check_ascending(raw: &[RawPriceTier], place: &FieldPath<'_>, report: &mut Report) {
    for (index, pair) in raw.windows(2).enumerate() {
        if pair[1].above_input_tokens <= pair[0].above_input_tokens {
            let message = || "is not more than that of the tier before it: put tiers in order".to_owned();
            report.add(&place.index(index + 1).field("aboveInputTokens"), message);
        }
    }
}

/// What a million tokens cost.
fn per_million(
    amount: Decimal,
    unit: RawPriceUnit,
    place: &FieldPath<'_>,
    report: &mut Report,
) -> NanoDollars {
    let decimals = match unit {
        RawPriceUnit::Million => MONEY_DECIMALS,
        RawPriceUnit::Token => MONEY_DECIMALS + 6,
    };
    amount.in_units(decimals).unwrap_or_else(|| {
        report.add(place, || too_fine(amount, decimals));
        0
    })
}

/// What is wrong with an amount that is no whole number of the units that are counted.
pub(super) fn too_fine(amount: Decimal, decimals: u32) -> String {
    format!("{amount} has more than {decimals} decimals, or is more than can be counted")
}
