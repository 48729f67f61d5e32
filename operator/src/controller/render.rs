//! From changes to plans, off the runtime's threads: a large cluster takes tens of milliseconds.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use penstock_translate::{
    Options, Translation, translate,
    world::{Key, World},
};
use tokio::{task::JoinError, time::Instant};
use tracing::warn;

use super::Parts;
use crate::{
    cluster::Changes,
    publish::{Context, Pieces, Plan},
};

/// What a translation came to, and what is to be done about it.
#[derive(Debug, Default)]
pub(super) struct Rendering {
    /// The objects that it was made from.
    pub(super) world: World,
    /// The translation; `None` before the first.
    pub(super) translation: Option<Arc<Translation>>,
    /// What each Gateway's plan is made of.
    pub(super) pieces: BTreeMap<Key, Pieces>,
    /// Why a Gateway has no plan.
    pub(super) failures: BTreeMap<Key, String>,
    /// Plans that nobody has carried out yet.
    pub(super) plans: Vec<Arc<Plan>>,
    /// Whether statuses may have changed since they were written.
    pub(super) has_new_statuses: bool,
    /// Whether something that is referred to was not read yet, so that nothing of it may be published.
    pub(super) is_incomplete: bool,
}

/// What is to be rendered.
#[derive(Debug)]
pub(super) struct Scope {
    pub(super) world: World,
    pub(super) changes: Changes,
    pub(super) is_leader: bool,
    pub(super) is_new_leader: bool,
}

/// Renders what changed.
///
/// # Errors
/// It panicked.
pub(super) async fn render(parts: &Parts, last: Rendering, scope: Scope) -> Result<Rendering, JoinError> {
    let parts = parts.clone();
    tokio::task::spawn_blocking(move || {
        let started = Instant::now();
        let is_short = last.translation.is_some()
            && !last.is_incomplete
            && !scope.is_new_leader
            && scope.changes.is_endpoints_only();
        let short = if is_short { Some(endpoints(&parts, last, &scope)) } else { None };
        let rendering = match short {
            Some(Ok(rendering)) => {
                parts.health.metrics.translations.with_label_values(&["endpoints"]).inc();
                rendering
            }
            Some(Err(last)) => all(&parts, last, scope),
            None => all(&parts, Rendering::default(), scope),
        };
        parts.health.metrics.translation_duration.observe(started.elapsed().as_secs_f64());
        rendering
    })
    .await
}

/// The short way. Gives the rendering back if it does not lead there.
#[expect(clippy::result_large_err, reason = "one of each, and both are the caller's to keep")]
fn endpoints(parts: &Parts, last: Rendering, scope: &Scope) -> Result<Rendering, Rendering> {
    let mut rendering = last;
    rendering.world = scope.world.clone();
    if !scope.is_leader || scope.changes.is_empty() {
        return Ok(rendering);
    }
    let context = context(parts, &scope.world);
    for (gateway, pieces) in &mut rendering.pieces {
        match pieces.refresh(context, &scope.changes) {
            Ok(Some(false)) => {}
            Ok(Some(true)) => rendering.plans.push(Arc::new(pieces.plan(scope.changes.since))),
            Ok(None) => return Err(rendering),
            Err(error) => {
                warn!(%gateway, %error, "endpoints cannot be published");
                rendering.failures.insert(gateway.clone(), error.to_string());
                rendering.has_new_statuses = true;
            }
        }
    }
    Ok(rendering)
}

/// The long way.
fn all(parts: &Parts, last: Rendering, scope: Scope) -> Rendering {
    drop(last);
    let options = Options {
        gateway_api_version: parts.cluster.gateway_api_version(),
        unknown_kinds: parts.cluster.unknown_kinds(),
        ..parts.options.clone()
    };
    let translation = translate(&scope.world, &options);
    parts.health.metrics.translations.with_label_values(&["all"]).inc();
    parts.referred.want(&translation.wanted);
    let mut rendering = Rendering {
        is_incomplete: !parts.referred.is_complete(),
        has_new_statuses: true,
        ..Rendering::default()
    };
    if scope.is_leader && !rendering.is_incomplete {
        let context = context(parts, &scope.world);
        for (gateway, output) in &translation.gateways {
            match Pieces::new(context, gateway, output) {
                Ok(pieces) => {
                    rendering.plans.push(Arc::new(pieces.plan(scope.changes.since)));
                    rendering.pieces.insert(gateway.clone(), pieces);
                }
                Err(error) => {
                    warn!(%gateway, %error, "the Gateway cannot be published");
                    rendering.failures.insert(gateway.clone(), error.to_string());
                }
            }
        }
    }
    rendering.world = scope.world;
    rendering.translation = Some(Arc::new(translation));
    rendering
}

fn context<'a>(parts: &'a Parts, world: &'a World) -> Context<'a> {
    Context { world, options: &parts.options, data_plane: &parts.data_plane, owned: &parts.owned }
}

impl Rendering {
    /// The Gateways that are ours.
    pub(super) fn gateways(&self) -> BTreeSet<Key> {
        self.translation.iter().flat_map(|translation| translation.gateways.keys().cloned()).collect()
    }
}
