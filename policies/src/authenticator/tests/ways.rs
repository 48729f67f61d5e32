//! Keys, passwords, and ways in turn.

use super::*;

const PLAIN_BEARER: &str = "Bearer realm=\"penstock\"";
const WRONG_BEARER: &str = "Bearer realm=\"penstock\", error=\"invalid_token\"";
const LOGIN: &str = "Basic realm=\"penstock\", charset=\"UTF-8\"";

fn all_ways(said: &Said) -> Authenticator {
    let jwt = Some([provider("first")].into());
    authenticator(
        &Authentication { api_key: Some(by_key()), basic: Some(by_password()), jwt, ..nothing() },
        said,
    )
}

#[test]
fn a_key_is_a_consumers_wherever_it_is_shown() {
    let keys = authenticator(&Authentication { api_key: Some(by_key()), ..nothing() }, &Said::default());
    for (line, query, place) in [
        (Some(("authorization", "Bearer sk-search")), None, header("authorization", "Bearer ")),
        (Some(("authorization", "bearer sk-search")), None, header("authorization", "Bearer ")),
        (Some(("x-api-key", "sk-search")), None, header("x-api-key", "")),
        (None, Some("alt=sse&key=sk%2Dsearch"), Extract::Query("key".into())),
    ] {
        let lines: Vec<_> = line.into_iter().collect();
        let found = identified(&keys, &lines, query);
        assert_eq!((&*found.identity.consumer.name, found.identity.by), ("search", By::ApiKey));
        assert_eq!(found.identity.consumer.tags.len(), 1);
        assert_eq!(found.edits.remove.as_deref(), Some(&place));
        assert!(found.edits.set.is_empty() && found.identity.claims.is_none());
    }
}

#[test]
fn a_key_that_is_nobodys_is_refused_and_so_is_none() {
    let keys = authenticator(&Authentication { api_key: Some(by_key()), ..nothing() }, &Said::default());
    let unknown = (Why::Invalid("the key is not known"), vec![WRONG_BEARER.to_owned()]);
    let digest = key_digest(b"sk-search").to_string();
    for key in ["sk-other", "SK-SEARCH", "sk-search x", &digest, &digest[7..]] {
        assert_eq!(refused(&keys, &[("authorization", &bearer(key))], None), unknown, "{key}");
    }
    // The first place counts, whatever another one has.
    assert_eq!(refused(&keys, &[("authorization", "Bearer x"), ("x-api-key", "sk-search")], None), unknown);
    let missing = (Why::Missing, vec![PLAIN_BEARER.to_owned()]);
    for lines in [&[][..], &[("authorization", ANN)], &[("authorization", "Bearer ")], &[("x-api-key", "")]] {
        assert_eq!(refused(&keys, lines, None), missing, "{lines:?}");
    }
}

#[test]
fn a_header_that_is_there_twice_identifies_nobody() {
    let all = all_ways(&Said { users: Some(users()), ..Said::default() });
    for second in ["Bearer sk-search", "Bearer other", ANN, ""] {
        for first in ["Bearer sk-search", ANN] {
            let (why, _) = refused(&all, &[("authorization", first), ("authorization", second)], None);
            assert_eq!(why, Why::Invalid("the credential is there more than once"), "{first} {second}");
        }
    }
    let (why, _) = refused(&all, &[("x-api-key", "sk-search"), ("x-api-key", "sk-search")], None);
    assert!(matches!(why, Why::Invalid(_)));
}

#[test]
fn keys_in_a_file_take_the_place_of_the_documents() {
    let book = ConsumerBook::new(&consumers());
    let text = format!("search {}\nbob {}\n", key_digest(b"sk-file"), key_digest(b"sk-bob"));
    let file = held(KeyTable::parse_file(&text, &book).unwrap());
    let said = Said { keys: Some(Arc::clone(&file)), ..Said::default() };
    let keys = ApiKeys { file: Some("keys".into()), ..by_key() };
    let keys = authenticator(&Authentication { api_key: Some(keys), ..nothing() }, &said);
    assert_eq!(identified(&keys, &[("x-api-key", "sk-file")], None).identity.consumer.tags.len(), 1);
    assert_eq!(who(&keys, &[("x-api-key", "sk-bob")], None), ("bob".to_owned(), By::ApiKey));
    assert!(matches!(refused(&keys, &[("x-api-key", "sk-search")], None).0, Why::Invalid(_)));
    // What is read anew counts at once.
    file.set(KeyTable::default());
    assert!(matches!(refused(&keys, &[("x-api-key", "sk-file")], None).0, Why::Invalid(_)));
}

