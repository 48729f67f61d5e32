//! A secret that the gateway adds to requests for an upstream. Read from a file, again when that changes, and never logged.

use std::path::PathBuf;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use penstock_config::{CredentialSource, Shown};
use penstock_sources::files::{self, ReadError};
use penstock_wire::Outgoing;

use self::aws::{AwsFileFault, AwsKeys};
use crate::error::Error;

mod aws;
mod signing;

/// The largest file that is read as a secret, in bytes. Tokens have some hundred, signed ones a few thousand.
const LIMIT_BYTES: u64 = 64 << 10;

/// Why a secret cannot be used. The secret itself is not part of the message.
#[derive(Debug, thiserror::Error)]
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
    /// It would have to be fetched, or come from the client.
    #[error("credentials that are fetched or brought by clients are not supported yet")]
    NotYet,
    /// The file is none of AWS's credentials.
    #[error("{}: {fault}", path.display())]
    Aws {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        fault: AwsFileFault,
    },
}

/// A secret, loaded.
pub(crate) struct Credential {
    spec: penstock_config::Credential,
    secret: ArcSwap<Secret>,
}

/// Headers in which clients show who they are, each in its API's.
pub(crate) const OF_CLIENTS: [HeaderName; 5] = [
    header::AUTHORIZATION,
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("api-key"),
    HeaderName::from_static("x-goog-api-key"),
    // Beside a signature. Not covered by the gateway's, it makes AWS refuse the request.
    HeaderName::from_static("x-amz-security-token"),
];

/// What was read.
#[derive(PartialEq, Eq)]
pub(crate) enum Secret {
    /// The value of a header. Marked as sensitive, so that it is not shown by accident.
    Header(HeaderValue),
    /// What AWS's requests are signed with.
    Aws(AwsKeys),
}

impl Credential {
    /// Reads the secret that `spec` names.
    ///
    /// # Errors
    /// See [`CredentialError`].
    pub(crate) fn load(spec: penstock_config::Credential) -> Result<Self, CredentialError> {
        let secret = ArcSwap::from_pointee(read(&spec)?);
        Ok(Self { spec, secret })
    }

    /// What this was built from.
    pub(crate) fn spec(&self) -> &penstock_config::Credential {
        &self.spec
    }

    /// Takes away what a client shows of itself, in whatever header its API has for that: the gateway's credential stands
    /// for all of it. One in a header of its own is for somebody else than the client's is, which stays.
    pub(crate) fn replace_clients(&self, headers: &mut HeaderMap) {
        if let Shown::Header { name, .. } = &self.spec.shown
            && !OF_CLIENTS.contains(name)
        {
            return;
        }
        take_clients(headers);
    }

    /// Adds it to a request that is otherwise ready to be sent.
    ///
    /// # Errors
    /// The request cannot be signed.
    pub(crate) fn apply(&self, outgoing: &mut Outgoing, body: &[Bytes]) -> Result<(), Error> {
        match (&**self.secret.load(), &self.spec.shown) {
            (Secret::Header(value), Shown::Header { name, .. }) => {
                outgoing.headers.insert(name.clone(), value.clone());
                Ok(())
            }
            (Secret::Aws(keys), Shown::Aws { region }) => signing::sign(outgoing, body, region, keys),
            // Both are made from one spec.
            _ => Ok(()),
        }
    }

    /// Reads the secret again. Says whether it changed; one that cannot be read leaves the one before.
    ///
    /// # Errors
    /// See [`CredentialError`].
    pub(crate) fn reload(&self) -> Result<bool, CredentialError> {
        let new = read(&self.spec)?;
        let has_changed = **self.secret.load() != new;
        if has_changed {
            self.secret.store(new.into());
        }
        Ok(has_changed)
    }
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Credential").field("spec", &self.spec).finish_non_exhaustive()
    }
}

