//! The settle phase: exactly once for every request, whatever ended it.

use http::{HeaderValue, StatusCode};
use penstock_picker::Outcome;
use penstock_tap::{Report, Tap, UsageSource};
use tokio::time::Instant;

use crate::access_log::{self, AccessLog, Entry, Refused, Texts, Told};
use crate::context::RequestContext;
use crate::error::{Error, Origin};
use crate::metrics::{GenAiCall, Settlement};
use crate::quota;
use crate::retry;
use crate::trail;

/// The status that is logged where the client left before it got one (nginx's).
const CLIENT_CLOSED_REQUEST: u16 = 499;

/// Closes the endpoint's account, records the metrics and hands the request to the access log.
/// `request_bytes` is what was read of its body.
pub(crate) fn settle(ctx: &mut RequestContext, request_bytes: usize, access_log: &AccessLog) {
    let report = report(ctx);
    let bill = quota::settle::settle(ctx, &report);
    let outcome = outcome(ctx, &report);
    if let Some(attempt) = &mut ctx.attempt {
        attempt.settle(outcome);
    }
    if let (true, Some(attempt)) = (is_unended(ctx, &report), &ctx.attempt) {
        ctx.arrived.runtime().upstream(attempt.upstream).metrics.unended.increment();
    }
    let status = ctx.response.status.unwrap_or(CLIENT_CLOSED_REQUEST);
    let runtime = ctx.arrived.runtime();
    let model = ctx.attempt.as_ref().map(|attempt| {
        let metrics = &runtime.upstream(attempt.upstream).metrics;
        if let Some(source) = report.usage_source {
            metrics.counted(source);
        }
        &**metrics.model(ctx.arrived.model().unwrap_or_default())
    });
    let settlement = Settlement {
        route: ctx.routed.as_ref().map(|routed| &runtime.rule(routed.rule).metrics),
        model,
        status,
        error: ctx.refusal.as_ref().map(Error::row),
        duration: ctx.arrived.started.elapsed(),
        stream: ctx.response.clock.as_ref(),
        usage: report.usage,
        call: ctx.attempt.as_ref().map(|attempt| GenAiCall {
            path: ctx.arrived.target.path(),
            target: attempt.model.as_ref(),
            is_reported: report.usage_source == Some(UsageSource::Reported),
            has_error_event: report.has_error_event,
        }),
    };
    runtime.metrics().settle(settlement);
    if access_log.is_enabled() {
        access_log.record(Entry { bill, ..entry(ctx, request_bytes, &report, status) });
    }
    ctx.admitted = None;
}

/// What the response brought, by the bytes that the client got and by who translated them.
fn report(ctx: &mut RequestContext) -> Report {
    let Some(tap) = &mut ctx.response.tap else { return Report::default() };
    let mut report = tap.finish();
    if let Some(decoder) = ctx.attempt.as_ref().and_then(|attempt| attempt.decoder.as_ref()) {
        report.counted(decoder.usage());
    }
    if ctx.response.is_event_stream && report.is_complete == Some(false) {
        report.broke_off();
    }
    report
}

/// Whether a stream with content came to the end that its framing gives it, and lacks the event that ends it. Clients wait
/// for that event, or take the answer for one that was cut off.
fn is_unended(ctx: &RequestContext, report: &Report) -> bool {
    report.is_complete == Some(false)
        && report.content_events > 0
        && ctx.response.is_event_stream
        && ctx.response.is_complete
        && ctx.refusal.is_none()
        && !report.has_error_event
}

/// What the endpoint of the last attempt is told.
fn outcome(ctx: &RequestContext, report: &Report) -> Outcome {
    match (&ctx.refusal, ctx.response.status) {
        (Some(error), _) if error.row().origin == Origin::Upstream => Outcome::Failed,
        (Some(_), _) | (None, None) => Outcome::Cancelled,
        (None, Some(_)) if report.has_error_event => Outcome::Failed,
        (None, Some(status)) => {
            retry::outcome_of_status(StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY))
        }
    }
}

fn entry(ctx: &RequestContext, request_bytes: usize, report: &Report, status: u16) -> Entry {
    let (arrived, attempt) = (&ctx.arrived, ctx.attempt.as_ref());
    let runtime = arrived.runtime();
    let rules = runtime.snapshot().rules();
    Entry {
        time: arrived.started_at,
        texts: Texts::new(&Told {
            request_id: arrived.request_id.as_bytes(),
            path: Some(arrived.target.path().as_bytes()),
            user_agent: arrived.user_agent.as_ref().map(HeaderValue::as_bytes),
            model: arrived.model().map(str::as_bytes),
            consumer: arrived.caller.as_ref().and_then(|caller| caller.name()).map(|name| name.as_bytes()),
        }),
        method: arrived.target.method.clone(),
        peer: arrived.peer,
        forwarded_for: arrived.forwarded_for,
        refused: refused(ctx),
        listener: runtime.snapshot().listeners[arrived.listener].name.clone(),
        route: ctx.routed.as_ref().map(|routed| rules[routed.rule].route.clone()),
        target_model: attempt.and_then(|attempt| attempt.model.clone()),
        upstream: attempt.map(|attempt| {
            let upstream = runtime.upstream(attempt.upstream);
            access_log::Upstream {
                kind: upstream.kind,
                name: upstream.name.clone(),
                endpoint: Some(attempt.endpoint.address()),
            }
        }),
        tried: ctx.routed.as_ref().map(|routed| trail::logged(runtime, routed)).unwrap_or_default(),
        dropped: attempt.and_then(|attempt| attempt.dropped.clone()),
        attempts: ctx.routed.as_ref().map_or(0, |routed| routed.attempts),
        status,
        error: ctx.refusal.as_ref().map(|error| error.row().reason),
        is_stream: ctx.response.tap.as_ref().is_some_and(Tap::is_stream),
        usage: report.usage,
        usage_source: report.usage_source,
        content_events: report.content_events,
        time_to_first_token: ctx.response.time_to_first_token(),
        duration: Instant::now() - arrived.started,
        request_bytes: request_bytes as u64,
        response_bytes: ctx.response.bytes,
        bill: None,
        matched_blocks: attempt
            .and_then(|attempt| attempt.endpoint.matched_blocks())
            .map(|blocks| u32::try_from(blocks).unwrap_or(u32::MAX)),
    }
}

/// What policies did not let pass, or answered.
fn refused(ctx: &RequestContext) -> Option<Box<Refused>> {
    let answered_by = ctx.arrived.caller.as_ref().and_then(|caller| caller.answered_by());
    let refused_by = ctx.refusal.as_ref().and_then(Error::refused_by);
    let (policy, rule) = refused_by.or(answered_by.map(|policy| (policy, None))).unzip();
    policy?;
    Some(Box::new(Refused {
        policy: policy.cloned(),
        rule: rule.flatten().cloned(),
        limit: ctx.refusal.as_ref().and_then(Error::reached).map(|reached| reached.limit.clone()),
    }))
}
