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