/// Takes away what a client shows of itself.
pub(crate) fn take_clients(headers: &mut HeaderMap) {
    for name in &OF_CLIENTS {
        headers.remove(name);
    }
}

fn read(spec: &penstock_config::Credential) -> Result<Secret, CredentialError> {
    let (file, profile) = match &spec.source {
        CredentialSource::Key(file) => (file, None),
        CredentialSource::AwsFile { file, profile } => (file, Some(profile)),
        CredentialSource::Client | CredentialSource::Fetched(_) => return Err(CredentialError::NotYet),
    };
    let path = || file.clone();
    let text = files::read_text(file, LIMIT_BYTES)
        .map_err(|source| CredentialError::Read { path: path(), source })?;
    if let Some(profile) = profile {
        let keys = AwsKeys::parse(&text, profile);
        return keys.map(Secret::Aws).map_err(|fault| CredentialError::Aws { path: path(), fault });
    }
    let prefix = match &spec.shown {
        Shown::Header { prefix, .. } => prefix,
        Shown::Aws { .. } => "",
    };
    let secret = text.trim();
    if secret.is_empty() {
        return Err(CredentialError::Empty { path: path() });
    }
    let value = HeaderValue::from_str(&format!("{prefix}{secret}")).ok().filter(|_| secret.is_ascii());
    let mut value = value.ok_or_else(|| CredentialError::NotAValue { path: path() })?;
    value.set_sensitive(true);
    Ok(Secret::Header(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(file: PathBuf) -> penstock_config::Credential {
        let shown = Shown::Header { name: http::header::AUTHORIZATION, prefix: "Bearer ".into() };
        penstock_config::Credential::key(shown, file)
    }

    /// The header in which a request shows it.
    fn shown(credential: &Credential) -> HeaderValue {
        let mut outgoing = Outgoing {
            method: http::Method::POST,
            target: http::uri::PathAndQuery::from_static("/"),
            headers: http::HeaderMap::new(),
            framing: penstock_wire::BodyFraming::Whole,
        };
        credential.apply(&mut outgoing, &[]).unwrap();
        outgoing.headers.remove(http::header::AUTHORIZATION).unwrap()
    }

    #[test]
    fn whatever_a_client_shows_makes_room_unless_the_header_is_of_another_kind() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("key");
        std::fs::write(&file, "sk-1").unwrap();
        for (name, is_replaced) in [("x-api-key", true), ("authorization", true), ("x-proxy-key", false)] {
            let shown = Shown::Header { name: HeaderName::from_static(name), prefix: "".into() };
            let credential = Credential::load(penstock_config::Credential::key(shown, file.clone())).unwrap();
            let mut headers = HeaderMap::new();
            for name in OF_CLIENTS {
                headers.insert(name, HeaderValue::from_static("of-the-client"));
            }
            headers.insert("x-mine", HeaderValue::from_static("1"));
            credential.replace_clients(&mut headers);
            assert_eq!(
                headers.len(),
                if is_replaced { 1 } else { 1 + OF_CLIENTS.len() },
                "{name}: {headers:?}"
            );
        }
    }

    #[test]
    fn a_secret_is_read_again_and_one_that_went_bad_leaves_the_one_before() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("key");
        std::fs::write(&file, "  sk-1\n").unwrap();
        let credential = Credential::load(spec(file.clone())).unwrap();
        assert_eq!(shown(&credential), "Bearer sk-1");
        assert!(!credential.reload().unwrap());
        std::fs::write(&file, "sk-2").unwrap();
        assert!(credential.reload().unwrap());
        assert_eq!(shown(&credential), "Bearer sk-2");
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
        assert_eq!(shown(&credential), "Bearer sk-2");
    }

    #[test]
    fn a_secret_is_not_shown_by_debug() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("key");
        std::fs::write(&file, "hush").unwrap();
        let credential = Credential::load(spec(file)).unwrap();
        assert!(!format!("{credential:?} {:?}", shown(&credential)).contains("hush"));
    }
}
