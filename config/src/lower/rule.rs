//! Lowering routes and their rules.

use std::sync::Arc;
use std::time::UNIX_EPOCH;

use rustc_hash::{FxHashMap, FxHashSet};

use super::names::Names;
use super::target::{self, Upstreams};
use super::text;
use crate::knob::Knob as _;
use crate::raw::{
    RawPathMatchType, RawPathRewrite, RawPathRewriteType, RawRedirect, RawRoute, RawRule, RawScheme,
    RawTimeouts, RawUrlRewrite,
};
use crate::report::{Place, Report};
use crate::spec::{Action, HostPattern, Listener, PathRewrite, Redirect, Rewrite, Rule};
use crate::table::{Alternative, TableBuilder};

/// When the models of a route came to be, in seconds since the Unix epoch.
pub(super) fn created_at(route: &RawRoute, place: &Place<'_>, report: &mut Report) -> u64 {
    let Some(text) = &route.models_created_at else { return 0 };
    let since = humantime::parse_rfc3339(text).ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    if since.is_none() {
        let message = || "not a time: write it as \"2026-01-31T12:00:00Z\"".to_owned();
        report.add(&place.field("modelsCreatedAt"), message);
    }
    since.map_or(0, |since| since.as_secs())
}

/// The hosts of a route. Empty is every host.
pub(super) fn hosts(route: &RawRoute, place: &Place<'_>, report: &mut Report) -> Vec<HostPattern> {
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
    place: &Place<'_>,
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

/// Adds a rule to a listener's table.
pub(super) fn attach(table: &mut TableBuilder, hosts: &[HostPattern], alternatives: &[Arc<Alternative>]) {
    for alternative in alternatives {
        if hosts.is_empty() {
            table.add(None, alternative);
        }
        for host in hosts {
            table.add(Some(host), alternative);
        }
    }
}

/// Reports names of a route's rules that are not names, or not unique.
pub(super) fn check_names(route: &RawRoute, place: &Place<'_>, report: &mut Report) {
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
    place: &Place<'_>,
    report: &mut Report,
) -> Option<Rule> {
    check_timeouts(&raw.timeouts, &place.field("timeouts"), report);
    let rewrite =
        raw.url_rewrite.as_ref().map(|rewrite| url_rewrite(rewrite, raw, &place.field("urlRewrite"), report));
    let redirect =
        raw.redirect.as_ref().map(|redirect| redirection(redirect, raw, &place.field("redirect"), report));
    let tiers = target::tiers(&raw.targets, upstreams, &place.field("targets"), report);
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
        request_headers,
        response_headers,
        rewrite: rewrite.flatten(),
        timeouts: raw.timeouts.value(),
        retry: raw.retry.value(),
    })
}

fn check_timeouts(raw: &RawTimeouts, place: &Place<'_>, report: &mut Report) {
    if let (Some(request), Some(per_try)) = (raw.request.value(), raw.per_try.value())
        && per_try > request
    {
        let message =
            || format!("{} is longer than the whole request may take ({})", raw.per_try.0, raw.request.0);
        report.add(&place.field("perTry"), message);
    }
}

fn url_rewrite(
    raw: &RawUrlRewrite,
    rule: &RawRule,
    place: &Place<'_>,
    report: &mut Report,
) -> Option<Rewrite> {
    if raw.hostname.is_none() && raw.path.is_none() {
        report.add(place, || "changes nothing: give it a hostname or a path".to_owned());
    }
    let hostname = raw.hostname.as_deref().map(|hostname| {
        text::dns_name(hostname)
            .and_then(|()| text::header_value(hostname))
            .map_err(|message| report.add(&place.field("hostname"), || message))
            .ok()
    });
    let path = raw.path.as_ref().map(|path| path_rewrite(path, rule, &place.field("path"), report));
    Some(Rewrite { hostname: hostname.flatten(), path: path.flatten() })
}

fn redirection(
    raw: &RawRedirect,
    rule: &RawRule,
    place: &Place<'_>,
    report: &mut Report,
) -> Option<Redirect> {
    if let Some(hostname) = &raw.hostname
        && let Err(message) = text::dns_name(hostname)
    {
        report.add(&place.field("hostname"), || message);
    }
    let path = raw.path.as_ref().map(|path| path_rewrite(path, rule, &place.field("path"), report));
    let status = match raw.status_code {
        301 | 302 | 303 | 307 | 308 => http::StatusCode::from_u16(raw.status_code).ok(),
        other => {
            let message =
                || format!("{other} is not a redirect with a location: choose 301, 302, 303, 307 or 308");
            report.add(&place.field("statusCode"), message);
            None
        }
    };
    let scheme = raw.scheme.map(|scheme| match scheme {
        RawScheme::Http => "http",
        RawScheme::Https => "https",
    });
    let hostname = raw.hostname.as_deref().map(|hostname| hostname.to_ascii_lowercase().into());
    Some(Redirect { scheme, hostname, path: path.flatten(), port: raw.port, status: status? })
}

fn path_rewrite(
    raw: &RawPathRewrite,
    rule: &RawRule,
    place: &Place<'_>,
    report: &mut Report,
) -> Option<PathRewrite> {
    let full = ("replaceFullPath", raw.replace_full_path.as_deref());
    let prefix = ("replacePrefixMatch", raw.replace_prefix_match.as_deref());
    let ((name, wanted), (other_name, other)) = match raw.kind {
        RawPathRewriteType::ReplaceFullPath => (full, prefix),
        RawPathRewriteType::ReplacePrefixMatch => (prefix, full),
    };
    if other.is_some() {
        report.add(&place.field(other_name), || "does not go with this type".to_owned());
    }
    let Some(wanted) = wanted else {
        report.add(&place.field(name), || "is missing: this type needs it".to_owned());
        return None;
    };
    if raw.kind == RawPathRewriteType::ReplaceFullPath {
        text::path(wanted).map_err(|message| report.add(&place.field(name), || message)).ok()?;
        return Some(PathRewrite::Full(wanted.into()));
    }
    let has_prefixes_only = rule
        .matches
        .iter()
        .filter_map(|m| m.path.as_ref())
        .all(|path| path.kind == RawPathMatchType::PathPrefix);
    if !has_prefixes_only {
        report.add(place, || "needs a PathPrefix in every match of the rule".to_owned());
    }
    // Nothing and the root are the same prefix.
    if !wanted.is_empty() {
        text::path(wanted).map_err(|message| report.add(&place.field(name), || message)).ok()?;
    }
    Some(PathRewrite::Prefix(wanted.trim_end_matches('/').into()))
}
