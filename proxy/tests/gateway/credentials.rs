//! Credentials that are fetched from token services, that clients bring, and that metrics pages and health checks are shown.

use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use penstock_proxy::admin::{self, Admin};
use penstock_sim::faults::{Action, Fault};
use penstock_sim::{Handle, credentials, options::Options};
use penstock_sources::Applier as _;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::harness::{
    Client, Gateway, MODEL, Protocol, RawServer, backend, chat, eventually, get, pool, post, post_json, sim,
    sim_with, with,
};

const ROLE: &str = "arn:aws:iam::123456789012:role/gateway";

/// A server of models and tokens that knows these credentials.
async fn knowing(known: Value) -> Handle {
    let known: credentials::Credentials = serde_json::from_value(known).unwrap();
    sim_with(Options { model: MODEL.to_owned(), credentials: Some(known), ..Options::default() }).await
}

/// A gateway whose only rule tries these backends in this order.
async fn in_order(backends: Vec<Value>) -> Gateway {
    let target = |(at, backend): (usize, &Value)| json!({"backend": backend["name"], "priority": at});
    let targets: Vec<Value> = backends.iter().enumerate().map(target).collect();
    Gateway::start(json!({
        "routes": [{"name": "r", "rules": [{"targets": targets}]}], "backends": backends,
        // The name by which the harness's clients ask.
        "admin": {"hosts": ["gateway.test"]},
    }))
    .await
}

/// A backend of Azure's models, with a token that comes from `tokens`.
fn azure(name: &str, at: SocketAddr, tokens: SocketAddr, secret: &std::path::Path) -> Value {
    with(
        backend(name, &[at]),
        json!({"credential": {"file": secret, "azure": {
            "tenantId": "t", "clientId": "c", "endpoint": format!("http://{tokens}"),
        }}}),
    )
}

/// The page `/debug/pools`.
async fn pools_page(gateway: &Gateway) -> Value {
    page(gateway, "/debug/pools").await
}

/// A page of the admin listener.
async fn page(gateway: &Gateway, path: &str) -> Value {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let stop = CancellationToken::new();
    let pages = Arc::new(Admin::of(gateway.server().clone(), None));
    tokio::spawn(admin::serve(socket, pages, stop.clone()));
    let page = Client::connect(address, Protocol::H1).await.send(get(path)).await.json();
    stop.cancel();
    page
}

/// What that page says of a backend's credential.
async fn reported(gateway: &Gateway, name: &str) -> Value {
    let page = pools_page(gateway).await;
    let backends = page["backends"].as_array().unwrap();
    backends.iter().find(|backend| backend["name"] == name).unwrap()["credential"].clone()
}

