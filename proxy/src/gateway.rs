//! The gateway as Pingora's proxy runs it: each callback leads through some phases of a request.
//!
//! `early_request_filter` is head and identify, `request_filter` all that follows up to the end of the relay, and
//! `logging` settles. The attempts are the gateway's own (see `docs/design/attempts.md`), so `request_filter` has answered
//! every request when it returns, and none of Pingora's callbacks for upstreams is ever called.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use async_trait::async_trait;
use http::Method;
use penstock_config::ListenerIndex;
use penstock_wire::Connections;
use pingora_core::modules::http::HttpModules;
use pingora_core::protocols::http::ServerSession;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_error::{Error as PingoraError, ErrorType, Result as PingoraResult};
use pingora_proxy::{FailToProxy, ProxyHttp, Session};
use tokio_util::task::TaskTracker;

use crate::access_log::AccessLog;
use crate::admit::Found;
use crate::body::{Body, BodyMemory};
use crate::client::{Client, ClientState};
use crate::context::{Arrived, RequestContext, Response};
use crate::count::Count;
use crate::decide::{self, Action};
use crate::decode::Decoders;
use crate::error::{Dialect, Error};
use crate::external::Reach;
use crate::mirror::Mirrors;
use crate::pick::{self, Patience};
use crate::policy::Verdict;
use crate::quota;
use crate::runtime::Live;
use crate::{admit, cors, forward, head, models, overrides, respond, route, settle};

/// What all requests share beyond the snapshot.
pub(crate) struct Shared {
    /// The configuration in force.
    pub(crate) live: Arc<Live>,
    /// Counts the requests that are being served.
    pub(crate) in_flight: Arc<Count>,
    /// What the end of a drain waits for: one token a request.
    pub(crate) requests: TaskTracker,
    /// Memory held by bodies.
    pub(crate) memory: Arc<BodyMemory>,
    /// Decodes bodies that are compressed.
    pub(crate) decoders: Arc<Decoders>,
    /// Set when the gateway shuts down.
    pub(crate) draining: Arc<AtomicBool>,
    /// Where each request is reported.
    pub(crate) access_log: AccessLog,
    /// Connections to upstreams.
    pub(crate) connections: Arc<Connections>,
    /// Copies of requests that are on their way.
    pub(crate) mirrors: Mirrors,
}

/// The gateway behind one listener.
pub(crate) struct Gateway {
    shared: Arc<Shared>,
    /// The listener's name, by which each snapshot knows it.
    listener: Arc<str>,
}

impl Gateway {
    /// The gateway behind the listener of this name.
    pub(crate) fn new(shared: Arc<Shared>, listener: Arc<str>) -> Self {
        Self { shared, listener }
    }

    /// Head and identify: what can be said before a byte of the body is read.
    async fn begin(&self, session: &mut ServerSession, ctx: &mut RequestContext) -> Result<(), Error> {
        let RequestContext { client, arrived, admitted, reply, refusal, .. } = ctx;
        let mut client = Client::new(session, client);
        let timer = client.begin(arrived.runtime().limits());
        arrived.deadlines.set_timer(timer);
        arrived.peer = client.address();
        if let Some(refusal) = refusal.take() {
            return Err(refusal);
        }
        let head = head::check(&mut client, arrived);
        let limit = arrived.runtime().limits().concurrent_requests as usize;
        *admitted = self.shared.in_flight.admit(limit);
        head?;
        let listener = &arrived.runtime().snapshot().listeners[arrived.listener];
        if let Some(path) = &listener.health_path
            && **path == *arrived.target.path()
            && matches!(arrived.target.method, Method::GET | Method::HEAD)
        {
            *reply = Some(Box::new(respond::health(self.shared.draining.load(Ordering::Relaxed))));
            return Ok(());
        }
        let uses_cors = arrived.runtime().uses_cors(arrived.listener);
        let preflight = if uses_cors { cors::meet(&client, arrived) } else { None };
        if admitted.is_none() {
            return Err(Error::TooManyConcurrentRequests { limit });
        }
        if let Some(preflight) = preflight {
            *reply = Some(Box::new(preflight));
            return Ok(());
        }
        if !arrived.runtime().listener_chain(arrived.listener).is_empty() {
            let runtime = arrived.runtime().clone();
            let chain = runtime.listener_chain(arrived.listener);
            if !chain.may_wait() {
                return chain.identify_named(&mut arrived.subject(client.head_mut()));
            }
            let reach = Reach { runtime: &runtime, connections: &self.shared.connections };
            if let Verdict::Answer(mut answer) =
                Box::pin(chain.identify(&reach, &mut arrived.subject(client.head_mut()))).await?
            {
                overrides::of_gateway(&client, arrived, None, &mut answer)?;
                *reply = Some(answer);
            }
        }
        Ok(())
    }

