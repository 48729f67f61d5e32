//! What statuses shall say, and how that is merged into what they say now.

use serde_json::{Map, Value, json};

use crate::world::{Meta, Object, ObjectId, Resource};

/// The condition that names fields which were accepted and are not acted on. Its status is `True` if there are any; it
/// is left out if there are none.
pub const FIELDS_NOT_ACTED_ON: &str = "penstock.dev/FieldsNotActedOn";

/// Conditions that are ours to take back. `Programmed` is not among them: whoever publishes says it.
const OURS: &[&str] = &[
    "Accepted",
    "ResolvedRefs",
    "PartiallyInvalid",
    "Conflicted",
    OVERRIDDEN,
    "SupportedVersion",
    SHADOWED,
    CREDENTIAL_AVAILABLE,
    FIELDS_NOT_ACTED_ON,
    CLOSED,
    POLICIES_NOT_ACTED_ON,
    POLICIES_IGNORED,
    UNKNOWN_KINDS,
];

/// The condition of a class that names kinds which the cluster has and nobody here knows.
pub(crate) const UNKNOWN_KINDS: &str = "penstock.dev/UnknownKinds";

/// The condition of something whose requests are answered with 500, since what restricts them is not acted on. Its status
/// is `True`; it is left out of what is open.
pub const CLOSED: &str = "penstock.dev/Closed";

/// The condition that names policies which something is served without. They restrict nothing.
pub const POLICIES_NOT_ACTED_ON: &str = "penstock.dev/PoliciesNotActedOn";

/// The condition that names policies which nobody here enforces, since their owners say that something else does.
pub const POLICIES_IGNORED: &str = "penstock.dev/PoliciesIgnored";

/// The condition of a policy that names routes whose own policies count in its place (Envoy Gateway).
pub(crate) const OVERRIDDEN: &str = "Overridden";

/// The condition of a route that names older routes with the same conditions.
pub const SHADOWED: &str = "penstock.dev/Shadowed";

/// The condition of a BackendSecurityPolicy whose credential some data plane cannot get. Its status is `False` then;
/// otherwise it is left out. Only who asks data planes knows.
pub const CREDENTIAL_AVAILABLE: &str = "penstock.dev/CredentialAvailable";

/// The longest message of a condition that schemas let through.
const MAX_MESSAGE_BYTES: usize = 32_000;

/// What an object's status shall say.
#[derive(Debug, Clone, PartialEq)]
pub struct StatusUpdate {
    /// The object.
    pub object: ObjectId,
    /// The version it was read in, whose status endpoint is to be used.
    pub api_version: String,
    /// Which state of its `spec` this is about.
    pub generation: i64,
    /// What is to be said.
    pub status: Status,
}

/// What a status says, by the shape it has.
#[derive(Debug, Clone, PartialEq)]
pub enum Status {
    /// `status.conditions`.
    Conditions(Vec<Condition>),
    /// GatewayClass: `status.conditions` and `status.supportedFeatures`.
    Class {
        /// The conditions.
        conditions: Vec<Condition>,
        /// Names of features, sorted; empty for a class that is not accepted.
        features: Vec<&'static str>,
    },
    /// Gateway: `status.conditions` and `status.listeners`. Addresses, and `Programmed` of the Gateway and of listeners
    /// where it is not `False` already here, are the publisher's to add.
    Gateway {
        /// The Gateway's own.
        conditions: Vec<Condition>,
        /// Of each of its listeners, in its order.
        listeners: Vec<ListenerStatus>,
    },
    /// `status.parents`: our entries. Those of other controllers stay as they are, and ours that are not here go.
    Parents(Entries),
    /// `status.ancestors` of policies: as `Parents`, with `ancestorRef`.
    Ancestors(Entries),
}

/// Our entries in a list that controllers share.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Entries {
    /// The controller names whose entries are ours.
    pub controllers: Vec<String>,
    /// All that there shall be of ours.
    pub entries: Vec<ParentStatus>,
    /// Parents whose entries without a controller name are ours too: InferencePool of v1.0 has no such field.
    pub nameless: Vec<Value>,
}

/// A condition. The time of its last transition is for [`merge`] to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// Its type, such as `Accepted`.
    pub kind: &'static str,
    /// Whether it holds.
    pub status: ConditionStatus,
    /// Why, in one word.
    pub reason: &'static str,
    /// Why, in a sentence.
    pub message: String,
}

/// Whether a condition holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum ConditionStatus {
    True,
    False,
    Unknown,
}

/// The status of a listener.
#[derive(Debug, Clone, PartialEq)]
pub struct ListenerStatus {
    /// Its name.
    pub name: String,
    /// The kinds of routes that may attach: group and kind.
    pub supported_kinds: Vec<(&'static str, &'static str)>,
    /// How many routes are attached.
    pub attached_routes: u32,
    /// Its conditions.
    pub conditions: Vec<Condition>,
}

/// The status of an object towards one of its parents.
#[derive(Debug, Clone, PartialEq)]
pub struct ParentStatus {
    /// `parentRef`, as the object has it, or as the specification wants it.
    pub parent_ref: Value,
    /// Whose entry it is.
    pub controller_name: String,
    /// Its conditions.
    pub conditions: Vec<Condition>,
}

impl StatusUpdate {
    /// What an object's status shall say.
    pub fn new<T: Resource>(object: &Object<T>, status: Status) -> Self {
        let Meta { api_version, generation, .. } = &object.meta;
        Self { object: object.id(), api_version: api_version.clone(), generation: *generation, status }
    }
}

impl Entries {
    /// Whether a status has entries of ours, in the list `field` with parents in `reference`.
    pub(crate) fn touches(&self, status: &Value, field: &str, reference: &str) -> bool {
        list(status.get(field)).iter().any(|entry| self.has(entry, reference))
    }

