//! Lowering answers in place of others.

use std::ops::RangeInclusive;

use http::{HeaderValue, StatusCode};

use super::{rewrite, target, text};
use crate::raw::{RawResponseOverride, RawResponseSource, RawRule, RawStatusRange};
use crate::report::{FieldPath, Report};
use crate::spec::{Replacement, ResponseOverride};

/// What a body is that nothing is said of.
const PLAIN: HeaderValue = HeaderValue::from_static("text/plain");

/// The answers of a rule.
pub(super) fn overrides(
    rule: &RawRule,
    place: &FieldPath<'_>,
    report: &mut Report,
) -> Box<[ResponseOverride]> {
    if !rule.response_overrides.is_empty() && (rule.redirect.is_some() || rule.respond.is_some()) {
        report.add(place, || {
            "is of no use with redirect or respond: what these answer is said there".to_owned()
        });
    }
    let all = rule.response_overrides.iter().enumerate();
    all.filter_map(|(index, raw)| lower(raw, rule, &place.index(index), report)).collect()
}

fn lower(
    raw: &RawResponseOverride,
    rule: &RawRule,
    place: &FieldPath<'_>,
    report: &mut Report,
) -> Option<ResponseOverride> {
    let statuses_place = place.field("statuses");
    let statuses = raw.statuses.iter().enumerate();
    let statuses = statuses.filter_map(|(index, raw)| range(*raw, &statuses_place.index(index), report));
    let statuses: Box<[_]> = statuses.collect();
    let headers = target::edits(&raw.headers, &place.field("headers"), report);
    let replacement = match &raw.redirect {
        Some(redirect) => {
            if raw.status.is_some() || raw.content_type.is_some() || !raw.body.is_empty() {
                let message = || "stands alone: leave out status, contentType and body".to_owned();
                report.add(&place.field("redirect"), message);
            }
            rewrite::redirect(redirect, rule, &place.field("redirect"), report).map(Replacement::Redirect)
        }
        None => answer(raw, place, report),
    };
    Some(ResponseOverride {
        statuses,
        of_upstreams: raw.source != RawResponseSource::Gateway,
        of_gateway: raw.source != RawResponseSource::Upstream,
        replacement: replacement?,
        headers,
    })
}

fn answer(raw: &RawResponseOverride, place: &FieldPath<'_>, report: &mut Report) -> Option<Replacement> {
    let content_type = raw.content_type.as_deref().and_then(|value| {
        text::header_value(value).map_err(|message| report.add(&place.field("contentType"), || message)).ok()
    });
    if matches!(raw.status, Some(204 | 205 | 304)) && !raw.body.is_empty() {
        report.add(&place.field("body"), || format!("cannot go with status {}", raw.status.unwrap_or(204)));
    }
    let status = raw.status.map(StatusCode::from_u16).transpose().ok()?;
    let content_type = content_type.or_else(|| (!raw.body.is_empty()).then_some(PLAIN));
    Some(Replacement::Answer { status, content_type, body: raw.body.as_str().into() })
}

fn range(raw: RawStatusRange, place: &FieldPath<'_>, report: &mut Report) -> Option<RangeInclusive<u16>> {
    let last = raw.to.unwrap_or(raw.from);
    if last < raw.from {
        report.add(&place.field("to"), || format!("{last} is before from ({})", raw.from));
        return None;
    }
    Some(raw.from..=last)
}
