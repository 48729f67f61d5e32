//! Files that configure the gateway, read within a bound.
//!
//! Everything that comes from a file goes through here, so that a path that names a device, a pipe or a
//! huge file is an error message and not a gateway that hangs or runs out of memory.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use thiserror::Error;

/// The largest file that is read as a routing document or as a list of endpoints, in bytes.
pub const DOCUMENT_LIMIT_BYTES: u64 = penstock_config::MAX_DOCUMENT_BYTES as u64;

/// Why a configuration file could not be read. The path is left out: whoever asked puts it in front.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The file is missing, or may not be opened.
    #[error("cannot open the file: {0}")]
    Open(#[source] io::Error),
    /// The path leads to a directory, a pipe or a device.
    #[error("not a regular file")]
    NotAFile,
    /// The file is larger than the caller allows.
    #[error("larger than {limit_bytes} bytes, the most that is read")]
    TooLarge {
        /// The bound that was exceeded.
        limit_bytes: u64,
    },
    /// The file could be opened but not read.
    #[error("cannot read the file: {0}")]
    Read(#[source] io::Error),
    /// The file was expected to hold text.
    #[error("not UTF-8 (first bad byte at offset {offset})")]
    NotUtf8 {
        /// Where the text stops being UTF-8.
        offset: usize,
    },
}

/// Reads a whole regular file of at most `limit_bytes`. Symbolic links are followed.
///
/// # Errors
/// See [`ReadError`].
pub fn read(path: &Path, limit_bytes: u64) -> Result<Vec<u8>, ReadError> {
    // Asked before opening, because opening a pipe waits for its writer.
    let metadata = std::fs::metadata(path).map_err(ReadError::Open)?;
    if !metadata.is_file() {
        return Err(ReadError::NotAFile);
    }
    let file = File::open(path).map_err(ReadError::Open)?;
    read_from(file, limit_bytes)
}

/// As [`read`], for a file that holds text. A byte order mark is not part of the text.
///
/// # Errors
/// See [`ReadError`].
pub fn read_text(path: &Path, limit_bytes: u64) -> Result<String, ReadError> {
    text(read(path, limit_bytes)?)
}

/// Reads text from an open stream, such as standard input, within `limit_bytes`.
///
/// # Errors
/// See [`ReadError`].
pub fn read_text_from(stream: impl Read, limit_bytes: u64) -> Result<String, ReadError> {
    text(read_from(stream, limit_bytes)?)
}

fn read_from(stream: impl Read, limit_bytes: u64) -> Result<Vec<u8>, ReadError> {
    let mut content = Vec::new();
    // One byte more than allowed tells a file of exactly the limit from a larger one; the size that
    // the metadata gives is a guess while someone writes.
    stream.take(limit_bytes.saturating_add(1)).read_to_end(&mut content).map_err(ReadError::Read)?;
    if content.len() as u64 > limit_bytes {
        return Err(ReadError::TooLarge { limit_bytes });
    }
    Ok(content)
}

fn text(content: Vec<u8>) -> Result<String, ReadError> {
    let mut text = String::from_utf8(content)
        .map_err(|error| ReadError::NotUtf8 { offset: error.utf8_error().valid_up_to() })?;
    if text.starts_with('\u{feff}') {
        text.drain(..'\u{feff}'.len_utf8());
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_exactly_the_limit_is_read_and_one_byte_more_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, [b'x'; 16]).unwrap();
        assert_eq!(read(&path, 16).unwrap().len(), 16);
        assert!(matches!(read(&path, 15), Err(ReadError::TooLarge { limit_bytes: 15 })));
    }

    #[test]
    fn a_directory_and_a_missing_file_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(read(dir.path(), 1), Err(ReadError::NotAFile)));
        assert!(matches!(read(&dir.path().join("none"), 1), Err(ReadError::Open(_))));
    }

    #[test]
    fn text_loses_its_byte_order_mark_and_reports_where_it_is_not_utf8() {
        assert_eq!(read_text_from(&b"\xef\xbb\xbfa: 1"[..], 64).unwrap(), "a: 1");
        assert!(matches!(read_text_from(&b"ab\xff"[..], 64), Err(ReadError::NotUtf8 { offset: 2 })));
    }
}
