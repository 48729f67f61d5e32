//! Nothing that a client, an identity provider or a file says makes its parser panic, and no token identifies anybody that
//! was not signed: each input is a token and a login, a query, a key set, a file of users and one of keys.
//!
//! `cargo +nightly fuzz run policies-token fuzz/corpus/policies-token fuzz/seeds/policies-token`

#![no_main]

use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, UNIX_EPOCH};

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;
use penstock_config::{Authentication, Basic, ClaimPath, Extract, JwtProvider, KeySetSource};
use penstock_policies::{
    Authenticator, By, ConsumerBook, Held, KeySet, KeyTable, LineError, Outcome, Sources, Users,
    remove_cookie, remove_query,
};

/// The only tokens that the keys signed. None is by ECDSA, whose signatures anybody can turn into another valid one.
const SIGNED: [&str; 2] = [
    include_str!("../seeds/policies-token/signed_ed25519"),
    include_str!("../seeds/policies-token/signed_rsa"),
];
const KEYS: &[u8] = include_bytes!("../seeds/policies-token/key_set");
/// The users `ann` and `bob`, each with a password.
const USERS: &str = include_str!("../seeds/policies-token/users");

struct Fixed;

impl Sources for Fixed {
    fn keys(&self, _: &Path) -> Arc<Held<KeyTable>> {
        Held::new()
    }

    fn users(&self, _: &Path) -> Arc<Held<Users>> {
        held(Users::parse(USERS).expect("the file is sound"))
    }

    fn key_set(&self, _: &KeySetSource) -> Arc<Held<KeySet>> {
        held(KeySet::parse(KEYS).expect("the set is sound"))
    }
}

fn held<T>(value: T) -> Arc<Held<T>> {
    let held = Held::new();
    held.set(value);
    held
}

static AUTHENTICATOR: LazyLock<Authenticator> = LazyLock::new(|| {
    let provider = JwtProvider {
        name: "p".into(),
        issuer: None,
        audiences: Box::default(),
        keys: KeySetSource::File("keys".into()),
        extract_from: [
            Extract::Header { name: AUTHORIZATION, prefix: "Bearer ".into() },
            Extract::Query("access_token".into()),
        ]
        .into(),
        claim_headers: [("x-a", "sub"), ("x-b", "a.b")]
            .map(|(name, path)| {
                (HeaderName::from_static(name), ClaimPath::parse(path).expect("no name is empty"))
            })
            .into(),
        consumer_claim: ClaimPath::parse("sub").expect("it has a name"),
        is_forwarded: false,
    };
    let basic = Basic { file: "users".into(), user_header: None, is_forwarded: false };
    let ways = Authentication {
        is_optional: false,
        api_key: None,
        basic: Some(basic),
        jwt: Some([provider].into()),
        oidc: None,
    };
    Authenticator::new(&ways, &Arc::new(ConsumerBook::new(&[])), &Arc::default(), &Fixed)
});

fuzz_target!(|bytes: &[u8]| {
    assert!(SIGNED.iter().all(|token| is_identified(token.as_bytes())), "what was signed is refused");
    if is_identified(bytes) {
        let text = bytes.trim_ascii();
        assert!(SIGNED.iter().any(|signed| signed.as_bytes() == text), "what was not signed is accepted");
    }
    login(bytes);
    if let Ok(set) = KeySet::parse(bytes) {
        assert!(set.len() + set.skipped() <= bytes.len());
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        query(text);
        files(text);
    }
    if let Ok(value) = HeaderValue::from_bytes(bytes)
        && let Some(rest) = remove_cookie(&value, "token")
    {
        assert_eq!(remove_cookie(&rest, "token").as_ref(), Some(&rest));
    }
});

/// What a request with this value of `authorization` is.
fn outcome(scheme: &str, text: &[u8]) -> Option<Outcome> {
    let value = HeaderValue::from_bytes(&[scheme.as_bytes(), b" ", text].concat()).ok()?;
    let headers = HeaderMap::from_iter([(AUTHORIZATION, value)]);
    Some(AUTHENTICATOR.identify(&headers, None, UNIX_EPOCH + Duration::from_secs(1_800_000_000)))
}

fn is_identified(token: &[u8]) -> bool {
    match outcome("Bearer", token) {
        Some(Outcome::Identified(found)) => {
            assert!(matches!(found.identity.by, By::Jwt { .. }) && found.identity.claims.is_some());
            true
        }
        Some(Outcome::Anonymous) => panic!("nobody may pass unknown"),
        Some(Outcome::Refused(_)) | None => false,
    }
}

fn login(bytes: &[u8]) {
    if let Some(Outcome::Identified(found)) = outcome("Basic", bytes) {
        assert!(
            matches!(found.identity.by, By::Basic)
                && ["ann", "bob"].contains(&&*found.identity.consumer.name)
        );
    }
}

fn query(text: &str) {
    let rest = remove_query(text, "access_token");
    assert_eq!(remove_query(&rest, "access_token"), rest);
    let outcome = |query| AUTHENTICATOR.identify(&HeaderMap::new(), Some(query), UNIX_EPOCH);
    assert!(!matches!(outcome(&rest), Outcome::Identified(_)), "a token is there that was taken out");
    let _ = outcome(text);
}

fn files(text: &str) {
    let lines = text.lines().count();
    let is_of_a_line = |error: LineError| assert!((1..=lines).contains(&error.line));
    match Users::parse(text) {
        Ok(users) => assert!(users.len() <= lines && !users.verify("", b"")),
        Err(error) => is_of_a_line(error),
    }
    match KeyTable::parse_file(text, &ConsumerBook::new(&[])) {
        Ok(keys) => assert!(keys.len() <= lines && keys.get(text.as_bytes()).is_none()),
        Err(error) => is_of_a_line(error),
    }
}