    /// All phases from match to relay, and what becomes of the connection.
    async fn answer(&self, session: &mut ServerSession, ctx: &mut RequestContext) -> PingoraResult<bool> {
        if let Err(error) = self.act(session, ctx).await {
            return Err(refuse(ctx, error));
        }
        let limit = ctx.arrived.runtime().limits().drain_timeout;
        match Client::new(session, &mut ctx.client).pass_on(limit).await {
            Ok(()) => Ok(true),
            Err(error) => Err(refuse(ctx, error)),
        }
    }

    async fn act(&self, session: &mut ServerSession, ctx: &mut RequestContext) -> Result<(), Error> {
        let RequestContext { client, arrived, routed, attempt, response, reply, .. } = ctx;
        let client = &mut Client::new(session, client);
        let connections = &*self.shared.connections;
        if let Some(reply) = reply.take() {
            return respond::reply(client, arrived, response, *reply).await;
        }
        match route::route(client, arrived, &self.shared.decoders).await {
            Ok(Action::Forward(decided)) => {
                let routed = routed.insert(decided);
                let runtime = arrived.runtime().clone();
                let (rule, compiled) = (&runtime.snapshot().rules()[routed.rule], runtime.rule(routed.rule));
                arrived.cors = runtime.cors_of_rule(arrived.listener, routed.rule).cloned();
                arrived.deadlines.limit_request(rule.timeouts.request.map(|limit| arrived.started + limit));
                if rule.body_bytes != usize::MAX {
                    arrived.limit_body(client, rule.body_bytes)?;
                }
                let found = Found { rule: routed.rule, prefix_length: routed.prefix_length };
                let is_guarded = !runtime.listener_chain(arrived.listener).is_empty();
                if (is_guarded || !compiled.chain.is_empty())
                    && !Box::pin(is_admitted(client, arrived, response, connections, Some(found))).await?
                {
                    return Ok(());
                }
                compiled.retry_budget.deposit();
                if !rule.mirrors.is_empty() {
                    self.shared.mirrors.send(&self.shared.connections, client, arrived, routed);
                }
                let chosen = pick::choose(client, arrived, routed, Patience::Queue).await?;
                let attempt = attempt.insert(chosen);
                forward::run(&self.shared.connections, client, arrived, routed, attempt, response).await?;
            }
            Ok(Action::Redirect { rule, prefix_length }) => {
                arrived.cors = arrived.runtime().cors_of_rule(arrived.listener, rule).cloned();
                if Box::pin(is_admitted(
                    client,
                    arrived,
                    response,
                    connections,
                    Some(Found { rule, prefix_length }),
                ))
                .await?
                {
                    let question = route::question(client, arrived);
                    let (status, location) =
                        decide::redirection(arrived.runtime(), &question, rule, prefix_length)?;
                    respond::redirect(client, arrived, response, status, &location).await?;
                }
            }
            Ok(Action::Respond { rule, prefix_length }) => {
                arrived.cors = arrived.runtime().cors_of_rule(arrived.listener, rule).cloned();
                let found = Some(Found { rule, prefix_length });
                if Box::pin(is_admitted(client, arrived, response, connections, found)).await? {
                    respond::fixed(client, arrived, response, rule).await?;
                }
            }
            Ok(Action::ListModels) => {
                if Box::pin(is_admitted(client, arrived, response, connections, None)).await? {
                    models::list(client, arrived, response).await?;
                }
            }
            Ok(Action::TellMethods { allow }) => {
                if Box::pin(is_admitted(client, arrived, response, connections, None)).await? {
                    respond::methods(client, arrived, response, allow).await?;
                }
            }
            Err(error) => return Err(admit::conceal(error, arrived, client.head())),
        }
        Ok(())
    }

