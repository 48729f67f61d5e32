//! Who is asked for what: request targets, hosts, methods, and headers that are not the client's to set.

use penstock_sim::record::Framing;
use serde_json::json;

use crate::gate::{Gate, chat, chat_body, post, sim};
use crate::h2::H2;
use crate::harness::MODEL;

fn get(target: &str, headers: &str) -> String {
    format!("GET {target} HTTP/1.1\r\n{headers}\r\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_or_host_that_can_be_read_in_two_ways_is_refused() {
    let sim = sim().await;
    let gate = Gate::open(sim.addr()).await;
    let cases = [
        ("no host", get("/raw/x", "")),
        ("two hosts", get("/raw/x", "host: llm\r\nhost: llm\r\n")),
        ("two hosts that differ", get("/raw/x", "host: llm\r\nhost: other\r\n")),
        ("a host with a path", get("/raw/x", "host: llm/raw\r\n")),
        ("a host with a space", get("/raw/x", "host: llm evil\r\n")),
        ("a host with user info", get("/raw/x", "host: root@llm\r\n")),
        ("a list of hosts", get("/raw/x", "host: llm, evil\r\n")),
        ("a host with a null", get("/raw/x", "host: llm\0\r\n")),
        ("a host of raw bytes", get("/raw/x", "host: llm\x7f\r\n")),
        ("an endless host", get("/raw/x", &format!("host: {}\r\n", "a".repeat(300)))),
        ("another host in the target", get("http://evil/raw/x", "host: llm\r\n")),
        ("another port in the target", get("http://llm:81/raw/x", "host: llm\r\n")),
        ("user info in the target", get("http://root@llm/raw/x", "host: llm\r\n")),
        ("user info in target and host", get("http://root@llm/raw/x", "host: root@llm\r\n")),
        ("a target without a slash", get("raw/x", "host: llm\r\n")),
        ("a backslash", get("/raw\\x", "host: llm\r\n")),
        ("backslashes for slashes", get("http:\\\\llm/raw", "host: llm\r\n")),
        ("dot segments", get("/raw/../secret", "host: llm\r\n")),
        ("escaped dot segments", get("/raw/%2e%2E/secret", "host: llm\r\n")),
        ("an escaped slash behind dots", get("/raw/..%2fsecret", "host: llm\r\n")),
        ("an escaped slash before dots", get("/raw/x%2F..%2fsecret", "host: llm\r\n")),
        ("an escaped backslash", get("/raw/..%5csecret", "host: llm\r\n")),
        ("dots with a parameter", get("/raw/..;x/secret", "host: llm\r\n")),
        ("an escaped null", get("/raw/x%00", "host: llm\r\n")),
        ("a space", get("/raw/x y", "host: llm\r\n")),
        ("a space in the query", get("/raw/x?y z", "host: llm\r\n")),
        ("a target that ends with a space", get("/raw/x ", "host: llm\r\n")),
        ("a space behind the method", get(" /raw/x", "host: llm\r\n")),
        ("another version in the target", get("/raw/x HTTP/1.1", "host: llm\r\n")),
        ("a tab in the query", get("/raw/x?y\tz", "host: llm\r\n")),
        ("a fragment", get("/raw/x#y", "host: llm\r\n")),
        ("a fragment behind a query", get("/raw/x?y#z", "host: llm\r\n")),
        ("a fragment of an absolute target", get("http://llm/raw/x#y", "host: llm\r\n")),
        ("an escaped line feed", get("/raw/x%0d%0ax", "host: llm\r\n")),
    ];
    for (case, request) in &cases {
        let mut wire = gate.wire().await;
        wire.send(request).await;
        let answer = wire.answer().await;
        assert_eq!(answer.status, 400, "{case}: {answer:?}");
        assert_eq!(answer.refusal(case), "bad_request", "{case}");
        wire.ends().await;
        assert!(sim.requests().is_empty(), "{case}: the upstream saw {:?}", sim.requests());
    }
    // The same behind another request, and with the line in two pieces.
    for between in [0, 9] {
        let mut wire = gate.wire().await;
        wire.send(chat(MODEL)).await;
        assert_eq!(wire.answer().await.status, 200);
        let request = get("/raw/x y", "host: llm\r\n");
        wire.send(&request[..between]).await;
        wire.send(&request[between..]).await;
        assert_eq!(wire.answer().await.status, 400);
        wire.ends().await;
    }
    gate.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_absolute_target_reaches_the_upstream_as_a_path() {
    let sim = sim().await;
    let gate = Gate::open(sim.addr()).await;
    for (target, host, path) in [
        ("http://llm/sim/sink?a=b", "llm", "/sim/sink?a=b"),
        ("http://llm:8080/sim/sink", "llm:8080", "/sim/sink"),
        ("/raw//evil/sink", "llm", "/raw//evil/sink"),
        ("/raw/%41", "llm", "/raw/%41"),
    ] {
        gate.ask(get(target, &format!("host: {host}\r\n"))).await;
        let seen = sim.requests().pop().unwrap();
        assert_eq!((seen.path.as_str(), seen.header("host")), (path, Some(host)), "{target}");
    }
    gate.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tunnels_echoes_and_upgrades_are_not_served() {
    let sim = sim().await;
    let gate = Gate::open(sim.addr()).await;
    for request in [
        "CONNECT llm:443 HTTP/1.1\r\nhost: llm:443\r\n\r\n",
        "CONNECT /raw/x HTTP/1.1\r\nhost: llm\r\n\r\n",
        "TRACE /raw/x HTTP/1.1\r\nhost: llm\r\n\r\n",
    ] {
        let answer = gate.ask(request).await;
        assert!(matches!(answer.status, 400 | 405), "{request}: {answer:?}");
        answer.refusal(request);
    }
    assert!(sim.requests().is_empty());

    for upgrade in ["websocket", "h2c, WebSocket", "h2c\r\nupgrade: websocket"] {
        let headers = format!(
            "connection: upgrade\r\nupgrade: {upgrade}\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             sec-websocket-version: 13\r\nhost: llm\r\n"
        );
        let mut wire = gate.wire().await;
        wire.send(get("/sim/sink", &headers)).await;
        let answer = wire.answer().await;
        assert_eq!((answer.status, &*answer.refusal(upgrade)), (501, "unsupported_protocol"), "{upgrade}");
        assert!(answer.json()["error"]["message"].as_str().unwrap().contains("WebSocket"), "{answer:?}");
        // What follows may be no HTTP.
        wire.ends().await;
    }
    assert!(sim.requests().is_empty());

    let upgrade =
        "connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\nhost: llm\r\n";
    gate.ask(get("/sim/sink", upgrade)).await;
    let seen = sim.requests().pop().unwrap();
    for gone in ["upgrade", "http2-settings"] {
        assert_eq!(seen.header(gone), None, "{seen:?}");
    }
    gate.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_that_only_the_gateway_sets_are_dropped_from_what_clients_send() {
    let sim = sim().await;
    let gate = Gate::open(sim.addr()).await;
    let body = chat_body(MODEL);
    let request = post("/v1/chat/completions", &body).replacen(
        "\r\n",
        "\r\nx-ai-eg-model: alias\r\nX-AI-EG-Model: other\r\nX-Gateway-Model-Name: alias\r\nx-penstock-pool: p\r\n\
         x-gateway-destination-endpoint: 10.0.0.1:80\r\nx-gateway-destination-endpoint-served: 10.0.0.1:80\r\n\
         endpoint-load-metrics-format: BIN\r\nx-mine: kept\r\n",
        1,
    );
    assert_eq!(gate.ask(request).await.status, 200);
    let seen = sim.requests().pop().unwrap();
    let names: Vec<&str> = seen.headers.iter().map(|(name, _)| name.as_str()).collect();
    for name in &names {
        let is_own =
            name.starts_with("x-gateway-") || name.starts_with("x-penstock") || *name == "x-ai-eg-model";
        assert!(!is_own || *name == "x-penstock-hops", "{name} went through");
    }
    // The gateway's own.
    assert_eq!(seen.header("x-penstock-hops"), Some("1"));
    assert_eq!(seen.header("x-mine"), Some("kept"));
    assert_eq!(seen.header("endpoint-load-metrics-format"), Some("text"));

    // The body decides, whatever a header says.
    let request = chat("nobody-has-this").replacen("\r\n", &format!("\r\nx-ai-eg-model: {MODEL}\r\n"), 1);
    let answer = gate.ask(request).await;
    assert_eq!((answer.status, &*answer.refusal("header model")), (404, "model_not_found"));
    gate.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_header_cannot_take_away_what_the_upstream_needs() {
    let sim = sim().await;
    let gate = Gate::open(sim.addr()).await;
    for (path, name) in [
        ("/v1/chat/completions", "content-length"),
        ("/v1/chat/completions", "host"),
        ("/v1/chat/completions", "x-request-id"),
        ("/v1/chat/completions", "x-forwarded-for"),
        ("/sim/sink", "content-length"),
        ("/secret/sink", "authorization"),
    ] {
        sim.forget_requests();
        let body = chat_body(MODEL);
        let request = post(path, &body).replacen("\r\n", &format!("\r\nconnection: {name}\r\n"), 1);
        let answer = gate.ask(request).await;
        match sim.requests().pop() {
            None => assert_eq!(answer.status, 400, "{name}: {answer:?}"),
            Some(seen) => {
                assert_eq!(seen.body_bytes, body.len() as u64, "{name}");
                let is_framed_otherwise = name == "content-length" && seen.framing == Framing::Chunked;
                assert!(is_framed_otherwise || seen.header(name).is_some(), "{path}: {name}: {seen:?}");
            }
        }
    }
    gate.close().await;
}

/// What clients may say of where they come from only if they are trusted proxies, but for `x-forwarded-for`.
const FORWARDING: [(&str, &str); 7] = [
    ("x-forwarded-proto", "https"),
    ("x-forwarded-host", "public.test"),
    ("x-forwarded-port", "8443"),
    ("x-forwarded-client-cert", "Subject=\"CN=admin\""),
    ("x-real-ip", "10.1.1.1"),
    ("forwarded", "for=10.1.1.1"),
    ("x-envoy-external-address", "10.1.1.1"),
];

fn from_afar() -> String {
    let mut headers =
        "host: llm\r\nx-forwarded-for: 1.1.1.1\r\nx-forwarded-for: 203.0.113.7, 127.0.0.9\r\n".to_owned();
    for (name, value) in FORWARDING {
        headers += &format!("{name}: {value}\r\n");
    }
    get("/sim/sink", &headers)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_client_says_of_where_it_comes_from_reaches_nobody() {
    let sim = sim().await;
    // That others are trusted changes nothing.
    for listener in [json!({}), json!({"trustedProxies": ["203.0.113.0/24", "::1/128"]})] {
        let gate = Gate::listening(sim.addr(), listener).await;
        assert_eq!(gate.ask(from_afar()).await.status, 200);
        let seen = sim.requests().pop().unwrap();
        assert_eq!(seen.header("x-forwarded-for"), Some("127.0.0.1"));
        assert_eq!(seen.header("x-forwarded-proto"), Some("http"));
        for (name, _) in &FORWARDING[1..] {
            assert_eq!(seen.header(name), None, "{name} went through");
        }
        let line = gate.gateway.log(1).await.pop().unwrap();
        assert!(
            line["client"].as_str().unwrap().starts_with("127.0.0.1:") && line["proxy"].is_null(),
            "{line}"
        );
        gate.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trusted_proxy_speaks_for_its_clients() {
    let sim = sim().await;
    let gate = Gate::listening(sim.addr(), json!({"trustedProxies": ["127.0.0.0/8"]})).await;
    assert_eq!(gate.ask(from_afar()).await.status, 200);
    let seen = sim.requests().pop().unwrap();
    assert_eq!(seen.header("x-forwarded-for"), Some("1.1.1.1, 203.0.113.7, 127.0.0.9, 127.0.0.1"));
    for (name, value) in FORWARDING {
        assert_eq!(seen.header(name), Some(value));
    }
    // The two are on connections of their own, and may be logged in either order.
    let first = gate.gateway.log(1).await.remove(0);
    assert_eq!(first["client"], "203.0.113.7", "the first entry may be anybody's");
    assert!(first["proxy"].as_str().unwrap().starts_with("127.0.0.1:"), "{first}");
    // One that says nothing is taken at its address.
    assert_eq!(gate.ask(get("/sim/sink", "host: llm\r\n")).await.status, 200);
    let seen = sim.requests().pop().unwrap();
    assert_eq!(
        (seen.header("x-forwarded-for"), seen.header("x-forwarded-proto")),
        (Some("127.0.0.1"), Some("http"))
    );
    let second = gate.gateway.log(2).await.remove(1);
    assert!(second["client"].as_str().unwrap().starts_with("127.0.0.1:"), "{second}");
    gate.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_header_with_an_underscore_is_refused_dropped_or_passed_on() {
    let sim = sim().await;
    let refused = ["x_ai_eg_model", "X_Forwarded_For", "content_length", "_", "a-b_c"];
    let gate = Gate::open(sim.addr()).await;
    for name in refused {
        let mut wire = gate.wire().await;
        wire.send(get("/sim/sink", &format!("host: llm\r\n{name}: 1\r\n"))).await;
        let answer = wire.answer().await;
        assert_eq!((answer.status, &*answer.refusal(name)), (400, "bad_request"), "{name}");
        let message = answer.json()["error"]["message"].as_str().unwrap().to_owned();
        let name = name.to_ascii_lowercase();
        assert!(
            message.contains(&format!("`{name}`")) && message.contains("headersWithUnderscores"),
            "{message}"
        );
        // What follows is a request like others.
        wire.send(get("/sim/sink", "host: llm\r\n")).await;
        assert_eq!(wire.answer().await.status, 200);
    }
    let mut h2 = H2::connect(gate.http).await;
    let (status, answer) = h2.post("/sim/sink", &[("x_forwarded_for", "1.1.1.1")], b"").await.unwrap();
    assert_eq!((status, &answer["error"]["code"]), (400, &json!("bad_request")));
    drop(h2);
    assert!(sim.requests().iter().all(|seen| seen.headers.iter().all(|(name, _)| !name.contains('_'))));
    gate.close().await;

    for (action, seen) in [("Drop", None), ("Allow", Some("1"))] {
        let gate = Gate::listening(sim.addr(), json!({"headersWithUnderscores": action})).await;
        for name in refused {
            assert_eq!(gate.ask(get("/sim/sink", &format!("host: llm\r\n{name}: 1\r\n"))).await.status, 200);
            let name = name.to_ascii_lowercase();
            assert_eq!(sim.requests().pop().unwrap().header(&name), seen, "{action} {name}");
        }
        gate.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expectation_that_nobody_can_meet_is_refused() {
    let sim = sim().await;
    let gate = Gate::open(sim.addr()).await;
    for expect in ["200-ok", "100-continue, x", "\"100-continue\""] {
        let answer = gate.ask(chat(MODEL).replacen("\r\n", &format!("\r\nexpect: {expect}\r\n"), 1)).await;
        assert_eq!((answer.status, &*answer.refusal(expect)), (417, "expectation_failed"), "{expect}");
    }
    assert!(sim.requests().is_empty());
    gate.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_id_that_could_be_mistaken_is_replaced() {
    let sim = sim().await;
    let gate = Gate::open(sim.addr()).await;
    let long = "a".repeat(4096);
    for id in ["", " ", "a b", "\"x\"", "a\tb", "<script>", long.as_str()] {
        let answer = gate.ask(get("/nowhere", &format!("host: llm\r\nx-request-id: {id}\r\n"))).await;
        answer.refusal(id);
        let given = answer.header("x-request-id").unwrap();
        assert!(given != id && given.len() < 256, "{id:?} became {given:?}");
    }
    gate.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_path_that_only_starts_like_the_list_of_models_is_routed() {
    let sim = sim().await;
    let gate = Gate::open(sim.addr()).await;
    let answer = gate.ask(get("/v1/modelsofthings", "host: llm\r\n")).await;
    assert_eq!((answer.status, &*answer.refusal("modelsofthings")), (404, "unknown_url"));
    for path in [
        "/v1/models",
        "/v1/models/",
        &format!("/v1/models/{MODEL}"),
        "/v1/models/meta-llama%2FLlama-3.1-8B-Instruct",
    ] {
        assert_eq!(gate.ask(get(path, "host: llm\r\n")).await.status, 200, "{path}");
    }
    let answer = gate.ask(get("/v1/models/%0d%0aset-cookie:%20x", "host: llm\r\n")).await;
    assert!(matches!(answer.status, 400 | 404), "{answer:?}");
    answer.refusal("a model with a line break");
    assert_eq!(answer.header("set-cookie"), None);
    gate.close().await;
}
