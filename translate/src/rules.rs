//! What the rules of both kinds of routes have in common.

use std::collections::BTreeSet;

use penstock_config::raw::{
    RawExternal, RawHeaderMatch, RawMatch, RawRule, RawStatusReason, RawTarget, RawTimeouts,
    RawValueMatchType,
};
use penstock_config::{Span, Timeout};

use crate::api::{HttpTimeouts, ObjectRef};
use crate::context::{Context, RefError, Referrer, Secrets};
use crate::headers;
use crate::names;
use crate::quantity::MAX_TIMEOUT;
use crate::unsupported::UNSUPPORTED;
use crate::upstream::{RawUpstream, Upstream, UpstreamKey};
use crate::upstreams::Upstreams;
use crate::world::{Key, Kind, shorten};

/// The most bytes that one rule may have as JSON. The longest that the schemas let through has a fraction of it.
const MAX_RULE_BYTES: usize = 512 << 10;

/// A route, with its rules as documents have them.
#[derive(Debug, Default)]
pub(crate) struct BuiltRoute {
    /// Its rules, but for those that cannot be.
    pub(crate) rules: Vec<BuiltRule>,
    /// Why references of it lead nowhere, in the order of rules.
    pub(crate) unresolved: Vec<RefError>,
    /// What is wrong with rules, by their position in the object.
    pub(crate) faults: Vec<(usize, String)>,
    /// What is wrong with some matches of rules that have others, by their position in the object.
    pub(crate) match_faults: Vec<(usize, String)>,
}

/// A rule as documents have it.
#[derive(Debug)]
pub(crate) struct BuiltRule {
    /// Its position in the object.
    pub(crate) position: usize,
    /// The rule.
    pub(crate) raw: RawRule,
    /// Who offers its models, and since when; what documents say by default if `None`.
    pub(crate) offer: Option<Offer>,
    /// A server that is asked whether its requests may be served, and how.
    pub(crate) external: Option<Box<(RawExternal, Upstream)>>,
    /// What it names of Secrets.
    pub(crate) secrets: Secrets,
}

/// Who offers models, and since when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Offer {
    /// Who.
    pub(crate) owner: String,
    /// Since when, in RFC 3339.
    pub(crate) since: Option<String>,
}

impl BuiltRoute {
    /// Adds a rule, or the fault that it is too large.
    pub(crate) fn push(&mut self, rule: BuiltRule) {
        let size = serde_json::to_vec(&rule.raw).map_or(usize::MAX, |json| json.len());
        if size > MAX_RULE_BYTES {
            self.fault(rule.position, format!("the rule has more than {MAX_RULE_BYTES} bytes"));
        } else {
            self.rules.push(rule);
        }
    }

    /// Notes that something is wrong with a rule.
    pub(crate) fn fault(&mut self, position: usize, message: impl Into<String>) {
        self.faults.push((position, message.into()));
    }

    /// How many rules the object has that a document has too.
    pub(crate) fn positions(&self) -> BTreeSet<usize> {
        self.rules.iter().map(|rule| rule.position).collect()
    }
}

/// A target that answers with 500, as the specification wants for what leads nowhere.
pub(crate) fn nowhere(weight: u32, priority: u32) -> RawTarget {
    RawTarget { status: Some(500), ..target(weight, priority) }
}

/// A target that answers with 500, since what restricts its requests is not acted on.
pub(crate) fn closed(weight: u32, priority: u32) -> RawTarget {
    RawTarget { reason: Some(RawStatusReason::UnsupportedPolicy), ..nowhere(weight, priority) }
}

/// A target that answers with 500 for what leads nowhere, and why.
pub(crate) fn unusable(error: &RefError, weight: u32, priority: u32) -> RawTarget {
    if error.reason == UNSUPPORTED { closed(weight, priority) } else { nowhere(weight, priority) }
}

/// A rule for the same requests, which get 500.
pub(crate) fn close(rule: &RawRule) -> RawRule {
    let RawRule { name, matches, models, .. } = rule.clone();
    RawRule { name, matches, models, targets: vec![closed(1, 0)], ..RawRule::default() }
}

/// A target that leads to an upstream.
pub(crate) fn to_upstream(upstream: &Upstream, weight: u32, priority: u32) -> RawTarget {
    let mut target = target(weight, priority);
    match upstream.raw {
        RawUpstream::Pool(_) => target.pool = Some(upstream.name.clone()),
        RawUpstream::Backend(_) => target.backend = Some(upstream.name.clone()),
    }
    target.request_headers.clone_from(&upstream.headers);
    target.body.clone_from(&upstream.body);
    target
}

fn target(weight: u32, priority: u32) -> RawTarget {
    RawTarget {
        pool: None,
        backend: None,
        status: None,
        reason: None,
        weight: weight.min(MAX_WEIGHT),
        priority: priority.min(MAX_PRIORITY),
        model_override: None,
        context_window: None,
        request_headers: Default::default(),
        response_headers: Default::default(),
        body: Default::default(),
        url_rewrite: None,
    }
}

/// The greatest weight that documents have, which is Gateway API's.
const MAX_WEIGHT: u32 = 1_000_000;

/// The greatest priority that documents have.
const MAX_PRIORITY: u32 = 1_000;

