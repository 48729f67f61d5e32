//! Rules that answer something in place of what upstreams or the gateway answer.

use penstock_sim::faults::{Action, Fault};
use serde_json::{Value, json};

use crate::harness::{
    Client, Gateway, MODEL, Protocol, RawServer, Reply, backend, chat, get, post_json, sim, with,
};

const CHAT: &str = "/v1/chat/completions";
const KEY: &str = "sk-overrides-19f2";

/// A document whose only rule has these overrides.
fn document(server: std::net::SocketAddr, overrides: &Value) -> Value {
    let rule = json!({
        "targets": [{"backend": "b"}], "responseOverrides": overrides, "retry": {"attempts": 1},
        "responseHeaders": {"set": [{"name": "x-rule", "value": "r"}]},
    });
    json!({
        "routes": [{"name": "r", "rules": [rule]}],
        "backends": [with(backend("b", &[server]), json!({"ejection": {"consecutiveFailures": 0}}))],
    })
}

async fn ask(client: &mut Client) -> Reply {
    client.send(post_json(CHAT, &chat(MODEL, false))).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn responses_of_upstreams_are_replaced_by_their_status_and_others_are_not() {
    let server = RawServer::start(async |mut connection| {
        while let Some((head, _)) = connection.request().await {
            let status = head.split("/status/").nth(1).unwrap_or("200")[..3].parse().unwrap();
            connection.respond(status, "x-secret: internals\r\nretry-after: 9\r\n", "stack trace").await;
        }
    })
    .await;
    let gateway = Gateway::start(document(server.addr(), &json!([
        {"statuses": [{"from": 404}], "body": "nothing here", "headers": {"set": [{"name": "x-page", "value": "404"}]}},
        {"statuses": [{"from": 400, "to": 404}, {"from": 500, "to": 503}], "source": "Upstream", "status": 502,
         "contentType": "application/json", "body": "{\"error\": true}"},
        {"statuses": [{"from": 504}], "source": "Gateway", "body": "never of an upstream"},
        {"statuses": [{"from": 403}, {"from": 405}], "redirect": {"hostname": "help.test", "scheme": "https", "port": 443,
         "path": {"type": "ReplaceFullPath", "replaceFullPath": "/denied"}}},
        {"statuses": [{"from": 410}], "status": 204},
    ]))).await;
    for protocol in [Protocol::H1, Protocol::H2] {
        let mut client = gateway.client(protocol).await;
        for (asked, status, content_type, body) in [
            (404, 404, "text/plain", "nothing here"),
            (400, 502, "application/json", "{\"error\": true}"),
            (403, 502, "application/json", "{\"error\": true}"),
            (503, 502, "application/json", "{\"error\": true}"),
            (405, 302, "", ""),
            (410, 204, "", ""),
        ] {
            let reply = client.send(get(&format!("/status/{asked}"))).await;
            let found = (reply.status.as_u16(), reply.header("content-type"), reply.text());
            assert_eq!(found, (status, content_type, body.to_owned()), "{asked} {protocol:?}");
            assert_eq!((reply.header("x-secret"), reply.header("retry-after")), ("", ""), "{asked}");
            assert_eq!(reply.header("x-rule"), "r", "{asked}");
            assert!(!reply.header("x-request-id").is_empty(), "{asked}");
            if asked == 404 {
                assert_eq!(reply.header("x-page"), "404");
            }
            if asked == 405 {
                assert_eq!(reply.header("location"), "https://help.test/denied");
            }
        }
        for asked in [200, 418, 504] {
            let reply = client.send(get(&format!("/status/{asked}"))).await;
            assert_eq!((reply.status.as_u16(), reply.text().as_str()), (asked, "stack trace"));
            assert_eq!(reply.header("x-secret"), "internals");
        }
    }
    // What is not shown is read all the same: the connection to the upstream goes on.
    assert_eq!(server.accepted(), 1);
    let line = &gateway.log(1).await[0];
    assert_eq!((&line["status"], &line["backend"]), (&json!(404), &json!("b")), "{line}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upstream_that_sends_on_and_on_does_not_delay_what_is_answered() {
    let server = RawServer::start(async |mut connection| {
        while connection.request().await.is_some() {
            connection.send("HTTP/1.1 500 Oops\r\ntransfer-encoding: chunked\r\n\r\n4\r\nmore\r\n").await;
            connection.closed().await;
        }
    })
    .await;
    let gateway =
        Gateway::start(document(server.addr(), &json!([{"statuses": [{"from": 500}], "body": "sorry"}])))
            .await;
    let mut client = gateway.client(Protocol::H1).await;
    let reply = ask(&mut client).await;
    assert_eq!((reply.status.as_u16(), reply.text().as_str()), (500, "sorry"));
    // The client's connection is as good as before.
    assert_eq!(ask(&mut client).await.text(), "sorry");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_status_is_retried_first_and_replaced_where_nothing_is_left() {
    let server = sim(MODEL).await;
    server.faults().push(Fault::new(Action::Status { code: 503, retry_after_s: None }).times(1));
    let mut of = document(server.addr(), &json!([{"statuses": [{"from": 503}], "body": "busy"}]));
    of["routes"][0]["rules"][0]["retry"] = json!({"attempts": 2, "backoff": "0s"});
    let gateway = Gateway::start(of).await;
    let mut client = gateway.client(Protocol::H1).await;
    let reply = ask(&mut client).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_of_the_gateway_keep_what_they_say_beside_their_body() {
    let digest = penstock_policies::key_digest(KEY.as_bytes()).to_string();
    let overrides = json!([
        {"statuses": [{"from": 400, "to": 599}], "source": "Upstream", "body": "never of the gateway"},
        {"statuses": [{"from": 401}], "contentType": "text/html", "body": "<p>who?"},
        {"statuses": [{"from": 403}], "redirect": {"scheme": "https", "hostname": "login.test"}},
        {"statuses": [{"from": 413}, {"from": 502, "to": 503}], "status": 500, "body": "sorry"},
    ]);
    let mut of = document("127.0.0.1:1".parse().unwrap(), &overrides);
    of["consumers"] = json!([{"name": "c", "keys": [digest]}]);
    of["policies"] = json!([
        {"name": "keys", "authentication": {"apiKey": {}}},
        {"name": "nobody", "authorization": {"rules": [{"action": "Deny", "headers": [{"name": "x-no", "values": ["1"]}]}],
         "defaultAction": "Allow"}},
    ]);
    of["listeners"] = json!([{"name": "http", "address": "127.0.0.1:0", "policies": ["keys"]}]);
    of["routes"][0]["rules"][0]["policies"] = json!(["nobody"]);
    of["routes"][0]["rules"][0]["bodyBytes"] = json!("1KiB");
    let gateway = Gateway::start(of).await;
    let bearer = format!("Bearer {KEY}");
    for protocol in [Protocol::H1, Protocol::H2] {
        let mut client = gateway.client(protocol).await;
        // Of the listener's policy, which comes before the rule.
        let reply = ask(&mut client).await;
        let found = (reply.status.as_u16(), reply.header("content-type"), reply.text());
        assert_eq!(found, (401, "text/html", "<p>who?".to_owned()));
        assert!(!reply.header("www-authenticate").is_empty());
        let send = |headers: &[(&str, &str)], body: String| {
            let headers =
                [&[("authorization", &*bearer), ("content-type", "application/json")], headers].concat();
            crate::harness::post(CHAT, &headers, body)
        };
        let reply = client.send(send(&[("x-no", "1")], chat(MODEL, false).to_string())).await;
        assert_eq!((reply.status.as_u16(), reply.text().as_str()), (302, ""));
        assert_eq!(reply.header("location"), format!("https://login.test{CHAT}"));
        // Nobody listens there.
        let reply = client.send(send(&[], chat(MODEL, false).to_string())).await;
        let found = (reply.status.as_u16(), reply.header("content-length"), reply.text());
        assert_eq!(found, (500, "5", "sorry".to_owned()));
        let mut client = gateway.client(protocol).await;
        let reply = client.send(send(&[], "x".repeat(4096))).await;
        assert_eq!((reply.status.as_u16(), reply.text().as_str()), (500, "sorry"));
    }
    gateway.stop().await;
}
