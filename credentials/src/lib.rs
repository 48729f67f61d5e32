//! Credentials of clouds.
//!
//! | what | where |
//! |---|---|
//! | what is fetched from where, one to three requests each | `aws`, `azure`, `gcp`, `oidc` |
//! | requests, within bounds | `http` |
//! | documents that anybody may read, such as key sets | `document` |
//! | kept fresh in the background, one fetch for all who want the same | `keep` |
//!
//! The vendors' SDKs were turned down: each brings a hundred packages or more for a handful of requests, and settles retries,
//! proxies and time in its own way. What answers is not trusted: answers are bounded, in bytes and in time, redirects are
//! not followed, and nothing that a service sends but a short error code becomes part of a message. Nor does any secret:
//! they are held in types that do not show them.

mod aws;
mod aws_keys;
mod azure;
mod context;
mod document;
mod environment;
mod error;
mod fetch;
mod files;
mod gcp;
mod http;
mod keep;
mod oidc;
mod secret;
mod xml;

pub use aws_keys::{AwsFileFault, AwsKeys};
pub use context::Fetched;
pub use document::Documents;
pub use environment::Environment;
pub use error::{FetchError, FileFault};
pub use fetch::{Fetch, Fetcher};
pub use keep::{Keeper, Kept, State};
pub use secret::Secret;
