//! What all types of credentials are read with.

use crate::api::SecretRef;
use crate::context::{Context, RefError, Referrer, Secrets, data_file};
use crate::world::{Key, Kind, shorten};

/// The longest text of a policy that goes into a credential, in bytes.
const MAX_BYTES: usize = 2048;

/// A policy that is being read.
pub(super) struct Reading<'c, 'w> {
    /// The objects.
    pub(super) context: &'c Context<'w>,
    /// What documents name of Secrets, so far.
    pub(super) secrets: Secrets,
    from: Referrer<'c>,
}

impl<'c, 'w> Reading<'c, 'w> {
    pub(super) fn new(context: &'c Context<'w>, policy: &'c Key) -> Self {
        let from = Referrer::of(Kind::BackendSecurityPolicy, &policy.namespace);
        Self { context, secrets: Secrets::new(), from }
    }

    /// How a document names a value of a Secret. `check` says what is wrong with the value, which is never shown.
    ///
    /// # Errors
    /// The Secret or the value is not there, may not be referred to, or does not pass the check.
    pub(super) fn file(
        &mut self,
        reference: &SecretRef,
        key: &'static str,
        check: impl FnOnce(&[u8]) -> Result<(), &'static str>,
    ) -> Result<String, RefError> {
        let (secret, value) = self.value(reference, key)?;
        check(value)
            .map_err(|fault| RefError::new("SecretInvalid", format!("{key} of Secret {secret} {fault}")))?;
        Ok(data_file(&mut self.secrets, "credential", Kind::Secret, &secret, key))
    }

    /// A value of a Secret that is no secret.
    ///
    /// # Errors
    /// As with [`file`](Self::file).
    pub(super) fn text(&self, reference: &SecretRef, key: &'static str) -> Result<String, RefError> {
        let (secret, value) = self.value(reference, key)?;
        let text = std::str::from_utf8(value).unwrap_or_default();
        let name = format!("{key} of Secret {secret}");
        word(&name, text).map_err(|error| RefError::new("SecretInvalid", error.message))
    }

    fn value(&self, reference: &SecretRef, key: &'static str) -> Result<(Key, &'w [u8]), RefError> {
        const MISSING: &str = "SecretNotFound";
        let (secret, values) = self.context.referred_secret(self.from, reference, MISSING)?;
        match values.get(key) {
            Some(value) => Ok((secret, value.expose())),
            None => Err(RefError::new(MISSING, format!("the Secret {secret} has no key {key}"))),
        }
    }
}

/// Something in a Secret that is there, whatever it is.
pub(super) fn is_there(value: &[u8]) -> Result<(), &'static str> {
    match value.trim_ascii() {
        [] => Err("is empty"),
        _ => Ok(()),
    }
}

/// A name or address: text without spaces.
///
/// # Errors
/// It is missing, or something else.
pub(super) fn word(field: &str, text: &str) -> Result<String, RefError> {
    let text = text.trim_ascii();
    if text.is_empty() {
        return Err(RefError::new("Invalid", format!("{field} is missing")));
    }
    if text.len() > MAX_BYTES || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        let message = format!("{field} {:?} is not a name", shorten(text, 80));
        return Err(RefError::new("Invalid", message));
    }
    Ok(text.to_owned())
}

/// A part of an address.
///
/// # Errors
/// It is missing, or has characters that would make another address of it.
pub(super) fn part(field: &str, text: &str) -> Result<String, RefError> {
    let text = word(field, text)?;
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':');
    if !text.bytes().all(is_part) {
        let message = format!("{field} {:?} is not a name", shorten(&text, 80));
        return Err(RefError::new("Invalid", message));
    }
    Ok(text)
}
