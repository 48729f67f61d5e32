//! The pick phase: chooses target and endpoint of the next attempt.

use penstock_config::Upstream as UpstreamAt;
use penstock_picker::PickRequest;
use tokio::time::Instant;

use crate::client::Client;
use crate::context::{Arrived, Attempt, Routed, TargetAt};
use crate::decide::{self, Ask, Facts, NoTarget, Selected};
use crate::error::Error;
use crate::metrics::PickOutcome;
use crate::quota;
use crate::quota::reserve::MAX_WAITS;
use crate::quota::target::{Held, give_back};
use crate::runtime::Runtime;
use crate::trail;
use crate::upstreams::{Chosen, Excluded, Unavailable, Upstream, Wait};

/// Whether a request may wait for a place where every endpoint is busy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// In the pool's queue, if it has one.
    Queue,
    /// Not at all: there is something better to do.
    None,
}

/// Chooses target and endpoint of the next attempt.
///
/// # Errors
/// Nothing that the rule names can serve the request now, or the client is gone.
pub(crate) async fn choose(
    client: &mut Client<'_>,
    arrived: &Arrived,
    routed: &mut Routed,
    patience: Patience,
) -> Result<Attempt, Error> {
    let runtime = arrived.runtime();
    let rule = &runtime.snapshot().rules()[routed.rule];
    let mut last = None;
    let mut waits = 0;
    loop {
        let headers = &client.head().headers;
        let facts = Facts::of(arrived, headers);
        let mut book = Book { held: Held::new(arrived, headers, rule), passed_over: Vec::new() };
        let decided = decide::target(runtime, facts, routed, &mut book);
        let Book { held, passed_over } = book;
        let (mut holds, lease) = held.into_parts();
        note(routed, passed_over);
        let (at, upstream, unavailable, wait) = match decided {
            Ok(selected) => {
                if !routed.trail.is_empty() {
                    trail::count(runtime, routed, selected.target, selected.upstream);
                }
                let mut attempt = attempt(runtime, facts, selected);
                attempt.holds = holds;
                return Ok(attempt);
            }
            Err(NoTarget::Nothing(error)) => return Err(last.unwrap_or(error)),
            Err(NoTarget::Wait(at, upstream, unavailable, wait)) => (at, upstream, unavailable, wait),
        };
        let waited = match (wait, patience, lease) {
            (Wait::Place, Patience::None, _) => Err(unavailable),
            (Wait::Counter, _, Some(lease)) if waits < MAX_WAITS => {
                waits += 1;
                quota::reserve::wait(client, arrived, lease).await?;
                continue;
            }
            (Wait::Counter, ..) => Err(unavailable),
            _ => {
                let waited = wait_at(client, arrived, routed, (at, upstream), wait).await;
                if !matches!(waited, Ok(Ok(_))) {
                    give_back(arrived, &mut holds);
                }
                waited?
            }
        };
        match waited {
            Ok(mut attempt) => {
                trail::count(runtime, routed, attempt.target, attempt.upstream);
                attempt.holds = holds;
                return Ok(attempt);
            }
            Err(unavailable) => {
                give_back(arrived, &mut holds);
                routed.trail.add(at, upstream, unavailable.outcome.label());
                runtime.upstream(upstream).passed_over(&unavailable);
                last = Some(decide::worse(last, unavailable.error));
                routed.candidates.exhaust(at);
            }
        }
    }
}

/// Notes the targets that were passed over, and why.
fn note(routed: &mut Routed, passed_over: Vec<(TargetAt, UpstreamAt, PickOutcome)>) {
    for (target, upstream, outcome) in passed_over {
        // What it did to this request says more than why it is not asked again.
        if !routed.trail.has(target) {
            routed.trail.add(target, upstream, outcome.label());
        }
    }
}

/// Asks for an endpoint that the request is booked at, and counts what picks come to.
struct Book<'a> {
    held: Held<'a>,
    passed_over: Vec<(TargetAt, UpstreamAt, PickOutcome)>,
}

impl Ask for Book<'_> {
    type Endpoint = Chosen;

    fn ask(
        &mut self,
        _target: TargetAt,
        upstream: &Upstream,
        request: &PickRequest<'_>,
        excluded: &Excluded,
    ) -> Result<Chosen, Unavailable> {
        self.held.hold(upstream, request.model)?;
        upstream.choose(request, excluded)
    }

    fn passed_over(&mut self, target: TargetAt, (at, upstream): (UpstreamAt, &Upstream), why: &Unavailable) {
        self.held.release();
        upstream.passed_over(why);
        // A target whose endpoints have all been tried was left for what they did.
        if why.outcome != PickOutcome::AllExcluded {
            self.passed_over.push((target, at, why.outcome));
        }
    }
}

fn attempt(runtime: &Runtime, facts: Facts<'_>, selected: Selected<Chosen>) -> Attempt {
    let Selected { target, upstream, model, endpoint } = selected;
    let metrics = &runtime.upstream(upstream).metrics;
    metrics.picked(PickOutcome::Picked);
    let blocks = facts.peeked.map_or(0, |peeked| peeked.blocks.len());
    metrics.prefix(blocks, endpoint.matched_blocks().unwrap_or(0));
    Attempt::new(target, upstream, endpoint, model)
}

/// Waits for what is missing at a target, and asks it once more.
///
/// # Errors
/// The client is gone, or the request's time is up. What the target says at last is the value.
async fn wait_at(
    client: &mut Client<'_>,
    arrived: &Arrived,
    routed: &Routed,
    (target, upstream): (TargetAt, UpstreamAt),
    wait: Wait,
) -> Result<Result<Attempt, Unavailable>, Error> {
    let runtime = arrived.runtime();
    let rule = &runtime.snapshot().rules()[routed.rule];
    let of = runtime.upstream(upstream);
    // Waiting watches the client meanwhile, which takes the client, so its headers are taken along.
    let headers = client.head().headers.clone();
    let facts = Facts::of(arrived, &headers);
    let by_target = rule.tiers()[target.0].targets[target.1].model_override.as_ref();
    let model = decide::model_at(of, facts, by_target);
    let mut excluded = routed.excluded(target, upstream);
    decide::leave_alone(of, facts, model.as_deref(), &routed.candidates, &mut excluded);
    of.bind(&mut excluded, facts.asker());
    let request = decide::pick_request(facts, model.as_deref(), &excluded);
    let joined = Instant::now();
    let chosen = tokio::select! {
        chosen = of.choose_after(wait, &request, &excluded) => chosen,
        gone = client.gone() => return Err(gone),
        error = arrived.deadlines.out_of_time() => return Err(error),
    };
    if wait == Wait::Place {
        of.metrics.waited(joined.elapsed());
    }
    let selected = |endpoint| Selected { target, upstream, model: model.clone(), endpoint };
    Ok(chosen.map(|endpoint| attempt(runtime, facts, selected(endpoint))))
}
