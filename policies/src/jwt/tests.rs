use serde_json::{Value, json};

use super::*;
use crate::testing::Signer;

mod attacks;
mod claims;
mod sets;

fn set(keys: &[Value]) -> KeySet {
    KeySet::parse(json!({"keys": keys}).to_string().as_bytes()).unwrap()
}

fn verify(set: &KeySet, token: &str) -> Result<(), Fault> {
    let parsed = Token::parse(token.as_bytes())?;
    set.verify(&parsed, token.as_bytes())
}

const ALGORITHMS: [&str; 9] =
    ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"];

/// The signers, each with the number of the algorithms before its first and behind its last.
fn signers() -> [(Signer, std::ops::Range<usize>); 4] {
    [(Signer::rsa(), 0..6), (Signer::p256(), 6..7), (Signer::p384(), 7..8), (Signer::ed25519(), 8..9)]
}

#[test]
fn each_algorithm_verifies_with_keys_of_its_kind_and_with_no_other() {
    let signers = signers();
    for (signer, own) in &signers {
        for algorithm in &ALGORITHMS[own.clone()] {
            let token = signer.token(algorithm, &json!({}));
            for (other, others) in &signers {
                let expected = if own == others { Ok(()) } else { Err(Fault::OtherAlgorithm) };
                assert_eq!(verify(&set(&[other.jwk()]), &token), expected, "{algorithm} {others:?}");
            }
            let all: Vec<_> = signers.iter().map(|(signer, _)| signer.jwk()).collect();
            assert_eq!(verify(&set(&all), &token), Ok(()), "{algorithm}");
        }
    }
}

#[test]
fn a_token_that_says_another_algorithm_than_it_is_signed_by_is_refused() {
    for (signer, own) in signers() {
        for (at, claimed) in ALGORITHMS.iter().enumerate() {
            for signed in &ALGORITHMS[own.clone()] {
                let header = json!({"alg": claimed}).to_string();
                let token = crate::testing::compact(&header, "{}", |text| signer.sign(signed, text));
                let expected = match () {
                    () if claimed == signed => Ok(()),
                    () if own.contains(&at) => Err(Fault::Signature),
                    () => Err(Fault::OtherAlgorithm),
                };
                assert_eq!(verify(&set(&[signer.jwk()]), &token), expected, "{claimed} {signed}");
            }
        }
    }
}

#[test]
fn both_names_of_an_algorithm_are_the_same() {
    let signer = Signer::ed25519();
    for (of_key, of_token) in [("EdDSA", "Ed25519"), ("Ed25519", "EdDSA"), ("Ed25519", "Ed25519")] {
        let keys = set(&[signer.jwk_with(&json!({"alg": of_key}))]);
        assert_eq!(verify(&keys, &signer.token(of_token, &json!({}))), Ok(()));
    }
}

#[test]
fn a_key_that_names_its_algorithm_verifies_no_other() {
    let signer = Signer::rsa();
    let keys = set(&[signer.jwk_with(&json!({"alg": "PS384"}))]);
    for algorithm in &ALGORITHMS[..6] {
        let expected = if *algorithm == "PS384" { Ok(()) } else { Err(Fault::OtherAlgorithm) };
        assert_eq!(verify(&keys, &signer.token(algorithm, &json!({}))), expected, "{algorithm}");
    }
}

#[test]
fn a_token_that_names_its_key_is_verified_with_that() {
    let (first, second) = (Signer::p256(), Signer::p256());
    let named = |signer: &Signer, id: &str| signer.jwk_with(&json!({"kid": id}));
    let token = |id: &str| second.token_with(&json!({"alg": "ES256", "kid": id}), &json!({}));
    let keys = set(&[named(&first, "1"), named(&second, "2")]);
    assert_eq!(verify(&keys, &token("2")), Ok(()));
    assert_eq!(verify(&keys, &token("1")), Err(Fault::Signature));
    for unknown in ["3", "", "2 ", "02"] {
        assert_eq!(verify(&keys, &token(unknown)), Err(Fault::UnknownKey), "{unknown:?}");
    }
    // Two keys of one name, and one without a name.
    assert_eq!(verify(&set(&[named(&first, "2"), named(&second, "2")]), &token("2")), Ok(()));
    assert_eq!(verify(&set(&[first.jwk(), second.jwk()]), &token("2")), Ok(()));
    assert_eq!(verify(&set(&[first.jwk()]), &token("2")), Err(Fault::UnknownKey));
    let nameless = (0..9).map(|_| Signer::p256().jwk());
    let many: Vec<_> = nameless.chain([named(&second, "2")]).collect();
    assert_eq!(verify(&set(&many), &token("2")), Ok(()));
    let other_kind = set(&[Signer::p384().jwk_with(&json!({"kid": "2"}))]);
    assert_eq!(verify(&other_kind, &token("2")), Err(Fault::OtherAlgorithm));
    assert_eq!(verify(&set(&[]), &token("2")), Err(Fault::UnknownKey));
}

#[test]
fn a_token_that_names_no_key_is_tried_with_a_few() {
    let signer = Signer::p256();
    let token = signer.token("ES256", &json!({}));
    let keys = |before: usize| {
        let others = (0..before).map(|n| Signer::p256().jwk_with(&json!({"kid": n.to_string()})));
        // Those of other kinds do not count.
        let unfit = (0..20).map(|_| Signer::p384().jwk());
        set(&unfit.chain(others).chain([signer.jwk()]).collect::<Vec<_>>())
    };
    assert_eq!(verify(&keys(0), &token), Ok(()));
    assert_eq!(verify(&keys(7), &token), Ok(()));
    assert_eq!(verify(&keys(8), &token), Err(Fault::Signature));
}
