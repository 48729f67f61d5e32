//! BackendTLSPolicies: which of them is in force for which port of a Service or Backend.
//!
//! A port that a policy names and that its target does not have must never pass for TLS: the policy says so in its status,
//! and where a credential would go there, nothing is sent.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use penstock_config::raw::RawUpstreamTls;

use super::tls::{self, TlsFault};
use crate::api::{BackendEndpoint, BackendTlsPolicy, TargetRef};
use crate::context::{Context, RefError, Secrets, by_age};
use crate::status::Condition;
use crate::world::{Key, Kind, Object, ObjectId, World};

/// All BackendTLSPolicies. Of several for the same port, the oldest is in force.
#[derive(Default)]
pub(crate) struct TlsPolicies<'a> {
    in_force: BTreeMap<Target, TlsPolicy<'a>>,
    /// The policies for an object, whatever their fate.
    by_object: BTreeMap<ObjectId, BTreeSet<&'a Key>>,
    /// Those of them that name a port which the object does not have, and that port.
    unmatched: BTreeMap<ObjectId, (&'a Key, String)>,
    conditions: BTreeMap<&'a Key, Vec<Condition>>,
}

/// What a BackendTLSPolicy is for: an object, and one of its ports: of a Service by its name, of a Backend by its number,
/// as Envoy Gateway has it.
type Target = (ObjectId, Option<String>);

/// A BackendTLSPolicy that is in force somewhere.
struct TlsPolicy<'a> {
    key: &'a Key,
    tls: Result<(RawUpstreamTls, Secrets), TlsFault>,
}

/// TLS towards an upstream, and what it needs; `None` if no policy is for it.
type Tls = Option<(RawUpstreamTls, Secrets)>;

/// What became of a policy's targets, by their descriptions.
#[derive(Default)]
struct Targets {
    in_force: Vec<String>,
    overruled: Vec<String>,
    missing: Vec<String>,
}

impl<'a> TlsPolicies<'a> {
    /// Reads all.
    pub(super) fn read(context: &Context<'a>) -> Self {
        let mut policies = Self::default();
        for object in by_age(context.world.backend_tls_policies.iter().map(|(_, object)| &**object)) {
            policies.add(context, object);
        }
        policies
    }

    /// TLS towards a port of a Service: by a policy for this port, or else by one for the whole Service.
    ///
    /// # Errors
    /// The policy cannot be met: nothing may be sent without it.
    pub(crate) fn of_service(&self, key: &Key, port_name: &str) -> Result<Tls, RefError> {
        let id = ObjectId { kind: Kind::Service, key: key.clone() };
        self.of_port(&id, port_name).map_or(Ok(None), |policy| policy.tls().map(Some))
    }

    /// TLS towards a Backend whose endpoints have these ports.
    ///
    /// # Errors
    /// The policy cannot be met, or the ports have different ones: a document's backend has one.
    pub(crate) fn of_backend(&self, key: &Key, ports: &BTreeSet<u16>) -> Result<Tls, RefError> {
        let id = ObjectId { kind: Kind::Backend, key: key.clone() };
        let of_ports = ports.iter().map(|port| self.of_port(&id, &port.to_string()));
        let mut policies: BTreeMap<Option<&Key>, Option<&TlsPolicy<'_>>> =
            of_ports.map(|policy| (policy.map(|policy| policy.key), policy)).collect();
        match (policies.pop_first(), policies.is_empty()) {
            (Some((_, Some(policy))), true) => policy.tls().map(Some),
            (Some((_, None)) | None, true) => Ok(None),
            (_, false) => {
                let message = format!(
                    "Backend {key}: its ports have different BackendTLSPolicies: make a Backend for each port"
                );
                Err(RefError::new("InvalidBackend", message))
            }
        }
    }

    /// A policy for an object that names a port which the object does not have, in words.
    pub(crate) fn unmatched(&self, kind: Kind, key: &Key) -> Option<String> {
        let (policy, port) = self.unmatched.get(&ObjectId { kind, key: key.clone() })?;
        Some(format!(
            "BackendTLSPolicy {policy} is for port {port:?} of {} {key}, which has no such port",
            kind.name()
        ))
    }

