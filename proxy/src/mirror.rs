//! Copies of requests for other upstreams: a rule's `mirrors`.
//!
//! A copy is sent beside its request in a task of its own, made as an attempt's request is. Nobody waits for it, and its
//! answer is read and thrown away. Copies have bounds of their own; one that finds no room is not sent.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use penstock_config::{Mirror, Upstream as UpstreamAt};
use penstock_picker::Outcome;
use penstock_wire::{Connections, Event};

use crate::body::Body;
use crate::client::Client;
use crate::context::{Arrived, Routed};
use crate::decide::{self, Facts};
use crate::error::{Error, Limit};
use crate::prepare::{self, Prepared, Recipient};
use crate::random;
use crate::runtime::Runtime;
use crate::upstreams::{Chosen, Excluded};

/// How long a copy may take where the rule sets no deadline for requests.
const LONGEST: Duration = Duration::from_secs(900);

/// The copies that are on their way.
#[derive(Debug, Default)]
pub(crate) struct Mirrors {
    running: Arc<AtomicUsize>,
}

/// One of the copies on their way; it is over when this is dropped.
struct Running(Arc<AtomicUsize>);

/// A copy, ready to be sent.
struct Copy {
    runtime: Arc<Runtime>,
    upstream: UpstreamAt,
    endpoint: Chosen,
    prepared: Prepared,
    /// The account of the memory that the body takes.
    body: Body,
    deadline: Duration,
}

impl Mirrors {
    /// Sends the copies of a request that its rule asks for. Returns at once.
    pub(crate) fn send(
        &self,
        connections: &Arc<Connections>,
        client: &Client<'_>,
        arrived: &Arrived,
        routed: &Routed,
    ) {
        let runtime = arrived.runtime();
        for mirror in &runtime.snapshot().rules()[routed.rule].mirrors {
            if !mirror.share.includes(random::next_u64()) {
                continue;
            }
            let gateway = &runtime.metrics().gateway;
            let Some(running) = self.enter(runtime.limits().mirrored_requests as usize) else {
                gateway.limit_hit(Limit::MirroredRequests);
                gateway.mirrors.dropped.increment();
                continue;
            };
            let Some(copy) = copy(mirror, client, arrived, routed) else {
                gateway.mirrors.dropped.increment();
                continue;
            };
            let connections = connections.clone();
            tokio::spawn(async move {
                let _running = running;
                copy.send(&connections).await;
            });
        }
    }

    fn enter(&self, limit: usize) -> Option<Running> {
        let before = self.running.fetch_add(1, Ordering::Relaxed);
        // Dropped, it gives back what was just taken.
        let running = Running(self.running.clone());
        (before < limit).then_some(running)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// `None` if nobody can take the copy now, there is no memory for it, or it cannot be put as its upstream wants it.
fn copy(mirror: &Mirror, client: &Client<'_>, arrived: &Arrived, routed: &Routed) -> Option<Copy> {
    let runtime = arrived.runtime();
    let rule = &runtime.snapshot().rules()[routed.rule];
    let upstream = runtime.upstream(mirror.upstream);
    let body = arrived.body.share(arrived.client(), runtime.limits())?;
    let facts = Facts::of(arrived, &client.head().headers);
    let model = decide::model_at(upstream, facts, None);
    let mut excluded = Excluded::default();
    upstream.bind(&mut excluded, facts.asker());
    let endpoint =
        upstream.choose(&decide::pick_request(facts, model.as_deref(), &excluded), &excluded).ok()?;
    let recipient = Recipient {
        rule,
        prefix_length: routed.prefix_length,
        target: None,
        upstream,
        endpoint: &endpoint,
        model: model.as_deref(),
        credential: runtime.rule(routed.rule).credential.as_deref(),
        body_edits: None,
        asks_for_usage: false,
    };
    let prepared = prepare::prepare(client, arrived, recipient)
        .inspect_err(|error| tracing::debug!(%error, "a mirrored request was not sent"))
        .ok()?;
    let deadline = rule.timeouts.request.unwrap_or(LONGEST);
    Some(Copy { runtime: runtime.clone(), upstream: mirror.upstream, endpoint, prepared, body, deadline })
}

impl Copy {
    async fn send(self, connections: &Connections) {
        let Self { runtime, upstream, mut endpoint, prepared, body: _body, deadline } = self;
        let peers = &runtime.upstream(upstream).peers;
        let Prepared { outgoing, body, .. } = prepared;
        let (address, generation, tls_name) =
            (endpoint.address(), endpoint.generation(), endpoint.tls_name());
        let exchange = async {
            let mut connection = connections.connect(peers, address, generation, tls_name).await?;
            connection.start(outgoing, body)?;
            loop {
                let is_end = match poll_fn(|cx| connection.poll_event(cx)).await? {
                    Event::Head { is_end, .. } | Event::Body { is_end, .. } => is_end,
                    Event::Trailers(_) => true,
                    Event::Sent | Event::Informational(_) => false,
                };
                if is_end {
                    connections.release(connection);
                    return Ok::<_, Error>(());
                }
            }
        };
        let ended = tokio::time::timeout(deadline, exchange).await;
        let mirrors = &runtime.metrics().gateway.mirrors;
        let outcome = match ended {
            Ok(Ok(())) => {
                mirrors.sent.increment();
                Outcome::Served
            }
            Ok(Err(error)) => {
                tracing::debug!(%error, %address, "a mirrored request failed");
                mirrors.failed.increment();
                Outcome::Failed
            }
            Err(_elapsed) => {
                mirrors.failed.increment();
                Outcome::Cancelled
            }
        };
        endpoint.settle(outcome);
    }
}
