//! Keys and tokens for tests.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256,
    RSA_PSS_SHA384, RSA_PSS_SHA512, RsaEncoding, RsaKeyPair,
};
use serde_json::{Value, json};

/// `openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048`, for nothing but these tests.
const RSA: &[u8] = include_bytes!("../tests/keys/rsa-2048.pk8");

pub(crate) enum Signer {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair, &'static str),
    Ed25519(Ed25519KeyPair),
}

impl Signer {
    pub(crate) fn rsa() -> Self {
        Self::Rsa(RsaKeyPair::from_pkcs8(RSA).unwrap())
    }

    pub(crate) fn p256() -> Self {
        Self::Ec(ec(&ECDSA_P256_SHA256_FIXED_SIGNING), "P-256")
    }

    pub(crate) fn p384() -> Self {
        Self::Ec(ec(&ECDSA_P384_SHA384_FIXED_SIGNING), "P-384")
    }

    pub(crate) fn ed25519() -> Self {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self::Ed25519(Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap())
    }

    pub(crate) fn jwk(&self) -> Value {
        match self {
            Self::Rsa(pair) => {
                let public = ring::rsa::PublicKeyComponents::<Vec<u8>>::from(pair.public());
                json!({"kty": "RSA", "n": encode(public.n), "e": encode(public.e)})
            }
            Self::Ec(pair, curve) => {
                let (x, y) =
                    pair.public_key().as_ref()[1..].split_at(if *curve == "P-256" { 32 } else { 48 });
                json!({"kty": "EC", "crv": curve, "x": encode(x), "y": encode(y)})
            }
            Self::Ed25519(pair) => json!({"kty": "OKP", "crv": "Ed25519", "x": encode(pair.public_key())}),
        }
    }

    /// The key with other members, too.
    pub(crate) fn jwk_with(&self, members: &Value) -> Value {
        let mut key = self.jwk();
        key.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        key
    }

    /// A signature by an algorithm of RSA, or by the only one of the key.
    pub(crate) fn sign(&self, algorithm: &str, signed: &[u8]) -> Vec<u8> {
        match self {
            Self::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(rsa_encoding(algorithm), &SystemRandom::new(), signed, &mut signature).unwrap();
                signature
            }
            Self::Ec(pair, _) => pair.sign(&SystemRandom::new(), signed).unwrap().as_ref().to_vec(),
            Self::Ed25519(pair) => pair.sign(signed).as_ref().to_vec(),
        }
    }

    /// A token without the name of its key.
    pub(crate) fn token(&self, algorithm: &str, claims: &Value) -> String {
        self.token_with(&json!({"alg": algorithm}), claims)
    }

    /// A token with this header, signed by its algorithm.
    pub(crate) fn token_with(&self, header: &Value, claims: &Value) -> String {
        let algorithm = header["alg"].as_str().unwrap_or_default();
        compact(&header.to_string(), &claims.to_string(), |signed| self.sign(algorithm, signed))
    }
}

fn ec(algorithm: &'static EcdsaSigningAlgorithm) -> EcdsaKeyPair {
    let random = SystemRandom::new();
    let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
    EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random).unwrap()
}

fn rsa_encoding(algorithm: &str) -> &'static dyn RsaEncoding {
    match algorithm {
        "RS384" => &RSA_PKCS1_SHA384,
        "RS512" => &RSA_PKCS1_SHA512,
        "PS256" => &RSA_PSS_SHA256,
        "PS384" => &RSA_PSS_SHA384,
        "PS512" => &RSA_PSS_SHA512,
        _ => &RSA_PKCS1_SHA256,
    }
}

pub(crate) fn encode(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// A token of these texts.
pub(crate) fn compact(header: &str, claims: &str, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let signed = format!("{}.{}", encode(header), encode(claims));
    let signature = sign(signed.as_bytes());
    format!("{signed}.{}", encode(signature))
}
