//! Files with secrets, read within a bound.

use std::io::Read as _;
use std::path::Path;

use secrecy::SecretString;
use tokio::io::AsyncReadExt as _;

use crate::error::{FetchError, FileFault};

/// The largest file that is read, in bytes. Keys of service accounts have some 2,400.
const LIMIT_BYTES: u64 = 64 << 10;

/// What is in a file, without white space at its ends. Never empty.
pub(crate) async fn read(path: &Path) -> Result<SecretString, FetchError> {
    let text = read_bounded(path).await.and_then(|text| {
        let trimmed = text.trim();
        if trimmed.is_empty() { Err(FileFault::Empty) } else { Ok(SecretString::from(trimmed)) }
    });
    text.map_err(|fault| FetchError::File { path: path.to_owned(), fault })
}

/// The bytes of a file, as far as they are looked at. For comparing them.
pub(crate) fn read_now(path: &Path) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    if std::fs::metadata(path).ok()?.is_file() {
        std::fs::File::open(path).ok()?.take(LIMIT_BYTES + 1).read_to_end(&mut bytes).ok()?;
    }
    Some(bytes)
}

async fn read_bounded(path: &Path) -> Result<String, FileFault> {
    // Asked before opening, because opening a pipe waits for its writer.
    if !tokio::fs::metadata(path).await?.is_file() {
        return Err(FileFault::Content("not a regular file"));
    }
    let mut text = String::new();
    tokio::fs::File::open(path).await?.take(LIMIT_BYTES + 1).read_to_string(&mut text).await?;
    if text.len() as u64 > LIMIT_BYTES {
        return Err(FileFault::TooLarge { limit_bytes: LIMIT_BYTES });
    }
    Ok(text)
}
