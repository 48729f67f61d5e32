//! Lowering the amounts of limits, and those that consumers have in their place.

use std::collections::{BTreeMap, BTreeSet};

use rustc_hash::FxHashMap;

use crate::decimal::Decimal;
use crate::lower::price::{MONEY_DECIMALS, too_fine};
use crate::raw::{Document, RawConsumer, RawCount, RawLimit};
use crate::report::{FieldPath, Quoted, Report, Suggestion};
use crate::spec::Count;

/// No gateway serves as much: a limit of more is a mistake.
const BEYOND_REACH: u64 = 1_000_000_000_000_000;

/// The store of shared limits counts exactly up to here: 2^53 - 1.
const MOST_SHARED: u64 = (1 << 53) - 1;

/// The most, in what the limit counts.
pub(super) fn lower(raw: &RawLimit, count: &Count, place: &FieldPath<'_>, report: &mut Report) -> u64 {
    in_units(raw.amount, *count == Count::Cost, &place.field("amount"), report)
}

/// What each request counts.
pub(super) fn each(raw: &RawLimit, count: &Count, place: &FieldPath<'_>, report: &mut Report) -> u64 {
    let place = place.field("each");
    let is_of_requests = matches!(count, Count::Requests | Count::Concurrency);
    match raw.each {
        None => u64::from(is_of_requests),
        Some(each) => {
            if each == Decimal::default() && is_of_requests {
                let message =
                    || "is 0, so nothing is ever counted: leave it out, or take the limit away".to_owned();
                report.add(&place, message);
            }
            in_units(each, *count == Count::Cost, &place, report)
        }
    }
}

fn in_units(amount: Decimal, is_money: bool, place: &FieldPath<'_>, report: &mut Report) -> u64 {
    let decimals = if is_money { MONEY_DECIMALS } else { 0 };
    amount.in_units(decimals).unwrap_or_else(|| {
        let message = match is_money {
            true => too_fine(amount, decimals),
            false => format!("{amount} is not a whole number: only limits of Cost have decimals"),
        };
        report.add(place, || message);
        0
    })
}

/// Refuses an amount that a store cannot count.
pub(super) fn check_shared(amount: u64, place: &FieldPath<'_>, report: &mut Report) {
    if amount > MOST_SHARED {
        let message = || {
            format!(
                "is more than gateways can share, which is {MOST_SHARED} ({} dollars): make it smaller, or say shared: false",
                MOST_SHARED / 10_u64.pow(MONEY_DECIMALS)
            )
        };
        report.add(place, message);
    }
}

/// Legal, and rarely meant: a limit that nothing or everything exceeds.
pub(super) fn warn(count: &Count, (each, amount): (u64, u64), place: &FieldPath<'_>, warnings: &mut Report) {
    if amount == 0 {
        let message = || "is 0: every request that the limit is for is refused".to_owned();
        warnings.add(&place.field("amount"), message);
    } else if each > amount {
        let message = || format!("is more than the amount ({amount}): every request is refused");
        warnings.add(&place.field("each"), message);
    } else if *count != Count::Cost && amount >= BEYOND_REACH {
        let message = || format!("{amount} is more than is ever counted: the limit refuses nothing");
        warnings.add(&place.field("amount"), message);
    }
}

/// The amounts that each consumer has in the place of limits' own, in the order of consumers.
pub(in crate::lower::policy) fn overrides(
    document: &Document,
    report: &mut Report,
) -> Vec<BTreeMap<Box<str>, u64>> {
    let limits = document.policies.iter().flat_map(|policy| &policy.limits);
    let mut by_name: FxHashMap<&str, Vec<&RawLimit>> = FxHashMap::default();
    for limit in limits {
        by_name.entry(&limit.name).or_default().push(limit);
    }
    let place = FieldPath::Root.field("consumers");
    let each = document.consumers.iter().enumerate();
    let has_store = document.limit_store.is_some();
    each.map(|(index, raw)| amounts(raw, &by_name, has_store, &place.index(index).field("limits"), report))
        .collect()
}

fn amounts(
    raw: &RawConsumer,
    limits: &FxHashMap<&str, Vec<&RawLimit>>,
    has_store: bool,
    place: &FieldPath<'_>,
    report: &mut Report,
) -> BTreeMap<Box<str>, u64> {
    let mut amounts = BTreeMap::new();
    for (name, amount) in &raw.limits {
        let place = place.field(name);
        let Some(meant) = limits.get(name.as_str()) else {
            let names: BTreeSet<&str> = limits.keys().copied().collect();
            let suggestion = Suggestion::of(name, names.iter().copied());
            report.add(&place, || format!("no policy has a limit {}{suggestion}", Quoted(name)));
            continue;
        };
        let is_money = |limit: &&RawLimit| limit.count == Some(RawCount::Cost);
        let has_money = meant.iter().any(is_money);
        if has_money && !meant.iter().all(is_money) {
            let message = || {
                format!(
                    "several policies have a limit {}, of which some count money and others do not: name them \
                     differently",
                    Quoted(name)
                )
            };
            report.add(&place, message);
        }
        if !meant.iter().any(|limit| limit.per.iter().any(|per| per == "consumer")) {
            let message = || {
                format!(
                    "the limit {} has no counter for each consumer: add consumer to its per, or leave this out",
                    Quoted(name)
                )
            };
            report.add(&place, message);
        }
        let amount = in_units(*amount, has_money, &place, report);
        if has_store && meant.iter().any(|limit| limit.shared != Some(false)) {
            check_shared(amount, &place, report);
        }
        amounts.insert(name.as_str().into(), amount);
    }
    amounts
}
