//! The directory in which a gateway keeps what it took from the cluster: secrets as files, and with `--cache-dir` the last
//! good state, from which it starts when the API server cannot be reached.
//!
//! Secrets become files because everything else reads certificates and keys from files; the directory belongs to the
//! gateway's user alone, and on a memory volume nothing reaches a disk.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::files::{self, DOCUMENT_LIMIT_BYTES};

/// The routing document.
const ROUTING: &str = "routing.yaml";

/// The directory of lists of endpoints, each in a file `NAME.yaml`.
const LISTS: &str = "endpoints";

/// The directory of Secrets, each a link to the directory with its keys.
const SECRETS: &str = "secrets";

/// Where state is kept.
#[derive(Debug)]
pub(super) struct State {
    directory: PathBuf,
    /// Whether more than secrets is kept.
    is_cache: bool,
    /// Removed with the process.
    _temporary: Option<tempfile::TempDir>,
    serial: AtomicU64,
}

impl State {
    /// State in `cache`, which outlives the process; without one, in a directory that does not.
    ///
    /// # Errors
    /// The directory cannot be made or written to.
    pub(super) fn open(cache: Option<&Path>) -> io::Result<Self> {
        let temporary = match cache {
            Some(_) => None,
            None => Some(tempfile::Builder::new().prefix("penstock-").tempdir()?),
        };
        let directory = match (cache, &temporary) {
            (Some(cache), _) => cache.to_owned(),
            (None, Some(temporary)) => temporary.path().to_owned(),
            (None, None) => return Err(io::Error::other("no directory")),
        };
        make_private(&directory)?;
        make_private(&directory.join(SECRETS))?;
        if cache.is_some() {
            make_private(&directory.join(LISTS))?;
        }
        let is_cache = cache.is_some();
        Ok(Self { directory, is_cache, _temporary: temporary, serial: AtomicU64::new(0) })
    }

    /// The directory that has one for each Secret.
    pub(super) fn secrets(&self) -> PathBuf {
        self.directory.join(SECRETS)
    }

    /// Makes the keys of a Secret files, all at once: whoever reads them sees the old ones or the new ones.
    ///
    /// # Errors
    /// They cannot be written.
    pub(super) fn put_secret(&self, name: &str, keys: &BTreeMap<String, Vec<u8>>) -> io::Result<()> {
        let secrets = self.secrets();
        let link = secrets.join(name);
        let before = fs::read_link(&link).ok();
        let fresh = loop {
            let serial = self.serial.fetch_add(1, Ordering::Relaxed);
            let fresh = secrets.join(format!("..{name}.{}.{serial}", std::process::id()));
            match fs::DirBuilder::new().mode(0o700).create(&fresh) {
                Ok(()) => break fresh,
                // Left behind by a process that had this id.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        };
        for (key, value) in keys.iter().filter(|(key, _)| is_file_name(key)) {
            write_private(&fresh.join(key), value)?;
        }
        let temporary = secrets.join(format!("..{name}.link"));
        let _ = fs::remove_file(&temporary);
        std::os::unix::fs::symlink(fresh.file_name().map_or(fresh.as_path(), Path::new), &temporary)?;
        fs::rename(&temporary, &link)?;
        if let Some(before) = before {
            let _ = fs::remove_dir_all(secrets.join(before));
        }
        Ok(())
    }

    /// Keeps the routing document for the next start.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) fn keep_routing(&self, text: &str) -> io::Result<()> {
        if self.is_cache { replace(&self.directory.join(ROUTING), text.as_bytes()) } else { Ok(()) }
    }

    /// Keeps a list of endpoints for the next start; `None` if it is no more.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) fn keep_list(&self, name: &str, text: Option<&str>) -> io::Result<()> {
        if !self.is_cache || !is_file_name(name) {
            return Ok(());
        }
        let path = self.directory.join(LISTS).join(format!("{name}.yaml"));
        match text {
            Some(text) => replace(&path, text.as_bytes()),
            None => match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            },
        }
    }

    /// The routing document of the last good state; `None` if there is none.
    pub(super) fn routing(&self) -> Option<String> {
        let path = self.directory.join(ROUTING);
        self.is_cache.then(|| files::read_text(&path, DOCUMENT_LIMIT_BYTES).ok()).flatten()
    }

    /// A list of endpoints of the last good state.
    pub(super) fn list(&self, name: &str) -> Option<String> {
        if !self.is_cache || !is_file_name(name) {
            return None;
        }
        files::read_text(&self.directory.join(LISTS).join(format!("{name}.yaml")), DOCUMENT_LIMIT_BYTES).ok()
    }
}

/// Whether a name that came from the cluster stands for a file in the directory it is joined to.
fn is_file_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(['/', '\0']) && !name.starts_with("..") && name != "."
}

fn make_private(directory: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)
}

fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(content)
}

/// Replaces a file at once: a crash leaves the old one or the new one.
fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let temporary = PathBuf::from(temporary);
    let mut file =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(temporary, path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn keys(pairs: &[(&str, &str)]) -> BTreeMap<String, Vec<u8>> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec())).collect()
    }

    #[test]
    fn secrets_are_files_of_their_owner_alone_and_change_together() {
        let state = State::open(None).unwrap();
        state.put_secret("s", &keys(&[("tls.crt", "one"), ("tls.key", "one")])).unwrap();
        let path = state.secrets().join("s/tls.key");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(state.secrets()).unwrap().permissions().mode() & 0o777, 0o700);
        state.put_secret("s", &keys(&[("tls.key", "two"), ("../evil", "x"), ("..", "x")])).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "two");
        assert!(!state.secrets().join("s/tls.crt").exists(), "a key that is gone is gone");
        assert_eq!(fs::read_dir(state.secrets()).unwrap().count(), 2, "nothing old is left");
    }

    #[test]
    fn the_last_good_state_outlives_the_process_only_in_a_cache() {
        let cache = tempfile::tempdir().unwrap();
        let at = cache.path().join("deep/er");
        for (state, is_kept) in [(State::open(Some(&at)).unwrap(), true), (State::open(None).unwrap(), false)]
        {
            state.keep_routing("kind: x").unwrap();
            state.keep_list("ep-1", Some("kind: y")).unwrap();
            assert_eq!(state.routing().is_some(), is_kept);
            assert_eq!(state.list("ep-1").is_some(), is_kept);
            state.keep_list("ep-1", None).unwrap();
            state.keep_list("ep-1", None).unwrap();
            assert_eq!(state.list("ep-1"), None);
            assert_eq!(state.list("../routing"), None);
        }
        assert_eq!(State::open(Some(&at)).unwrap().routing().as_deref(), Some("kind: x"));
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_an_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(State::open(Some(file.path())).is_err());
    }
}
