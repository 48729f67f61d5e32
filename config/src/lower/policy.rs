//! Lowering who may ask for what: consumers, and policies that listeners and rules name.

mod authentication;
mod authorization;
mod condition;
mod consumer;
mod cors;
mod external;
mod extract;
mod jwt;
mod limit;
mod oidc;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use http::HeaderName;
use rustc_hash::FxHashSet;

use super::file::Files;
use super::names::Names;
use super::{models, text};
use crate::knob::Size;
use crate::raw::{Document, RawBackend, RawPolicy};
use crate::report::{FieldPath, Quoted, Report};
use crate::spec::{ModelNames, PolicyIndex, PolicySpec};

pub(super) use consumer::lower as consumers;
pub(super) use cors::lower as cors;
pub(super) use limit::{check_uses, warn_of_uses};

/// What authentication and authorization can ask for in a document.
struct Known<'d> {
    /// Whether a consumer has keys.
    has_keys: bool,
    /// Whether requests may be by consumers that the document does not list: files and tokens name them.
    has_others: bool,
    consumers: Names<'d>,
    /// The values that consumers have for each tag.
    tags: BTreeMap<&'d str, BTreeSet<&'d str>>,
    /// The providers of tokens of all policies.
    providers: Names<'d>,
    /// The longest name of a model that requests can have.
    model_bytes: Size,
    /// Patterns and expressions that were compiled.
    compiled: Cell<usize>,
    /// Who can be asked.
    backends: &'d [RawBackend],
    backend_names: Names<'d>,
    /// Whether gateways share counters.
    has_store: bool,
}

/// The names of policies, for those who refer to them.
pub(super) fn names(document: &Document) -> Names<'_> {
    Names::of(document.policies.iter().map(|policy| policy.name.as_str()))
}

/// All policies.
pub(super) fn lower(
    document: &Document,
    files: &mut Files,
    report: &mut Report,
    warnings: &mut Report,
) -> Vec<PolicySpec> {
    let place = FieldPath::Root.field("policies");
    Names::unique(document.policies.iter().map(|policy| policy.name.as_str()), &place, report);
    let known = Known::of(document);
    let mut patterns = limit::Patterns::default();
    let mut policies = Vec::with_capacity(document.policies.len());
    for (index, raw) in document.policies.iter().enumerate() {
        let place = place.index(index);
        if asks_nothing(raw) && raw.cors.is_none() && raw.limits.is_empty() {
            let message = || {
                "asks nothing of requests: give it external, authentication, authorization, limits or cors"
                    .to_owned()
            };
            report.add(&place, message);
        }
        let within = place.field("external");
        let external = raw.external.as_ref();
        let external = external.and_then(|raw| external::lower(raw, &known, &within, report));
        let within = place.field("authentication");
        let authentication = raw.authentication.as_ref().map(|raw| {
            let mut limits = limit::Lowering { known: &known, patterns: &mut patterns, report, warnings };
            authentication::lower(raw, &known, &within, files, &mut limits)
        });
        let within = place.field("authorization");
        let authorization = raw.authorization.as_ref();
        let authorization =
            authorization.map(|raw| authorization::lower(raw, &known, &within, report, warnings));
        let mut limits = limit::Lowering {
            known: &known,
            patterns: &mut patterns,
            report: &mut *report,
            warnings: &mut *warnings,
        };
        let limits = limits.limits(&raw.limits, &place.field("limits"));
        let cors = raw.cors.as_ref().map(|raw| cors::lower(raw, &place.field("cors"), report, warnings));
        let (name, cors) = (raw.name.as_str().into(), cors.map(Arc::new));
        policies.push(PolicySpec { name, external, authentication, authorization, limits, cors });
    }
    policies
}

/// The policies that any request passes, as far as it does not matter how much is asked.
pub(super) fn of_no_question(document: &Document) -> FxHashSet<&str> {
    let policies = document.policies.iter().filter(|policy| asks_nothing(policy));
    policies.map(|policy| policy.name.as_str()).collect()
}

fn asks_nothing(policy: &RawPolicy) -> bool {
    policy.external.is_none() && policy.authentication.is_none() && policy.authorization.is_none()
}

