//! Servers that decide whether requests are served, with real ones: what they are told, what their answers do, and what
//! becomes of requests about which nobody can say.

mod by_http;
mod server;

use std::net::SocketAddr;
use std::time::Duration;

use envoy_types::ext_authz::v3::pb::{CheckResponse, HttpResponse};
use envoy_types::pb::envoy::config::core::v3::address::Address;
use envoy_types::pb::envoy::config::core::v3::socket_address::PortSpecifier;
use envoy_types::pb::envoy::config::core::v3::{
    HeaderValue, HeaderValueOption, QueryParameter, header_value_option::HeaderAppendAction,
};
use envoy_types::pb::envoy::service::auth::v3::{DeniedHttpResponse, OkHttpResponse};
use envoy_types::pb::envoy::r#type::v3::HttpStatus;
use envoy_types::pb::google::protobuf::BoolValue;
use envoy_types::pb::google::rpc::Status;
use serde_json::{Value, json};

use self::server::Server;
use super::{ask, ask_at, guarded};
use crate::harness::{
    Gateway, MODEL, Protocol, RefusedPort, backend, chat, chunked, get, post, request, sim, with,
};

/// A document whose listener asks the server at `auth` by gRPC, and changes of that.
fn asking(server: SocketAddr, auth: SocketAddr, changes: &Value) -> Value {
    let external = with(json!({"grpc": {"backend": "auth"}}), changes.clone());
    let mut document = guarded(server, json!({"external": external}));
    let auth = with(backend("auth", &[auth]), json!({"protocol": "h2c"}));
    document["backends"].as_array_mut().unwrap().push(auth);
    document
}

/// The same, asked by the rule.
fn asking_late(server: SocketAddr, auth: SocketAddr, changes: &Value) -> Value {
    let mut document = asking(server, auth, changes);
    document["listeners"][0].as_object_mut().unwrap().remove("policies");
    document["routes"][0]["rules"][0]["policies"] = json!(["p"]);
    document
}

fn header(name: &str, value: &str) -> HeaderValueOption {
    let header = HeaderValue { key: name.to_owned(), value: value.to_owned(), raw_value: Vec::new() };
    HeaderValueOption { header: Some(header), ..HeaderValueOption::default() }
}

fn allowed(ok: OkHttpResponse) -> CheckResponse {
    CheckResponse {
        status: Some(Status { code: 0, ..Status::default() }),
        http_response: Some(HttpResponse::OkResponse(ok)),
        ..CheckResponse::default()
    }
}

fn denied(denied: DeniedHttpResponse) -> CheckResponse {
    CheckResponse {
        status: Some(Status { code: 7, ..Status::default() }),
        http_response: Some(HttpResponse::DeniedResponse(denied)),
        ..CheckResponse::default()
    }
}

fn allow_all() -> CheckResponse {
    allowed(OkHttpResponse::default())
}

