//! Quotas of providers.
//!
//! Envoy AI Gateway says of a quota that a request passes while any bucket that it meets has room. Here the default bucket is
//! for requests that no rule is for, and the others have their rules' buckets: nobody gets more than the larger of the two
//! that they would have there, and what some use is not taken from others. A quota of the service, which is not enforced
//! there, is enforced.

use penstock_config::raw::{RawCount, RawLimit, RawLimitMatch, RawWindow};
use penstock_config::{Decimal, Span, check_expression};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Fault, check, selectors};
use crate::api::{ModelQuota, QuotaPolicy, QuotaValue, ServiceQuota};
use crate::compile::compile_quota;
use crate::world::shorten;

/// The limits of a policy, for the upstreams that it is for; none if it says nothing.
///
/// # Errors
/// Something in it cannot be: what, by its field.
pub(crate) fn read(spec: &QuotaPolicy) -> Result<Vec<RawLimit>, Fault> {
    let mut limits = Vec::new();
    if let Some(service) = &spec.service_quota {
        limits.extend(of_service(&parsed(service, "serviceQuota")?)?);
    }
    for (index, model) in spec.per_model_quotas.iter().enumerate() {
        let place = format!("perModelQuotas[{index}]");
        limits.extend(of_model(&parsed(model, &place)?, index, &place)?);
    }
    check(limits.clone(), "perModelQuotas", compile_quota)?;
    Ok(limits)
}

fn parsed<T: DeserializeOwned>(value: &Value, place: &str) -> Result<T, Fault> {
    serde_json::from_value(value.clone())
        .map_err(|error| format!("{place}: {}", shorten(&error.to_string(), 300)))
}

fn of_service(spec: &ServiceQuota) -> Result<Option<RawLimit>, Fault> {
    const PLACE: &str = "serviceQuota";
    // Definitions have it there although nothing is meant.
    let Some(quota) = spec.quota.as_ref().filter(|quota| **quota != QuotaValue::default()) else {
        return Ok(None);
    };
    let mut limit = limit("service", quota, &format!("{PLACE}.quota"))?;
    count(&mut limit, spec.cost_expression.as_deref(), PLACE)?;
    Ok(Some(limit))
}

fn of_model(spec: &ModelQuota, index: usize, place: &str) -> Result<Vec<RawLimit>, Fault> {
    if spec.model_name.is_empty() || spec.model_name.contains('*') {
        return Err(format!("{place}.modelName: no model is called so"));
    }
    if let Some(mode) = spec.quota.mode.as_deref().filter(|mode| *mode != "Shared") {
        return Err(format!("{place}.quota.mode: there is no {:?}", shorten(mode, 40)));
    }
    let models = vec![spec.model_name.clone()];
    let mut limits = Vec::new();
    let mut others = RawLimitMatch { models: models.clone(), ..RawLimitMatch::default() };
    for (at, rule) in spec.quota.bucket_rules.iter().enumerate() {
        let place = format!("{place}.quota.bucketRules[{at}]");
        let mut selected = selectors::read(&rule.client_selectors, &format!("{place}.clientSelectors"))?;
        selected.ask_for_distinct();
        let is_shadow = rule.shadow_mode == Some(true);
        // One that only counts takes nobody out of the default bucket; nor does one that is for all.
        if !is_shadow && selected.when != RawLimitMatch::default() {
            selectors::exclude(&mut others, &selected.when).ok_or_else(|| {
                format!(
                    "{place}.clientSelectors: beside the default bucket, a rule can have one condition alone"
                )
            })?;
        }
        let mut limit = limit(&format!("model-{index}-rule-{at}"), &rule.quota, &format!("{place}.quota"))?;
        limit.when = RawLimitMatch { models: models.clone(), ..selected.when };
        limit.per.extend(selected.per);
        limit.shadow = is_shadow;
        limits.push(limit);
    }
    let quota = spec.quota.default_bucket.as_ref();
    let quota = quota.ok_or_else(|| format!("{place}.quota.defaultBucket is missing"))?;
    let mut default = limit(&format!("model-{index}"), quota, &format!("{place}.quota.defaultBucket"))?;
    default.when = others;
    limits.push(default);
    for limit in &mut limits {
        count(limit, spec.quota.cost_expression.as_deref(), &format!("{place}.quota"))?;
    }
    Ok(limits)
}

/// A limit of one upstream. The window slides, as the definition says it.
fn limit(name: &str, quota: &QuotaValue, place: &str) -> Result<RawLimit, Fault> {
    let seconds = match quota.duration.as_str() {
        "1s" => 1,
        "1m" => 60,
        "1h" => 60 * 60,
        "1d" => 24 * 60 * 60,
        other => return Err(format!("{place}.duration: there is no {:?}", shorten(other, 40))),
    };
    let amount = quota.limit.ok_or_else(|| format!("{place}.limit is missing"))?;
    Ok(RawLimit {
        name: name.to_owned(),
        amount: Decimal::whole(amount),
        window: Some(RawWindow { sliding: Some(Span::secs(seconds)), ..RawWindow::default() }),
        shared: Some(true),
        ..RawLimit::default()
    })
}

/// Lets a limit count what an expression makes of usage, or all tokens.
fn count(limit: &mut RawLimit, expression: Option<&str>, place: &str) -> Result<(), Fault> {
    match expression {
        None => limit.count = Some(RawCount::TotalTokens),
        Some(expression) => {
            check_expression(expression)
                .map_err(|message| format!("{place}.costExpression: {}", shorten(&message, 200)))?;
            limit.expression = Some(expression.to_owned());
        }
    }
    Ok(())
}
