//! Copies of requests for other upstreams: a rule's `mirrors`.
//!
//! A copy is sent beside its request in a task of its own, with the rule's changes to headers, host and path, and the model
//! named as its pool names it. Nobody waits for it, and its answer is read and thrown away. Copies have bounds of their
//! own; one that finds no room is not sent.

use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, header};
use penstock_config::{Mirror, Rule, Upstream};
use penstock_picker::{InFlight, Outcome};

use crate::attempt::Plan;
use crate::balance::Chosen;
use crate::body::Body;
use crate::client::Client;
use crate::context::RequestContext;
use crate::error::{Error, Limit};
use crate::forward::{self, hop};
use crate::runtime::Runtime;
use crate::upstream::{BodyFraming, Connections, Event, Outgoing};
use crate::{pick, random, request_id};

/// How long a copy may take where the rule sets no deadline for requests.
const LONGEST: Duration = Duration::from_secs(900);

/// The copies that are on their way.
#[derive(Debug, Default)]
pub struct Mirrors {
    running: Arc<AtomicUsize>,
}

/// A place among the copies on their way, given back when dropped.
struct Place(Arc<AtomicUsize>);

/// Who was chosen to get a copy, and the account kept of it there.
enum Recipient {
    Endpoint(InFlight),
    Address(Chosen),
}

/// A copy, ready to be sent.
struct Copy {
    runtime: Arc<Runtime>,
    upstream: Upstream,
    recipient: Recipient,
    address: SocketAddr,
    generation: u64,
    host: Option<Box<str>>,
    outgoing: Outgoing,
    chunks: Vec<Bytes>,
    /// The account of the memory that the chunks take.
    body: Body,
    deadline: Duration,
}

impl Mirrors {
    /// Sends the copies of a request that its rule asks for. Returns at once.
    pub fn send(&self, connections: &Arc<Connections>, client: &Client, ctx: &RequestContext) {
        let Some(plan) = &ctx.plan else { return };
        let runtime = ctx.runtime();
        let rule = &runtime.snapshot().rules()[plan.rule];
        for mirror in &rule.mirrors {
            if random::next_u64() % 100 >= u64::from(mirror.percent) {
                continue;
            }
            let gateway = &runtime.metrics().gateway;
            let Some(place) = self.enter(runtime.limits().mirrored_requests as usize) else {
                gateway.limit_hit(Limit::MirroredRequests);
                gateway.mirrors.dropped.increment();
                continue;
            };
            let Some(copy) = prepare(mirror, rule, plan, client, ctx) else {
                gateway.mirrors.dropped.increment();
                continue;
            };
            let connections = connections.clone();
            tokio::spawn(async move {
                let _place = place;
                copy.send(&connections).await;
            });
        }
    }

    fn enter(&self, limit: usize) -> Option<Place> {
        let before = self.running.fetch_add(1, Ordering::Relaxed);
        // Dropped, it gives back what was just taken.
        let place = Place(self.running.clone());
        (before < limit).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// `None` if nobody can take the copy now, there is no memory for it, or its pool's name for the model cannot be put into
/// an encoded body.
fn prepare(mirror: &Mirror, rule: &Rule, plan: &Plan, client: &Client, ctx: &RequestContext) -> Option<Copy> {
    let runtime = ctx.runtime();
    let body = ctx.body.share(runtime.limits())?;
    let model = match mirror.upstream {
        Upstream::Pool(index) => pick::model_in_pool(ctx, index, None),
        Upstream::Backend(_) => None,
    };
    let chunks = match forward::body_for(ctx, model.as_deref()) {
        Ok(chunks) => chunks,
        Err(error) => {
            tracing::debug!(%error, "a mirrored request was not sent");
            return None;
        }
    };
    let length: usize = chunks.iter().map(Bytes::len).sum();
    let mut headers = client.head().headers.clone();
    hop::strip(&mut headers).ok()?;
    rule.request_headers.apply(&mut headers);
    headers.remove(header::EXPECT);
    headers.insert(request_id::HEADER, ctx.request_id.header_value().clone());
    if length > 0 || headers.contains_key(header::CONTENT_LENGTH) {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    let (recipient, address, generation, host) = match mirror.upstream {
        Upstream::Pool(index) => {
            let model = model.as_deref().or(ctx.model()).unwrap_or_default();
            let picked = runtime.pool(index).pick(&pick::request(ctx, &headers, plan, model)).ok()?;
            let (address, generation) = (picked.endpoint.address(), picked.endpoint.id().get());
            (Recipient::Endpoint(picked.in_flight), address, generation, None)
        }
        Upstream::Backend(index) => {
            let chosen = runtime.balancer(index).pick(&[]).ok()?;
            let (address, name) = (chosen.address(), chosen.name().clone());
            if name.host.parse::<IpAddr>().is_err() {
                headers.insert(header::HOST, HeaderValue::from_str(&name.authority).ok()?);
            }
            (Recipient::Address(chosen), address, 0, Some(Box::from(&*name.host)))
        }
    };
    if let Some(host) = rule.rewrite.as_ref().and_then(|rewrite| rewrite.hostname.as_ref()) {
        headers.insert(header::HOST, host.clone());
    }
    if let Some(credential) = runtime.credential(mirror.upstream) {
        headers.insert(credential.spec().header.clone(), credential.value());
    }
    let target = forward::rewritten_path(rule.rewrite.iter(), ctx).ok()?;
    let outgoing =
        Outgoing { method: ctx.target.method.clone(), target, headers, framing: BodyFraming::Whole };
    let deadline = rule.timeouts.request.unwrap_or(LONGEST);
    let (runtime, upstream) = (runtime.clone(), mirror.upstream);
    Some(Copy { runtime, upstream, recipient, address, generation, host, outgoing, chunks, body, deadline })
}

impl Copy {
    async fn send(self, connections: &Connections) {
        let Self {
            runtime,
            upstream,
            recipient,
            address,
            generation,
            host,
            outgoing,
            chunks,
            body: _body,
            deadline,
        } = self;
        let peers = match upstream {
            Upstream::Pool(index) => runtime.pool_peers(index),
            Upstream::Backend(index) => runtime.backend_peers(index),
        };
        let exchange = async {
            let mut connection = connections.connect(peers, address, generation, host.as_deref()).await?;
            connection.start(outgoing, chunks)?;
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
        match recipient {
            Recipient::Endpoint(in_flight) => in_flight.finish(outcome),
            Recipient::Address(chosen) => chosen.finish(outcome),
        }
    }
}