    /// Whether an entry is ours.
    fn has(&self, entry: &Value, reference: &str) -> bool {
        let controller = text(entry, "controllerName");
        let parent = entry.get(reference);
        self.controllers.iter().any(|ours| ours == controller)
            || controller.is_empty() && self.nameless.iter().any(|it| Some(it) == parent)
    }
}

impl Condition {
    /// A condition that holds.
    pub fn yes(kind: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self { kind, status: ConditionStatus::True, reason, message: message.into() }
    }

    /// A condition that does not hold.
    pub fn no(kind: &'static str, reason: &'static str, message: impl Into<String>) -> Self {
        Self { kind, status: ConditionStatus::False, reason, message: message.into() }
    }

    /// Names fields that are not acted on; `None` if there are none.
    pub fn fields(unread: &[String]) -> Option<Self> {
        let message = format!("accepted but not acted on: {}", unread.join(", "));
        (!unread.is_empty()).then(|| Self::yes(FIELDS_NOT_ACTED_ON, "FieldsNotActedOn", message))
    }

    /// Whether it holds.
    pub fn is_true(&self) -> bool {
        self.status == ConditionStatus::True
    }
}

/// The whole status of an object: `old`, which is its status as last seen, with what `update` says. Times of transition
/// are kept where a condition's status is the same, and are `now` (RFC 3339) where it is not.
///
/// A result equal to `old` need not be written.
pub fn merge(old: &Value, update: &StatusUpdate, now: &str) -> Value {
    let merging = Merging { now, generation: update.generation };
    let mut status = old.as_object().cloned().unwrap_or_default();
    match &update.status {
        Status::Conditions(conditions) => {
            status.insert("conditions".to_owned(), merging.conditions(old.get("conditions"), conditions));
        }
        Status::Class { conditions, features } => {
            status.insert("conditions".to_owned(), merging.conditions(old.get("conditions"), conditions));
            let features: Vec<Value> = features.iter().map(|name| json!({ "name": name })).collect();
            status.insert("supportedFeatures".to_owned(), features.into());
        }
        Status::Gateway { conditions, listeners } => {
            status.insert("conditions".to_owned(), merging.conditions(old.get("conditions"), conditions));
            let listeners: Vec<Value> =
                listeners.iter().map(|listener| merging.listener(old.get("listeners"), listener)).collect();
            status.insert("listeners".to_owned(), listeners.into());
        }
        Status::Parents(parents) => {
            status.insert("parents".to_owned(), merging.parents(old.get("parents"), parents, "parentRef"));
        }
        Status::Ancestors(parents) => {
            status.insert(
                "ancestors".to_owned(),
                merging.parents(old.get("ancestors"), parents, "ancestorRef"),
            );
        }
    }
    Value::Object(status)
}

/// What is the same for all parts of a status.
struct Merging<'a> {
    now: &'a str,
    generation: i64,
}

impl Merging<'_> {
    /// Ours by type, in our order, with the rest of the old ones behind: somebody else put them there.
    fn conditions(&self, old: Option<&Value>, conditions: &[Condition]) -> Value {
        let old = list(old);
        let mut merged: Vec<Value> = conditions.iter().map(|it| self.condition(old, it)).collect();
        let is_ours = |condition: &Value| {
            let kind = text(condition, "type");
            OURS.contains(&kind) || conditions.iter().any(|ours| ours.kind == kind)
        };
        merged.extend(old.iter().filter(|condition| !is_ours(condition)).cloned());
        merged.into()
    }

    fn condition(&self, old: &[Value], condition: &Condition) -> Value {
        let Condition { kind, status, reason, message } = condition;
        let status = match status {
            ConditionStatus::True => "True",
            ConditionStatus::False => "False",
            ConditionStatus::Unknown => "Unknown",
        };
        let before = old.iter().find(|old| text(old, "type") == *kind && text(old, "status") == status);
        let since = before.map(|before| text(before, "lastTransitionTime")).filter(|since| !since.is_empty());
        json!({
            "type": kind,
            "status": status,
            "reason": reason,
            "message": crate::world::shorten(message, MAX_MESSAGE_BYTES),
            "observedGeneration": self.generation,
            "lastTransitionTime": since.unwrap_or(self.now),
        })
    }

    fn listener(&self, old: Option<&Value>, listener: &ListenerStatus) -> Value {
        let before = list(old).iter().find(|old| text(old, "name") == listener.name);
        let kinds = listener.supported_kinds.iter();
        json!({
            "name": listener.name,
            "supportedKinds":
                kinds.map(|(group, kind)| json!({ "group": group, "kind": kind })).collect::<Vec<_>>(),
            "attachedRoutes": listener.attached_routes,
            "conditions": self.conditions(before.and_then(|old| old.get("conditions")), &listener.conditions),
        })
    }

    fn parents(&self, old: Option<&Value>, parents: &Entries, reference: &str) -> Value {
        let old = list(old);
        let mut merged: Vec<Value> =
            old.iter().filter(|entry| !parents.has(entry, reference)).cloned().collect();
        for parent in &parents.entries {
            let before = old.iter().find(|entry| {
                parents.has(entry, reference) && entry.get(reference) == Some(&parent.parent_ref)
            });
            let before = list(before.and_then(|old| old.get("conditions")));
            let conditions = parent.conditions.iter().map(|it| self.condition(before, it));
            let mut entry = Map::new();
            entry.insert(reference.to_owned(), parent.parent_ref.clone());
            entry.insert("controllerName".to_owned(), parent.controller_name.as_str().into());
            entry.insert("conditions".to_owned(), conditions.collect::<Vec<_>>().into());
            merged.push(entry.into());
        }
        merged.into()
    }
}

fn list(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests;
