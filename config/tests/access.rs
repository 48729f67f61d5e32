//! What consumers and policies of a document become.

use std::time::Duration;

use http::header::COOKIE;
use http::{HeaderName, Method, StatusCode};
use penstock_config::{
    Access, AccessRule, ApiKeys, Authentication, BackendIndex, Basic, Cidr, ClaimMatch, ClaimPath,
    Expression, External, ExternalPath, ExternalProtocol, Extract, JwtProvider, KeyDigest, KeySetSource,
    ModelNames, NoProfileCheck, PolicyIndex, Snapshot,
};

const HEAD: &str = "apiVersion: penstock.dev/v1alpha1\nkind: RoutingConfig\nsecretsFrom: s\n";
const LISTENER: &str = "listeners: [{name: http, address: '127.0.0.1:8080'}]\n";
const A_PROVIDER: &str = "- {name: tokens, authentication: {jwt: {providers: [{name: idp, keysFile: f}]}}}\n";

/// A digest of which every byte is `byte`.
fn digest(byte: u8) -> String {
    KeyDigest([byte; 32]).to_string()
}

#[track_caller]
fn sound(text: &str) -> Snapshot {
    Snapshot::compile(text, &NoProfileCheck).unwrap_or_else(|faults| panic!("{faults}"))
}

fn in_header(name: &'static str, prefix: &str) -> Extract {
    Extract::Header { name: HeaderName::from_static(name), prefix: prefix.into() }
}

fn claim(text: &str) -> ClaimPath {
    ClaimPath::parse(text).expect("a claim")
}

#[test]
fn listeners_and_rules_have_the_policies_that_they_name_in_that_order() {
    let snapshot = sound(&format!(
        "{HEAD}listeners: [{{name: a, address: '127.0.0.1:1', policies: [second, first]}}, {{name: b, address: '127.0.0.1:2'}}]\n\
         pools: [{{name: p}}]\n\
         routes: [{{name: r, rules: [{{targets: [{{pool: p}}]}}, {{redirect: {{}}, policies: [second]}}]}}]\n\
         policies: [{{name: first, authorization: {{}}}}, {{name: second, authorization: {{defaultAction: Allow}}}}]\n"
    ));
    assert_eq!(*snapshot.listeners[0].policies, [PolicyIndex(1), PolicyIndex(0)]);
    assert_eq!(*snapshot.rules()[1].policies, [PolicyIndex(1)]);
    assert!(snapshot.listeners[1].policies.is_empty() && snapshot.rules()[0].policies.is_empty());
    let default_actions: Vec<_> = snapshot
        .policies
        .iter()
        .map(|policy| (&*policy.name, policy.authorization.as_ref().map(|rules| rules.default_action)))
        .collect();
    assert_eq!(default_actions, [("first", Some(Access::Deny)), ("second", Some(Access::Allow))]);
}

#[test]
fn servers_that_are_asked_are_backends_and_have_envoys_defaults() {
    let snapshot = sound(&format!(
        "{HEAD}{LISTENER}backends:\n- {{name: other, endpoints: [{{host: a.test, port: 1}}]}}\n\
         - {{name: auth, endpoints: [{{host: a.test, port: 1}}], protocol: h2c}}\n\
         policies:\n- {{name: a, external: {{grpc: {{backend: auth}}}}}}\n\
         - {{name: b, external: {{http: {{backend: other, path: /check/, headersToUpstream: [X-User]}}, failOpen: true, \
         timeout: 250ms, statusOnError: 503, headersToAuth: [cookie], body: {{maxBytes: 8KiB}}}}}}\n\
         - {{name: c, external: {{http: {{backend: other, pathOverride: /decide}}}}}}\n"
    ));
    let external = |at: usize| snapshot.policies[at].external.clone().expect("a server");
    let of_envoy = External {
        protocol: ExternalProtocol::Grpc,
        backend: BackendIndex(1),
        timeout: Duration::from_secs(10),
        is_open_on_error: false,
        status_on_error: StatusCode::FORBIDDEN,
        headers: None,
        max_body_bytes: None,
        context_extensions: [].into(),
        concurrency: 1024,
    };
    assert_eq!(external(0), of_envoy);
    let user = HeaderName::from_static("x-user");
    let http = external(1);
    assert_eq!(
        http.protocol,
        ExternalProtocol::Http {
            path: ExternalPath::Behind("/check".into()),
            headers_to_upstream: [user].into()
        }
    );
    assert_eq!((http.backend, http.timeout), (BackendIndex(0), Duration::from_millis(250)));
    assert_eq!((http.is_open_on_error, http.status_on_error.as_u16()), (true, 503));
    assert_eq!((http.headers.as_deref(), http.max_body_bytes), (Some(&[COOKIE][..]), Some(8192)));
    let ExternalProtocol::Http { path: ExternalPath::Fixed(path), .. } = external(2).protocol else {
        panic!("not asked at one path");
    };
    assert_eq!(path, "/decide");
}

