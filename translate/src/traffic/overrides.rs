//! Answers that a BackendTrafficPolicy gives in place of others.

use std::collections::BTreeMap;

use penstock_config::raw::{
    RawPathRewrite, RawPathRewriteType, RawRedirect, RawResponseOverride, RawResponseSource, RawScheme,
    RawStatusRange,
};
use serde_json::Value;

use crate::answers::{body, edits};
use crate::api::{TrafficOverride, TrafficOverrideRedirect, TrafficStatus};
use crate::context::Context;
use crate::world::{Key, shorten};

/// The most answers, and the most ranges of statuses of each, that documents have.
const MAX_OVERRIDES: usize = 32;
const MAX_RANGES: usize = 64;

/// The statuses that documents replace.
const STATUSES: std::ops::RangeInclusive<i64> = 300..=599;

/// What `%` stands before in bodies that Envoy fills in.
const OPERATOR: char = '%';

/// The answers, and what of them is not acted on, as a status names it.
#[derive(Debug, Default)]
pub(crate) struct Overrides {
    /// The answers.
    pub(crate) all: Vec<RawResponseOverride>,
    /// What is left out.
    pub(crate) idle: Vec<String>,
}

/// Reads those of a policy. One that has a condition that is not known is left out: it would be for more than it is meant
/// for.
///
/// # Errors
/// One cannot be: why, by its field.
pub(crate) fn read(
    context: &Context<'_>,
    owner: &Key,
    wanted: &[TrafficOverride],
) -> Result<Overrides, String> {
    let mut overrides = Overrides::default();
    for (index, wanted) in wanted.iter().enumerate() {
        let place = format!("responseOverride[{index}]");
        if index >= MAX_OVERRIDES {
            return Err(format!("{place}: {MAX_OVERRIDES} are the most"));
        }
        let others = [("", &wanted.others), (".match", &wanted.conditions.others)];
        let unknown = others.iter().flat_map(|(of, others)| others.keys().map(move |name| (of, name)));
        let unknown: Vec<String> =
            unknown.map(|(of, name)| format!("spec.{place}{of}.{}", shorten(name, 40))).collect();
        if !unknown.is_empty() {
            overrides.idle.extend(unknown);
            continue;
        }
        let statuses = statuses(&place, &wanted.conditions.status_codes, &mut overrides.idle)?;
        if statuses.is_empty() {
            continue;
        }
        let mut raw = answer(context, owner, &place, wanted, &mut overrides.idle)?;
        raw.statuses = statuses;
        raw.source = source(&place, wanted.source.as_deref())?;
        overrides.all.push(raw);
    }
    Ok(overrides)
}

fn source(place: &str, source: Option<&str>) -> Result<RawResponseSource, String> {
    match source.unwrap_or("All") {
        "All" => Ok(RawResponseSource::All),
        "Local" => Ok(RawResponseSource::Gateway),
        "Backend" => Ok(RawResponseSource::Upstream),
        other => Err(format!("{place}.source: {:?} is not known", shorten(other, 40))),
    }
}

fn answer(
    context: &Context<'_>,
    owner: &Key,
    place: &str,
    wanted: &TrafficOverride,
    idle: &mut Vec<String>,
) -> Result<RawResponseOverride, String> {
    let mut raw = RawResponseOverride::default();
    if let Some(wanted) = &wanted.redirect {
        idle.extend(named(&format!("{place}.redirect"), &wanted.others));
        raw.redirect = Some(redirect(place, wanted)?);
        return Ok(raw);
    }
    let place = format!("{place}.response");
    let wanted = wanted.response.as_ref().ok_or_else(|| format!("{place} is missing"))?;
    idle.extend(named(&place, &wanted.others));
    if let Some(status) = wanted.status_code {
        let known = u16::try_from(status).ok().filter(|status| (200..=599).contains(status));
        raw.status =
            Some(known.ok_or_else(|| format!("{place}.statusCode: {status} is no status of an answer"))?);
    }
    raw.content_type = wanted.content_type.clone().filter(|it| !it.is_empty());
    if let Some(wanted) = &wanted.body {
        raw.body = body(context, owner, &format!("{place}.body"), wanted)?;
        if raw.body.matches(OPERATOR).count() > 1 {
            idle.push(format!("spec.{place}.body: what stands between % is sent as it is"));
        }
    }
    if matches!(raw.status, Some(204 | 205 | 304)) && !raw.body.is_empty() {
        return Err(format!("{place}.body: cannot go with status {}", raw.status.unwrap_or(204)));
    }
    if let Some(wanted) = &wanted.header {
        raw.headers = edits(&format!("{place}.header"), wanted)?;
    }
    Ok(raw)
}

fn redirect(place: &str, wanted: &TrafficOverrideRedirect) -> Result<RawRedirect, String> {
    let scheme = match wanted.scheme.as_deref() {
        None => None,
        Some("http") => Some(RawScheme::Http),
        Some("https") => Some(RawScheme::Https),
        Some(other) => {
            return Err(format!("{place}.redirect.scheme: {:?} is not known", shorten(other, 40)));
        }
    };
    let path = wanted.path.as_ref().map(|path| match path.kind.as_str() {
        "ReplaceFullPath" => Ok(RawPathRewrite {
            kind: RawPathRewriteType::ReplaceFullPath,
            replace_full_path: path.replace_full_path.clone(),
            replace_prefix_match: None,
            replace_regex_match: None,
        }),
        _ => Err(format!("{place}.redirect.path is not of type ReplaceFullPath")),
    });
    Ok(RawRedirect {
        scheme,
        hostname: wanted.hostname.clone(),
        path: path.transpose()?,
        port: wanted.port,
        status_code: wanted.status_code.unwrap_or(302),
    })
}

/// The statuses that one is for. Those that documents do not replace are named.
fn statuses(
    place: &str,
    wanted: &[TrafficStatus],
    idle: &mut Vec<String>,
) -> Result<Vec<RawStatusRange>, String> {
    let place = format!("{place}.match.statusCodes");
    if wanted.is_empty() || wanted.len() > MAX_RANGES {
        return Err(format!("{place}: 1 to {MAX_RANGES} statuses or ranges are wanted"));
    }
    let mut ranges = Vec::new();
    for (index, wanted) in wanted.iter().enumerate() {
        idle.extend(named(&format!("{place}[{index}]"), &wanted.others));
        let range = match (wanted.kind.as_deref().unwrap_or("Value"), wanted.value, &wanted.range) {
            ("Value", Some(value), _) => Some((value, value)),
            ("Range", _, Some(range)) => Some((range.start, range.end)),
            _ => None,
        };
        let (first, last) = range
            .filter(|(first, last)| first <= last)
            .ok_or_else(|| format!("{place}[{index}]: neither a value nor a range"))?;
        let within = (first.max(*STATUSES.start()), last.min(*STATUSES.end()));
        if within != (first, last) {
            idle.push(format!("spec.{place}[{index}]: other statuses than 300 to 599"));
        }
        if let (Ok(from), Ok(to), true) =
            (u16::try_from(within.0), u16::try_from(within.1), within.0 <= within.1)
        {
            ranges.push(RawStatusRange { from, to: Some(to).filter(|to| *to != from) });
        }
    }
    Ok(ranges)
}

fn named(place: &str, others: &BTreeMap<String, Value>) -> Vec<String> {
    others.keys().map(|name| format!("spec.{place}.{}", shorten(name, 40))).collect()
}
