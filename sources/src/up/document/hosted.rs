//! The part of a document that serves hosted APIs.
//!
//! A document cannot cut a prefix off a model's name, so `openai/gpt-5` is a rule for each model that is listed. Of a name that
//! several have, model servers come first, then names with a provider's prefix, then providers in their order: nobody's
//! prompts go to another provider because a list has changed there.

use std::collections::{BTreeMap, HashSet};

use penstock_config::check_model_name;
use serde_json::{Value, json};

use super::{Listed, MODELS_PER_RULE, Names, described};
use crate::up::hosted::Hosted;
use crate::up::listing::Model;

/// The most models of one provider that can also be asked for with its prefix: a rule each, of the 20,000 of a route.
const PREFIXED_MODELS: usize = 10_000;

/// What a document has for hosted APIs.
#[derive(Default)]
pub(super) struct Parts {
    pub(super) routes: Vec<Value>,
    pub(super) backends: Vec<Value>,
    /// What is known of their models beyond the names.
    pub(super) models: Vec<Value>,
}

/// Serves `hosted` beside model servers that have the models of `servers`.
pub(super) fn write(
    hosted: &[(&Hosted, &[Model])],
    servers: &BTreeMap<&str, Listed>,
    names: &mut Names,
) -> Parts {
    let mut taken: HashSet<String> = servers.keys().map(|&name| name.to_owned()).collect();
    let prefixed: Vec<Vec<(String, &str)>> =
        hosted.iter().map(|(hosted, models)| prefixed(hosted.name(), models, &mut taken)).collect();
    let (mut parts, mut patterns) = (Parts::default(), Vec::new());
    for ((hosted, models), prefixed) in hosted.iter().zip(prefixed) {
        let bare: Vec<&Model> = models.iter().filter(|model| taken.insert(model.id.clone())).collect();
        if bare.is_empty() && prefixed.is_empty() && hosted.pattern().is_none() {
            continue;
        }
        let name = names.unique(hosted.name());
        let targets = json!([hosted.target(&name, None)]);
        let ids: Vec<&str> = bare.iter().map(|model| &*model.id).collect();
        let mut rules: Vec<Value> =
            ids.chunks(MODELS_PER_RULE).map(|ids| json!({ "models": ids, "targets": targets })).collect();
        rules.extend(prefixed.into_iter().map(
            |(prefixed, id)| json!({ "models": [prefixed], "targets": [hosted.target(&name, Some(id))] }),
        ));
        if !rules.is_empty() {
            parts.routes.push(json!({ "name": name, "modelsOwnedBy": hosted.name(), "rules": rules }));
        }
        if let Some(pattern) = hosted.pattern() {
            let condition = json!({ "name": "x-ai-eg-model", "type": "RegularExpression", "value": pattern });
            let matches = json!([{ "headers": [condition] }]);
            let name = names.unique(&format!("{}-names", hosted.name()));
            let rules = json!([{ "matches": matches, "targets": targets }]);
            patterns.push(json!({ "name": name, "rules": rules }));
        }
        parts.backends.push(hosted.backend(&name));
        parts.models.extend(bare.into_iter().filter_map(described));
    }
    // After every rule with a whole name: among equals, the first in the document wins.
    parts.routes.append(&mut patterns);
    parts
}

/// `NAME/MODEL` for each model, with the model.
fn prefixed<'a>(name: &str, models: &'a [Model], taken: &mut HashSet<String>) -> Vec<(String, &'a str)> {
    let prefixed = models.iter().map(|model| (format!("{name}/{}", model.id), &*model.id));
    let is_free =
        |(prefixed, _): &(String, &str)| check_model_name(prefixed).is_ok() && taken.insert(prefixed.clone());
    prefixed.filter(is_free).take(PREFIXED_MODELS).collect()
}
