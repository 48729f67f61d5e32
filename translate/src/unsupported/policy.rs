//! One policy: what it is for, and what of it is not acted on.

use std::ops::Deref;
use std::rc::Rc;

use penstock_config::raw::RawLimit;
use serde_json::Value;

use super::Target;
use crate::access::{Access, Asked};
use crate::api::{PolicyTargets, TrafficSettings};
use crate::clients::Clients;
use crate::limits::Limits;
use crate::status::Condition;
use crate::traffic::{self, Overrides, Traffic};
use crate::world::{IGNORE_ANNOTATION, Kind, Meta, ObjectId, Resource, Table, World};

/// The reason of conditions that say so.
pub(crate) const UNSUPPORTED: &str = "UnsupportedPolicy";

/// The ways in which a policy and a less specific one go together. There is a third, `Replace`, which Envoy Gateway refuses
/// here: left out, the policy takes the other's place.
const MERGE_TYPES: [&str; 2] = ["JSONMerge", "StrategicMerge"];

/// A policy.
pub(crate) struct Policy<'a> {
    /// Its kind.
    pub(crate) kind: Kind,
    /// Its metadata.
    pub(crate) meta: &'a Meta,
    /// Its status as last seen.
    pub(crate) status: &'a Value,
    /// What it is for, or why that cannot be read.
    pub(super) targets: Result<&'a PolicyTargets, &'a str>,
    /// What it is in force for.
    pub(crate) in_force: Vec<Target>,
    /// What an older one of its kind is in force for.
    pub(crate) overruled: Vec<Target>,
    /// What it names and is not there.
    pub(crate) missing: Vec<String>,
    /// Whether its owner says that something else enforces it.
    pub(super) is_ignored: bool,
    /// What it is called, with the fields that close its targets; `None` if none does.
    pub(super) closing: Option<String>,
    /// What it is called, with the fields that are left out; `None` if none is.
    pub(super) idle: Option<String>,
    /// What it is called.
    pub(super) name: String,
    /// What of it is acted on, or why it cannot be.
    pub(super) traffic: Result<Option<Traffic>, String>,
    /// What it says of who may ask, if that is in force for something.
    pub(super) access: Option<Access>,
    /// What it limits of requests, or why it cannot.
    pub(super) limits: Result<Option<Rc<Limits>>, String>,
    /// What it limits of what upstreams are asked for, or why it cannot.
    pub(super) quota: Result<Vec<RawLimit>, String>,
    /// What its status shall say of limits beside that it is in force.
    pub(super) notes: Vec<String>,
    /// What it asks of requests where it is in force alone, or why it cannot be.
    pub(super) asked: Result<Option<Rc<Asked>>, String>,
    /// What it changes of listeners, or why it cannot.
    pub(super) clients: Result<Option<Clients>, String>,
    /// What it is called if it asks something for a rule that may be any of its route's.
    pub(super) vague: Option<String>,
}

/// All policies, the oldest first.
pub(super) fn all(world: &World) -> Vec<Policy<'_>> {
    let mut all = Vec::new();
    read(&world.access_policies, &mut all);
    read(&world.client_policies, &mut all);
    read(&world.traffic_policies, &mut all);
    all.iter_mut().filter(|policy| policy.kind == Kind::BackendTrafficPolicy).for_each(|policy| {
        let object = world.traffic_policies.get(&policy.meta.key);
        if let Some(Ok(spec)) = object.map(|object| &object.spec) {
            policy.traffic = Traffic::read(&spec.settings);
            policy.leave_out(traffic::idle(&spec.settings), object.map_or(&[][..], |object| &object.unread));
        }
    });
    read(&world.extension_policies, &mut all);
    read(&world.patch_policies, &mut all);
    read(&world.quota_policies, &mut all);
    read(&world.x_traffic_policies, &mut all);
    all.sort_by_key(|policy| (&policy.meta.created, &policy.meta.key));
    all
}

fn read<'a, T>(table: &'a Table<T>, all: &mut Vec<Policy<'a>>)
where
    T: Resource + Deref<Target = PolicyTargets>,
{
    for (key, object) in table.iter() {
        let name = format!("{} {key}", T::KIND.name());
        let with =
            |fields: &[String]| (!fields.is_empty()).then(|| format!("{name} ({})", fields.join(", ")));
        let closing = match &object.spec {
            Ok(spec) => {
                // How it goes together with another that may restrict has to be known.
                let is_known = |merges: &String| MERGE_TYPES.contains(&merges.as_str());
                let is_vague = !spec.merge_type.as_ref().is_none_or(is_known);
                let vague = is_vague.then(|| "spec.mergeType".to_owned());
                with(&object.closing.iter().cloned().chain(vague).collect::<Vec<_>>())
            }
            Err(_) => Some(format!("{name} (it cannot be read)")),
        };
        all.push(Policy {
            kind: T::KIND,
            meta: &object.meta,
            status: &object.status,
            targets: object.spec.as_ref().map(|spec| &**spec).map_err(String::as_str),
            in_force: Vec::new(),
            overruled: Vec::new(),
            missing: Vec::new(),
            is_ignored: object.meta.annotations.get(IGNORE_ANNOTATION).is_some_and(|value| value == "true"),
            closing,
            idle: with(&object.unread),
            name,
            traffic: Ok(None),
            access: None,
            limits: Ok(None),
            quota: Ok(Vec::new()),
            notes: Vec::new(),
            asked: Ok(None),
            clients: Ok(None),
            vague: None,
        });
    }
}

