//! Lowering routes and their rules.

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use super::names::Names;
use super::target::{self, Upstreams};
use super::{rewrite, text};
use crate::knob::Knob as _;
use crate::raw::{RawRoute, RawRule, RawTimeouts};
use crate::report::{FieldPath, Report};
use crate::spec::{Action, HostPattern, Listener, Rule};
use crate::table::{Alternative, TableBuilder};

/// When the models of a route came to be, in seconds since the Unix epoch.
pub(super) fn created_at(route: &RawRoute, place: &FieldPath<'_>, report: &mut Report) -> u64 {
    let Some(text) = &route.models_created_at else { return 0 };
    text::unix_time(text).unwrap_or_else(|message| {
        report.add(&place.field("modelsCreatedAt"), || message);
        0
    })
}

/// The hosts of a route. Empty is every host.
pub(super) fn hosts(route: &RawRoute, place: &FieldPath<'_>, report: &mut Report) -> Vec<HostPattern> {
    let place = place.field("hostnames");
    let mut hosts = Vec::new();
    let mut seen = FxHashSet::default();
    for (index, hostname) in route.hostnames.iter().enumerate() {
        match text::host_pattern(hostname) {
            Ok(host) if seen.insert(host.clone()) => hosts.push(host),
            Ok(host) => report.add(&place.index(index), || format!("{host} is given twice")),
            Err(message) => report.add(&place.index(index), || message),
        }
    }
    hosts
}

/// The listeners of a route that can have requests for one of its hosts.
pub(super) fn attached(
    route: &RawRoute,
    listeners: &[Listener],
    names: &Names<'_>,
    hosts: &[HostPattern],
    place: &FieldPath<'_>,
    report: &mut Report,
) -> Vec<usize> {
    let place_of_names = place.field("listeners");
    let mut chosen: Vec<usize> = if route.listeners.is_empty() {
        (0..listeners.len()).collect()
    } else {
        let resolve = |(index, name): (usize, &String)| {
            names.resolve(name, "listener", &place_of_names.index(index), report)
        };
        route.listeners.iter().enumerate().filter_map(resolve).collect()
    };
    chosen.sort_unstable();
    chosen.dedup();
    let is_reachable = |listener: &usize| match &listeners[*listener].hostname {
        Some(own) => hosts.is_empty() || hosts.iter().any(|host| host.overlaps(own)),
        None => true,
    };
    let reachable: Vec<usize> = chosen.iter().copied().filter(is_reachable).collect();
    // Faulty hostnames and listeners were reported; without them the question is moot.
    if reachable.is_empty() && !chosen.is_empty() && hosts.len() == route.hostnames.len() {
        let message = || "no listener of this route serves any of these hosts".to_owned();
        report.add(&place.field("hostnames"), message);
    }
    reachable
}

/// Adds a rule to a listener's table. The models of one that has policies of its own that ask who may ask are not listed
/// there: who asks for the list has passed the listener's policies and no others.
pub(super) fn attach(
    table: &mut TableBuilder,
    hosts: &[HostPattern],
    alternatives: &[Arc<Alternative>],
    is_listed: bool,
) {
    for alternative in alternatives {
        if hosts.is_empty() {
            table.add(None, alternative, is_listed);
        }
        for host in hosts {
            table.add(Some(host), alternative, is_listed);
        }
    }
}

/// Reports names of a route's rules that are not names, or not unique.
pub(super) fn check_names(route: &RawRoute, place: &FieldPath<'_>, report: &mut Report) {
    let mut first: FxHashMap<&str, usize> = FxHashMap::default();
    for (index, rule) in route.rules.iter().enumerate() {
        let Some(name) = rule.name.as_deref() else { continue };
        let rule_place = place.index(index);
        let name_place = rule_place.field("name");
        if let Err(message) = text::name(name) {
            report.add(&name_place, || message);
        }
        if let Some(other) = first.insert(name, index) {
            report.add(&name_place, || format!("is the name of {place}[{other}] already"));
        }
    }
}

/// One rule, the `index`th of its route and the `position`th of all.
pub(super) fn lower(
    raw: &RawRule,
    route: &RawRoute,
    index: usize,
    position: usize,
    upstreams: &Upstreams<'_>,
    place: &FieldPath<'_>,
    report: &mut Report,
) -> Option<Rule> {
    check_timeouts(&raw.timeouts, &place.field("timeouts"), report);
    let rewrite = raw
        .url_rewrite
        .as_ref()
        .map(|rewrite| rewrite::url(rewrite, raw, &place.field("urlRewrite"), report));
    let redirect = raw
        .redirect
        .as_ref()
        .map(|redirect| rewrite::redirect(redirect, raw, &place.field("redirect"), report));
    let tiers = target::tiers(raw, upstreams, &place.field("targets"), report);
    let mirrors = target::mirrors(&raw.mirrors, upstreams, &place.field("mirrors"), report);
    let action = match redirect {
        None if raw.targets.is_empty() => {
            report.add(place, || "does nothing: give it targets or a redirect".to_owned());
            None
        }
        None => Some(Action::Forward(tiers)),
        Some(_) if !raw.targets.is_empty() => {
            report.add(&place.field("redirect"), || {
                "a rule has either targets or a redirect, not both".to_owned()
            });
            None
        }
        Some(_) if !raw.mirrors.is_empty() => {
            report.add(&place.field("mirrors"), || "are of no use with a redirect".to_owned());
            None
        }
        Some(_) if raw.url_rewrite.is_some() => {
            report.add(&place.field("urlRewrite"), || "is of no use with a redirect".to_owned());
            None
        }
        Some(redirect) => redirect.map(Action::Redirect),
    };
    let request_headers = target::edits(&raw.request_headers, &place.field("requestHeaders"), report);
    let response_headers = target::edits(&raw.response_headers, &place.field("responseHeaders"), report);
    Some(Rule {
        index: position,
        route: route.name.as_str().into(),
        name: raw.name.as_deref().map_or_else(|| index.to_string().into(), Arc::from),
        models: Vec::new(),
        action: action?,
        mirrors,
        client_credentials: Box::default(),
        request_headers,
        response_headers,
        rewrite: rewrite.flatten(),
        policies: Box::default(),
        untranslatable: raw.untranslatable,
        usage: raw.usage,
        timeouts: raw.timeouts.value(),
        retry: raw.retry.value(),
    })
}

fn check_timeouts(raw: &RawTimeouts, place: &FieldPath<'_>, report: &mut Report) {
    if let (Some(request), Some(per_try)) = (raw.request.value(), raw.per_try.value())
        && per_try > request
    {
        let message =
            || format!("{} is longer than the whole request may take ({})", raw.per_try.0, raw.request.0);
        report.add(&place.field("perTry"), message);
    }
}
