//! What only the leader does. It ends when this is dropped.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use kube::{
    Api, Client,
    api::{DynamicObject, Patch, PatchParams},
    discovery::ApiResource,
};
use penstock_translate::{
    CREDENTIAL_AVAILABLE, Condition, Options, Status, Translation,
    world::{Key, Kind, ObjectId, World},
};
use serde_json::json;
use tokio::{sync::Notify, time::Instant};
use tracing::{info, warn};

use super::{Parts, render::Rendering};
use crate::{
    addresses::Addresses,
    announce::Announcer,
    manifest::{FIELD_MANAGER, MANAGED_BY, Names, OwnedKey},
    publish::{Progress, Workers},
    replicas::Replicas,
    status::{Desired, GatewayFacts, StatusWriter, complete, leftovers},
};

/// How long a GatewayClass that could not be created is left alone.
const CLASS_AGAIN: Duration = Duration::from_secs(10);

/// Everything that writes.
pub(super) struct Leading {
    workers: Workers,
    statuses: StatusWriter,
    replicas: Replicas,
    addresses: Addresses,
    announcer: Announcer,
    class_tried: Option<Instant>,
}

impl Leading {
    /// Starts with nothing written. `status_due` is notified when statuses may have to change.
    pub(super) fn start(parts: &Parts, status_due: Arc<Notify>) -> Self {
        let Parts { client, cluster, owned, health, identity, .. } = parts;
        Self {
            workers: Workers::new(
                client.clone(),
                Arc::clone(owned),
                Arc::clone(health),
                Arc::clone(&status_due),
            ),
            statuses: StatusWriter::start(client.clone(), Arc::clone(cluster), Arc::clone(health)),
            replicas: Replicas::start(Arc::clone(cluster), Arc::clone(&status_due)),
            addresses: Addresses::start(client.clone(), status_due),
            announcer: Announcer::start(client.clone(), identity),
            class_tried: None,
        }
    }

    /// Hands everything on that is new.
    pub(super) async fn publish(&mut self, parts: &Parts, rendering: &mut Rendering) {
        self.create_class(parts, &rendering.world);
        let Some(translation) = rendering.translation.clone() else { return };
        if rendering.is_incomplete {
            return;
        }
        let gateways = rendering.gateways();
        self.workers.retain(&gateways);
        for plan in rendering.plans.drain(..) {
            self.workers.publish(plan);
        }
        if std::mem::take(&mut rendering.has_new_statuses) {
            self.workers.remove(abandoned(parts, &rendering.world, &translation));
            self.announcer.announce(&rendering.world, &translation.events);
        }
        let generations =
            rendering.pieces.iter().map(|(gateway, pieces)| (gateway.clone(), pieces.generation()));
        self.replicas.want(generations.collect());
        let facts = self.facts(rendering, &translation).await;
        let metrics = &parts.health.metrics;
        metrics.gateways.set(i64::try_from(facts.len()).unwrap_or(i64::MAX));
        let programmed = facts.values().filter(|facts| facts.is_programmed()).count();
        metrics.gateways_programmed.set(i64::try_from(programmed).unwrap_or(i64::MAX));
        self.statuses.set(desired(&rendering.world, &parts.options, &translation, &facts));
    }

    async fn facts(
        &mut self,
        rendering: &Rendering,
        translation: &Translation,
    ) -> BTreeMap<Key, GatewayFacts> {
        let progress = self.workers.progress();
        let mut all = BTreeMap::new();
        for (gateway, output) in &translation.gateways {
            let running = self.replicas.running(gateway);
            let failure = match progress.get(gateway) {
                Some(Progress::Failed { message }) => Some(message.clone()),
                Some(Progress::Published { .. }) | None => None,
            };
            let facts = GatewayFacts {
                generation: rendering.pieces.get(gateway).map(crate::publish::Pieces::generation),
                programmed: running.programmed,
                replicas: running.replicas,
                failure: rendering.failures.get(gateway).cloned().or(failure),
                unresolved: output.provisioning.unresolved.clone(),
                addresses: self.addresses.of(gateway).await,
                without_credential: running.without_credential,
            };
            all.insert(gateway.clone(), facts);
        }
        all
    }

    /// Creates the GatewayClass that the chart promises. Not the chart itself: Helm cannot apply an object of a kind that
    /// the same release brings.
    fn create_class(&mut self, parts: &Parts, world: &World) {
        let Some(name) = &parts.gateway_class else { return };
        let is_there = world.gateway_classes.get(&Key::cluster(name.as_str())).is_some();
        let is_early = self.class_tried.is_some_and(|tried| tried.elapsed() < CLASS_AGAIN);
        if is_there || is_early {
            return;
        }
        self.class_tried = Some(Instant::now());
        let (client, name, controller) =
            (parts.client.clone(), name.clone(), parts.options.controller_name.clone());
        tokio::spawn(async move {
            match apply_class(client, &name, &controller).await {
                Ok(()) => info!(name, "GatewayClass created"),
                // Its CRD is not installed yet.
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(error) => warn!(name, %error, "the GatewayClass could not be created"),
            }
        });
    }
}