#[test]
fn consumers_have_keys_tags_and_models() {
    let snapshot = sound(&format!(
        "{HEAD}{LISTENER}consumers:\n\
         - {{name: 'Ann (search) <ann@example.com>', keys: ['{}', '{}'], tags: {{team: search}}, models: [gpt-4o, llama-*, '*']}}\n\
         - {{name: 'auth0|1', models: []}}\n- {{name: c}}\n",
        digest(1),
        digest(0xab).to_uppercase().replace("SHA", "sha"),
    ));
    let [ann, nothing, everything] = &snapshot.consumers[..] else { panic!("{:?}", snapshot.consumers) };
    assert_eq!(&*ann.name, "Ann (search) <ann@example.com>");
    assert_eq!(*ann.keys, [KeyDigest([1; 32]), KeyDigest([0xab; 32])]);
    assert_eq!(ann.tags.get("team").map(|team| &**team), Some("search"));
    assert_eq!(ann.models, Some(ModelNames::new(["gpt-4o", "llama-*", "*"])));
    assert_eq!((&nothing.models, &everything.models), (&Some(ModelNames::default()), &None));
}

/// How clients say who they are by a policy with these ways, and the snapshot that has it.
fn authentication(ways: &str) -> (Authentication, Snapshot) {
    let body = format!("policies: [{{name: p, authentication: {{{ways}}}}}]\n");
    let snapshot = sound(&format!("{HEAD}{LISTENER}{body}"));
    (snapshot.policies[0].authentication.clone().expect("it authenticates"), snapshot)
}

#[test]
fn keys_and_passwords_that_say_everything() {
    let (found, snapshot) = authentication(
        "optional: true, apiKey: {file: 'secret:keys', consumerHeader: X-Consumer, forward: true, extractFrom: \
         [{header: X-Key, prefix: 'Key '}, {query: key}, {cookie: key}]}, \
         basic: {file: users, userHeader: x-user, forward: true}",
    );
    let extract_from =
        [in_header("x-key", "Key "), Extract::Query("key".into()), Extract::Cookie("key".into())].into();
    let api_key = ApiKeys {
        extract_from,
        file: Some("s/keys".into()),
        consumer_header: Some(HeaderName::from_static("x-consumer")),
        is_forwarded: true,
    };
    let user_header = Some(HeaderName::from_static("x-user"));
    let basic = Basic { file: "users".into(), user_header, is_forwarded: true };
    let all = Authentication {
        is_optional: true,
        api_key: Some(api_key),
        basic: Some(basic),
        jwt: None,
        oidc: None,
    };
    assert_eq!(found, all);
    let [used] = &snapshot.secret_uses[..] else { panic!("{:?}", snapshot.secret_uses) };
    assert_eq!((&*used.place, &*used.key), ("policies[0].authentication.apiKey.file", "keys"));
}

#[test]
fn identity_providers_that_say_everything_and_little() {
    let (found, _) = authentication(
        "jwt: {providers: [{name: remote, keysUrl: 'https://id.test/keys?p=b2c', cacheDuration: 1m, \
         issuer: 'https://id.test', audiences: [a, b], extractFrom: [{cookie: token}], \
         claimHeaders: [{header: X-Team, claim: realm.team}], consumerClaim: azp, forward: true}, \
         {name: local, keysFile: 'secret:jwks'}]}",
    );
    let cache_duration = Duration::from_secs(60);
    let remote = JwtProvider {
        name: "remote".into(),
        issuer: Some("https://id.test".into()),
        audiences: ["a".into(), "b".into()].into(),
        keys: KeySetSource::Url { url: "https://id.test/keys?p=b2c".into(), cache_duration },
        extract_from: [Extract::Cookie("token".into())].into(),
        claim_headers: [(HeaderName::from_static("x-team"), claim("realm.team"))].into(),
        consumer_claim: claim("azp"),
        is_forwarded: true,
    };
    let local = JwtProvider {
        name: "local".into(),
        issuer: None,
        audiences: [].into(),
        keys: KeySetSource::File("s/jwks".into()),
        extract_from: [in_header("authorization", "Bearer "), Extract::Query("access_token".into())].into(),
        claim_headers: [].into(),
        consumer_claim: claim("sub"),
        is_forwarded: false,
    };
    let jwt = Some([remote, local].into());
    assert_eq!(found, Authentication { is_optional: false, api_key: None, basic: None, jwt, oidc: None });
}

