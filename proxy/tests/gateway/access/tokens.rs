//! Tokens of identity providers, whose key sets come from files and from servers that come and go.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};

use super::{ask, ask_at, guarded};
use crate::harness::{Client, Gateway, MODEL, Protocol, RawServer, eventually, sim, with};

/// An identity provider's key (P-256).
pub(super) struct Signer {
    id: &'static str,
    pair: EcdsaKeyPair,
}

impl Signer {
    pub(super) fn new(id: &'static str) -> Self {
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random);
        Self { id, pair: pair.unwrap() }
    }

    /// A key set with this key alone.
    pub(super) fn set(&self) -> String {
        let point = self.pair.public_key().as_ref();
        let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        json!({"keys": [{
            "kty": "EC", "crv": "P-256", "use": "sig", "kid": self.id, "x": part(&point[1..33]), "y": part(&point[33..]),
        }]})
        .to_string()
    }

    /// A token that is good for a minute, unless `claims` say otherwise.
    fn token(&self, claims: Value) -> String {
        self.token_by(self.id, claims)
    }

    /// One that says that another key signed it.
    pub(super) fn token_by(&self, id: &str, claims: Value) -> String {
        let usual =
            json!({"iss": "https://login.test", "aud": "models", "sub": "ann", "exp": in_seconds(60)});
        let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(json!({"alg": "ES256", "kid": id})), part(with(usual, claims)));
        let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// A Unix time.
pub(super) fn in_seconds(seconds: i64) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    i64::try_from(now).unwrap() + seconds
}

/// A policy that asks for tokens of the provider `login`.
fn by_token(provider: Value) -> Value {
    let usual = json!({"name": "login", "issuer": "https://login.test", "audiences": ["models"]});
    json!({"authentication": {"jwt": {"providers": [with(usual, provider)]}}})
}

async fn status(client: &mut Client, token: &str) -> u16 {
    client.send(ask(&[("authorization", &format!("Bearer {token}"))])).await.status.as_u16()
}

/// A server of a key set: what it answers, if it is not down, and how often it was asked.
struct KeySets {
    server: RawServer,
    answer: Arc<Mutex<Option<String>>>,
    asked: Arc<AtomicUsize>,
}

impl KeySets {
    async fn down() -> Self {
        let (answer, asked) = (Arc::<Mutex<Option<String>>>::default(), Arc::<AtomicUsize>::default());
        let (answers, count) = (answer.clone(), asked.clone());
        let server = RawServer::start(move |mut connection| {
            let (answers, count) = (answers.clone(), count.clone());
            async move {
                while connection.request().await.is_some() {
                    let answer = answers.lock().clone();
                    count.fetch_add(1, SeqCst);
                    match answer {
                        Some(set) => connection.respond(200, "", &set).await,
                        None => connection.respond(500, "", "").await,
                    }
                }
            }
        })
        .await;
        Self { server, answer, asked }
    }

    fn url(&self) -> String {
        format!("http://{}/keys", self.server.addr())
    }

    fn answers(&self, set: Option<String>) {
        *self.answer.lock() = set;
    }

    fn asked(&self) -> usize {
        self.asked.load(SeqCst)
    }

    async fn until_asked(&self, times: usize) {
        eventually("the key set to be asked for", || (self.asked() >= times).then_some(())).await;
    }
}

