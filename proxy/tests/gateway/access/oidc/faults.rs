//! Providers that fail or lie, and people who are led astray.

use std::collections::HashMap;

use super::*;
use crate::harness::within;

/// The path by which a browser comes back that was led to the provider.
async fn coming_back(client: &mut Client, provider: &Provider, browser: &mut Browser) -> String {
    let led = browser.open(client, "/v1/models").await;
    assert_eq!(led.status, 302, "{}", led.text());
    provider.log_in(led.header("location"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn id_tokens_that_are_not_this_logins_log_nobody_in() {
    let (server, provider) = (sim(MODEL).await, Provider::start().await);
    let gateway = Chat::new(server.addr(), &provider, json!({})).start().await;
    let mut client = gateway.client(Protocol::H1).await;
    let part = |value: Value| {
        use base64::Engine as _;
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(value.to_string())
    };
    let claims = json!({"iss": provider.issuer(), "aud": "chat", "sub": "root", "exp": 9_999_999_999_u64});
    let unsigned = format!("{}.{}.", part(json!({"alg": "none"})), part(claims.clone()));
    let shared = format!("{}.{}.AAAA", part(json!({"alg": "HS256", "kid": "a"})), part(claims));
    let stranger = super::super::tokens::Signer::new("a").token_by("a", json!({}));
    for (claims, answer, says) in [
        (json!({"nonce": "another"}), json!({}), "another login"),
        (json!({"nonce": null}), json!({}), "another login"),
        (json!({"aud": "other"}), json!({}), "another audience"),
        (json!({"iss": "http://other.test"}), json!({}), "another issuer"),
        (json!({"exp": 1_000_000_000}), json!({}), "expired"),
        (json!({}), json!({"id_token": unsigned}), "algorithm"),
        (json!({}), json!({"id_token": shared}), "algorithm"),
        (json!({}), json!({"id_token": stranger}), "another issuer"),
        (json!({}), json!({"id_token": null}), "no ID token"),
    ] {
        provider.set(|knobs| (knobs.claims, knobs.answer) = (Some(claims.clone()), Some(answer.clone())));
        let mut browser = Browser::default();
        let back = coming_back(&mut client, &provider, &mut browser).await;
        let reply = browser.open(&mut client, &back).await;
        assert_eq!((reply.status.as_u16(), &*reply.code()), (401, "login_failed"), "{claims} {answer}");
        assert!(reply.text().contains(says), "{claims} {answer}: {}", reply.text());
        assert!(!browser.has_session());
    }
    assert_eq!(gateway.metric("penstock_logins_total", &["outcome=\"refused\""]), 9.0);
    drop(client);
    gateway.stop().await;
    provider.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn codes_and_states_are_good_once_in_the_browser_that_began_the_login() {
    let (server, provider) = (sim(MODEL).await, Provider::start().await);
    let gateway = Chat::new(server.addr(), &provider, json!({})).start().await;
    let mut client = gateway.client(Protocol::H1).await;
    let mut mallory = Browser::default();
    let back = coming_back(&mut client, &provider, &mut mallory).await;
    // Ann follows a link that Mallory made, before she began a login and after.
    let mut ann = Browser::default();
    for _ in 0..2 {
        let reply = ann.open(&mut client, &back).await;
        assert_eq!((reply.status.as_u16(), &*reply.code()), (401, "login_failed"));
        assert!(!ann.has_session() && reply.text().contains("not begun in this browser"));
        ann.open(&mut client, "/v1/models").await;
    }
    assert!(provider.asked().is_empty(), "nobody asked the provider about it");
    let query: HashMap<_, _> = provider::form(back.split_once('?').unwrap().1);
    for changed in [
        format!("/oauth2/callback?code={}&state={}x", query["code"], query["state"]),
        format!("/oauth2/callback?code={}", query["code"]),
        format!("{back}&code=other"),
        format!("{back}&error=access_denied"),
        "/oauth2/callback".to_owned(),
    ] {
        let reply = mallory.open(&mut client, &changed).await;
        assert_eq!((reply.status.as_u16(), &*reply.code()), (401, "login_failed"), "{changed}");
    }
    assert!(provider.asked().is_empty() && !mallory.has_session());
    assert_eq!(mallory.open(&mut client, &back).await.status, 302);
    assert!(mallory.has_session());
    // Once more, in a browser that forgot who it is.
    mallory.0.retain(|(name, _)| !name.contains("session"));
    let again = mallory.open(&mut client, &back).await;
    assert_eq!((again.status.as_u16(), &*again.code()), (401, "login_failed"));
    assert!(!mallory.has_session() && again.text().contains("does not take the code"));
    drop(client);
    gateway.stop().await;
    provider.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_that_were_made_up_are_none_and_nobody_is_led_to_another_host() {
    let (server, provider) = (sim(MODEL).await, Provider::start().await);
    let shown = json!({"idTokenCookie": "id", "accessTokenCookie": "access"});
    let gateway = Chat::new(server.addr(), &provider, shown).start().await;
    let mut client = gateway.client(Protocol::H1).await;
    let browser = logged_in(&mut client, &provider).await;
    let at = browser.0.iter().position(|(name, _)| name.contains("session")).unwrap();
    for (from, to) in [(10, 'A'), (200, '!'), (0, '9')] {
        let mut forged = browser.clone();
        let value = &mut forged.0[at].1;
        let to = if value[from..].starts_with(to) { 'B' } else { to };
        value.replace_range(from..=from, &to.to_string());
        assert_eq!(ask_model(&mut client, &mut forged, &[]).await, 401, "{from}");
    }
    let mut twice = browser.clone();
    twice.0.push(browser.0[at].clone());
    assert_eq!(ask_model(&mut client, &mut twice, &[]).await, 401);
    // Tokens of the session's cookies stand in cookies of their own, whatever the client put there.
    let mut forged = browser.clone();
    forged.0.extend([("id".to_owned(), "forged".to_owned()), ("access".to_owned(), "forged".to_owned())]);
    assert_eq!(ask_model(&mut client, &mut forged, &[]).await, 200);
    let seen = server.requests().pop().unwrap();
    let cookies: Vec<_> = seen.headers.iter().filter(|(name, _)| name == "cookie").collect();
    assert!(
        cookies.iter().all(|(_, value)| !value.contains("forged") && !value.contains("penstock")),
        "{cookies:?}"
    );
    assert!(cookies.iter().any(|(_, value)| value.contains("access=acc3ss-of-ann")), "{cookies:?}");
    for path in ["//evil.test/", "/%5cevil.test", "/v1/models?next=https://evil.test"] {
        let mut browser = Browser::default();
        let led = browser.open(&mut client, path).await;
        let back = browser.open(&mut client, &provider.log_in(led.header("location"))).await;
        let location = back.header("location");
        assert!(location.starts_with("http://gateway.test/"), "{path}: {location}");
    }
    drop(client);
    gateway.stop().await;
    provider.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_is_gone_is_503_and_comes_back_by_itself() {
    let (server, provider) = (sim(MODEL).await, Provider::start().await);
    provider.set(|knobs| knobs.is_down = true);
    let chat = Chat::new(server.addr(), &provider, json!({}));
    let gateway = Gateway::start(chat.document.clone()).await;
    let mut client = gateway.client(Protocol::H1).await;
    let mut browser = Browser::default();
    let reply = browser.open(&mut client, "/v1/models").await;
    assert_eq!((reply.status.as_u16(), &*reply.code()), (503, "login_unavailable"));
    assert_eq!(reply.header("retry-after"), "1");
    assert_eq!(
        ask_model(&mut client, &mut browser, &[]).await,
        401,
        "what shows nothing is told so all the same"
    );
    provider.set(|knobs| knobs.is_down = false);
    loaded(&gateway, 1.0).await;
    // Down again, it fails nobody who has a session.
    let mut ann = logged_in(&mut client, &provider).await;
    provider.set(|knobs| knobs.is_down = true);
    assert_eq!(ask_model(&mut client, &mut ann, &[]).await, 200);
    let back = coming_back(&mut client, &provider, &mut browser).await;
    let reply = browser.open(&mut client, &back).await;
    assert_eq!((reply.status.as_u16(), &*reply.code()), (503, "login_unavailable"));
    // The code is good yet.
    provider.set(|knobs| knobs.is_down = false);
    assert_eq!(browser.open(&mut client, &back).await.status, 302);
    assert!(browser.has_session());
    assert_eq!(gateway.metric("penstock_logins_total", &["outcome=\"unavailable\""]), 1.0);
    drop(client);
    gateway.stop().await;
    provider.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewal_that_fails_is_503_or_a_login_and_a_slow_provider_keeps_nobody_else_waiting() {
    let (server, provider) = (sim(MODEL).await, Provider::start().await);
    let gateway = Chat::new(server.addr(), &provider, json!({})).start().await;
    let mut client = gateway.client(Protocol::H1).await;
    let good = logged_in(&mut client, &provider).await;
    provider.set(|knobs| knobs.answer = Some(json!({"expires_in": 1})));
    let mut old = logged_in(&mut client, &provider).await;
    provider.set(|knobs| knobs.tokens_are_down = true);
    let unavailable = async { while ask_model(&mut client, &mut old, &[]).await != 503 {} };
    within("the session to run out", unavailable).await;
    provider.set(|knobs| (knobs.tokens_are_down, knobs.hangs) = (false, true));
    let before = provider.asked().len();
    let (addr, mut waits) = (gateway.addr(), old.clone());
    let waiting =
        spawn(
            async move { ask_model(&mut Client::connect(addr, Protocol::H1).await, &mut waits, &[]).await },
        );
    eventually("the provider to be asked", || (provider.asked().len() > before).then_some(())).await;
    let mut good = good;
    assert_eq!(ask_model(&mut client, &mut good, &[]).await, 200);
    assert!(!waiting.is_finished());
    provider.release();
    assert_eq!(waiting.join().await, 200);
    // Who is refused logs in anew; whom the gateway's own secret is refused for, cannot.
    for (code, of_session, of_login) in
        [("invalid_grant", 401, 401), ("invalid_request", 401, 503), ("invalid_client", 503, 503)]
    {
        provider.set(|knobs| {
            (knobs.refuses, knobs.answer) = (None, Some(json!({"expires_in": 1, "refresh_token": code})))
        });
        let mut old = logged_in(&mut client, &provider).await;
        provider.set(|knobs| knobs.refuses = Some(code));
        let run_out = async {
            loop {
                match ask_model(&mut client, &mut old, &[]).await {
                    200 => {}
                    status => break status,
                }
            }
        };
        assert_eq!(within("the session to run out", run_out).await, of_session, "{code}");
        let mut browser = Browser::default();
        let back = coming_back(&mut client, &provider, &mut browser).await;
        assert_eq!(browser.open(&mut client, &back).await.status, of_login, "{code}");
    }
    drop(client);
    gateway.stop().await;
    provider.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_no_browser_keeps_is_a_clear_error() {
    let (server, provider) = (sim(MODEL).await, Provider::start().await);
    let gateway = Chat::new(server.addr(), &provider, json!({"forwardAccessToken": true})).start().await;
    let mut client = gateway.client(Protocol::H1).await;
    provider.set(|knobs| knobs.answer = Some(json!({"access_token": "a".repeat(9_000)})));
    let mut browser = logged_in(&mut client, &provider).await;
    assert_eq!(ask_model(&mut client, &mut browser, &[]).await, 200);
    provider.set(|knobs| knobs.answer = Some(json!({"access_token": "a".repeat(15_000)})));
    let mut browser = Browser::default();
    let back = coming_back(&mut client, &provider, &mut browser).await;
    let reply = browser.open(&mut client, &back).await;
    assert_eq!((reply.status.as_u16(), &*reply.code()), (502, "session_too_large"));
    drop(client);
    gateway.stop().await;
    provider.stop().await;
}
