//! InferencePools: their picker, objectives and rewrites, and their statuses.

mod objectives;
mod rewrites;

use std::collections::{BTreeMap, BTreeSet};

use penstock_config::raw::{RawModelRewrite, RawObjective, RawPool};
use penstock_config::{Encoding, Engine, UpstreamProtocol};
use serde_json::{Value, json};

use crate::api::{InferencePool, PoolRef};
use crate::context::{Context, RefError};
use crate::epp::{self, Outcome, PickerConfig};
use crate::output::{EndpointSource, Severity};
use crate::policies::Policies;
use crate::service;
use crate::status::{Condition, Entries, ParentStatus, Status, StatusUpdate};
use crate::upstream::{RawUpstream, Upstream};
use crate::world::{Key, Kind};

/// All pools.
pub(crate) struct Pools<'a> {
    parts: BTreeMap<&'a Key, PoolParts>,
    statuses: Vec<StatusUpdate>,
}

/// What is known of a pool beside its own object.
struct PoolParts {
    picker: PickerConfig,
    /// Why it cannot be served.
    refused: Option<String>,
    objectives: Vec<RawObjective>,
    rewrites: Vec<RawModelRewrite>,
    /// Faults that the document's check found, such as an objective with a name that no header has.
    faults: Vec<String>,
}

/// The Gateways that lead to pools, with the controller names of their classes.
pub(crate) type PoolUsers = BTreeMap<Key, BTreeSet<(Key, String)>>;

impl<'a> Pools<'a> {
    /// Reads all pools.
    pub(crate) fn read(context: &Context<'a>) -> Self {
        let mut statuses = Vec::new();
        let mut objectives = objectives::read(context, &mut statuses);
        let mut rewrites = rewrites::read(context, &mut statuses);
        let mut parts = BTreeMap::new();
        for (key, object) in context.world.pools.iter() {
            let (picker, refused) = match &object.spec {
                Ok(pool) => (epp::find(context, &object.meta, pool), refusal(pool)),
                Err(error) => {
                    let message = "the pool cannot be read".to_owned();
                    (PickerConfig { document: None, outcome: Outcome::Default, message }, Some(error.clone()))
                }
            };
            let objectives = objectives.remove(key).unwrap_or_default();
            let rewrites = rewrites.remove(key).unwrap_or_default();
            parts.insert(key, PoolParts { picker, refused, objectives, rewrites, faults: Vec::new() });
        }
        Self { parts, statuses }
    }

    /// A pool.
    ///
    /// # Errors
    /// It does not exist or cannot be served.
    pub(crate) fn upstream(
        &self,
        context: &Context<'_>,
        policies: &Policies<'_>,
        key: &Key,
        name: String,
    ) -> Result<Upstream, RefError> {
        let missing = || RefError::new("BackendNotFound", format!("the InferencePool {key} does not exist"));
        let parts = self.parts.get(key).ok_or_else(missing)?;
        let object = context.world.pools.get(key).ok_or_else(missing)?;
        if let Some(message) = &parts.refused {
            return Err(RefError::new("InvalidBackend", format!("InferencePool {key}: {message}")));
        }
        let app_protocol = object.spec.as_ref().ok().and_then(|pool| pool.app_protocol.as_deref());
        let mut raw = raw_pool(name.clone());
        raw.protocol = service::protocol(app_protocol, false);
        raw.picker.clone_from(&parts.picker.document);
        raw.objectives.clone_from(&parts.objectives);
        raw.model_rewrites.clone_from(&parts.rewrites);
        let (mut secrets, mut grant) = Default::default();
        if let Some(granted) = policies.credential(Kind::InferencePool, key)? {
            raw.credential = Some(granted.raw);
            secrets = granted.secrets;
            grant = Some(granted.grant);
        }
        Ok(Upstream {
            name,
            raw: RawUpstream::Pool(Box::new(raw)),
            source: Some(EndpointSource::Pool(key.clone())),
            secrets,
            headers: Default::default(),
            body: Default::default(),
            grant,
        })
    }

    /// Notes that the document's check found a fault in a pool.
    pub(crate) fn fault(&mut self, key: &Key, message: String) {
        if let Some(parts) = self.parts.get_mut(key)
            && !parts.faults.contains(&message)
        {
            parts.faults.push(message);
        }
    }

