//! The watch of one kind.

use std::{collections::HashSet, fmt::Debug, sync::Arc};

use futures::StreamExt as _;
use kube::{
    Api, Client, Resource,
    api::DynamicObject,
    core::PartialObjectMeta,
    discovery::ApiResource,
    runtime::{
        WatchStreamExt as _,
        watcher::{Config, Event, watcher},
    },
};
use penstock_apiserver::patience;
use penstock_translate::world::{Key, Kind, ObjectId};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tracing::warn;

use super::{Unlisted, full_name};
use crate::{admin::Health, cluster::Cluster};

/// Keeps the cluster's objects of one kind as they are, until the task is dropped. Of kinds of which metadata tell all, no
/// more than that is asked for.
pub(super) async fn watch(
    client: Client,
    kind: Kind,
    resource: ApiResource,
    cluster: Arc<Cluster>,
    unlisted: Arc<Unlisted>,
    health: Arc<Health>,
) {
    let keeping = Keeping { kind, resource, cluster, unlisted, health };
    if kind.is_metadata_only() {
        let api = Api::all_with(client, &keeping.resource);
        keeping.run(api, bare).await;
    } else {
        let api = Api::all_with(client, &keeping.resource);
        keeping.run(api, |object: DynamicObject| object).await;
    }
}

/// What the watch of one kind works with.
struct Keeping {
    kind: Kind,
    resource: ApiResource,
    cluster: Arc<Cluster>,
    unlisted: Arc<Unlisted>,
    health: Arc<Health>,
}

impl Keeping {
    async fn run<K>(&self, api: Api<K>, open: fn(K) -> DynamicObject)
    where
        K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    {
        let Self { kind, resource, cluster, unlisted, health } = self;
        let errors = health.metrics.watch_errors.with_label_values(&[kind.name()]);
        let mut events = std::pin::pin!(watcher(api, Config::default()).backoff(patience()));
        let mut listed = HashSet::new();
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Init) => listed.clear(),
                Ok(Event::InitApply(object)) => {
                    listed.extend(cluster.apply(json(resource, open(object))));
                }
                Ok(Event::InitDone) => {
                    let listed = std::mem::take(&mut listed);
                    cluster.retain(*kind, |key| listed.contains(key));
                    unlisted.remove(&full_name(*kind));
                }
                Ok(Event::Apply(object)) => {
                    cluster.apply(json(resource, open(object)));
                }
                Ok(Event::Delete(object)) => {
                    cluster.remove(ObjectId { kind: *kind, key: key(&open(object)) });
                }
                Err(error) => {
                    errors.inc();
                    warn!(kind = kind.name(), %error, "a watch broke and goes on");
                }
            }
        }
    }
}

/// An object of which only metadata are known.
fn bare(object: PartialObjectMeta<DynamicObject>) -> DynamicObject {
    DynamicObject { types: None, metadata: object.metadata, data: Value::Null }
}

/// The object as the API server writes it, less what only API servers read.
pub(super) fn json(resource: &ApiResource, mut object: DynamicObject) -> Value {
    object.metadata.managed_fields = None;
    let mut value = match object.data {
        Value::Object(fields) => fields,
        _ => serde_json::Map::new(),
    };
    // Items of a list come without their type.
    value.insert("apiVersion".to_owned(), resource.api_version.as_str().into());
    value.insert("kind".to_owned(), resource.kind.as_str().into());
    value.insert("metadata".to_owned(), serde_json::to_value(object.metadata).unwrap_or_default());
    Value::Object(value)
}

fn key(object: &DynamicObject) -> Key {
    Key::new(
        object.metadata.namespace.clone().unwrap_or_default(),
        object.metadata.name.clone().unwrap_or_default(),
    )
}
