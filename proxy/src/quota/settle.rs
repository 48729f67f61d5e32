//! What a request and its attempts are charged, once they are over.
//!
//! Who reports what it took is believed. Where nobody does, the request is charged the input that was expected and the output
//! that was seen: events with content of a stream; of an answer in one piece, of which they cannot be told, a token for four
//! bytes of it, and no more than was expected. A client that leaves shortly before the usage record saves nothing by it.

use penstock_policies::limits::{Settled, Spent, Usage};
use penstock_tap::{Report, UsageSource};
use tokio::time::Instant;

use super::allowed_output;
use crate::access_log::{Bill, Charged};
use crate::context::{Arrived, Attempt, RequestContext, Response, Routed};
use crate::error::{Error, Origin};
use crate::meter::prices;
use crate::runtime::Runtime;

/// Bytes of an answer that stand for a token.
const BYTES_PER_TOKEN: u64 = 4;

/// How a request or an attempt is charged.
#[derive(Clone, Copy)]
enum Basis {
    Nothing,
    Failed,
    Seen(u64),
    Used(Usage),
}

/// Charges a request that is over, and its last attempt. `None` if there is nothing to tell.
pub(crate) fn settle(ctx: &mut RequestContext, report: &Report) -> Option<Box<Bill>> {
    let runtime = ctx.arrived.runtime().clone();
    let is_limited = ctx.arrived.tab.is_some() || ctx.attempt.as_ref().is_some_and(|of| of.holds.is_some());
    if !is_limited && !prices::are_named(runtime.snapshot()) {
        return None;
    }
    Some(Box::new(charge(ctx, &runtime, report, is_limited)))
}

/// Charges an attempt that another one follows, if it holds anything.
pub(crate) fn attempt_failed(arrived: &Arrived, attempt: &mut Attempt) {
    let Some(mut holds) = attempt.holds.take() else { return };
    let now = arrived.runtime().meter().now();
    let spent = if attempt.is_sent { Spent::Failed } else { Spent::Nothing };
    let runtime = arrived.runtime();
    holds.settle_each(spent, now, |settled| count(runtime, spent, &settled));
}

#[inline(never)]
fn charge(ctx: &mut RequestContext, runtime: &Runtime, report: &Report, is_limited: bool) -> Bill {
    let RequestContext { arrived, routed, attempt, response, refusal, .. } = ctx;
    let estimate = arrived.tab.as_ref().map_or_else(Usage::default, |tab| tab.estimate);
    let basis = basis(arrived, routed.as_ref(), attempt.as_ref(), response, refusal.as_ref(), report);
    let basis = basis.or_expected(&estimate, report);
    let rates = runtime.meter().prices().rates();
    let (model, upstream) = match attempt {
        Some(attempt) => {
            (attempt.model.as_deref().or(arrived.asked_model()), Some(runtime.upstream(attempt.upstream)))
        }
        None => (None, None),
    };
    let price = upstream.and_then(|upstream| rates.of(&upstream.name, model?));
    let mut bill = Bill::default();
    let took = match basis {
        Basis::Used(usage) => Some(usage),
        Basis::Seen(output) if is_limited => Some(estimate.seen(output)),
        _ => None,
    };
    if let (Some(usage), Some(upstream), true) = (took, upstream, rates.are_known()) {
        let cost = price.map(|price| price.cost(&usage));
        upstream.metrics.costed(arrived.model().unwrap_or_default(), cost);
        bill.cost = Some(cost);
    }
    if !is_limited {
        return bill;
    }
    let is_reported = report.usage_source == Some(UsageSource::Reported);
    if let (Basis::Used(usage), Some(model), true) = (&basis, model, is_reported) {
        learn(arrived, runtime, model, &estimate, usage);
    }
    if let (Some(tab), Some(upstream)) = (arrived.tab.as_mut(), upstream) {
        let model = attempt.as_ref().and_then(|attempt| attempt.model.as_deref());
        tab.holds.served_by(&upstream.name, model, price);
    }
    let now = runtime.meter().at((arrived.started, arrived.started_at), Instant::now());
    let mut tell = |spent: Spent<'_>, settled: Settled| {
        count(runtime, spent, &settled);
        let Settled { limit, held, used } = settled;
        bill.charged.push(Charged { limit, held, used });
    };
    let of_attempt = match attempt {
        Some(attempt) if !attempt.is_sent => Basis::Nothing,
        _ => basis,
    };
    let tab = arrived.tab.as_mut().map(|tab| (&mut tab.holds, basis));
    let of_attempt = attempt.as_mut().and_then(|attempt| Some((&mut **attempt.holds.as_mut()?, of_attempt)));
    for (holds, basis) in tab.into_iter().chain(of_attempt) {
        let spent = match &basis {
            Basis::Nothing => Spent::Nothing,
            Basis::Failed => Spent::Failed,
            Basis::Used(usage) => Spent::Used { usage, price },
            Basis::Seen(output) => {
                // Whatever it says: there is nothing left to cut.
                let _ = holds.seen(*output, now);
                Spent::Seen
            }
        };
        holds.settle_each(spent, now, |settled| tell(spent, settled));
    }
    bill
}

