//! Why a credential cannot be had.

use std::path::PathBuf;
use std::time::Duration;

use ::http::StatusCode;

use crate::aws_keys::AwsFileFault;

/// Why a credential cannot be had. Neither secrets nor what a service answered are part of the message, but for a short
/// code.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// A service could not be reached, or broke off.
    #[error("{host} cannot be asked: {cause}")]
    Unreachable {
        /// The service.
        host: Box<str>,
        /// What went wrong in the end.
        cause: Box<str>,
    },
    /// A service took too long, from connecting to the last byte.
    #[error("{host} gave no answer within {limit:?}")]
    TimedOut {
        /// The service.
        host: Box<str>,
        /// How long it may take.
        limit: Duration,
    },
    /// A service's answer is too large.
    #[error("the answer of {host} is larger than {limit_bytes} bytes")]
    TooLarge {
        /// The service.
        host: Box<str>,
        /// The bound that was exceeded.
        limit_bytes: usize,
    },
    /// A service refused.
    #[error("{host} answered {}{}", status.as_u16(), code.as_ref().map(|code| format!(": {code}")).unwrap_or_default())]
    Refused {
        /// The service.
        host: Box<str>,
        /// The status.
        status: StatusCode,
        /// What it calls the reason, where it has a name for that.
        code: Option<Box<str>>,
    },
    /// A service answered with something else than was asked for.
    #[error("the answer of {host} {what}")]
    Malformed {
        /// The service.
        host: Box<str>,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A file cannot be used.
    #[error("{}: {fault}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        fault: FileFault,
    },
    /// An address is none, or may not be asked.
    #[error("{from} is no address that can be asked: {what}")]
    Address {
        /// Where it stands.
        from: &'static str,
        /// What is wrong with it.
        what: &'static str,
    },
    /// Nothing says where a credential could be had.
    #[error("{0}")]
    Nowhere(&'static str),
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileFault {
    /// It could not be read.
    #[error("{0}")]
    Read(#[from] std::io::Error),
    /// It has more bytes than are read.
    #[error("larger than {limit_bytes} bytes, the most that is read")]
    TooLarge {
        /// The bound that was exceeded.
        limit_bytes: u64,
    },
    /// There is no text in it.
    #[error("nothing in it: expected a token, a key or a secret")]
    Empty,
    /// What is in it is none of what is expected.
    #[error("{0}")]
    Content(&'static str),
    /// It is none of AWS's credentials.
    #[error(transparent)]
    Aws(#[from] AwsFileFault),
}
