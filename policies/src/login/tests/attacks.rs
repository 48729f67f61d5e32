//! What people who are led astray, and those who lead them, do not get.

use super::*;

fn come_back(login: &Login, browser: &Browser, query: &str) -> Result<Code, LoginFault> {
    login.come_back(&visit(&browser.headers(), "/oauth2/callback", Some(query)))
}

#[test]
fn nobody_is_led_into_a_login_that_another_browser_began() {
    let signer = Signer::p256();
    let login = login(spec(), &signer);
    let (mallory, led, _) = begun(&login);
    let state = parameter(&led.location, "state");
    let query = format!("code=mallorys&state={state}");
    // A browser that began none, and one that began another.
    assert_eq!(come_back(&login, &Browser::default(), &query).unwrap_err(), LoginFault::NotBegun);
    let mut ann = Browser::default();
    ann.keep(&login.begin(&visit(&HeaderMap::new(), "/", None), &random(77)).unwrap().cookies);
    assert_eq!(come_back(&login, &ann, &query).unwrap_err(), LoginFault::NotBegun);
    // One in which somebody put a second cookie beside its own.
    let mut both = ann.clone();
    both.0.extend(mallory.0.clone());
    assert_eq!(come_back(&login, &both, &query).unwrap_err(), LoginFault::NotBegun);
    let late = visit_at(&HeaderMap::new(), "/oauth2/callback", Some(&query), 601).now;
    let headers = mallory.headers();
    let late = Visit { now: late, ..visit(&headers, "/oauth2/callback", Some(&query)) };
    assert_eq!(login.come_back(&late).unwrap_err(), LoginFault::NotBegun);
}

#[test]
fn what_comes_back_in_another_form_than_was_sent_is_refused() {
    let signer = Signer::p256();
    let login = login(spec(), &signer);
    let (browser, led, _) = begun(&login);
    let state = parameter(&led.location, "state");
    let mut other = state.clone().into_bytes();
    other[60] = if other[60] == b'A' { b'B' } else { b'A' };
    let other = String::from_utf8(other).unwrap();
    for (query, expected) in [
        (format!("code=c&state={other}"), LoginFault::NotBegun),
        ("code=c&state=".to_owned(), LoginFault::NotBegun),
        ("code=c&state=%ff".to_owned(), LoginFault::Malformed),
        ("code=c".to_owned(), LoginFault::Malformed),
        (format!("state={state}"), LoginFault::Malformed),
        (format!("code=&state={state}"), LoginFault::Malformed),
        (format!("code=c&code=d&state={state}"), LoginFault::Malformed),
        (format!("code=c&state={state}&st%61te={state}"), LoginFault::Malformed),
        (format!("code=c&state={state}&iss=https%3A%2F%2Fother.test"), LoginFault::OtherProvider),
        (format!("error=access_denied&state={state}"), LoginFault::Refused),
        (format!("error=server_error&state={state}"), LoginFault::Unavailable),
        (format!("error=login_required&state={state}"), LoginFault::Failed),
        ("error=access_denied".to_owned(), LoginFault::Malformed),
    ] {
        assert_eq!(come_back(&login, &browser, &query).unwrap_err(), expected, "{query}");
    }
    assert!(
        come_back(&login, &browser, &format!("code=c&state={state}&iss=https%3A%2F%2Flogin.test")).is_ok()
    );
}

