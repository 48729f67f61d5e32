//! The JSON schemas of the documents, and checking a document against its own.

mod check;
mod generate;

use std::sync::LazyLock;

use serde_json::Value;

use crate::raw::{BackendEndpointsDocument, Document, PoolEndpointsDocument, PricesDocument};
use crate::report::{FieldPath, Report};

pub(crate) use generate::resolve;

static ROUTING: LazyLock<Value> = LazyLock::new(|| generate::document_schema::<Document>("RoutingConfig"));
static POOL_ENDPOINTS: LazyLock<Value> =
    LazyLock::new(|| generate::document_schema::<PoolEndpointsDocument>("PoolEndpoints"));
static BACKEND_ENDPOINTS: LazyLock<Value> =
    LazyLock::new(|| generate::document_schema::<BackendEndpointsDocument>("BackendEndpoints"));
static PRICES: LazyLock<Value> = LazyLock::new(|| generate::document_schema::<PricesDocument>("Prices"));
static ENDPOINTS: LazyLock<Value> =
    LazyLock::new(|| generate::any_of("Endpoints", [&*POOL_ENDPOINTS, &*BACKEND_ENDPOINTS]));

/// A document that is read from text: its raw form.
pub(crate) trait RawDocument: serde::de::DeserializeOwned {
    /// Its schema.
    fn schema() -> &'static Value;
}

/// The JSON schema (2020-12) of the routing document.
///
/// Beyond the standard's keywords it has `x-minimum` and `x-maximum` for durations and sizes, and `x-values` with what
/// each value of an `enum` means.
pub fn schema() -> &'static Value {
    &ROUTING
}

/// The JSON schema of an `Endpoints` document, which lists the endpoints of a pool or those of a backend.
pub fn endpoints_schema() -> &'static Value {
    &ENDPOINTS
}

/// Reports every fault in the shape of a document of type `D`: fields that are unknown, missing, of another type or out of range.
/// Faulty fields that have a default are taken out; whether that was enough to make the rest readable is the answer.
pub(crate) fn check<D: RawDocument>(document: &mut Value, report: &mut Report) -> bool {
    let root = D::schema();
    check::Check { root, report }.value(document, root, &FieldPath::Root)
}

impl RawDocument for Document {
    fn schema() -> &'static Value {
        &ROUTING
    }
}

impl RawDocument for PoolEndpointsDocument {
    fn schema() -> &'static Value {
        &POOL_ENDPOINTS
    }
}

impl RawDocument for BackendEndpointsDocument {
    fn schema() -> &'static Value {
        &BACKEND_ENDPOINTS
    }
}

impl RawDocument for PricesDocument {
    fn schema() -> &'static Value {
        &PRICES
    }
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
        for schema in
            [Document::schema(), PoolEndpointsDocument::schema(), BackendEndpointsDocument::schema()]
        {
            keywords(schema, &mut found);
        }
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
                        &FieldPath::Root,
                    );
                }
                assert!(report.is_empty(), "{name}: {report:?}");
            }
        }
        walk(schema());
        schema()["$defs"].as_object().expect("there are definitions").values().for_each(walk);
    }
}
