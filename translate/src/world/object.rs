//! One object: what is read of its metadata, and its decoded body.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize as _;
use serde_json::{Map, Value};

use super::fates::{self, Found};
use super::text::shorten;
use super::{Key, Kind, ObjectId};
use crate::api::{Body, ParentRef, Part};

/// The most unread fields that are told of one object. A status message has room for some dozens.
const MAX_UNREAD: usize = 40;

/// The most bytes of an unread field's path.
const MAX_UNREAD_BYTES: usize = 160;

/// The annotation of a policy that nobody here acts on by which its owner says that something else enforces it.
pub const IGNORE_ANNOTATION: &str = "penstock.dev/ignore";

/// The type of a kind's objects.
pub trait Resource: Body {
    /// The kind.
    const KIND: Kind;
}

/// An object.
#[derive(Debug, Clone)]
pub struct Object<T> {
    /// Its metadata.
    pub meta: Meta,
    /// Its body, or why it cannot be read.
    pub spec: Result<T, String>,
    /// What a route whose body cannot be read wants to attach to, for its status to say so; empty otherwise.
    pub parents: Vec<ParentRef>,
    /// The fields that it has and nobody here reads, such as `spec.infrastructure.labels`. Never empty paths.
    pub unread: Vec<String>,
    /// Those fields of it that nobody here acts on and that restrict who may ask or how much, such as `spec.jwt`.
    pub closing: Vec<String>,
    /// Its status as last seen; null for kinds that are not configuration.
    pub status: Value,
}

/// What is read of an object's metadata.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Meta {
    /// Its name.
    pub key: Key,
    /// Its `apiVersion` as it was read.
    pub api_version: String,
    /// Its identity over time; empty offline.
    pub uid: String,
    /// Which state of its `spec` this is.
    pub generation: i64,
    /// When it was created, in RFC 3339, which sorts as text; empty offline.
    pub created: String,
    /// Whether it is being deleted.
    pub is_deleting: bool,
    /// The kinds of the objects that own it.
    pub owner_kinds: Vec<String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its annotations; none for kinds that are not configuration.
    pub annotations: BTreeMap<String, String>,
}

/// Why something is not an object that can be taken in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ObjectError {
    /// No JSON object, or one without `apiVersion` or `kind`.
    #[error("not a Kubernetes object: it needs apiVersion, kind and metadata.name")]
    Shape,
    /// A kind that is not read.
    #[error("{kind} of {api_version} is not a kind that is read")]
    Kind {
        /// Its `apiVersion`.
        api_version: String,
        /// Its `kind`.
        kind: String,
    },
}

impl Default for Key {
    fn default() -> Self {
        Self::cluster("")
    }
}

impl<T: Resource> Object<T> {
    /// Decodes an object.
    pub(super) fn read(kind: Kind, value: Value) -> Result<Self, ObjectError> {
        let Value::Object(mut fields) = value else { return Err(ObjectError::Shape) };
        let meta = Meta::read(kind, &fields)?;
        let status = match kind.is_configuration() {
            true => fields.shift_remove("status").unwrap_or_default(),
            false => Value::Null,
        };
        let mut unread = BTreeSet::new();
        let mut body = match T::PART {
            Part::Spec => fields.shift_remove("spec").unwrap_or_else(|| Value::Object(Map::new())),
            Part::Whole => Value::Object(fields),
        };
        drop_nulls(&mut body);
        drop_given(kind, &mut body);
        let found = fates::find(kind, &body, &T::ignored(&body));
        let spec = serde_ignored::deserialize(&body, |path| {
            if kind.is_configuration() && !kind.is_unsupported() && unread.len() <= MAX_UNREAD {
                unread.insert(readable(&path.to_string()));
            }
        });
        let spec = spec.map_err(|error: serde_json::Error| shorten(&error.to_string(), 500));
        let Found { named, closing } = found;
        let mut unread = if kind.is_unsupported() { named } else { refine(unread, &named, &closing) };
        if unread.len() > MAX_UNREAD {
            unread.truncate(MAX_UNREAD);
            unread.push("and more".to_owned());
        }
        let parents = match &spec {
            Ok(_) => Vec::new(),
            Err(_) => body.get("parentRefs").map(salvage).unwrap_or_default(),
        };
        Ok(Self { meta, spec, parents, unread, closing, status })
    }
}

impl<T> Object<T> {
    /// Its name among all objects.
    pub fn id(&self) -> ObjectId
    where
        T: Resource,
    {
        ObjectId { kind: T::KIND, key: self.meta.key.clone() }
    }

    /// Whether a translation would read the same from `other`.
    pub(super) fn reads_like(&self, other: &Self) -> bool
    where
        T: PartialEq,
    {
        self.meta == other.meta
            && self.spec == other.spec
            && self.unread == other.unread
            && self.closing == other.closing
    }
}

