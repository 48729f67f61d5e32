//! What the statuses of routes, and of policies that act through them, shall say.

use std::collections::{BTreeMap, BTreeSet};

use super::unsupported::ancestor;
use super::{Documents, Route, RouteObject, Routing};
use crate::ai_backend;
use crate::attach::Attachment;
use crate::check::Problem;
use crate::context::{Context, RefError};
use crate::gateway::Gateway;
use crate::policies::Policies;
use crate::shadows::Shadow;
use crate::status::{
    CLOSED, Condition, Entries, POLICIES_IGNORED, POLICIES_NOT_ACTED_ON, ParentStatus, SHADOWED, Status,
    StatusUpdate,
};
use crate::upstream::UpstreamKey;
use crate::world::{Key, Kind, ObjectId};

/// The most faults that one condition names.
const MAX_FAULTS: usize = 8;

/// What became of each route towards each of its parents: conditions, in the order of routes and of their references.
pub(crate) struct Verdicts(Vec<Vec<Vec<Condition>>>);

/// What the check of a Gateway's document found about a route.
#[derive(Default)]
struct Findings<'p> {
    /// Why the check took it out.
    route: Option<&'p str>,
    /// Why the check took rules out, by position.
    rules: BTreeMap<usize, &'p str>,
    /// Why it took out some of a rule's matches, by the rule's position.
    matches: BTreeMap<usize, &'p str>,
    /// The older routes that have the same conditions as its rules, by position.
    shadows: BTreeMap<usize, &'p ObjectId>,
}

impl Routing<'_, '_> {
    /// What became of all routes.
    pub(crate) fn verdicts(&self, documents: &Documents, gateways: &BTreeMap<Key, Gateway<'_>>) -> Verdicts {
        let findings = findings(documents);
        let of_route = |(index, route): (usize, &Route<'_>)| {
            let towards = route.attachments.iter().map(|attachment| {
                let findings = findings.get(&(&attachment.gateway, index));
                let mut conditions = conditions(route, &attachment.accepted, findings);
                if let Some(gateway) = gateways.get(&attachment.gateway) {
                    conditions.extend(self.unsupported_conditions(route, attachment, gateway));
                }
                conditions
            });
            towards.collect()
        };
        Verdicts(self.routes.iter().enumerate().map(of_route).collect())
    }

    /// Counts, at each listener, the routes that are attached to it. By the Gateway API neither a listener that cannot be
    /// served nor a route whose rules are refused changes that: the number tells whom a change of the listener concerns.
    pub(crate) fn count(&self, gateways: &mut BTreeMap<Key, Gateway<'_>>) {
        for route in &self.routes {
            let attached = route.attachments.iter().flat_map(|attachment| {
                attachment.listeners.iter().map(|index| (&attachment.gateway, *index))
            });
            // Several references may lead to one listener.
            let listeners: BTreeSet<(&Key, usize)> = attached.collect();
            for (gateway, listener) in listeners {
                let listener = gateways.get_mut(gateway).and_then(|it| it.listeners.get_mut(listener));
                if let Some(listener) = listener {
                    listener.attached += 1;
                }
            }
        }
    }

    /// What the statuses of routes shall say.
    pub(crate) fn statuses(&self, verdicts: Verdicts, controllers: &[String]) -> Vec<StatusUpdate> {
        let mut statuses = Vec::new();
        for (route, verdicts) in self.routes.iter().zip(verdicts.0) {
            let entry = |(attachment, conditions): (&Attachment, Vec<Condition>)| ParentStatus {
                parent_ref: attachment.parent_ref.clone(),
                controller_name: attachment.controller.clone(),
                conditions,
            };
            let entries: Vec<ParentStatus> = route.attachments.iter().zip(verdicts).map(entry).collect();
            match route.object {
                RouteObject::Http(object) => {
                    let controllers = controllers.to_vec();
                    let entries = Entries { controllers, entries, nameless: Vec::new() };
                    let status = route.object.status();
                    if !entries.entries.is_empty() || entries.touches(status, "parents", "parentRef") {
                        statuses.push(StatusUpdate::new(object, Status::Parents(entries)));
                    }
                }
                RouteObject::Ai(object) if !entries.is_empty() => {
                    statuses.push(StatusUpdate::new(object, Status::Conditions(over_parents(&entries))));
                }
                RouteObject::Ai(_) => {}
            }
        }
        statuses
    }

