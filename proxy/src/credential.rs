//! What upstreams are shown to be let in: a secret from a file, read again when that changes; one that is fetched and kept
//! fresh; or one that the client brings. Never logged.

mod client;
mod signing;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use penstock_config::{CredentialSource, Shown};
use penstock_credentials::{AwsFileFault, AwsKeys, Keeper, Kept, Secret, State};
use penstock_picker::Shows;
use penstock_sources::files::{self, ReadError};
use penstock_wire::Outgoing;
use serde_json::{Value, json};

use crate::error::Error;

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
    /// The file is none of AWS's credentials.
    #[error("{}: {fault}", path.display())]
    Aws {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        fault: AwsFileFault,
    },
}

/// A credential, as far as it is there.
pub(crate) struct Credential {
    spec: penstock_config::Credential,
    own: Own,
}

/// The gateway's own.
enum Own {
    /// None: each client brings its own.
    None,
    /// From a file.
    Read(ArcSwap<Secret>),
    /// From a service, again and again.
    Fetched(Arc<Kept>),
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

impl Credential {
    /// Reads the secret that `spec` names, or has it fetched from now on. Without a `keeper`, only files are looked at.
    ///
    /// # Errors
    /// See [`CredentialError`]. That a secret cannot be fetched is none: it may be possible later.
    pub(crate) fn load(
        spec: penstock_config::Credential,
        keeper: Option<&Keeper>,
    ) -> Result<Self, CredentialError> {
        let own = match (&spec.source, keeper) {
            (CredentialSource::Client, _) => Own::None,
            (CredentialSource::Fetched(source), Some(keeper)) => Own::Fetched(keeper.keep(source)),
            (CredentialSource::Fetched(source), None) => {
                source.files().into_iter().try_for_each(|file| text(file).map(drop))?;
                Own::None
            }
            (CredentialSource::Key(file), _) => Own::Read(ArcSwap::from_pointee(key(&spec.shown, file)?)),
            (CredentialSource::AwsFile { file, profile }, _) => {
                Own::Read(ArcSwap::from_pointee(keys(file, profile)?))
            }
        };
        Ok(Self { spec, own })
    }

    /// What this was built from.
    pub(crate) fn spec(&self) -> &penstock_config::Credential {
        &self.spec
    }

    /// What is kept fresh, if something is.
    pub(crate) fn kept(&self) -> Option<&Arc<Kept>> {
        match &self.own {
            Own::Fetched(kept) => Some(kept),
            Own::None | Own::Read(_) => None,
        }
    }

    /// What is kept fresh and not there now, though a request with these headers needs it.
    pub(crate) fn missing(&self, headers: &HeaderMap) -> Option<&Arc<Kept>> {
        let kept = self.kept().filter(|kept| !kept.is_available())?;
        let is_brought = self.spec.client.as_ref().is_some_and(|of| client::is_brought(of, headers));
        (!is_brought).then_some(kept)
    }

    /// Takes note that an upstream refused a request with these headers for what it was shown.
    pub(crate) fn refused(&self, headers: &HeaderMap) {
        let is_brought = self.spec.client.as_ref().is_some_and(|of| client::is_brought(of, headers));
        if let (Own::Fetched(kept), false) = (&self.own, is_brought) {
            kept.suspect();
        }
    }

    /// What is known of one that is fetched, for people.
    pub(crate) fn report(&self) -> Option<Value> {
        let (Own::Fetched(kept), CredentialSource::Fetched(source)) = (&self.own, &self.spec.source) else {
            return None;
        };
        let State { is_available, expires_in, error, fetched, failed } = kept.state();
        Some(json!({
            "source": source.to_string(),
            "available": is_available,
            "expires_in_seconds": expires_in.map(|left| left.as_secs()),
            "error": error,
            "fetched": fetched,
            "failed": failed,
        }))
    }

