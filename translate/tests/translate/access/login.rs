//! People who log in at an OpenID provider.

use penstock_config::Span;
use penstock_config::raw::{RawOidc, RawSameSite, RawTextMatchType};
use penstock_translate::world::Kind;
use penstock_translate::{DataSource, Translation};

use super::{A, GW, TOKENS, accepted, asked, gateway, policies, policy, scene};

const SECRET: &str = "
apiVersion: v1
kind: Secret
metadata: {name: client, namespace: ns}
stringData: {client-secret: hush-hush, client-id: chat}
---
";

/// What every policy here has.
const CLIENT: &str =
    "provider: {issuer: 'https://login.example'}, clientID: chat, clientSecret: {name: client}";

fn scene_of(oidc: &str, others: &str) -> Translation {
    scene(&format!("{SECRET}{}", policy("p", GW, &format!("oidc: {{{oidc}}}{others}"))))
}

fn client(translation: &Translation) -> RawOidc {
    policies(translation)["ns.p"].authentication.clone().unwrap().oidc.unwrap()
}

#[test]
fn what_a_policy_says_of_a_login_is_in_the_document_and_its_secret_is_not() {
    let translation = scene_of(CLIENT, "");
    assert_eq!(accepted(&translation, "p"), (true, "Accepted", "the policy is in force"));
    let raw = client(&translation);
    let file = raw.client_secret.strip_prefix("secret:").unwrap();
    let DataSource::Object { object, key } = &gateway(&translation).secrets[file] else {
        panic!("it is made")
    };
    assert_eq!((object.kind, &*object.key.name, &**key), (Kind::Secret, "client", "client-secret"));
    let expected = RawOidc {
        issuer: "https://login.example".to_owned(),
        client_id: "chat".to_owned(),
        client_secret: raw.client_secret.clone(),
        ..RawOidc::default()
    };
    assert_eq!(raw, expected, "defaults are Envoy Gateway's");
    assert!(!format!("{translation:?}").contains("hush-hush"));
    let all = "provider: {issuer: 'https://login.example/', authorizationEndpoint: 'https://login.example/a', \
               tokenEndpoint: 'https://login.example/t', endSessionEndpoint: 'https://login.example/e'}, \
               clientIDRef: {name: client}, clientSecret: {name: client}, \
               cookieNames: {accessToken: at, idToken: it}, cookieConfig: {sameSite: Strict}, cookieDomain: example.com, \
               scopes: [email, email, openid], resources: ['https://api.example'], \
               redirectURL: 'https://chat.example.com/back', logoutPath: /out, forwardAccessToken: true, \
               forwardIDToken: {header: x-id}, defaultTokenTTL: 5m, refreshToken: false, \
               defaultRefreshTokenTTL: 24h, csrfTokenTTL: 2m, \
               denyRedirect: {headers: [{name: accept, value: a/b}, {name: x, type: Prefix, value: a.b}, \
               {name: x, type: Suffix, value: c}, {name: x, type: RegularExpression, value: 'd+'}]}";
    let raw = client(&scene_of(all, ""));
    assert_eq!(raw.authorization_endpoint.as_deref(), Some("https://login.example/a"));
    assert_eq!(raw.token_endpoint.as_deref(), Some("https://login.example/t"));
    assert_eq!(raw.end_session_endpoint.as_deref(), Some("https://login.example/e"));
    assert_eq!(
        (&*raw.client_id, &*raw.redirect_url, &*raw.logout_path),
        ("chat", "https://chat.example.com/back", "/out")
    );
    assert_eq!(
        (raw.access_token_cookie.as_deref(), raw.id_token_cookie.as_deref()),
        (Some("at"), Some("it"))
    );
    assert_eq!((raw.same_site, raw.cookie_domain.as_deref()), (RawSameSite::Strict, Some("example.com")));
    assert_eq!(
        (raw.scopes, raw.resources),
        (vec!["email".to_owned(), "openid".to_owned()], vec!["https://api.example".to_owned()])
    );
    assert_eq!(
        (raw.forward_access_token, raw.id_token_header.as_deref(), raw.refresh),
        (true, Some("x-id"), false)
    );
    assert_eq!(raw.token_ttl, Some(Span::secs(300)));
    assert_eq!((raw.refresh_token_ttl, raw.login_ttl), (Span::secs(86_400), Span::secs(120)));
    let denied: Vec<_> =
        raw.deny_redirect.iter().map(|one| (one.kind, one.value.as_deref().unwrap())).collect();
    let regex = RawTextMatchType::RegularExpression;
    assert_eq!(
        denied,
        [(RawTextMatchType::Exact, "a/b"), (regex, "(?s)a\\.b.*"), (regex, "(?s).*c"), (regex, "d+")]
    );
}

#[test]
fn envoys_variables_stand_for_the_host_that_people_came_to() {
    for (written, expected) in [
        ("%REQ(x-forwarded-proto)%://%REQ(:authority)%/oauth2/callback", "/oauth2/callback"),
        ("%REQ(:scheme)%://%REQ(:authority)%/a", "/a"),
        ("https://chat.example.com:8443/a", "https://chat.example.com:8443/a"),
    ] {
        let raw = client(&scene_of(&format!("{CLIENT}, redirectURL: '{written}'"), ""));
        assert_eq!(raw.redirect_url, expected);
    }
}

