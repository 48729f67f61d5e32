//! Policies that attach to upstreams: TLS towards them, and credentials for them.

mod credential;
mod tls;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use penstock_config::raw::{RawCredential, RawUpstreamTls};

use super::context::{Context, RefError, Secrets};
use super::status::{Condition, Status, StatusUpdate};
use crate::api::{BackendSecurityPolicy, BackendTlsPolicy};
use crate::world::{Key, Kind, Object, ObjectId};

pub(super) use tls::{Authorities, upstream_tls};

/// All policies, by what they are for.
pub(super) struct Policies<'a> {
    credentials: BTreeMap<ObjectId, Result<(RawCredential, Secrets), RefError>>,
    tls: BTreeMap<Target, TlsPolicy<'a>>,
    tls_conditions: BTreeMap<Key, Vec<Condition>>,
    statuses: Vec<(Vec<ObjectId>, StatusUpdate)>,
}

/// What a BackendTLSPolicy is for: an object, and one of its ports by name.
type Target = (ObjectId, Option<String>);

/// What a BackendTLSPolicy makes of the upstreams that it is for.
struct TlsPolicy<'a> {
    object: &'a Object<BackendTlsPolicy>,
    tls: Result<(RawUpstreamTls, Secrets), RefError>,
}

impl<'a> Policies<'a> {
    /// Reads all policies. Of several for the same thing, the oldest wins.
    pub(super) fn read(context: &Context<'a>) -> Self {
        let mut policies = Self {
            credentials: BTreeMap::new(),
            tls: BTreeMap::new(),
            tls_conditions: BTreeMap::new(),
            statuses: Vec::new(),
        };
        for object in by_age(context.world.security_policies.iter().map(|(_, object)| &**object)) {
            policies.read_credential(context, object);
        }
        for object in by_age(context.world.backend_tls_policies.iter().map(|(_, object)| &**object)) {
            policies.read_tls(context, object);
        }
        policies
    }

    /// The credential for an upstream, if there is a policy for it.
    ///
    /// # Errors
    /// The policy has no usable credential: nothing may be sent without it.
    pub(super) fn credential(
        &self,
        kind: Kind,
        key: &Key,
    ) -> Result<Option<(RawCredential, Secrets)>, RefError> {
        let id = ObjectId { kind, key: key.clone() };
        self.credentials.get(&id).cloned().transpose()
    }

    /// TLS towards an upstream, if there is a policy for it: one for this port, or else one for the whole object.
    ///
    /// # Errors
    /// The policy has no usable authorities: nothing may be sent without them.
    pub(super) fn tls(
        &self,
        kind: Kind,
        key: &Key,
        port_name: Option<&str>,
    ) -> Result<Option<(RawUpstreamTls, Secrets)>, RefError> {
        let id = ObjectId { kind, key: key.clone() };
        let of_port = port_name.and_then(|name| self.tls.get(&(id.clone(), Some(name.to_owned()))));
        let policy = of_port.or_else(|| self.tls.get(&(id, None)));
        policy.map(|policy| policy.tls.clone()).transpose()
    }

    /// The BackendTLSPolicies for an object, whatever their fate.
    pub(super) fn tls_policies_for(&self, kind: Kind, key: &Key) -> Vec<&Key> {
        let id = ObjectId { kind, key: key.clone() };
        let for_object = self.tls.iter().filter(|((target, _), _)| *target == id);
        for_object.map(|(_, policy)| &policy.object.meta.key).collect()
    }

    /// The conditions of a BackendTLSPolicy.
    pub(super) fn tls_conditions(&self, policy: &Key) -> Option<&Vec<Condition>> {
        self.tls_conditions.get(policy)
    }

    /// What the statuses of BackendSecurityPolicies shall say that are for something in use.
    pub(super) fn into_statuses(self, used: &BTreeSet<ObjectId>) -> Vec<StatusUpdate> {
        let in_use = |(targets, _): &(Vec<ObjectId>, _)| targets.iter().any(|target| used.contains(target));
        self.statuses.into_iter().filter(in_use).map(|(_, status)| status).collect()
    }

    fn read_credential(&mut self, context: &Context<'_>, object: &'a Object<BackendSecurityPolicy>) {
        let mut conditions = Vec::new();
        let mut all_targets = Vec::new();
        match &object.spec {
            Err(error) => conditions.push(Condition::no("Accepted", "Invalid", error.as_str())),
            Ok(spec) => {
                let credential = credential::read(context, &object.meta.key, spec);
                let (targets, refused) = credential::targets(&object.meta.key, spec);
                let mut overruled = Vec::new();
                all_targets.clone_from(&targets);
                for target in targets {
                    match self.credentials.entry(target) {
                        Entry::Vacant(free) => drop(free.insert(credential.clone())),
                        Entry::Occupied(taken) => overruled.push(taken.key().to_string()),
                    }
                }
                conditions.push(match (&credential, refused, overruled.as_slice()) {
                    (Err(error), ..) => Condition::no("Accepted", error.reason, error.message.as_str()),
                    (Ok(_), Some(message), _) => Condition::no("Accepted", "TargetNotSupported", message),
                    (Ok(_), None, []) => Condition::yes("Accepted", "Accepted", "the credential is used"),
                    (Ok(_), None, targets) => {
                        let message = format!("an older policy is for {} already", targets.join(", "));
                        Condition::no("Accepted", "Conflicted", message)
                    }
                });
            }
        }
        conditions.extend(Condition::fields(&object.unread));
        self.statuses.push((all_targets, StatusUpdate::new(object, Status::Conditions(conditions))));
    }

    fn read_tls(&mut self, context: &Context<'_>, object: &'a Object<BackendTlsPolicy>) {
        let key = &object.meta.key;
        let mut conditions = Vec::new();
        match &object.spec {
            Err(error) => conditions.push(Condition::no("Accepted", "Invalid", error.as_str())),
            Ok(spec) => {
                let validation = &spec.validation;
                let authorities = Authorities {
                    references: &validation.ca_certificate_refs,
                    well_known: validation.well_known_ca_certificates.as_deref(),
                };
                let tls = tls::from_policy(context, &key.namespace, &authorities, &validation.hostname);
                let mut overruled = Vec::new();
                for reference in &spec.target_refs {
                    let (group, kind) = (reference.group.as_deref(), reference.kind.as_deref());
                    let kind = Kind::in_group(group.unwrap_or_default(), kind.unwrap_or_default());
                    let Some(kind @ (Kind::Service | Kind::Backend)) = kind else { continue };
                    let id = ObjectId { kind, key: Key::new(key.namespace.as_str(), &reference.name) };
                    match self.tls.entry((id, reference.section_name.clone())) {
                        Entry::Vacant(free) => drop(free.insert(TlsPolicy { object, tls: tls.clone() })),
                        Entry::Occupied(taken) => overruled.push(taken.key().0.to_string()),
                    }
                }
                conditions.extend(tls::conditions(&tls, &overruled));
            }
        }
        conditions.extend(Condition::fields(&object.unread));
        self.tls_conditions.insert(key.clone(), conditions);
    }
}

/// Oldest first; of equal age, by name.
pub(super) fn by_age<'a, T>(objects: impl Iterator<Item = &'a Object<T>>) -> Vec<&'a Object<T>> {
    let mut objects: Vec<_> = objects.collect();
    objects.sort_by_key(|object| (&object.meta.created, &object.meta.key));
    objects
}
