//! Rules of `rateLimit`.

use penstock_config::raw::{RawCount, RawLimit, RawLimitMatch, RawMissing, RawWindow};
use penstock_config::{Decimal, Span};
use serde_json::Value;

use super::selectors::{self, Selected};
use super::{Fault, Group, Limit, Limits};
use crate::api::{RateLimit, RateLimitCostOf, RateLimitRule, RateLimitRules, RateLimitValue};
use crate::world::shorten;

/// Whose notes of requests are known: Envoy AI Gateway's.
const NAMESPACE: &str = "io.envoy.ai_gateway";

const HOUR_SECS: u64 = 60 * 60;
const DAY_SECS: u64 = 24 * HOUR_SECS;

/// What a rule counts.
#[derive(Default)]
struct Cost {
    each: u64,
    key: Option<String>,
}

/// Reads `rateLimit`.
pub(super) fn read(settings: &Value) -> Result<Option<Limits>, Fault> {
    let spec: RateLimit = serde_json::from_value(settings.clone())
        .map_err(|error| format!("rateLimit: {}", shorten(&error.to_string(), 300)))?;
    let local = spec.local.as_ref().map(local).transpose()?;
    let global = spec.global.as_ref().map(global).transpose()?;
    if local.is_none() && global.is_none() {
        return Err("rateLimit has neither local nor global".to_owned());
    }
    Ok(Some(Limits { local, global }))
}

/// Limits that each data plane counts: buckets. The rule without selectors is for requests that no other is for.
fn local(spec: &RateLimitRules) -> Result<Group, Fault> {
    const FIELD: &str = "rateLimit.local";
    let mut group = Group::default();
    let mut read = Vec::with_capacity(spec.rules.len());
    let has_default = spec.rules.iter().any(|rule| rule.client_selectors.is_empty());
    let mut others = RawLimitMatch::default();
    for (index, rule) in spec.rules.iter().enumerate() {
        let place = format!("{FIELD}.rules[{index}]");
        let mut selected = selectors::read(&rule.client_selectors, &format!("{place}.clientSelectors"))?;
        if has_default && !rule.client_selectors.is_empty() {
            // What lacks a value is the default rule's.
            selected.ask_for_distinct();
            selectors::exclude(&mut others, &selected.when).ok_or_else(|| {
                format!(
                    "{place}.clientSelectors: beside a rule without selectors, which is for requests that no other is for, \
                     a rule can have one condition alone"
                )
            })?;
        }
        read.push((place, rule, selected));
    }
    for (index, (place, rule, mut selected)) in read.into_iter().enumerate() {
        if rule.client_selectors.is_empty() {
            selected.when = others.clone();
        }
        let cost = cost(rule, &place)?;
        if rule.cost.as_ref().is_some_and(|cost| cost.response.is_some()) {
            return Err(format!("{place}.cost.response: only global limits count responses"));
        }
        let window = RawWindow { token_bucket: Some(span(&rule.limit, &place)?), ..RawWindow::default() };
        group.add(rule, (format!("local-{index}"), window, Some(false)), selected, cost, &place)?;
    }
    group.check(FIELD)?;
    Ok(group)
}

/// Limits that are counted for all data planes together, in windows as Envoy's service has them. Each counts by itself.
fn global(spec: &RateLimitRules) -> Result<Group, Fault> {
    const FIELD: &str = "rateLimit.global";
    let mut group = Group::default();
    for (index, rule) in spec.rules.iter().enumerate() {
        let place = format!("{FIELD}.rules[{index}]");
        let selected = selectors::read(&rule.client_selectors, &format!("{place}.clientSelectors"))?;
        let cost = cost(rule, &place)?;
        let window = RawWindow { fixed: Some(span(&rule.limit, &place)?), ..RawWindow::default() };
        if matches!(rule.limit.unit.as_str(), "Month" | "Year") {
            group.note("a month has 30 days and a year 365, counted from 1970 in UTC, as Envoy's service counts them");
        }
        group.add(rule, (format!("global-{index}"), window, Some(true)), selected, cost, &place)?;
    }
    group.check(FIELD)?;
    Ok(group)
}

