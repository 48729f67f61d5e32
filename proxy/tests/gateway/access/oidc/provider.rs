//! An OpenID provider that does as tests tell it, and a browser that goes there.

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::super::tokens::{Signer, in_seconds};
use crate::harness::{Body, Client, RawServer, Reply, body, request, with};

/// An OpenID provider.
pub(super) struct Provider {
    server: RawServer,
    state: Arc<State>,
}

/// What it knows, and how it is.
struct State {
    signer: Signer,
    issuer: Mutex<String>,
    knobs: Mutex<Knobs>,
    /// What was asked for with each code that was not taken yet: challenge and nonce.
    codes: Mutex<HashMap<String, (String, String)>>,
    /// The forms that the token endpoint was sent.
    asked: Mutex<Vec<HashMap<String, String>>>,
    release: Notify,
}

/// How a provider is.
#[derive(Clone, Default)]
pub(super) struct Knobs {
    /// It answers nothing but errors.
    pub(super) is_down: bool,
    /// Its token endpoint does.
    pub(super) tokens_are_down: bool,
    /// It does not take what it is shown, with this code.
    pub(super) refuses: Option<&'static str>,
    /// Its token endpoint answers when it is told to.
    pub(super) hangs: bool,
    /// Claims that take the place of those that it would have.
    pub(super) claims: Option<Value>,
    /// What takes the place of the members of its answers.
    pub(super) answer: Option<Value>,
}

impl Provider {
    /// One that serves from now on.
    pub(super) async fn start() -> Self {
        let state = Arc::new(State {
            signer: Signer::new("a"),
            issuer: Mutex::default(),
            knobs: Mutex::default(),
            codes: Mutex::default(),
            asked: Mutex::default(),
            release: Notify::new(),
        });
        let served = state.clone();
        let server = RawServer::start(move |mut connection| {
            let state = served.clone();
            async move {
                while let Some((head, body)) = connection.request().await {
                    let (status, body) = state.answer(&head, &body).await;
                    connection.respond(status, "content-type: application/json\r\n", &body).await;
                }
            }
        })
        .await;
        *state.issuer.lock() = format!("http://{}", server.addr());
        Self { server, state }
    }

    pub(super) fn issuer(&self) -> String {
        self.state.issuer.lock().clone()
    }

    pub(super) fn set(&self, change: impl FnOnce(&mut Knobs)) {
        change(&mut self.state.knobs.lock());
    }

    /// Lets go whoever waits for its token endpoint.
    pub(super) fn release(&self) {
        self.state.knobs.lock().hangs = false;
        self.state.release.notify_waiters();
    }

    /// The forms that its token endpoint was sent.
    pub(super) fn asked(&self) -> Vec<HashMap<String, String>> {
        self.state.asked.lock().clone()
    }

    /// Logs somebody in who was led here: the path with which they are led back.
    pub(super) fn log_in(&self, location: &str) -> String {
        let (address, query) = location.split_once('?').unwrap();
        assert_eq!(address, format!("{}/auth", self.issuer()));
        let asked = form(query);
        assert_eq!((&*asked["response_type"], &*asked["client_id"]), ("code", "chat"));
        assert_eq!(asked["code_challenge_method"], "S256");
        let mut codes = self.state.codes.lock();
        let code = format!("Code-{}", asked["state"].len() * 1000 + codes.len());
        codes.insert(code.clone(), (asked["code_challenge"].clone(), asked["nonce"].clone()));
        let redirect = asked["redirect_uri"].split_once("://").unwrap().1;
        let path = &redirect[redirect.find('/').unwrap()..];
        format!("{path}?code={code}&state={}", asked["state"])
    }

    pub(super) async fn stop(self) {
        self.server.stop().await;
    }
}

