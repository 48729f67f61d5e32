//! A public key of a set (RFC 7517, section 4; RFC 7518, section 6; RFC 8037, section 2).

use std::ops::RangeInclusive;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::signature::{RsaPublicKeyComponents, UnparsedPublicKey};
use serde_json::{Map, Value};

use super::algorithm::Algorithm;

/// The lengths that a modulus of RSA may have, in bits: shorter ones can be factored, longer ones cost too much a request.
const RSA_BITS: RangeInclusive<usize> = 2048..=8192;

/// A public key that verifies signatures.
#[derive(Debug)]
pub(super) struct Key {
    /// What tokens call it.
    pub(super) id: Option<Box<str>>,
    /// The only algorithm that it is for, if it says so.
    only: Option<Algorithm>,
    material: Material,
}

/// What a key is made of.
#[derive(Debug)]
enum Material {
    /// Big-endian numbers without zeros in front.
    Rsa { modulus: Box<[u8]>, exponent: Box<[u8]> },
    /// A point of the curve that belongs to the algorithm.
    Point { algorithm: Algorithm, point: Box<[u8]> },
}

impl Key {
    /// Reads a key; `None` if it is no public key that verifies what is accepted. What else it has, such as a private half,
    /// is not kept.
    pub(super) fn parse(value: &Value) -> Option<Self> {
        let members = value.as_object()?;
        let is_for_signatures = optional_text(members, "use")?.is_none_or(|purpose| purpose == "sig");
        if !is_for_signatures || !may_verify(members) {
            return None;
        }
        let only = match optional_text(members, "alg")? {
            Some(name) => Some(Algorithm::named(name)?),
            None => None,
        };
        let material = Material::parse(members)?;
        let id = optional_text(members, "kid")?.map(Into::into);
        // One that says an algorithm that it cannot be for verifies nothing.
        only.is_none_or(|only| material.fits(only)).then_some(Self { id, only, material })
    }

    /// Whether the key verifies signatures by this algorithm.
    pub(super) fn fits(&self, algorithm: Algorithm) -> bool {
        self.only.is_none_or(|only| only == algorithm) && self.material.fits(algorithm)
    }

    /// Whether the key's holder signed this.
    pub(super) fn verifies(&self, algorithm: Algorithm, signed: &[u8], signature: &[u8]) -> bool {
        self.fits(algorithm) && self.material.verifies(algorithm, signed, signature)
    }
}

/// A text that may be missing, but may not be something else.
fn optional_text<'a>(members: &'a Map<String, Value>, name: &str) -> Option<Option<&'a str>> {
    match members.get(name) {
        None => Some(None),
        Some(value) => value.as_str().map(Some),
    }
}

fn may_verify(members: &Map<String, Value>) -> bool {
    match members.get("key_ops") {
        None => true,
        Some(operations) => operations.as_array().is_some_and(|list| list.iter().any(|one| one == "verify")),
    }
}

impl Material {
    fn parse(members: &Map<String, Value>) -> Option<Self> {
        let bytes = |name| BASE64_URL_SAFE_NO_PAD.decode(members.get(name)?.as_str()?).ok();
        let curve = || members.get("crv").and_then(Value::as_str);
        match members.get("kty")?.as_str()? {
            "RSA" => Self::rsa(&bytes("n")?, &bytes("e")?),
            "EC" => {
                let (algorithm, length) = match curve()? {
                    "P-256" => (Algorithm::Es256, 32),
                    "P-384" => (Algorithm::Es384, 48),
                    _ => return None,
                };
                let (x, y) = (bytes("x")?, bytes("y")?);
                // Uncompressed, as SEC 1 writes it (section 2.3.3).
                let point = [&[4][..], &x, &y].concat().into();
                (x.len() == length && y.len() == length).then_some(Self::Point { algorithm, point })
            }
            "OKP" if curve()? == "Ed25519" => {
                let point = bytes("x")?;
                (point.len() == 32).then(|| Self::Point { algorithm: Algorithm::EdDsa, point: point.into() })
            }
            _ => None,
        }
    }

    fn rsa(modulus: &[u8], exponent: &[u8]) -> Option<Self> {
        let (modulus, exponent) = (without_zeros(modulus), without_zeros(exponent));
        let bits = 8 * modulus.len() - modulus.first()?.leading_zeros() as usize;
        // An exponent of 1 would make each text its own signature.
        let is_exponent = exponent.len() > 1 || exponent.first().is_some_and(|byte| *byte >= 3);
        let is_key = RSA_BITS.contains(&bits) && is_exponent;
        is_key.then(|| Self::Rsa { modulus: modulus.into(), exponent: exponent.into() })
    }

    fn fits(&self, algorithm: Algorithm) -> bool {
        match self {
            Self::Rsa { .. } => algorithm.of_rsa().is_some(),
            Self::Point { algorithm: only, .. } => *only == algorithm,
        }
    }

    fn verifies(&self, algorithm: Algorithm, signed: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Rsa { modulus, exponent } => algorithm.of_rsa().is_some_and(|parameters| {
                let key = RsaPublicKeyComponents { n: modulus, e: exponent };
                key.verify(parameters, signed, signature).is_ok()
            }),
            Self::Point { point, .. } => algorithm
                .of_curve()
                .is_some_and(|curve| UnparsedPublicKey::new(curve, point).verify(signed, signature).is_ok()),
        }
    }
}

fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    &number[zeros..]
}
