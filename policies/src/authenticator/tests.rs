use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

use penstock_config::{ApiKeys, Basic, ClaimPath, JwtProvider, ModelNames};
use serde_json::{Value, json};

use super::*;
use crate::keys::key_digest;
use crate::testing::Signer;

mod tokens;
mod ways;

const NOW: u64 = 1_800_000_000;
/// `secret`, as htpasswd writes it.
const SECRET: &str = "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=";
/// `ann:secret` and `ann:wrong`.
const ANN: &str = "Basic YW5uOnNlY3JldA==";
const ANN_WRONG: &str = "Basic YW5uOndyb25n";

/// What files and providers say: one of each kind, and a second key set for `https://second.example`.
#[derive(Default)]
struct Said {
    keys: Option<Arc<Held<KeyTable>>>,
    users: Option<Arc<Held<Users>>>,
    first: Option<Arc<Held<KeySet>>>,
    second: Option<Arc<Held<KeySet>>>,
}

impl Sources for Said {
    fn keys(&self, _: &Path) -> Arc<Held<KeyTable>> {
        self.keys.clone().unwrap_or_else(Held::new)
    }

    fn users(&self, _: &Path) -> Arc<Held<Users>> {
        self.users.clone().unwrap_or_else(Held::new)
    }

    fn key_set(&self, source: &KeySetSource) -> Arc<Held<KeySet>> {
        let is_second = matches!(source, KeySetSource::Url { url, .. } if **url == *"https://second.example");
        if is_second { self.second.clone() } else { self.first.clone() }.unwrap_or_else(Held::new)
    }
}

fn held<T>(value: T) -> Arc<Held<T>> {
    let held = Held::new();
    held.set(value);
    held
}

fn key_set(signer: &Signer, id: &str) -> Arc<Held<KeySet>> {
    let set = json!({"keys": [signer.jwk_with(&json!({"kid": id}))]});
    held(KeySet::parse(set.to_string().as_bytes()).unwrap())
}

fn users() -> Arc<Held<Users>> {
    held(Users::parse(&format!("ann:{SECRET}\nj\u{f6}rg:{SECRET}\n")).unwrap())
}

/// The consumers `search`, whose key is `sk-search`, and `ann`, who has no key.
fn consumers() -> [Arc<Consumer>; 2] {
    ["search", "ann"].map(|name| {
        let keys = if name == "search" { vec![key_digest(b"sk-search")] } else { vec![] };
        let tags = BTreeMap::from([("team".into(), name.into())]);
        Arc::new(Consumer {
            name: name.into(),
            keys: keys.into(),
            tags,
            models: Some(ModelNames::new(["gpt-4o"])),
            limits: BTreeMap::new(),
            priority: None,
        })
    })
}

fn authenticator(authentication: &Authentication, said: &Said) -> Authenticator {
    let consumers = consumers();
    let book = Arc::new(ConsumerBook::new(&consumers));
    Authenticator::new(authentication, &book, &Arc::new(KeyTable::from_consumers(&consumers)), said)
}

fn nothing() -> Authentication {
    Authentication { is_optional: false, api_key: None, basic: None, jwt: None, oidc: None }
}

fn header(name: &'static str, prefix: &str) -> Extract {
    Extract::Header { name: HeaderName::from_static(name), prefix: prefix.into() }
}

fn by_key() -> ApiKeys {
    ApiKeys {
        extract_from: [
            header("authorization", "Bearer "),
            header("x-api-key", ""),
            Extract::Query("key".into()),
        ]
        .into(),
        file: None,
        consumer_header: None,
        is_forwarded: false,
    }
}

fn by_password() -> Basic {
    Basic { file: "users".into(), user_header: None, is_forwarded: false }
}

fn provider(name: &str) -> JwtProvider {
    let url = format!("https://{name}.example").into();
    JwtProvider {
        name: name.into(),
        issuer: None,
        audiences: Box::default(),
        keys: KeySetSource::Url { url, cache_duration: Duration::from_secs(300) },
        extract_from: [header("authorization", "Bearer "), Extract::Query("access_token".into())].into(),
        claim_headers: Box::default(),
        consumer_claim: ClaimPath::parse("sub").unwrap(),
        is_forwarded: false,
    }
}

fn identify(authenticator: &Authenticator, lines: &[(&'static str, &str)], query: Option<&str>) -> Outcome {
    let lines = lines.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()));
    let headers: HeaderMap = lines.collect();
    authenticator.identify(&headers, query, UNIX_EPOCH + Duration::from_secs(NOW))
}

fn identified(
    authenticator: &Authenticator,
    lines: &[(&'static str, &str)],
    query: Option<&str>,
) -> Identified {
    match identify(authenticator, lines, query) {
        Outcome::Identified(identified) => identified,
        other => panic!("{other:?}"),
    }
}

/// Why a request is refused, and its challenges.
fn refused(
    authenticator: &Authenticator,
    lines: &[(&'static str, &str)],
    query: Option<&str>,
) -> (Why, Vec<String>) {
    match identify(authenticator, lines, query) {
        Outcome::Refused(refused) => {
            let texts = refused.challenges.iter().map(|value| value.to_str().unwrap().to_owned());
            (refused.why, texts.collect())
        }
        other => panic!("{other:?}"),
    }
}

/// The name of who is identified, and how.
fn who(authenticator: &Authenticator, lines: &[(&'static str, &str)], query: Option<&str>) -> (String, By) {
    let identity = identified(authenticator, lines, query).identity;
    (identity.consumer.name.to_string(), identity.by)
}

fn by_token(provider: &str) -> By {
    By::Jwt { provider: provider.into() }
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

fn claims(sub: &str) -> Value {
    json!({"sub": sub, "exp": NOW + 100})
}
