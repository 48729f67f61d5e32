//! What each source asks for, byte for byte, and what it makes of answers, by a server that writes down what it is asked.

#![expect(clippy::unwrap_used, reason = "a test that panics is a test that fails")]

mod aws;
mod azure;
mod documents;
mod gcp;
mod hostile;
mod oidc;
mod server;

use std::path::{Path, PathBuf};

use penstock_config::TokenSource;
use penstock_credentials::{AwsKeys, Environment, Fetch, FetchError, Fetched, Fetcher, Secret};

/// Fetches with these variables set.
async fn fetch(source: &TokenSource, variables: &[(&str, &str)]) -> Result<Fetched, FetchError> {
    Fetcher::new(Environment::from_iter(variables.iter().copied())).fetch(source).await
}

/// The value of the header that is shown.
#[track_caller]
fn header(fetched: &Fetched) -> &str {
    match &fetched.secret {
        Secret::Header(value) => value.to_str().unwrap(),
        Secret::Aws(_) => panic!("keys of AWS"),
    }
}

/// The keys that are signed with.
#[track_caller]
fn keys(fetched: &Fetched) -> (&str, &str, Option<&str>) {
    match &fetched.secret {
        Secret::Aws(AwsKeys { access_key, secret_key, session_token }) => {
            (access_key, secret_key, session_token.as_deref())
        }
        Secret::Header(_) => panic!("a header"),
    }
}

/// A time in RFC 3339, this many seconds from now.
fn in_seconds(seconds: u64) -> String {
    let at = std::time::SystemTime::now() + std::time::Duration::from_secs(seconds);
    humantime::format_rfc3339_seconds(at).to_string()
}

/// Whether a lifetime is this many seconds, but for what the test took.
#[track_caller]
fn assert_about(fetched: &Fetched, seconds: u64) {
    let lifetime = fetched.lifetime.expect("it ends").as_secs();
    assert!((seconds - 60..=seconds).contains(&lifetime), "{lifetime}");
}

/// A file in a directory.
fn file(directory: &tempfile::TempDir, name: &str, text: &str) -> PathBuf {
    let path: PathBuf = directory.path().join(name);
    std::fs::write(&path, text).unwrap();
    path
}

/// A path as text.
fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
