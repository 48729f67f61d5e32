//! Whose a key is costs a lookup: nothing is taken from the heap, however many keys there are.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use allocation_counter::measure;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};
use penstock_config::{ApiKeys, Authentication, Extract, KeySetSource};
use penstock_policies::{
    Authenticator, ConsumerBook, Held, KeySet, KeyTable, Outcome, Sources, Users, key_digest,
};

/// A file of keys, and nothing else.
struct Keys(Arc<Held<KeyTable>>);

impl Sources for Keys {
    fn keys(&self, _: &Path) -> Arc<Held<KeyTable>> {
        Arc::clone(&self.0)
    }

    fn users(&self, _: &Path) -> Arc<Held<Users>> {
        Held::new()
    }

    fn key_set(&self, _: &KeySetSource) -> Arc<Held<KeySet>> {
        Held::new()
    }
}

fn authenticator() -> Authenticator {
    let book = Arc::new(ConsumerBook::new(&[]));
    let lines = (0..10_000).map(|n| format!("consumer-{n} {}\n", key_digest(format!("key-{n}").as_bytes())));
    let held = Held::new();
    held.set(KeyTable::parse_file(&lines.collect::<String>(), &book).unwrap());
    let bearer = Extract::Header { name: AUTHORIZATION, prefix: "Bearer ".into() };
    let own = Extract::Header { name: HeaderName::from_static("x-api-key"), prefix: "".into() };
    let api_key = Some(ApiKeys {
        extract_from: [bearer, own].into(),
        file: Some("keys".into()),
        consumer_header: None,
        is_forwarded: false,
    });
    let authentication = Authentication { is_optional: false, api_key, basic: None, jwt: None, oidc: None };
    Authenticator::new(&authentication, &book, &Arc::default(), &Keys(held))
}

#[test]
fn a_key_is_found_and_refused_without_the_heap() {
    let authenticator = authenticator();
    let headers = |name, value| HeaderMap::from_iter([(name, HeaderValue::from_static(value))]);
    let known = headers(AUTHORIZATION, "Bearer key-4711");
    let unknown = headers(HeaderName::from_static("x-api-key"), "key-10000");
    let none = HeaderMap::new();
    let identify = |headers| authenticator.identify(headers, Some("a=b"), UNIX_EPOCH);
    assert!(
        matches!(identify(&known), Outcome::Identified(found) if *found.identity.consumer.name == *"consumer-4711")
    );
    let allocations = measure(|| {
        assert!(matches!(identify(&known), Outcome::Identified(_)));
        assert!(matches!(identify(&unknown), Outcome::Refused(_)));
        assert!(matches!(identify(&none), Outcome::Refused(_)));
    });
    assert_eq!(allocations.count_total, 0);
}