#[test]
fn a_login_is_a_users() {
    let basic = Basic { user_header: Some(HeaderName::from_static("x-user")), ..by_password() };
    let said = Said { users: Some(users()), ..Said::default() };
    let logins = authenticator(&Authentication { basic: Some(basic), ..nothing() }, &said);
    let ann = identified(&logins, &[("authorization", ANN)], None);
    assert_eq!((&*ann.identity.consumer.name, ann.identity.by), ("ann", By::Basic));
    assert_eq!(ann.edits.set, [(HeaderName::from_static("x-user"), HeaderValue::from_static("ann"))]);
    assert_eq!(ann.edits.remove.as_deref(), Some(&header("authorization", "Basic ")));
    // Names beyond ASCII are users', and no headers.
    let joerg = identified(&logins, &[("authorization", "basic asO2cmc6c2VjcmV0")], None);
    assert_eq!((&*joerg.identity.consumer.name, joerg.edits.set.len()), ("j\u{f6}rg", 0));

    let why = |value: &str| refused(&logins, &[("authorization", value)], None);
    let wrong = (Why::Invalid("no user has that name and password"), vec![LOGIN.to_owned()]);
    assert_eq!(why(ANN_WRONG), wrong);
    assert_eq!(why("Basic Ym9iOnNlY3JldA=="), wrong);
    let malformed = (Why::Invalid("the login is malformed"), vec![LOGIN.to_owned()]);
    for value in ["Basic YW5u", "Basic ann:secret", "Basic YW5uOnNlY3JldA", "Basic /w==", "Basic ="] {
        assert_eq!(why(value), malformed, "{value}");
    }
    for value in ["Basic", "Bearer x", "Digest x"] {
        assert_eq!(why(value), (Why::Missing, vec![LOGIN.to_owned()]), "{value}");
    }
}

#[test]
fn one_way_suffices_whatever_the_others_say() {
    let signer = Signer::ed25519();
    let said = Said { users: Some(users()), first: Some(key_set(&signer, "1")), ..Said::default() };
    let all = all_ways(&said);
    let token = bearer(&signer.token("EdDSA", &claims("carl")));
    assert_eq!(who(&all, &[("authorization", "Bearer sk-search")], None), ("search".to_owned(), By::ApiKey));
    assert_eq!(who(&all, &[("authorization", ANN)], None), ("ann".to_owned(), By::Basic));
    // A bearer that is no key may be a token.
    assert_eq!(who(&all, &[("authorization", &token)], None), ("carl".to_owned(), by_token("first")));
    assert_eq!(who(&all, &[("authorization", ANN_WRONG), ("x-api-key", "sk-search")], None).1, By::ApiKey);
    assert_eq!(who(&all, &[("authorization", ANN), ("x-api-key", "wrong")], None).1, By::Basic);
}

#[test]
fn each_way_has_a_challenge_and_only_an_invalid_bearer_is_told_so() {
    let all = all_ways(&Said {
        users: Some(users()),
        first: Some(key_set(&Signer::p256(), "1")),
        ..Said::default()
    });
    let missing = vec![PLAIN_BEARER.to_owned(), LOGIN.to_owned()];
    let wrong = vec![WRONG_BEARER.to_owned(), LOGIN.to_owned()];
    assert_eq!(refused(&all, &[], None), (Why::Missing, missing.clone()));
    assert_eq!(refused(&all, &[("authorization", ANN_WRONG)], None).1, missing);
    assert_eq!(
        refused(&all, &[("authorization", "Bearer x.y.z")], None),
        (Why::Invalid("the token is malformed"), wrong.clone())
    );
    assert_eq!(refused(&all, &[("x-api-key", "x")], None), (Why::Invalid("the key is not known"), wrong));
}

