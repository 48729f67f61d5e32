//! Tokens of one provider and of several.

use super::*;
use crate::testing::compact;

fn by_providers(providers: Vec<JwtProvider>, said: &Said) -> Authenticator {
    authenticator(&Authentication { jwt: Some(providers.into()), ..nothing() }, said)
}

fn by_first(provider: JwtProvider, signer: &Signer) -> Authenticator {
    by_providers(vec![provider], &Said { first: Some(key_set(signer, "1")), ..Said::default() })
}

fn why(authenticator: &Authenticator, token: &str) -> Why {
    refused(authenticator, &[("authorization", &bearer(token))], None).0
}

#[test]
fn a_token_tells_its_bearer_and_what_it_claims() {
    let signer = Signer::p256();
    let tokens = by_first(provider("first"), &signer);
    let token = signer.token("ES256", &claims("ann"));
    let found = identified(&tokens, &[("authorization", &bearer(&token))], None);
    assert_eq!((&*found.identity.consumer.name, &found.identity.by), ("ann", &by_token("first")));
    assert_eq!(found.identity.consumer.tags.len(), 1);
    assert_eq!(found.identity.claims.as_deref(), Some(&claims("ann")));
    assert_eq!(found.edits.remove.as_deref(), Some(&header("authorization", "Bearer ")));
    let found = identified(&tokens, &[], Some(&format!("a=b&access_token={token}")));
    assert_eq!(found.edits.remove.as_deref(), Some(&Extract::Query("access_token".into())));
}

