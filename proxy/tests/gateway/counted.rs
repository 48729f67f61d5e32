//! What is counted beside requests: certificates that run out, streams that lack their end, limits that no request hits.

use std::path::Path;

use penstock_sources::Applier;
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use serde_json::{Value, json};

use crate::harness::{
    Client, Gateway, MODEL, Protocol, RawServer, chat, eventually, pool, post_json, sim, with,
};

/// The last moment of a certificate, which is the first of that year.
const END_OF_2029: i64 = 1_893_456_000;
const END_OF_2030: i64 = 1_924_992_000;

/// Writes a certificate that ends in `year` and its key.
fn issue(folder: &Path, name: &str, year: i32) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["gateway.test".to_owned()]).unwrap();
    params.not_after = date_time_ymd(year, 1, 1);
    std::fs::write(folder.join(format!("{name}.crt")), params.self_signed(&key).unwrap().pem()).unwrap();
    std::fs::write(folder.join(format!("{name}.key")), key.serialize_pem()).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_each_certificate_in_force_is_a_metric() {
    let folder = tempfile::tempdir().unwrap();
    issue(folder.path(), "own", 2030);
    issue(folder.path(), "shown", 2031);
    let file = |name: &str| json!(folder.path().join(name));
    let certificate = json!({"certificateFile": file("own.crt"), "privateKeyFile": file("own.key")});
    let document = |tls: Value| {
        json!({
            "listeners": [{
                "name": "https", "address": "127.0.0.1:0", "protocol": "HTTPS",
                "tls": {"certificates": [certificate]},
            }],
            "pools": [with(pool("p", &[]), tls)],
        })
    };
    let shown =
        json!({"tls": {"clientCertificateFile": file("shown.crt"), "clientKeyFile": file("shown.key")}});
    let gateway = Gateway::start(document(shown)).await;
    let end = |labels: &[&str]| gateway.metric("penstock_tls_certificate_not_after_seconds", labels) as i64;
    let listener = ["owner_kind=\"listener\"", "owner=\"https\"", "own.crt\""];
    assert_eq!(end(&listener), END_OF_2029);
    assert_eq!(end(&["owner_kind=\"pool\"", "owner=\"p\"", "shown.crt\""]), END_OF_2030);
    // One that is renewed, and one that is no longer shown.
    issue(folder.path(), "own", 2031);
    gateway.server().reload_files();
    assert_eq!(end(&listener), END_OF_2030);
    gateway.reload(document(json!({}))).unwrap();
    assert_eq!((end(&[]), end(&["owner_kind=\"pool\""])), (END_OF_2030, 0));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_ends_well_without_its_last_event_is_counted() {
    let token = r#"data: {"choices":[{"delta":{"content":"a"}}]}"#;
    let server = RawServer::start(move |mut connection| async move {
        while let Some((head, _)) = connection.request().await {
            let end =
                if head.starts_with("post /v1/chat/completions?whole") { "data: [DONE]\n\n" } else { "" };
            connection
                .respond(200, "content-type: text/event-stream\r\n", &format!("{token}\n\n{end}"))
                .await;
        }
    })
    .await;
    let rule = json!({"targets": [{"pool": "p"}]});
    let gateway = Gateway::start(json!({
        "routes": [{"name": "r", "rules": [rule]}],
        "pools": [pool("p", &[server.addr()])],
    }))
    .await;
    let count = || gateway.metric("penstock_streams_without_last_event_total", &["upstream=\"p\""]);
    let mut client = gateway.client(Protocol::H1).await;
    for path in ["/v1/chat/completions?whole", "/v1/chat/completions", "/v1/chat/completions?whole"] {
        assert_eq!(client.send(post_json(path, &chat(MODEL, true))).await.status, 200);
    }
    // A request is counted after its answer went out.
    gateway.log(3).await;
    assert_eq!(count(), 1.0);
    drop(client);
    gateway.stop().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_that_no_request_hits_are_counted() {
    let server = sim(MODEL).await;
    let gateway = Gateway::start(json!({
        "limits": {"headerTimeout": "100ms", "keepAliveTimeout": "1s"},
        "routes": [{"name": "r", "rules": [{"targets": [{"pool": "p"}]}]}],
        "pools": [pool("p", &[server.addr()])],
    }))
    .await;
    let hits = |limit: &str| gateway.metric("penstock_limit_hits_total", &[&format!("\"{limit}\"")]);
    let mut idle = gateway.client(Protocol::H1).await;
    assert_eq!(idle.send(post_json("/v1/chat/completions", &chat(MODEL, false))).await.status, 200);
    // It says nothing from the start, so that nobody knows what it speaks.
    let silent = Client::connect(gateway.addr(), Protocol::H1).await;
    eventually("the silent client's limit", || (hits("limits.headerTimeout") >= 1.0).then_some(())).await;
    eventually("the idle client's limit", || (hits("limits.keepAliveTimeout") >= 1.0).then_some(())).await;
    drop((idle, silent));
    gateway.stop().await;
}
