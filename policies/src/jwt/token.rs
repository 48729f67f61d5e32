//! A token as it is sent (RFC 7515, section 3.1): header, claims and signature.

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::Value;

use super::algorithm::Algorithm;
use super::fault::Fault;
use crate::json;

/// The length that a token may have, in bytes. Servers of HTTP bound all headers by some tens of KiB.
const MAX_TOKEN_BYTES: usize = 16 << 10;

/// What a token says; nothing of it is known to be true before its signature is verified.
#[derive(Debug)]
pub(crate) struct Token {
    pub(super) algorithm: Algorithm,
    /// Which key it says to be signed with.
    pub(super) key_id: Option<Box<str>>,
    /// An object.
    pub(super) claims: Arc<Value>,
    pub(super) signature: Vec<u8>,
    /// How much of the text is signed.
    signed_bytes: usize,
}

impl Token {
    /// Reads a token.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, Fault> {
        if text.len() > MAX_TOKEN_BYTES {
            return Err(Fault::TooLong);
        }
        let mut parts = text.split(|byte| *byte == b'.');
        let mut part = || parts.next().ok_or(Fault::NotAToken);
        let (header, claims, signature) = (part()?, part()?, part()?);
        if parts.next().is_some() {
            return Err(Fault::NotAToken);
        }
        let (algorithm, key_id) = parse_header(&object(header)?)?;
        let claims = Arc::new(object(claims)?);
        let signed_bytes = text.len() - signature.len() - 1;
        Ok(Self { algorithm, key_id, claims, signature: decode(signature)?, signed_bytes })
    }

    /// What the signature is of. `text` is what the token was read from.
    pub(super) fn signed<'a>(&self, text: &'a [u8]) -> &'a [u8] {
        &text[..self.signed_bytes]
    }
}

fn parse_header(header: &Value) -> Result<(Algorithm, Option<Box<str>>), Fault> {
    let algorithm = header.get("alg").and_then(Value::as_str).and_then(Algorithm::named);
    let algorithm = algorithm.ok_or(Fault::Algorithm)?;
    // No extension is understood here (RFC 7515, section 4.1.11).
    if header.get("crit").is_some() {
        return Err(Fault::Critical);
    }
    match header.get("kid") {
        None => Ok((algorithm, None)),
        Some(Value::String(id)) => Ok((algorithm, Some(id.as_str().into()))),
        Some(_) => Err(Fault::NotAToken),
    }
}

fn object(part: &[u8]) -> Result<Value, Fault> {
    let value = json::parse(&decode(part)?).ok();
    value.filter(Value::is_object).ok_or(Fault::NotAToken)
}

/// Without padding, and without bits that no byte has: one text for the same bytes.
fn decode(part: &[u8]) -> Result<Vec<u8>, Fault> {
    BASE64_URL_SAFE_NO_PAD.decode(part).map_err(|_| Fault::NotAToken)
}
