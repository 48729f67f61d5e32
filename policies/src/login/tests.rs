use std::time::{Duration, UNIX_EPOCH};

use http::header::COOKIE;
use http::uri::{Authority, Scheme};
use penstock_config::{
    ClaimPath, Comparison, OpenIdProvider, RedirectUrl, SameSite, SessionCookie, TextMatch,
};
use serde_json::{Value, json};

use super::*;
use crate::testing::Signer;

mod attacks;

const NOW: u64 = 1_800_000_000;
const ISSUER: &str = "https://login.test";
const HOST: &str = "chat.test";

fn spec() -> Oidc {
    Oidc {
        name: "oidc".into(),
        provider: OpenIdProvider {
            issuer: ISSUER.into(),
            authorization_endpoint: None,
            token_endpoint: None,
            end_session_endpoint: None,
        },
        client_id: "chat".into(),
        client_secret: "secret".into(),
        redirect: RedirectUrl { origin: None, path: "/oauth2/callback".into() },
        logout_path: "/logout".into(),
        scope: "openid email".into(),
        resources: Box::default(),
        cookie: SessionCookie { name: None, domain: None, same_site: SameSite::Lax },
        deny_redirect: Box::default(),
        refreshes: true,
        token_ttl: None,
        refresh_token_ttl: Duration::from_secs(1000),
        login_ttl: Duration::from_secs(600),
        forwards_access_token: true,
        id_token_header: None,
        id_token_cookie: None,
        access_token_cookie: None,
        claim_headers: Box::default(),
        consumer_claim: ClaimPath::parse("sub").unwrap(),
    }
}

fn held<T>(value: T) -> Arc<Held<T>> {
    let held = Held::new();
    held.set(value);
    held
}

fn provider(signer: &Signer, changes: &Value) -> Provider {
    let mut discovery = json!({
        "issuer": ISSUER, "jwks_uri": "https://login.test/keys",
        "authorization_endpoint": "https://login.test/auth?tenant=a",
        "token_endpoint": "https://login.test/token",
    });
    discovery.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    let keys = json!({"keys": [signer.jwk_with(&json!({"kid": "a"}))]}).to_string();
    Provider::parse(ISSUER, discovery.to_string().as_bytes(), keys.as_bytes()).unwrap()
}

fn login(spec: Oidc, signer: &Signer) -> Login {
    let provider = held(provider(signer, &json!({})));
    let secret = held(ClientSecret::parse(b"a-long-secret").unwrap());
    Login::new(Arc::new(spec), provider, secret, Arc::new(ConsumerBook::new(&[])))
}

fn random(seed: u8) -> [u8; RANDOM_BYTES] {
    std::array::from_fn(|at| seed.wrapping_add(u8::try_from(at).unwrap()))
}

/// What a browser does with what it is told to keep.
#[derive(Default, Clone)]
struct Browser(Vec<(String, String)>);

impl Browser {
    fn keep(&mut self, cookies: &[HeaderValue]) {
        for cookie in cookies {
            let (pair, rest) = cookie.to_str().unwrap().split_once(';').unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            self.0.retain(|(known, _)| known != name);
            if !rest.contains("Max-Age=0") {
                self.0.push((name.to_owned(), value.to_owned()));
            }
        }
    }

    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let pairs: Vec<_> = self.0.iter().map(|(name, value)| format!("{name}={value}")).collect();
        if !pairs.is_empty() {
            headers.insert(COOKIE, pairs.join("; ").parse().unwrap());
        }
        headers
    }
}

fn visit_at<'a>(headers: &'a HeaderMap, path: &'a str, query: Option<&'a str>, after: u64) -> Visit<'a> {
    let now = UNIX_EPOCH + Duration::from_secs(NOW + after);
    Visit { headers, is_https: true, authority: HOST, path, query, now }
}

fn visit<'a>(headers: &'a HeaderMap, path: &'a str, query: Option<&'a str>) -> Visit<'a> {
    visit_at(headers, path, query, 0)
}

