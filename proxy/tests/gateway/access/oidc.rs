//! People who log in at an OpenID provider, which does as the tests tell it.

mod faults;
mod provider;

use http::Method;
use penstock_sources::Applier as _;
use serde_json::{Value, json};

use self::provider::{Browser, Provider};
use super::{KEY, all, guarded};
use crate::harness::{Client, Gateway, MODEL, Protocol, body, chat, eventually, request, sim, spawn, with};

/// The client's secret.
const SECRET: &str = "a long and random secret of the client";

/// A document whose listener has people log in, with changes of that.
struct Chat {
    document: Value,
    directory: tempfile::TempDir,
}

impl Chat {
    fn new(server: std::net::SocketAddr, provider: &Provider, changes: Value) -> Self {
        Self::with_ways(server, provider, changes, json!({}))
    }

    /// With other ways of saying who asks.
    fn with_ways(server: std::net::SocketAddr, provider: &Provider, changes: Value, ways: Value) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("secret");
        std::fs::write(&file, format!("{SECRET}\n")).unwrap();
        let oidc = json!({"issuer": provider.issuer(), "clientId": "chat", "clientSecret": file});
        let ways = with(json!({"oidc": with(oidc, changes)}), ways);
        Self { document: guarded(server, json!({"authentication": ways})), directory }
    }

    async fn start(&self) -> Gateway {
        let gateway = Gateway::start(self.document.clone()).await;
        loaded(&gateway, 1.0).await;
        gateway
    }
}

/// Waits until the provider was discovered so often.
async fn loaded(gateway: &Gateway, times: f64) {
    eventually("the provider to be discovered", || {
        let labels = ["way=\"oidc\"", "outcome=\"loaded\""];
        (gateway.metric("penstock_policy_keys_loads_total", &labels) >= times).then_some(())
    })
    .await;
}

/// Somebody who has logged in.
async fn logged_in(client: &mut Client, provider: &Provider) -> Browser {
    let mut browser = Browser::default();
    let led = browser.open(client, "/v1/models").await;
    let back = browser.open(client, &provider.log_in(led.header("location"))).await;
    assert_eq!(back.status, 302, "{}", back.text());
    assert!(browser.has_session());
    browser
}