    /// What the statuses of BackendTLSPolicies shall say: one entry for each Gateway that leads to their targets.
    pub(crate) fn policy_statuses(
        &self,
        context: &Context<'_>,
        policies: &Policies<'_>,
        documents: &Documents,
        controllers: &[String],
    ) -> Vec<StatusUpdate> {
        let mut users: BTreeMap<&Key, BTreeSet<(&Key, &str)>> = BTreeMap::new();
        for (key, gateway, controller) in self.references(documents) {
            let target = match key {
                UpstreamKey::Pool(_) => None,
                UpstreamKey::Backend(key) => Some((Kind::Backend, key.clone())),
                UpstreamKey::AiBackend(key) => {
                    ai_backend::named_backend(context.world, key).map(|key| (Kind::Backend, key))
                }
                UpstreamKey::Service(key, _) => Some((Kind::Service, key.clone())),
            };
            let Some((kind, target)) = target else { continue };
            for policy in policies.tls().for_object(kind, &target) {
                users.entry(policy).or_default().insert((gateway, controller));
            }
        }
        let mut statuses = Vec::new();
        for (key, object) in context.world.backend_tls_policies.iter() {
            let conditions = policies.tls().conditions(key).to_vec();
            let entry = |(gateway, controller): &(&Key, &str)| ParentStatus {
                parent_ref: ancestor(gateway),
                controller_name: (*controller).to_owned(),
                conditions: conditions.clone(),
            };
            let entries = users.get(key).into_iter().flatten().map(entry).collect();
            let entries = Entries { controllers: controllers.to_vec(), entries, nameless: Vec::new() };
            if !entries.entries.is_empty() || entries.touches(&object.status, "ancestors", "ancestorRef") {
                statuses.push(StatusUpdate::new(object, Status::Ancestors(entries)));
            }
        }
        statuses
    }
}

/// What the checks of documents found, by Gateway and position of the route.
fn findings(documents: &Documents) -> BTreeMap<(&Key, usize), Findings<'_>> {
    let mut findings: BTreeMap<(&Key, usize), Findings<'_>> = BTreeMap::new();
    for (gateway, finished) in documents {
        for Shadow { route, rule, by } in &finished.shadows {
            findings.entry((gateway, *route)).or_default().shadows.insert(*rule, by);
        }
        for problem in &finished.problems {
            match problem {
                Problem::Route { route, message } => {
                    findings.entry((gateway, *route)).or_default().route = Some(message);
                }
                Problem::Rule { route, rule, message } => {
                    findings.entry((gateway, *route)).or_default().rules.entry(*rule).or_insert(message);
                }
                Problem::Matches { route, rule, message } => {
                    findings.entry((gateway, *route)).or_default().matches.entry(*rule).or_insert(message);
                }
                _ => {}
            }
        }
    }
    findings
}

/// A route's conditions towards one parent.
fn conditions(route: &Route<'_>, attaching: &Condition, findings: Option<&Findings<'_>>) -> Vec<Condition> {
    let mut conditions = vec![attaching.clone()];
    if let Some(error) = route.object.error() {
        let message = format!("the route cannot be read: {error}");
        return vec![Condition::no("Accepted", "UnsupportedValue", message)];
    }
    if attaching.is_true() {
        let mut faults: BTreeMap<usize, &str> =
            findings.map(|findings| findings.rules.clone()).unwrap_or_default();
        faults.extend(route.built.faults.iter().map(|(position, message)| (*position, message.as_str())));
        let listed = by_rules(faults.iter().map(|(position, message)| (*position, (*message).to_owned())));
        let of_matches = dropped_matches(route, findings, &faults);
        let sound = route.built.positions().into_iter().filter(|position| !faults.contains_key(position));
        match findings.and_then(|findings| findings.route) {
            Some(message) => conditions[0] = Condition::no("Accepted", "UnsupportedValue", message),
            None if sound.count() > 0 => {
                let of_rules = (!faults.is_empty()).then(|| format!("Dropped Rule(s): {listed}"));
                let message: Vec<String> = of_rules.into_iter().chain(of_matches).collect();
                if !message.is_empty() {
                    let message = message.join("; ");
                    conditions.push(Condition::yes("PartiallyInvalid", "UnsupportedValue", message));
                }
            }
            None if faults.is_empty() => {
                conditions[0] = Condition::no("Accepted", "UnsupportedValue", "the route has no rules");
            }
            None => {
                let message = format!("no rule of it can be served: {listed}");
                conditions[0] = Condition::no("Accepted", "UnsupportedValue", message);
            }
        }
    }
    if let Some(findings) = findings.filter(|it| conditions[0].is_true() && !it.shadows.is_empty()) {
        add_shadows(route, findings, &mut conditions);
    }
    conditions.push(match route.built.unresolved.first() {
        None => Condition::yes("ResolvedRefs", "ResolvedRefs", "all references lead somewhere"),
        Some(first) => {
            let mut messages: Vec<String> = Vec::new();
            for RefError { message, .. } in &route.built.unresolved {
                if !messages.contains(message) {
                    messages.push(message.clone());
                }
            }
            Condition::no("ResolvedRefs", first.reason, some_of(messages))
        }
    });
    conditions.extend(Condition::fields(route.object.unread()));
    conditions
}