/// A parameter of an address, as its owner reads it.
fn parameter(address: &HeaderValue, name: &str) -> String {
    let query = address.to_str().unwrap().split_once('?').unwrap().1;
    let mut values = crate::extract::query_values(query, name);
    let value = values.next().unwrap_or_else(|| panic!("{name} in {query}")).into_owned();
    assert!(values.next().is_none(), "{name} is there twice");
    String::from_utf8(value).unwrap()
}

/// A login that came back with a code, and what the browser keeps.
fn begun(login: &Login) -> (Browser, Led, Code) {
    let mut browser = Browser::default();
    let led = login.begin(&visit(&browser.headers(), "/chat", Some("a=1&b=%20")), &random(1)).unwrap();
    browser.keep(&led.cookies);
    let query = format!("code=c0de&state={}", parameter(&led.location, "state"));
    let code = login.come_back(&visit(&browser.headers(), "/oauth2/callback", Some(&query))).unwrap();
    (browser, led, code)
}

fn claims(nonce: &str) -> Value {
    json!({"iss": ISSUER, "aud": "chat", "sub": "ann", "exp": NOW + 300, "nonce": nonce})
}

fn answer(signer: &Signer, claims: &Value, changes: &Value) -> Vec<u8> {
    let token = signer.token_with(&json!({"alg": "ES256", "kid": "a"}), claims);
    let mut answer = json!({
        "id_token": token, "access_token": "acc3ss", "refresh_token": "r1", "token_type": "bearer", "expires_in": 60,
    });
    answer.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    answer.to_string().into_bytes()
}

fn at(after: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(NOW + after)
}

#[test]
fn people_are_led_to_the_provider_and_back_to_where_they_were_going() {
    let signer = Signer::p256();
    let login = login(Oidc { resources: ["https://api.test".into()].into(), ..spec() }, &signer);
    let (browser, led, code) = begun(&login);
    let to = led.location.to_str().unwrap();
    assert!(to.starts_with("https://login.test/auth?tenant=a&response_type=code&client_id=chat&"), "{to}");
    assert_eq!(parameter(&led.location, "redirect_uri"), "https://chat.test/oauth2/callback");
    assert_eq!(parameter(&led.location, "scope"), "openid email");
    assert_eq!(parameter(&led.location, "resource"), "https://api.test");
    assert_eq!(parameter(&led.location, "code_challenge_method"), "S256");
    assert_eq!(code.back.0, "https://chat.test/chat?a=1&b=%20");
    // What the provider is shown is the digest of what it is told later (RFC 7636, 4.6).
    use base64::Engine as _;
    let digest = ring::digest::digest(&ring::digest::SHA256, code.verifier.as_bytes());
    let challenge = base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(digest);
    assert_eq!(parameter(&led.location, "code_challenge"), challenge);
    assert_eq!(parameter(&led.location, "nonce"), code.nonce);
    let ask = login.ask(Expecting::Login(&code)).unwrap();
    assert_eq!(ask.basic, Some(("chat".to_owned(), "a-long-secret".to_owned())));
    assert_eq!(
        ask.fields[..3],
        [
            ("grant_type", "authorization_code".to_owned()),
            ("code", "c0de".to_owned()),
            ("redirect_uri", "https://chat.test/oauth2/callback".to_owned()),
        ]
    );
    assert_eq!(ask.fields[3], ("code_verifier", code.verifier.clone()));
    let cookie = led.cookies[0].to_str().unwrap();
    assert!(cookie.starts_with("__Host-penstock-login-"), "{cookie}");
    assert!(
        cookie.contains("; Path=/; HttpOnly; SameSite=Lax; Max-Age=600; Secure")
            && !cookie.contains("Domain")
    );
    // Another page that is opened at once does not end this login.
    let other = login.begin(&visit(&browser.headers(), "/other", None), &random(9)).unwrap();
    let mut both = browser;
    both.keep(&other.cookies);
    for (led, back) in [(&led, "https://chat.test/chat?a=1&b=%20"), (&other, "https://chat.test/other")] {
        let query = format!("code=c&state={}", parameter(&led.location, "state"));
        let code = login.come_back(&visit(&both.headers(), "/oauth2/callback", Some(&query))).unwrap();
        assert_eq!(code.back.0, back);
    }
}

