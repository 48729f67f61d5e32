//! Documents as people read them: YAML, without what is so by default.

use penstock_config::raw::{BackendEndpointsDocument, Document, PoolEndpointsDocument, RawMetadata};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::endpoints::Endpoints;

/// Why a document cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// It is no JSON.
    #[error("the document cannot be written: {0}")]
    Json(#[from] serde_json::Error),
    /// It is no YAML.
    #[error("the document cannot be written: {0}")]
    Yaml(#[from] serde_saphyr::SerializeError),
}

/// A routing document as YAML.
///
/// # Errors
/// None that a document of a translation leads to.
pub fn render(document: &Document) -> Result<String, RenderError> {
    yaml(document)
}

/// A shard of a pool's or backend's endpoints as YAML, with a name and a generation for those who debug.
///
/// # Errors
/// None that endpoints of a translation lead to.
pub fn render_endpoints(
    endpoints: &Endpoints,
    name: &str,
    generation: Option<u64>,
) -> Result<String, RenderError> {
    let metadata = RawMetadata { name: Some(name.to_owned()), generation };
    match endpoints.clone() {
        Endpoints::Pool(endpoints) => {
            yaml(&PoolEndpointsDocument { metadata, endpoints, ..PoolEndpointsDocument::default() })
        }
        Endpoints::Backend(endpoints) => {
            yaml(&BackendEndpointsDocument { metadata, endpoints, ..BackendEndpointsDocument::default() })
        }
    }
}

fn yaml(document: &impl Serialize) -> Result<String, RenderError> {
    let mut value = serde_json::to_value(document)?;
    prune(&mut value);
    let mut text = serde_saphyr::to_string(&value)?;
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}

/// Groups of knobs, and what they are by default.
fn groups() -> [(&'static str, Value); 12] {
    use penstock_config::raw;
    let value = |json: Result<Value, serde_json::Error>| json.unwrap_or_default();
    [
        ("timeouts", value(serde_json::to_value(raw::RawTimeouts::default()))),
        ("retry", value(serde_json::to_value(raw::RawRetry::default()))),
        ("connection", value(serde_json::to_value(raw::RawConnection::default()))),
        ("metrics", value(serde_json::to_value(raw::RawMetrics::default()))),
        ("saturation", value(serde_json::to_value(raw::RawSaturation::default()))),
        ("ejection", value(serde_json::to_value(raw::RawEjection::default()))),
        ("limits", value(serde_json::to_value(raw::RawLimits::default()))),
        ("peek", value(serde_json::to_value(raw::RawPeek::default()))),
        ("accessLog", value(serde_json::to_value(raw::RawAccessLog::default()))),
        ("admin", value(serde_json::to_value(raw::RawAdmin::default()))),
        ("shutdown", value(serde_json::to_value(raw::RawShutdown::default()))),
        ("metadata", value(serde_json::to_value(RawMetadata::default()))),
    ]
}

/// Takes out what is so by default, from the parts of a document that are known to have it.
fn prune(document: &mut Value) {
    let groups = groups();
    let Value::Object(fields) = document else { return };
    prune_object(fields, &groups, &[("replicas", 1.into())]);
    for list in ["pools", "backends", "routes"] {
        if fields.get(list).and_then(Value::as_array).is_some_and(Vec::is_empty) {
            fields.shift_remove(list);
        }
    }
    for (list, request_encoding) in [("pools", "identity"), ("backends", "any")] {
        let upstream = [
            ("protocol", "http1".into()),
            ("engine", "vllm".into()),
            ("balancing", "RoundRobin".into()),
            ("resolveInterval", "30s".into()),
            ("requestEncoding", request_encoding.into()),
            ("responseEncoding", "identity".into()),
            ("endpoints", Value::Array(Vec::new())),
        ];
        each(fields.get_mut(list), |item| {
            each(item.get_mut("endpoints"), |endpoint| prune_object(endpoint, &[], &[("weight", 1.into())]));
            each(item.get_mut("objectives"), |it| prune_object(it, &[], &[("priority", 0.into())]));
            if let Some(Value::Object(tls)) = item.get_mut("tls") {
                prune_object(tls, &[], &[("insecureSkipVerify", false.into())]);
            }
            prune_object(item, &groups, &upstream);
        });
    }
    each(fields.get_mut("listeners"), |it| prune_object(it, &[], &[("protocol", "HTTP".into())]));
    each(fields.get_mut("routes"), |route| {
        prune_object(route, &[], &[("modelsOwnedBy", "penstock".into())]);
        each(route.get_mut("rules"), |rule| {
            prune_object(rule, &groups, &[]);
            let target = [("weight", 1.into()), ("priority", 0.into())];
            each(rule.get_mut("targets"), |it| prune_object(it, &[], &target));
            each(rule.get_mut("mirrors"), |it| prune_object(it, &[], &[("percent", 100.into())]));
        });
    });
}

fn each(list: Option<&mut Value>, mut act: impl FnMut(&mut Map<String, Value>)) {
    let items = list.and_then(Value::as_array_mut).into_iter().flatten();
    items.filter_map(Value::as_object_mut).for_each(&mut act);
}

/// Takes out fields that have their default, and groups that have nothing else.
fn prune_object(fields: &mut Map<String, Value>, groups: &[(&str, Value)], defaults: &[(&str, Value)]) {
    for (name, default) in defaults {
        if fields.get(*name) == Some(default) {
            fields.shift_remove(*name);
        }
    }
    for (name, default) in groups {
        let Some(Value::Object(group)) = fields.get_mut(*name) else { continue };
        group.retain(|field, value| default.get(field) != Some(value));
        if group.is_empty() {
            fields.shift_remove(*name);
        }
    }
}