#[test]
fn no_path_leads_to_another_host() {
    let signer = Signer::p256();
    let login = login(spec(), &signer);
    for path in ["//evil.test/a", "/\\evil.test", "/@evil.test", "/.evil.test"] {
        let mut browser = Browser::default();
        let led = login.begin(&visit(&HeaderMap::new(), path, None), &random(1)).unwrap();
        browser.keep(&led.cookies);
        let query = format!("code=c&state={}", parameter(&led.location, "state"));
        let back = come_back(&login, &browser, &query).unwrap().back;
        assert_eq!(back.0, format!("https://chat.test{path}"));
    }
    for authority in ["chat.test@evil.test", "evil.test/chat.test", "", "chat.test evil.test"] {
        let headers = HeaderMap::new();
        let visit = Visit { authority, ..visit(&headers, "/", None) };
        assert_eq!(login.begin(&visit, &random(1)).unwrap_err(), LoginFault::OtherHost, "{authority}");
    }
    let long = format!("/{}", "a".repeat(2_000));
    let (mut browser, headers) = (Browser::default(), HeaderMap::new());
    let led = login.begin(&visit(&headers, &long, None), &random(1)).unwrap();
    browser.keep(&led.cookies);
    let query = format!("code=c&state={}", parameter(&led.location, "state"));
    assert_eq!(come_back(&login, &browser, &query).unwrap().back.0, "https://chat.test/");
}

#[test]
fn an_id_token_is_the_providers_for_this_client_and_this_login() {
    let (signer, other) = (Signer::p256(), Signer::p256());
    let login = login(spec(), &signer);
    let (_, _, code) = begun(&login);
    let good = claims(&code.nonce);
    let changed = |changes: Value| {
        let mut claims = good.clone();
        claims.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        claims
    };
    let without = |name: &str| {
        let mut claims = good.clone();
        claims.as_object_mut().unwrap().remove(name);
        claims
    };
    let accept = |answer: &[u8]| login.accept(answer, Expecting::Login(&code), at(0)).map(drop);
    assert_eq!(accept(&answer(&signer, &good, &json!({}))), Ok(()));
    for (claims, says) in [
        (changed(json!({"nonce": "another"})), "another login"),
        (without("nonce"), "another login"),
        (changed(json!({"iss": "https://evil.test"})), "another issuer"),
        (changed(json!({"aud": ["other"]})), "another audience"),
        (changed(json!({"aud": ["chat", "other"], "azp": "other"})), "another client"),
        (changed(json!({"azp": 1})), "another client"),
        (changed(json!({"exp": NOW - 120})), "expired"),
        (without("exp"), "does not expire"),
        (changed(json!({"sub": ""})), "does not name"),
        (changed(json!({"sub": ["ann"]})), "does not name"),
    ] {
        let fault = accept(&answer(&signer, &claims, &json!({}))).unwrap_err();
        assert!(fault.text().contains(says), "{claims}: {}", fault.text());
    }
    let fault = accept(&answer(&other, &good, &json!({}))).unwrap_err();
    assert!(fault.text().contains("signature"), "{}", fault.text());
    let none = crate::testing::compact(r#"{"alg":"none"}"#, &good.to_string(), |_| Vec::new());
    // The public key, or the client's secret, taken for a shared secret.
    let shared = crate::testing::compact(r#"{"alg":"HS256","kid":"a"}"#, &good.to_string(), |signed| {
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, b"a-long-secret");
        ring::hmac::sign(&key, signed).as_ref().to_vec()
    });
    for token in [none, shared] {
        let fault = accept(&answer(&signer, &good, &json!({"id_token": token}))).unwrap_err();
        assert!(fault.text().contains("algorithm"), "{}", fault.text());
    }
    let unknown = signer.token_with(&json!({"alg": "ES256", "kid": "b"}), &good);
    let fault = accept(&answer(&signer, &good, &json!({"id_token": unknown}))).unwrap_err();
    assert_eq!((fault, login.provider.asked_again()), (LoginFault::UnknownKey, true));
    for wrong in [&b"{}"[..], b"", b"[]", br#"{"id_token": 1}"#] {
        assert_eq!(accept(wrong), Err(LoginFault::NoIdToken));
    }
    let without_access = json!({"access_token": null});
    assert!(accept(&answer(&signer, &good, &without_access)).is_err(), "upstreams shall be shown it");
}

