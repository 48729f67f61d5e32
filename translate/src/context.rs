//! What all parts of a translation have at hand.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use crate::api::{SecretRef, SecretValue};
use crate::names;
use crate::options::Options;
use crate::output::{DataSource, Event, Made, Severity};
use crate::world::{Key, Kind, Object, ObjectId, World};

/// What all parts of a translation have at hand.
pub(crate) struct Context<'a> {
    /// The objects.
    pub(crate) world: &'a World,
    /// What else a translation depends on.
    pub(crate) options: &'a Options,
    wanted: RefCell<BTreeSet<ObjectId>>,
    events: RefCell<BTreeSet<Event>>,
}

/// An object that refers to others.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Referrer<'a> {
    /// Its group.
    pub(crate) group: &'a str,
    /// Its kind.
    pub(crate) kind: &'a str,
    /// Its namespace.
    pub(crate) namespace: &'a str,
}

/// Why a reference leads nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RefError {
    /// In one word, for a condition.
    pub(crate) reason: &'static str,
    /// In a sentence.
    pub(crate) message: String,
}

/// Values for the data plane's Secret, by the key that they have there.
pub(crate) type Secrets = BTreeMap<String, DataSource>;

impl<'a> Context<'a> {
    pub(crate) fn new(world: &'a World, options: &'a Options) -> Self {
        Self { world, options, wanted: RefCell::default(), events: RefCell::default() }
    }

    /// Notes something that a person should know.
    pub(crate) fn event(
        &self,
        object: ObjectId,
        severity: Severity,
        reason: &'static str,
        message: impl Into<String>,
    ) {
        self.events.borrow_mut().insert(Event { object, severity, reason, message: message.into() });
    }

    /// The events and the Secrets and ConfigMaps that were asked for.
    pub(crate) fn into_notes(self) -> (Vec<Event>, BTreeSet<ObjectId>) {
        (self.events.into_inner().into_iter().collect(), self.wanted.into_inner())
    }

    /// A ConfigMap's texts; `None` if it is not there.
    pub(crate) fn config_map(&self, key: &Key) -> Option<&'a BTreeMap<String, String>> {
        self.want(Kind::ConfigMap, key);
        let object = self.world.config_maps.get(key)?;
        object.spec.as_ref().ok().map(|map| &map.data)
    }

    /// A Secret's values; `None` if it is not there.
    pub(crate) fn secret(&self, key: &Key) -> Option<&'a BTreeMap<String, SecretValue>> {
        self.want(Kind::Secret, key);
        let object = self.world.secrets.get(key)?;
        object.spec.as_ref().ok().map(|secret| &secret.data)
    }

    /// The Secret that a reference names, and its values.
    ///
    /// # Errors
    /// It names something else, is not allowed, or is not there. `invalid` is the reason of all but the second.
    pub(crate) fn referred_secret(
        &self,
        from: Referrer<'_>,
        reference: &SecretRef,
        invalid: &'static str,
    ) -> Result<(Key, &'a BTreeMap<String, SecretValue>), RefError> {
        let (group, kind) =
            (reference.group.as_deref().unwrap_or(""), reference.kind.as_deref().unwrap_or("Secret"));
        if (group, kind) != ("", "Secret") {
            return Err(RefError::new(invalid, format!("{kind} of group {group:?} is not a Secret")));
        }
        let key = Key::new(reference.namespace.as_deref().unwrap_or(from.namespace), &reference.name);
        self.allowed(from, Kind::Secret, &key)?;
        match self.secret(&key) {
            Some(values) => Ok((key, values)),
            None => Err(RefError::new(invalid, format!("the Secret {key} does not exist"))),
        }
    }

    /// Whether an object may be referred to: it is in the referrer's namespace, or a ReferenceGrant of its own says so.
    ///
    /// # Errors
    /// `RefNotPermitted`. Nothing is said about whether the object exists.
    pub(crate) fn allowed(&self, from: Referrer<'_>, kind: Kind, key: &Key) -> Result<(), RefError> {
        if key.namespace == from.namespace {
            return Ok(());
        }
        let grants = self.world.reference_grants.in_namespace(&key.namespace);
        let is_granted = grants.filter_map(|(_, grant)| grant.spec.as_ref().ok()).any(|grant| {
            let from_fits = grant
                .from
                .iter()
                .any(|it| it.group == from.group && it.kind == from.kind && it.namespace == from.namespace);
            let to_fits = grant.to.iter().any(|it| {
                it.group == kind.group()
                    && it.kind == kind.name()
                    && it.name.as_ref().is_none_or(|name| name.is_empty() || *name == key.name)
            });
            from_fits && to_fits
        });
        if is_granted {
            return Ok(());
        }
        let Referrer { kind: from_kind, namespace, .. } = from;
        Err(RefError::new(
            "RefNotPermitted",
            format!(
                "no ReferenceGrant in namespace {} lets {from_kind} of namespace {namespace} refer to {} {}",
                key.namespace,
                kind.name(),
                key.name,
            ),
        ))
    }

    fn want(&self, kind: Kind, key: &Key) {
        self.wanted.borrow_mut().insert(ObjectId { kind, key: key.clone() });
    }
}

impl<'a> Referrer<'a> {
    /// An object of a kind.
    pub(crate) fn of(kind: Kind, namespace: &'a str) -> Self {
        Self { group: kind.group(), kind: kind.name(), namespace }
    }
}

impl RefError {
    pub(crate) fn new(reason: &'static str, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

/// How a document names a value of a Secret or ConfigMap, which is noted in `secrets`.
pub(crate) fn data_file(secrets: &mut Secrets, what: &str, kind: Kind, object: &Key, key: &str) -> String {
    // A Secret and a ConfigMap may have the same name.
    let what_of = if kind == Kind::Secret {
        what.to_owned()
    } else {
        format!("{what}-{}", kind.name().to_ascii_lowercase())
    };
    let name = names::in_secret(&what_of, object, key);
    let source = DataSource::Object { object: ObjectId { kind, key: object.clone() }, key: key.to_owned() };
    secrets.insert(name.clone(), source);
    format!("secret:{name}")
}

/// How a document names a part of what was made for an object, which is noted in `secrets`.
pub(crate) fn made_file(secrets: &mut Secrets, what: &str, object: &Key, part: &str, made: Made) -> String {
    let name = names::in_secret(what, object, part);
    secrets.insert(name.clone(), DataSource::Made(made));
    format!("secret:{name}")
}

/// The bytes of what was made for the data plane's Secret, and of what it is called there.
pub(crate) fn made_bytes<'s>(secrets: impl IntoIterator<Item = (&'s String, &'s DataSource)>) -> usize {
    let bytes = |(name, source): (&String, &DataSource)| match source {
        DataSource::Made(made) => name.len() + made.bytes(),
        DataSource::Object { .. } => 0,
    };
    secrets.into_iter().map(bytes).sum()
}

/// Oldest first; of equal age, by name.
pub(crate) fn by_age<'a, T>(objects: impl Iterator<Item = &'a Object<T>>) -> Vec<&'a Object<T>> {
    let mut objects: Vec<_> = objects.collect();
    objects.sort_by_key(|object| (&object.meta.created, &object.meta.key));
    objects
}
