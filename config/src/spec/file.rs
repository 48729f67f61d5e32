//! Files that a document names, and what surrounds it.

use std::path::PathBuf;
use std::sync::Arc;

/// What a document is relative to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// The directory of the document, to which `secretsFrom` and `endpointsFrom` are relative. Empty is the working
    /// directory.
    pub directory: PathBuf,
    /// In Kubernetes, a directory that has one for each Secret, with its keys as files. Without it, `secretsFrom` names
    /// the directory of the keys itself.
    pub secrets: Option<PathBuf>,
}

/// What `secretsFrom` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secrets {
    /// The name as written: a Secret's, or a directory.
    pub name: Arc<str>,
    /// Where its keys are files.
    pub directory: PathBuf,
}

/// A place at which a document uses `secret:KEY`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretUse {
    /// The place in the document.
    pub place: String,
    /// The key.
    pub key: Arc<str>,
    /// The file that holds its value.
    pub path: PathBuf,
}