#[test]
fn a_renewal_makes_nobody_somebody_else() {
    let signer = Signer::p256();
    let login = login(spec(), &signer);
    let (_, _, code) = begun(&login);
    let first = answer(&signer, &claims(&code.nonce), &json!({}));
    let session = login.accept(&first, Expecting::Login(&code), at(0)).unwrap();
    let mut other = claims("whatever");
    other["sub"] = json!("bob");
    let renewed = login.accept(&answer(&signer, &other, &json!({})), Expecting::Renewal(&session), at(60));
    assert_eq!(renewed.unwrap_err(), LoginFault::OtherSubject);
}

#[test]
fn cookies_that_were_made_up_changed_or_meant_for_another_client_are_no_session() {
    let signer = Signer::p256();
    let client = |id: &str| {
        let cookie = SessionCookie { name: Some("session".into()), domain: None, same_site: SameSite::Lax };
        login(Oidc { client_id: id.into(), cookie, ..spec() }, &signer)
    };
    let (own, other) = (client("chat"), client("other"));
    let (mut browser, _, code) = begun(&own);
    let session = answer(&signer, &claims(&code.nonce), &json!({}));
    let session = own.accept(&session, Expecting::Login(&code), at(0)).unwrap();
    browser.keep(&own.kept(&session, &visit(&browser.headers(), "/", None), &random(3)).unwrap());
    let (name, value) = browser.0.last().unwrap().clone();
    assert_eq!(name, "session");
    assert!(matches!(own.seen(&visit(&browser.headers(), "/", None)), Seen::Session(_)));
    assert!(matches!(other.seen(&visit(&browser.headers(), "/", None)), Seen::Nothing));
    let browser_with = |name: &str, value: &str| Browser(vec![(name.to_owned(), value.to_owned())]);
    let mut changed = value.clone().into_bytes();
    changed[100] ^= 1;
    for made_up in [String::from_utf8(changed).unwrap(), "1.AAAA".to_owned(), "9.".to_owned(), String::new()]
    {
        let browser = browser_with(&name, &made_up);
        assert!(matches!(own.seen(&visit(&browser.headers(), "/", None)), Seen::Nothing), "{made_up}");
    }
    let twice = Browser(vec![(name.clone(), value.clone()), (name, value)]);
    assert!(matches!(own.seen(&visit(&twice.headers(), "/", None)), Seen::Several));
}

#[test]
fn a_discovery_of_another_issuer_or_with_addresses_that_are_not_safe_is_none() {
    let keys = br#"{"keys": []}"#;
    let discovery = |changes: Value| {
        let mut discovery = json!({"issuer": ISSUER, "jwks_uri": "https://login.test/keys"});
        discovery.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        discovery.to_string()
    };
    let parse = |changes: Value| Provider::parse(ISSUER, discovery(changes).as_bytes(), keys).map(drop);
    assert!(parse(json!({})).is_ok());
    assert!(parse(json!({"issuer": "https://login.test/"})).is_ok(), "as its tokens may have it");
    for (changes, says) in [
        (json!({"issuer": "https://evil.test"}), "another issuer"),
        (json!({"issuer": null}), "another issuer"),
        (json!({"token_endpoint": "http://login.test/token"}), "token_endpoint"),
        (json!({"authorization_endpoint": 1}), "authorization_endpoint"),
        (json!({"end_session_endpoint": "https://127.0.0.1/"}), "end_session_endpoint"),
    ] {
        let error = parse(changes.clone()).unwrap_err().to_string();
        assert!(error.contains(says), "{changes}: {error}");
    }
    let url = |changes: Value| keys_url(ISSUER, discovery(changes).as_bytes());
    assert_eq!(&*url(json!({})).unwrap(), "https://login.test/keys");
    assert!(url(json!({"jwks_uri": "http://login.test/keys"})).is_err());
    assert!(url(json!({"jwks_uri": null})).is_err());
    assert!(keys_url(ISSUER, b"<html>").is_err());
}
