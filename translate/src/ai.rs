//! Rules of AIGatewayRoutes.

use std::rc::Rc;

use penstock_config::raw::{RawHeaderMatch, RawMatch, RawRule, RawTarget, RawTimeouts, RawValueMatchType};
use penstock_config::{Span, StreamUsage, Timeout};

use crate::api::{AiBackendRef, AiGatewayRoute, AiRule, ObjectRef};
use crate::bodies;
use crate::context::{Context, RefError, Referrer};
use crate::headers;
use crate::rules::{self, BuiltRoute, BuiltRule, Offer, RuleNames};
use crate::upstream::Upstream;
use crate::upstreams::Upstreams;
use crate::world::{Key, Kind, Object};

/// Who offers models if a rule does not say (Envoy AI Gateway).
const DEFAULT_OWNER: &str = "Envoy AI Gateway";

/// The header that stands for the model.
const MODEL_HEADER: &str = "x-ai-eg-model";

/// The rules of a route.
pub(crate) fn build<'w>(
    context: &Context<'w>,
    object: &Object<AiGatewayRoute>,
    route: &AiGatewayRoute,
    upstreams: &mut Upstreams<'w, '_, '_>,
) -> BuiltRoute {
    let from = Referrer::of(Kind::AiGatewayRoute, &object.meta.key.namespace);
    let mut building = Building { context, from, upstreams, built: BuiltRoute::default() };
    let mut names = RuleNames::default();
    let usage = if route.llm_request_costs.is_empty() { StreamUsage::AsAsked } else { StreamUsage::Required };
    let created = Some(object.meta.created.clone()).filter(|created| !created.is_empty());
    for (position, rule) in route.rules.iter().enumerate() {
        let since = rule.models_created_at.clone().or_else(|| created.clone());
        let owner = rule.models_owned_by.clone().unwrap_or_else(|| DEFAULT_OWNER.to_owned());
        let offer = Some(Offer { owner, since });
        let name = names.name(rule.name.as_deref(), position);
        if let Some(mut raw) = building.rule(rule, position, name) {
            raw.usage = usage;
            building.built.push(BuiltRule {
                position,
                raw,
                offer,
                external: None,
                secrets: Default::default(),
            });
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

impl Building<'_, '_, '_, '_, '_> {
    /// A rule; `None` if nobody can say which requests it is for.
    fn rule(&mut self, rule: &AiRule, position: usize, name: String) -> Option<RawRule> {
        // First of all: whatever else is wrong with the rule, the status names references that lead nowhere.
        let mut targets: Vec<_> =
            rule.backend_refs.iter().map(|reference| self.target(reference, position)).collect();
        let matches = match matches(rule) {
            Ok(matches) => matches,
            Err(message) => {
                self.built.fault(position, message);
                return None;
            }
        };
        let mut raw = RawRule { name: Some(name), ..matches };
        match timeouts(rule) {
            Ok(timeouts) => raw.timeouts = timeouts,
            Err(message) => {
                self.built.fault(position, message);
                targets.clear();
            }
        }
        if targets.is_empty() {
            targets.push(rules::nowhere(1, 0));
        }
        raw.targets = targets;
        Some(raw)
    }

    fn target(&mut self, reference: &AiBackendRef, position: usize) -> RawTarget {
        let (weight, priority) = (reference.weight.unwrap_or(1), reference.priority.unwrap_or(0));
        let upstream = match self.resolve(reference) {
            Ok(upstream) => upstream,
            Err(error) => {
                let target = rules::unusable(&error, weight, priority);
                self.built.unresolved.push(error);
                return target;
            }
        };
        let mut target = rules::to_upstream(&upstream, weight, priority);
        target.model_override = reference.model_name_override.clone().filter(|model| !model.is_empty());
        rules::change_headers(&mut target, headers::mutation(None, reference.header_mutation.as_ref()));
        match bodies::mutation(reference.body_mutation.as_ref()) {
            Ok(edits) => target.body = bodies::merge(std::mem::take(&mut target.body), edits),
            // What must not be sent as it is, is not sent.
            Err(message) => {
                self.built.fault(position, message);
                return rules::nowhere(weight, priority);
            }
        }
        target
    }

    /// What a reference leads to. Without a kind it is an AIServiceBackend, or else the Backend of that name: the
    /// walkthrough has such.
    fn resolve(&mut self, reference: &AiBackendRef) -> Result<Rc<Upstream>, RefError> {
        let (group, kind) = match (reference.group.as_deref(), reference.kind.as_deref()) {
            (None | Some(""), None) => self.backend_kind(reference),
            (group, kind) => (group.unwrap_or_default().to_owned(), kind.unwrap_or_default().to_owned()),
        };
        let object = ObjectRef {
            group: Some(group),
            kind: Some(kind),
            namespace: reference.namespace.clone(),
            name: reference.name.clone(),
        };
        rules::resolve(self.context, self.from, &object, None, self.upstreams)
    }

    fn backend_kind(&self, reference: &AiBackendRef) -> (String, String) {
        let key = Key::new(reference.namespace.as_deref().unwrap_or(self.from.namespace), &reference.name);
        let world = self.context.world;
        let is_plain = world.ai_backends.get(&key).is_none() && world.backends.get(&key).is_some();
        let kind = if is_plain { Kind::Backend } else { Kind::AiServiceBackend };
        (kind.group().to_owned(), kind.name().to_owned())
    }
}

/// Which requests a rule is for. Where every match is one model and nothing else, the short form says so.
fn matches(rule: &AiRule) -> Result<RawRule, String> {
    let mut matches: Vec<RawMatch> = Vec::new();
    for raw in &rule.matches {
        let headers = raw.headers.iter();
        let headers = headers.map(|it| (it.kind.as_deref(), it.name.as_str(), it.value.as_str()));
        matches.push(RawMatch { headers: rules::header_matches(headers)?, ..RawMatch::default() });
    }
    let model = |header: &RawHeaderMatch| {
        let is_model =
            header.name.eq_ignore_ascii_case(MODEL_HEADER) && header.kind == RawValueMatchType::Exact;
        is_model.then(|| header.value.clone())
    };
    let models: Option<Vec<String>> = matches
        .iter()
        .map(|it| match it.headers.as_slice() {
            [only] => model(only),
            _ => None,
        })
        .collect();
    Ok(match models {
        Some(mut models) if !models.is_empty() => {
            let mut seen = std::collections::BTreeSet::new();
            models.retain(|model| seen.insert(model.clone()));
            RawRule { models, ..RawRule::default() }
        }
        _ => RawRule { matches, ..RawRule::default() },
    })
}

fn timeouts(rule: &AiRule) -> Result<RawTimeouts, String> {
    let mut timeouts =
        rules::timeouts(rule.timeouts.as_ref(), rules::default_timeouts(Kind::AiGatewayRoute))?;
    if let Some(idle) = &rule.stream_idle_timeout {
        let idle = Span::parse(idle).map_err(|error| format!("streamIdleTimeout: {error}"))?;
        timeouts.stream_idle = Timeout(idle);
    }
    Ok(timeouts)
}
