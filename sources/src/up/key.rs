//! The key that protected model servers ask for.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use http::HeaderValue;
use tempfile::TempDir;
use thiserror::Error;

use crate::files::{self, ReadError};

/// The largest file that is read as a key, in bytes.
const LIMIT_BYTES: u64 = 64 << 10;

/// A key in a file. It is a file even where it was given otherwise, because a routing document names files and never
/// holds a secret.
#[derive(Debug)]
pub struct ApiKey {
    file: PathBuf,
    /// Removed with the key, where the file was made for it.
    _directory: Option<TempDir>,
}

/// Why a key cannot be used. The key itself is not part of the message.
#[derive(Debug, Error)]
pub enum ApiKeyError {
    /// The file could not be read.
    #[error("the file with the API key cannot be used: {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: ReadError,
    },
    /// It is empty, or cannot stand in a header.
    #[error("the API key is empty, or not one line of printable ASCII")]
    NotAKey,
    /// The key cannot be put into a file.
    #[error("the API key cannot be kept in a temporary file: {0}")]
    Keep(#[source] io::Error),
}

impl ApiKey {
    /// The key in `file`, which is read again each time.
    #[must_use]
    pub fn in_file(file: PathBuf) -> Self {
        Self { file, _directory: None }
    }

    /// A key that was given as text: it is kept in a file that this user alone may read, until the end of the process.
    ///
    /// # Errors
    /// It is no key, or the file cannot be written.
    pub fn from_text(key: &str) -> Result<Self, ApiKeyError> {
        header("", key)?;
        Self::keep(key)
    }

    /// Keys of AWS: they are kept in a file of the form of `~/.aws/credentials`, with the profile `default`.
    ///
    /// # Errors
    /// They are no keys, or the file cannot be written.
    pub fn of_aws(
        access_key: &str,
        secret_key: &str,
        session_token: Option<&str>,
    ) -> Result<Self, ApiKeyError> {
        let mut text = "[default]\n".to_owned();
        let keys = [
            ("aws_access_key_id", Some(access_key)),
            ("aws_secret_access_key", Some(secret_key)),
            ("aws_session_token", session_token),
        ];
        for (name, key) in keys {
            let Some(key) = key else { continue };
            header("", key)?;
            text.push_str(&format!("{name} = {}\n", key.trim()));
        }
        Self::keep(&text)
    }

    fn keep(text: &str) -> Result<Self, ApiKeyError> {
        let directory = tempfile::Builder::new().prefix("penstock-").tempdir().map_err(ApiKeyError::Keep)?;
        let file = directory.path().join("api-key");
        write_private(&file, text).map_err(ApiKeyError::Keep)?;
        Ok(Self { file, _directory: Some(directory) })
    }

    /// Where the key is.
    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    /// The `Authorization` header that shows the key.
    pub(super) fn authorization(&self) -> Result<HeaderValue, ApiKeyError> {
        self.header("Bearer ")
    }

    /// The value of a header that shows the key, after `prefix`.
    pub(super) fn header(&self, prefix: &str) -> Result<HeaderValue, ApiKeyError> {
        let read = files::read_text(&self.file, LIMIT_BYTES);
        header(prefix, &read.map_err(|source| ApiKeyError::Read { path: self.file.clone(), source })?)
    }
}

fn header(prefix: &str, key: &str) -> Result<HeaderValue, ApiKeyError> {
    let key = key.trim();
    let value = HeaderValue::from_str(&format!("{prefix}{key}")).ok();
    let mut value = value.filter(|_| !key.is_empty() && key.is_ascii()).ok_or(ApiKeyError::NotAKey)?;
    value.set_sensitive(true);
    Ok(value)
}

fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_key_given_as_text_is_in_a_file_for_this_user_alone_and_goes_with_it() {
        let key = ApiKey::from_text("sk-1\n").unwrap();
        assert_eq!(key.authorization().unwrap(), "Bearer sk-1");
        let file = key.file().to_owned();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!format!("{key:?} {:?}", key.authorization()).contains("sk-1"));
        drop(key);
        assert!(!file.exists());
    }

    #[test]
    fn what_is_no_key_is_refused_without_being_shown() {
        for text in ["", " \n", "two\nlines", "geheim-ß"] {
            let error = ApiKey::from_text(text).unwrap_err().to_string();
            assert!(!error.contains("lines") && !error.contains("geheim"), "{error}");
        }
        let missing = ApiKey::in_file("/does/not/exist".into());
        assert!(matches!(missing.authorization(), Err(ApiKeyError::Read { .. })));
    }
}
