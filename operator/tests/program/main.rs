//! The program as people run it, and all that it would write for a cluster.
#![expect(clippy::unwrap_used, reason = "a test that panics is a test that fails")]

mod cli;
mod published;
mod rbac;

use std::path::{Path, PathBuf};

use serde_json::Value;

/// A folder or file of this crate.
fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// The documents of a YAML stream.
fn documents(text: &str) -> Vec<Value> {
    let values: Vec<Value> = serde_saphyr::from_multiple(text).expect("YAML");
    values.into_iter().filter(Value::is_object).collect()
}
