//! Bodies and headers of answers, as objects of Envoy Gateway have them.

use std::collections::BTreeMap;

use penstock_config::raw::RawHeaderEdits;
use serde_json::Value;

use crate::api::{FilterBody, FilterHeaders, HeaderModifier};
use crate::context::Context;
use crate::headers::modifier;
use crate::world::{Key, shorten};

/// The key of a ConfigMap that has the body of an answer.
const BODY: &str = "response.body";

/// The longest body that documents have, in bytes.
const MAX_BODY_BYTES: usize = 64 << 10;

/// The changes to headers that an object has in a field.
///
/// # Errors
/// Something of them is not acted on.
pub(crate) fn edits(field: &str, wanted: &FilterHeaders) -> Result<RawHeaderEdits, String> {
    whole(field, &wanted.others)?;
    for header in wanted.set.iter().chain(&wanted.add) {
        whole(field, &header.others)?;
    }
    Ok(modifier(&HeaderModifier::from(wanted)))
}

/// The body of an answer that an object at `owner` has in a field.
///
/// # Errors
/// It cannot be had, or is too long.
pub(crate) fn body(
    context: &Context<'_>,
    owner: &Key,
    field: &str,
    wanted: &FilterBody,
) -> Result<String, String> {
    whole(field, &wanted.others)?;
    let text = match wanted.kind.as_deref().unwrap_or("Inline") {
        "Inline" => wanted.inline.clone().unwrap_or_default(),
        "ValueRef" => {
            let reference =
                wanted.value_ref.as_ref().ok_or_else(|| format!("{field}.valueRef is missing"))?;
            whole(&format!("{field}.valueRef"), &reference.others)?;
            let kind = reference.kind.as_deref().unwrap_or_default();
            if kind != "ConfigMap" || !reference.group.as_deref().unwrap_or_default().is_empty() {
                return Err(format!("{field}.valueRef: ConfigMaps alone have bodies"));
            }
            let map = Key::new(&owner.namespace, &reference.name);
            let texts = context.config_map(&map);
            let text = texts.and_then(|texts| texts.get(BODY).or_else(|| texts.values().next()));
            text.cloned()
                .ok_or_else(|| format!("{field}.valueRef: there is no ConfigMap {map} with {BODY}"))?
        }
        other => return Err(format!("{field}.type: {:?} is not known", shorten(other, 40))),
    };
    if text.len() > MAX_BODY_BYTES {
        return Err(format!("{field} has more than {MAX_BODY_BYTES} bytes"));
    }
    Ok(text)
}

/// # Errors
/// Something of a field is not acted on.
pub(crate) fn whole(field: &str, others: &BTreeMap<String, Value>) -> Result<(), String> {
    match others.keys().next() {
        Some(name) => Err(format!("{field}.{} is not supported", shorten(name, 80))),
        None => Ok(()),
    }
}
