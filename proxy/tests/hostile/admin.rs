//! The admin listener: wrong inputs, and what it must not show.

use serde_json::Value;

use crate::gate::{Gate, chat_body, sim};
use crate::harness::{MODEL, within};
use crate::wire::{Answer, Wire};

async fn send(gate: &Gate, request: &str) -> Answer {
    let mut wire = Wire::connect(gate.admin).await;
    wire.send_all_it_takes(request).await;
    wire.answer().await
}

fn pick(query: &str, body: &str) -> String {
    format!(
        "POST /debug/pick{query} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_that_means_nothing_is_told_so() {
    let sim = sim().await;
    let gate = Gate::open(sim.addr()).await;
    let before = gate.leftovers();
    let body = chat_body(MODEL);
    for query in ["?listener=none", "?evil=1", "?method=G%20ET", "?path=%ff", "?host=%fe", "?=x", "?method="]
    {
        let answer = send(&gate, &pick(query, &body)).await;
        assert_eq!(answer.status, 400, "{query}: {answer:?}");
        assert!(answer.json()["error"].is_string(), "{query}");
    }
    for (query, body) in [
        ("", "{"),
        ("", "\u{feff}{}"),
        ("", ""),
        ("", "{\"model\":\"a\\r\\nb\"}"),
        ("", r#"{"model":"a","model":"b"}"#),
        ("", r#"{"model":"nobody-has-this"}"#),
        ("?path=/nowhere", body.as_str()),
        ("?path=nowhere", body.as_str()),
        ("?path=", body.as_str()),
        ("?host=evil%0d%0ax:y", body.as_str()),
        ("?path=/raw/../x&method=TRACE", body.as_str()),
    ] {
        let answer = send(&gate, &pick(query, body)).await;
        assert!(matches!(answer.status, 200 | 400), "{query} {body}: {answer:?}");
        assert!(answer.json().is_object(), "{query} {body}: {answer:?}");
    }
    let answer = send(&gate, &pick("", &body)).await;
    assert_eq!((answer.status, answer.json()["pool"].as_str()), (200, Some("pool")));
    assert_eq!(gate.leftovers(), before);
    assert!(sim.requests().is_empty());
    gate.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_beyond_the_limit_are_refused() {
    let sim = sim().await;
    let gate = Gate::open(sim.addr()).await;
    // Declared far beyond the limit, and sent as far as it is taken.
    let mut wire = Wire::connect(gate.admin).await;
    wire.send(
        "POST /debug/pick HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n7fffffff\r\n",
    )
    .await;
    let sending = async {
        let piece = vec![b'x'; 1 << 20];
        for _ in 0..80 {
            wire.send_all_it_takes(&piece).await;
        }
        wire.answer().await
    };
    assert_eq!(sending.await.status, 413);
    gate.hit("admin.bodyBytes", 1.0).await;
    let answer = send(&gate, &pick("", &" ".repeat(1 << 20))).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    gate.close().await;
}

/// A connection to the admin listener from an address of the loopback network that is not this machine's usual one.
async fn from_elsewhere(gate: &Gate) -> Wire {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    Wire::over(socket.connect(gate.admin).await.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uploads_beyond_the_places_there_are_get_503() {
    let sim = sim().await;
    let gate = Gate::open(sim.addr()).await;
    let stall = async || {
        let mut wire = Wire::connect(gate.admin).await;
        wire.send("POST /debug/pick HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{").await;
        wire
    };
    let mut stalled = Vec::new();
    for _ in 0..4 {
        stalled.push(stall().await);
    }
    // Until four have their places: the next one has none. A whole one may have taken the place of one of them meanwhile, so
    // that another has to come.
    let body = chat_body(MODEL);
    let refused = within("a refusal", async {
        loop {
            let answer = send(&gate, &pick("", &body)).await;
            if answer.status != 200 {
                return answer;
            }
            stalled.push(stall().await);
        }
    })
    .await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")), "{refused:?}");
    assert!(gate.hits("admin.picks") >= 1.0);
    drop(stalled);
    within("their places to be free", async { while send(&gate, &pick("", &body)).await.status != 200 {} })
        .await;
    gate.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_address_leaves_places_for_others() {
    let sim = sim().await;
    let gate = Gate::open(sim.addr()).await;
    let mut held = Vec::new();
    for _ in 0..25 {
        let mut wire = Wire::connect(gate.admin).await;
        wire.send("GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
        assert_eq!(wire.answer().await.status, 200);
        held.push(wire);
    }
    let mut one_more = Wire::connect(gate.admin).await;
    assert!(one_more.head().await.is_none());
    gate.hit("admin.connections", 1.0).await;
    let mut other = from_elsewhere(&gate).await;
    other.send("GET /livez HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n").await;
    assert_eq!(other.answer().await.status, 200);
    drop(held);
    gate.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_machines_get_what_probes_and_prometheus_need() {
    let sim = sim().await;
    let gate = Gate::open(sim.addr()).await;
    let port = gate.admin.port();
    let mut wire = from_elsewhere(&gate).await;
    for (page, status) in [
        ("/livez", 200),
        ("/healthz", 200),
        ("/readyz", 200),
        ("/metrics", 200),
        ("/debug/pools", 403),
        ("/debug/x", 403),
    ] {
        wire.send(format!("GET {page} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n\r\n")).await;
        let answer = wire.answer().await;
        assert_eq!(answer.status, status, "{page}");
        let words = String::from_utf8(answer.body).unwrap();
        assert!(status == 200 || words.contains("port-forward") && words.contains("admin.debug"), "{words}");
    }
    gate.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_that_was_led_here_is_refused() {
    let sim = sim().await;
    let gate = Gate::open(sim.addr()).await;
    let port = gate.admin.port();
    for (headers, status, words) in [
        (format!("host: evil.example:{port}"), 421, "admin.hosts"),
        (format!("host: localhost:{port}\r\norigin: http://evil.example"), 403, "origins"),
        (format!("host: localhost:{port}\r\norigin: http://localhost:{port}"), 200, "penstock admin"),
    ] {
        let answer = send(&gate, &format!("GET / HTTP/1.1\r\n{headers}\r\n\r\n")).await;
        let text = String::from_utf8(answer.body).unwrap();
        assert!(answer.status == status && text.contains(words), "{headers}: {} {text}", answer.status);
    }
    gate.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_methods_and_paths_change_nothing() {
    let sim = sim().await;
    let gate = Gate::open(sim.addr()).await;
    for (request, status) in [
        ("GET /debug/pick HTTP/1.1", 405),
        ("DELETE /debug/config HTTP/1.1", 405),
        ("POST /debug/pools HTTP/1.1", 405),
        ("PUT /metrics HTTP/1.1", 405),
        ("POST /healthz HTTP/1.1", 405),
        ("POST /livez HTTP/1.1", 405),
        ("GET /debug/../metrics HTTP/1.1", 404),
        ("GET /nowhere HTTP/1.1", 404),
        ("HEAD /healthz HTTP/1.1", 200),
    ] {
        let mut wire = Wire::connect(gate.admin).await;
        wire.send(format!("{request}\r\nhost: localhost\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"))
            .await;
        let answer = wire.head().await.unwrap();
        assert_eq!(answer.status, status, "{request}");
    }
    gate.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_page_shows_a_secret() {
    let sim = sim().await;
    let gate = Gate::open(sim.addr()).await;
    let body = chat_body("a-model-that-leaks");
    let request = format!(
        "POST /secret/sink?api-key=k-1234567 HTTP/1.1\r\nhost: llm\r\nauthorization: Bearer t-7654321\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    gate.ask(request).await;
    assert_eq!(sim.requests()[0].header("authorization"), Some("Bearer hush-hush"));
    let mut pages = String::new();
    for page in ["/debug/config", "/debug/pools", "/metrics"] {
        pages.push_str(&String::from_utf8(gate.page(page).await.body).unwrap());
    }
    pages.push_str(&Value::from(gate.gateway.log(1).await).to_string());
    for secret in ["hush-hush", "k-1234567", "t-7654321", "messages"] {
        assert!(!pages.contains(secret), "{secret} is shown: {pages}");
    }
    gate.close().await;
}
