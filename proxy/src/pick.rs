//! The pick phase: chooses the endpoint of the next attempt.

use std::sync::Arc;

use http::HeaderMap;
use penstock_config::{Action, Destination, ModelRewrite, PoolIndex, Tier, Upstream};
use penstock_picker::{PickError, PickRequest};
use tokio::time::Instant;

use crate::attempt::{Attempt, AttemptEndpoint, Plan};
use crate::balance::BalanceError;
use crate::client::Client;
use crate::context::RequestContext;
use crate::error::Error;
use crate::metrics::PickOutcome;
use crate::random;

/// Whether a request may wait for a place where every endpoint is busy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// In the pool's queue, if it has one.
    Queue,
    /// Not at all: there is something better to do.
    None,
}

/// Chooses target and endpoint of the next attempt, and leaves both in the context.
///
/// # Errors
/// Nothing that the rule names can serve the request now, or the client is gone.
pub async fn choose(client: &mut Client, ctx: &mut RequestContext, patience: Patience) -> Result<(), Error> {
    let runtime = ctx.runtime().clone();
    let Some(mut plan) = ctx.plan.take() else { return Err(Error::Internal(None)) };
    let Action::Forward(tiers) = &runtime.snapshot().rules()[plan.rule].action else {
        return Err(Error::Internal(None));
    };
    let mut last = None;
    let chosen = loop {
        let Some(at) = plan.next_target(tiers, random::next_u64()) else {
            break Err(last.unwrap_or(Error::NoEndpoints));
        };
        let upstream = match tiers[at.0].targets[at.1].destination {
            Destination::Upstream(upstream) => upstream,
            // Its share is of requests, not of attempts: whatever failed before says more than it does.
            Destination::Status(_) if last.is_some() || ctx.attempts > 0 => {
                plan.exhaust(at);
                continue;
            }
            Destination::Status(status) => break Err(Error::InvalidTarget { status: status.as_u16() }),
        };
        let metrics = runtime.upstream_metrics(upstream);
        let may_wait = patience == Patience::Queue && !plan.has_other(tiers, at);
        match try_target(client, ctx, tiers, &plan, (at, upstream), may_wait).await {
            Ok(attempt) => {
                metrics.picked(PickOutcome::Picked);
                let blocks = ctx.peeked.as_ref().map_or(0, |peeked| peeked.blocks.len());
                metrics.prefix(blocks, attempt.matched_blocks);
                break Ok(attempt);
            }
            Err(Failure::Gone(error)) => break Err(error),
            Err(Failure::Full(outcome, error)) => {
                metrics.picked(outcome);
                last = Some(worse(last, error));
                plan.exhaust(at);
            }
        }
    };
    ctx.plan = Some(plan);
    ctx.attempt = Some(chosen?);
    Ok(())
}

/// Why a target gave no endpoint.
enum Failure {
    /// It has none to give now; another target may.
    Full(PickOutcome, Error),
    /// The client is gone, or the request's time is up.
    Gone(Error),
}

async fn try_target(
    client: &mut Client,
    ctx: &RequestContext,
    tiers: &[Tier],
    plan: &Plan,
    (at, upstream): ((usize, usize), Upstream),
    may_wait: bool,
) -> Result<Attempt, Failure> {
    let target = &tiers[at.0].targets[at.1];
    match upstream {
        Upstream::Pool(index) => {
            let model = model_in_pool(ctx, index, target.model_override.as_ref());
            let picked = pick_from_pool(client, ctx, plan, index, model.as_deref(), may_wait).await;
            picked.map(|(endpoint, matched)| Attempt::new(at, endpoint, matched).with_model(model))
        }
        Upstream::Backend(index) => {
            let balancer = ctx.runtime().balancer(index);
            let chosen = balancer
                .pick_when_resolved(&plan.failed_addresses, balancer.spec().connection.connect_timeout)
                .await
                .map_err(|error| Failure::Full(balance_outcome(error), error.into()))?;
            let endpoint = AttemptEndpoint::Backend {
                address: chosen.address(),
                name: chosen.name().clone(),
                chosen: Some(chosen),
            };
            Ok(Attempt::new(at, endpoint, 0).with_model(target.model_override.clone()))
        }
    }
}

