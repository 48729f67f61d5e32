//! Rules of HTTPRoutes.

mod extension;
mod filters;

use std::rc::Rc;

use penstock_config::Span;
use penstock_config::Statuses;
use penstock_config::raw::{
    RawExternal, RawFraction, RawMatch, RawMethod, RawMirror, RawPathMatch, RawPathMatchType,
    RawQueryParamMatch, RawRetry, RawRule, RawTarget, RawTimeouts,
};

use crate::access::external;
use crate::api::{HttpBackendRef, HttpMatch, HttpRetry, HttpRoute, HttpRule, RequestMirror};
use crate::context::{Context, RefError, Referrer, Secrets};
use crate::rules::{self, BuiltRoute, BuiltRule, RuleNames};
use crate::upstream::{RawUpstream, Upstream};
use crate::upstreams::Upstreams;
use crate::world::{Kind, Object};

use filters::Filters;

/// The rules of a route.
pub(crate) fn build<'w>(
    context: &Context<'w>,
    object: &Object<HttpRoute>,
    route: &HttpRoute,
    upstreams: &mut Upstreams<'w, '_, '_>,
) -> BuiltRoute {
    let from = Referrer::of(Kind::HttpRoute, &object.meta.key.namespace);
    let mut building = Building { context, from, upstreams, built: BuiltRoute::default() };
    let mut names = RuleNames::default();
    // A route without rules has one that is met by everything (the API server fills it in).
    let everything = [HttpRule::default()];
    let rules = if route.rules.is_empty() { &everything[..] } else { &route.rules };
    for (position, rule) in rules.iter().enumerate() {
        let name = names.name(rule.name.as_deref(), position);
        if let Some((raw, external, secrets)) = building.rule(rule, position, name) {
            building.built.push(BuiltRule { position, raw, offer: None, external, secrets });
        }
    }
    building.built
}

struct Building<'a, 'w, 'c, 'p, 'u> {
    context: &'a Context<'w>,
    from: Referrer<'a>,
    upstreams: &'u mut Upstreams<'w, 'c, 'p>,
    built: BuiltRoute,
}

/// What a rule leads to, by its references in their order.
struct Leads<'r> {
    mirrors: Vec<RawMirror>,
    targets: Vec<(&'r HttpBackendRef, Result<Rc<Upstream>, RefError>)>,
}

/// Whom a rule has decide, and where that server is.
type Server = Option<Box<(RawExternal, Upstream)>>;

impl Building<'_, '_, '_, '_, '_> {
    /// A rule; `None` if nobody can say which requests it is for.
    fn rule(&mut self, rule: &HttpRule, position: usize, name: String) -> Option<(RawRule, Server, Secrets)> {
        let filters = Filters::read(self.context, self.from.namespace, &rule.filters);
        let mut external = None;
        // First of all: whatever else is wrong with the rule, the status names references that lead nowhere.
        let leads = Leads {
            mirrors: filters.mirrors().filter_map(|mirror| self.mirror(mirror)).collect(),
            targets: rule.backend_refs.iter().map(|reference| (reference, self.resolve(reference))).collect(),
        };
        let mut matches = self.matches(rule, position)?;
        if matches.is_empty() && filters.changes_prefix() {
            matches.push(rules::every_path());
        }
        let mut raw = RawRule { name: Some(name), matches, ..RawRule::default() };
        let asked = self.external(&filters).map(|asked| external = asked);
        if let Err(message) = asked.and_then(|()| act(rule, &filters, leads, &mut raw)) {
            // Requests that would have met it get an error, not what some wider rule makes of them.
            self.built.fault(position, message);
            raw = RawRule { name: raw.name, matches: raw.matches, ..RawRule::default() };
            raw.targets.push(rules::nowhere(1, 0));
            external = None;
        }
        let secrets = if raw.credential.is_some() { filters.secrets() } else { Secrets::new() };
        Some((raw, external, secrets))
    }

    /// What a rule matches, without the matches that cannot be; `None` if there are no others.
    fn matches(&mut self, rule: &HttpRule, position: usize) -> Option<Vec<RawMatch>> {
        let (mut sound, mut fault) = (Vec::with_capacity(rule.matches.len()), None);
        for raw in &rule.matches {
            match one_match(raw) {
                Ok(one) => sound.push(one),
                Err(message) => fault = fault.or(Some(message)),
            }
        }
        match fault {
            Some(message) if sound.is_empty() => {
                self.built.fault(position, message);
                return None;
            }
            Some(message) => self.built.match_faults.push((position, message)),
            None => {}
        }
        Some(sound)
    }

    /// The server that a rule has asked.
    ///
    /// # Errors
    /// It cannot be asked, so that the rule's requests get an error.
    fn external(&self, filters: &Filters<'_>) -> Result<Option<Box<(RawExternal, Upstream)>>, String> {
        let Some(filter) = filters.external_auth()? else { return Ok(None) };
        let policies = self.upstreams.policies();
        external::of_filter(self.context, policies, self.from, filter).map(|asked| Some(Box::new(asked)))
    }

    /// The upstream that a reference leads to. That it leads nowhere is noted.
    fn resolve(&mut self, reference: &HttpBackendRef) -> Result<Rc<Upstream>, RefError> {
        let object = reference.object();
        let found = rules::resolve(self.context, self.from, &object, reference.port, self.upstreams);
        found.inspect_err(|error| self.built.unresolved.push(error.clone()))
    }

    fn mirror(&mut self, mirror: &RequestMirror) -> Option<RawMirror> {
        let reference = &mirror.backend_ref;
        let object = reference.object();
        match rules::resolve(self.context, self.from, &object, reference.port, self.upstreams) {
            Ok(upstream) => {
                let (pool, backend) = match upstream.raw {
                    RawUpstream::Pool(_) => (Some(upstream.name.clone()), None),
                    RawUpstream::Backend(_) => (None, Some(upstream.name.clone())),
                };
                let (percent, fraction) = share(mirror);
                Some(RawMirror { pool, backend, percent, fraction })
            }
            Err(RefError { reason, message }) => {
                let message = format!("a mirror is left out: {message}");
                self.built.unresolved.push(RefError { reason, message });
                None
            }
        }
    }
}