#[test]
fn ways_to_authenticate_that_say_nothing() {
    let snapshot = sound(&format!(
        "{HEAD}{LISTENER}consumers: [{{name: a, keys: ['{}']}}]\npolicies:\n- {{name: keys, authentication: {{apiKey: {{}}}}}}\n\
         - {{name: tokens, authentication: {{jwt: {{providers: [{{name: i, keysUrl: 'http://h'}}]}}}}}}\n",
        digest(1)
    ));
    let ways = |index: usize| snapshot.policies[index].authentication.clone().expect("it authenticates");
    let keys = ApiKeys {
        extract_from: [
            in_header("authorization", "Bearer "),
            in_header("x-api-key", ""),
            in_header("api-key", ""),
            in_header("x-goog-api-key", ""),
        ]
        .into(),
        file: None,
        consumer_header: None,
        is_forwarded: false,
    };
    let only_keys =
        Authentication { is_optional: false, api_key: Some(keys), basic: None, jwt: None, oidc: None };
    assert_eq!(ways(0), only_keys);
    let provider = &ways(1).jwt.expect("it has a provider")[0];
    let cache_duration = Duration::from_secs(300);
    assert_eq!(provider.keys, KeySetSource::Url { url: "http://h".into(), cache_duration });
}

#[test]
fn rules_of_authorization() {
    let snapshot = sound(&format!(
        "{HEAD}{LISTENER}consumers: [{{name: ann, tags: {{team: search}}}}]\npolicies:\n{A_PROVIDER}- name: p\n  authorization:\n\
         \x20   defaultAction: Allow\n    rules:\n\
         \x20   - {{name: All of it, action: Allow, methods: [GET, POST], models: [gpt-4o, text-*], addresses: [10.0.0.0/8], \
         consumers: [ann], tags: {{team: [search, ads]}}, provider: idp, scopes: [read], headers: [{{name: X-A, values: [b, c]}}], \
         claims: [{{name: realm.roles, type: StringArray, values: [admin]}}, {{name: sub, values: [x]}}], \
         paths: [{{value: /v1}}], cel: \"tags.team == 'search'\"}}\n\
         \x20   - {{action: Deny, headers: [{{name: X-AI-EG-Model, values: [m]}}]}}\n"
    ));
    let authorization = snapshot.policies[1].authorization.as_ref().expect("it authorizes");
    let all = AccessRule {
        name: "All of it".into(),
        action: Access::Allow,
        methods: [Method::GET, Method::POST].into(),
        models: Some(ModelNames::new(["gpt-4o", "text-*"])),
        addresses: [Cidr::parse("10.0.0.0/8").expect("a range")].into(),
        consumers: ["ann".into()].into(),
        tags: [("team".into(), ["search".into(), "ads".into()].into())].into(),
        provider: Some("idp".into()),
        claims: [
            ClaimMatch { path: claim("realm.roles"), is_list: true, values: ["admin".into()].into() },
            ClaimMatch { path: claim("sub"), is_list: false, values: ["x".into()].into() },
        ]
        .into(),
        scopes: ["read".into()].into(),
        headers: [(HeaderName::from_static("x-a"), ["b".into(), "c".into()].into())].into(),
        paths: authorization.rules[0].paths.clone(),
        cel: Some(Expression::parse("tags.team == 'search'").expect("an expression")),
    };
    let is_met = |path: &str| authorization.rules[0].paths.iter().any(|test| test.is_met(path, path));
    assert!(is_met("/v1/models") && !is_met("/v2"));
    assert_eq!(authorization.default_action, Access::Allow);
    assert_eq!(authorization.rules[0], all);
    let second = &authorization.rules[1];
    assert_eq!((&*second.name, second.action, second.headers.len()), ("1", Access::Deny, 0));
    assert_eq!(second.models, Some(ModelNames::new(["m"])), "the header stands for the body's model");
}