/// What the model is called in a pool: the target renames it first, then the pool. `None` if neither does.
pub(crate) fn model_in_pool(
    ctx: &RequestContext,
    index: PoolIndex,
    by_target: Option<&Arc<str>>,
) -> Option<Arc<str>> {
    let asked = by_target.map(|name| &**name).or(ctx.model()).unwrap_or_default();
    let rewrites = &ctx.runtime().snapshot().pools[index.0].model_rewrites;
    let renamed = ModelRewrite::choose(rewrites, asked, random::next_u64());
    renamed.or(by_target).cloned()
}

async fn pick_from_pool(
    client: &mut Client,
    ctx: &RequestContext,
    plan: &Plan,
    index: PoolIndex,
    model: Option<&str>,
    may_wait: bool,
) -> Result<(AttemptEndpoint, usize), Failure> {
    let pool = ctx.runtime().pool(index).clone();
    let model = model.or(ctx.model()).unwrap_or_default();
    let picked = match pool.pick(&request(ctx, &client.head().headers, plan, model)) {
        Err(PickError::Saturated { .. }) if may_wait => {
            // Waiting watches the client meanwhile, which takes the client, so its headers are taken along.
            let headers = client.head().headers.clone();
            let request = request(ctx, &headers, plan, model);
            let joined = Instant::now();
            let out_of_time = ctx.deadlines.out_of_time();
            tokio::select! {
                picked = pool.admit(&request) => {
                    ctx.runtime().upstream_metrics(Upstream::Pool(index)).waited(joined.elapsed());
                    picked
                }
                gone = client.gone() => return Err(Failure::Gone(gone)),
                error = out_of_time => return Err(Failure::Gone(error)),
            }
        }
        picked => picked,
    };
    let picked = picked.map_err(|error| Failure::Full(pick_outcome(error), error.into()))?;
    let endpoint = AttemptEndpoint::Pool {
        endpoint: picked.endpoint,
        in_flight: Some(picked.in_flight),
        session: picked.session,
    };
    Ok((endpoint, picked.matched_blocks))
}

/// What the picker has to know about the request.
pub fn request<'a>(
    ctx: &'a RequestContext,
    headers: &'a HeaderMap,
    plan: &'a Plan,
    model: &'a str,
) -> PickRequest<'a> {
    let peeked = ctx.peeked.as_ref();
    PickRequest {
        model,
        blocks: peeked.map_or(&[], |peeked| &peeked.blocks),
        prompt_bytes: peeked.map_or(0, |peeked| peeked.prompt_bytes),
        max_tokens: peeked.and_then(|peeked| peeked.max_tokens),
        priority: 0,
        headers,
        exclude: &plan.failed_endpoints,
    }
}

/// Of two reasons why nothing could be picked, the one that tells the client more: that a pool is full says
/// "try again", that one is empty does not.
fn worse(last: Option<Error>, new: Error) -> Error {
    match last {
        Some(last) if last.retry_after().is_some() => last,
        _ => new,
    }
}

fn pick_outcome(error: PickError) -> PickOutcome {
    match error {
        PickError::NoEndpoints => PickOutcome::NoEndpoints,
        PickError::AllExcluded => PickOutcome::AllExcluded,
        PickError::Saturated { .. } => PickOutcome::Saturated,
        PickError::Shed { .. } => PickOutcome::Shed,
        PickError::QueueFull { .. } => PickOutcome::QueueFull,
        PickError::QueueTimeout { .. } => PickOutcome::QueueTimeout,
    }
}

fn balance_outcome(error: BalanceError) -> PickOutcome {
    match error {
        BalanceError::AllExcluded => PickOutcome::AllExcluded,
        BalanceError::Unresolved | BalanceError::NoneAvailable => PickOutcome::NoEndpoints,
    }
}

impl From<PickError> for Error {
    fn from(error: PickError) -> Self {
        match error {
            PickError::NoEndpoints | PickError::AllExcluded => Self::NoEndpoints,
            PickError::Saturated { retry_after } => Self::Saturated { retry_after },
            PickError::Shed { retry_after, .. } => Self::Shed { retry_after },
            PickError::QueueFull { retry_after } => Self::QueueFull { retry_after },
            PickError::QueueTimeout { retry_after } => Self::QueueTimeout { retry_after },
        }
    }
}

impl From<BalanceError> for Error {
    fn from(_: BalanceError) -> Self {
        Self::NoEndpoints
    }
}
