//! What an embedder hooks into the path: policies of listeners and rules, in their phases, and what they get to see.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Extensions, HeaderMap, HeaderValue, StatusCode};
use parking_lot::Mutex;
use penstock_config::{Listener, Rule};
use penstock_proxy::policy::{Extension, Hook, HookError, Reply, Subject, Verdict, Wants};
use pingora_http::{RequestHeader, ResponseHeader};
use serde_json::{Value, json};

use crate::harness::{Gateway, MODEL, Protocol, chat, get, pool, post_json, sim};

/// Writes down when it is asked, and does what the request's header `x-do` says.
struct Probe {
    name: &'static str,
    wants: Wants,
    notes: Arc<Mutex<Vec<String>>>,
}

/// What the identify phase found out, for the phases behind it.
#[derive(Clone)]
struct Caller(String);

impl Probe {
    fn note(&self, phase: &str, what: &str) {
        self.notes.lock().push(format!("{} {phase}: {what}", self.name));
    }

    fn answers(&self, head: &RequestHeader, phase: &str) -> Verdict {
        let asked = head.headers.get("x-do").map_or("", |value| value.to_str().unwrap());
        if asked != format!("{} answers in {phase}", self.name) {
            return Verdict::Continue;
        }
        let headers =
            HeaderMap::from_iter([(http::header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))]);
        let body = Bytes::from_static(b"not you");
        Verdict::Answer(Box::new(Reply { status: StatusCode::UNAUTHORIZED, headers, body }))
    }
}

#[async_trait]
impl Hook for Probe {
    fn wants(&self) -> Wants {
        self.wants
    }

    async fn identify(&self, request: &mut Subject<'_>) -> Verdict {
        assert!(request.body.is_empty() && request.model.is_none(), "the body is not read yet");
        assert!(request.peer.is_some() && !request.request_id.is_empty());
        self.note("identify", &format!("{} {}", request.listener, request.head.uri.path()));
        request.extensions.insert(Caller("somebody".to_owned()));
        request.head.insert_header("x-caller", "somebody").unwrap();
        self.answers(request.head, "identify")
    }

    async fn admit(&self, request: &mut Subject<'_>, rule: &Rule) -> Verdict {
        let caller = request.extensions.get::<Caller>().map_or("nobody", |caller| &caller.0);
        let model = request.model.unwrap_or("no model");
        self.note("admit", &format!("{caller} {} {model} {}", rule.route, !request.body.is_empty()));
        self.answers(request.head, "admit")
    }

    fn response_head(&self, head: &mut ResponseHeader, memory: &mut Extensions) -> Result<(), HookError> {
        assert!(memory.get::<Caller>().is_some(), "what identify found out is remembered");
        self.note("response head", head.status.as_str());
        head.append_header("x-seen-by", self.name)?;
        Ok(())
    }

    fn response_body(
        &self,
        data: Bytes,
        _is_end: bool,
        _memory: &mut Extensions,
    ) -> Result<Option<Bytes>, HookError> {
        if data.windows(4).any(|word| word == b"FAIL") {
            return Err("it was told to fail".into());
        }
        Ok(Some(data.to_ascii_uppercase().into()))
    }
}

/// Two policies for each rule, and one for each listener.
struct Probes {
    notes: Arc<Mutex<Vec<String>>>,
    wants: Wants,
}

impl Probes {
    fn probe(&self, name: &'static str, wants: Wants) -> Arc<dyn Hook> {
        Arc::new(Probe { name, wants, notes: self.notes.clone() })
    }
}

impl Extension for Probes {
    fn listener_policies(&self, _listener: &Listener) -> Vec<Arc<dyn Hook>> {
        vec![self.probe("door", Wants::default())]
    }

    fn rule_policies(&self, _rule: &Rule) -> Vec<Arc<dyn Hook>> {
        vec![self.probe("first", self.wants), self.probe("second", self.wants)]
    }
}

async fn probed(wants: Wants, document: Value) -> (Gateway, Arc<Mutex<Vec<String>>>) {
    let notes = Arc::new(Mutex::new(Vec::new()));
    let extension = Arc::new(Probes { notes: notes.clone(), wants });
    (Gateway::extended(document, extension).await, notes)
}