    /// What the statuses of pools, objectives and rewrites shall say. `gateways` are all Gateways of ours.
    pub(crate) fn into_statuses(
        self,
        context: &Context<'_>,
        users: &PoolUsers,
        gateways: &BTreeSet<Key>,
        controllers: &[String],
    ) -> Vec<StatusUpdate> {
        let mut statuses = self.statuses;
        for (key, parts) in self.parts {
            let Some(object) = context.world.pools.get(key) else { continue };
            let used = users.get(key).into_iter().flatten();
            let mut entries: Vec<ParentStatus> = Vec::new();
            for (gateway, controller) in used {
                let mut conditions = conditions(&parts);
                conditions.extend(Condition::fields(&object.unread));
                let parent_ref = parent_ref(gateway);
                entries.push(ParentStatus { parent_ref, controller_name: controller.clone(), conditions });
            }
            if !entries.is_empty() {
                let (severity, reason) = match parts.picker.outcome {
                    Outcome::Loaded => (Severity::Normal, "EndpointPickerConfigFound"),
                    Outcome::Default => (Severity::Normal, "DefaultEndpointPickerConfig"),
                    Outcome::Missing => (Severity::Warning, "EndpointPickerConfigMissing"),
                    Outcome::Faulty => (Severity::Warning, "EndpointPickerConfigFaulty"),
                };
                context.event(object.id(), severity, reason, parts.picker.message.as_str());
            }
            let nameless = gateways.iter().map(parent_ref).collect();
            let entries = Entries { controllers: controllers.to_vec(), entries, nameless };
            if !entries.entries.is_empty() || entries.touches(&object.status, "parents", "parentRef") {
                statuses.push(StatusUpdate::new(object, Status::Parents(entries)));
            }
        }
        statuses
    }
}

/// Why a pool cannot be served.
fn refusal(pool: &InferencePool) -> Option<String> {
    const MAX_PORTS: usize = 8;
    if pool.selector.match_labels.is_empty() {
        return Some("its selector is empty".to_owned());
    }
    if pool.target_ports.is_empty() || pool.target_ports.len() > MAX_PORTS {
        return Some(format!("it needs 1 to {MAX_PORTS} targetPorts"));
    }
    if pool.target_ports.iter().any(|port| port.number == 0) {
        return Some("0 is no port".to_owned());
    }
    let protocol = pool.app_protocol.as_deref().unwrap_or("http");
    (!matches!(protocol, "http" | "kubernetes.io/h2c"))
        .then(|| format!("appProtocol {:?} is not served", crate::world::shorten(protocol, 80)))
}

fn conditions(parts: &PoolParts) -> Vec<Condition> {
    let accepted = match &parts.refused {
        Some(message) => Condition::no("Accepted", "NotSupportedByParent", message.as_str()),
        None if parts.faults.is_empty() => {
            let message = format!("the Gateway serves this pool; {}", parts.picker.message);
            Condition::yes("Accepted", "Accepted", message)
        }
        None => {
            let message = format!("the Gateway serves this pool, without: {}", parts.faults.join("; "));
            Condition::yes("Accepted", "Accepted", message)
        }
    };
    let resolved = match parts.picker.outcome {
        Outcome::Loaded | Outcome::Default => {
            Condition::yes("ResolvedRefs", "ResolvedRefs", parts.picker.message.as_str())
        }
        Outcome::Missing | Outcome::Faulty => {
            Condition::no("ResolvedRefs", "InvalidExtensionRef", parts.picker.message.as_str())
        }
    };
    vec![accepted, resolved]
}

/// How a pool's status names a Gateway.
fn parent_ref(gateway: &Key) -> Value {
    json!({
        "group": Kind::Gateway.group(),
        "kind": Kind::Gateway.name(),
        "namespace": gateway.namespace,
        "name": gateway.name,
    })
}

/// Whether a reference to a pool can be one.
fn is_pool(reference: &PoolRef) -> bool {
    let group = reference.group.as_deref().unwrap_or(Kind::InferencePool.group());
    let kind = reference.kind.as_deref().unwrap_or(Kind::InferencePool.name());
    Kind::in_group(group, kind) == Some(Kind::InferencePool)
}

/// A pool of which only the name is said.
pub(crate) fn raw_pool(name: String) -> RawPool {
    RawPool {
        name,
        endpoints: Vec::new(),
        endpoints_from: Vec::new(),
        engine: Engine::default(),
        protocol: UpstreamProtocol::default(),
        tls: None,
        api: None,
        credential: None,
        request_encoding: Encoding::Identity,
        response_encoding: Encoding::Identity,
        connection: Default::default(),
        metrics: Default::default(),
        picker: None,
        saturation: Default::default(),
        ejection: Default::default(),
        objectives: Vec::new(),
        model_rewrites: Vec::new(),
        policies: Vec::new(),
    }
}