/// What a rule does.
fn act(rule: &HttpRule, filters: &Filters<'_>, leads: Leads<'_>, raw: &mut RawRule) -> Result<(), String> {
    filters.refuse_unknown()?;
    raw.timeouts = rules::timeouts(rule.timeouts.as_ref(), RawTimeouts::default())?;
    raw.retry = rule.retry.as_ref().map_or(Ok(RawRetry::default()), retry)?;
    raw.request_headers = filters.request_headers();
    raw.response_headers = filters.response_headers();
    raw.cors = filters.cors()?;
    if let Some(redirect) = filters.redirect()? {
        raw.redirect = Some(redirect);
        return Ok(());
    }
    if let Some((respond, headers)) = filters.respond() {
        raw.respond = Some(respond.clone());
        raw.response_headers = crate::headers::merge(raw.response_headers.clone(), headers.clone());
        return Ok(());
    }
    raw.url_rewrite = filters.url_rewrite()?;
    raw.credential = filters.credential();
    raw.mirrors = leads.mirrors;
    for (reference, upstream) in leads.targets {
        raw.targets.push(target(reference, upstream.as_deref())?);
    }
    if raw.targets.is_empty() {
        raw.targets.push(rules::nowhere(1, 0));
    }
    Ok(())
}

/// A target; one that answers with 500 where its reference leads nowhere.
fn target(reference: &HttpBackendRef, upstream: Result<&Upstream, &RefError>) -> Result<RawTarget, String> {
    let weight = reference.weight.unwrap_or(1);
    let upstream = match upstream {
        Ok(upstream) => upstream,
        Err(error) => return Ok(rules::unusable(error, weight, 0)),
    };
    let filters = Filters::of_target(&reference.filters);
    filters.refuse_unknown()?;
    let asks = filters.external_auth()?.is_some() || filters.cors()?.is_some();
    if asks || filters.redirect()?.is_some() || filters.mirrors().next().is_some() {
        let message = "a backendRef can change headers and URL; redirects, mirrors, ExternalAuth and CORS are for rules";
        return Err(message.to_owned());
    }
    let mut target = rules::to_upstream(upstream, weight, 0);
    rules::change_headers(&mut target, filters.request_headers());
    target.response_headers = filters.response_headers();
    target.url_rewrite = filters.url_rewrite()?;
    Ok(target)
}