#[test]
fn a_session_tells_who_it_is_until_it_has_run_out_and_can_be_renewed_for_a_while() {
    let signer = Signer::p256();
    let claims_of = |path: &str| (HeaderName::from_static("x-mail"), ClaimPath::parse(path).unwrap());
    let login = login(Oidc { claim_headers: [claims_of("email")].into(), ..spec() }, &signer);
    let (mut browser, _, code) = begun(&login);
    let mut said = claims(&code.nonce);
    said["email"] = json!("ann@chat.test");
    let session = login.accept(&answer(&signer, &said, &json!({})), Expecting::Login(&code), at(0)).unwrap();
    let kept = login.kept(&session, &visit(&browser.headers(), "/", None), &random(2)).unwrap();
    let cookie = kept[0].to_str().unwrap();
    assert!(cookie.contains("Max-Age=1000; Secure") && kept[0].is_sensitive(), "{cookie}");
    assert!(!cookie.contains("acc3ss") && !cookie.contains("r1."));
    browser.keep(&kept);
    let headers = browser.headers();
    let Seen::Session(seen) = login.seen(&visit_at(&headers, "/", None, 59)) else { panic!() };
    let identified = login.identify(&seen).unwrap();
    assert_eq!(&*identified.identity.consumer.name, "ann");
    assert_eq!(identified.identity.by, crate::By::Oidc { provider: "oidc".into() });
    assert_eq!(identified.identity.claims.unwrap()["email"], "ann@chat.test");
    let told: Vec<_> = identified.edits.set.iter().map(|(name, value)| (name.as_str(), value)).collect();
    assert_eq!(told.len(), 2);
    assert_eq!((told[0].0, told[1].0), ("x-mail", "authorization"));
    assert_eq!(
        (told[0].1, told[1].1),
        (&"ann@chat.test".parse().unwrap(), &"Bearer acc3ss".parse().unwrap())
    );
    let Seen::Old(old) = login.seen(&visit_at(&headers, "/", None, 60)) else { panic!() };
    let ask = login.ask(Expecting::Renewal(&old)).unwrap();
    assert_eq!(ask.fields[1], ("refresh_token", "r1".to_owned()));
    let renewed = json!({"access_token": "new", "expires_in": "50"}).to_string();
    let renewed = login.accept(renewed.as_bytes(), Expecting::Renewal(&old), at(60)).unwrap();
    assert_eq!((&*renewed.id_token, renewed.refresh_token()), (&*old.id_token, Some("r1")));
    assert_eq!((renewed.expires, renewed.access_token.as_deref()), (NOW + 110, Some("new")));
    assert!(matches!(login.seen(&visit_at(&headers, "/", None, 1000)), Seen::Nothing));
}

