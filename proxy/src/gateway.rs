//! The path of one request: each phase in its turn, and what becomes of one that cannot be served.

use std::sync::Arc;

use pingora_core::apps::ReusedHttpStream;
use tokio::time::Instant;

use crate::access_log::AccessLog;
use crate::client::Client;
use crate::context::RequestContext;
use crate::count::Count;
use crate::error::{Dialect, Error};
use crate::listen::head;
use crate::mirror::Mirrors;
use crate::upstream::Connections;
use crate::{forward, pick, respond, route, settle};

/// What all requests share beyond the snapshot.
pub struct Gateway {
    /// Counts the requests that are being served.
    pub in_flight: Arc<Count>,
    /// Where each request is reported.
    pub access_log: AccessLog,
    /// Connections to upstreams.
    pub connections: Arc<Connections>,
    /// Copies of requests that are on their way.
    pub mirrors: Mirrors,
}

impl Gateway {
    /// Serves one request, and returns the client's connection if another may follow on it.
    pub async fn serve(&self, mut client: Client, mut ctx: RequestContext) -> Option<ReusedHttpStream> {
        ctx.deadlines.set_timer(client.take_timer());
        let may_reuse = match self.answer(&mut client, &mut ctx).await {
            Ok(()) => true,
            Err(error) => Box::pin(fail(&mut client, &mut ctx, error)).await,
        };
        settle::settle(&client, &mut ctx, &self.access_log);
        client.leave_timer(ctx.deadlines.take_timer());
        // What is still to come from the client takes its time, and needs nothing of this request.
        drop(ctx);
        if may_reuse { client.finish().await } else { None }
    }

    async fn answer(&self, client: &mut Client, ctx: &mut RequestContext) -> Result<(), Error> {
        let head = head::check(client, ctx);
        let limit = ctx.runtime().limits().concurrent_requests as usize;
        ctx.admitted = self.in_flight.admit(limit);
        head?;
        if ctx.admitted.is_none() {
            return Err(Error::TooManyConcurrentRequests { limit });
        }
        if route::decide(client, ctx).await? {
            return Ok(());
        }
        if let Some(plan) = &ctx.plan {
            let runtime = ctx.runtime();
            runtime.retry_budget(plan.rule).deposit();
            let timeout = runtime.snapshot().rules()[plan.rule].timeouts.request;
            let started = ctx.started;
            ctx.deadlines.limit_request(timeout.map(|timeout| started + timeout));
        }
        self.mirrors.send(&self.connections, client, ctx);
        pick::choose(client, ctx, pick::Patience::Queue).await?;
        forward::run(&self.connections, client, ctx).await
    }
}

/// Answers a request with an error, or ends an answer that had begun. Returns whether the connection may be kept.
async fn fail(client: &mut Client, ctx: &mut RequestContext, error: Error) -> bool {
    if error.row().status >= 500 {
        let cause = std::error::Error::source(&error);
        tracing::debug!(request_id = ctx.request_id.as_str(), %error, cause, "request failed");
    }
    // A client that is slow to take its answer must not keep others' bodies out of memory meanwhile.
    ctx.body.release();
    let may_reuse = if client.is_answered() {
        end_broken_response(client, ctx, &error).await;
        false
    } else if error.row().status == 499 {
        false
    } else {
        respond::refuse(client, ctx, &error).await
    };
    ctx.refusal = Some(error);
    may_reuse
}

/// A stream that broke after its first byte ends with an event that says so; anything else is cut off in a way
/// that the client can tell from a complete answer.
async fn end_broken_response(client: &mut Client, ctx: &mut RequestContext, error: &Error) {
    client.close_after();
    let position = match &ctx.relay.tap {
        Some(tap) if tap.is_event_stream() && error.row().status != 499 => Some(tap.position()),
        _ => None,
    };
    if let Some(position) = position {
        let event = error.stream_event(Dialect::of_path(ctx.target.path()), position);
        ctx.relay.bytes += event.len() as u64;
        ctx.relay.last_chunk = Some(Instant::now());
        if client.write_body(event, true).await.is_ok() {
            return;
        }
    }
    client.abort().await;
}