impl State {
    async fn answer(&self, head: &str, body: &[u8]) -> (u16, String) {
        let knobs = self.knobs.lock().clone();
        let issuer = self.issuer.lock().clone();
        let path = head.split(' ').nth(1).unwrap();
        match path {
            _ if knobs.is_down => (500, String::new()),
            "/.well-known/openid-configuration" => (
                200,
                json!({
                    "issuer": issuer, "jwks_uri": format!("{issuer}/keys"),
                    "authorization_endpoint": format!("{issuer}/auth"),
                    "token_endpoint": format!("{issuer}/token"),
                    "token_endpoint_auth_methods_supported": ["client_secret_post"],
                })
                .to_string(),
            ),
            "/keys" => (200, self.signer.set()),
            "/token" => {
                self.asked.lock().push(form(std::str::from_utf8(body).unwrap()));
                if knobs.hangs {
                    self.release.notified().await;
                }
                if knobs.tokens_are_down { (500, String::new()) } else { self.tokens(&knobs, &issuer) }
            }
            other => panic!("{other}"),
        }
    }

    fn tokens(&self, knobs: &Knobs, issuer: &str) -> (u16, String) {
        let refused = (400, json!({"error": knobs.refuses.unwrap_or("invalid_grant")}).to_string());
        if knobs.refuses.is_some() {
            return refused;
        }
        let asked = self.asked.lock().last().unwrap().clone();
        assert_eq!((&*asked["client_id"], &*asked["client_secret"]), ("chat", super::SECRET));
        let nonce = match &*asked["grant_type"] {
            "authorization_code" => {
                let Some((challenge, nonce)) = self.codes.lock().remove(&asked["code"]) else {
                    return refused;
                };
                let shown = URL_SAFE_NO_PAD.encode(digest(&SHA256, asked["code_verifier"].as_bytes()));
                if shown != challenge {
                    return refused;
                }
                Some(nonce)
            }
            "refresh_token" if asked["refresh_token"] == "refresh" => None,
            _ => return refused,
        };
        let claims = json!({
            "iss": issuer, "aud": "chat", "sub": "ann", "groups": ["staff"], "exp": in_seconds(300), "nonce": nonce,
        });
        let claims = with(claims, knobs.claims.clone().unwrap_or_else(|| json!({})));
        let answer = json!({
            "id_token": self.signer.token_by("a", claims), "access_token": "acc3ss-of-ann", "expires_in": 3600,
            "refresh_token": "refresh", "token_type": "Bearer",
        });
        (200, with(answer, knobs.answer.clone().unwrap_or_else(|| json!({}))).to_string())
    }
}

/// The fields of a form, each there once.
pub(super) fn form(text: &str) -> HashMap<String, String> {
    let mut fields = HashMap::new();
    for pair in text.split('&') {
        let (name, value) = pair.split_once('=').unwrap();
        let spaced = value.replace('+', " ");
        let value = percent_encoding::percent_decode_str(&spaced).decode_utf8().unwrap();
        assert!(fields.insert(name.to_owned(), value.into_owned()).is_none(), "{name} is there twice");
    }
    fields
}

/// What a browser keeps.
#[derive(Default, Clone)]
pub(super) struct Browser(pub(super) Vec<(String, String)>);

impl Browser {
    /// Asks for a page as browsers do.
    pub(super) async fn open(&mut self, client: &mut Client, path: &str) -> Reply {
        self.ask(client, http::Method::GET, path, &[("sec-fetch-mode", "navigate")], body("")).await
    }

    /// Asks, and keeps what it is told to keep.
    pub(super) async fn ask(
        &mut self,
        client: &mut Client,
        method: http::Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Body,
    ) -> Reply {
        let cookies = self.cookies();
        let mut headers = headers.to_vec();
        if !cookies.is_empty() {
            headers.push(("cookie", &cookies));
        }
        let reply = client.send(request(method, path, &headers, body)).await;
        self.keep(&reply);
        reply
    }

    pub(super) fn cookies(&self) -> String {
        let pairs: Vec<_> = self.0.iter().map(|(name, value)| format!("{name}={value}")).collect();
        pairs.join("; ")
    }

    fn keep(&mut self, reply: &Reply) {
        for cookie in super::super::all(reply, "set-cookie") {
            let (pair, rest) = cookie.split_once(';').unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            self.0.retain(|(known, _)| known != name);
            if !rest.contains("Max-Age=0") {
                self.0.push((name.to_owned(), value.to_owned()));
            }
        }
    }

    /// Whether it keeps a session.
    pub(super) fn has_session(&self) -> bool {
        self.0.iter().any(|(name, _)| name.contains("session"))
    }
}