/// Waits for as many fetches of a backend's credential to have had this outcome.
async fn fetches(gateway: &Gateway, name: &str, outcome: &str, count: f64) {
    let labels = [format!("owner=\"{name}\""), format!("outcome=\"{outcome}\"")];
    eventually("fetches of a credential", || {
        let found = gateway.metric("penstock_credential_fetches_total", &[&labels[0], &labels[1]]);
        (found >= count).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_of_a_role_sign_each_attempt() {
    let server = knowing(json!({
        "identity_tokens": ["workload"], "aws": {"roles": [ROLE]}, "secret": "s",
    }))
    .await;
    let directory = tempfile::tempdir().unwrap();
    let token = directory.path().join("token");
    std::fs::write(&token, "workload\n").unwrap();
    let to = with(
        backend("bedrock", &[server.addr()]),
        json!({"api": {"schema": "AWSBedrock"}, "credential": {"aws": {"region": "eu-west-1", "webIdentity": {
            "roleArn": ROLE, "token": {"file": token}, "endpoint": format!("http://{}", server.addr()),
        }}}}),
    );
    let gateway = in_order(vec![to]).await;
    let mut client = gateway.client(Protocol::H1).await;
    for _ in 0..3 {
        let reply = client.send(post_json("/v1/chat/completions", &chat(MODEL, false))).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    let requests = server.requests();
    let asked = requests.iter().filter(|request| request.path == "/").count();
    assert_eq!(asked, 1, "keys are fetched once");
    let signed = requests.last().unwrap();
    assert!(signed.header("x-amz-security-token").is_some_and(|token| !token.is_empty()));
    assert_eq!(gateway.metric("penstock_credential_available", &["owner=\"bedrock\""]), 1.0);
    assert_eq!(gateway.metric("penstock_credential_fetches_total", &["outcome=\"fetched\""]), 1.0);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    let left = gateway.metric("penstock_credential_expiry_seconds", &["owner_kind=\"backend\""]) - now;
    assert!((3500.0..=3600.0).contains(&left), "{left}");
    drop(client);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_without_its_token_is_left_out_and_comes_back() {
    let tokens = knowing(json!({"azure": {"tenant": "t", "client_id": "c", "client_secret": "right"}})).await;
    let (first, second) = (sim(MODEL).await, sim(MODEL).await);
    let directory = tempfile::tempdir().unwrap();
    let secret = directory.path().join("secret");
    std::fs::write(&secret, "wrong-hush").unwrap();
    let gateway = in_order(vec![
        azure("first", first.addr(), tokens.addr(), &secret),
        backend("second", &[second.addr()]),
    ])
    .await;
    let mut client = gateway.client(Protocol::H1).await;
    let ask = || post_json("/v1/chat/completions", &chat(MODEL, false));
    assert_eq!(client.send(ask()).await.status, 200);
    assert_eq!((first.requests().len(), second.requests().len()), (0, 1));
    let credential = reported(&gateway, "first").await;
    assert_eq!(credential["available"], false);
    assert_eq!(
        credential["error"],
        format!("{} answered 401: invalid_client", tokens.addr()),
        "{credential}"
    );
    assert!(reported(&gateway, "second").await.is_null());
    let missing = json!([{ "upstream": "first", "error": credential["error"] }]);
    assert_eq!(page(&gateway, "/readyz").await["without_credential"], missing);
    assert_eq!(gateway.metric("penstock_credential_available", &["owner=\"first\""]), 0.0);
    let passed = ["outcome=\"no_credential\"", "upstream=\"first\""];
    assert_eq!(gateway.metric("penstock_picks_total", &passed), 1.0);

    // The secret is put right; nothing is started anew.
    std::fs::write(&secret, "right").unwrap();
    gateway.server().reload_files();
    fetches(&gateway, "first", "fetched", 1.0).await;
    assert_eq!(client.send(ask()).await.status, 200);
    let requests = first.requests();
    let shown = requests[0].header("authorization").unwrap();
    assert!(shown.starts_with("Bearer ") && shown.len() > 20, "{shown}");
    assert_eq!(page(&gateway, "/readyz").await["without_credential"], json!([]));

    // While the service is down, what is valid stays in use, over reloads too.
    let failed = reported(&gateway, "first").await["failed"].as_f64().unwrap();
    tokens.faults().set(vec![Fault::new(Action::Reset).path("/t/oauth2")]);
    std::fs::write(&secret, "right\n\n").unwrap();
    gateway.server().reload_files();
    fetches(&gateway, "first", "failed", failed + 1.0).await;
    gateway.reload(gateway.server().snapshot().redacted().clone()).unwrap();
    assert_eq!(client.send(ask()).await.status, 200);
    assert_eq!((first.requests().len(), second.requests().len()), (2, 1));
    let credential = reported(&gateway, "first").await;
    assert_eq!(
        (&credential["fetched"], &credential["available"], credential["error"].is_string()),
        (&json!(1), &json!(true), true)
    );
    let pages = format!("{} {}", pools_page(&gateway).await, gateway.metrics());
    assert!(!pages.contains("hush") && !pages.contains(shown), "{pages}");
    drop(client);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_another_target_a_request_waits_for_the_first_token_and_is_told_if_there_is_none() {
    let tokens = knowing(json!({"azure": {"tenant": "t", "client_id": "c", "client_secret": "right"}})).await;
    tokens.faults().set(vec![Fault::new(Action::Delay { ms: 200 }).path("/t/oauth2")]);
    let server = sim(MODEL).await;
    let directory = tempfile::tempdir().unwrap();
    let (right, wrong) = (directory.path().join("right"), directory.path().join("wrong"));
    std::fs::write(&right, "right").unwrap();
    std::fs::write(&wrong, "wrong").unwrap();
    for (secret, status) in [(&right, 200), (&wrong, 503)] {
        let gateway = in_order(vec![azure("only", server.addr(), tokens.addr(), secret)]).await;
        let mut client = gateway.client(Protocol::H1).await;
        let reply = client.send(post_json("/v1/chat/completions", &chat(MODEL, false))).await;
        assert_eq!(reply.status, status, "{}", reply.text());
        if status == 503 {
            assert_eq!(reply.code(), "no_credential");
        }
        drop(client);
        gateway.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_is_refused_is_fetched_again() {
    let tokens = knowing(json!({"azure": {"tenant": "t", "client_id": "c", "client_secret": "right"}})).await;
    let shown: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = shown.clone();
    let server = RawServer::start(move |mut connection| {
        let seen = seen.clone();
        async move {
            while let Some((head, _)) = connection.request().await {
                let token = head.lines().find_map(|line| line.strip_prefix("authorization: "));
                let is_first = {
                    let mut seen = seen.lock();
                    seen.push(token.unwrap_or_default().to_owned());
                    seen[0] == *seen.last().unwrap()
                };
                connection.respond(if is_first { 401 } else { 200 }, "", "{}").await;
            }
        }
    })
    .await;
    let directory = tempfile::tempdir().unwrap();
    let secret = directory.path().join("secret");
    std::fs::write(&secret, "right").unwrap();
    let gateway = in_order(vec![azure("b", server.addr(), tokens.addr(), &secret)]).await;
    let mut client = gateway.client(Protocol::H1).await;
    let ask = || post_json("/v1/chat/completions", &chat(MODEL, false));
    assert_eq!(client.send(ask()).await.status, 401);
    fetches(&gateway, "b", "fetched", 2.0).await;
    assert_eq!(client.send(ask()).await.status, 200);
    let shown = shown.lock().clone();
    assert_ne!(shown[0], shown[1]);
    drop(client);
    gateway.stop().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_brings_its_own_and_no_other_upstream_sees_it() {
    let (hosted, own, copied) = (sim(MODEL).await, sim(MODEL).await, sim(MODEL).await);
    let to = with(
        backend("hosted", &[hosted.addr()]),
        json!({"credential": {"override": {"header": "x-own-key"}}}),
    );
    let gateway = Gateway::start(json!({
        "routes": [{"name": "r", "rules": [
            {
                "matches": [{"path": {"value": "/v1/chat"}}],
                "targets": [{"backend": "hosted"}], "mirrors": [{"backend": "copied"}],
            },
            {"targets": [{"backend": "own"}, {"backend": "hosted", "priority": 1}]},
        ]}],
        "backends": [to, backend("own", &[own.addr()]), backend("copied", &[copied.addr()])],
    }))
    .await;
    let mut client = gateway.client(Protocol::H1).await;
    let text = chat(MODEL, false).to_string();
    let headers = [("x-own-key", "sk-mine"), ("authorization", "Bearer of-the-gateway")];
    assert_eq!(client.send(post("/v1/chat/completions", &headers, text.clone())).await.status, 200);
    let requests = hosted.requests();
    assert_eq!(requests[0].header("authorization"), Some("Bearer sk-mine"));
    assert_eq!(requests[0].header("x-own-key"), None);
    let copy = eventually("the copy", || copied.requests().pop()).await;
    assert_eq!(copy.header("x-own-key"), None);
    let completion = json!({"model": MODEL, "prompt": "a"}).to_string();
    assert_eq!(client.send(post("/v1/completions", &headers, completion)).await.status, 200);
    assert_eq!(own.requests()[0].header("x-own-key"), None);
    // Without one, or with one that is none, nothing is sent.
    for headers in [&[][..], &[("x-own-key", "")], &[("x-own-key", "a"), ("x-own-key", "b")]] {
        let reply = client.send(post("/v1/chat/completions", headers, text.clone())).await;
        assert_eq!(
            (reply.status.as_u16(), reply.code().as_str()),
            (401, "invalid_api_key"),
            "{}",
            reply.text()
        );
    }
    assert_eq!(hosted.requests().len(), 1);
    drop(client);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_pages_and_health_checks_are_shown_the_key() {
    let heads: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = heads.clone();
    let server = RawServer::start(move |mut connection| {
        let seen = seen.clone();
        async move {
            while let Some((head, _)) = connection.request().await {
                let is_let_in = head.contains("\r\nauthorization: bearer sk-1\r\n");
                seen.lock().push(head);
                let page = "vllm:num_requests_running 0\nvllm:num_requests_waiting 0\n";
                connection.respond(if is_let_in { 200 } else { 401 }, "", page).await;
            }
        }
    })
    .await;
    let directory = tempfile::tempdir().unwrap();
    let key = directory.path().join("key");
    std::fs::write(&key, "sk-1").unwrap();
    let credential = json!({"credential": {"file": key}});
    let check = json!({"healthCheck": {"path": "/healthz", "interval": "1s"}});
    let gateway = Gateway::start(json!({
        "pools": [with(with(pool("p", &[server.addr()]), credential.clone()), json!({"metrics": {"enabled": true}}))],
        "backends": [with(with(backend("b", &[server.addr()]), credential), check)],
    }))
    .await;
    for path in ["get /metrics ", "get /healthz "] {
        let head =
            eventually(path, || heads.lock().iter().find(|head| head.starts_with(path)).cloned()).await;
        assert!(head.contains("\r\nauthorization: bearer sk-1\r\n"), "{head}");
    }
    eventually("a page that was read", || {
        (gateway.metric("penstock_scrapes_total", &["outcome=\"read\""]) > 0.0).then_some(())
    })
    .await;
    gateway.stop().await;
    server.stop().await;
}

/// Whoever serves them, and before an upstream's own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_of_a_rule_are_sent_with_its_secret() {
    let (seen, mut heads) = tokio::sync::mpsc::channel(1);
    let server = RawServer::start(move |mut connection| {
        let seen = seen.clone();
        async move {
            while let Some((head, _)) = connection.request().await {
                seen.send(head).await.unwrap();
                connection.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await;
            }
        }
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let [secret, own] = ["secret", "own"].map(|name| folder.path().join(name));
    std::fs::write(&secret, "Basic first\n").unwrap();
    std::fs::write(&own, "of-the-upstream").unwrap();
    let rule = |path: &str, credential: Value, to: &str| json!({"matches": [{"path": {"type": "Exact", "value": path}}], "credential": credential, "targets": [{"backend": to}]});
    let with_own = with(backend("own", &[server.addr()]), json!({"credential": {"file": own}}));
    let gateway = Gateway::start(json!({
        "routes": [{"name": "r", "rules": [
            rule("/plain", json!({"file": secret}), "b"),
            rule("/over", json!({"file": secret, "overwrite": true}), "b"),
            rule("/header", json!({"file": secret, "header": "X-Service-Key"}), "b"),
            rule("/own", json!({"file": secret, "overwrite": true}), "own"),
        ]}],
        "backends": [backend("b", &[server.addr()]), with_own],
        "admin": {"hosts": ["gateway.test"]},
    }))
    .await;
    let mut client = gateway.client(Protocol::H1).await;
    let mut sent = async |path: &str, authorization: Option<&str>, header: &str| {
        let shown: Vec<_> = authorization.map(|value| ("authorization", value)).into_iter().collect();
        assert_eq!(client.send(post(path, &shown, "{}")).await.status, 200, "{path}");
        let head = heads.recv().await.unwrap().to_ascii_lowercase();
        let lines = head.lines().filter_map(|line| line.strip_prefix(&format!("{header}: ")));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(sent("/plain", None, "authorization").await, ["basic first"]);
    assert_eq!(sent("/plain", Some("of the client"), "authorization").await, ["of the client"]);
    assert_eq!(sent("/over", Some("of the client"), "authorization").await, ["basic first"]);
    assert_eq!(sent("/header", Some("of the client"), "x-service-key").await, ["basic first"]);
    assert_eq!(sent("/header", Some("of the client"), "authorization").await, ["of the client"]);
    assert_eq!(sent("/own", Some("of the client"), "authorization").await, ["bearer of-the-upstream"]);
    // It is read again, and shown on no page.
    std::fs::write(&secret, "Basic second").unwrap();
    gateway.server().reload_files();
    assert_eq!(sent("/plain", None, "authorization").await, ["basic second"]);
    assert!(!page(&gateway, "/debug/config").await.to_string().contains("second"));
    drop(client);
    gateway.stop().await;
}