fn one_backend(address: std::net::SocketAddr) -> Value {
    json!({
        "routes": [{"name": "r", "rules": [{"targets": [{"backend": "b"}]}]}],
        "backends": [crate::harness::backend("b", &[address])],
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policies_are_asked_in_their_phases_and_see_what_they_want() {
    let server = sim(MODEL).await;
    for (wants, is_read) in [
        (Wants::default(), false),
        (Wants { whole_body: true, ..Wants::default() }, true),
        (Wants { peek: true, response_head: true, ..Wants::default() }, true),
    ] {
        let (gateway, notes) = probed(wants, one_backend(server.addr())).await;
        for protocol in [Protocol::H1, Protocol::H2] {
            let mut client = gateway.client(protocol).await;
            let reply = client.send(post_json("/v1/chat/completions", &chat(MODEL, false))).await;
            assert_eq!(reply.status, 200);
            let model = if is_read { MODEL } else { "no model" };
            let mut expected = vec![
                "door identify: http /v1/chat/completions".to_owned(),
                format!("first admit: somebody r {model} {is_read}"),
                format!("second admit: somebody r {model} {is_read}"),
            ];
            let seen: Vec<_> = reply.headers.get_all("x-seen-by").iter().collect();
            if wants.response_head {
                // Who changed the request last sees the response first.
                expected.extend(["second response head: 200", "first response head: 200"].map(str::to_owned));
                assert_eq!(seen, ["second", "first"]);
            } else {
                assert!(seen.is_empty(), "nobody asked for the response's head");
            }
            assert_eq!(std::mem::take(&mut *notes.lock()), expected);
        }
        let last = server.requests().pop().unwrap();
        assert_eq!(last.header("x-caller"), Some("somebody"), "what a policy sets reaches the upstream");
        gateway.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_answers_first_ends_the_request() {
    let server = sim(MODEL).await;
    let (gateway, notes) = probed(Wants::default(), one_backend(server.addr())).await;
    for protocol in [Protocol::H1, Protocol::H2] {
        let mut client = gateway.client(protocol).await;
        for (what, asked) in
            [("door answers in identify", 1), ("first answers in admit", 2), ("second answers in admit", 3)]
        {
            let mut request = post_json("/v1/chat/completions", &chat(MODEL, false));
            request.headers_mut().insert("x-do", HeaderValue::from_static(what));
            let reply = client.send(request).await;
            assert_eq!((reply.status.as_u16(), &reply.body[..]), (401, &b"not you"[..]), "{what}");
            assert_eq!(reply.headers["www-authenticate"], "Bearer");
            assert!(reply.headers.contains_key("x-request-id"));
            assert_eq!(std::mem::take(&mut *notes.lock()).len(), asked, "{what}");
        }
        // The connection is as good as new.
        assert_eq!(client.send(get("/v1/models")).await.status, 200);
        notes.lock().clear();
    }
    assert_eq!(server.stats().requests, 2);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_may_change_the_body_of_a_response_or_break_it_off() {
    let server = crate::harness::RawServer::start(async |mut connection| {
        while let Some((_, body)) = connection.request().await {
            let answer = if body.is_empty() { "all is well".to_owned() } else { "first FAIL".to_owned() };
            connection.respond(200, "", &answer).await;
        }
    })
    .await;
    let wants = Wants { response_body: true, ..Wants::default() };
    let (gateway, _notes) = probed(wants, one_backend(server.addr())).await;
    let mut client = gateway.client(Protocol::H1).await;
    assert_eq!(client.send(get("/")).await.body, "ALL IS WELL");
    assert!(client.try_send(post_json("/", &json!({}))).await.is_err(), "cut off before its end");
    let line = gateway.log(2).await.pop().unwrap();
    assert_eq!(line["error"], "policy");
    drop(client);
    gateway.stop().await;
    server.stop().await;
}

/// It may make the body longer or shorter.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_translated_answer_has_a_length_unless_a_policy_may_change_it() {
    const MESSAGE: &str = r#"{"id":"msg_1","type":"message","role":"assistant","model":"m","stop_reason":"end_turn","content":[{"type":"text","text":"hi"}],"usage":{"input_tokens":1,"output_tokens":1}}"#;
    let server = crate::harness::RawServer::start(async |mut connection| {
        while connection.request().await.is_some() {
            connection.respond(200, "content-type: application/json\r\n", MESSAGE).await;
        }
    })
    .await;
    let mut document = one_backend(server.addr());
    document["backends"][0]["api"] = json!({"schema": "Anthropic"});
    for (response_body, text) in [(false, "\"hi\""), (true, "\"HI\"")] {
        let wants = Wants { response_body, ..Wants::default() };
        let (gateway, _notes) = probed(wants, document.clone()).await;
        let mut client = gateway.client(Protocol::H1).await;
        let reply = client.send(post_json("/v1/chat/completions", &chat(MODEL, false))).await;
        assert_eq!(reply.status, 200);
        let body = std::str::from_utf8(&reply.body).unwrap();
        assert!(body.contains(text), "{body}");
        assert_eq!(reply.headers.contains_key("content-length"), !response_body);
        drop(client);
        gateway.stop().await;
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pools_have_policies_too() {
    let server = sim(MODEL).await;
    let document = json!({
        "routes": [{"name": "r", "rules": [{"models": [MODEL], "targets": [{"pool": "p"}]}]}],
        "pools": [pool("p", &[server.addr()])],
    });
    let (gateway, notes) = probed(Wants::default(), document).await;
    let mut client = gateway.client(Protocol::H1).await;
    assert_eq!(client.send(post_json("/v1/chat/completions", &chat(MODEL, true))).await.status, 200);
    assert_eq!(notes.lock()[1], format!("first admit: somebody r {MODEL} true"));
    drop(client);
    gateway.stop().await;
}
