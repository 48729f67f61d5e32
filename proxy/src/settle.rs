//! The settle phase: exactly once for every request, whatever ended it.

use http::StatusCode;
use penstock_config::Upstream;
use penstock_picker::Outcome;
use penstock_tap::Report;
use tokio::time::Instant;

use crate::access_log::{self, AccessLog, Entry};
use crate::attempt::{Attempt, AttemptEndpoint};
use crate::client::Client;
use crate::context::RequestContext;
use crate::error::{Error, Origin};
use crate::forward::retry;
use crate::metrics::{ModelMetrics, Settlement, UpstreamKind};
use crate::runtime::Runtime;

/// The status that is logged where the client left before it got one (nginx's).
const CLIENT_CLOSED_REQUEST: u16 = 499;

/// Closes the endpoint's account, records the metrics and hands the request to the access log.
pub fn settle(client: &Client, ctx: &mut RequestContext, access_log: &AccessLog) {
    let report = ctx.relay.tap.as_mut().map(|tap| tap.finish()).unwrap_or_default();
    let outcome = outcome(ctx, &report);
    if let Some(attempt) = &mut ctx.attempt {
        attempt.settle(outcome);
    }
    let status = ctx.relay.status.unwrap_or(CLIENT_CLOSED_REQUEST);
    let runtime = ctx.runtime();
    let settlement = Settlement {
        route: ctx.plan.as_ref().map(|plan| runtime.route_metrics(plan.rule)),
        model: model_metrics(ctx, runtime),
        status,
        error: ctx.refusal.as_ref().map(Error::row),
        duration: ctx.started.elapsed(),
        stream: ctx.relay.clock.as_ref(),
        usage: report.usage,
    };
    runtime.metrics().settle(settlement);
    if access_log.is_enabled() {
        access_log.record(entry(client, ctx, &report, status));
    }
    ctx.admitted = None;
}

/// What the endpoint of the last attempt is told.
fn outcome(ctx: &RequestContext, report: &Report) -> Outcome {
    match (&ctx.refusal, ctx.relay.status) {
        (Some(error), _) if error.row().origin == Origin::Upstream => Outcome::Failed,
        (Some(_), _) | (None, None) => Outcome::Cancelled,
        (None, Some(_)) if report.has_error_event => Outcome::Failed,
        (None, Some(status)) => {
            retry::outcome_of_status(StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY))
        }
    }
}

/// The metrics of the model at the upstream that was asked last.
fn model_metrics<'a>(ctx: &RequestContext, runtime: &'a Runtime) -> Option<&'a ModelMetrics> {
    let upstream = upstream(ctx, runtime)?;
    Some(runtime.upstream_metrics(upstream).model(ctx.model().unwrap_or_default()))
}

fn upstream(ctx: &RequestContext, runtime: &Runtime) -> Option<Upstream> {
    let rule = &runtime.snapshot().rules()[ctx.plan.as_ref()?.rule];
    ctx.attempt.as_ref()?.target_of(rule)?.upstream()
}

fn entry(client: &Client, ctx: &RequestContext, report: &Report, status: u16) -> Entry {
    let runtime = ctx.runtime();
    let rule = ctx.plan.as_ref().map(|plan| &runtime.snapshot().rules()[plan.rule]);
    let target = rule.and_then(|rule| ctx.attempt.as_ref()?.target_of(rule));
    Entry {
        time: ctx.started_at,
        request_id: ctx.request_id.clone(),
        method: ctx.target.method.clone(),
        path: Some(ctx.target.path_and_query.clone()),
        client: client.address(),
        user_agent: ctx.user_agent.clone(),
        listener: runtime.snapshot().listeners[ctx.listener].name.clone(),
        route: rule.map(|rule| rule.route.clone()),
        model: ctx.model().map(Box::from),
        target_model: ctx.attempt.as_ref().and_then(|attempt| attempt.model.clone()),
        upstream: target
            .zip(ctx.attempt.as_ref())
            .and_then(|(target, attempt)| Some(asked(runtime, target.upstream()?, attempt))),
        attempts: ctx.attempts,
        status,
        error: ctx.refusal.as_ref().map(|error| error.row().reason),
        is_stream: ctx.relay.is_event_stream,
        usage: report.usage,
        content_events: report.content_events,
        time_to_first_token: ctx.relay.clock.as_ref().and_then(|clock| clock.time_to_first_token()),
        duration: Instant::now() - ctx.started,
        request_bytes: client.body_bytes_read() as u64,
        response_bytes: ctx.relay.bytes,
        matched_blocks: ctx.attempt.as_ref().and_then(matched_blocks),
    }
}

fn asked(runtime: &Runtime, upstream: Upstream, attempt: &Attempt) -> access_log::Upstream {
    let (kind, name) = match upstream {
        Upstream::Pool(index) => (UpstreamKind::Pool, &runtime.snapshot().pools[index.0].name),
        Upstream::Backend(index) => (UpstreamKind::Backend, &runtime.snapshot().backends[index.0].name),
    };
    access_log::Upstream { kind, name: name.clone(), endpoint: Some(attempt.address()) }
}

fn matched_blocks(attempt: &Attempt) -> Option<u32> {
    let is_pool = matches!(attempt.endpoint, AttemptEndpoint::Pool { .. });
    is_pool.then(|| u32::try_from(attempt.matched_blocks).unwrap_or(u32::MAX))
}
