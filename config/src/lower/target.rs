//! Lowering targets and changes to headers.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use http::{HeaderName, HeaderValue, StatusCode};
use rustc_hash::FxHashSet;

use super::names::Names;
use super::{rewrite, text};
use crate::raw::{RawBodyEdits, RawHeader, RawHeaderEdits, RawMirror, RawRule, RawStatusReason, RawTarget};
use crate::report::{FieldPath, Quoted, Report};
use crate::spec::{
    BackendIndex, BodyEdits, Destination, HeaderEdits, Mirror, PoolIndex, Share, Target, Tier, Upstream,
};

/// What targets can refer to.
pub(super) struct Upstreams<'a> {
    pub(super) pools: &'a Names<'a>,
    pub(super) backends: &'a Names<'a>,
}

/// Targets by priority. Those of weight 0 are checked and left out.
pub(super) fn tiers(
    rule: &RawRule,
    upstreams: &Upstreams<'_>,
    place: &FieldPath<'_>,
    report: &mut Report,
) -> Vec<Tier> {
    let mut tiers: BTreeMap<u32, Vec<Target>> = BTreeMap::new();
    for (index, raw) in rule.targets.iter().enumerate() {
        let place = place.index(index);
        let destination = destination(raw, upstreams, &place, report);
        let request_headers = edits(&raw.request_headers, &place.field("requestHeaders"), report);
        let response_headers = edits(&raw.response_headers, &place.field("responseHeaders"), report);
        let body = body_edits(&raw.body, &place.field("body"), report);
        let rewrite = raw.url_rewrite.as_ref();
        let rewrite = rewrite.map(|raw| rewrite::url(raw, rule, &place.field("urlRewrite"), report));
        if let Some(model) = &raw.model_override
            && let Err(message) = text::model(model)
        {
            report.add(&place.field("modelOverride"), || message);
        }
        if let (Some(destination), Some(weight)) = (destination, NonZeroU32::new(raw.weight)) {
            tiers.entry(raw.priority).or_default().push(Target {
                destination,
                weight,
                model_override: raw.model_override.as_deref().map(Into::into),
                context_window: raw.context_window.unwrap_or(0),
                request_headers,
                response_headers,
                body,
                rewrite: rewrite.flatten(),
            });
        }
    }
    tiers.into_iter().map(|(priority, targets)| Tier { priority, targets }).collect()
}

/// Mirrors. Those that no request is copied to are checked and left out.
pub(super) fn mirrors(
    raw: &[RawMirror],
    upstreams: &Upstreams<'_>,
    place: &FieldPath<'_>,
    report: &mut Report,
) -> Vec<Mirror> {
    let mirror = |(index, raw): (usize, &RawMirror)| {
        let place = place.index(index);
        let share = share(raw, &place, report);
        let upstream = upstream(raw.pool.as_deref(), raw.backend.as_deref(), upstreams, &place, report)?;
        Some(Mirror { upstream, share: share? })
    };
    raw.iter().enumerate().filter_map(mirror).filter(|mirror| !mirror.share.is_nothing()).collect()
}

fn share(raw: &RawMirror, place: &FieldPath<'_>, report: &mut Report) -> Option<Share> {
    let fault = match (raw.percent, &raw.fraction) {
        (Some(_), Some(_)) => "stands in place of `percent`: give one of the two",
        (None, Some(fraction)) => match Share::new(fraction.numerator, fraction.denominator) {
            None => "is more than all: its numerator is larger than its denominator",
            share => return share,
        },
        (percent, None) => return Share::new(percent.unwrap_or(100), 100),
    };
    report.add(&place.field("fraction"), || fault.to_owned());
    None
}

/// Changes to headers.
pub(super) fn edits(raw: &RawHeaderEdits, place: &FieldPath<'_>, report: &mut Report) -> HeaderEdits {
    let mut seen = FxHashSet::default();
    let remove_place = place.field("remove");
    let mut remove = Vec::new();
    for (index, name) in raw.remove.iter().enumerate() {
        remove.extend(editable(name, &mut seen, &remove_place.index(index), report));
    }
    let set = headers(&raw.set, &mut seen, &place.field("set"), report);
    let add = headers(&raw.add, &mut seen, &place.field("add"), report);
    HeaderEdits { remove, set, add }
}

