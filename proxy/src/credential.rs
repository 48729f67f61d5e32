//! A secret that the gateway adds to requests for an upstream. Read from a file, again when that changes, and never logged.

use std::path::PathBuf;

use arc_swap::ArcSwap;
use http::HeaderValue;
use penstock_sources::files::{self, ReadError};
use thiserror::Error;

/// The largest file that is read as a secret, in bytes. Tokens have some hundred, signed ones a few thousand.
const LIMIT_BYTES: u64 = 64 << 10;

/// Why a secret cannot be used. The secret itself is not part of the message.
#[derive(Debug, Error)]
pub(crate) enum CredentialError {
    /// The file could not be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: ReadError,
    },
    /// There is nothing in the file.
    #[error("{}: nothing in it: expected a token or a key", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// What is in the file cannot stand in a header.
    #[error("{}: cannot stand in a header: expected one line of printable ASCII", path.display())]
    NotAValue {
        /// The file.
        path: PathBuf,
    },
}

/// A secret, loaded.
pub(crate) struct Credential {
    spec: penstock_config::Credential,
    value: ArcSwap<HeaderValue>,
}

impl Credential {
    /// Reads the secret that `spec` names.
    ///
    /// # Errors
    /// See [`CredentialError`].
    pub(crate) fn load(spec: penstock_config::Credential) -> Result<Self, CredentialError> {
        let value = ArcSwap::from_pointee(read(&spec)?);
        Ok(Self { spec, value })
    }

    /// What this was built from.
    pub(crate) fn spec(&self) -> &penstock_config::Credential {
        &self.spec
    }

    /// The header's value. Marked as sensitive, so that it is not shown by accident.
    pub(crate) fn value(&self) -> HeaderValue {
        HeaderValue::clone(&self.value.load())
    }

    /// Reads the secret again. Says whether it changed; one that cannot be read leaves the one before.
    ///
    /// # Errors
    /// See [`CredentialError`].
    pub(crate) fn reload(&self) -> Result<bool, CredentialError> {
        let new = read(&self.spec)?;
        let has_changed = **self.value.load() != new;
        if has_changed {
            self.value.store(new.into());
        }
        Ok(has_changed)
    }
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Credential").field("spec", &self.spec).finish_non_exhaustive()
    }
}

fn read(spec: &penstock_config::Credential) -> Result<HeaderValue, CredentialError> {
    let path = || spec.file.clone();
    let text = files::read_text(&spec.file, LIMIT_BYTES)
        .map_err(|source| CredentialError::Read { path: path(), source })?;
    let secret = text.trim();
    if secret.is_empty() {
        return Err(CredentialError::Empty { path: path() });
    }
    let value = HeaderValue::from_str(&format!("{}{secret}", spec.prefix)).ok().filter(|_| secret.is_ascii());
    let mut value = value.ok_or_else(|| CredentialError::NotAValue { path: path() })?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(file: PathBuf) -> penstock_config::Credential {
        penstock_config::Credential { header: http::header::AUTHORIZATION, prefix: "Bearer ".into(), file }
    }

    #[test]
    fn a_secret_is_read_again_and_one_that_went_bad_leaves_the_one_before() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("key");
        std::fs::write(&file, "  sk-1\n").unwrap();
        let credential = Credential::load(spec(file.clone())).unwrap();
        assert_eq!(credential.value(), "Bearer sk-1");
        assert!(!credential.reload().unwrap());
        std::fs::write(&file, "sk-2").unwrap();
        assert!(credential.reload().unwrap());
        assert_eq!(credential.value(), "Bearer sk-2");
        for bad in ["", " \n", "two\nlines", "geheim-ß"] {
            std::fs::write(&file, bad).unwrap();
            let error = credential.reload().unwrap_err().to_string();
            assert!(
                error.contains("key:") && !error.contains("lines") && !error.contains("geheim"),
                "{error}"
            );
        }
        std::fs::remove_file(&file).unwrap();
        assert!(matches!(credential.reload(), Err(CredentialError::Read { .. })));
        assert_eq!(credential.value(), "Bearer sk-2");
    }

    #[test]
    fn a_secret_is_not_shown_by_debug() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("key");
        std::fs::write(&file, "hush").unwrap();
        let credential = Credential::load(spec(file)).unwrap();
        assert!(!format!("{credential:?} {:?}", credential.value()).contains("hush"));
    }
}
