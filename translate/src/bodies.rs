//! Changes to bodies.

use penstock_config::raw::{RawBodyEdits, RawBodyMember};

use crate::api::AiBodyMutation;
use crate::world::shorten;

/// Changes as AIServiceBackend and AIGatewayRoute have them. A member that is both removed and set is set, as Envoy AI
/// Gateway does it.
///
/// # Errors
/// A value that is no JSON, in words.
pub(crate) fn mutation(mutation: Option<&AiBodyMutation>) -> Result<RawBodyEdits, String> {
    let mut edits = RawBodyEdits::default();
    let Some(mutation) = mutation else { return Ok(edits) };
    for field in &mutation.set {
        let value = serde_json::from_str(&field.value).map_err(|error| {
            let (path, value) = (shorten(&field.path, 80), shorten(&field.value, 80));
            format!("bodyMutation: the value of {path:?} is no JSON ({error}): {value:?}; a text is in quotes, as \"\\\"flex\\\"\"")
        })?;
        edits.set.retain(|known| known.name != field.path);
        edits.set.push(RawBodyMember { name: field.path.clone(), value });
    }
    for name in &mutation.remove {
        if !edits.remove.contains(name) && edits.set.iter().all(|member| member.name != *name) {
            edits.remove.push(name.clone());
        }
    }
    Ok(edits)
}

/// Both of two changes; where they change the same member, the second counts.
pub(crate) fn merge(first: RawBodyEdits, second: RawBodyEdits) -> RawBodyEdits {
    let is_changed = |name: &str| {
        second.set.iter().any(|member| member.name == *name)
            || second.remove.iter().any(|other| other == name)
    };
    let mut merged = first;
    merged.set.retain(|member| !is_changed(&member.name));
    merged.remove.retain(|name| !is_changed(name));
    merged.set.extend(second.set);
    merged.remove.extend(second.remove);
    merged
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::AiBodyField;

    fn edits(set: &[(&str, &str)], remove: &[&str]) -> Result<RawBodyEdits, String> {
        let field = |(path, value): &(&str, &str)| AiBodyField {
            path: (*path).to_owned(),
            value: (*value).to_owned(),
        };
        let remove = remove.iter().map(|name| (*name).to_owned()).collect();
        mutation(Some(&AiBodyMutation { set: set.iter().map(field).collect(), remove }))
    }

    #[test]
    fn the_route_counts_where_both_change_a_member_and_what_is_set_counts_over_what_is_removed() {
        let backend = edits(&[("tier", "\"flex\""), ("n", "1"), ("user", "null")], &["seed", "n"]).unwrap();
        let route = edits(&[("seed", "7")], &["tier"]).unwrap();
        let merged = merge(backend, route);
        let set: Vec<_> =
            merged.set.iter().map(|member| (member.name.as_str(), member.value.clone())).collect();
        assert_eq!(set, [("n", json!(1)), ("user", json!(null)), ("seed", json!(7))]);
        assert_eq!(merged.remove, ["tier"]);
    }

    #[test]
    fn a_value_that_is_no_json_is_named() {
        let message = edits(&[("tier", "flex")], &[]).unwrap_err();
        assert!(message.contains("\"tier\" is no JSON") && message.contains("\"flex\""), "{message}");
    }
}
