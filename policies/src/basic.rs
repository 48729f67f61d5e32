//! Names and passwords (RFC 7617), from files as `htpasswd -s` writes them.

use std::fmt;

use rustc_hash::FxHashMap;

use crate::line::LineError;

/// Users and the SHA-1 of their passwords.
#[derive(Clone, Default)]
pub struct Users(FxHashMap<Box<str>, [u8; 20]>);

impl Users {
    /// Reads a file of `htpasswd`: `NAME:{SHA}` and the password's SHA-1 in Base64 in each line. Empty lines and those that
    /// begin with `#` mean nothing.
    ///
    /// # Errors
    /// A line is something else, or a user is there twice.
    pub fn parse(text: &str) -> Result<Self, LineError> {
        todo!()
    }

    /// Whether this is the user's password.
    pub fn verify(&self, name: &str, password: &[u8]) -> bool {
        todo!()
    }

    /// The number of users.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no user.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Not the digests: a password can be guessed from its.
impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Users").field("users", &self.len()).finish_non_exhaustive()
    }
}
