//! Names and passwords (RFC 7617), from files as `htpasswd -s` writes them.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use rustc_hash::FxHashMap;
use subtle::ConstantTimeEq as _;

use crate::line::{LineError, LineFault, checked_name, lines};

/// What stands before a digest.
const SCHEME: &str = "{SHA}";
/// The digest that the password of a user who is not there is compared with.
const NOBODYS: Sha1 = [0; 20];

type Sha1 = [u8; 20];

/// Users and the SHA-1 of their passwords.
#[derive(Clone, Default)]
pub struct Users(FxHashMap<Box<str>, Sha1>);

/// What a client shows.
pub(crate) struct Login {
    /// The user's name.
    pub(crate) name: String,
    /// The password, in whatever encoding the client has it.
    pub(crate) password: Vec<u8>,
}

impl Users {
    /// Reads a file of `htpasswd`: `NAME:{SHA}` and the password's SHA-1 in Base64 in each line. Empty lines and those that
    /// begin with `#` mean nothing.
    ///
    /// # Errors
    /// A line is something else, or a user is there twice.
    pub fn parse(text: &str) -> Result<Self, LineError> {
        let mut users = FxHashMap::default();
        for (line, content) in lines(text) {
            let refused = |fault| LineError { line, fault };
            let (name, hash) = content.split_once(':').ok_or(refused(LineFault::NoColon))?;
            let name = checked_name(name).ok_or(refused(LineFault::NotAName))?;
            let hash = hash.strip_prefix(SCHEME).ok_or(refused(LineFault::OtherHash))?;
            let sha1 = BASE64_STANDARD.decode(hash).ok().and_then(|bytes| bytes.try_into().ok());
            if users.insert(name.into(), sha1.ok_or(refused(LineFault::NotASha1))?).is_some() {
                return Err(refused(LineFault::UserTwice));
            }
        }
        Ok(Self(users))
    }

    /// Whether this is the user's password. Takes as long where the user is not there, so that nobody finds out who is.
    pub fn verify(&self, name: &str, password: &[u8]) -> bool {
        let shown = digest(&SHA1_FOR_LEGACY_USE_ONLY, password);
        let user = self.0.get(name);
        let is_equal = user.unwrap_or(&NOBODYS)[..].ct_eq(shown.as_ref());
        bool::from(is_equal) & user.is_some()
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

impl Login {
    /// Reads what stands behind `Basic `: the Base64 of a name, a colon and a password, which may have colons itself.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let mut bytes = BASE64_STANDARD.decode(text).ok()?;
        let colon = bytes.iter().position(|byte| *byte == b':')?;
        let password = bytes.split_off(colon + 1);
        bytes.truncate(colon);
        Some(Self { name: String::from_utf8(bytes).ok()?, password })
    }
}

/// Not the digests: a password can be guessed from its.
impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Users").field("users", &self.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The SHA-1 of `secret`, as htpasswd writes it.
    const SECRET: &str = "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=";

    fn fault(text: &str) -> (usize, LineFault) {
        let error = Users::parse(text).unwrap_err();
        (error.line, error.fault)
    }

    #[test]
    fn a_password_is_that_of_its_user_only() {
        let other = BASE64_STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, b"pass:word"));
        let users =
            Users::parse(&format!("# users\r\na:{SECRET}\r\n\r\nb\u{e9}:{{SHA}}{other}\r\n")).unwrap();
        for (name, password, is_right) in [
            ("a", "secret", true),
            ("a", "Secret", false),
            ("a", "", false),
            ("a", "pass:word", false),
            ("b\u{e9}", "pass:word", true),
            ("A", "secret", false),
            ("", "secret", false),
        ] {
            assert_eq!(users.verify(name, password.as_bytes()), is_right, "{name} {password}");
        }
        assert_eq!((users.len(), format!("{users:?}")), (2, "Users { users: 2, .. }".to_owned()));
    }

    #[test]
    fn the_digest_of_nobody_lets_nobody_in() {
        let users = Users::parse(&format!("a:{{SHA}}{}", BASE64_STANDARD.encode(NOBODYS))).unwrap();
        // What is compared with is not what decides: a password with that digest, if it were found, is no user's.
        assert!(!users.verify("nobody", b"") && !users.verify("a", b""));
        assert!(!Users::default().verify("", b""));
    }

    #[test]
    fn other_hashes_and_malformed_lines_are_refused_by_their_line() {
        for (bad, expected) in [
            ("b", LineFault::NoColon),
            (":{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=", LineFault::NotAName),
            ("b:$2y$05$c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqC", LineFault::OtherHash),
            ("b:$apr1$r31.....$HqJZimcKQFAMYayBlzkrA/", LineFault::OtherHash),
            ("b:secret", LineFault::OtherHash),
            ("b:{sha}5en6G6MezRroT3XKqkdPOmY/BfQ=", LineFault::OtherHash),
            ("b:{SHA}", LineFault::NotASha1),
            ("b:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ", LineFault::NotASha1),
            // Not canonical: bits that no byte has.
            ("b:{SHA}5en6G6MezRroT3XKqkdPOmY/BfR=", LineFault::NotASha1),
            ("b:{SHA}5en6G6MezRroT3XKqkdPOmY_BfQ=", LineFault::NotASha1),
            ("b:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=:more", LineFault::NotASha1),
            ("a:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=", LineFault::UserTwice),
        ] {
            let text = format!("# users\n\na:{SECRET}\n{bad}\n");
            assert_eq!(fault(&text), (4, expected), "{bad}");
            let message = Users::parse(&text).unwrap_err().to_string();
            assert!(bad.len() < 8 || !message.contains(bad), "{message}");
        }
    }

    #[test]
    fn a_login_is_split_at_its_first_colon() {
        let parse = |text: &[u8]| Login::parse(BASE64_STANDARD.encode(text).as_bytes());
        let login = parse(b"a:b:c").unwrap();
        assert_eq!((&*login.name, &*login.password), ("a", &b"b:c"[..]));
        let login = parse(b":").unwrap();
        assert_eq!((&*login.name, &*login.password), ("", &b""[..]));
        // A password may be in any encoding, a name is in that which the challenge asks for.
        assert_eq!(parse(b"a:\xe9").unwrap().password, b"\xe9");
        assert!(parse(b"\xe9:a").is_none());
        assert!(parse(b"a").is_none() && parse(b"").is_none());
    }

    #[test]
    fn a_login_that_is_not_canonical_is_refused() {
        for text in ["YTpi", "YTpiYw=="] {
            assert!(Login::parse(text.as_bytes()).is_some(), "{text}");
        }
        for text in
            ["YTpiYw", "YTpiYw=", "YTpiYx==", "YTpi\n", " YTpi", "YT pi", "YTpi====", "YTp-", "YTpi,YTpi"]
        {
            assert!(Login::parse(text.as_bytes()).is_none(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_are_a_login_that_reads_otherwise(text in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Some(login) = Login::parse(&text) {
                let written = [login.name.as_bytes(), b":", &login.password].concat();
                prop_assert_eq!(BASE64_STANDARD.encode(written).into_bytes(), text);
            }
        }
    }
}
