//! What the statuses of routes, and of policies that act through them, shall say.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::{Documents, Route, RouteObject, Routing};
use crate::translate::ai_backend;
use crate::translate::attach::Attachment;
use crate::translate::check::Problem;
use crate::translate::context::Context;
use crate::translate::gateway::Gateway;
use crate::translate::policies::Policies;
use crate::translate::shadows::Shadow;
use crate::translate::status::{Condition, Entries, ParentStatus, SHADOWED, Status, StatusUpdate};
use crate::translate::upstream::UpstreamKey;
use crate::world::{Key, Kind, ObjectId};

/// The most faults that one condition names.
const MAX_FAULTS: usize = 8;

/// What became of each route towards each of its parents: conditions, in the order of routes and of their references.
pub(in crate::translate) struct Verdicts(Vec<Vec<Vec<Condition>>>);

/// What the check of a Gateway's document found about a route.
#[derive(Default)]
struct Findings<'p> {
    /// Why the check took it out.
    route: Option<&'p str>,
    /// Why the check took rules out, by position.
    rules: BTreeMap<usize, &'p str>,
    /// The older routes that have the same conditions as its rules, by position.
    shadows: BTreeMap<usize, &'p ObjectId>,
}

impl Routing<'_, '_> {
    /// What became of all routes.
    pub(in crate::translate) fn verdicts(&self, documents: &Documents) -> Verdicts {
        let findings = findings(documents);
        let of_route = |(index, route): (usize, &Route<'_>)| {
            let towards = route.attachments.iter().map(|attachment| {
                conditions(route, &attachment.accepted, findings.get(&(&attachment.gateway, index)))
            });
            towards.collect()
        };
        Verdicts(self.routes.iter().enumerate().map(of_route).collect())
    }

    /// Counts, at each listener, the routes that are attached to it and accepted.
    pub(in crate::translate) fn count(&self, verdicts: &Verdicts, gateways: &mut BTreeMap<Key, Gateway<'_>>) {
        for (route, verdicts) in self.routes.iter().zip(&verdicts.0) {
            let mut listeners = BTreeSet::new();
            for (attachment, conditions) in route.attachments.iter().zip(verdicts) {
                if conditions.first().is_some_and(Condition::is_true) {
                    listeners.extend(attachment.listeners.iter().map(|index| (&attachment.gateway, *index)));
                }
            }
            for (gateway, listener) in listeners {
                let listener = gateways.get_mut(gateway).and_then(|it| it.listeners.get_mut(listener));
                if let Some(listener) = listener {
                    listener.attached += 1;
                }
            }
        }
    }

    /// What the statuses of routes shall say.
    pub(in crate::translate) fn statuses(
        &self,
        verdicts: Verdicts,
        controllers: &[String],
    ) -> Vec<StatusUpdate> {
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
    pub(in crate::translate) fn policy_statuses(
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
                parent_ref: json!({
                    "group": Kind::Gateway.group(),
                    "kind": Kind::Gateway.name(),
                    "namespace": gateway.namespace,
                    "name": gateway.name,
                }),
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
        let listed: Vec<String> = faults
            .iter()
            .take(MAX_FAULTS)
            .map(|(position, message)| format!("rules[{position}]: {message}"))
            .collect();
        let listed = listed.join("; ");
        let sound = route.built.positions().into_iter().filter(|position| !faults.contains_key(position));
        match findings.and_then(|findings| findings.route) {
            Some(message) => conditions[0] = Condition::no("Accepted", "UnsupportedValue", message),
            None if sound.count() > 0 => {
                if !faults.is_empty() {
                    let message = format!("Dropped Rule(s): {listed}");
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
            let mut messages: Vec<&str> =
                route.built.unresolved.iter().map(|error| error.message.as_str()).collect();
            messages.dedup();
            messages.truncate(MAX_FAULTS);
            Condition::no("ResolvedRefs", first.reason, messages.join("; "))
        }
    });
    conditions.extend(Condition::fields(route.object.unread()));
    conditions
}

/// Says which rules never see a request. A route that has no other, and whose requests are another tenant's, is refused.
fn add_shadows(route: &Route<'_>, findings: &Findings<'_>, conditions: &mut Vec<Condition>) {
    let shadowed: Vec<String> = findings
        .shadows
        .iter()
        .take(MAX_FAULTS)
        .map(|(position, by)| format!("rules[{position}]: the same requests go to {by}, which is older"))
        .collect();
    let shadowed = shadowed.join("; ");
    let is_whole = route.built.positions().iter().all(|position| findings.shadows.contains_key(position));
    let own = &route.object.meta().key.namespace;
    if is_whole && findings.shadows.values().any(|by| by.key.namespace != *own) {
        conditions[0] = Condition::no("Accepted", "Shadowed", shadowed);
    } else {
        conditions.push(Condition::yes(SHADOWED, "OlderRouteWins", shadowed));
    }
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
    let is_mixed = entries.iter().any(|entry| is_accepted(&entry)) && !refused.is_empty();
    if let Some(accepted) = conditions.first_mut().filter(|_| is_mixed) {
        accepted.message = format!("{}; {}", accepted.message, refused.join("; "));
    }
    conditions
}
