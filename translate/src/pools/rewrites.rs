//! InferenceModelRewrites of both groups.

use std::collections::BTreeMap;
use std::ops::Deref;

use penstock_config::raw::{RawModelRewrite, RawModelRewriteTarget};

use super::is_pool;
use crate::api::{InferenceModelRewrite, RewriteRule};
use crate::context::{Context, by_age};
use crate::status::{Condition, Status, StatusUpdate};
use crate::world::{Key, Object, Resource};

/// The most rewrites that a document's pool can have.
const MAX: usize = 1024;

/// The most names that a rule can have.
const MAX_TARGETS: usize = 64;

/// The rewrites of each pool in the order in which they are tried: those for certain models first, then by age of their
/// objects, then as they stand there.
pub(super) fn read(
    context: &Context<'_>,
    statuses: &mut Vec<StatusUpdate>,
) -> BTreeMap<Key, Vec<RawModelRewrite>> {
    let mut reading = Reading { context, rewrites: BTreeMap::new(), statuses };
    for object in by_age(context.world.rewrites.iter().map(|(_, object)| &**object)) {
        reading.one(object, |spec| spec);
    }
    for object in by_age(context.world.legacy_rewrites.iter().map(|(_, object)| &**object)) {
        reading.one(object, Deref::deref);
    }
    for rewrites in reading.rewrites.values_mut() {
        rewrites.sort_by_key(|rewrite| rewrite.models.is_empty());
    }
    reading.rewrites
}

struct Reading<'a, 'w> {
    context: &'a Context<'w>,
    rewrites: BTreeMap<Key, Vec<RawModelRewrite>>,
    statuses: &'a mut Vec<StatusUpdate>,
}

impl Reading<'_, '_> {
    fn one<T: Resource>(&mut self, object: &Object<T>, spec: impl Fn(&T) -> &InferenceModelRewrite) {
        let accepted = match &object.spec {
            Ok(body) => self.take(&object.meta.key, spec(body)),
            Err(error) => Condition::no("Accepted", "Invalid", error.as_str()),
        };
        let mut conditions = vec![accepted];
        conditions.extend(Condition::fields(&object.unread));
        self.statuses.push(StatusUpdate::new(object, Status::Conditions(conditions)));
    }

    fn take(&mut self, key: &Key, spec: &InferenceModelRewrite) -> Condition {
        let no = |reason, message: String| Condition::no("Accepted", reason, message);
        if !is_pool(&spec.pool_ref) {
            return no("Invalid", "poolRef does not name an InferencePool".to_owned());
        }
        let pool = Key::new(key.namespace.as_str(), &spec.pool_ref.name);
        if self.context.world.pools.get(&pool).is_none() {
            return no("PoolNotFound", format!("the InferencePool {pool} does not exist"));
        }
        let rules: Result<Vec<RawModelRewrite>, String> = spec.rules.iter().map(rule).collect();
        let rules = match rules {
            Ok(rules) => rules,
            Err(message) => return no("Invalid", message),
        };
        let rewrites = self.rewrites.entry(pool.clone()).or_default();
        if rewrites.len() + rules.len() > MAX {
            return no("TooMany", format!("the InferencePool {pool} would have more than {MAX} rewrites"));
        }
        rewrites.extend(rules);
        Condition::yes("Accepted", "Accepted", format!("models are renamed on their way to pool {pool}"))
    }
}

fn rule(rule: &RewriteRule) -> Result<RawModelRewrite, String> {
    let mut models: Vec<String> = Vec::new();
    let mut is_generic = rule.matches.is_empty();
    for condition in &rule.matches {
        match &condition.model {
            None => is_generic = true,
            Some(model) if model.kind.as_deref().is_some_and(|kind| kind != "Exact") => {
                return Err("a match of a model can only be Exact".to_owned());
            }
            Some(model) if !models.contains(&model.value) => models.push(model.value.clone()),
            Some(_) => {}
        }
    }
    if is_generic {
        models.clear();
    }
    // As the Inference Extension has it: where some targets have a weight, those without get nothing.
    let is_weighted = rule.targets.iter().any(|target| target.weight.is_some());
    let weighted = rule.targets.iter().filter(|target| target.weight.is_some() || !is_weighted);
    let targets: Vec<RawModelRewriteTarget> = weighted
        .map(|target| RawModelRewriteTarget {
            model: target.model_rewrite.clone(),
            weight: target.weight.unwrap_or(1),
        })
        .filter(|target| target.weight > 0)
        .collect();
    if targets.is_empty() || targets.len() > MAX_TARGETS {
        return Err(format!("a rule needs 1 to {MAX_TARGETS} targets"));
    }
    if targets.iter().any(|target| target.model.is_empty()) {
        return Err("a target has no modelRewrite".to_owned());
    }
    Ok(RawModelRewrite { models, targets })
}