/// Beside those of its name. The field that says so is older than the action, and what servers set.
#[expect(deprecated, reason = "Envoy goes by it")]
fn appended(name: &str, value: &str) -> HeaderValueOption {
    HeaderValueOption { append: Some(BoolValue { value: true }), ..header(name, value) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_is_told_what_envoy_tells() {
    let model = sim(MODEL).await;
    let auth = Server::start(|_| Ok(allow_all())).await;
    let changes =
        json!({"contextExtensions": [{"name": "tenant", "value": "a"}], "body": {"maxBytes": 8192}});
    let gateway = Gateway::start(asking_late(model.addr(), auth.addr(), &changes)).await;
    for protocol in [Protocol::H1, Protocol::H2] {
        let mut client = gateway.client(protocol).await;
        let headers = [("x-a", "1"), ("x-a", "2"), ("x-ai-eg-model", "forged")];
        assert_eq!(client.send(ask_at("/v1/chat/completions?q=1", &headers)).await.status, 200);
        let told = auth.asked().pop().unwrap().attributes.unwrap();
        assert_eq!(told.context_extensions["tenant"], "a");
        let source = told.source.unwrap().address.unwrap().address.unwrap();
        let Address::SocketAddress(source) = source else { panic!("{source:?}") };
        assert_eq!(source.address, "127.0.0.1");
        assert!(matches!(source.port_specifier, Some(PortSpecifier::PortValue(1..))), "{source:?}");
        assert!(told.destination.is_some());
        let asked = told.request.unwrap();
        assert!(asked.time.unwrap().seconds > 1_700_000_000);
        let http = asked.http.unwrap();
        assert_eq!((&*http.method, &*http.path), ("POST", "/v1/chat/completions?q=1"));
        assert_eq!((&*http.host, &*http.scheme), ("gateway.test", "http"));
        assert_eq!(http.protocol, if protocol == Protocol::H1 { "HTTP/1.1" } else { "HTTP/2.0" });
        let body = chat(MODEL, false).to_string();
        assert_eq!((&*http.body, http.size), (&*body, body.len() as i64));
        assert!(!http.id.is_empty() && http.raw_body.is_empty());
        assert_eq!((&*http.headers["x-a"], &*http.headers[":path"]), ("1,2", "/v1/chat/completions?q=1"));
        assert_eq!(http.headers["x-ai-eg-model"], MODEL);
        assert_eq!(http.headers["x-envoy-auth-partial-body"], "false");
    }
    assert_eq!(auth.accepted(), 1, "questions share a connection");
    assert_eq!(
        gateway.metric("penstock_external_checks_total", &["policy=\"p\"", "outcome=\"allowed\""]),
        2.0
    );
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_listed_is_all_that_a_server_sees_of_headers_and_bodies_are_not_shown_unasked() {
    let model = sim(MODEL).await;
    let auth = Server::start(|_| Ok(allow_all())).await;
    let changes = json!({"headersToAuth": ["x-a", "x-missing"]});
    let gateway = Gateway::start(asking(model.addr(), auth.addr(), &changes)).await;
    let mut client = gateway.client(Protocol::H1).await;
    let headers = [("x-a", "1"), ("authorization", "Bearer secret")];
    assert_eq!(client.send(ask(&headers)).await.status, 200);
    let told = auth.asked().pop().unwrap().attributes.unwrap().request.unwrap().http.unwrap();
    assert_eq!(told.headers.into_iter().collect::<Vec<_>>(), [("x-a".to_owned(), "1".to_owned())]);
    assert!(told.body.is_empty() && told.size > 0);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_changes_headers_and_query_and_what_the_gateway_says_is_not_its() {
    let model = sim(MODEL).await;
    let auth = Server::start(|_| {
        let absent = HeaderAppendAction::AddIfAbsent as i32;
        Ok(allowed(OkHttpResponse {
            headers: vec![
                header("x-user", "ann"),
                appended("x-more", "server"),
                header("host", "elsewhere.test"),
                header(":path", "/elsewhere"),
                header("content-length", "1"),
                header("transfer-encoding", "chunked"),
                header("x-penstock-pool", "other"),
                header("x-gateway-destination-endpoint", "127.0.0.1:1"),
                header("x-ai-eg-model", "other"),
            ],
            headers_to_remove: vec!["authorization".to_owned(), "content-length".to_owned()],
            response_headers_to_add: vec![
                header("x-told", "1"),
                header("content-length", "3"),
                HeaderValueOption { append_action: absent, ..header("content-type", "x/y") },
            ],
            query_parameters_to_set: vec![QueryParameter { key: "user".to_owned(), value: "a b".to_owned() }],
            query_parameters_to_remove: vec!["token".to_owned()],
            ..OkHttpResponse::default()
        }))
    })
    .await;
    for document in
        [asking(model.addr(), auth.addr(), &json!({})), asking_late(model.addr(), auth.addr(), &json!({}))]
    {
        let gateway = Gateway::start(document).await;
        for protocol in [Protocol::H1, Protocol::H2] {
            let mut client = gateway.client(protocol).await;
            let headers = [("x-user", "root"), ("x-more", "client"), ("authorization", "Bearer secret")];
            let reply = client.send(ask_at("/v1/chat/completions?token=t&user=root&a=1", &headers)).await;
            assert_eq!((reply.status.as_u16(), reply.header("x-told")), (200, "1"), "{}", reply.text());
            assert!(reply.header("content-type").starts_with("application/json"));
            assert!(reply.json()["choices"].is_array());
            let seen = model.requests().pop().unwrap();
            let all = |name: &str| -> Vec<&str> {
                seen.headers.iter().filter(|(key, _)| key == name).map(|(_, value)| &**value).collect()
            };
            assert_eq!((all("x-user"), all("x-more")), (vec!["ann"], vec!["client", "server"]));
            assert_eq!(seen.path, "/v1/chat/completions?a=1&user=a%20b");
            assert_eq!((all("host"), seen.header("authorization")), (vec!["gateway.test"], None));
            assert_eq!((seen.header("x-penstock-pool"), seen.header("x-ai-eg-model")), (None, None));
            assert_eq!(seen.header("x-gateway-destination-endpoint"), None);
        }
        let mut client = gateway.client(Protocol::H1).await;
        let hiding = client.send(ask(&[("connection", "x-user")])).await;
        assert_eq!(hiding.status, 400, "a client would take away what the server says");
        gateway.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_denial_is_the_clients_answer() {
    let model = sim(MODEL).await;
    let auth = Server::start(|http| {
        Ok(match &*http.path {
            "/v1/chat/completions?quiet" => CheckResponse {
                status: Some(Status { code: 7, ..Status::default() }),
                ..CheckResponse::default()
            },
            "/v1/chat/completions?login" => denied(DeniedHttpResponse {
                status: Some(HttpStatus { code: 302 }),
                headers: vec![header("location", "https://login.test/")],
                body: String::new(),
            }),
            _ => denied(DeniedHttpResponse {
                status: Some(HttpStatus { code: 418 }),
                headers: vec![
                    header("set-cookie", "a=1"),
                    header("set-cookie", "b=2"),
                    header("x-why", "first"),
                    header("x-why", "tea"),
                    header("connection", "close"),
                    header("content-length", "1"),
                    header("x-penstock-pool", "p"),
                ],
                body: "no coffee".to_owned(),
            }),
        })
    })
    .await;
    let gateway = Gateway::start(asking(model.addr(), auth.addr(), &json!({}))).await;
    for protocol in [Protocol::H1, Protocol::H2] {
        let mut client = gateway.client(protocol).await;
        let reply = client.send(ask(&[])).await;
        assert_eq!((reply.status.as_u16(), &*reply.text()), (418, "no coffee"));
        assert_eq!(super::all(&reply, "set-cookie"), ["a=1", "b=2"]);
        assert_eq!(super::all(&reply, "x-why"), ["tea"]);
        assert_eq!((reply.header("x-penstock-pool"), reply.header("content-type")), ("", "text/plain"));
        let login = client.send(ask_at("/v1/chat/completions?login", &[])).await;
        assert_eq!((login.status.as_u16(), login.header("location")), (302, "https://login.test/"));
        let quiet = client.send(ask_at("/v1/chat/completions?quiet", &[])).await;
        assert_eq!((quiet.status.as_u16(), &*quiet.code()), (403, "permission_denied"));
        assert_eq!(client.send(get("/v1/models")).await.status, 418, "the list of models is behind it too");
    }
    assert!(model.requests().is_empty());
    for line in gateway.log(8).await {
        assert_eq!(line["policy"], "p", "{line}");
    }
    assert_eq!(gateway.metric("penstock_external_checks_total", &["outcome=\"denied\""]), 8.0);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_nobody_can_say_requests_are_refused_or_pass_as_the_policy_has_it() {
    let model = sim(MODEL).await;
    let auth = Server::start(|http| match http.path.rsplit_once('?').map_or("", |(_, query)| query) {
        "failed" => Err(tonic::Status::unavailable("down")),
        "both" => Ok(CheckResponse { status: None, ..denied(DeniedHttpResponse::default()) }),
        "name" => Ok(allowed(OkHttpResponse { headers: vec![header("a b", "c")], ..Default::default() })),
        "value" => {
            Ok(allowed(OkHttpResponse { headers: vec![header("a", "b\r\nc: d")], ..Default::default() }))
        }
        "many" => Ok(allowed(OkHttpResponse {
            headers: vec![header("x-a", "1"); 300],
            ..OkHttpResponse::default()
        })),
        "long" => Ok(denied(DeniedHttpResponse { body: "x".repeat(300 << 10), ..Default::default() })),
        "error" => Ok(CheckResponse {
            http_response: Some(HttpResponse::ErrorResponse(DeniedHttpResponse::default())),
            ..CheckResponse::default()
        }),
        _ => Ok(CheckResponse::default()),
    })
    .await;
    let queries = ["failed", "both", "name", "value", "many", "long", "error", "hang"];
    let short = json!({"timeout": "300ms"});
    for (changes, status) in
        [(json!({}), 403), (json!({"statusOnError": 503}), 503), (json!({"failOpen": true}), 200)]
    {
        let gateway = Gateway::start(asking(model.addr(), auth.addr(), &with(short.clone(), changes))).await;
        let mut client = gateway.client(Protocol::H1).await;
        for query in queries {
            let reply = client.send(ask_at(&format!("/v1/chat/completions?{query}"), &[])).await;
            assert_eq!(reply.status, status, "{query}: {}", reply.text());
            if status != 200 {
                assert_eq!(reply.code(), "authorization_unavailable");
            }
        }
        assert_eq!(client.send(ask(&[])).await.status, 200, "an empty answer allows");
        let outcome = if status == 200 { "outcome=\"failed_open\"" } else { "outcome=\"failed\"" };
        let counted = gateway.metric("penstock_external_checks_total", &[outcome]);
        assert_eq!(counted, queries.len() as f64);
        gateway.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_is_too_long_to_be_shown_is_refused_whatever_happens_on_errors() {
    let model = sim(MODEL).await;
    let auth = Server::start(|_| Ok(allow_all())).await;
    let changes = json!({"body": {"maxBytes": 1000}, "failOpen": true});
    for document in
        [asking(model.addr(), auth.addr(), &changes), asking_late(model.addr(), auth.addr(), &changes)]
    {
        let gateway = Gateway::start(document).await;
        for protocol in [Protocol::H1, Protocol::H2] {
            let mut client = gateway.client(protocol).await;
            let headers = [("content-type", "application/json")];
            let body = with(chat(MODEL, false), json!({"user": "x".repeat(1000)})).to_string();
            for long in [
                post("/v1/chat/completions", &headers, body.clone()),
                request(http::Method::POST, "/v1/chat/completions", &headers, chunked(vec![body.into()])),
            ] {
                let reply = client.send(long).await;
                assert_eq!(reply.status, 413, "{}", reply.text());
                assert!(reply.text().contains("policies[].external.body.maxBytes"), "{}", reply.text());
            }
            let before = auth.asked().len();
            assert_eq!(client.send(ask(&[])).await.status, 200);
            let told = auth.asked().split_off(before);
            assert_eq!(told.len(), 1, "the policy's server is asked once");
            let http = told[0].attributes.clone().unwrap().request.unwrap().http.unwrap();
            assert_eq!(http.body, chat(MODEL, false).to_string());
        }
        gateway.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_may_go_and_come_back() {
    let model = sim(MODEL).await;
    let auth = Server::start(|_| Ok(allow_all())).await;
    let addr = auth.addr();
    let changes = json!({"timeout": "2s"});
    let document = with(asking(model.addr(), addr, &changes), json!({}));
    let gateway = Gateway::start(document).await;
    let mut client = gateway.client(Protocol::H1).await;
    assert_eq!(client.send(ask(&[])).await.status, 200);
    auth.go_away();
    for _ in 0..3 {
        assert_eq!(client.send(ask(&[])).await.status, 200, "the connection that ends is left for another");
    }
    assert!(auth.accepted() >= 2);
    drop(auth);
    // The task is over when its port is free.
    let again = loop {
        if client.send(ask(&[])).await.status == 403 {
            break Server::start_at(addr, |_| Ok(allow_all())).await;
        }
    };
    // The endpoint may be left alone for a while.
    let mut tries = tokio::time::interval(Duration::from_millis(20));
    crate::harness::within("the server to be asked again", async {
        while client.send(ask(&[])).await.status != 200 {
            tries.tick().await;
        }
    })
    .await;
    again.until_asked(1).await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_makes_no_server_fail_open_by_asking_too_much_of_it() {
    let model = sim(MODEL).await;
    let auth = Server::start(|_| Ok(allow_all())).await;
    let changes = json!({"body": {"maxBytes": "8MiB"}, "failOpen": true});
    let gateway = Gateway::start(asking(model.addr(), auth.addr(), &changes)).await;
    let mut client = gateway.client(Protocol::H1).await;
    let headers = [("content-type", "application/json")];
    for (bytes, status) in [(1 << 20, 200), (4 << 20, 403)] {
        let body = with(chat(MODEL, false), json!({"user": "x".repeat(bytes)})).to_string();
        let reply = client.send(post("/v1/chat/completions", &headers, body)).await;
        assert_eq!(reply.status, status, "{bytes}: {}", reply.text());
    }
    assert_eq!((auth.asked().len(), model.requests().len()), (1, 1), "the server has room for 4 MiB");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn authorization_of_a_listener_goes_by_what_a_server_sets_that_was_shown_the_body() {
    let model = sim(MODEL).await;
    let auth = Server::start(|http| {
        let user = http.headers.get("x-who").cloned().unwrap_or_default();
        Ok(allowed(OkHttpResponse { headers: vec![header("x-user", &user)], ..OkHttpResponse::default() }))
    })
    .await;
    for (rules, who, status) in [
        (
            json!({"rules": [{"action": "Allow", "headers": [{"name": "x-user", "values": ["ann"]}]}]}),
            "ann",
            200,
        ),
        (
            json!({"rules": [{"action": "Allow", "headers": [{"name": "x-user", "values": ["ann"]}]}]}),
            "bob",
            403,
        ),
        (
            json!({"defaultAction": "Allow",
                "rules": [{"action": "Deny", "headers": [{"name": "x-user", "values": ["bob"]}]}]}),
            "bob",
            403,
        ),
    ] {
        let mut document = asking(model.addr(), auth.addr(), &json!({"body": {"maxBytes": 10_000}}));
        document["policies"][0]["authorization"] = rules;
        // Another policy of the listener sees what the first one's server set as well.
        let mut after = document["policies"][0].clone();
        after["name"] = json!("after");
        after.as_object_mut().unwrap().remove("external");
        document["policies"].as_array_mut().unwrap().push(after);
        document["listeners"][0]["policies"] = json!(["p", "after"]);
        let gateway = Gateway::start(document).await;
        let mut client = gateway.client(Protocol::H1).await;
        // What the client says of itself is not what counts.
        let reply = client.send(ask(&[("x-who", who), ("x-user", "ann")])).await;
        assert_eq!(reply.status, status, "{who}: {}", reply.text());
        gateway.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_nobody_is_at_is_an_error_at_once() {
    let model = sim(MODEL).await;
    let nobody = RefusedPort::take();
    let gateway = Gateway::start(asking(model.addr(), nobody.addr(), &json!({"timeout": "50s"}))).await;
    let mut client = gateway.client(Protocol::H1).await;
    let reply = client.send(ask(&[])).await;
    assert_eq!((reply.status.as_u16(), &*reply.code()), (403, "authorization_unavailable"));
    assert!(reply.text().contains("`p`") && !reply.text().contains("127.0.0.1"), "{}", reply.text());
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_is_asked_before_keys_are_and_what_it_sets_is_what_authorization_sees() {
    let model = sim(MODEL).await;
    let auth = Server::start(|http| {
        let user = http.headers.get("x-who").cloned().unwrap_or_default();
        Ok(allowed(OkHttpResponse { headers: vec![header("x-user", &user)], ..OkHttpResponse::default() }))
    })
    .await;
    let mut document = asking(model.addr(), auth.addr(), &json!({}));
    document["policies"][0]["authentication"] = json!({"apiKey": {}});
    document["policies"][0]["authorization"] =
        json!({"rules": [{"action": "Allow", "headers": [{"name": "x-user", "values": ["ann"]}]}]});
    let gateway = Gateway::start(document).await;
    let mut client = gateway.client(Protocol::H1).await;
    let bearer = super::bearer();
    for (headers, status) in [
        (vec![("x-who", "ann")], 401),
        (vec![("x-who", "ann"), ("authorization", &*bearer)], 200),
        (vec![("x-who", "bob"), ("x-user", "ann"), ("authorization", &*bearer)], 403),
    ] {
        assert_eq!(client.send(ask(&headers)).await.status, status, "{headers:?}");
    }
    assert_eq!(auth.asked().len(), 3);
    gateway.stop().await;
}