    /// Answers a request with the error that ended it, or ends an answer that had begun. Returns whether the connection
    /// may be kept.
    async fn fail(&self, session: &mut ServerSession, ctx: &mut RequestContext) -> FailToProxy {
        let Some(error) = ctx.refusal.take() else {
            // Pingora's own, and none that a request of this gateway can meet.
            return FailToProxy { error_code: 0, can_reuse_downstream: false };
        };
        tell_cause(ctx, &error);
        // A client that is slow to take its answer must not keep others' bodies out of memory meanwhile.
        ctx.arrived.body.release();
        let RequestContext { client, arrived, routed, attempt, response, .. } = ctx;
        let client = &mut Client::new(session, client);
        let mut can_reuse_downstream = false;
        if client.is_answered() {
            let dialect = match (routed, attempt) {
                (Some(routed), Some(attempt)) => forward::dialect(arrived, routed, attempt),
                _ => Dialect::of_path(arrived.target.path()),
            };
            let may_reuse = respond::end_broken(client, response, &error, dialect).await;
            let limit = arrived.runtime().limits().drain_timeout;
            can_reuse_downstream = may_reuse && client.pass_on(limit).await.is_ok();
        } else if error.row().status != 499 {
            let may_reuse = respond::refuse(client, arrived, routed.as_ref(), response, &error).await;
            let limit = arrived.runtime().limits().drain_timeout;
            can_reuse_downstream = may_reuse && client.pass_on(limit).await.is_ok();
            if !may_reuse {
                client.linger();
            }
        }
        let error_code = error.row().status;
        ctx.refusal = Some(error);
        FailToProxy { error_code, can_reuse_downstream }
    }
}

/// What `async_trait` would write, where that is not what is wanted: `request_filter`'s future is made in its place, since
/// copying it there takes a sixth of a small request's instructions, and `logging` has nothing to wait for.
#[async_trait]
impl ProxyHttp for Gateway {
    /// In a place of its own: Pingora moves it from one of its futures into the next.
    type CTX = Box<RequestContext>;

    fn new_ctx(&self) -> Box<RequestContext> {
        let shared = &self.shared;
        let runtime = shared.live.load_full();
        let listener = runtime.listener_index(&self.listener);
        let limits = runtime.snapshot().limits_at(ListenerIndex(listener.unwrap_or(0)));
        let client = ClientState::new(shared.draining.clone(), limits.body_timeout);
        let arrived = Arrived::new(runtime, listener.unwrap_or(0), Body::new(&shared.memory));
        let mut ctx = Box::new(RequestContext::new(client, arrived, shared.requests.token()));
        // A reload may have taken the listener out of the snapshot; its open connections end then.
        ctx.refusal = listener.is_none().then_some(Error::Draining);
        ctx
    }

    /// None: what Pingora's modules do to responses is done elsewhere or not at all.
    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    async fn early_request_filter(
        &self,
        session: &mut Session,
        ctx: &mut Box<RequestContext>,
    ) -> PingoraResult<()> {
        match self.begin(session.as_downstream_mut(), ctx).await {
            Ok(()) => Ok(()),
            Err(error) => Err(refuse(ctx, error)),
        }
    }