/// Says of which rules some matches were taken out, of those that are not in `faults`.
fn dropped_matches(
    route: &Route<'_>,
    findings: Option<&Findings<'_>>,
    faults: &BTreeMap<usize, &str>,
) -> Option<String> {
    let of_check = findings.iter().flat_map(|findings| &findings.matches).map(|(rule, why)| (*rule, *why));
    let of_route = route.built.match_faults.iter().map(|(rule, why)| (*rule, why.as_str()));
    let mut all: BTreeMap<usize, &str> = of_check.collect();
    all.extend(of_route);
    all.retain(|rule, _| !faults.contains_key(rule));
    let listed = by_rules(all.iter().map(|(rule, why)| (*rule, (*why).to_owned())));
    (!all.is_empty()).then(|| format!("Dropped Match(es): {listed}"))
}

/// Says which rules never see a request. A route that has no other, and whose requests are another tenant's, is refused.
fn add_shadows(route: &Route<'_>, findings: &Findings<'_>, conditions: &mut Vec<Condition>) {
    let shadowed = by_rules(
        findings
            .shadows
            .iter()
            .map(|(position, by)| (*position, format!("the same requests go to {by}, which is older"))),
    );
    let is_whole = route.built.positions().iter().all(|position| findings.shadows.contains_key(position));
    let own = &route.object.meta().key.namespace;
    if is_whole && findings.shadows.values().any(|by| by.key.namespace != *own) {
        conditions[0] = Condition::no("Accepted", "Shadowed", shadowed);
    } else {
        conditions.push(Condition::yes(SHADOWED, "OlderRouteWins", shadowed));
    }
}

/// What is said of rules, in a sentence: one that holds for many of them stands there once, so that it takes no other's room.
pub(super) fn by_rules(said: impl Iterator<Item = (usize, String)>) -> String {
    let mut messages: Vec<(String, Vec<String>)> = Vec::new();
    for (position, message) in said {
        let rule = format!("rules[{position}]");
        match messages.iter_mut().find(|(known, _)| *known == message) {
            Some((_, rules)) => rules.push(rule),
            None => messages.push((message, vec![rule])),
        }
    }
    let listed = messages.into_iter().map(|(message, mut rules)| {
        let more = rules.len().saturating_sub(MAX_FAULTS);
        rules.truncate(MAX_FAULTS);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!("{}{more}: {message}", rules.join(", "))
    });
    some_of(listed.collect())
}

/// The first of several messages, and how many others there are.
fn some_of(mut messages: Vec<String>) -> String {
    let more = messages.len().saturating_sub(MAX_FAULTS);
    messages.truncate(MAX_FAULTS);
    if more > 0 {
        messages.push(format!("and {more} more"));
    }
    messages.join("; ")
}

/// The conditions of an AIGatewayRoute, whose status has no parents: those of the first that takes it, and which do not.
fn over_parents(entries: &[ParentStatus]) -> Vec<Condition> {
    let is_accepted = |entry: &&ParentStatus| entry.conditions.first().is_some_and(Condition::is_true);
    let mut refused: Vec<String> = Vec::new();
    for entry in entries.iter().filter(|entry| !is_accepted(entry)) {
        let name = entry.parent_ref.get("name").and_then(serde_json::Value::as_str).unwrap_or_default();
        let message = entry.conditions.first().map_or("", |condition| condition.message.as_str());
        let line = format!("not by Gateway {name}: {message}");
        if !refused.contains(&line) {
            refused.push(line);
        }
    }
    let best = entries.iter().find(is_accepted).or_else(|| entries.first());
    let mut conditions = best.map(|entry| entry.conditions.clone()).unwrap_or_default();
    // What is closed at one Gateway only is told all the same.
    for condition in entries.iter().flat_map(|entry| &entry.conditions) {
        let is_of_policies = [CLOSED, POLICIES_NOT_ACTED_ON, POLICIES_IGNORED].contains(&condition.kind);
        if is_of_policies && conditions.iter().all(|known| known.kind != condition.kind) {
            conditions.push(condition.clone());
        }
    }
    let is_mixed = entries.iter().any(|entry| is_accepted(&entry)) && !refused.is_empty();
    if let Some(accepted) = conditions.first_mut().filter(|_| is_mixed) {
        accepted.message = format!("{}; {}", accepted.message, refused.join("; "));
    }
    conditions
}