/// Which share of requests is copied: in percent where that is exact, else as a fraction.
fn share(mirror: &RequestMirror) -> (Option<u32>, Option<RawFraction>) {
    let Some(fraction) = &mirror.fraction else {
        return (mirror.percent.map(|percent| percent.min(100)), None);
    };
    let denominator = fraction.denominator.unwrap_or(100).max(1);
    let numerator = fraction.numerator.min(denominator);
    let hundredfold = u64::from(numerator) * 100;
    if hundredfold.is_multiple_of(u64::from(denominator)) {
        // At most 100.
        return (u32::try_from(hundredfold / u64::from(denominator)).ok(), None);
    }
    (None, Some(RawFraction { numerator, denominator }))
}

fn one_match(raw: &HttpMatch) -> Result<RawMatch, String> {
    let path = raw.path.as_ref().map(|path| {
        let kind = match path.kind.as_deref().unwrap_or("PathPrefix") {
            "PathPrefix" => RawPathMatchType::PathPrefix,
            "Exact" => RawPathMatchType::Exact,
            "RegularExpression" => RawPathMatchType::RegularExpression,
            _ => return Err("a path match has a type that is not served".to_owned()),
        };
        Ok(RawPathMatch { kind, value: path.value.clone().unwrap_or_else(|| "/".to_owned()) })
    });
    let headers = raw.headers.iter();
    let headers = headers.map(|it| (it.kind.as_deref(), it.name.as_str(), it.value.as_str()));
    let mut query_params: Vec<RawQueryParamMatch> = Vec::new();
    for param in &raw.query_params {
        let kind = rules::value_type(param.kind.as_deref());
        let kind = kind.ok_or("a query parameter match has a type that is not served")?;
        if !query_params.iter().any(|known| known.name == param.name) {
            let (name, value) = (param.name.clone(), param.value.clone());
            query_params.push(RawQueryParamMatch { kind, name, value });
        }
    }
    Ok(RawMatch {
        path: path.transpose()?,
        headers: rules::header_matches(headers)?,
        query_params,
        method: raw.method.as_deref().map(method).transpose()?,
    })
}

fn method(name: &str) -> Result<RawMethod, String> {
    Ok(match name {
        "GET" => RawMethod::Get,
        "HEAD" => RawMethod::Head,
        "POST" => RawMethod::Post,
        "PUT" => RawMethod::Put,
        "DELETE" => RawMethod::Delete,
        "CONNECT" => RawMethod::Connect,
        "OPTIONS" => RawMethod::Options,
        "TRACE" => RawMethod::Trace,
        "PATCH" => RawMethod::Patch,
        _ => return Err("a match has a method that is not served".to_owned()),
    })
}

fn retry(raw: &HttpRetry) -> Result<RawRetry, String> {
    /// The most attempts that documents have.
    const MAX_ATTEMPTS: u32 = 10;
    let mut retry = RawRetry::default();
    if let Some(attempts) = raw.attempts {
        retry.attempts = attempts.saturating_add(1).min(MAX_ATTEMPTS);
    }
    if !raw.codes.is_empty() {
        retry.statuses = Statuses(raw.codes.clone());
    }
    if let Some(backoff) = &raw.backoff {
        retry.backoff = Span::parse(backoff).map_err(|error| format!("retry.backoff: {error}"))?;
    }
    Ok(retry)
}

#[cfg(test)]
mod tests {
    use super::{RawFraction, RequestMirror, share};
    use crate::api::Fraction;

    #[test]
    fn a_mirrors_share_is_kept_exactly() {
        let of = |numerator, denominator| {
            let fraction = Some(Fraction { numerator, denominator });
            share(&RequestMirror { fraction, percent: Some(50), ..RequestMirror::default() })
        };
        let exact = |numerator, denominator| (None, Some(RawFraction { numerator, denominator }));
        assert_eq!(of(1, Some(1000)), exact(1, 1000));
        assert_eq!(of(1, Some(3)), exact(1, 3));
        assert_eq!(of(u32::MAX - 1, Some(u32::MAX)), exact(u32::MAX - 1, u32::MAX));
        assert_eq!(of(42, None), (Some(42), None));
        assert_eq!(of(1, Some(4)), (Some(25), None));
        assert_eq!(of(0, Some(7)), (Some(0), None));
        // The API server lets none of these through; a file may have them.
        assert_eq!(of(5, Some(2)), (Some(100), None));
        assert_eq!(of(1, Some(0)), (Some(100), None));
        let percent = |percent| share(&RequestMirror { percent, ..RequestMirror::default() });
        assert_eq!((percent(Some(101)), percent(None)), ((Some(100), None), (None, None)));
    }
}
