//! What is wrong with a line of a file, in words that do not quote it: it may be a key.

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
