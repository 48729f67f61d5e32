//! What moves a request on to another target of its rule, what does not, and who is left alone meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use penstock_sim::faults::{Action, Fault};
use serde_json::{Value, json};

use crate::harness::{
    Client, Gateway, MODEL, Protocol, RawServer, RefusedPort, Reply, backend, chat, pool, post, post_json,
    sim, sims, with,
};

/// A gateway whose only rule tries these backends in this order.
async fn in_order(backends: &[Value], rule: Value) -> Gateway {
    let target = |(at, backend): (usize, &Value)| json!({"backend": backend["name"], "priority": at});
    let targets: Vec<Value> = backends.iter().enumerate().map(target).collect();
    Gateway::start(json!({
        "routes": [{"name": "r", "rules": [with(json!({"models": [MODEL], "targets": targets}), rule)]}],
        "backends": backends,
    }))
    .await
}

/// A backend that serves an API and ejects nobody.
fn api(name: &str, server: &Provider, schema: &str) -> Value {
    let backend = backend(name, &[server.raw.addr()]);
    with(backend, json!({"api": {"schema": schema}, "ejection": {"consecutiveFailures": 0}}))
}

/// A provider that answers every request with the same, and counts them.
struct Provider {
    raw: RawServer,
    asked: Arc<AtomicUsize>,
}

impl Provider {
    async fn answering(head: &str, body: &str) -> Self {
        Self::checking(head, body, |_, _| {}).await
    }

    async fn checking(head: &str, body: &str, check: impl Fn(&str, &Value) + Send + Sync + 'static) -> Self {
        let answer = format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        let asked = Arc::new(AtomicUsize::new(0));
        let (counter, check) = (asked.clone(), Arc::new(check));
        let raw = RawServer::start(move |mut connection| {
            let (answer, counter, check) = (answer.clone(), counter.clone(), check.clone());
            async move {
                while let Some((head, sent)) = connection.request().await {
                    check(&head, &serde_json::from_slice(&sent).unwrap_or_default());
                    counter.fetch_add(1, SeqCst);
                    connection.send(&answer).await;
                }
            }
        })
        .await;
        Self { raw, asked }
    }

    /// One that serves chat.
    async fn good() -> Self {
        Self::answering("200 OK\r\ncontent-type: application/json", COMPLETION).await
    }

    fn asked(&self) -> usize {
        self.asked.load(SeqCst)
    }
}

const COMPLETION: &str = r#"{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"Hello."},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}}"#;

const REFUSAL: &str = r#"{"error":{"message":"No.","type":"invalid_request_error","code":null}}"#;

async fn ask(client: &mut Client) -> Reply {
    client.send(post_json("/v1/chat/completions", &chat(MODEL, false))).await
}

