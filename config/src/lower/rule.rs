//! Lowering routes and their rules.

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use super::names::Names;
use super::target::{self, Upstreams};
use super::{response, rewrite, text};
use crate::knob::Knob as _;
use crate::raw::{RawRoute, RawRule, RawTimeouts};
use crate::report::{FieldPath, Report};
use crate::spec::{Action, FixedAnswer, HostPattern, Listener, Redirect, Rule, Tier};
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

/// Adds a rule to a listener's table. The models of one whose own policies ask something are not listed there: who asks for
/// the list has passed the listener's policies and no others.
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
    let respond =
        raw.respond.as_ref().map(|respond| rewrite::respond(respond, &place.field("respond"), report));
    let action = action(raw, tiers, (redirect, respond), place, report);
    let request_headers = target::edits(&raw.request_headers, &place.field("requestHeaders"), report);
    let response_headers = target::edits(&raw.response_headers, &place.field("responseHeaders"), report);
    let response_overrides = response::overrides(raw, &place.field("responseOverrides"), report);
    Some(Rule {
        index: position,
        route: route.name.as_str().into(),
        name: raw.name.as_deref().map_or_else(|| index.to_string().into(), Arc::from),
        models: Vec::new(),
        action: action?,
        mirrors,
        client_credentials: Box::default(),
        request_headers,
        credential: None,
        response_headers,
        response_overrides,
        rewrite: rewrite.flatten(),
        policies: Box::default(),
        cors: None,
        untranslatable: raw.untranslatable,
        usage: raw.usage,
        body_bytes: raw.body_bytes.map_or(usize::MAX, |most| most.value()),
        timeouts: raw.timeouts.value(),
        retry: raw.retry.value(),
    })
}

/// What a rule does, of which it has one: whatever else it has was lowered, or has a fault.
fn action(
    raw: &RawRule,
    tiers: Vec<Tier>,
    (redirect, respond): (Option<Option<Redirect>>, Option<Option<FixedAnswer>>),
    place: &FieldPath<'_>,
    report: &mut Report,
) -> Option<Action> {
    let has_others = !raw.targets.is_empty() || !raw.mirrors.is_empty() || raw.url_rewrite.is_some();
    match redirect {
        None if respond.is_some() && has_others => {
            let message =
                || "goes with neither targets, mirrors nor urlRewrite: nothing is forwarded".to_owned();
            report.add(&place.field("respond"), message);
            None
        }
        None if let Some(respond) = respond => respond.map(Action::Respond),
        Some(_) if raw.respond.is_some() => {
            report.add(&place.field("respond"), || "a rule either answers or redirects".to_owned());
            None
        }
        None if raw.targets.is_empty() => {
            report.add(place, || {
                "does nothing: give it targets or a redirect, or an answer (respond)".to_owned()
            });
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
    }
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