impl Group {
    fn add(
        &mut self,
        rule: &RateLimitRule,
        (name, window, shared): (String, RawWindow, Option<bool>),
        selected: Selected,
        cost: Cost,
        place: &str,
    ) -> Result<(), Fault> {
        let requests = rule.limit.requests.ok_or_else(|| format!("{place}.limit.requests is missing"))?;
        if cost.each == 0 && cost.key.is_none() {
            self.note(&format!("spec.{place} counts nothing (cost), so it limits nothing"));
            return Ok(());
        }
        if !selected.distinct.is_empty() {
            let message = "requests without what is Distinct count together, where Envoy does not count them";
            self.note(message);
        }
        if rule.x_rate_limit_headers.is_some() {
            self.note(
                "answers have the headers of the API that clients use, whatever xRateLimitHeaders says",
            );
        }
        self.goes_by_address |= selected.goes_by_address;
        let mut per = selected.per;
        if rule.shared != Some(true) {
            per.push("route".to_owned());
        }
        let raw = RawLimit {
            name,
            // One that counts what is said elsewhere gets that later.
            count: cost.key.as_ref().map(|_| RawCount::TotalTokens),
            each: (cost.each != 1 || cost.key.is_some()).then(|| Decimal::whole(cost.each)),
            amount: Decimal::whole(requests),
            window: Some(window),
            per,
            missing: RawMissing::Together,
            when: selected.when,
            shadow: rule.shadow_mode == Some(true),
            shared,
            ..RawLimit::default()
        };
        self.limits.push(Limit { raw, cost: cost.key });
        Ok(())
    }

    /// Has a status say something, once.
    fn note(&mut self, note: &str) {
        if !self.notes.iter().any(|known| known == note) {
            self.notes.push(note.to_owned());
        }
    }
}

fn cost(rule: &RateLimitRule, place: &str) -> Result<Cost, Fault> {
    let Some(spec) = &rule.cost else { return Ok(Cost { each: 1, key: None }) };
    let mut cost = Cost { each: 1, key: None };
    if let Some(request) = &spec.request {
        let place = format!("{place}.cost.request");
        cost.each = match request.from.as_str() {
            "Number" => request.number.unwrap_or(1),
            // Whoever would note it is not there.
            "Metadata" => {
                return Err(format!("{place}: nothing notes a cost of requests before they are served"));
            }
            other => return Err(format!("{place}: there is no from {:?}", shorten(other, 40))),
        };
    }
    if let Some(response) = &spec.response {
        let place = format!("{place}.cost.response");
        match response.from.as_str() {
            // It does not depend on the response.
            "Number" => cost.each = cost.each.saturating_add(response.number.unwrap_or(1)),
            "Metadata" => cost.key = Some(key(response, &place)?),
            other => return Err(format!("{place}: there is no from {:?}", shorten(other, 40))),
        }
    }
    Ok(cost)
}

fn key(spec: &RateLimitCostOf, place: &str) -> Result<String, Fault> {
    let Some(metadata) = &spec.metadata else { return Err(format!("{place}.metadata is missing")) };
    if metadata.namespace != NAMESPACE {
        return Err(format!(
            "{place}.metadata.namespace: nothing notes anything in {:?}: costs of requests for models are in {NAMESPACE}",
            shorten(&metadata.namespace, 80)
        ));
    }
    Ok(metadata.key.clone())
}

fn span(limit: &RateLimitValue, place: &str) -> Result<Span, Fault> {
    let seconds = match limit.unit.as_str() {
        "Second" => 1,
        "Minute" => 60,
        "Hour" => HOUR_SECS,
        "Day" => DAY_SECS,
        "Week" => 7 * DAY_SECS,
        "Month" => 30 * DAY_SECS,
        "Year" => 365 * DAY_SECS,
        other => return Err(format!("{place}.limit.unit: there is no {:?}", shorten(other, 40))),
    };
    Ok(Span::secs(seconds))
}