#[test]
fn the_claim_that_names_the_bearer_is_a_text_or_a_whole_number() {
    let signer = Signer::p256();
    let consumer_claim = ClaimPath::parse("user.id").unwrap();
    let tokens = by_first(JwtProvider { consumer_claim, ..provider("first") }, &signer);
    for (claims, name) in [
        (r#"{"user":{"id":"u1"}}"#, "u1"),
        (r#"{"user":{"id":7}}"#, "7"),
        (r#"{"user":{"id":18446744073709551615}}"#, "18446744073709551615"),
        (r#"{"user":{"id":"J\u00f6rg"}}"#, "J\u{f6}rg"),
        // Nobody that the document can name.
        (r#"{"sub":"ann"}"#, ""),
        (r#"{"user":"ann"}"#, ""),
    ] {
        let token = compact(r#"{"alg":"ES256"}"#, claims, |text| signer.sign("ES256", text));
        assert_eq!(who(&tokens, &[("authorization", &bearer(&token))], None).0, name, "{claims}");
    }
    for id in [
        "\"\"",
        "\"a\\nb\"",
        "\"a\\u0000\"",
        "null",
        "true",
        "1.5",
        "1e3",
        "18446744073709551616",
        "[\"a\"]",
        "{}",
    ] {
        let claims = format!("{{\"user\":{{\"id\":{id}}}}}");
        let token = compact(r#"{"alg":"ES256"}"#, &claims, |text| signer.sign("ES256", text));
        assert_eq!(why(&tokens, &token), Why::Invalid("the token does not name its bearer"), "{id}");
    }
}

#[test]
fn claims_become_headers_if_they_can() {
    let signer = Signer::p256();
    let names = ["tenant.id", "tenant.name", "level", "is_admin", "roles", "gone"];
    let header_of =
        |name: &str| HeaderName::try_from(format!("x-{}", name.replace(['.', '_'], "-"))).unwrap();
    let claim_headers = names.map(|name| (header_of(name), ClaimPath::parse(name).unwrap())).into();
    let tokens = by_first(JwtProvider { claim_headers, ..provider("first") }, &signer);
    let claims = json!({
        "tenant": {"id": "t1", "name": "evil\r\nx-admin: true"}, "level": 3, "is_admin": false, "roles": ["a"],
    });
    let found = identified(&tokens, &[("authorization", &bearer(&signer.token("ES256", &claims)))], None);
    let set: Vec<_> =
        found.edits.set.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
    assert_eq!(set, [("x-tenant-id", "t1"), ("x-level", "3"), ("x-is-admin", "false")]);
    // Those that have no value now are clients' as little as the others.
    assert_eq!(tokens.set_headers().count(), names.len());
}

#[test]
fn a_token_may_be_any_providers_and_is_its_own_only() {
    let (first, second) = (Signer::p256(), Signer::rsa());
    let said =
        Said { first: Some(key_set(&first, "1")), second: Some(key_set(&second, "1")), ..Said::default() };
    let expecting = |name: &str| JwtProvider {
        issuer: Some(name.into()),
        audiences: [name.into()].into(),
        ..provider(name)
    };
    let both = by_providers(vec![expecting("first"), expecting("second")], &said);
    let claims = |issuer: &str, audience: &str| json!({"iss": issuer, "aud": audience, "sub": "ann"});
    let found = |token: &str| who(&both, &[("authorization", &bearer(token))], None).1;
    assert_eq!(found(&first.token("ES256", &claims("first", "first"))), by_token("first"));
    assert_eq!(found(&second.token("RS256", &claims("second", "second"))), by_token("second"));
    // One provider cannot speak for the other.
    let borrowed = first.token_with(&json!({"alg": "ES256", "kid": "1"}), &claims("second", "second"));
    assert_eq!(why(&both, &borrowed), Why::Invalid("the token's key is not for its algorithm"));
    // The one that came furthest says why.
    for (token, reason) in [
        (first.token("ES256", &claims("first", "second")), "the token is for another audience"),
        (first.token("ES256", &claims("third", "first")), "the token is of another issuer"),
        (
            second.token("RS256", &json!({"iss": "second", "aud": "second", "exp": NOW - 100})),
            "the token has expired",
        ),
    ] {
        assert_eq!(why(&both, &token), Why::Invalid(reason));
    }
}

#[test]
fn providers_may_have_places_of_their_own() {
    let signer = Signer::p256();
    let said =
        Said { first: Some(key_set(&signer, "1")), second: Some(key_set(&signer, "1")), ..Said::default() };
    let extract_from = [header("x-token", ""), Extract::Cookie("token".into())].into();
    let both =
        by_providers(vec![provider("first"), JwtProvider { extract_from, ..provider("second") }], &said);
    let token = signer.token("ES256", &claims("ann"));
    assert_eq!(who(&both, &[("authorization", &bearer(&token))], None).1, by_token("first"));
    let cookie = format!("a=b; token={token}");
    assert_eq!(
        who(&both, &[("authorization", "Bearer x.y.z"), ("x-token", &token)], None).1,
        by_token("second")
    );
    assert_eq!(who(&both, &[("cookie", &cookie)], None).1, by_token("second"));
    assert_eq!(
        why_of(&both, &[("x-token", "x"), ("x-token", &token)]),
        Why::Invalid("the credential is there more than once")
    );
}

fn why_of(authenticator: &Authenticator, lines: &[(&'static str, &str)]) -> Why {
    refused(authenticator, lines, None).0
}

#[test]
fn an_unknown_key_is_asked_for_and_nothing_else_is() {
    let (signer, other) = (Signer::p256(), Signer::p256());
    let keys = key_set(&signer, "1");
    let expecting = JwtProvider { issuer: Some("first".into()), ..provider("first") };
    let tokens = by_providers(vec![expecting], &Said { first: Some(Arc::clone(&keys)), ..Said::default() });
    let token = |signer: &Signer, id: &str, issuer: &str| {
        signer.token_with(&json!({"alg": "ES256", "kid": id}), &json!({"iss": issuer, "sub": "ann"}))
    };
    assert_eq!(
        why(&tokens, &token(&other, "1", "first")),
        Why::Invalid("the token's signature is not valid")
    );
    assert_eq!(why(&tokens, &token(&other, "2", "third")), Why::Invalid("the token is of another issuer"));
    assert!(!keys.asked_again());
    assert_eq!(why(&tokens, &token(&other, "2", "first")), Why::Invalid("the token's key is not known"));
    assert_eq!([keys.asked_again(), keys.asked_again()], [true, false]);
    // The provider's new key is had.
    let newer = json!({"keys": [other.jwk_with(&json!({"kid": "2"}))]}).to_string();
    keys.set(KeySet::parse(newer.as_bytes()).unwrap());
    assert_eq!(who(&tokens, &[("authorization", &bearer(&token(&other, "2", "first")))], None).0, "ann");
}

#[test]
fn keys_that_were_never_had_are_the_gateways_fault_where_they_decide() {
    let signer = Signer::p256();
    let expecting = |name: &str| JwtProvider { issuer: Some(name.into()), ..provider(name) };
    let said = Said { first: Some(key_set(&signer, "1")), ..Said::default() };
    let both = by_providers(vec![expecting("second"), expecting("first")], &said);
    let token = |issuer: &str, expires: u64| {
        signer.token("ES256", &json!({"iss": issuer, "sub": "ann", "exp": expires}))
    };
    assert_eq!(who(&both, &[("authorization", &bearer(&token("first", NOW)))], None).1, by_token("first"));
    assert_eq!(why(&both, &token("second", NOW)), Why::Unavailable);
    // What no key could make valid needs none.
    assert_eq!(why(&both, &token("second", NOW - 100)), Why::Invalid("the token has expired"));
    assert_eq!(why(&both, &token("third", NOW)), Why::Invalid("the token is of another issuer"));
    assert_eq!(why(&both, "x.y.z"), Why::Invalid("the token is malformed"));
}

#[test]
fn a_set_without_keys_refuses() {
    let empty = held(KeySet::parse(br#"{"keys":[]}"#).unwrap());
    let tokens = by_providers(vec![provider("first")], &Said { first: Some(empty), ..Said::default() });
    assert_eq!(
        why(&tokens, &Signer::p256().token("ES256", &claims("ann"))),
        Why::Invalid("the token's key is not known")
    );
}
