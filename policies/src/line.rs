//! What is wrong with a line of a file, in words that do not quote it: it may be a key.

/// The length that a name may have, in bytes; that of the document's consumers.
const MAX_NAME_BYTES: usize = 253;

/// A file that is refused because of one of its lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {fault}")]
pub struct LineError {
    /// The line, from 1 on.
    pub line: usize,
    /// What is wrong with it.
    pub fault: LineFault,
}

/// What is wrong with a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LineFault {
    /// A file of keys has a name and a digest in each line.
    #[error("has to be a consumer's name, white space and a key's digest, and nothing else")]
    NotTwoWords,
    /// The digest is none.
    #[error("has to have \"sha256:\" and 64 hexadecimal digits as its second word")]
    NotADigest,
    /// Another line has the same digest for another consumer.
    #[error("has the digest of a line above it, which is another consumer's")]
    KeyOfAnother,
    /// The name is one that nobody can have.
    #[error("has no name, one beyond 253 bytes, or one with control characters")]
    NotAName,
    /// A file of users has a name, a colon and a digest in each line.
    #[error("has to be a user's name, a colon and \"{{SHA}}\" with a digest")]
    NoColon,
    /// The password is hashed in another way, or not at all.
    #[error(
        "has to have \"{{SHA}}\" behind the name, as htpasswd -s writes it: other hashes cost too much a request"
    )]
    OtherHash,
    /// What follows `{SHA}` is no SHA-1.
    #[error("has to have the Base64 of 20 bytes behind \"{{SHA}}\"")]
    NotASha1,
    /// Another line has the same user.
    #[error("has the user of a line above it")]
    UserTwice,
}

/// The lines that say something, with their numbers. An editor's byte order mark is no part of the first.
pub(crate) fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let numbered = text.lines().enumerate().map(|(at, line)| (at + 1, line.trim_ascii()));
    numbered.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

/// A name, if somebody can have it.
pub(crate) fn checked_name(name: &str) -> Option<&str> {
    let is_one = !name.is_empty() && name.len() <= MAX_NAME_BYTES && !name.contains(char::is_control);
    is_one.then_some(name)
}