async fn end(gateway: Gateway, client: Client, providers: impl IntoIterator<Item = Provider>) {
    drop(client);
    gateway.stop().await;
    for provider in providers {
        provider.raw.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_cannot_express_a_request_is_passed_over_and_the_first_one_tells_why() {
    let (claude, own) = (Provider::good().await, Provider::good().await);
    let several = with(chat(MODEL, false), json!({"n": 2}));
    let embeddings = json!({"model": MODEL, "input": "a"});
    let seeded = with(chat(MODEL, false), json!({"seed": 1}));
    let refuse = json!({"untranslatable": "Refuse", "retry": {"attempts": 2, "minRetriesPerSecond": 0, "budgetPercent": 0}});
    let gateway = in_order(
        &[api("claude", &claude, "Anthropic"), api("rank", &claude, "Cohere"), api("own", &own, "OpenAI")],
        refuse,
    )
    .await;
    let mut client = gateway.client(Protocol::H1).await;
    for (path, body, why) in [
        ("/v1/chat/completions", &several, "untranslatable"),
        ("/v1/embeddings", &embeddings, "unserved"),
        ("/v1/chat/completions", &seeded, "untranslatable"),
    ] {
        let reply = client.send(post_json(path, body)).await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.text());
        assert_eq!(reply.header("x-penstock-target"), "own");
        assert_eq!(reply.header("x-penstock-tried"), format!("claude;{why}, rank;unserved"));
    }
    // Nothing was sent, so that nothing was retried.
    let log = gateway.log(3).await;
    assert!(log.iter().all(|line| line["attempts"] == 1 && line["backend"] == "own"), "{log:?}");
    assert_eq!(
        log[0]["tried"],
        json!([
            {"backend": "claude", "reason": "untranslatable"},
            {"backend": "rank", "reason": "unserved"},
        ])
    );
    assert_eq!(gateway.metric("penstock_retries_total", &[]), 0.0);
    let failed_over = |labels: &[&str]| gateway.metric("penstock_failovers_total", labels);
    assert_eq!(failed_over(&["upstream=\"claude\"", "to=\"rank\"", "reason=\"untranslatable\""]), 2.0);
    assert_eq!(failed_over(&["upstream=\"claude\"", "to=\"rank\"", "reason=\"unserved\""]), 1.0);
    assert_eq!(failed_over(&["upstream=\"rank\"", "to=\"own\"", "reason=\"unserved\""]), 3.0);
    assert_eq!((claude.asked(), own.asked()), (0, 3));
    end(gateway, client, [own]).await;

    let gateway =
        in_order(&[api("claude", &claude, "Anthropic"), api("rank", &claude, "Cohere")], json!({})).await;
    let mut client = gateway.client(Protocol::H1).await;
    let reply = client.send(post_json("/v1/chat/completions", &several)).await;
    assert_eq!((reply.status.as_u16(), reply.code().as_str()), (400, "unsupported_request"));
    assert!(reply.text().contains("n: "), "{}", reply.text());
    assert_eq!(reply.header("x-penstock-tried"), "claude;untranslatable, rank;unserved");
    end(gateway, client, [claude]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_provider_will_not_do_now_another_one_does_and_what_the_client_did_wrong_it_hears() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("key");
    std::fs::write(&file, "sk-1").unwrap();
    let key = json!({"credential": {"file": file}});
    for (status, is_passed_on) in [
        (408, false),
        (424, false),
        (429, false),
        (500, false),
        (502, false),
        (503, false),
        (504, false),
        (529, false),
        (401, false),
        (403, false),
        (400, true),
        (402, true),
        (404, true),
        (413, true),
        (422, true),
        (501, true),
    ] {
        let first = Provider::answering(&format!("{status} No"), REFUSAL).await;
        let second = Provider::good().await;
        let backends = [with(api("first", &first, "OpenAI"), key.clone()), api("second", &second, "OpenAI")];
        let no_budget = json!({"retry": {"minRetriesPerSecond": 0, "budgetPercent": 0}});
        let gateway = in_order(&backends, no_budget).await;
        let mut client = gateway.client(Protocol::H1).await;
        let reply = ask(&mut client).await;
        let line = gateway.log(1).await.pop().unwrap();
        if is_passed_on {
            assert_eq!((reply.status.as_u16(), &*reply.text()), (status, REFUSAL));
            assert_eq!((first.asked(), second.asked()), (1, 0), "{status}");
            assert_eq!(line.get("tried"), None, "{line}");
        } else {
            assert_eq!(reply.status, 200, "{status}: {}", reply.text());
            assert_eq!((first.asked(), second.asked()), (1, 1), "{status}");
            let reason = format!("status_{status}");
            assert_eq!(reply.header("x-penstock-tried"), format!("first;{reason}"));
            assert_eq!(line["tried"], json!([{"backend": "first", "reason": reason}]));
        }
        let refused = gateway.metric("penstock_credentials_refused_total", &["upstream=\"first\""]);
        assert_eq!(refused, f64::from(u8::from(matches!(status, 401 | 403))), "{status}");
        end(gateway, client, [first, second]).await;
    }
}

/// A 401 that a client's own key got is the client's, a 500 of a server that is asked for no model may have done something,
/// and a rule may want neither to go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_is_passed_on_that_another_target_is_no_answer_to() {
    let first = |status: &'static str| Provider::answering(status, REFUSAL);
    let off = json!({"retry": {"failoverStatuses": []}});
    for (status, path, rule) in [
        ("401 No", "/v1/chat/completions", json!({})),
        ("500 No", "/v1/fine_tuning/jobs", json!({})),
        ("500 No", "/v1/chat/completions", off),
    ] {
        let (first, second) = (first(status).await, Provider::good().await);
        let gateway =
            in_order(&[api("first", &first, "OpenAI"), api("second", &second, "OpenAI")], rule).await;
        let mut client = gateway.client(Protocol::H1).await;
        let reply = client.send(post_json(path, &chat(MODEL, false))).await;
        assert_eq!(reply.text(), REFUSAL, "{status} {path}");
        assert_eq!(second.asked(), 0, "{status} {path}");
        assert_eq!(reply.header("x-penstock-target"), "");
        end(gateway, client, [first, second]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_is_too_long_goes_to_the_target_that_is_declared_larger() {
    const TOO_LONG: &str = r#"{"error":{"message":"This model's maximum context length is 8192 tokens.","type":"invalid_request_error","code":"context_length_exceeded"}}"#;
    let small = Provider::answering("400 Bad Request\r\ncontent-type: application/json", TOO_LONG).await;
    let equal = Provider::good().await;
    let large = Provider::good().await;
    let start = async |windows: [Option<u32>; 3]| {
        let backends =
            [api("small", &small, "OpenAI"), api("equal", &equal, "OpenAI"), api("large", &large, "OpenAI")];
        let targets = ["small", "equal", "large"].iter().zip(windows).enumerate();
        let targets: Vec<Value> = targets
            .map(|(at, (name, window))| match window {
                Some(window) => json!({"backend": name, "priority": at, "contextWindow": window}),
                None => json!({"backend": name, "priority": at}),
            })
            .collect();
        Gateway::start(json!({
            "routes": [{"name": "r", "rules": [{"models": [MODEL], "targets": targets}]}],
            "backends": backends,
        }))
        .await
    };
    let gateway = start([Some(8192), Some(8192), Some(200_000)]).await;
    let mut client = gateway.client(Protocol::H1).await;
    let reply = ask(&mut client).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.header("x-penstock-target"), "large");
    assert_eq!(reply.header("x-penstock-tried"), "small;context_window");
    assert_eq!((small.asked(), equal.asked(), large.asked()), (1, 0, 1));
    drop(client);
    gateway.stop().await;
    // Nobody is larger as far as is known: what was looked into is passed on as it was.
    for windows in [[None; 3], [Some(8192), Some(4096), None]] {
        let gateway = start(windows).await;
        let mut client = gateway.client(Protocol::H1).await;
        let reply = ask(&mut client).await;
        assert_eq!((reply.status.as_u16(), &*reply.text()), (400, TOO_LONG));
        drop(client);
        gateway.stop().await;
    }
    assert_eq!((equal.asked(), large.asked()), (0, 1));
    // Another 400 is looked into and passed on whole.
    let wrong = Provider::answering("400 Bad Request", REFUSAL).await;
    let targets = json!([
        {"backend": "wrong", "contextWindow": 8192}, {"backend": "large", "contextWindow": 9000, "priority": 1},
    ]);
    let gateway = Gateway::start(json!({
        "routes": [{"name": "r", "rules": [{"models": [MODEL], "targets": targets}]}],
        "backends": [api("wrong", &wrong, "OpenAI"), api("large", &large, "OpenAI")],
    }))
    .await;
    let mut client = gateway.client(Protocol::H1).await;
    let reply = ask(&mut client).await;
    assert_eq!((reply.status.as_u16(), &*reply.text()), (400, REFUSAL));
    end(gateway, client, [small, equal, large, wrong]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_says_when_is_left_alone_until_then_by_everybody_for_that_model() {
    let busy = Provider::checking("429 Too Many Requests\r\nretry-after: 60", REFUSAL, |_, _| {}).await;
    let spare = Provider::good().await;
    let gateway = Gateway::start(json!({
        "routes": [{"name": "r", "rules": [{"models": [MODEL, "other"], "targets": [
            {"backend": "busy"}, {"backend": "spare", "priority": 1},
        ]}, {"models": ["alone"], "targets": [{"backend": "busy", "modelOverride": MODEL}]}]}],
        "backends": [api("busy", &busy, "OpenAI"), api("spare", &spare, "OpenAI")],
    }))
    .await;
    let mut client = gateway.client(Protocol::H1).await;
    assert_eq!(ask(&mut client).await.header("x-penstock-tried"), "busy;status_429");
    for _ in 0..3 {
        let reply = ask(&mut client).await;
        assert_eq!((reply.status.as_u16(), reply.header("x-penstock-tried")), (200, "busy;cooling"));
    }
    assert_eq!(busy.asked(), 1);
    // Where there is nobody else, the client is told when, and by the gateway.
    let reply = client.send(post_json("/v1/chat/completions", &chat("alone", false))).await;
    assert_eq!((reply.status.as_u16(), &*reply.code()), (429, "rate_limit_exceeded"), "{}", reply.text());
    let seconds: u64 = reply.header("retry-after").parse().unwrap();
    assert!((30..=60).contains(&seconds), "{seconds}");
    assert_eq!(busy.asked(), 1);
    // Its limits are a model's.
    let reply = client.send(post_json("/v1/chat/completions", &chat("other", false))).await;
    assert_eq!(reply.header("x-penstock-tried"), "busy;status_429");
    assert_eq!(busy.asked(), 2);
    assert_eq!(gateway.metric("penstock_cooldowns_total", &["upstream=\"busy\""]), 2.0);
    assert_eq!(gateway.metric("penstock_picks_total", &["upstream=\"busy\"", "outcome=\"cooling\""]), 6.0);
    end(gateway, client, [busy, spare]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_of_a_clients_own_key_is_nobody_elses() {
    // Shown as clients do, in a query, and in the header that the document has for it.
    let of_the_document = json!({"credential": {"override": {"header": "x-own-key"}}});
    for (path, header, credential) in [
        ("/v1/chat/completions", "authorization", json!({})),
        ("/v1/chat/completions?key=of-the-client", "x-nothing", json!({})),
        ("/v1/chat/completions", "x-own-key", of_the_document),
    ] {
        let busy = Provider::answering("429 Too Many Requests\r\nretry-after: 60", REFUSAL).await;
        let spare = Provider::good().await;
        let first = with(api("busy", &busy, "OpenAI"), credential);
        let gateway = in_order(&[first, api("spare", &spare, "OpenAI")], json!({})).await;
        let mut client = gateway.client(Protocol::H1).await;
        let headers = [("content-type", "application/json"), (header, "Bearer of-the-client")];
        for asked in 1..=3 {
            let body = chat(MODEL, false).to_string();
            assert_eq!(client.send(post(path, &headers, body)).await.status, 200);
            assert_eq!(busy.asked(), asked, "{header}");
        }
        end(gateway, client, [busy, spare]).await;
    }
}

/// It would be the gateway's account that pays for whoever brings a key that is none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clients_own_key_that_is_refused_moves_nothing_on() {
    let strict = Provider::answering("401 Unauthorized", REFUSAL).await;
    let spare = Provider::good().await;
    let first =
        with(api("strict", &strict, "OpenAI"), json!({"credential": {"override": {"header": "x-own-key"}}}));
    let gateway = in_order(&[first, api("spare", &spare, "OpenAI")], json!({})).await;
    let mut client = gateway.client(Protocol::H1).await;
    let headers = [("content-type", "application/json"), ("x-own-key", "wrong")];
    let body = chat(MODEL, false).to_string();
    assert_eq!(client.send(post("/v1/chat/completions", &headers, body)).await.status, 401);
    assert_eq!((strict.asked(), spare.asked()), (1, 0));
    end(gateway, client, [strict, spare]).await;
}

/// Google has no header for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn googles_delay_is_read_from_its_refusal_which_is_passed_on_whole() {
    const QUOTA: &str = r#"{"error":{"code":429,"message":"Quota exceeded.","status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"40s"}]}}"#;
    let google = Provider::answering("429 Too Many Requests\r\ncontent-type: application/json", QUOTA).await;
    let gateway = in_order(&[api("google", &google, "Gemini")], json!({})).await;
    let mut client = gateway.client(Protocol::H1).await;
    let reply = ask(&mut client).await;
    assert_eq!((reply.status.as_u16(), &reply.json()["error"]["message"]), (429, &json!("Quota exceeded.")));
    let reply = ask(&mut client).await;
    assert_eq!((reply.status.as_u16(), google.asked()), (429, 1));
    assert!((20..=40).contains(&reply.header("retry-after").parse::<u64>().unwrap()));
    end(gateway, client, [google]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_overloaded_and_does_not_say_for_how_long_is_asked_where_there_is_nobody_else() {
    let over = Provider::answering("529 Overloaded", REFUSAL).await;
    let spare = Provider::good().await;
    let both = [api("over", &over, "OpenAI"), api("spare", &spare, "OpenAI")];
    let gateway = in_order(&both, json!({})).await;
    let mut client = gateway.client(Protocol::H1).await;
    for _ in 0..3 {
        assert_eq!(ask(&mut client).await.status, 200);
    }
    assert_eq!((over.asked(), spare.asked()), (1, 3));
    end(gateway, client, [spare]).await;

    let gateway = in_order(&both[..1], json!({"retry": {"attempts": 1}})).await;
    let mut client = gateway.client(Protocol::H1).await;
    for asked in 2..=4 {
        assert_eq!(ask(&mut client).await.status, 529);
        assert_eq!(over.asked(), asked);
    }
    end(gateway, client, [over]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_of_a_pool_speaks_for_itself_alone() {
    let busy = Provider::answering("503 Busy\r\nretry-after: 60", REFUSAL).await;
    let good = sim(MODEL).await;
    let gateway = Gateway::start(json!({
        "routes": [{"name": "r", "rules": [{"targets": [{"pool": "p"}]}]}],
        "pools": [with(pool("p", &[busy.raw.addr(), good.addr()]), json!({"ejection": {"consecutiveFailures": 0}}))],
    }))
    .await;
    let mut client = gateway.client(Protocol::H1).await;
    for _ in 0..20 {
        assert_eq!(ask(&mut client).await.status, 200);
    }
    assert!(busy.asked() <= 1, "{}", busy.asked());
    drop(client);
    gateway.stop().await;
    // All of them: the client is told when the first of them may be asked.
    let gateway = Gateway::start(json!({
        "routes": [{"name": "r", "rules": [{"targets": [{"pool": "p"}], "retry": {"attempts": 1}}]}],
        "pools": [pool("p", &[busy.raw.addr()])],
    }))
    .await;
    let mut client = gateway.client(Protocol::H1).await;
    let before = busy.asked();
    assert_eq!(ask(&mut client).await.text(), REFUSAL);
    let reply = ask(&mut client).await;
    assert_eq!((reply.status.as_u16(), busy.asked() - before), (429, 1), "{}", reply.text());
    assert!(reply.header("retry-after").parse::<u64>().unwrap() > 30);
    end(gateway, client, [busy]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_is_no_reason_to_ask_again_and_another_backend_of_the_name_is() {
    let busy = Provider::answering("429 Too Many Requests\r\nretry-after: 60", REFUSAL).await;
    let document = |backend: Value| {
        json!({
            "listeners": [{"name": "http", "address": "127.0.0.1:0"}],
            "routes": [{"name": "r", "rules": [{"models": [MODEL], "targets": [{"backend": "busy"}]}]}],
            "backends": [backend],
        })
    };
    let gateway = Gateway::start(document(api("busy", &busy, "OpenAI"))).await;
    let mut client = gateway.client(Protocol::H1).await;
    assert_eq!(ask(&mut client).await.text(), REFUSAL);
    gateway.reload(document(api("busy", &busy, "OpenAI"))).unwrap();
    assert_eq!((ask(&mut client).await.status.as_u16(), busy.asked()), (429, 1));
    gateway.reload(document(with(api("busy", &busy, "OpenAI"), json!({"balancing": "Random"})))).unwrap();
    assert_eq!((ask(&mut client).await.text(), busy.asked()), (REFUSAL.to_owned(), 2));
    end(gateway, client, [busy]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listeners_say_when_clients_learn_who_answered() {
    let [bad, good] = sims().await;
    bad.faults().set(vec![Fault::status(503)]);
    for (setting, without, with_failover) in [
        ("Never", ("", ""), ("", "")),
        ("Failover", ("", ""), ("good", "bad;status_503")),
        ("Always", ("good", ""), ("good", "bad;status_503")),
    ] {
        let gateway = Gateway::start(json!({
            "listeners": [{"name": "http", "address": "127.0.0.1:0", "targetHeaders": setting}],
            "routes": [{"name": "r", "rules": [
                {"models": ["plain"], "targets": [{"pool": "good", "modelOverride": MODEL}]},
                {"targets": [{"pool": "bad"}, {"pool": "good", "priority": 1}]},
            ]}],
            "pools": [pool("bad", &[bad.addr()]), pool("good", &[good.addr()])],
        }))
        .await;
        let mut client = gateway.client(Protocol::H1).await;
        for (model, told) in [("plain", without), (MODEL, with_failover)] {
            let reply = client.send(post_json("/v1/chat/completions", &chat(model, false))).await;
            assert_eq!(reply.status, 200, "{}", reply.text());
            assert_eq!(
                (reply.header("x-penstock-target"), reply.header("x-penstock-tried")),
                told,
                "{setting}"
            );
        }
        drop(client);
        gateway.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_in_the_providers_own_api_that_begins_with_an_error_is_followed_by_another() {
    const OVERLOADED: &str = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n";
    const ANSWER: &str = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\"}}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
    let stream = "200 OK\r\ncontent-type: text/event-stream";
    let (bad, good) =
        (Provider::answering(stream, OVERLOADED).await, Provider::answering(stream, ANSWER).await);
    let messages = json!({"model": MODEL, "max_tokens": 9, "stream": true, "messages": [{"role": "user", "content": "Hi"}]});
    let both = [api("bad", &bad, "Anthropic"), api("good", &good, "Anthropic")];
    let gateway = in_order(&both, json!({})).await;
    let mut client = gateway.client(Protocol::H1).await;
    let reply = client.send(post_json("/v1/messages", &messages)).await;
    assert_eq!((reply.status.as_u16(), &*reply.text()), (200, ANSWER));
    assert_eq!(reply.header("x-penstock-target"), "good");
    assert_eq!((bad.asked(), good.asked()), (1, 1));
    // It is overloaded, and left alone for a little.
    let reply = client.send(post_json("/v1/messages", &messages)).await;
    assert_eq!((reply.header("x-penstock-tried"), bad.asked()), ("bad;cooling", 1));
    end(gateway, client, []).await;

    // Nobody else to ask: it passes as it came.
    let gateway = in_order(&both[..1], json!({})).await;
    let mut client = gateway.client(Protocol::H1).await;
    let reply = client.send(post_json("/v1/messages", &messages)).await;
    assert_eq!((reply.status.as_u16(), &*reply.text()), (200, OVERLOADED));
    end(gateway, client, [bad, good]).await;
}

/// A provider may send pings for as long as it likes: the client gets the head all the same, and what there is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pings_do_not_hold_a_response_back_for_ever() {
    let upstream = RawServer::start(|mut connection| async move {
        if connection.request().await.is_none() {
            return;
        }
        connection.send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n").await;
        loop {
            tokio::select! {
                () = connection.closed() => return,
                () = tokio::time::sleep(Duration::from_millis(5)) => {}
            }
            connection.send(": ping\n\n").await;
        }
    })
    .await;
    for (schema, rule) in [
        (json!({}), json!({"retry": {"untilContent": true, "holdTimeout": "100ms"}})),
        (json!({"api": {"schema": "Anthropic"}}), json!({"retry": {"holdTimeout": "100ms"}})),
    ] {
        let gateway = in_order(&[with(backend("b", &[upstream.addr()]), schema)], rule).await;
        let mut client = gateway.client(Protocol::H1).await;
        let stream = client.open(post_json("/v1/chat/completions", &chat(MODEL, true))).await;
        assert_eq!(stream.status, 200);
        drop(stream);
        drop(client);
        gateway.stop().await;
    }
    upstream.stop().await;
}

/// What comes after the head was let go is translated like what was held.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_translated_stream_that_was_not_held_to_its_content_is_translated_to_its_end() {
    let upstream = RawServer::start(|mut connection| async move {
        if connection.request().await.is_some() {
            connection.send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n").await;
            for _ in 0..20 {
                connection.send("event: ping\ndata: {\"type\":\"ping\"}\n\n").await;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            for event in [
                json!({"type": "message_start", "message": {"id": "m", "model": "c", "usage": {"input_tokens": 1}}}),
                json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
                json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello."}}),
                json!({"type": "content_block_stop", "index": 0}),
                json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}}),
                json!({"type": "message_stop"}),
            ] {
                let kind = event["type"].as_str().unwrap();
                connection.send(format!("event: {kind}\ndata: {event}\n\n")).await;
            }
        }
    })
    .await;
    let claude = with(backend("claude", &[upstream.addr()]), json!({"api": {"schema": "Anthropic"}}));
    let gateway = in_order(&[claude], json!({"retry": {"holdTimeout": "10ms"}})).await;
    let mut client = gateway.client(Protocol::H1).await;
    let text = client.send(post_json("/v1/chat/completions", &chat(MODEL, true))).await.text();
    assert!(text.contains("Hello.") && text.ends_with("data: [DONE]\n\n"), "{text}");
    assert!(!text.contains("event:"), "{text}");
    drop(client);
    gateway.stop().await;
    upstream.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_priority_is_left_after_as_many_attempts_as_the_rule_has_for_it() {
    let [a, b, fallback] = sims().await;
    for bad in [&a, &b] {
        bad.faults().push(Fault::status(503));
    }
    for (most, asked) in [(1, 1), (0, 2)] {
        let gateway = Gateway::start(json!({
            "routes": [{"name": "r", "rules": [{
                "targets": [{"pool": "p"}, {"pool": "fallback", "priority": 1}],
                "retry": {"attemptsPerPriority": most, "attempts": 5},
            }]}],
            "pools": [pool("p", &[a.addr(), b.addr()]), pool("fallback", &[fallback.addr()])],
        }))
        .await;
        let mut client = gateway.client(Protocol::H1).await;
        let before = a.stats().requests + b.stats().requests;
        assert_eq!(ask(&mut client).await.header("x-penstock-target"), "fallback");
        assert_eq!(a.stats().requests + b.stats().requests - before, asked, "{most}");
        drop(client);
        gateway.stop().await;
    }
}

/// Signatures of thoughts belong to who made them: Claude's go along to Claude wherever it is served, and to nobody else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thoughts_are_sent_on_with_their_signature_only_to_who_can_read_them() {
    let history = json!({
        "model": MODEL, "max_tokens": 4000, "thinking": {"type": "enabled", "budget_tokens": 1024},
        "messages": [
            {"role": "user", "content": "2+2?"},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "Sum.", "signature": "c2lnbmF0dXJl"},
                {"type": "text", "text": "4"},
            ]},
            {"role": "user", "content": "And 3+3?"},
        ],
    });
    let converse = r#"{"output":{"message":{"role":"assistant","content":[{"text":"6"}]}},"stopReason":"end_turn","usage":{"inputTokens":7,"outputTokens":2,"totalTokens":9}}"#;
    let json_head = "200 OK\r\ncontent-type: application/json";
    for (schema, answer) in [("OpenAI", COMPLETION), ("AWSBedrock", converse)] {
        let down = Provider::answering("529 Overloaded", REFUSAL).await;
        let fallback = Provider::checking(json_head, answer, move |_, sent| {
            let has_signature = sent.to_string().contains("c2lnbmF0dXJl");
            assert_eq!(has_signature, schema == "AWSBedrock", "{sent}");
        })
        .await;
        let model = json!({"modelOverride": "anthropic.claude-sonnet-4-5-20250929-v1:0"});
        let gateway = Gateway::start(json!({
            "routes": [{"name": "r", "rules": [{"models": [MODEL], "targets": [
                {"backend": "down"}, with(json!({"backend": "fallback", "priority": 1}), model),
            ]}]}],
            "backends": [api("down", &down, "Anthropic"), api("fallback", &fallback, schema)],
        }))
        .await;
        let mut client = gateway.client(Protocol::H1).await;
        let reply = client.send(post_json("/v1/messages", &history)).await;
        assert_eq!((reply.status.as_u16(), fallback.asked()), (200, 1), "{schema}: {}", reply.text());
        assert_eq!(reply.json()["type"], "message");
        end(gateway, client, [down, fallback]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_accounts_at_one_provider_are_two_targets() {
    let directory = tempfile::tempdir().unwrap();
    let account = |name: &str| {
        let file = directory.path().join(name);
        std::fs::write(&file, name).unwrap();
        json!({"credential": {"file": file}})
    };
    let provider = Arc::new(AtomicUsize::new(0));
    let counter = provider.clone();
    let host = RawServer::start(move |mut connection| {
        let counter = counter.clone();
        async move {
            while let Some((head, _)) = connection.request().await {
                counter.fetch_add(1, SeqCst);
                match head.contains("authorization: bearer spent") {
                    true => connection.respond(429, "retry-after: 60\r\n", "{}").await,
                    false => connection.respond(200, "content-type: application/json\r\n", COMPLETION).await,
                }
            }
        }
    })
    .await;
    let openai = json!({"api": {"schema": "OpenAI"}});
    let at = |name: &str| with(with(backend(name, &[host.addr()]), openai.clone()), account(name));
    let gateway = in_order(&[at("spent"), at("fresh")], json!({})).await;
    let mut client = gateway.client(Protocol::H1).await;
    assert_eq!(ask(&mut client).await.header("x-penstock-tried"), "spent;status_429");
    assert_eq!(ask(&mut client).await.header("x-penstock-tried"), "spent;cooling");
    assert_eq!(provider.load(SeqCst), 3);
    drop(client);
    gateway.stop().await;
    host.stop().await;
}

/// What was sent may have been done, for all that is known.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_may_want_no_attempt_after_one_that_was_sent_and_not_answered() {
    let [bad, good] = sims().await;
    let down = RefusedPort::take();
    bad.faults().push(Fault::new(Action::Reset));
    for (first, status) in [(bad.addr(), 502), (down.addr(), 200)] {
        let gateway = Gateway::start(json!({
            "routes": [{"name": "r", "rules": [{
                "targets": [{"pool": "first"}, {"pool": "good", "priority": 1}], "retry": {"unanswered": false},
            }]}],
            "pools": [pool("first", &[first]), pool("good", &[good.addr()])],
        }))
        .await;
        let mut client = gateway.client(Protocol::H1).await;
        assert_eq!(ask(&mut client).await.status, status);
        drop(client);
        gateway.stop().await;
    }
}

/// As Envoy AI Gateway's example of a fallback has it, and what its BackendTrafficPolicy becomes; with a pool in front, which
/// it cannot have.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_of_another_api_answers_for_a_pool_that_fails_streams_included() {
    let [first, second, claude] = sims().await;
    for bad in [&first, &second] {
        bad.faults().push(Fault::status(500));
    }
    let gateway = Gateway::start(json!({
        "routes": [{"name": "r", "rules": [{
            "models": [MODEL],
            "targets": [{"pool": "p"}, {"backend": "claude", "priority": 1}],
            "timeouts": {"perTry": "30s"},
            "retry": {
                "attempts": 6, "attemptsPerPriority": 1, "statuses": [500], "failoverStatuses": [], "unanswered": false,
                "backoff": "100ms", "maxBackoff": "10s",
            },
        }]}],
        "pools": [pool("p", &[first.addr(), second.addr()])],
        "backends": [with(backend("claude", &[claude.addr()]), json!({"api": {"schema": "Anthropic"}}))],
    }))
    .await;
    for protocol in [Protocol::H1, Protocol::H2] {
        let mut client = gateway.client(protocol).await;
        for stream in [false, true] {
            let reply = client.send(post_json("/v1/chat/completions", &chat(MODEL, stream))).await;
            let text = reply.text();
            assert_eq!((reply.status.as_u16(), text.ends_with("data: [DONE]\n\n")), (200, stream), "{text}");
            assert_eq!(reply.header("x-penstock-tried"), "p;status_500");
            assert_eq!(reply.header("x-penstock-target"), "claude");
        }
    }
    assert_eq!((first.stats().requests + second.stats().requests, claude.stats().completed), (4, 4));
    gateway.stop().await;
}

#[tokio::test]
async fn a_request_that_goes_in_circles_comes_to_an_end() {
    let rule = |targets: Value| json!({"models": [MODEL], "targets": targets, "retry": {"statuses": [500, 502, 503, 504, 508]}});
    let listener = json!([{"name": "http", "address": "127.0.0.1:0"}]);
    let document = |backends: &[Value]| {
        let names: Vec<Value> = backends.iter().map(|backend| json!({"backend": backend["name"]})).collect();
        json!({"listeners": listener, "routes": [{"name": "r", "rules": [rule(names.into())]}], "backends": backends})
    };
    let gateway = Gateway::start(json!({"listeners": listener})).await;
    let itself = [backend("a", &[gateway.addr()]), backend("b", &[gateway.addr()])];
    gateway.reload(document(&itself)).unwrap();
    let mut client = gateway.client(Protocol::H1).await;
    let reply = client.send(post_json("/v1/chat/completions", &chat(MODEL, false))).await;
    let text = reply.text();
    assert_eq!(reply.status.as_u16(), 508, "{text}");
    assert!(text.contains("more than 8 gateways (limits.hops)"), "{text}");
    // Each gateway asked once: a circle is not walked again by retries.
    let log = gateway.log(10).await;
    assert_eq!(log.len(), 10);
    assert_eq!(gateway.metric("penstock_limit_hits_total", &[r#"limit="limits.hops""#]), 1.0);
    // Who says that a request went round and round is believed, and gets no further.
    for claimed in ["9", "-1", "many"] {
        let headers = [("content-type", "application/json"), ("x-penstock-hops", claimed)];
        let reply = client.send(post("/v1/chat/completions", &headers, chat(MODEL, false).to_string())).await;
        assert_eq!(reply.status.as_u16(), 508, "{claimed}");
    }
    gateway.stop().await;
}