    /// The policies for an object, whatever their fate.
    pub(crate) fn for_object(&self, kind: Kind, key: &Key) -> impl Iterator<Item = &'a Key> {
        let id = ObjectId { kind, key: key.clone() };
        self.by_object.get(&id).into_iter().flatten().copied()
    }

    /// The conditions of a policy.
    pub(crate) fn conditions(&self, policy: &Key) -> &[Condition] {
        self.conditions.get(policy).map_or(&[], Vec::as_slice)
    }

    /// The policy for a port: one that names it, or else one for the whole object.
    fn of_port(&self, id: &ObjectId, port: &str) -> Option<&TlsPolicy<'a>> {
        let of_port = self.in_force.get(&(id.clone(), Some(port.to_owned())));
        of_port.or_else(|| self.in_force.get(&(id.clone(), None)))
    }

    fn add(&mut self, context: &Context<'_>, object: &'a Object<BackendTlsPolicy>) {
        let key = &object.meta.key;
        let mut conditions = match &object.spec {
            Err(error) => vec![Condition::no("Accepted", "Invalid", error.as_str())],
            Ok(spec) => {
                let tls = tls::from_policy(context, &key.namespace, &spec.validation);
                let mut targets = Targets::default();
                for reference in &spec.target_refs {
                    self.aim(context.world, key, reference, &tls, &mut targets);
                }
                conditions(&tls, &targets)
            }
        };
        conditions.extend(Condition::fields(&object.unread));
        self.conditions.insert(key, conditions);
    }

    /// Puts a policy in force for one of its targets, if that is there and no older policy is.
    fn aim(
        &mut self,
        world: &World,
        policy: &'a Key,
        reference: &TargetRef,
        tls: &Result<(RawUpstreamTls, Secrets), TlsFault>,
        targets: &mut Targets,
    ) {
        let (group, kind) = (reference.group.as_deref(), reference.kind.as_deref());
        let kind = Kind::in_group(group.unwrap_or_default(), kind.unwrap_or_default());
        let Some(kind @ (Kind::Service | Kind::Backend)) = kind else { return };
        let id = ObjectId { kind, key: Key::new(policy.namespace.as_str(), &reference.name) };
        self.by_object.entry(id.clone()).or_default().insert(policy);
        let section = reference.section_name.clone();
        let described = match &section {
            Some(section) => format!("port {section:?} of {id}"),
            None => id.to_string(),
        };
        match section_of(world, &id, section.as_deref()) {
            Section::There => match self.in_force.entry((id, section)) {
                Entry::Vacant(free) => {
                    free.insert(TlsPolicy { key: policy, tls: tls.clone() });
                    targets.in_force.push(described);
                }
                Entry::Occupied(_) => targets.overruled.push(described),
            },
            Section::NoPort(port) => {
                self.unmatched.entry(id).or_insert((policy, port));
                targets.missing.push(described);
            }
            Section::NoObject => targets.missing.push(described),
        }
    }
}

impl TlsPolicy<'_> {
    fn tls(&self) -> Result<(RawUpstreamTls, Secrets), RefError> {
        self.tls.clone().map_err(|fault| fault.to_ref_error(self.key))
    }
}

/// Whether there is what a policy is for.
enum Section {
    There,
    NoObject,
    NoPort(String),
}

fn section_of(world: &World, id: &ObjectId, section: Option<&str>) -> Section {
    let has_port = match id.kind {
        Kind::Service => world.services.get(&id.key).map(|object| {
            let ports = object.spec.as_ref().map_or(&[][..], |service| &service.ports);
            section.is_none_or(|section| ports.iter().any(|port| port.name == section))
        }),
        _ => world.backends.get(&id.key).map(|object| {
            let endpoints = object.spec.as_ref().map_or(&[][..], |backend| &backend.endpoints);
            let ports = endpoints.iter().filter_map(BackendEndpoint::port);
            section.is_none_or(|section| ports.into_iter().any(|port| port.to_string() == section))
        }),
    };
    match (has_port, section) {
        (None, _) => Section::NoObject,
        (Some(false), Some(section)) => Section::NoPort(section.to_owned()),
        (Some(_), _) => Section::There,
    }
}

/// The conditions of a policy.
fn conditions(tls: &Result<(RawUpstreamTls, Secrets), TlsFault>, targets: &Targets) -> Vec<Condition> {
    let accepted = match tls {
        Err(TlsFault::Authorities(error)) => {
            Condition::no("Accepted", "NoValidCACertificate", error.message.as_str())
        }
        Err(TlsFault::Names(message)) => Condition::no("Accepted", "Invalid", message.as_str()),
        Ok(_) => targets.accepted(),
    };
    let resolved = match tls {
        Err(TlsFault::Authorities(error)) => {
            Condition::no("ResolvedRefs", error.reason, error.message.as_str())
        }
        Ok(_) | Err(TlsFault::Names(_)) => {
            Condition::yes("ResolvedRefs", "ResolvedRefs", "all references lead somewhere")
        }
    };
    vec![accepted, resolved]
}

impl Targets {
    /// `Accepted` of a policy whose TLS can be had.
    fn accepted(&self) -> Condition {
        let mut notes = Vec::new();
        if !self.in_force.is_empty() {
            notes.push(format!("the policy is in force for {}", self.in_force.join(", ")));
        }
        if !self.overruled.is_empty() {
            notes.push(format!("an older policy is in force for {}", self.overruled.join(", ")));
        }
        if !self.missing.is_empty() {
            notes.push(format!("there is no {}", self.missing.join(", no ")));
        }
        match (self.in_force.is_empty(), self.overruled.is_empty(), self.missing.is_empty()) {
            (false, ..) => Condition::yes("Accepted", "Accepted", notes.join("; ")),
            (true, false, _) => Condition::no("Accepted", "Conflicted", notes.join("; ")),
            (true, true, false) => Condition::no("Accepted", "TargetNotFound", notes.join("; ")),
            (true, true, true) => {
                let message = "none of its targetRefs is a Service or a Backend of Envoy Gateway";
                Condition::no("Accepted", "TargetNotFound", message)
            }
        }
    }
}