impl Meta {
    fn read(kind: Kind, fields: &Map<String, Value>) -> Result<Self, ObjectError> {
        let metadata = fields.get("metadata").and_then(Value::as_object).ok_or(ObjectError::Shape)?;
        let text = |name: &str| metadata.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let texts = |name: &str| -> BTreeMap<String, String> {
            let entries = metadata.get(name).and_then(Value::as_object).into_iter().flatten();
            entries.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
        };
        let name = text("name");
        if name.is_empty() {
            return Err(ObjectError::Shape);
        }
        let namespace = match (kind.is_namespaced(), text("namespace")) {
            (false, _) => String::new(),
            (true, namespace) if namespace.is_empty() => "default".to_owned(),
            (true, namespace) => namespace,
        };
        let mut annotations = if kind.is_configuration() { texts("annotations") } else { BTreeMap::new() };
        annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
        let mut labels = texts("labels");
        if kind.is_unsupported() {
            annotations.retain(|name, _| name == IGNORE_ANNOTATION);
            labels.clear();
        }
        Ok(Self {
            key: Key { namespace, name },
            api_version: fields.get("apiVersion").and_then(Value::as_str).unwrap_or_default().to_owned(),
            uid: text("uid"),
            generation: metadata.get("generation").and_then(Value::as_i64).unwrap_or_default(),
            created: text("creationTimestamp"),
            is_deleting: metadata.get("deletionTimestamp").is_some_and(Value::is_string),
            owner_kinds: owner_kinds(kind, metadata),
            labels,
            annotations,
        })
    }
}

fn owner_kinds(kind: Kind, metadata: &Map<String, Value>) -> Vec<String> {
    let owners = metadata.get("ownerReferences").and_then(Value::as_array).into_iter().flatten();
    let kinds = owners.filter_map(|owner| Some(owner.get("kind")?.as_str()?.to_owned()));
    if kind.is_configuration() { kinds.collect() } else { Vec::new() }
}

/// Unread fields. One that has others in it of which some close something stands for none of them: the others are told by
/// themselves, and what they close tells of those.
fn refine(unread: BTreeSet<String>, named: &[String], closing: &[String]) -> Vec<String> {
    let is_in =
        |path: &str, field: &str| path.strip_prefix(field).is_some_and(|rest| rest.starts_with(['.', '[']));
    let mut refined = Vec::with_capacity(unread.len());
    for field in unread {
        if closing.iter().any(|path| is_in(path, &field)) {
            refined.extend(named.iter().filter(|path| is_in(path, &field)).cloned());
        } else {
            refined.push(field);
        }
    }
    refined
}

/// The kind of an object.
pub(super) fn kind_of(object: &Value) -> Result<Kind, ObjectError> {
    let text = |name: &str| object.get(name).and_then(Value::as_str);
    let (Some(api_version), Some(kind)) = (text("apiVersion"), text("kind")) else {
        return Err(ObjectError::Shape);
    };
    Kind::of(api_version, kind).ok_or_else(|| ObjectError::Kind {
        api_version: shorten(api_version, MAX_UNREAD_BYTES),
        kind: shorten(kind, MAX_UNREAD_BYTES),
    })
}

/// Those of a list that can be read.
fn salvage(list: &Value) -> Vec<ParentRef> {
    let items = list.as_array().into_iter().flatten();
    items.filter_map(|item| ParentRef::deserialize(item).ok()).collect()
}

/// Takes out members that are null: to Kubernetes they are absent, and Go writes empty lists so.
fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

/// Takes out what the original definitions fill in and nobody wrote, so that no status complains of it.
fn drop_given(kind: Kind, spec: &mut Value) {
    let mut drop = |place: &str, field: &str, given: Value| {
        if let Some(Value::Object(fields)) = spec.pointer_mut(place)
            && fields.get(field) == Some(&given)
        {
            fields.shift_remove(field);
        }
    };
    match kind {
        Kind::EnvoyProxy => drop("", "logging", serde_json::json!({ "level": { "default": "warn" } })),
        Kind::BackendSecurityPolicy => {
            for place in [
                "/awsCredentials/oidcExchangeToken/oidc",
                "/azureCredentials/oidcExchangeToken/oidc",
                "/gcpCredentials/workloadIdentityFederationConfig/oidcExchangeToken/oidc",
            ] {
                drop(place, "refreshToken", Value::Bool(true));
            }
        }
        _ => {}
    }
}

/// A path as people write it: `rules.0.filters.1.cors` becomes `spec.rules[].filters[].cors`, so that one mistake that is
/// made in every rule is told once.
fn readable(path: &str) -> String {
    let mut text = "spec".to_owned();
    for step in path.split('.').filter(|step| *step != "?") {
        if step.bytes().all(|byte| byte.is_ascii_digit()) {
            text.push_str("[]");
        } else {
            text.push('.');
            text.push_str(step);
        }
    }
    shorten(&text, MAX_UNREAD_BYTES)
}
