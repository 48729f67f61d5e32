//! What the operator may ask of a gateway: credentials, changes by target, fixed answers, copies, listeners that share an
//! address, models that a pool renames, and lists of endpoints that come and go.

use std::net::TcpListener;

use penstock_sim::faults::{Action, Fault};
use penstock_sim::record::RecordedRequest;
use penstock_sources::Applier as _;
use serde_json::{Value, json};

use crate::harness::{
    Client, Gateway, MODEL, Protocol, backend, chat, eventually, get, pool, post, post_json, sim, until,
};

fn rule(targets: &Value) -> Value {
    json!([{"name": "r", "rules": [{"targets": targets}]}])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_credential_takes_the_place_of_the_clients_and_is_read_again() {
    let server = sim(MODEL).await;
    let directory = tempfile::tempdir().unwrap();
    let key = directory.path().join("key");
    std::fs::write(&key, "sk-one\n").unwrap();
    let mut to = backend("b", &[server.addr()]);
    to["credential"] = json!({"file": "secret:key"});
    let gateway = Gateway::start(json!({
        "secretsFrom": directory.path(), "routes": rule(&json!([{"backend": "b"}])), "backends": [to],
    }))
    .await;
    let own = [("authorization", "Bearer of-the-client"), ("authorization", "Bearer again")];
    let mut client = gateway.client(Protocol::H1).await;
    for secret in ["sk-one", "sk-two"] {
        std::fs::write(&key, secret).unwrap();
        gateway.server().reload_files();
        let reply = client.send(post("/v1/chat/completions", &own, chat(MODEL, false).to_string())).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let requests = server.requests();
        assert_eq!(requests.last().unwrap().header("authorization"), Some(&*format!("Bearer {secret}")));
    }
    let shown = gateway.server().snapshot().redacted().to_string();
    assert!(
        !shown.contains("sk-") && !gateway.log(2).await.iter().any(|line| line.to_string().contains("sk-"))
    );
    drop(client);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_the_secret_does_not_have_is_named_with_the_secret() {
    let server = sim(MODEL).await;
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("here"), "x").unwrap();
    let gateway = Gateway::start(json!({})).await;
    let mut to = backend("b", &[server.addr()]);
    to["credential"] = json!({"file": "secret:gone"});
    let refused = gateway.reload(json!({"secretsFrom": directory.path(), "backends": [to]})).unwrap_err();
    let message = refused[0].to_string();
    let wanted = format!("the Secret {} has no key gone; it has here", directory.path().display());
    assert!(message.contains(&wanted), "{message}");
    assert_eq!(refused[0].path, "backends[0].credential.file");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_changes_host_path_and_the_response() {
    let server = sim(MODEL).await;
    let routes = json!([{"name": "r", "rules": [{
        "matches": [{"path": {"value": "/in"}}],
        "urlRewrite": {"hostname": "rule.test", "path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/rule"}},
        "responseHeaders": {"set": [{"name": "x-from", "value": "rule"}, {"name": "x-rule", "value": "1"}]},
        "targets": [{
            "backend": "b",
            "urlRewrite": {"hostname": "target.test", "path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}},
            "responseHeaders": {"set": [{"name": "x-from", "value": "target"}]},
        }],
    }]}]);
    let gateway =
        Gateway::start(json!({"routes": routes, "backends": [backend("b", &[server.addr()])]})).await;
    let mut client = gateway.client(Protocol::H1).await;
    let reply = client.send(post_json("/in/v1/chat/completions", &chat(MODEL, false))).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!((reply.header("x-from"), reply.header("x-rule")), ("target", "1"));
    let requests = server.requests();
    assert_eq!(requests[0].header("host"), Some("target.test"));
    assert_eq!(requests[0].path, "/v1/chat/completions");
    drop(client);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fixed_answer_has_its_share_of_the_requests_and_never_of_the_attempts() {
    let server = sim(MODEL).await;
    let gateway = Gateway::start(json!({
        "routes": rule(&json!([{"status": 500, "weight": 1}, {"backend": "b", "weight": 1}])),
        "backends": [backend("b", &[server.addr()])],
    }))
    .await;
    let mut client = gateway.client(Protocol::H1).await;
    let mut refused = 0;
    for _ in 0..60 {
        let reply = client.send(post_json("/v1/chat/completions", &chat(MODEL, false))).await;
        match reply.status.as_u16() {
            200 => {}
            500 => {
                assert_eq!(reply.code(), "invalid_target");
                refused += 1;
            }
            other => panic!("{other}: {}", reply.text()),
        }
    }
    // Missed by a fair coin once in 10^9 runs.
    assert!((7..=53).contains(&refused), "{refused} of 60");
    drop(client);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_policy_restricts_that_nobody_enforces_is_closed_in_the_clients_dialect() {
    let server = sim(MODEL).await;
    let gateway = Gateway::start(json!({
        "routes": rule(&json!([{"status": 500, "reason": "unsupportedPolicy"}])),
        "backends": [backend("b", &[server.addr()])],
    }))
    .await;
    let mut client = gateway.client(Protocol::H1).await;
    let reply = client.send(post_json("/v1/chat/completions", &chat(MODEL, false))).await;
    assert_eq!((reply.status.as_u16(), reply.code().as_str()), (500, "unsupported_policy"));
    let reply = client.send(post_json("/v1/messages", &chat(MODEL, false))).await;
    assert_eq!(reply.status, 500);
    let body: serde_json::Value = serde_json::from_str(&reply.text()).unwrap();
    assert_eq!((&body["type"], &body["error"]["type"]), (&json!("error"), &json!("api_error")), "{body}");
    let listed = client.send(get("/v1/models")).await;
    assert!(!listed.text().contains(MODEL), "nobody may learn what is behind it: {}", listed.text());
    drop(client);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_is_sent_and_what_becomes_of_it_is_nobodys_concern() {
    let (server, mirror) = (sim(MODEL).await, sim(MODEL).await);
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let gateway = Gateway::start(json!({
        "routes": [{"name": "r", "rules": [{
            "requestHeaders": {"set": [{"name": "x-set", "value": "1"}]},
            "targets": [{"backend": "b"}],
            "mirrors": [{"pool": "m"}, {"backend": "closed"}],
        }]}],
        "backends": [backend("b", &[server.addr()]), backend("closed", &[closed])],
        "pools": [pool("m", &[mirror.addr()])],
    }))
    .await;
    for protocol in [Protocol::H1, Protocol::H2] {
        let mut client = gateway.client(protocol).await;
        let reply = client.send(post_json("/v1/chat/completions", &chat(MODEL, false))).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    let (asked, copied) = (server.requests(), copies(&mirror, 2).await);
    assert_eq!(copied[0].header("x-set"), Some("1"));
    assert_eq!(asked[0].body_xxh64, copied[0].body_xxh64);
    let outcome = |outcome: &str| gateway.metric("penstock_mirrored_requests_total", &[outcome]);
    eventually("copies that failed", || (outcome("failed") == 2.0 && outcome("sent") == 2.0).then_some(()))
        .await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copies_beyond_the_limit_are_not_sent_and_counted() {
    let (server, mirror) = (sim(MODEL).await, sim(MODEL).await);
    mirror.faults().push(Fault::new(Action::Hang));
    let gateway = Gateway::start(json!({
        "limits": {"mirroredRequests": 1},
        "routes": [{"name": "r", "rules": [{"targets": [{"pool": "p"}], "mirrors": [{"pool": "m"}]}]}],
        "pools": [pool("p", &[server.addr()]), pool("m", &[mirror.addr()])],
    }))
    .await;
    let mut client = gateway.client(Protocol::H1).await;
    for _ in 0..3 {
        assert_eq!(client.send(post_json("/v1/chat/completions", &chat(MODEL, false))).await.status, 200);
    }
    // The first is still on its way.
    until(&mirror, |stats| stats.requests == 1).await;
    assert_eq!(gateway.metric("penstock_mirrored_requests_total", &["dropped"]), 2.0);
    assert_eq!(gateway.metric("penstock_limit_hits_total", &["\"limits.mirroredRequests\""]), 2.0);
    drop((client, mirror));
    eventually("the first copy to fail", || {
        (gateway.metric("penstock_mirrored_requests_total", &["failed"]) == 1.0).then_some(())
    })
    .await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listeners_on_one_address_are_told_apart_by_host() {
    let server = sim(MODEL).await;
    // Port 0 is another port for each listener, so one is taken and given back.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let on = |name: &str, path: &str| json!({"name": name, "listeners": [name], "rules": [{"matches": [{"path": {"value": path}}], "targets": [{"backend": "b"}]}]});
    let gateway = Gateway::start(json!({
        "listeners": [
            {"name": "any", "address": address},
            {"name": "exact", "address": address, "hostname": "a.test"},
            {"name": "wild", "address": address, "hostname": "*.test"},
        ],
        "routes": [on("any", "/any"), on("exact", "/exact"), on("wild", "/wild")],
        "backends": [backend("b", &[server.addr()])],
    }))
    .await;
    assert_eq!(gateway.server().addresses().len(), 3);
    let mut client = gateway.client(Protocol::H1).await;
    for (host, own) in [("a.test", "/exact"), ("b.test", "/wild"), ("other", "/any")] {
        for path in ["/any", "/exact", "/wild"] {
            let mut asked = get(path);
            // The origin form: an absolute one would name another host.
            *asked.uri_mut() = path.parse().unwrap();
            asked.headers_mut().insert("host", http::HeaderValue::from_static(host));
            let reply = client.send(asked).await;
            assert_eq!(reply.code() == "unknown_url", path != own, "{host} {path}: {}", reply.status);
        }
    }
    drop(client);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pool_renames_models_after_the_target_did() {
    let server = sim("tuned-2").await;
    let mut to = pool("p", &[server.addr()]);
    to["modelRewrites"] = json!([{"models": ["tuned"], "targets": [{"model": "tuned-2"}]}]);
    let gateway = Gateway::start(json!({
        "routes": [{"name": "r", "rules": [
            {"models": ["a"], "targets": [{"pool": "p", "modelOverride": "tuned"}]},
            {"models": ["tuned"], "targets": [{"pool": "p"}]},
        ]}],
        "pools": [to],
    }))
    .await;
    let mut client = gateway.client(Protocol::H1).await;
    for model in ["a", "tuned"] {
        let reply = client.send(post_json("/v1/chat/completions", &chat(model, false))).await;
        assert_eq!((reply.status.as_u16(), &reply.json()["model"]), (200, &json!("tuned-2")));
    }
    assert!(gateway.log(2).await.iter().all(|line| line.to_string().contains("tuned-2")));
    drop(client);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_names_the_model_as_its_pool_does() {
    let (server, mirror) = (sim("tuned").await, sim("tuned-2").await);
    let mut to = pool("m", &[mirror.addr()]);
    to["modelRewrites"] = json!([{"models": ["tuned"], "targets": [{"model": "tuned-2"}]}]);
    let gateway = Gateway::start(json!({
        "routes": [{"name": "r", "rules": [{"targets": [{"pool": "p"}], "mirrors": [{"pool": "m"}]}]}],
        "pools": [pool("p", &[server.addr()]), to],
    }))
    .await;
    let mut client = gateway.client(Protocol::H1).await;
    for model in ["tuned", "tuned-2"] {
        client.send(post_json("/v1/chat/completions", &chat(model, false))).await;
    }
    let (asked, copied) = (server.requests(), copies(&mirror, 2).await);
    assert_ne!(asked[0].body_xxh64, asked[1].body_xxh64);
    assert_eq!(copied[0].body_xxh64, copied[1].body_xxh64);
    assert_eq!(copied[0].body_xxh64, asked[1].body_xxh64);
    assert_eq!(copied[0].header("content-length"), asked[1].header("content-length"));
    drop(client);
    gateway.stop().await;
}

/// What reached `mirror`, once `count` bodies are there: a request is counted by its head, and recorded by its body.
async fn copies(mirror: &penstock_sim::Handle, count: usize) -> Vec<RecordedRequest> {
    eventually("the copies", || Some(mirror.requests()).filter(|copies| copies.len() == count)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endpoints_come_and_go_by_their_lists() {
    let (one, two) = (sim(MODEL).await, sim(MODEL).await);
    let gateway = Gateway::start(json!({
        "routes": [{"name": "r", "rules": [
            {"matches": [{"path": {"value": "/b"}}], "targets": [{"backend": "b"}]},
            {"models": [MODEL], "targets": [{"pool": "p"}]},
        ]}],
        "pools": [{"name": "p", "endpointsFrom": ["p-0", "p-1"], "metrics": {"enabled": false}}],
        "backends": [{"name": "b", "endpointsFrom": ["b-0"]}],
    }))
    .await;
    let list = |endpoints: Value| {
        json!({"apiVersion": "penstock.dev/v1alpha1", "kind": "Endpoints", "endpoints": endpoints})
            .to_string()
    };
    let server = gateway.server();
    let snapshot = server.snapshot();
    let mut client = gateway.client(Protocol::H1).await;
    let mut ask =
        async || client.send(post_json("/v1/chat/completions", &chat(MODEL, false))).await.status.as_u16();
    assert_eq!(ask().await, 503, "no list is there yet");
    server.set_list("p-0", Some(&list(json!([{"address": one.addr().to_string()}]))));
    assert_eq!(ask().await, 200);
    server.set_list("p-1", Some(&list(json!([{"address": two.addr().to_string()}]))));
    server.set_list("p-0", None);
    assert_eq!(ask().await, 200);
    assert_eq!((one.stats().requests, two.stats().requests), (1, 1));
    server.set_list("p-1", Some("nonsense"));
    assert_eq!(ask().await, 200, "the last good one stays");
    assert!(gateway.metrics().contains("penstock_endpoint_lists_faulty 1"));

    let mut client = Client::connect(gateway.addr(), Protocol::H1).await;
    assert_eq!(client.send(get("/b")).await.status, 503);
    let address = one.addr();
    server.set_list("b-0", Some(&list(json!([{"host": address.ip().to_string(), "port": address.port()}]))));
    assert_ne!(client.send(get("/b")).await.status, 503);
    assert!(std::sync::Arc::ptr_eq(&snapshot, &server.snapshot()), "nothing else was built anew");
    drop(client);
    gateway.stop().await;
}