async fn apply_class(client: Client, name: &str, controller: &str) -> Result<(), kube::Error> {
    let resource = ApiResource {
        group: Kind::GatewayClass.group().to_owned(),
        version: "v1".to_owned(),
        api_version: Kind::GatewayClass.api_version(),
        kind: Kind::GatewayClass.name().to_owned(),
        plural: Kind::GatewayClass.plural().to_owned(),
    };
    let api: Api<DynamicObject> = Api::all_with(client, &resource);
    let class = json!({
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": { "name": name, "labels": { MANAGED_BY.0: MANAGED_BY.1 } },
        "spec": { "controllerName": controller, "description": "Penstock: a gateway for LLM inference" },
    });
    api.patch(name, &PatchParams::apply(FIELD_MANAGER), &Patch::Apply(&class)).await.map(drop)
}

/// Policies whose credentials some data plane does not have, with the reason.
fn without_credential(
    translation: &Translation,
    facts: &BTreeMap<Key, GatewayFacts>,
) -> BTreeMap<ObjectId, String> {
    let mut all = BTreeMap::new();
    for (gateway, facts) in facts {
        let Some(output) = translation.gateways.get(gateway) else { continue };
        for (upstream, error) in &facts.without_credential {
            // One of an older document has no policy any more.
            let Some(policy) = output.policies.get(upstream) else { continue };
            let id = ObjectId { kind: Kind::BackendSecurityPolicy, key: policy.clone() };
            all.entry(id).or_insert_with(|| format!("data planes of Gateway {gateway}: {error}"));
        }
    }
    all
}

/// What all statuses shall be.
fn desired(
    world: &World,
    options: &Options,
    translation: &Translation,
    facts: &BTreeMap<Key, GatewayFacts>,
) -> Vec<Desired> {
    let mut all: Vec<Desired> = Vec::with_capacity(translation.statuses.len());
    let without_credential = without_credential(translation, facts);
    for update in &translation.statuses {
        let mut desired = Desired { update: update.clone(), addresses: None };
        if update.object.kind == Kind::Gateway {
            let facts = facts.get(&update.object.key).cloned().unwrap_or_default();
            complete(&mut desired.update, &facts);
            desired.addresses = Some(facts.addresses);
        }
        if let (Some(error), Status::Conditions(conditions)) =
            (without_credential.get(&update.object), &mut desired.update.status)
        {
            conditions.push(Condition::no(CREDENTIAL_AVAILABLE, "NotFetched", error.as_str()));
        }
        all.push(desired);
    }
    let leftovers = leftovers(world, options, &translation.statuses);
    all.extend(leftovers.into_iter().map(|update| Desired { update, addresses: None }));
    all
}

/// What belongs to Gateways that were given to somebody else's class. Those that are gone take theirs with them by
/// ownerReferences; those that are ours and cannot be served now go on as they were.
fn abandoned(parts: &Parts, world: &World, translation: &Translation) -> BTreeSet<OwnedKey> {
    let mut objects = BTreeSet::new();
    for (namespace, label) in parts.owned.gateways() {
        let gateway = world.gateways.in_namespace(&namespace).find(|(key, _)| Names::of(key).label == label);
        let Some((key, gateway)) = gateway else { continue };
        let Ok(gateway) = &gateway.spec else { continue };
        // A class that is not there may come back; one that names another controller has been decided on.
        let class = world.gateway_classes.get(&Key::cluster(gateway.gateway_class_name.as_str()));
        if translation.owned.contains(key) || class.is_none() {
            continue;
        }
        info!(gateway = %key, class = gateway.gateway_class_name, "given to another controller");
        objects.extend(parts.owned.of_gateway(&namespace, &label));
    }
    objects
}

#[cfg(test)]
mod tests {
    use super::*;
    use penstock_translate::{translate, world::World};

    const MANIFESTS: &str = include_str!("../../../translate/tests/data/credentials/cluster.yaml");

    #[test]
    fn a_policy_says_that_data_planes_have_no_credential() {
        let mut world = World::default();
        for object in serde_saphyr::from_multiple(MANIFESTS).unwrap() {
            let _ = world.apply(object);
        }
        let options = Options::default();
        let translation = translate(&world, &options);
        let gateway = Key::new("ai", "gw");
        let errors = [("ai.azure-oidc", "invalid_client"), ("ai.gone", "of an older document")];
        let errors = errors.map(|(upstream, error)| (upstream.to_owned(), error.to_owned()));
        let facts = GatewayFacts { without_credential: errors.into(), ..GatewayFacts::default() };
        let all = desired(&world, &options, &translation, &BTreeMap::from([(gateway, facts)]));
        let mut told = Vec::new();
        for Desired { update, .. } in &all {
            let Status::Conditions(conditions) = &update.status else { continue };
            for condition in conditions.iter().filter(|it| it.kind == CREDENTIAL_AVAILABLE) {
                told.push((update.object.to_string(), condition.is_true(), condition.message.as_str()));
            }
        }
        let message = "data planes of Gateway ai/gw: invalid_client";
        assert_eq!(told, [("BackendSecurityPolicy ai/azure-oidc".to_owned(), false, message)]);
    }
}