/// What a reference leads to.
///
/// # Errors
/// It leads nowhere.
pub(crate) fn resolve(
    context: &Context<'_>,
    from: Referrer<'_>,
    reference: &ObjectRef,
    port: Option<u16>,
    upstreams: &mut Upstreams<'_, '_, '_>,
) -> Result<std::rc::Rc<Upstream>, RefError> {
    let key = Key::new(reference.namespace.as_deref().unwrap_or(from.namespace), &reference.name);
    let group = reference.group.as_deref().unwrap_or("");
    let kind = reference.kind.as_deref().unwrap_or("Service");
    let servable = [Kind::Service, Kind::InferencePool, Kind::Backend, Kind::AiServiceBackend];
    let Some(kind) = Kind::in_group(group, kind).filter(|kind| servable.contains(kind)) else {
        let message = format!(
            "{} of group {:?} cannot be served: Service, InferencePool and Backend can",
            shorten(kind, 80),
            shorten(group, 80)
        );
        return Err(RefError::new("InvalidKind", message));
    };
    context.allowed(from, kind, &key)?;
    let upstream = match (kind, port) {
        (Kind::InferencePool, _) => UpstreamKey::Pool(key),
        (Kind::Backend, _) => UpstreamKey::Backend(key),
        (Kind::AiServiceBackend, _) => UpstreamKey::AiBackend(key),
        (_, Some(port)) => UpstreamKey::Service(key, port),
        (_, None) => {
            let message = format!("the reference to Service {key} needs a port");
            return Err(RefError::new("InvalidKind", message));
        }
    };
    upstreams.get(&upstream)
}

/// A condition on a header or query parameter; `None` for a type that is not served.
pub(crate) fn value_type(kind: Option<&str>) -> Option<RawValueMatchType> {
    match kind.unwrap_or("Exact") {
        "Exact" => Some(RawValueMatchType::Exact),
        "RegularExpression" => Some(RawValueMatchType::RegularExpression),
        _ => None,
    }
}

/// Conditions on headers. Of several for one header the first counts, as the specification has it.
pub(crate) fn header_matches<'a>(
    conditions: impl IntoIterator<Item = (Option<&'a str>, &'a str, &'a str)>,
) -> Result<Vec<RawHeaderMatch>, String> {
    let mut matches: Vec<RawHeaderMatch> = Vec::new();
    for (kind, name, value) in conditions {
        let kind = value_type(kind).ok_or("a header match has a type that is not served")?;
        if !matches.iter().any(|known| known.name.eq_ignore_ascii_case(name)) {
            matches.push(RawHeaderMatch { kind, name: name.to_owned(), value: value.to_owned() });
        }
    }
    Ok(matches)
}

/// How long a request may take that an AIGatewayRoute says nothing about (Envoy AI Gateway).
const DEFAULT_REQUEST_SECS: u64 = 60;

/// The deadlines of routes of a kind that say nothing of them.
pub(crate) fn default_timeouts(kind: Kind) -> RawTimeouts {
    match kind {
        Kind::AiGatewayRoute => {
            RawTimeouts { request: Timeout::secs(DEFAULT_REQUEST_SECS), ..RawTimeouts::default() }
        }
        _ => RawTimeouts::default(),
    }
}

/// Deadlines, over those that a route of this kind has by default, no longer than documents have them.
pub(crate) fn timeouts(raw: Option<&HttpTimeouts>, defaults: RawTimeouts) -> Result<RawTimeouts, String> {
    let mut timeouts = defaults;
    let read = |text: &Option<String>, field: &str| {
        let span = text.as_deref().map(Span::parse).transpose();
        let span = span.map_err(|error| format!("timeouts.{field}: {error}"))?;
        Ok::<_, String>(span.map(|span| span.min(MAX_TIMEOUT)))
    };
    let Some(raw) = raw else { return Ok(timeouts) };
    let (request, attempt) = (read(&raw.request, "request")?, read(&raw.backend_request, "backendRequest")?);
    if let Some(request) = request {
        timeouts.request = Timeout(request);
    }
    if let Some(attempt) = attempt {
        timeouts.per_try = Timeout(attempt);
        let is_off = timeouts.request == Timeout::OFF;
        if !is_off && attempt > timeouts.request.0 {
            // A longer attempt than the whole request may take is one that the request's own deadline ends; where that
            // is only a default, the attempt's counts.
            match request {
                Some(_) => timeouts.per_try = timeouts.request,
                None => timeouts.request = Timeout(attempt),
            }
        }
    }
    Ok(timeouts)
}

/// Names for rules: what the object calls them, or their position, each once.
#[derive(Default)]
pub(crate) struct RuleNames(BTreeSet<String>);

impl RuleNames {
    /// The name of a rule.
    pub(crate) fn name(&mut self, own: Option<&str>, position: usize) -> String {
        let wanted = own.filter(|name| !name.is_empty()).map(|name| names::in_document([name]));
        let wanted = wanted.unwrap_or_else(|| position.to_string());
        let numbered = (2_u32..).map(|number| format!("{wanted}-{number}"));
        let free = std::iter::once(wanted.clone()).chain(numbered).find(|name| !self.0.contains(name));
        let name = free.unwrap_or(wanted);
        self.0.insert(name.clone());
        name
    }
}

/// A target's changes over those of its upstream.
pub(crate) fn change_headers(target: &mut RawTarget, edits: penstock_config::raw::RawHeaderEdits) {
    target.request_headers = headers::merge(std::mem::take(&mut target.request_headers), edits);
}

/// A match for every path, where a change of prefix needs one to be said.
pub(crate) fn every_path() -> RawMatch {
    RawMatch {
        path: Some(penstock_config::raw::RawPathMatch {
            kind: penstock_config::raw::RawPathMatchType::PathPrefix,
            value: "/".to_owned(),
        }),
        ..RawMatch::default()
    }
}
