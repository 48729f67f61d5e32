//! Whose, for whom and when.

use std::time::{Duration, UNIX_EPOCH};

use penstock_config::{ClaimPath, JwtProvider, KeySetSource};
use serde_json::{Value, json};

use super::super::*;
use crate::testing::compact;

const NOW: u64 = 1_800_000_000;

fn checked(issuer: Option<&str>, audiences: &[&str], claims: &str) -> Result<(), Fault> {
    let provider = JwtProvider {
        name: "p".into(),
        issuer: issuer.map(Into::into),
        audiences: audiences.iter().map(|audience| (*audience).into()).collect(),
        keys: KeySetSource::File("keys.json".into()),
        extract_from: Box::default(),
        claim_headers: Box::default(),
        consumer_claim: ClaimPath::parse("sub").unwrap(),
        is_forwarded: false,
    };
    let token = Token::parse(compact(r#"{"alg":"RS256"}"#, claims, |_| vec![0]).as_bytes())?;
    Expected::new(&provider).check(&token, UNIX_EPOCH + Duration::from_secs(NOW))
}

fn times(claims: &Value) -> Result<(), Fault> {
    checked(None, &[], &claims.to_string())
}

#[test]
fn a_minute_of_tolerance_is_given_and_no_more() {
    for (expires, expected) in
        [(1, Ok(())), (0, Ok(())), (-59, Ok(())), (-60, Err(Fault::Expired)), (-61, Err(Fault::Expired))]
    {
        assert_eq!(times(&json!({"exp": NOW as i64 + expires})), expected, "{expires}");
    }
    for (begins, expected) in [(-1, Ok(())), (60, Ok(())), (61, Err(Fault::NotYet))] {
        assert_eq!(times(&json!({"nbf": NOW as i64 + begins})), expected, "{begins}");
    }
    assert_eq!(times(&json!({})), Ok(()));
    assert_eq!(times(&json!({"exp": NOW as f64 - 59.5, "nbf": NOW as f64 + 0.5})), Ok(()));
    assert_eq!(times(&json!({"exp": NOW + 1000, "nbf": NOW + 500})), Err(Fault::NotYet));
}

#[test]
fn times_at_the_ends_of_numbers_are_times() {
    for (claims, expected) in [
        (r#"{"exp":0}"#, Err(Fault::Expired)),
        (r#"{"exp":-1}"#, Err(Fault::Expired)),
        (r#"{"exp":-9223372036854775808}"#, Err(Fault::Expired)),
        (r#"{"exp":18446744073709551615}"#, Ok(())),
        (r#"{"exp":1e308}"#, Ok(())),
        (r#"{"exp":-1e308}"#, Err(Fault::Expired)),
        (r#"{"nbf":1e308}"#, Err(Fault::NotYet)),
        (r#"{"nbf":-1e308}"#, Ok(())),
        (r#"{"exp":1e999}"#, Err(Fault::NotAToken)),
    ] {
        assert_eq!(checked(None, &[], claims), expected, "{claims}");
    }
}

#[test]
fn a_time_that_is_no_number_is_refused() {
    for other in [json!(null), json!("1900000000"), json!([1_900_000_000]), json!({}), json!(true)] {
        assert_eq!(times(&json!({"exp": other})), Err(Fault::Times), "{other}");
        assert_eq!(times(&json!({"nbf": other})), Err(Fault::Times), "{other}");
    }
}

#[test]
fn an_issuer_is_the_same_byte_for_byte() {
    let issuer = Some("https://id.example");
    assert_eq!(checked(issuer, &[], r#"{"iss":"https://id.example"}"#), Ok(()));
    assert_eq!(checked(None, &[], r#"{"iss":"https://other.example"}"#), Ok(()));
    for claims in [
        r#"{"iss":"https://id.example/"}"#,
        r#"{"iss":"https://ID.example"}"#,
        r#"{"iss":"https://id.example.attacker.example"}"#,
        r#"{"iss":["https://id.example"]}"#,
        r#"{"iss":null}"#,
        r"{}",
    ] {
        assert_eq!(checked(issuer, &[], claims), Err(Fault::Issuer), "{claims}");
    }
}

#[test]
fn one_audience_of_either_side_suffices() {
    for (claims, is_meant) in [
        (r#"{"aud":"a"}"#, true),
        (r#"{"aud":"b"}"#, true),
        (r#"{"aud":["x","b"]}"#, true),
        (r#"{"aud":["x",1,null,"b"]}"#, true),
        (r#"{"aud":"x"}"#, false),
        (r#"{"aud":"a b"}"#, false),
        (r#"{"aud":"A"}"#, false),
        (r#"{"aud":[]}"#, false),
        (r#"{"aud":[["a"]]}"#, false),
        (r#"{"aud":{"a":"a"}}"#, false),
        (r#"{"aud":null}"#, false),
        (r"{}", false),
    ] {
        let expected = if is_meant { Ok(()) } else { Err(Fault::Audience) };
        assert_eq!(checked(None, &["a", "b"], claims), expected, "{claims}");
        assert_eq!(checked(None, &[], claims), Ok(()), "{claims}");
    }
}

#[test]
fn a_claim_is_found_through_objects_only() {
    let claims = json!({"a": {"b": {"c": 1}}, "a.b": 2, "list": [{"x": 1}], "n": null});
    for (path, found) in [
        ("a.b.c", Some(json!(1))),
        ("a.b", Some(json!({"c": 1}))),
        ("n", Some(json!(null))),
        ("a.x", None),
        ("a.b.c.d", None),
        ("list.0", None),
        ("list.x", None),
    ] {
        assert_eq!(claim(&claims, &ClaimPath::parse(path).unwrap()), found.as_ref(), "{path}");
    }
}
