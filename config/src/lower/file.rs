//! Lowering paths of files, which may be keys of a Secret.

use std::path::PathBuf;
use std::sync::Arc;

use rustc_hash::FxHashSet;

use super::text;
use crate::report::{FieldPath, Quoted, Report};
use crate::spec::{SecretUse, Secrets};

/// What a path starts with that is a key of a Secret.
const SECRET: &str = "secret:";

/// Turns what the document writes for a file into a path.
pub(super) struct Files {
    /// What `secretsFrom` names, and the directory that it stands for.
    secrets: Option<Secrets>,
    uses: Vec<SecretUse>,
    has_reported: bool,
}

impl Files {
    pub(super) fn new(secrets: Option<Secrets>) -> Self {
        Self { secrets, uses: Vec::new(), has_reported: false }
    }

    /// Whether what is written is a key of a Secret.
    pub(super) fn is_secret(written: &str) -> bool {
        written.starts_with(SECRET)
    }

    /// The path of a file.
    pub(super) fn path(&mut self, written: &str, place: &FieldPath<'_>, report: &mut Report) -> PathBuf {
        let Some(key) = written.strip_prefix(SECRET) else { return PathBuf::from(written) };
        if let Err(message) = text::secret_key(key) {
            report.add(place, || message);
            return PathBuf::new();
        }
        let Some(secrets) = &self.secrets else {
            // Once is enough: one line mends them all.
            if !std::mem::replace(&mut self.has_reported, true) {
                let message =
                    || format!("{} is a key of a Secret: name that in secretsFrom", Quoted(written));
                report.add(place, message);
            }
            return PathBuf::new();
        };
        let path = secrets.directory.join(key);
        self.uses.push(SecretUse { place: place.to_string(), key: key.into(), path: path.clone() });
        path
    }

    /// The Secret, and where its keys are used.
    pub(super) fn finish(self) -> (Option<Secrets>, Vec<SecretUse>) {
        (self.secrets, self.uses)
    }
}

/// References to `Endpoints` documents, each once.
pub(super) fn endpoints_from(raw: &[String], place: &FieldPath<'_>, report: &mut Report) -> Vec<Arc<str>> {
    const MAX_BYTES: usize = 4096;
    let mut seen = FxHashSet::default();
    for (index, reference) in raw.iter().enumerate() {
        let place = place.index(index);
        if reference.is_empty() || reference.len() > MAX_BYTES || reference.contains('\0') {
            report.add(&place, || format!("{} names no Endpoints document", Quoted(reference)));
        } else if !seen.insert(reference.as_str()) {
            report.add(&place, || format!("{} is given twice", Quoted(reference)));
        }
    }
    raw.iter().map(|reference| reference.as_str().into()).collect()
}
