//! What only the gateways of a document can read and write: sealed with AES-256-GCM, each text by a key of its own.
//!
//! Keys are derived by HKDF (RFC 5869) from the client's secret, and from 32 random bytes for each text, so that no number of
//! gateways and texts makes one meet another's key: nonces, of which one key stands no two alike, are all the same then.

use std::fmt;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};

/// What separates these keys from all others that may be made of a client's secret.
const SALT: &[u8] = b"penstock/oidc/v1";

/// Random bytes of each text.
const SALT_BYTES: usize = 32;

/// The most bytes of a client's secret.
const MAX_SECRET_BYTES: usize = 4096;

/// A client's secret, which is shown to nobody but the provider.
pub struct ClientSecret {
    text: Box<str>,
    root: Prk,
}

/// Why something is no client's secret. Nothing of it is told.
#[derive(Debug, thiserror::Error, Clone, Copy, PartialEq, Eq)]
pub enum SecretError {
    /// There is nothing in it.
    #[error("nothing in it: expected a client's secret")]
    Empty,
    /// It is longer than any.
    #[error("longer than {MAX_SECRET_BYTES} bytes, the most that a client's secret has")]
    TooLong,
    /// It is no text, or has control characters.
    #[error("not a client's secret: it is no text of one line")]
    NotText,
}

/// What a text is for. One that is made for one thing is nothing for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Session,
    State,
    Verifier,
    Nonce,
}

/// Seals for one client of one provider.
pub(super) struct Seal<'a> {
    pub(super) secret: &'a ClientSecret,
    pub(super) issuer: &'a str,
    pub(super) client: &'a str,
}

/// 32 bytes of a key that is none of a cipher's.
struct Bytes;

impl KeyType for Bytes {
    fn len(&self) -> usize {
        32
    }
}

impl ClientSecret {
    /// Reads what a file has; white space at its ends does not count.
    ///
    /// # Errors
    /// It is no secret.
    pub fn parse(content: &[u8]) -> Result<Self, SecretError> {
        let text = std::str::from_utf8(content).map_err(|_| SecretError::NotText)?.trim();
        if text.is_empty() {
            return Err(SecretError::Empty);
        }
        if text.len() > MAX_SECRET_BYTES {
            return Err(SecretError::TooLong);
        }
        if text.contains(char::is_control) {
            return Err(SecretError::NotText);
        }
        Ok(Self { text: text.into(), root: Salt::new(HKDF_SHA256, SALT).extract(text.as_bytes()) })
    }

    /// The secret.
    pub fn expose(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for ClientSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientSecret(…)")
    }
}

impl Purpose {
    const fn label(self) -> &'static [u8] {
        match self {
            Self::Session => b"session",
            Self::State => b"state",
            Self::Verifier => b"verifier",
            Self::Nonce => b"nonce",
        }
    }
}

impl Seal<'_> {
    /// Seals a text. It opens with the same `bound` only.
    pub(super) fn seal(
        &self,
        purpose: Purpose,
        bound: &[u8],
        salt: &[u8; SALT_BYTES],
        plain: &[u8],
    ) -> Vec<u8> {
        let mut text = plain.to_vec();
        let tag = self
            .key(purpose, bound, salt)
            .seal_in_place_separate_tag(nonce(), Aad::empty(), &mut text)
            .expect("no text here has the 64 GiB that are too many for this cipher");
        [&salt[..], &text, tag.as_ref()].concat()
    }

    /// Opens what was sealed; `None` if it was not, or for something else.
    pub(super) fn open(&self, purpose: Purpose, bound: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let (salt, text) = sealed.split_first_chunk::<SALT_BYTES>()?;
        let mut text = text.to_vec();
        let plain =
            self.key(purpose, bound, salt).open_in_place(nonce(), Aad::empty(), &mut text).ok()?.len();
        text.truncate(plain);
        Some(text)
    }

    /// 32 bytes that nobody else can know, always the same of the same.
    pub(super) fn derive(&self, purpose: Purpose, bound: &[u8], salt: &[u8]) -> [u8; 32] {
        let mut bytes = [0; 32];
        let info = self.info(purpose, bound, salt);
        let info: Vec<&[u8]> = info.iter().map(Vec::as_slice).collect();
        self.secret
            .root
            .expand(&info, Bytes)
            .and_then(|material| material.fill(&mut bytes))
            .expect("32 bytes are not too many for HKDF, which gives 8,160");
        bytes
    }

    fn key(&self, purpose: Purpose, bound: &[u8], salt: &[u8]) -> LessSafeKey {
        let bytes = self.derive(purpose, bound, salt);
        LessSafeKey::new(
            UnboundKey::new(&AES_256_GCM, &bytes).expect("a key of this cipher has these 32 bytes"),
        )
    }

    /// What a key is for, each part with its length before it, so that no two lists of parts read alike.
    fn info(&self, purpose: Purpose, bound: &[u8], salt: &[u8]) -> [Vec<u8>; 5] {
        let parts = [purpose.label(), self.issuer.as_bytes(), self.client.as_bytes(), bound, salt];
        parts.map(|part| [&(part.len() as u64).to_be_bytes()[..], part].concat())
    }
}