    fn request_filter<'gateway, 'session, 'ctx, 'answered>(
        &'gateway self,
        session: &'session mut Session,
        ctx: &'ctx mut Box<RequestContext>,
    ) -> Pin<Box<dyn Future<Output = PingoraResult<bool>> + Send + 'answered>>
    where
        'gateway: 'answered,
        'session: 'answered,
        'ctx: 'answered,
        Self: 'answered,
        Box<RequestContext>: Send + Sync,
    {
        let answered = Box::write(Box::new_uninit(), self.answer(session.as_downstream_mut(), ctx));
        Box::into_pin(answered)
    }

    /// Never called: `request_filter` has answered.
    async fn upstream_peer(
        &self,
        _session: &mut Session,
        _ctx: &mut Box<RequestContext>,
    ) -> PingoraResult<Box<HttpPeer>> {
        Err(PingoraError::new(ErrorType::InternalError))
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        _error: &PingoraError,
        ctx: &mut Box<RequestContext>,
    ) -> FailToProxy {
        self.fail(session.as_downstream_mut(), ctx).await
    }

    /// The gateway tells causes itself, once, and with the request's id.
    fn suppress_error_log(
        &self,
        _session: &Session,
        _ctx: &Box<RequestContext>,
        _error: &PingoraError,
    ) -> bool {
        true
    }

    fn logging<'gateway, 'session, 'error, 'ctx, 'logged>(
        &'gateway self,
        session: &'session mut Session,
        _error: Option<&'error PingoraError>,
        ctx: &'ctx mut Box<RequestContext>,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + 'logged>>
    where
        'gateway: 'logged,
        'session: 'logged,
        'error: 'logged,
        'ctx: 'logged,
        Self: 'logged,
        Box<RequestContext>: Send + Sync,
    {
        let client = Client::new(session.as_downstream_mut(), &mut ctx.client);
        let request_bytes = client.body_bytes_read();
        client.account();
        client.leave_timer(ctx.arrived.deadlines.take_timer());
        settle::settle(ctx, request_bytes, &self.shared.access_log);
        // What is still to come from the client takes its time, and needs nothing of this request.
        ctx.arrived.body.release();
        Box::pin(Settled)
    }
}

/// Whether policies let the request be served by a rule, or answered by the gateway itself. One that they answer is answered
/// then.
///
/// # Errors
/// A policy refuses the request, or the client is gone.
async fn is_admitted(
    client: &mut Client<'_>,
    arrived: &mut Arrived,
    response: &mut Response,
    connections: &Connections,
    found: Option<Found>,
) -> Result<bool, Error> {
    match admit::admit(arrived, client.head_mut(), connections, found).await? {
        Verdict::Continue => {
            let runtime = arrived.runtime().clone();
            let rule = found.map(|found| &runtime.snapshot().rules()[found.rule]);
            if runtime.is_limited(arrived.listener, rule.map(|rule| rule.index)) {
                quota::reserve::reserve(client, arrived, rule).await?;
            }
            Ok(true)
        }
        Verdict::Answer(mut reply) => {
            if let Some(Found { rule, prefix_length }) = found {
                overrides::of_gateway(client, arrived, Some((rule, prefix_length)), &mut reply)?;
            }
            respond::reply(client, arrived, response, *reply).await?;
            Ok(false)
        }
    }
}

/// A future that has nothing to do, and takes no memory.
struct Settled;

impl Future for Settled {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }
}

/// Notes what ended the request, for `fail_to_proxy` to answer. Pingora has no place for the gateway's own error.
fn refuse(ctx: &mut RequestContext, error: Error) -> Box<PingoraError> {
    ctx.refusal = Some(error);
    PingoraError::new(ErrorType::Custom("the gateway refuses the request"))
}

fn tell_cause(ctx: &RequestContext, error: &Error) {
    if error.row().status >= 500 {
        let cause = std::error::Error::source(error);
        tracing::debug!(request_id = ctx.arrived.request_id.as_str(), %error, cause, "request failed");
    }
}