#[test]
fn the_dump_has_neither_digests_nor_what_headers_with_credentials_have_to_be() {
    let snapshot = sound(&format!(
        "{HEAD}{LISTENER}consumers: [{{name: a, keys: ['{}'], tags: {{team: search}}}}]\n\
         policies: [{{name: p, authorization: {{rules: [{{action: Allow, headers: [{{name: x-token, values: [hush]}}, {{name: x-a, values: \
         [plain]}}], cel: \"headers['x-api-key'] == 'quiet'\"}}, {{action: Deny, cel: \"path == '/seen'\"}}]}}}}]\n",
        digest(0xab)
    ));
    let dump = snapshot.redacted();
    assert_eq!(dump["consumers"][0]["keys"][0], "<redacted>");
    assert_eq!(dump["consumers"][0]["tags"]["team"], "search");
    assert_eq!(dump["policies"][0]["authorization"]["defaultAction"], "Deny");
    let text = dump.to_string();
    assert!(
        !text.contains("abab")
            && !text.contains("hush")
            && !text.contains("quiet")
            && text.contains("plain")
            && text.contains("seen"),
        "{text}"
    );
    assert!(!format!("{:?}", snapshot.consumers).contains("abab"));
}

#[test]
fn models_of_rules_with_policies_are_not_listed() {
    let text = format!(
        "{HEAD}listeners: [{{name: one, address: '127.0.0.1:8080', policies: [nobody]}}, \
         {{name: two, address: '127.0.0.1:8081'}}]\n\
         policies: [{{name: nobody, authorization: {{}}}}]\n\
         backends: [{{name: b, endpoints: [{{host: h, port: 80}}]}}]\n\
         routes:\n\
         - {{name: open, listeners: [one, two], rules: [{{models: [open], targets: [{{backend: b}}]}}]}}\n\
         - {{name: of-one, listeners: [one], rules: [{{models: [both], targets: [{{backend: b}}]}}]}}\n\
         - {{name: of-two, listeners: [two], rules: [{{models: [both], policies: [nobody], targets: [{{backend: b}}]}}]}}\n"
    );
    let snapshot = sound(&text);
    let listed = |listener: usize| {
        let models = snapshot.models(penstock_config::ListenerIndex(listener), "h");
        models.iter().map(|model| model.id.to_string()).collect::<Vec<_>>()
    };
    assert_eq!((listed(0), listed(1)), (vec!["open".to_owned(), "both".to_owned()], vec!["open".to_owned()]));
}

#[test]
fn people_who_log_in() {
    let snapshot = sound(&format!(
        "{HEAD}{LISTENER}policies:\n- name: chat\n  authentication:\n    oidc:\n      issuer: https://login.test/realm/\n      \
         clientId: c\n      clientSecret: secret:c\n      redirectUrl: https://Chat.test:8443/back\n      \
         scopes: [email, openid]\n      cookieDomain: Test\n      sameSite: Strict\n      tokenTtl: 5m\n      refresh: false\n\
         - name: plain\n  authentication: {{oidc: {{issuer: 'http://h', clientId: c, clientSecret: f}}}}\n\
         - name: rules\n  authorization: {{rules: [{{action: Allow, provider: oidc}}]}}\n"
    ));
    let oidc = |index: usize| {
        let ways = snapshot.policies[index].authentication.as_ref().expect("it authenticates");
        ways.oidc.clone().expect("people log in")
    };
    let (chat, plain) = (oidc(0), oidc(1));
    assert_eq!((&*chat.provider.issuer, &*chat.scope), ("https://login.test/realm", "openid email"));
    assert_eq!(chat.client_secret, std::path::Path::new("s/c"));
    let origin = chat.redirect.origin.as_ref().expect("it is fixed");
    assert_eq!(
        (origin.0.as_str(), origin.1.as_str(), &*chat.redirect.path),
        ("https", "Chat.test:8443", "/back")
    );
    assert_eq!(chat.cookie.domain.as_deref(), Some("test"));
    assert_eq!((chat.refreshes, chat.token_ttl), (false, Some(Duration::from_secs(300))));
    assert_eq!((plain.redirect.origin.as_ref(), &*plain.redirect.path), (None, "/oauth2/callback"));
    assert_eq!((&*plain.logout_path, &*plain.scope, plain.refreshes), ("/logout", "openid", true));
    assert_eq!((plain.login_ttl, plain.refresh_token_ttl.as_secs()), (Duration::from_secs(600), 604_800));
    assert!(!plain.forwards_access_token && plain.cookie.name.is_none());
}
