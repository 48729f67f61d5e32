//! InferenceObjectives of both groups.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;

use penstock_config::raw::RawObjective;

use super::is_pool;
use crate::api::InferenceObjective;
use crate::context::{Context, by_age};
use crate::status::{Condition, Status, StatusUpdate};
use crate::world::{Key, Object, Resource};

/// The most objectives that a document's pool can have.
const MAX: usize = 1024;

/// The objectives of each pool. Where both groups have one of a name, that of `llm-d.ai` counts.
pub(super) fn read(
    context: &Context<'_>,
    statuses: &mut Vec<StatusUpdate>,
) -> BTreeMap<Key, Vec<RawObjective>> {
    let mut reading = Reading { context, seen: BTreeSet::new(), objectives: BTreeMap::new(), statuses };
    for object in by_age(context.world.objectives.iter().map(|(_, object)| &**object)) {
        reading.one(object, |spec| spec);
    }
    for object in by_age(context.world.legacy_objectives.iter().map(|(_, object)| &**object)) {
        reading.one(object, Deref::deref);
    }
    reading.objectives
}

struct Reading<'a, 'w> {
    context: &'a Context<'w>,
    seen: BTreeSet<Key>,
    objectives: BTreeMap<Key, Vec<RawObjective>>,
    statuses: &'a mut Vec<StatusUpdate>,
}

impl Reading<'_, '_> {
    fn one<T: Resource>(&mut self, object: &Object<T>, spec: impl Fn(&T) -> &InferenceObjective) {
        let accepted = match &object.spec {
            Ok(body) => self.take(&object.meta.key, spec(body)),
            Err(error) => Condition::no("Accepted", "Invalid", error.as_str()),
        };
        let mut conditions = vec![accepted];
        conditions.extend(Condition::fields(&object.unread));
        self.statuses.push(StatusUpdate::new(object, Status::Conditions(conditions)));
    }

    fn take(&mut self, key: &Key, spec: &InferenceObjective) -> Condition {
        let no = |reason, message: String| Condition::no("Accepted", reason, message);
        if !is_pool(&spec.pool_ref) {
            return no("Invalid", "poolRef does not name an InferencePool".to_owned());
        }
        if !self.seen.insert(key.clone()) {
            return no("Shadowed", "the group llm-d.ai has an objective of this name".to_owned());
        }
        let pool = Key::new(key.namespace.as_str(), &spec.pool_ref.name);
        if self.context.world.pools.get(&pool).is_none() {
            return no("PoolNotFound", format!("the InferencePool {pool} does not exist"));
        }
        let objectives = self.objectives.entry(pool.clone()).or_default();
        if objectives.len() >= MAX {
            return no("TooMany", format!("the InferencePool {pool} has {MAX} older objectives"));
        }
        let priority = spec.priority.unwrap_or_default();
        objectives.push(RawObjective { name: key.name.clone(), priority });
        let message = format!("requests to pool {pool} that name it have priority {priority}");
        Condition::yes("Accepted", "Accepted", message)
    }
}
