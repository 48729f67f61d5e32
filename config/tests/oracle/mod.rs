//! A plain reading of the rules: every way to match is tried, and the best is taken.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::HashMap;

use penstock_config::raw::{Document, RawMatch, RawPathMatch, RawPathMatchType, RawRoute, RawValueMatchType};
use penstock_config::{RequestModel, RouteRequest};
use regex::Regex;

thread_local! {
    /// Patterns compiled so far.
    static PATTERNS: RefCell<HashMap<String, Regex>> = RefCell::default();
}

/// What a request finds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Rule(usize, Option<String>),
    NeedsModel,
    UnknownModel,
    NoRoute,
}

/// How specific a way to match is; the least is the most specific.
type Rank = (u8, Reverse<usize>, u8, Reverse<usize>, bool, Reverse<usize>, Reverse<usize>, usize);

/// How specific a match of the host or the path is.
type PartRank = (u8, Reverse<usize>);

/// A way to match that a request meets, but for the model perhaps.
struct Met {
    rank: Rank,
    rule: usize,
    prefix: Option<String>,
    has_model: bool,
    is_model_right: bool,
}

/// What `request` finds on a listener.
pub(crate) fn route(document: &Document, listener: usize, request: &RouteRequest<'_>) -> Answer {
    let host = request.host.split(':').next().unwrap_or_default().to_lowercase();
    let own = &document.listeners[listener];
    if own.hostname.as_ref().is_some_and(|pattern| host_rank(pattern, &host).is_none()) {
        return Answer::NoRoute;
    }
    let mut met = Vec::new();
    let (mut rule_index, mut order) = (0, 0);
    for route in &document.routes {
        let is_attached = route.listeners.is_empty() || route.listeners.contains(&own.name);
        for rule in &route.rules {
            let everything = vec![RawMatch::default()];
            for one in if rule.matches.is_empty() { &everything } else { &rule.matches } {
                let models: Vec<Option<&String>> =
                    if rule.models.is_empty() { vec![None] } else { rule.models.iter().map(Some).collect() };
                for model in models {
                    order += 1;
                    if is_attached {
                        met.extend(try_match(route, one, model, request, &host, rule_index, order));
                    }
                }
            }
            rule_index += 1;
        }
    }
    met.sort_by_key(|met| met.rank);
    if request.model == RequestModel::Unread {
        return match met.into_iter().next() {
            None => Answer::NoRoute,
            Some(met) if met.has_model => Answer::NeedsModel,
            Some(met) => Answer::Rule(met.rule, met.prefix),
        };
    }
    let is_any = !met.is_empty();
    match met.into_iter().find(|met| met.is_model_right) {
        Some(met) => Answer::Rule(met.rule, met.prefix),
        None if is_any => Answer::UnknownModel,
        None => Answer::NoRoute,
    }
}

fn try_match(
    route: &RawRoute,
    one: &RawMatch,
    short_model: Option<&String>,
    request: &RouteRequest<'_>,
    host: &str,
    rule: usize,
    order: usize,
) -> Option<Met> {
    let host_rank = match route.hostnames.is_empty() {
        true => (2, Reverse(0)),
        false => route.hostnames.iter().filter_map(|pattern| host_rank(pattern, host)).min()?,
    };
    let default_path = RawPathMatch { kind: RawPathMatchType::PathPrefix, value: "/".to_owned() };
    let (path_rank, prefix) = path_rank(one.path.as_ref().unwrap_or(&default_path), request.path)?;
    let method = one.method.map(|method| serde_json::to_value(method).expect("a name"));
    if method.as_ref().is_some_and(|method| method != request.method.as_str()) {
        return None;
    }
    let (mut has_model, mut is_model_right, mut header_count) = (false, true, 0);
    let named = match request.model {
        RequestModel::Named(model) => Some(model),
        RequestModel::Unread | RequestModel::Absent => None,
    };
    if let Some(model) = short_model {
        (has_model, is_model_right, header_count) = (true, named == Some(model), 1);
    }
    for header in &one.headers {
        header_count += 1;
        if header.name.eq_ignore_ascii_case("x-ai-eg-model") {
            has_model = true;
            is_model_right = named.is_some_and(|model| accepts(header.kind, &header.value, model));
            continue;
        }
        let values: Vec<&str> =
            request.headers.get_all(&header.name).iter().map(|value| value.to_str().expect("text")).collect();
        if values.is_empty() || !accepts(header.kind, &header.value, &values.join(",")) {
            return None;
        }
    }
    for param in &one.query_params {
        let query = request.query?.replace("%71", "q");
        let value = query.split('&').find_map(|pair| match pair.split_once('=') {
            Some((name, value)) => (name == param.name).then_some(value),
            None => (pair == param.name).then_some(""),
        })?;
        if !accepts(param.kind, &param.value, value) {
            return None;
        }
    }
    let rank = (
        host_rank.0,
        host_rank.1,
        path_rank.0,
        path_rank.1,
        method.is_none(),
        Reverse(header_count),
        Reverse(one.query_params.len()),
        order,
    );
    Some(Met { rank, rule, prefix, has_model, is_model_right })
}

fn host_rank(pattern: &str, host: &str) -> Option<PartRank> {
    match pattern.strip_prefix('*') {
        Some(suffix) => {
            (host.len() > suffix.len() && host.ends_with(suffix)).then_some((1, Reverse(suffix.len())))
        }
        None => (pattern == host).then_some((0, Reverse(0))),
    }
}

fn path_rank(raw: &RawPathMatch, path: &str) -> Option<(PartRank, Option<String>)> {
    match raw.kind {
        RawPathMatchType::Exact => (raw.value == path).then_some(((0, Reverse(0)), None)),
        RawPathMatchType::PathPrefix => {
            let prefix = raw.value.trim_end_matches('/');
            let is_below = prefix.is_empty() || path == prefix || path.starts_with(&format!("{prefix}/"));
            is_below.then(|| ((1, Reverse(prefix.len())), Some(prefix.to_owned())))
        }
        RawPathMatchType::RegularExpression => {
            accepts(RawValueMatchType::RegularExpression, &raw.value, path).then_some(((2, Reverse(0)), None))
        }
    }
}

fn accepts(kind: RawValueMatchType, wanted: &str, given: &str) -> bool {
    match kind {
        RawValueMatchType::Exact => wanted == given,
        RawValueMatchType::RegularExpression => PATTERNS.with_borrow_mut(|patterns| {
            let compile = || Regex::new(&format!("^({wanted})$")).expect("a pattern");
            patterns.entry(wanted.to_owned()).or_insert_with(compile).is_match(given)
        }),
    }
}
