//! Tokens that nobody should have signed.

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE};
use proptest::prelude::*;
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::json;

use super::super::*;
use super::{set, verify};
use crate::testing::{Signer, compact, encode};

/// Why a token with this header and these claims is refused, though its key signed it.
fn fault(header: &str, claims: &str) -> Option<Fault> {
    let signer = Signer::p256();
    verify(&set(&[signer.jwk()]), &compact(header, claims, |text| signer.sign("ES256", text))).err()
}

#[test]
fn a_public_key_is_no_secret() {
    let signer = Signer::rsa();
    let key = signer.jwk();
    let modulus = key["n"].as_str().unwrap().to_owned();
    for (header, fault) in [
        (r#"{"alg":"HS256"}"#, Fault::Algorithm),
        (r#"{"alg":"HS512"}"#, Fault::Algorithm),
        (r#"{"alg":"hs256"}"#, Fault::Algorithm),
        (r#"{"alg":"RS256"}"#, Fault::Signature),
        (r#"{"alg":"ES256"}"#, Fault::OtherAlgorithm),
    ] {
        for secret in [modulus.as_bytes(), key.to_string().as_bytes(), b""] {
            let sign =
                |text: &[u8]| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), text).as_ref().to_vec();
            assert_eq!(
                verify(&set(std::slice::from_ref(&key)), &compact(header, "{}", sign)),
                Err(fault),
                "{header}"
            );
        }
    }
    // Nor is a secret that a set publishes a key.
    let secret = json!({"kty": "oct", "k": encode("secret"), "alg": "HS256"});
    let sign =
        |text: &[u8]| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, b"secret"), text).as_ref().to_vec();
    assert_eq!(verify(&set(&[secret]), &compact(r#"{"alg":"HS256"}"#, "{}", sign)), Err(Fault::Algorithm));
}

#[test]
fn no_algorithm_is_none_however_it_is_spelled() {
    let keys = set(&[Signer::rsa().jwk(), Signer::p256().jwk()]);
    for algorithm in [
        "\"none\"",
        "\"None\"",
        "\"NONE\"",
        "\"nOnE\"",
        "\"no\\u006ee\"",
        "\"\"",
        "null",
        "0",
        "true",
        "[\"RS256\"]",
        "{}",
        "\"rs256\"",
        "\"RS256 \"",
        "\" RS256\"",
        "\"RS256\\u0000\"",
        "\"RS1\"",
        "\"ES256K\"",
        "\"ES512\"",
        "\"Ed448\"",
        "\"RSA-OAEP\"",
        "\"dir\"",
    ] {
        for signature in [&b""[..], b"x", &[0; 64], &[0; 256]] {
            let token = compact(&format!("{{\"alg\":{algorithm}}}"), "{}", |_| signature.to_vec());
            assert_eq!(verify(&keys, &token), Err(Fault::Algorithm), "{algorithm}");
        }
    }
    assert_eq!(fault("{}", "{}"), Some(Fault::Algorithm));
}

#[test]
fn nothing_is_no_signature() {
    let keys =
        set(&[Signer::rsa().jwk(), Signer::p256().jwk(), Signer::p384().jwk(), Signer::ed25519().jwk()]);
    for algorithm in super::ALGORITHMS {
        for signature in
            [vec![], vec![0], vec![0; 64], vec![0; 96], vec![0; 256], vec![0xff; 256], vec![1; 1024]]
        {
            let token = compact(&json!({"alg": algorithm}).to_string(), "{}", |_| signature);
            assert_eq!(verify(&keys, &token), Err(Fault::Signature), "{algorithm}");
        }
    }
}

#[test]
fn a_signature_in_asn1_is_refused() {
    let random = SystemRandom::new();
    let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, document.as_ref(), &random).unwrap();
    let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
    let keys = set(&[json!({"kty": "EC", "crv": "P-256", "x": encode(x), "y": encode(y)})]);
    let token =
        compact(r#"{"alg":"ES256"}"#, "{}", |text| pair.sign(&random, text).unwrap().as_ref().to_vec());
    assert_eq!(verify(&keys, &token), Err(Fault::Signature));
}

#[test]
fn keys_that_a_token_brings_are_not_looked_at() {
    let (provider, attacker) = (Signer::p256(), Signer::p256());
    let keys = set(&[provider.jwk_with(&json!({"kid": "1"}))]);
    let own = attacker.jwk_with(&json!({"kid": "2"}));
    for (header, fault) in [
        (json!({"alg": "ES256", "jwk": own}), Fault::Signature),
        (json!({"alg": "ES256", "kid": "2", "jwk": own}), Fault::UnknownKey),
        (json!({"alg": "ES256", "kid": "1", "jku": "https://attacker.example/keys"}), Fault::Signature),
        (
            json!({"alg": "ES256", "kid": "1", "x5u": "https://attacker.example/cert", "x5c": ["MII="]}),
            Fault::Signature,
        ),
        (json!({"alg": "ES256", "kid": "../../dev/null"}), Fault::UnknownKey),
    ] {
        assert_eq!(verify(&keys, &attacker.token_with(&header, &json!({}))), Err(fault), "{header}");
    }
}

#[test]
fn parts_of_two_tokens_are_no_token() {
    let signer = Signer::ed25519();
    let keys = set(&[signer.jwk()]);
    let (a, b) = (signer.token("EdDSA", &json!({"sub": "a"})), signer.token("EdDSA", &json!({"sub": "b"})));
    let (a, b): (Vec<_>, Vec<_>) = (a.split('.').collect(), b.split('.').collect());
    assert_eq!(verify(&keys, &[a[0], a[1], a[2]].join(".")), Ok(()));
    assert_eq!(verify(&keys, &[a[0], b[1], a[2]].join(".")), Err(Fault::Signature));
    // The dot is signed, too.
    let shifted = format!("{}{}.{}.{}", a[0], &a[1][..4], &a[1][4..], a[2]);
    assert!(verify(&keys, &shifted).is_err());
}

#[test]
fn what_is_there_twice_or_has_to_be_understood_is_refused() {
    let good = r#"{"alg":"ES256"}"#;
    assert_eq!(fault(good, r#"{"sub":"a"}"#), None);
    for header in [
        r#"{"alg":"ES256","alg":"ES256"}"#,
        r#"{"alg":"none","\u0061lg":"ES256"}"#,
        r#"{"alg":"ES256","x":{"y":1,"y":2}}"#,
    ] {
        assert_eq!(fault(header, "{}"), Some(Fault::NotAToken), "{header}");
    }
    for claims in [r#"{"sub":"a","sub":"b"}"#, r#"{"sub":"a","s\u0075b":"a"}"#, r#"{"a":[{"b":1,"b":1}]}"#] {
        assert_eq!(fault(good, claims), Some(Fault::NotAToken), "{claims}");
    }
    for critical in ["[]", "[\"exp\"]", "[\"b64\"]", "null", "\"b64\"", "{}"] {
        let header = format!("{{\"alg\":\"ES256\",\"b64\":false,\"crit\":{critical}}}");
        assert_eq!(fault(&header, "{}"), Some(Fault::Critical), "{critical}");
    }
    for id in ["null", "1", "[]", "{}", "true"] {
        assert_eq!(
            fault(&format!("{{\"alg\":\"ES256\",\"kid\":{id}}}"), "{}"),
            Some(Fault::NotAToken),
            "{id}"
        );
    }
}

#[test]
fn what_is_no_object_is_no_token() {
    for other in ["", "null", "[]", "\"a\"", "1", "{", "{}{}", "{} {}", "{}\0", "\u{feff}{}", "[{}]"] {
        assert_eq!(fault(other, "{}"), Some(Fault::NotAToken), "{other}");
        assert_eq!(fault(r#"{"alg":"ES256"}"#, other), Some(Fault::NotAToken), "{other}");
    }
}

#[test]
fn size_and_depth_are_bounded() {
    let claims = |bytes: usize| format!("{{\"a\":\"{}\"}}", "a".repeat(bytes));
    assert_eq!(fault(r#"{"alg":"ES256"}"#, &claims(12_000)), None);
    assert_eq!(fault(r#"{"alg":"ES256"}"#, &claims(12_300)), Some(Fault::TooLong));
    assert_eq!(fault(r#"{"alg":"ES256"}"#, &claims(10 << 20)), Some(Fault::TooLong));
    let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(fault(r#"{"alg":"ES256"}"#, &nested(100)), None);
    assert_eq!(fault(r#"{"alg":"ES256"}"#, &nested(5_000)), Some(Fault::NotAToken));
    assert_eq!(fault(&nested(5_000), "{}"), Some(Fault::NotAToken));
    assert_eq!(fault(r#"{"alg":"ES256"}"#, &"{\"a\":".repeat(2_000)), Some(Fault::NotAToken));
}

#[test]
fn a_token_is_written_in_one_way() {
    let signer = Signer::ed25519();
    let keys = set(&[signer.jwk()]);
    // The claims are two bytes, and the last digit of their Base64 has two bits that no byte has.
    let token = signer.token("EdDSA", &json!({}));
    assert!(token.contains(".e30.") && verify(&keys, &token).is_ok());
    let (start, signature) = token.rsplit_once('.').unwrap();
    let padded = BASE64_URL_SAFE.encode(base64::prelude::BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap());
    for other in [
        token.replace(".e30.", ".e30=."),
        token.replace(".e30.", ".e31."),
        token.replace(".e30.", ".e3."),
        format!("{start}.{padded}"),
        format!(" {token}"),
        format!("{token} "),
        format!("{token}\n"),
        token.replace('.', ". "),
        format!("{token}."),
        format!(".{token}"),
        format!("{token}.{signature}"),
        format!("{token}.."),
        start.to_owned(),
        format!("{start}{signature}"),
        token.replace('.', "%2E"),
        format!("Bearer {token}"),
        String::new(),
        "..".to_owned(),
        "a.b.c.d.e".to_owned(),
    ] {
        assert_eq!(verify(&keys, &other), Err(Fault::NotAToken), "{other}");
    }
    // The other alphabet of Base64.
    let claims = "{\"a\":\"???>>>\"}";
    let token = compact(r#"{"alg":"EdDSA"}"#, claims, |text| signer.sign("EdDSA", text));
    assert_eq!(verify(&keys, &token), Ok(()));
    let other = token.replace(&encode(claims), &BASE64_STANDARD_NO_PAD.encode(claims));
    assert!(other != token && verify(&keys, &other) == Err(Fault::NotAToken));
}

proptest! {
    #[test]
    fn no_other_text_has_a_tokens_signature(at in any::<prop::sample::Index>(), byte in any::<u8>(), what in 0..3) {
        let signer = Signer::ed25519();
        let keys = set(&[signer.jwk()]);
        let token = signer.token_with(&json!({"alg": "EdDSA", "typ": "JWT"}), &json!({"sub": "somebody", "exp": 1.5e9}));
        let mut other = token.clone().into_bytes();
        let at = at.index(other.len());
        match what {
            0 => other[at] = byte,
            1 => other.insert(at, byte),
            _ => {
                other.remove(at);
            }
        }
        let is_accepted = Token::parse(&other).is_ok_and(|parsed| keys.verify(&parsed, &other).is_ok());
        prop_assert!(!is_accepted || other == token.into_bytes());
    }

    #[test]
    fn no_bytes_panic(text in prop::collection::vec(any::<u8>(), 0..200), parts in "[a-zA-Z0-9_.-]{0,200}") {
        let _ = Token::parse(&text);
        let _ = Token::parse(parts.as_bytes());
        let _ = KeySet::parse(&text);
    }
}
