//! Kubernetes manifests from files.

use std::fs;
use std::io::{self, Read as _};
use std::path::Path;

use penstock_translate::world::{ObjectError, World};
use serde_json::Value;

/// Why manifests cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ManifestError {
    /// A file cannot be read.
    #[error("{file}: {source}")]
    Read {
        /// The file.
        file: String,
        /// Why.
        source: io::Error,
    },
    /// A file is no YAML.
    #[error("{file}: not YAML: {message}")]
    Syntax {
        /// The file.
        file: String,
        /// Why.
        message: String,
    },
}

/// Takes in the objects of a file; `-` is the standard input. What is no object of a kind that is read is told in
/// `notes`, one line each.
///
/// # Errors
/// The file cannot be read, or is no YAML.
pub(super) fn read(
    file: &Path,
    namespace: &str,
    world: &mut World,
    notes: &mut Vec<String>,
) -> Result<(), ManifestError> {
    let shown = file.display().to_string();
    let text = match shown.as_str() {
        "-" => {
            let mut text = String::new();
            io::stdin().read_to_string(&mut text).map(|_| text)
        }
        _ => fs::read_to_string(file),
    };
    let text = text.map_err(|source| ManifestError::Read { file: shown.clone(), source })?;
    let values =
        documents(&text).map_err(|message| ManifestError::Syntax { file: shown.clone(), message })?;
    for value in values {
        take(value, namespace, world, &shown, notes);
    }
    Ok(())
}

/// The documents of a YAML stream. Those that are empty are left out.
pub(super) fn documents(text: &str) -> Result<Vec<Value>, String> {
    /// The most bytes of a file: a cluster of 10,000 Pods fits.
    const MAX_BYTES: usize = 256 << 20;
    if text.len() > MAX_BYTES {
        return Err(format!("it has more than {MAX_BYTES} bytes"));
    }
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_documents: 1_000_000,
            max_depth: 128,
            max_nodes: 50_000_000,
            max_events: 100_000_000,
            max_total_scalar_bytes: MAX_BYTES,
        },
        with_snippet: false,
    };
    let values: Vec<Value> =
        serde_saphyr::from_multiple_with_options(text, options).map_err(|error| error.to_string())?;
    Ok(values.into_iter().filter(|value| !value.is_null()).collect())
}

/// Takes in an object, or those of a `List`.
fn take(mut value: Value, namespace: &str, world: &mut World, file: &str, notes: &mut Vec<String>) {
    let is_list = value.get("kind").and_then(Value::as_str).is_some_and(|kind| kind.ends_with("List"));
    if let (true, Some(Value::Array(items))) = (is_list, value.get_mut("items").map(Value::take)) {
        for item in items {
            take(item, namespace, world, file, notes);
        }
        return;
    }
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.entry("namespace").or_insert_with(|| namespace.into());
    }
    match world.apply(value) {
        Ok(_) => {}
        Err(error @ ObjectError::Shape) => notes.push(format!("{file}: left out: {error}")),
        Err(error @ ObjectError::Kind { .. }) => notes.push(format!("{file}: left out: {error}")),
    }
}