/// Waits until so many fetches had this outcome.
async fn loads(gateway: &Gateway, outcome: &str, count: f64) {
    let label = format!("outcome=\"{outcome}\"");
    eventually("fetches of a key set", || {
        let labels = ["policy=\"p\"", "provider=\"login\"", &label];
        (gateway.metric("penstock_policy_keys_loads_total", &labels) >= count).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_tells_its_consumer_and_upstreams_its_claims() {
    let (server, signer) = (sim(MODEL).await, Signer::new("a"));
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("keys.json");
    std::fs::write(&file, signer.set()).unwrap();
    let provider = json!({
        "keysFile": file, "consumerClaim": "client.name",
        "claimHeaders": [{"header": "x-subject", "claim": "sub"}, {"header": "x-plan", "claim": "client.plan"}],
    });
    let authorization = json!({"rules": [{
        "action": "Allow", "provider": "login", "scopes": ["models.ask"], "tags": {"team": ["search"]},
    }]});
    let policy = with(by_token(provider), json!({"authorization": authorization}));
    let gateway = Gateway::start(guarded(server.addr(), policy)).await;
    let good = signer.token(json!({"scope": "models.list models.ask", "client": {"name": "search"}}));
    for protocol in [Protocol::H1, Protocol::H2] {
        let mut client = gateway.client(protocol).await;
        let bearer = format!("Bearer {good}");
        let headers = [("authorization", &*bearer), ("x-subject", "root"), ("x-plan", "all")];
        let reply = client.send(ask(&headers)).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let seen = server.requests().pop().unwrap();
        let told = ["authorization", "x-subject", "x-plan"].map(|name| seen.header(name).map(str::to_owned));
        assert_eq!(told, [None, Some("ann".to_owned()), None]);
        let path = format!("/v1/chat/completions?access_token={good}");
        assert_eq!(client.send(ask_at(&path, &[])).await.status, 200);
        assert_eq!(server.requests().pop().unwrap().path, "/v1/chat/completions");
        for (claims, expected) in [
            (json!({"client": {"name": "search"}}), 403),
            (json!({"scope": "models.ask", "client": {"name": "data"}}), 403),
            (json!({"scope": "models.ask"}), 403),
            (json!({"exp": in_seconds(-120)}), 401),
            (json!({"nbf": in_seconds(120)}), 401),
            (json!({"iss": "https://login.test/"}), 401),
            (json!({"aud": ["model"]}), 401),
        ] {
            assert_eq!(status(&mut client, &signer.token(claims.clone())).await, expected, "{claims}");
        }
    }
    let lines = gateway.log(18).await;
    assert_eq!((&lines[0]["consumer"], &lines[3]["consumer"]), (&json!("search"), &json!("data")));
    assert!(lines.iter().all(|line| !line.to_string().contains(&good)));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_set_that_was_never_there_is_503_and_comes_by_itself() {
    let (server, signer, sets) = (sim(MODEL).await, Signer::new("a"), KeySets::down().await);
    let gateway = Gateway::start(guarded(server.addr(), by_token(json!({"keysUrl": sets.url()})))).await;
    let mut client = gateway.client(Protocol::H1).await;
    let token = signer.token(json!({}));
    loads(&gateway, "failed", 1.0).await;
    let reply = client.send(ask(&[("authorization", &format!("Bearer {token}"))])).await;
    assert_eq!((reply.status.as_u16(), reply.code().as_str()), (503, "keys_unavailable"));
    assert_eq!(reply.header("retry-after"), "1");
    assert_eq!(gateway.metric("penstock_policy_keys_available", &["provider=\"login\"", "way=\"jwt\""]), 0.0);
    sets.answers(Some(signer.set()));
    loads(&gateway, "loaded", 1.0).await;
    assert_eq!(status(&mut client, &token).await, 200);
    assert_eq!(gateway.metric("penstock_policy_keys_available", &["provider=\"login\""]), 1.0);
    assert!(gateway.metric("penstock_policy_keys_loaded_timestamp_seconds", &[]) > 1e9);
    drop(client);
    gateway.stop().await;
    sets.server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_key_is_fetched_once_however_many_ask_and_what_is_there_stays() {
    let server = sim(MODEL).await;
    let (old, new, sets) = (Signer::new("old"), Signer::new("new"), KeySets::down().await);
    sets.answers(Some(old.set()));
    let mut document = guarded(server.addr(), by_token(json!({"keysUrl": sets.url()})));
    let gateway = Gateway::start(document.clone()).await;
    loads(&gateway, "loaded", 1.0).await;
    let mut client = gateway.client(Protocol::H1).await;
    assert_eq!(status(&mut client, &old.token(json!({}))).await, 200);
    // The provider has another key: the first that shows it is refused, and has it fetched.
    sets.answers(Some(new.set()));
    assert_eq!(status(&mut client, &new.token(json!({}))).await, 401);
    loads(&gateway, "loaded", 2.0).await;
    assert_eq!(status(&mut client, &new.token(json!({}))).await, 200);
    assert_eq!(status(&mut client, &old.token(json!({}))).await, 401);
    // Keys that nobody has cost no further fetch for a while.
    for at in 0..200 {
        let token = new.token_by(&format!("made-up-{at}"), json!({}));
        assert_eq!(status(&mut client, &token).await, 401);
    }
    assert_eq!(sets.asked(), 2);
    // The provider is gone: what was fetched stays, over reloads, which fetch nothing.
    sets.answers(None);
    for _ in 0..3 {
        gateway.reload(document.clone()).unwrap();
        assert_eq!(status(&mut client, &new.token(json!({}))).await, 200);
    }
    assert_eq!(sets.asked(), 2);
    // Nor is it lost where it is to be fetched more often from now on, and cannot be.
    document["policies"][0]["authentication"]["jwt"]["providers"][0]["cacheDuration"] = json!("1s");
    gateway.reload(document).unwrap();
    sets.until_asked(3).await;
    loads(&gateway, "failed", 1.0).await;
    assert_eq!(status(&mut client, &new.token(json!({}))).await, 200);
    let of = |name: &str| gateway.metric(&format!("penstock_policy_keys_{name}"), &["provider=\"login\""]);
    assert_eq!((of("available"), of("faulty")), (1.0, 1.0));
    sets.answers(Some("{\"keys\": 1}".to_owned()));
    loads(&gateway, "failed", 2.0).await;
    assert_eq!(status(&mut client, &new.token(json!({}))).await, 200, "what is no key set is none");
    drop(client);
    gateway.stop().await;
    sets.server.stop().await;
}
