//! The JSON schema of the document, and checking a document against it.

mod check;
mod generate;

use std::sync::LazyLock;

use serde_json::Value;

use crate::report::{Place, Report};

pub(crate) use generate::resolve;

static SCHEMA: LazyLock<Value> = LazyLock::new(generate::document_schema);

/// The JSON schema (2020-12) of the routing document.
///
/// Beyond the standard's keywords it has `x-minimum` and `x-maximum` for durations and sizes, and `x-values` with what
/// each value of an `enum` means.
pub fn schema() -> &'static Value {
    &SCHEMA
}

/// Reports every fault in the shape of `document`: fields that are unknown, missing, of another type or out of range.
/// Faulty fields that have a default are taken out; whether that was enough to make the rest readable is the answer.
pub(crate) fn check(document: &mut Value, report: &mut Report) -> bool {
    check::Check { root: &SCHEMA, report }.value(document, &SCHEMA, &Place::Root)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every keyword of a schema, wherever a schema can stand.
    fn keywords(schema: &Value, found: &mut Vec<String>) {
        for (keyword, value) in schema.as_object().into_iter().flatten() {
            found.push(keyword.clone());
            match keyword.as_str() {
                "properties" | "$defs" => {
                    value.as_object().into_iter().flatten().for_each(|(_, inner)| keywords(inner, found))
                }
                "items" | "additionalProperties" => keywords(value, found),
                _ => {}
            }
        }
    }

    #[test]
    fn the_schema_has_no_keyword_that_the_check_would_overlook() {
        let mut found = Vec::new();
        keywords(schema(), &mut found);
        found.retain(|keyword| !check::KNOWN_KEYWORDS.contains(&keyword.as_str()));
        assert!(found.is_empty(), "{found:?}");
    }

    #[test]
    fn the_defaults_lie_in_their_ranges() {
        fn walk(schema: &Value) {
            for (name, property) in schema["properties"].as_object().into_iter().flatten() {
                let mut default = property["default"].clone();
                let mut report = Report::default();
                if !default.is_null() {
                    check::Check { root: self::schema(), report: &mut report }.value(
                        &mut default,
                        property,
                        &Place::Root,
                    );
                }
                assert!(report.is_empty(), "{name}: {report:?}");
            }
        }
        walk(schema());
        schema()["$defs"].as_object().expect("there are definitions").values().for_each(walk);
    }
}