/// The status of a question that a page of the browser asks a model.
async fn ask_model(client: &mut Client, browser: &mut Browser, headers: &[(&str, &str)]) -> u16 {
    let headers =
        [&[("content-type", "application/json"), ("sec-fetch-mode", "same-origin")], headers].concat();
    let question = body(chat(MODEL, false).to_string());
    browser.ask(client, Method::POST, "/v1/chat/completions", &headers, question).await.status.as_u16()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_log_in_and_their_pages_ask_models_until_they_log_out() {
    let (server, provider) = (sim(MODEL).await, Provider::start().await);
    let changes = json!({
        "scopes": ["email"], "forwardAccessToken": true, "idTokenHeader": "x-id-token",
        "claimHeaders": [{"header": "x-user", "claim": "sub"}],
    });
    let mut chat = Chat::new(server.addr(), &provider, changes);
    let groups = json!([{"name": "groups", "type": "StringArray", "values": ["staff"]}]);
    let rules = json!([{"action": "Allow", "provider": "oidc", "claims": groups}]);
    chat.document["policies"][0]["authorization"] = json!({"rules": rules});
    let gateway = chat.start().await;
    for protocol in [Protocol::H1, Protocol::H2] {
        let (mut client, mut browser) = (gateway.client(protocol).await, Browser::default());
        let led = browser.open(&mut client, "/v1/models?a=%20&b").await;
        assert_eq!((led.status.as_u16(), led.header("cache-control")), (302, "no-store"));
        let back = provider.log_in(led.header("location"));
        let back = browser.open(&mut client, &back).await;
        assert_eq!(
            (back.status.as_u16(), back.header("cache-control")),
            (302, "no-store"),
            "{}",
            back.text()
        );
        assert_eq!(back.header("location"), "http://gateway.test/v1/models?a=%20&b");
        for cookie in all(&back, "set-cookie") {
            assert!(cookie.contains("; Path=/; HttpOnly; SameSite=Lax; Max-Age="), "{cookie}");
            assert!(!cookie.contains("acc3ss") && !cookie.contains("Secure"), "{cookie}");
        }
        assert_eq!(browser.open(&mut client, "/v1/models?a=%20&b").await.status, 200);
        browser.0.push(("theme".to_owned(), "dark".to_owned()));
        let forged = [("x-user", "root"), ("x-id-token", "forged"), ("authorization", "Bearer forged")];
        assert_eq!(ask_model(&mut client, &mut browser, &forged).await, 200);
        let seen = server.requests().pop().unwrap();
        assert_eq!(seen.header("authorization"), Some("Bearer acc3ss-of-ann"));
        assert_eq!((seen.header("cookie"), seen.header("x-user")), (Some("theme=dark"), Some("ann")));
        assert!(seen.header("x-id-token").unwrap().split('.').count() == 3);
        let out = browser.open(&mut client, "/logout").await;
        assert_eq!((out.status.as_u16(), out.header("location")), (302, "http://gateway.test/"));
        assert!(!browser.has_session());
        assert_eq!(ask_model(&mut client, &mut browser, &[]).await, 401);
    }
    let asked = provider.asked();
    assert_eq!((asked.len(), &*asked[0]["redirect_uri"]), (2, "http://gateway.test/oauth2/callback"));
    for (outcome, count) in [("led", 2.0), ("logged_in", 2.0), ("logged_out", 2.0), ("refused", 0.0)] {
        let label = format!("outcome=\"{outcome}\"");
        assert_eq!(gateway.metric("penstock_logins_total", &["policy=\"p\"", &label]), count, "{outcome}");
    }
    let lines = gateway.log(12).await;
    assert_eq!((&lines[0]["policy"], &lines[3]["consumer"]), (&json!("p"), &json!("ann")));
    for line in lines {
        let line = line.to_string();
        assert!(!line.contains("acc3ss") && !line.contains("Code-") && !line.contains("state="), "{line}");
    }
    gateway.stop().await;
    provider.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn programs_are_told_401_and_may_show_a_key_in_place_of_a_session() {
    let (server, provider) = (sim(MODEL).await, Provider::start().await);
    let deny = json!({"denyRedirect": [{"name": "accept", "value": "application/json"}]});
    let ways = json!({"apiKey": {"extractFrom": [{"header": "x-api-key"}]}});
    let gateway = Chat::with_ways(server.addr(), &provider, deny, ways).start().await;
    let mut client = gateway.client(Protocol::H1).await;
    for (method, headers, expected) in [
        (Method::GET, &[][..], 302),
        (Method::HEAD, &[], 302),
        (Method::GET, &[("sec-fetch-mode", "navigate")], 302),
        (Method::GET, &[("accept", "text/html")], 302),
        (Method::GET, &[("accept", "application/json")], 401),
        (Method::GET, &[("sec-fetch-mode", "cors")], 401),
        (Method::POST, &[], 401),
        (Method::DELETE, &[], 401),
        (Method::GET, &[("x-api-key", "wrong")], 401),
        (Method::GET, &[("x-api-key", KEY)], 200),
    ] {
        let reply = client.send(request(method.clone(), "/v1/models", headers, body(""))).await;
        assert_eq!(reply.status.as_u16(), expected, "{method} {headers:?}");
    }
    // Who shows a key as well as a session is who has the key, and upstreams see neither.
    let mut browser = logged_in(&mut client, &provider).await;
    assert_eq!(ask_model(&mut client, &mut browser, &[("x-api-key", KEY)]).await, 200);
    let seen = server.requests().pop().unwrap();
    assert_eq!((seen.header("cookie"), seen.header("x-api-key")), (None, None));
    assert_eq!(ask_model(&mut client, &mut browser, &[("x-api-key", "wrong")]).await, 200);
    let lines = gateway.log(14).await;
    assert_eq!((&lines[12]["consumer"], &lines[13]["consumer"]), (&json!("search"), &json!("ann")));
    drop(client);
    gateway.stop().await;
    provider.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_has_run_out_is_renewed_once_for_all_who_show_it() {
    let (server, provider) = (sim(MODEL).await, Provider::start().await);
    let gateway = Chat::new(server.addr(), &provider, json!({})).start().await;
    let mut client = gateway.client(Protocol::H1).await;
    provider.set(|knobs| knobs.answer = Some(json!({"expires_in": 1})));
    let mut browser = logged_in(&mut client, &provider).await;
    let before = browser.cookies();
    provider.set(|knobs| knobs.answer = None);
    while provider.asked().len() < 2 {
        let open = (0..8).map(|_| {
            let (addr, mut browser) = (gateway.addr(), browser.clone());
            spawn(async move {
                let mut client = Client::connect(addr, Protocol::H1).await;
                let status = ask_model(&mut client, &mut browser, &[]).await;
                (status, browser.cookies())
            })
        });
        let open: Vec<_> = open.collect();
        for one in open {
            let (status, cookies) = one.join().await;
            assert_eq!(status, 200);
            if cookies != before {
                browser.0 =
                    cookies.split("; ").map(|pair| pair.split_once('=').unwrap()).map(owned).collect();
            }
        }
    }
    let asked = provider.asked();
    assert_eq!((asked.len(), &*asked[1]["grant_type"]), (2, "refresh_token"));
    assert_ne!(browser.cookies(), before, "the browser was told");
    assert_eq!(ask_model(&mut client, &mut browser, &[]).await, 200);
    assert_eq!(provider.asked().len(), 2);
    assert_eq!(gateway.metric("penstock_logins_total", &["outcome=\"renewed\""]), 1.0);
    drop(client);
    gateway.stop().await;
    provider.stop().await;
}

fn owned((name, value): (&str, &str)) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gateways_share_sessions_and_another_secret_ends_them() {
    let (server, provider) = (sim(MODEL).await, Provider::start().await);
    let chat = Chat::new(server.addr(), &provider, json!({}));
    let (gateway, other) = (chat.start().await, chat.start().await);
    let mut browser = logged_in(&mut gateway.client(Protocol::H1).await, &provider).await;
    let mut client = other.client(Protocol::H1).await;
    assert_eq!(ask_model(&mut client, &mut browser, &[]).await, 200);
    std::fs::write(chat.directory.path().join("secret"), "another secret of the client").unwrap();
    other.server().reload_files();
    assert_eq!(ask_model(&mut client, &mut browser, &[]).await, 401);
    assert_eq!(browser.open(&mut client, "/v1/models").await.status, 302);
    drop(client);
    gateway.stop().await;
    other.stop().await;
    provider.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_has_people_log_in_where_its_routes_has_the_paths_for_that() {
    let (server, provider) = (sim(MODEL).await, Provider::start().await);
    let mut document = Chat::new(server.addr(), &provider, json!({}));
    document.document["listeners"][0].as_object_mut().unwrap().remove("policies");
    let rules = document.document["routes"][0]["rules"].as_array_mut().unwrap();
    rules[0]["matches"] = json!([{"path": {"value": "/open"}}]);
    rules.push(json!({"policies": ["p"], "targets": [{"backend": "b"}]}));
    let gateway = document.start().await;
    let mut client = gateway.client(Protocol::H1).await;
    let mut browser = Browser::default();
    assert_eq!(browser.open(&mut client, "/open").await.status, 404, "the simulator has no such page");
    let led = browser.open(&mut client, "/health").await;
    assert_eq!(led.status, 302);
    let back = browser.open(&mut client, &provider.log_in(led.header("location"))).await;
    assert_eq!(back.header("location"), "http://gateway.test/health");
    assert_eq!(browser.open(&mut client, "/health").await.status, 200);
    drop(client);
    gateway.stop().await;
    provider.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cookies_are_for_https_and_one_host_where_people_come_back_so_and_strict_ones_by_a_page() {
    let (server, provider) = (sim(MODEL).await, Provider::start().await);
    let changes = json!({"redirectUrl": "https://gateway.test/back", "sameSite": "Strict"});
    let gateway = Chat::new(server.addr(), &provider, changes).start().await;
    let mut client = gateway.client(Protocol::H1).await;
    let mut browser = Browser::default();
    let led = browser.open(&mut client, "/v1/models?a=1&b=2").await;
    let cookie = all(&led, "set-cookie")[0];
    assert!(cookie.starts_with("__Host-penstock-login-") && cookie.contains("SameSite=Lax"), "{cookie}");
    let back = browser.open(&mut client, &provider.log_in(led.header("location"))).await;
    assert_eq!(back.status, 200, "{}", back.text());
    assert!(back.text().contains("url=https://gateway.test/v1/models?a=1&amp;b=2\""), "{}", back.text());
    let cookie = all(&back, "set-cookie")[0];
    assert!(cookie.starts_with("__Host-penstock-session-"), "{cookie}");
    assert!(cookie.contains("SameSite=Strict") && cookie.contains("; Secure") && !cookie.contains("Domain"));
    assert_eq!(browser.open(&mut client, "/v1/models").await.status, 200);
    drop(client);
    gateway.stop().await;
    provider.stop().await;
}