/// The one stands in for a session, and is asked for behind it all the same.
#[test]
fn a_token_passes_a_login_where_the_policy_says_so_and_is_verified_twice() {
    let through = format!("{CLIENT}, passThroughAuthHeader: true");
    let translation = scene_of(&through, &format!(", {TOKENS}, authorization: {{defaultAction: Allow}}"));
    let policies = policies(&translation);
    assert_eq!(asked(&translation)["one"], "ns.p.oidc ns.p.jwt");
    let (login, tokens) = (&policies["ns.p.oidc"], &policies["ns.p.jwt"]);
    let ways = |policy: &penstock_config::raw::RawPolicy| policy.authentication.clone().unwrap();
    assert_eq!(ways(login).jwt, ways(tokens).jwt);
    assert!(ways(login).oidc.is_some() && ways(tokens).oidc.is_none());
    assert!(login.authorization.is_none() && tokens.authorization.is_some());
    let translation = scene_of(CLIENT, &format!(", {TOKENS}"));
    assert!(ways(self::policies(&translation)["ns.p.oidc"]).jwt.is_none());
}

#[test]
fn what_cannot_be_closes_and_says_where() {
    for (oidc, part) in [
        ("clientID: chat, clientSecret: {name: client}", "spec.oidc.provider.issuer is missing"),
        (
            "provider: {issuer: 'https://127.0.0.1'}, clientID: chat, clientSecret: {name: client}",
            "spec.oidc.provider.issuer \"https://127.0.0.1\" is the gateway itself",
        ),
        (
            "provider: {issuer: 'https://u:p@a.example'}, clientID: chat, clientSecret: {name: client}",
            "spec.oidc.provider.issuer has a user's name",
        ),
        ("provider: {issuer: 'https://a.example'}, clientSecret: {name: client}", "clientID and clientIDRef"),
        (&format!("{CLIENT}, clientIDRef: {{name: client}}"), "both of clientID and clientIDRef"),
        ("provider: {issuer: 'https://a.example'}, clientID: chat", "spec.oidc.clientSecret is missing"),
        (
            "provider: {issuer: 'https://a.example'}, clientID: chat, clientSecret: {name: keys}",
            "the Secret ns/keys has no key client-secret",
        ),
        (
            "provider: {issuer: 'https://a.example'}, clientIDRef: {name: none}, clientSecret: {name: client}",
            "the Secret ns/none does not exist",
        ),
        (
            "provider: {issuer: 'https://a.example'}, clientID: chat, clientSecret: {name: client, namespace: other}",
            "spec.oidc.clientSecret",
        ),
        (&format!("{CLIENT}, redirectURL: 'https://%REQ(host)%/a'"), "spec.oidc.redirectURL"),
        (&format!("{CLIENT}, redirectURL: '/a'"), "has no scheme"),
        (&format!("{CLIENT}, redirectURL: 'https://a.example'"), "spec.oidc: "),
        (&format!("{CLIENT}, cookieConfig: {{sameSite: Odd}}"), "spec.oidc.cookieConfig.sameSite"),
        (&format!("{CLIENT}, csrfTokenTTL: soon"), "spec.oidc.csrfTokenTTL"),
        (&format!("{CLIENT}, passThroughAuthHeader: true"), "needs jwt"),
        (
            &format!("{CLIENT}, denyRedirect: {{headers: [{{name: a, type: Odd, value: b}}]}}"),
            "headers[0].type",
        ),
    ] {
        let translation = scene_of(oidc, "");
        assert!(asked(&translation).values().all(|it| it == "closed"), "{oidc}");
        let (is_accepted, reason, message) = accepted(&translation, "p");
        assert_eq!((is_accepted, reason), (false, "Invalid"), "{oidc}");
        assert!(message.contains(part), "{oidc}: {message}");
    }
    let (is_accepted, _, message) = {
        let translation = scene_of(&format!("{CLIENT}, disableTokenEncryption: true"), "");
        let (is_accepted, reason, message) = accepted(&translation, "p");
        (is_accepted, reason.to_owned(), message.to_owned())
    };
    assert!(is_accepted && message.contains("spec.oidc.disableTokenEncryption"), "{message}");
}

#[test]
fn a_routes_policy_says_the_rest_beside_a_gateways() {
    let parent = policy("g", GW, &format!("oidc: {{{CLIENT}, scopes: [email], logoutPath: /out}}"));
    let own = policy("r", &format!("{A}, mergeType: StrategicMerge"), "oidc: {scopes: [groups]}");
    let translation = scene(&format!("{SECRET}{parent}{own}"));
    let merged = policies(&translation)["ns.r.over.ns.g"].authentication.clone().unwrap().oidc.unwrap();
    assert_eq!(
        (merged.scopes, &*merged.logout_path, &*merged.client_id),
        (vec!["groups".to_owned()], "/out", "chat")
    );
}