/// How a request is charged that is over.
fn basis(
    arrived: &Arrived,
    routed: Option<&Routed>,
    attempt: Option<&Attempt>,
    response: &Response,
    refusal: Option<&Error>,
    report: &Report,
) -> Basis {
    let was_sent = routed.is_some_and(|routed| routed.sent > 0);
    if !was_sent {
        // What the gateway answers itself is a request all the same.
        return if refusal.is_some() { Basis::Nothing } else { Basis::Failed };
    }
    let is_answered = attempt.is_some_and(|attempt| attempt.is_sent) && response.tap.is_some();
    // What is known of a stream's prompt holds, also where its answer was counted by events.
    let is_known = match report.usage_source {
        Some(UsageSource::Reported) => true,
        Some(UsageSource::Estimated) => report.usage.input.is_some(),
        Some(UsageSource::Encoded) | None => false,
    };
    if is_answered && is_known {
        return Basis::Used(usage(report));
    }
    let is_good = response.status.is_some_and(|status| status < 400);
    if !is_answered {
        // Who leaves before an answer has asked for one.
        let has_left = refusal.is_some_and(|error| error.row().origin == Origin::Client);
        let is_asking = attempt.is_some_and(|attempt| attempt.is_sent);
        return if has_left && is_asking { Basis::Seen(0) } else { Basis::Failed };
    }
    if !is_good {
        return Basis::Failed;
    }
    if response.is_event_stream || arrived.asked_model().is_none() {
        return Basis::Seen(report.content_events);
    }
    Basis::Seen(response.bytes.div_ceil(BYTES_PER_TOKEN))
}

impl Basis {
    /// With what was expected in the place of what was not reported, or cannot be told.
    fn or_expected(self, estimate: &Usage, report: &Report) -> Self {
        match self {
            Self::Used(mut usage) => {
                if report.usage.input.is_none() {
                    usage.input = estimate.input;
                }
                // Who was to say how much of it was reasoning did not come to it.
                if report.usage_source == Some(UsageSource::Estimated) && report.usage.reasoning.is_none() {
                    usage.reasoning = estimate.seen(usage.output).reasoning;
                }
                Self::Used(usage)
            }
            Self::Seen(_) if report.usage_source == Some(UsageSource::Encoded) => Self::Seen(estimate.output),
            // Of a stream, events are what there is to go by.
            Self::Seen(output) if report.content_events == 0 => Self::Seen(output.min(estimate.output)),
            known => known,
        }
    }
}

/// What was reported.
fn usage(report: &Report) -> Usage {
    let penstock_tap::Usage { input, output, cached_input, cache_creation, reasoning, .. } = report.usage;
    Usage {
        input: input.unwrap_or_default(),
        cached_input: cached_input.unwrap_or_default(),
        cache_write: cache_creation.unwrap_or_default(),
        output: output.unwrap_or_default(),
        reasoning: reasoning.unwrap_or_default(),
    }
}

/// Learns from what was reported.
fn learn(arrived: &Arrived, runtime: &Runtime, model: &str, estimate: &Usage, usage: &Usage) {
    let prompt_bytes = arrived.peeked.as_ref().map_or(0, |peeked| peeked.prompt_bytes);
    let allowed_output = allowed_output(arrived);
    let meter = runtime.meter();
    // Before the target is known, what is expected goes by the client's name of the model.
    let asked = arrived.asked_model().filter(|asked| *asked != model);
    for model in std::iter::once(model).chain(asked) {
        meter.estimator.learn(model, arrived.consumer(), prompt_bytes, allowed_output, usage);
    }
    runtime.metrics().limits.estimated(estimate, usage);
}

/// Counts what was counted of a limit.
fn count(runtime: &Runtime, spent: Spent<'_>, settled: &Settled) {
    if matches!(spent, Spent::Nothing) {
        return;
    }
    if let Some(metrics) = runtime.limit_metrics(&settled.limit.policy, &settled.limit.limit) {
        metrics.allowed.increment();
        metrics.held.add(settled.held);
        metrics.used.add(settled.used);
    }
}
