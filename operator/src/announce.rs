//! Events: what a person should know, beside the object that it is about. `kubectl describe` shows them.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client,
    runtime::events::{Event as KubeEvent, EventType, Recorder, Reporter},
};
use penstock_translate::{Event, Severity, world::World};
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};
use tracing::{debug, warn};

use crate::manifest::FIELD_MANAGER;

/// Events that may wait. What does not fit is dropped: the status says the same.
const QUEUE: usize = 512;

/// The pause between two events: a broken manifest that is applied a thousand times must not be the API server's load.
const PAUSE: Duration = Duration::from_millis(100);

/// The longest note that the API server takes.
const MAX_NOTE_BYTES: usize = 1000;

/// Sends events, as long as it lives.
#[derive(Debug)]
pub struct Announcer {
    sent: BTreeSet<Event>,
    queue: mpsc::Sender<(KubeEvent, ObjectReference)>,
    task: JoinHandle<()>,
}

impl Announcer {
    /// Starts with nothing said. `instance` names the replica that says it.
    pub fn start(client: Client, instance: &str) -> Self {
        let (queue, receiver) = mpsc::channel(QUEUE);
        let reporter = Reporter { controller: FIELD_MANAGER.to_owned(), instance: Some(instance.to_owned()) };
        let recorder = Arc::new(Recorder::new(client, reporter));
        Self { sent: BTreeSet::new(), queue, task: tokio::spawn(send(recorder, receiver)) }
    }

    /// Sends those of `events` that were not among the last ones.
    pub fn announce(&mut self, world: &World, events: &[Event]) {
        let now: BTreeSet<Event> = events.iter().cloned().collect();
        for event in now.difference(&self.sent) {
            let Some((meta, _)) = world.meta(&event.object) else { continue };
            let reference = ObjectReference {
                api_version: Some(meta.api_version.clone()).filter(|version| !version.is_empty()),
                kind: Some(event.object.kind.name().to_owned()),
                name: Some(meta.key.name.clone()),
                namespace: Some(meta.key.namespace.clone()).filter(|namespace| !namespace.is_empty()),
                uid: Some(meta.uid.clone()).filter(|uid| !uid.is_empty()),
                ..ObjectReference::default()
            };
            let event = KubeEvent {
                type_: match event.severity {
                    Severity::Normal => EventType::Normal,
                    Severity::Warning => EventType::Warning,
                },
                reason: event.reason.to_owned(),
                note: Some(penstock_translate::world::shorten(&event.message, MAX_NOTE_BYTES)),
                action: "Translate".to_owned(),
                secondary: None,
            };
            if self.queue.try_send((event, reference)).is_err() {
                debug!("too many events at a time: one is not sent");
            }
        }
        self.sent = now;
    }
}

impl Drop for Announcer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn send(recorder: Arc<Recorder>, mut queue: mpsc::Receiver<(KubeEvent, ObjectReference)>) {
    let mut pace = interval(PAUSE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while let Some((event, reference)) = queue.recv().await {
        pace.tick().await;
        if let Err(error) = recorder.publish(&event, &reference).await {
            warn!(reason = event.reason, %error, "an event could not be sent");
        }
    }
}