/// The random bytes of a text, out of all that there are.
pub(super) fn salt(random: &[u8; super::RANDOM_BYTES]) -> &[u8; SALT_BYTES] {
    random.first_chunk().expect("there are more random bytes than these")
}

fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seal(secret: &ClientSecret) -> Seal<'_> {
        Seal { secret, issuer: "https://login.test", client: "chat" }
    }

    #[test]
    fn what_is_sealed_opens_for_the_same_only() {
        let (secret, other) =
            (ClientSecret::parse(b" a-secret\n").unwrap(), ClientSecret::parse(b"b").unwrap());
        let sealed = seal(&secret).seal(Purpose::Session, b"x", &[7; 32], b"ann");
        assert_eq!(seal(&secret).open(Purpose::Session, b"x", &sealed).as_deref(), Some(&b"ann"[..]));
        assert_eq!(seal(&secret).open(Purpose::State, b"x", &sealed), None);
        assert_eq!(seal(&secret).open(Purpose::Session, b"y", &sealed), None);
        assert_eq!(seal(&other).open(Purpose::Session, b"x", &sealed), None);
        for (issuer, client) in [("https://login.tes", "tchat"), ("https://login.test", "chat2")] {
            let seal = Seal { secret: &secret, issuer, client };
            assert_eq!(seal.open(Purpose::Session, b"x", &sealed), None);
        }
        assert_eq!(seal(&secret).open(Purpose::Session, b"x", &sealed[..31]), None);
    }

    #[test]
    fn a_secret_is_one_line_and_is_not_shown() {
        assert_eq!(ClientSecret::parse(b" hush\n").unwrap().expose(), "hush");
        assert_eq!(format!("{:?}", ClientSecret::parse(b"hush").unwrap()), "ClientSecret(…)");
        for (content, fault) in [
            (&b" \n"[..], SecretError::Empty),
            (&[b'a'; 4097], SecretError::TooLong),
            (b"a\nb", SecretError::NotText),
            (b"\xff", SecretError::NotText),
        ] {
            assert_eq!(ClientSecret::parse(content).map(drop), Err(fault));
        }
    }

    proptest! {
        #[test]
        fn a_text_that_was_changed_anywhere_does_not_open(
            plain in proptest::collection::vec(any::<u8>(), 0..200), at in any::<prop::sample::Index>(), bit in 0..8u8,
        ) {
            let secret = ClientSecret::parse(b"a-secret").unwrap();
            let mut sealed = seal(&secret).seal(Purpose::Session, b"", &[1; 32], &plain);
            prop_assert_eq!(seal(&secret).open(Purpose::Session, b"", &sealed), Some(plain));
            let at = at.index(sealed.len());
            sealed[at] ^= 1 << bit;
            prop_assert_eq!(seal(&secret).open(Purpose::Session, b"", &sealed), None);
        }
    }
}