    /// Why it could not be fetched, if there is none.
    pub(crate) fn failure(&self) -> Option<Box<str>> {
        let Own::Fetched(kept) = &self.own else { return None };
        let State { is_available, error, .. } = kept.state();
        error.filter(|_| !is_available)
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

    /// Whether a request with these headers is sent with nothing of its client's own, so that what the upstream says of it
    /// holds for every client.
    pub(crate) fn stands_for_all(&self, asked: &HeaderMap) -> bool {
        let is_brought = self.spec.client.as_ref().is_some_and(|of| client::is_brought(of, asked));
        let stays = matches!(&self.spec.shown, Shown::Header { name, .. } if !OF_CLIENTS.contains(name))
            && shows_client(asked);
        !is_brought && !stays
    }

    /// Adds it to a request that is otherwise ready to be sent. `asked` are the headers that the client sent.
    ///
    /// # Errors
    /// The client had to bring one and did not, there is none now, or the request cannot be signed.
    pub(crate) fn apply(
        &self,
        outgoing: &mut Outgoing,
        asked: &HeaderMap,
        body: &[Bytes],
    ) -> Result<(), Error> {
        if let Some(of) = &self.spec.client
            && let Some(brought) = client::brought(of, &self.spec.shown, asked)?
        {
            return self.show(&brought, outgoing, body);
        }
        match &self.own {
            Own::Read(secret) => self.show(&secret.load(), outgoing, body),
            Own::Fetched(kept) => match &*kept.secret() {
                Some(secret) => self.show(secret, outgoing, body),
                None => Err(Error::NoCredential),
            },
            Own::None => Err(Error::NoCredential),
        }
    }

    fn show(&self, secret: &Secret, outgoing: &mut Outgoing, body: &[Bytes]) -> Result<(), Error> {
        match (secret, &self.spec.shown) {
            (Secret::Header(value), Shown::Header { name, .. }) => {
                outgoing.headers.insert(name.clone(), value.clone());
                Ok(())
            }
            (Secret::Aws(keys), Shown::Aws { region }) => signing::sign(outgoing, body, region, keys),
            // Both are made from one spec.
            _ => Ok(()),
        }
    }

    /// The header in which the gateway's own is shown; `None` where it is shown otherwise, or is not there.
    pub(crate) fn header(&self) -> Option<(HeaderName, HeaderValue)> {
        let Shown::Header { name, .. } = &self.spec.shown else { return None };
        let value = |secret: &Secret| match secret {
            Secret::Header(value) => Some(value.clone()),
            Secret::Aws(_) => None,
        };
        let value = match &self.own {
            Own::Read(secret) => value(&secret.load()),
            Own::Fetched(kept) => kept.secret().as_deref().and_then(value),
            Own::None => None,
        };
        Some((name.clone(), value?))
    }

    /// Reads the secret again, or has it fetched again, if its files changed. Says whether they did; one that cannot be
    /// read leaves the one before.
    ///
    /// # Errors
    /// See [`CredentialError`].
    pub(crate) fn reload(&self) -> Result<bool, CredentialError> {
        match &self.own {
            Own::None => Ok(false),
            Own::Fetched(kept) => Ok(kept.look_at_files()),
            Own::Read(secret) => {
                let new = match &self.spec.source {
                    CredentialSource::Key(file) => key(&self.spec.shown, file)?,
                    CredentialSource::AwsFile { file, profile } => keys(file, profile)?,
                    CredentialSource::Client | CredentialSource::Fetched(_) => return Ok(false),
                };
                let has_changed = **secret.load() != new;
                if has_changed {
                    secret.store(new.into());
                }
                Ok(has_changed)
            }
        }
    }
}

impl Shows for Credential {
    fn header(&self) -> Option<(HeaderName, HeaderValue)> {
        Self::header(self)
    }
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Credential").field("spec", &self.spec).finish_non_exhaustive()
    }
}

/// Whether a client shows something of itself.
pub(crate) fn shows_client(headers: &HeaderMap) -> bool {
    OF_CLIENTS.iter().any(|name| headers.contains_key(name))
}

/// Takes away what a client shows of itself.
pub(crate) fn take_clients(headers: &mut HeaderMap) {
    for name in &OF_CLIENTS {
        headers.remove(name);
    }
}

/// The key in a file.
fn key(shown: &Shown, file: &Path) -> Result<Secret, CredentialError> {
    let prefix = match shown {
        Shown::Header { prefix, .. } => prefix,
        Shown::Aws { .. } => "",
    };
    let text = text(file)?;
    let secret = text.trim();
    if secret.is_empty() {
        return Err(CredentialError::Empty { path: file.to_owned() });
    }
    Secret::header(prefix, secret).ok_or_else(|| CredentialError::NotAValue { path: file.to_owned() })
}

/// Keys in a file of AWS's.
fn keys(file: &Path, profile: &str) -> Result<Secret, CredentialError> {
    let keys = AwsKeys::parse(&text(file)?, profile);
    keys.map(Secret::Aws).map_err(|fault| CredentialError::Aws { path: file.to_owned(), fault })
}

fn text(file: &Path) -> Result<String, CredentialError> {
    files::read_text(file, LIMIT_BYTES)
        .map_err(|source| CredentialError::Read { path: file.to_owned(), source })
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
        credential.apply(&mut outgoing, &http::HeaderMap::new(), &[]).unwrap();
        outgoing.headers.remove(http::header::AUTHORIZATION).unwrap()
    }

    #[test]
    fn whatever_a_client_shows_makes_room_unless_the_header_is_of_another_kind() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("key");
        std::fs::write(&file, "sk-1").unwrap();
        for (name, is_replaced) in [("x-api-key", true), ("authorization", true), ("x-proxy-key", false)] {
            let shown = Shown::Header { name: HeaderName::from_static(name), prefix: "".into() };
            let credential =
                Credential::load(penstock_config::Credential::key(shown, file.clone()), None).unwrap();
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
        let credential = Credential::load(spec(file.clone()), None).unwrap();
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
        let credential = Credential::load(spec(file), None).unwrap();
        assert!(!format!("{credential:?} {:?}", shown(&credential)).contains("hush"));
    }
}