/// The policies that a listener, a rule or an upstream names, in that order.
pub(super) fn named(
    raw: &[String],
    names: &Names<'_>,
    place: &FieldPath<'_>,
    report: &mut Report,
) -> Box<[PolicyIndex]> {
    check_distinct(raw, place, report);
    let resolve = |(index, name): (usize, &String)| {
        names.resolve(name, "policy", &place.index(index), report).map(PolicyIndex)
    };
    raw.iter().enumerate().filter_map(resolve).collect()
}

/// Legal, since a policy may be written before it is put in force, and rarely meant: what it forbids is served.
pub(super) fn warn_of_unused(document: &Document, warnings: &mut Report) {
    let of_listeners = document.listeners.iter().flat_map(|listener| &listener.policies);
    let rules = document.routes.iter().flat_map(|route| &route.rules);
    let of_pools = document.pools.iter().flat_map(|pool| &pool.policies);
    let of_upstreams = of_pools.chain(document.backends.iter().flat_map(|backend| &backend.policies));
    let of_rules = rules.flat_map(|rule| &rule.policies);
    let used: FxHashSet<&String> = of_listeners.chain(of_rules).chain(of_upstreams).collect();
    let place = FieldPath::Root.field("policies");
    for (index, policy) in document.policies.iter().enumerate() {
        if !used.contains(&policy.name) {
            warnings.add(&place.index(index), || {
                format!(
                    "no request is asked to pass {}: name it in the policies of a listener or a rule",
                    Quoted(&policy.name)
                )
            });
        }
    }
}

/// Names of models, some by their beginnings.
fn model_names(raw: &[String], limit: Size, place: &FieldPath<'_>, report: &mut Report) -> ModelNames {
    check_distinct(raw, place, report);
    for (index, name) in raw.iter().enumerate() {
        let checked = match name.strip_suffix('*') {
            Some("") => Ok(()),
            beginning => models::check_name(beginning.unwrap_or(name), limit),
        };
        let has_inner_star = name.find('*').is_some_and(|at| at + 1 < name.len());
        if has_inner_star {
            let message = || {
                format!(
                    "{} has a `*` before its end: write a model's whole name, or its beginning and a `*`",
                    Quoted(name)
                )
            };
            report.add(&place.index(index), message);
        } else if let Err(message) = checked {
            report.add(&place.index(index), || message);
        }
    }
    ModelNames::new(raw.iter().map(String::as_str))
}

/// Reports what a list has twice.
fn check_distinct(raw: &[String], place: &FieldPath<'_>, report: &mut Report) {
    let mut seen = FxHashSet::default();
    for (index, text) in raw.iter().enumerate() {
        if !seen.insert(text.as_str()) {
            report.add(&place.index(index), || format!("{} is given twice", Quoted(text)));
        }
    }
}

/// A header in which upstreams are told something.
fn told(written: Option<&str>, place: &FieldPath<'_>, report: &mut Report) -> Option<HeaderName> {
    text::told_header_name(written?).map_err(|message| report.add(place, || message)).ok()
}

/// The texts of a list.
fn boxed(raw: &[String]) -> Box<[Box<str>]> {
    raw.iter().map(|text| text.as_str().into()).collect()
}

impl<'d> Known<'d> {
    fn of(document: &'d Document) -> Self {
        let ways = || document.policies.iter().filter_map(|policy| policy.authentication.as_ref());
        let has_others = ways().any(|ways| {
            ways.basic.is_some()
                || ways.jwt.is_some()
                || ways.oidc.is_some()
                || ways.api_key.as_ref().is_some_and(|keys| keys.file.is_some())
        });
        let mut tags: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (tag, value) in document.consumers.iter().flat_map(|consumer| &consumer.tags) {
            tags.entry(tag).or_default().insert(value);
        }
        let providers = ways().filter_map(|ways| ways.jwt.as_ref()).flat_map(|jwt| &jwt.providers);
        let providers = providers.map(|provider| provider.name.as_str());
        let clients = ways().filter_map(|ways| ways.oidc.as_ref()).map(|client| client.name.as_str());
        Self {
            has_keys: document.consumers.iter().any(|consumer| !consumer.keys.is_empty()),
            has_others,
            consumers: Names::of(document.consumers.iter().map(|consumer| consumer.name.as_str())),
            tags,
            providers: Names::of(providers.chain(clients)),
            model_bytes: document.limits.model_bytes,
            compiled: Cell::new(0),
            backends: &document.backends,
            backend_names: Names::of(document.backends.iter().map(|backend| backend.name.as_str())),
            has_store: document.limit_store.is_some(),
        }
    }
}
