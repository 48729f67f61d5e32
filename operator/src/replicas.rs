//! Which generation each data plane runs, asked of the Pods themselves: the only honest base for `Programmed`.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use futures::StreamExt as _;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use parking_lot::Mutex;
use serde::Deserialize;
use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
    time::{sleep, timeout},
};
use tracing::trace;

use crate::{
    cluster::Cluster,
    provision::{ADMIN_PORT, APP_NAME},
    publish::{GATEWAY_NAME, Names},
    world::{Key, World},
};

/// How often Pods are asked while some Gateway waits for its generation.
const ASK_SOON: Duration = Duration::from_millis(200);

/// After how many such questions it is asked less often: a Pod that does not start is no reason for a storm.
const SOON: u32 = 50;

/// How often they are asked when all have what they should have.
const ASK_RARELY: Duration = Duration::from_secs(10);

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(1);

/// The longest answer that is read.
const MAX_ANSWER_BYTES: usize = 64 << 10;

/// Questions at a time.
const MAX_QUESTIONS: usize = 32;

/// Asks all data planes, as long as it lives.
#[derive(Debug)]
pub struct Replicas {
    wanted: watch::Sender<BTreeMap<Key, u64>>,
    found: Arc<Mutex<BTreeMap<Key, Running>>>,
    task: JoinHandle<()>,
}

/// What a Gateway's data planes run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Running {
    /// Pods that are not on their way out.
    pub replicas: usize,
    /// Those of them that are ready to serve the generation wanted, or a later one.
    pub programmed: usize,
}

#[derive(Debug, Deserialize)]
struct Answer {
    #[serde(default)]
    ready: bool,
    #[serde(default)]
    generation: u64,
}

type Asker = Client<HttpConnector, Empty<Bytes>>;

impl Replicas {
    /// Starts asking. `changed` is told when an answer differs from the one before.
    pub fn start(cluster: Arc<Cluster>, changed: Arc<Notify>) -> Self {
        let (wanted, receiver) = watch::channel(BTreeMap::new());
        let found = Arc::default();
        let task = tokio::spawn(ask(cluster, receiver, Arc::clone(&found), changed));
        Self { wanted, found, task }
    }

    /// Says which generation each Gateway's data planes should have.
    pub fn want(&self, generations: BTreeMap<Key, u64>) {
        self.wanted.send_if_modified(|wanted| {
            let is_new = *wanted != generations;
            *wanted = generations;
            is_new
        });
    }

    /// What a Gateway's data planes run, as far as known.
    pub fn running(&self, gateway: &Key) -> Running {
        self.found.lock().get(gateway).copied().unwrap_or_default()
    }
}

impl Drop for Replicas {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn ask(
    cluster: Arc<Cluster>,
    mut wanted: watch::Receiver<BTreeMap<Key, u64>>,
    found: Arc<Mutex<BTreeMap<Key, Running>>>,
    changed: Arc<Notify>,
) {
    let mut connector = HttpConnector::new();
    connector.set_connect_timeout(Some(PATIENCE));
    let asker: Asker = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(1).build(connector);
    let mut asked: u32 = 0;
    loop {
        let generations = wanted.borrow_and_update().clone();
        let world = cluster.world();
        let mut now = BTreeMap::new();
        for (gateway, generation) in &generations {
            let pods = pods(&world, gateway);
            let answers =
                futures::stream::iter(pods.clone().into_iter().map(|ip| generation_of(asker.clone(), ip)));
            let answers: Vec<Option<u64>> = answers.buffer_unordered(MAX_QUESTIONS).collect().await;
            let programmed = answers.iter().flatten().filter(|running| *running >= generation).count();
            now.insert(gateway.clone(), Running { replicas: pods.len(), programmed });
        }
        let is_settled =
            now.values().all(|running| running.replicas > 0 && running.programmed == running.replicas);
        if std::mem::replace(&mut *found.lock(), now.clone()) != now {
            changed.notify_one();
        }
        asked = if is_settled { 0 } else { asked.saturating_add(1) };
        let pause = match asked {
            0 => ASK_RARELY,
            1..SOON => ASK_SOON,
            _ => ASK_RARELY / 5,
        };
        tokio::select! {
            changed = wanted.changed() => {
                if changed.is_err() {
                    return;
                }
                asked = 0;
            }
            () = sleep(pause) => {}
        }
    }
}

/// The addresses of a Gateway's data planes.
fn pods(world: &World, gateway: &Key) -> Vec<IpAddr> {
    let label = Names::of(gateway).label;
    let is_ours = |labels: &BTreeMap<String, String>| {
        labels.get(GATEWAY_NAME) == Some(&label)
            && labels.get("app.kubernetes.io/name").is_some_and(|it| it == APP_NAME)
    };
    let pods = world.pods.in_namespace(&gateway.namespace);
    let pods = pods.filter(|(_, pod)| !pod.meta.is_deleting && is_ours(&pod.meta.labels));
    pods.filter_map(|(_, pod)| pod.spec.as_ref().ok()?.ip).collect()
}

/// The generation that a Pod serves; `None` if it does not answer or is not ready.
async fn generation_of(asker: Asker, ip: IpAddr) -> Option<u64> {
    let url = format!("http://{}/readyz", SocketAddr::new(ip, ADMIN_PORT));
    let answer = async {
        let response = asker.get(url.parse().ok()?).await.ok()?;
        let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await.ok()?;
        serde_json::from_slice::<Answer>(&body.to_bytes()).ok()
    };
    let answer = timeout(PATIENCE, answer).await.ok().flatten();
    trace!(%ip, ?answer, "asked");
    answer.filter(|answer| answer.ready).map(|answer| answer.generation)
}