#[test]
fn a_session_that_is_too_long_for_one_cookie_is_kept_in_several_and_one_that_is_too_long_in_none() {
    let signer = Signer::p256();
    let login = login(spec(), &signer);
    let (mut browser, _, code) = begun(&login);
    let session = |length: usize| {
        let long = json!({"access_token": "a".repeat(length)});
        let answer = answer(&signer, &claims(&code.nonce), &long);
        login.accept(&answer, Expecting::Login(&code), at(0)).unwrap()
    };
    for (length, cookies) in [(10, 1), (4_000, 2), (9_000, 4), (100, 1)] {
        let kept = login.kept(&session(length), &visit(&browser.headers(), "/", None), &random(3)).unwrap();
        assert!(kept.iter().all(|cookie| cookie.len() <= 4_096));
        browser.keep(&kept);
        let of_session = browser.0.iter().filter(|(name, _)| name.contains("session")).count();
        assert_eq!(of_session, cookies, "{length}");
        let headers = browser.headers();
        let Seen::Session(seen) = login.seen(&visit(&headers, "/", None)) else { panic!("{length}") };
        assert_eq!(seen.access_token.unwrap().len(), length);
        // One of them alone is nothing.
        let mut lacking = browser.clone();
        lacking.0.retain(|(name, _)| !name.ends_with("-1"));
        let seen = login.seen(&visit(&lacking.headers(), "/", None));
        assert_eq!(matches!(seen, Seen::Nothing), cookies > 1, "{length}");
    }
    let headers = browser.headers();
    let kept = login.kept(&session(13_000), &visit(&headers, "/", None), &random(3));
    assert_eq!(kept.unwrap_err(), LoginFault::TooLarge);
}

#[test]
fn people_who_leave_are_forgotten_and_led_to_the_provider_where_it_has_a_place_for_that() {
    let signer = Signer::p256();
    for (endpoint, expected) in [
        (None, "https://chat.test/"),
        (
            Some("https://login.test/out"),
            "https://login.test/out?client_id=chat&post_logout_redirect_uri=https%3A%2F%2Fchat.test%2F",
        ),
    ] {
        let mut spec = spec();
        spec.provider.end_session_endpoint = endpoint.map(Into::into);
        let login = login(spec, &signer);
        let (mut browser, _, code) = begun(&login);
        let led = login.leave(&visit(&browser.headers(), "/logout", None)).unwrap();
        assert_eq!(led.location, expected);
        let session = answer(&signer, &claims(&code.nonce), &json!({}));
        let session = login.accept(&session, Expecting::Login(&code), at(0)).unwrap();
        browser.keep(&login.kept(&session, &visit(&browser.headers(), "/", None), &random(3)).unwrap());
        let led = login.leave(&visit(&browser.headers(), "/logout", None)).unwrap();
        assert_eq!(led.location.to_str().unwrap().contains("id_token_hint="), endpoint.is_some());
        browser.keep(&led.cookies);
        assert!(browser.0.is_empty());
    }
}

#[test]
fn where_a_login_leads_back_to_is_fixed_or_at_the_host_that_people_came_to() {
    let signer = Signer::p256();
    let fixed = |host: &'static str| Some((Scheme::HTTPS, Authority::from_static(host)));
    for (origin, domain, expected) in [
        (None, None, Ok("https://chat.test/oauth2/callback")),
        (fixed("chat.test:8443"), None, Ok("https://chat.test:8443/oauth2/callback")),
        (fixed("auth.test"), None, Err(LoginFault::OtherHost)),
        (fixed("auth.test"), Some("test"), Ok("https://auth.test/oauth2/callback")),
        (None, Some("other.test"), Err(LoginFault::OtherHost)),
    ] {
        let mut spec = spec();
        (spec.redirect.origin, spec.cookie.domain) = (origin, domain.map(Into::into));
        let login = login(spec, &signer);
        let led = login.begin(&visit(&HeaderMap::new(), "/", None), &random(1));
        let found = led.map(|led| parameter(&led.location, "redirect_uri"));
        assert_eq!(found.as_deref().map_err(|fault| *fault), expected);
    }
}

#[test]
fn requests_with_certain_headers_are_not_led_anywhere() {
    let value = Some(Comparison::Exact("application/json".into()));
    let name = http::header::ACCEPT;
    let deny_redirect = [TextMatch { name, value, is_inverted: false }].into();
    let login = login(Oidc { deny_redirect, ..spec() }, &Signer::p256());
    let mut headers = HeaderMap::new();
    headers.insert("accept", "text/html".parse().unwrap());
    assert!(!login.is_denied_redirect(&headers));
    headers.append("accept", "application/json".parse().unwrap());
    assert!(login.is_denied_redirect(&headers));
}
