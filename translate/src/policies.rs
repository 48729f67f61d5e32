//! Policies that attach to upstreams: TLS towards them, and credentials for them.

mod credential;
mod tls;
mod tls_policies;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use crate::api::BackendSecurityPolicy;
use crate::context::{Context, RefError, by_age};
use crate::status::{Condition, Status, StatusUpdate};
use crate::world::{Key, Kind, Object, ObjectId};

pub(crate) use credential::{GooglePlace, Granted};
pub(crate) use tls::upstream_tls;
pub(crate) use tls_policies::TlsPolicies;

/// All policies, by what they are for.
pub(crate) struct Policies<'a> {
    credentials: BTreeMap<ObjectId, Result<Granted, RefError>>,
    /// Namespaces with a BackendSecurityPolicy that cannot be read: nobody knows what it is for.
    unreadable: BTreeMap<String, RefError>,
    tls: TlsPolicies<'a>,
    statuses: Vec<(Vec<ObjectId>, StatusUpdate)>,
}

impl<'a> Policies<'a> {
    /// Reads all policies. Of several for the same thing, the oldest wins.
    pub(crate) fn read(context: &Context<'a>) -> Self {
        let mut policies = Self {
            credentials: BTreeMap::new(),
            unreadable: BTreeMap::new(),
            tls: TlsPolicies::read(context),
            statuses: Vec::new(),
        };
        for object in by_age(context.world.security_policies.iter().map(|(_, object)| &**object)) {
            policies.read_credential(context, object);
        }
        policies
    }

    /// The credential for an upstream, if there is a policy for it.
    ///
    /// # Errors
    /// The policy has no usable credential: nothing may be sent without it.
    pub(crate) fn credential(&self, kind: Kind, key: &Key) -> Result<Option<Granted>, RefError> {
        if let Some(error) = self.unreadable.get(&key.namespace) {
            return Err(error.clone());
        }
        let id = ObjectId { kind, key: key.clone() };
        self.credentials.get(&id).cloned().transpose()
    }

    /// The BackendTLSPolicies.
    pub(crate) fn tls(&self) -> &TlsPolicies<'a> {
        &self.tls
    }

    /// What the statuses of BackendSecurityPolicies shall say that are for something in use. `faults` are what documents
    /// refused of the credentials of targets.
    pub(crate) fn into_statuses(
        self,
        used: &BTreeSet<ObjectId>,
        faults: &BTreeMap<ObjectId, String>,
    ) -> Vec<StatusUpdate> {
        let mut statuses = Vec::new();
        for (targets, mut update) in self.statuses {
            if !targets.iter().any(|target| used.contains(target)) {
                continue;
            }
            if let Status::Conditions(conditions) = &mut update.status
                && let Some(accepted) = conditions.first_mut().filter(|accepted| accepted.is_true())
                && let Some((target, fault)) = targets.iter().find_map(|target| faults.get_key_value(target))
            {
                *accepted = Condition::no("Accepted", "Invalid", format!("{target}: {fault}"));
            }
            statuses.push(update);
        }
        statuses
    }

    fn read_credential(&mut self, context: &Context<'_>, object: &Object<BackendSecurityPolicy>) {
        let mut conditions = Vec::new();
        let mut all_targets = Vec::new();
        match &object.spec {
            Err(error) => {
                let message =
                    format!("the BackendSecurityPolicy {} cannot be read: {error}", object.meta.key);
                let namespace = object.meta.key.namespace.clone();
                self.unreadable.entry(namespace).or_insert_with(|| RefError::new("Invalid", message));
                conditions.push(Condition::no("Accepted", "Invalid", error.as_str()));
            }
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
}
