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
use penstock_translate::{
    ADMIN_PORT,
    world::{Key, World, shorten},
};
use serde::Deserialize;
use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
    time::{sleep, timeout},
};
use tracing::trace;

use crate::{
    cluster::Cluster,
    manifest::{GATEWAY_NAME, Names},
    provision::APP_NAME,
};

/// How often Pods are polled while some Gateway waits for its generation.
const FAST_POLL: Duration = Duration::from_millis(200);

/// After how many such polls they are polled less often: a Pod that does not start is no reason for a storm.
const MAX_FAST_POLLS: u32 = 50;

/// How often Pods are polled of which one does not start.
const SLOW_POLL: Duration = Duration::from_secs(2);

/// How often they are polled when all have what they should have.
const IDLE_POLL: Duration = Duration::from_secs(10);

/// How long a connection, and an answer, may take.
const TIMEOUT: Duration = Duration::from_secs(1);

/// The longest answer that is read.
const MAX_ANSWER_BYTES: usize = 64 << 10;

/// The longest error of a credential that is passed on.
const MAX_ERROR_BYTES: usize = 500;

/// Requests at a time.
const MAX_REQUESTS: usize = 32;

/// Polls all data planes, as long as it lives.
#[derive(Debug)]
pub struct Replicas {
    wanted: watch::Sender<BTreeMap<Key, u64>>,
    running: Arc<Mutex<BTreeMap<Key, Running>>>,
    task: JoinHandle<()>,
}

/// What a Gateway's data planes run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Running {
    /// Pods that are not on their way out.
    pub replicas: usize,
    /// Those of them that are ready to serve the generation wanted, or a later one.
    pub programmed: usize,
    /// Why one of them has no credential to show an upstream, by the upstream's name in the document.
    pub without_credential: BTreeMap<String, String>,
}

/// A data plane's `/readyz`.
#[derive(Debug, Deserialize)]
struct Readyz {
    #[serde(default)]
    ready: bool,
    #[serde(default)]
    generation: u64,
    /// Upstreams that it has no credential for.
    #[serde(default)]
    without_credential: Vec<WithoutCredential>,
}

/// An upstream without a credential.
#[derive(Debug, Deserialize)]
struct WithoutCredential {
    upstream: String,
    error: String,
}

type HttpClient = Client<HttpConnector, Empty<Bytes>>;

impl Replicas {
    /// Starts polling. `changed` is notified when an answer differs from the one before.
    pub fn start(cluster: Arc<Cluster>, changed: Arc<Notify>) -> Self {
        Self::start_at(ADMIN_PORT, cluster, changed)
    }

    /// Starts polling Pods at this port.
    fn start_at(port: u16, cluster: Arc<Cluster>, changed: Arc<Notify>) -> Self {
        let (wanted, receiver) = watch::channel(BTreeMap::new());
        let running = Arc::default();
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(TIMEOUT));
        let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(1).build(connector);
        let poller = Poller { client, port, cluster, running: Arc::clone(&running), changed };
        Self { wanted, running, task: tokio::spawn(poller.run(receiver)) }
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
        self.running.lock().get(gateway).cloned().unwrap_or_default()
    }
}

impl Drop for Replicas {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Poller {
    client: HttpClient,
    port: u16,
    cluster: Arc<Cluster>,
    running: Arc<Mutex<BTreeMap<Key, Running>>>,
    changed: Arc<Notify>,
}

impl Poller {
    async fn run(self, mut wanted: watch::Receiver<BTreeMap<Key, u64>>) {
        let mut polls: u32 = 0;
        loop {
            let generations = wanted.borrow_and_update().clone();
            let now = self.poll(&generations).await;
            let is_settled =
                now.values().all(|running| running.replicas > 0 && running.programmed == running.replicas);
            if std::mem::replace(&mut *self.running.lock(), now.clone()) != now {
                self.changed.notify_one();
            }
            polls = if is_settled { 0 } else { polls.saturating_add(1) };
            let pause = match polls {
                0 => IDLE_POLL,
                1..MAX_FAST_POLLS => FAST_POLL,
                _ => SLOW_POLL,
            };
            tokio::select! {
                changed = wanted.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    polls = 0;
                }
                () = sleep(pause) => {}
            }
        }
    }

    /// What each Gateway's data planes run now.
    async fn poll(&self, generations: &BTreeMap<Key, u64>) -> BTreeMap<Key, Running> {
        let world = self.cluster.world();
        let mut now = BTreeMap::new();
        for (gateway, generation) in generations {
            let pods = pods(&world, gateway);
            let replicas = pods.len();
            let answers = futures::stream::iter(pods.into_iter().map(|ip| self.ask(ip)));
            // In the order of Pods, so that what one of several says does not change from poll to poll.
            let answers: Vec<Option<Readyz>> = answers.buffered(MAX_REQUESTS).collect().await;
            let answers: Vec<Readyz> =
                answers.into_iter().flatten().filter(|answer| answer.generation >= *generation).collect();
            let programmed = answers.len();
            let mut without_credential = BTreeMap::new();
            for WithoutCredential { upstream, error } in
                answers.into_iter().flat_map(|answer| answer.without_credential)
            {
                without_credential.entry(upstream).or_insert_with(|| shorten(&error, MAX_ERROR_BYTES));
            }
            now.insert(gateway.clone(), Running { replicas, programmed, without_credential });
        }
        now
    }

    /// What a Pod serves; `None` if it does not answer or is not ready.
    async fn ask(&self, ip: IpAddr) -> Option<Readyz> {
        let url = format!("http://{}/readyz", SocketAddr::new(ip, self.port));
        let answer = async {
            let response = self.client.get(url.parse().ok()?).await.ok()?;
            let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await.ok()?;
            serde_json::from_slice::<Readyz>(&body.to_bytes()).ok()
        };
        let answer = timeout(TIMEOUT, answer).await.ok().flatten();
        trace!(%ip, ?answer, "polled");
        answer.filter(|answer| answer.ready)
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

#[cfg(test)]
mod tests;