/// Changes to bodies.
fn body_edits(raw: &RawBodyEdits, place: &FieldPath<'_>, report: &mut Report) -> BodyEdits {
    let mut seen = FxHashSet::default();
    let mut is_new = |name: &str, place: &FieldPath<'_>, report: &mut Report| {
        let is_new = seen.insert(name.to_owned());
        if !is_new {
            report.add(place, || format!("the member {} is changed here already", Quoted(name)));
        }
        is_new
    };
    let mut edits = BodyEdits::default();
    let place_of_set = place.field("set");
    for (index, member) in raw.set.iter().enumerate() {
        if is_new(&member.name, &place_of_set.index(index).field("name"), report) {
            edits.set.push((member.name.as_str().into(), member.value.to_string().into()));
        }
    }
    let place_of_removed = place.field("remove");
    for (index, name) in raw.remove.iter().enumerate() {
        if is_new(name, &place_of_removed.index(index), report) {
            edits.remove.push(name.as_str().into());
        }
    }
    edits
}

fn destination(
    raw: &RawTarget,
    upstreams: &Upstreams<'_>,
    place: &FieldPath<'_>,
    report: &mut Report,
) -> Option<Destination> {
    let Some(status) = raw.status else {
        if raw.reason.is_some() {
            report.add(&place.field("reason"), || "is of no use without `status`".to_owned());
        }
        let upstream = upstream(raw.pool.as_deref(), raw.backend.as_deref(), upstreams, place, report);
        return upstream.map(Destination::Upstream);
    };
    if raw.pool.is_some() || raw.backend.is_some() {
        let message =
            || "a target has either a pool, a backend or a status: make two targets of it".to_owned();
        report.add(&place.field("status"), message);
        return None;
    }
    // The schema lets through what is a status.
    StatusCode::from_u16(status).ok().map(match raw.reason.unwrap_or_default() {
        RawStatusReason::InvalidTarget => Destination::Status,
        RawStatusReason::UnsupportedPolicy => Destination::Closed,
    })
}

fn upstream(
    pool: Option<&str>,
    backend: Option<&str>,
    Upstreams { pools, backends }: &Upstreams<'_>,
    place: &FieldPath<'_>,
    report: &mut Report,
) -> Option<Upstream> {
    match (pool, backend) {
        (Some(pool), None) => {
            let place = place.field("pool");
            if pools.position(pool).is_none() && backends.position(pool).is_some() {
                report.add(&place, || {
                    format!("{} is a backend: write `backend` instead of `pool`", Quoted(pool))
                });
                return None;
            }
            pools.resolve(pool, "pool", &place, report).map(|index| Upstream::Pool(PoolIndex(index)))
        }
        (None, Some(backend)) => {
            let place = place.field("backend");
            if backends.position(backend).is_none() && pools.position(backend).is_some() {
                report.add(&place, || {
                    format!("{} is a pool: write `pool` instead of `backend`", Quoted(backend))
                });
                return None;
            }
            backends
                .resolve(backend, "backend", &place, report)
                .map(|index| Upstream::Backend(BackendIndex(index)))
        }
        (None, None) => {
            report.add(place, || "leads nowhere: give it a pool or a backend".to_owned());
            None
        }
        (Some(_), Some(_)) => {
            report.add(place, || "has both a pool and a backend: make two targets of it".to_owned());
            None
        }
    }
}

fn headers(
    raw: &[RawHeader],
    seen: &mut FxHashSet<HeaderName>,
    place: &FieldPath<'_>,
    report: &mut Report,
) -> Vec<(HeaderName, HeaderValue)> {
    let mut headers = Vec::new();
    for (index, header) in raw.iter().enumerate() {
        let place = place.index(index);
        let name = editable(&header.name, seen, &place.field("name"), report);
        match text::header_value(&header.value) {
            Ok(mut value) => {
                value.set_sensitive(text::is_sensitive(&header.name));
                headers.extend(name.map(|name| (name, value)));
            }
            Err(message) => report.add(&place.field("value"), || message),
        }
    }
    headers
}

/// A name that may be changed, and is not changed already.
fn editable(
    name: &str,
    seen: &mut FxHashSet<HeaderName>,
    place: &FieldPath<'_>,
    report: &mut Report,
) -> Option<HeaderName> {
    match text::editable_header_name(name) {
        Ok(name) if seen.insert(name.clone()) => Some(name),
        Ok(name) => {
            report.add(place, || format!("the header {name} is changed here already"));
            None
        }
        Err(message) => {
            report.add(place, || message);
            None
        }
    }
}