impl Policy<'_> {
    /// Its name among all objects.
    pub(crate) fn id(&self) -> ObjectId {
        ObjectId { kind: self.kind, key: self.meta.key.clone() }
    }

    /// Says that fields are left out, beside others.
    fn leave_out(&mut self, fields: Vec<String>, others: &[String]) {
        if !fields.is_empty() {
            let all: Vec<String> = others.iter().cloned().chain(fields).collect();
            self.idle = Some(format!("{} ({})", self.name, all.join(", ")));
        }
    }

    /// Whether a less specific one counts beside it.
    pub(super) fn merges(&self) -> bool {
        self.targets.is_ok_and(|targets| targets.merge_type.is_some())
    }

    /// Whether something of it is acted on.
    fn is_acted_on(&self) -> bool {
        matches!(self.traffic, Ok(Some(_)))
            || self.access.is_some()
            || matches!(self.clients, Ok(Some(_)))
            || matches!(self.limits, Ok(Some(_)))
            || self.quota.as_ref().is_ok_and(|limits| !limits.is_empty())
    }

    /// Whether it is known what it is for.
    pub(crate) fn is_read(&self) -> bool {
        self.targets.is_ok()
    }

    /// What it is called, with why it cannot be enforced, if so.
    pub(super) fn fault(&self) -> Option<String> {
        let limits = self.limits.as_ref().err().or(self.quota.as_ref().err());
        let fault = self.asked.as_ref().err().or(self.clients.as_ref().err()).or(limits)?;
        Some(format!("{} (spec.{fault})", self.name))
    }

    /// Takes what is answered in place of something else by it, as BackendTrafficPolicies have it.
    pub(super) fn put_overrides(
        &mut self,
        settings: &TrafficSettings,
        overrides: Result<Overrides, String>,
        unread: &[String],
    ) {
        match overrides {
            Ok(overrides) => {
                let idle = traffic::idle(settings).into_iter().chain(overrides.idle).collect();
                self.leave_out(idle, unread);
                if let (Ok(traffic), false) = (&mut self.traffic, overrides.all.is_empty()) {
                    *traffic = Some(traffic.take().unwrap_or_default().with_overrides(overrides.all));
                }
            }
            Err(fault) if self.traffic.is_ok() => self.traffic = Err(fault),
            Err(_) => {}
        }
    }

    /// Takes what it changes of listeners.
    pub(super) fn put_clients(&mut self, clients: Result<Clients, String>, unread: &[String]) {
        if let Ok(clients) = &clients {
            self.leave_out(clients.idle.clone(), unread);
        }
        self.clients = clients.map(Some);
    }

    /// What its status shall say. `fault` is why it cannot be enforced somewhere, if so.
    pub(crate) fn accepted(&self, fault: Option<&str>) -> Condition {
        let no = |reason, message: String| Condition::no("Accepted", reason, message);
        if let (Err(error), false) = (self.targets, self.is_ignored) {
            let message = format!("it cannot be read, so every route of its namespace answers 500: {error}");
            return no("Invalid", message);
        }
        if !self.overruled.is_empty() && self.in_force.is_empty() {
            let targets: Vec<String> = self.overruled.iter().map(ToString::to_string).collect();
            let message = format!("an older {} is for {} already", self.kind.name(), targets.join(", "));
            return no("Conflicted", message);
        }
        match (&self.closing, &self.idle) {
            _ if self.is_ignored => {
                let message = format!(
                    "{IGNORE_ANNOTATION} says that something else enforces it: nothing of it is in force here, and what it \
                     is for is open"
                );
                no("Ignored", message)
            }
            (Some(closing), _) => {
                let message = format!(
                    "{closing} is not supported, so what it is for answers 500; delete it, or set the annotation \
                     {IGNORE_ANNOTATION}: \"true\" on it if something else enforces it"
                );
                no("Unsupported", message)
            }
            (None, _) if let Err(fault) = &self.traffic => no("Invalid", format!("spec.{fault}")),
            // One that says that another counts beside it may lack what that has.
            (None, _) if let (Err(fault), false) = (&self.asked, self.merges()) => {
                no("Invalid", format!("spec.{fault}; what it is for answers 500"))
            }
            (None, _)
                if let Some(fault) = self
                    .clients
                    .as_ref()
                    .err()
                    .or(self.limits.as_ref().err())
                    .or(self.quota.as_ref().err()) =>
            {
                no("Invalid", format!("spec.{fault}; what it is for answers 500"))
            }
            (None, _) if let Some(fault) = fault => no("Invalid", fault.to_owned()),
            (None, idle) if self.is_acted_on() => {
                let without = idle.as_ref().map(|idle| format!(" without {idle}")).unwrap_or_default();
                let notes = self.access.iter().flat_map(|access| &access.notes).chain(&self.notes);
                let clients = self.clients.as_ref().ok().and_then(Option::as_ref);
                let notes = notes.chain(clients.into_iter().flat_map(|clients| &clients.notes));
                let notes: String = notes.map(|note| format!("; {note}")).collect();
                Condition::yes("Accepted", "Accepted", format!("the policy is in force{without}{notes}"))
            }
            (None, Some(idle)) => {
                no("Unsupported", format!("{idle} is not supported: what it is for is served without it"))
            }
            (None, None) => Condition::yes("Accepted", "Accepted", "the policy says nothing"),
        }
    }
}
