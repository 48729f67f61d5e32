//! Rules that never see a request, because an older route has the same conditions on the same listener and host.
//!
//! The Gateway API settles such conflicts by age and leaves it at that. Whoever wrote the younger route should hear of it,
//! and a route that could only ever serve what another tenant's route serves is refused.

use std::collections::BTreeMap;

use penstock_config::raw::{RawMatch, RawPathMatchType, RawRule};

use crate::attach::AttachedRoute;
use crate::world::ObjectId;

/// A rule that never sees a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shadow {
    /// Its route's position among all routes.
    pub(crate) route: usize,
    /// Its position in the object.
    pub(crate) rule: usize,
    /// The older route.
    pub(crate) by: ObjectId,
}

/// The rules of a Gateway that never see a request. `routes` are in the order of precedence.
pub(crate) fn find(routes: &[AttachedRoute<'_>]) -> Vec<Shadow> {
    let mut taken: BTreeMap<(usize, &str, String), usize> = BTreeMap::new();
    let mut shadows = Vec::new();
    for (index, attached) in routes.iter().enumerate() {
        let mut hosts: Vec<&str> = attached.hostnames.iter().map(String::as_str).collect();
        if hosts.is_empty() {
            hosts.push("");
        }
        for rule in &attached.built.rules {
            let mut older = None;
            let mut is_reached = false;
            for condition in conditions(&rule.raw) {
                for listener in &attached.listeners {
                    for host in &hosts {
                        let key = (*listener, *host, condition.clone());
                        match *taken.entry(key).or_insert(index) {
                            first if first == index => is_reached = true,
                            first => older = older.or(Some(first)),
                        }
                    }
                }
            }
            if let (Some(older), false) = (older, is_reached) {
                let by = routes[older].id.clone();
                shadows.push(Shadow { route: attached.route, rule: rule.position, by });
            }
        }
    }
    shadows
}

/// The ways to match a rule, each in a form that is equal for equal conditions.
fn conditions(rule: &RawRule) -> Vec<String> {
    let everything = [RawMatch::default()];
    let matches = if rule.matches.is_empty() { &everything[..] } else { &rule.matches };
    let models: Vec<Option<&str>> = match rule.models.as_slice() {
        [] => vec![None],
        models => models.iter().map(|model| Some(model.as_str())).collect(),
    };
    let with_model =
        |one: &RawMatch| -> Vec<String> { models.iter().map(|model| normal(one, *model)).collect() };
    matches.iter().flat_map(with_model).collect()
}

fn normal(one: &RawMatch, model: Option<&str>) -> String {
    let path = one.path.as_ref().map_or((RawPathMatchType::PathPrefix, ""), |path| match path.kind {
        RawPathMatchType::PathPrefix => (path.kind, path.value.trim_end_matches('/')),
        _ => (path.kind, path.value.as_str()),
    });
    let mut headers: Vec<(String, String)> = one
        .headers
        .iter()
        .map(|header| (header.name.to_ascii_lowercase(), format!("{:?}:{}", header.kind, header.value)))
        .collect();
    if let Some(model) = model {
        headers.push(("x-ai-eg-model".to_owned(), format!("Exact:{model}")));
    }
    headers.sort();
    let mut params: Vec<(&str, String)> = one
        .query_params
        .iter()
        .map(|param| (param.name.as_str(), format!("{:?}:{}", param.kind, param.value)))
        .collect();
    params.sort();
    format!("{path:?} {:?} {headers:?} {params:?}", one.method)
}

#[cfg(test)]
mod tests {
    use penstock_config::raw::{RawHeaderMatch, RawMatch, RawPathMatch, RawPathMatchType, RawRule};

    use super::conditions;

    #[test]
    fn conditions_that_mean_the_same_are_equal() {
        let header = |name: &str, value: &str| RawHeaderMatch {
            kind: Default::default(),
            name: name.to_owned(),
            value: value.to_owned(),
        };
        let short = RawRule { models: vec!["m".to_owned()], ..RawRule::default() };
        let path = RawPathMatch { kind: RawPathMatchType::PathPrefix, value: "/".to_owned() };
        let headers = vec![header("X-AI-EG-Model", "m")];
        let long = RawMatch { path: Some(path), headers, ..RawMatch::default() };
        let long = RawRule { matches: vec![long], ..RawRule::default() };
        assert_eq!(conditions(&short), conditions(&long));
        let other = RawRule { models: vec!["n".to_owned()], ..RawRule::default() };
        assert_ne!(conditions(&short), conditions(&other));
    }
}
