//! What identity providers publish.

use serde_json::json;

use super::super::*;
use super::{set, verify};
use crate::testing::{Signer, encode};

#[test]
fn keys_that_cannot_verify_are_skipped() {
    let (p256, rsa) = (Signer::p256(), Signer::rsa());
    let with = |members| p256.jwk_with(&members);
    for key in [
        json!(null),
        json!("key"),
        json!({}),
        json!({"kty": 1}),
        json!({"kty": "oct", "k": "c2VjcmV0"}),
        json!({"kty": "AKP", "alg": "ML-DSA-44", "pub": "AA"}),
        json!({"kty": "OKP", "crv": "X25519", "x": encode([1; 32])}),
        json!({"kty": "OKP", "crv": "Ed448", "x": encode([1; 57])}),
        json!({"kty": "OKP", "crv": "Ed25519", "x": encode([1; 31])}),
        json!({"kty": "OKP", "x": encode([1; 32])}),
        with(json!({"crv": "P-521"})),
        with(json!({"crv": "P-384"})),
        with(json!({"crv": "secp256k1"})),
        with(json!({"x": encode([1; 31])})),
        with(json!({"y": encode([1; 33])})),
        with(json!({"x": null})),
        with(json!({"x": "a b"})),
        with(json!({"use": "enc"})),
        with(json!({"use": "SIG"})),
        with(json!({"use": null})),
        with(json!({"key_ops": ["sign"]})),
        with(json!({"key_ops": []})),
        with(json!({"key_ops": "verify"})),
        with(json!({"alg": "HS256"})),
        with(json!({"alg": "none"})),
        with(json!({"alg": "ES384"})),
        with(json!({"alg": "RS256"})),
        with(json!({"alg": null})),
        with(json!({"kid": 1})),
        rsa.jwk_with(&json!({"alg": "RSA-OAEP"})),
        rsa.jwk_with(&json!({"alg": "ES256"})),
    ] {
        let keys = set(&[key.clone(), p256.jwk()]);
        assert_eq!((keys.len(), keys.skipped(), keys.is_empty()), (1, 1, false), "{key}");
        assert_eq!(verify(&keys, &p256.token("ES256", &json!({}))), Ok(()));
    }
}

#[test]
fn what_does_not_exclude_a_key_is_not_looked_at() {
    let p256 = Signer::p256();
    for members in [
        json!({"use": "sig", "key_ops": ["verify"], "alg": "ES256", "kid": "1"}),
        json!({"key_ops": ["sign", "verify"], "x5t": 1, "x5c": ["?"], "iat": "?"}),
    ] {
        let keys = set(&[p256.jwk_with(&members)]);
        assert_eq!(verify(&keys, &p256.token("ES256", &json!({}))), Ok(()), "{members}");
    }
}

#[test]
fn a_private_half_is_not_kept() {
    let p256 = Signer::p256();
    let keys = set(&[p256.jwk_with(&json!({"d": encode("private half"), "p": encode("private half")}))]);
    assert_eq!(verify(&keys, &p256.token("ES256", &json!({}))), Ok(()));
    let shown = format!("{keys:?}");
    assert!(!shown.contains(&encode("private half")) && !shown.contains(&format!("{:?}", b"private half")));
}

#[test]
fn keys_of_rsa_are_neither_short_nor_odd() {
    let key =
        |modulus: &[u8], exponent: &[u8]| json!({"kty": "RSA", "n": encode(modulus), "e": encode(exponent)});
    let bits = |bits: usize| {
        let mut modulus = vec![0xff; bits.div_ceil(8)];
        modulus[0] = 0xff >> (8 * modulus.len() - bits);
        modulus
    };
    let usual = &[1, 0, 1];
    for (bits_of_modulus, is_one) in [
        (512, false),
        (1024, false),
        (2040, false),
        (2047, false),
        (2048, true),
        (4096, true),
        (8192, true),
        (8193, false),
    ] {
        assert_eq!(
            set(&[key(&bits(bits_of_modulus), usual)]).len(),
            usize::from(is_one),
            "{bits_of_modulus}"
        );
    }
    // Zeros in front are no bits.
    assert_eq!(set(&[key(&[&[0; 128][..], &bits(1024)].concat(), usual)]).len(), 0);
    assert_eq!(set(&[key(&[&[0][..], &bits(2048)].concat(), &[0, 1, 0, 1])]).len(), 1);
    for exponent in [&[][..], &[0], &[1], &[0, 1], &[2]] {
        assert_eq!(set(&[key(&bits(2048), exponent)]).len(), 0, "{exponent:?}");
    }
    assert_eq!(set(&[key(&[], usual), key(&[0; 300], usual)]).len(), 0);
}

#[test]
fn zeros_in_front_of_a_modulus_do_not_keep_it_from_verifying() {
    let rsa = Signer::rsa();
    let mut key = rsa.jwk();
    let modulus =
        base64::Engine::decode(&base64::prelude::BASE64_URL_SAFE_NO_PAD, key["n"].as_str().unwrap()).unwrap();
    key["n"] = encode([&[0][..], &modulus].concat()).into();
    assert_eq!(verify(&set(&[key]), &rsa.token("RS256", &json!({}))), Ok(()));
}

#[test]
fn a_point_that_is_not_on_its_curve_verifies_nothing() {
    let key = json!({"kty": "EC", "crv": "P-256", "x": encode([1; 32]), "y": encode([1; 32])});
    assert_eq!(verify(&set(&[key]), &Signer::p256().token("ES256", &json!({}))), Err(Fault::Signature));
}

#[test]
fn a_set_without_keys_is_one_and_what_is_no_set_is_refused() {
    assert!(set(&[]).is_empty());
    let error = |json: &str| KeySet::parse(json.as_bytes()).unwrap_err();
    for json in ["null", "{}", "[]", r#"{"keys":{}}"#, r#"{"keys":null}"#, r#"{"kty":"RSA"}"#] {
        assert!(matches!(error(json), KeySetError::NoKeys), "{json}");
    }
    for json in
        ["", "<html>", r#"{"keys":[]"#, r#"{"keys":[],"keys":[]}"#, r#"{"keys":[{"kid":"a","kid":"b"}]}"#]
    {
        assert!(matches!(error(json), KeySetError::NotJson(_)), "{json}");
    }
    assert!(matches!(
        error(&format!("{{\"keys\":[{}1]}}", "1,".repeat(512))),
        KeySetError::TooMany { limit: 512 }
    ));
    assert!(matches!(error(&" ".repeat((1 << 20) + 1)), KeySetError::TooLong { .. }));
    assert!(matches!(error(&"[".repeat(1 << 20)), KeySetError::NotJson(_)));
}