#[test]
fn optional_lets_nothing_pass_but_not_what_is_wrong() {
    let jwt = Some([provider("first")].into());
    let ways = Authentication {
        is_optional: true,
        api_key: Some(by_key()),
        basic: Some(by_password()),
        jwt,
        oidc: None,
    };
    let all = authenticator(
        &ways,
        &Said { users: Some(users()), first: Some(key_set(&Signer::p256(), "1")), ..Said::default() },
    );
    for lines in [&[][..], &[("authorization", "Digest x")], &[("x-api-key", "")]] {
        assert!(matches!(identify(&all, lines, None), Outcome::Anonymous), "{lines:?}");
    }
    for line in [("authorization", "Bearer x"), ("authorization", ANN_WRONG), ("x-api-key", "x")] {
        assert!(matches!(refused(&all, &[line], None).0, Why::Invalid(_)), "{line:?}");
    }
    assert!(matches!(refused(&all, &[], Some("access_token=x")).0, Why::Invalid(_)));
}

#[test]
fn what_cannot_be_judged_is_not_called_wrong() {
    let unavailable = (Why::Unavailable, vec![]);
    let keys = ApiKeys { file: Some("keys".into()), ..by_key() };
    let ways = Authentication {
        is_optional: true,
        api_key: Some(keys),
        basic: Some(by_password()),
        jwt: Some([provider("first")].into()),
        oidc: None,
    };
    let none = authenticator(&ways, &Said::default());
    assert_eq!(refused(&none, &[("authorization", "Bearer x")], None), unavailable);
    assert_eq!(refused(&none, &[("authorization", ANN)], None), unavailable);
    // Nothing is shown, and so there is nothing to judge.
    assert!(matches!(identify(&none, &[], None), Outcome::Anonymous));
    // What another way knows is known.
    let signer = Signer::p256();
    let some = authenticator(&ways, &Said { first: Some(key_set(&signer, "1")), ..Said::default() });
    let token = bearer(&signer.token("ES256", &claims("carl")));
    assert_eq!(who(&some, &[("authorization", &token)], None).1, by_token("first"));
    assert_eq!(refused(&some, &[("authorization", "Bearer x")], None), unavailable);
}

#[test]
fn upstreams_are_told_and_see_what_the_policy_says() {
    let name = HeaderName::from_static("x-consumer");
    let keys = ApiKeys { consumer_header: Some(name.clone()), is_forwarded: true, ..by_key() };
    let basic =
        Basic { user_header: Some(HeaderName::from_static("x-user")), is_forwarded: true, ..by_password() };
    let claim_headers = [(HeaderName::from_static("x-claim"), ClaimPath::parse("a").unwrap())].into();
    let jwt = Some([JwtProvider { claim_headers, ..provider("first") }].into());
    let ways =
        Authentication { is_optional: false, api_key: Some(keys), basic: Some(basic), jwt, oidc: None };
    let all = authenticator(&ways, &Said { users: Some(users()), ..Said::default() });
    let found = identified(&all, &[("x-api-key", "sk-search")], None).edits;
    assert_eq!((found.remove, found.set), (None, vec![(name, HeaderValue::from_static("search"))]));
    assert_eq!(identified(&all, &[("authorization", ANN)], None).edits.remove, None);
    let names: Vec<_> = all.set_headers().map(HeaderName::as_str).collect();
    assert_eq!(names, ["x-consumer", "x-user", "x-claim"]);
}

#[test]
fn nothing_that_is_printed_has_a_secret() {
    let all = all_ways(&Said {
        users: Some(users()),
        first: Some(key_set(&Signer::p256(), "1")),
        ..Said::default()
    });
    let shown = format!("{all:?} {:?}", identify(&all, &[("authorization", "Bearer sk-wrong-51")], None));
    for secret in ["sk-wrong-51", "5en6G6", &key_digest(b"sk-search").to_string()[7..]] {
        assert!(!shown.contains(secret), "{secret}: {shown}");
    }
}
