//! What of a policy becomes what in a document.

use penstock_config::raw::{RawAccess, RawClaimType, RawExtract, RawMethod, RawPathMatch, RawPathMatchType};
use penstock_config::{Cidr, Span};
use penstock_translate::CLOSED;
use penstock_translate::translate;
use penstock_translate::world::Kind;

use super::{A, AI, GW, KEYS, TOKENS, USERS, accepted, asked, cluster, gateway, policies, policy, scene};
use crate::support::{condition, document, options};

/// A file of the data plane's Secret, as a document names it.
fn file(manifests: &str, name: &str) -> String {
    let world = cluster(manifests);
    let translation = translate(&world, &options());
    let source = &gateway(&translation).secrets[name.strip_prefix("secret:").unwrap()];
    String::from_utf8(source.value(&world).unwrap().to_vec()).unwrap()
}

/// A policy for everything whose apiKeyAuth, basicAuth or jwt is this.
fn of_gateway(spec: &str) -> String {
    policy("p", GW, spec)
}

#[test]
fn each_way_is_asked_in_envoys_order_and_then_who_may_what() {
    let rules = "authorization: {defaultAction: Allow}";
    let translation = scene(&of_gateway(&format!("{rules}, {TOKENS}, {USERS}, {KEYS}")));
    let listeners = &super::document(&translation).listeners;
    assert!(listeners.iter().all(|it| it.policies == ["ns.p.api-key", "ns.p.basic", "ns.p.jwt"]));
    let policies = policies(&translation);
    let way = |name: &str| policies[name].authentication.clone().unwrap();
    assert!(way("ns.p.api-key").basic.is_none() && way("ns.p.api-key").api_key.is_some());
    let (basic, jwt) = (way("ns.p.basic").basic.unwrap(), way("ns.p.jwt").jwt.unwrap());
    assert!(basic.forward && jwt.providers[0].forward, "as with Envoy Gateway");
    let authorization = |name: &str| policies[name].authorization.clone();
    assert_eq!((authorization("ns.p.api-key"), authorization("ns.p.basic")), (None, None));
    assert_eq!(authorization("ns.p.jwt").unwrap().default_action, RawAccess::Allow);
    assert_eq!(accepted(&translation, "p"), (true, "Accepted", "the policy is in force"));
}

#[test]
fn keys_become_digests_and_are_published_nowhere() {
    let spec = "apiKeyAuth: {credentialRefs: [{name: keys}, {group: '', kind: Secret, name: more-keys}], \
                extractFrom: [{headers: [Authorization]}, {params: [key]}, {cookies: [session]}], \
                forwardClientIDHeader: x-client-id, sanitize: true}";
    let translation = scene(&of_gateway(spec));
    let keys = policies(&translation)["ns.p"].authentication.clone().unwrap().api_key.unwrap();
    let header = |prefix: Option<&str>| RawExtract {
        header: Some("Authorization".to_owned()),
        prefix: prefix.map(str::to_owned),
        ..RawExtract::default()
    };
    assert_eq!(keys.extract_from[..2], [header(Some("Bearer ")), header(None)], "Envoy takes both");
    assert_eq!(keys.extract_from[2].query.as_deref(), Some("key"));
    assert_eq!(keys.extract_from[3].cookie.as_deref(), Some("session"));
    assert_eq!((keys.consumer_header.as_deref(), keys.forward), (Some("x-client-id"), false));
    let text = file(&of_gateway(spec), keys.file.as_deref().unwrap());
    let digest = "sha256:f75778f7425be4db0369d09af37a6c2b9a83dea0e53e7bd57412e4b060e607f7";
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert_eq!(lines[0], format!("client1 {digest}"), "the first of a client's counts");
    assert!(lines[1].starts_with("client2 sha256:") && lines[2].starts_with("client3 sha256:"), "{text}");
    let everything = format!("{translation:?}");
    for secret in ["supersecret", "other-secret", "f75778f7"] {
        assert!(!everything.contains(secret), "{secret}");
        assert!(!document(&translation).contains(secret), "{secret}");
    }
    let (_, _, message) = accepted(&translation, "p");
    assert!(message.ends_with("use the key of the first: client1 (Secret ns/keys)"), "{message}");
    let stays = scene(&of_gateway(&spec.replace("sanitize: true", "sanitize: false")));
    assert!(policies(&stays)["ns.p"].authentication.clone().unwrap().api_key.unwrap().forward);
}

#[test]
fn users_are_those_of_the_secret() {
    let spec = "basicAuth: {users: {name: users}, forwardUsernameHeader: x-user}";
    let translation = scene(&of_gateway(spec));
    let basic = policies(&translation)["ns.p"].authentication.clone().unwrap().basic.unwrap();
    assert_eq!(basic.user_header.as_deref(), Some("x-user"));
    assert_eq!(file(&of_gateway(spec), &basic.file), "foo:{SHA}Yb8Rr4hUY0YjvLJgsCmWwtmlTzA=\n");
}

#[test]
fn tokens_are_those_of_the_providers() {
    let spec = r#"jwt: {optional: true, providers: [
        {name: far, issuer: "https://a.example", audiences: [here, there, here],
         remoteJWKS: {uri: "https://a.example/jwks.json", cacheDuration: 10m},
         claimToHeaders: [{header: x-sub, claim: sub}],
         extractFrom: {headers: [{name: x-token, valuePrefix: "Token "}, {name: x-bare}], cookies: [c], params: [q]}},
        {name: near, localJWKS: {inline: '{"keys": [{"kty": "EC"}]}'}},
        {name: map, localJWKS: {type: ValueRef, valueRef: {group: "", kind: ConfigMap, name: keyset}}}]}"#;
    let translation = scene(&of_gateway(spec));
    let authentication = policies(&translation)["ns.p"].authentication.clone().unwrap();
    assert!(authentication.optional);
    let providers = authentication.jwt.unwrap().providers;
    let [far, near, map] = &providers[..] else { panic!("{providers:?}") };
    assert_eq!(far.keys_url.as_deref(), Some("https://a.example/jwks.json"));
    assert_eq!((far.cache_duration, far.audiences.len()), (Span::secs(600), 2));
    assert_eq!((far.claim_headers[0].header.as_str(), far.claim_headers[0].claim.as_str()), ("x-sub", "sub"));
    assert_eq!(far.extract_from.len(), 4);
    assert_eq!(far.extract_from[0].prefix.as_deref(), Some("Token "));
    assert_eq!((near.cache_duration, near.extract_from.len()), (Span::secs(300), 0));
    for (provider, key_type) in [(near, "EC"), (map, "RSA")] {
        let text = file(&of_gateway(spec), provider.keys_file.as_deref().unwrap());
        assert!(text.contains(key_type), "{text}");
    }
    assert!(translation.wanted.iter().any(|id| id.kind == Kind::ConfigMap && id.key.name == "keyset"));
}

#[test]
fn a_config_map_has_a_key_set_as_jwks_or_as_its_first_value() {
    let maps = "
apiVersion: v1
kind: ConfigMap
metadata: {name: keyset, namespace: ns}
data: {z: '{}', a.json: '{\"keys\": [{\"kty\": \"OKP\"}]}'}
---
";
    let translation = scene(&(maps.to_owned() + &of_gateway(TOKENS)));
    assert!(accepted(&translation, "p").0);
}

#[test]
fn who_may_do_what_is_as_it_is_written() {
    let rules = r#"authorization: {rules: [
        {name: admins, action: Allow, operation: {methods: [GET, POST, GET]}, principal: {
          clientCIDRs: ["10.1.2.3/8", "fd00::/8"],
          jwt: {provider: example, scopes: [a, b], claims: [
            {name: user.name, values: [John]}, {name: roles, valueType: StringArray, values: [admin, root]}]},
          headers: [{name: x-org, values: [v]}, {name: x-ai-eg-model, values: [m]}]}},
        {action: Deny, principal: {clientCIDRs: ["192.0.2.7/32"]}}]}"#;
    let translation = scene(&of_gateway(&format!("{TOKENS}, {rules}")));
    let policies = policies(&translation);
    let authorization = policies["ns.p"].authorization.as_ref().unwrap();
    assert_eq!(authorization.default_action, RawAccess::Deny, "as with Envoy Gateway");
    let [admins, other] = &authorization.rules[..] else { panic!("{authorization:?}") };
    assert_eq!((admins.name.as_deref(), admins.action), (Some("admins"), RawAccess::Allow));
    assert_eq!(admins.methods, [RawMethod::Get, RawMethod::Post]);
    let range = |text: &str| Cidr::parse(text).unwrap();
    assert_eq!(admins.addresses, [range("10.0.0.0/8"), range("fd00::/8")]);
    assert_eq!(
        (admins.provider.as_deref(), &admins.scopes[..]),
        (Some("example"), &["a".to_owned(), "b".to_owned()][..])
    );
    let types: Vec<_> = admins.claims.iter().map(|claim| (claim.name.as_str(), claim.value_type)).collect();
    assert_eq!(types, [("user.name", RawClaimType::String), ("roles", RawClaimType::StringArray)]);
    assert_eq!(admins.headers.len(), 2);
    assert_eq!((other.name.as_ref(), other.action, other.addresses.len()), (None, RawAccess::Deny, 1));
    // Without anything, nobody may do anything.
    let nobody = scene(&of_gateway("authorization: {}"));
    let nobody = super::policies(&nobody)["ns.p"].authorization.clone().unwrap();
    assert_eq!((nobody.default_action, nobody.rules.len()), (RawAccess::Deny, 0));
}

#[test]
fn paths_and_expressions_are_conditions_of_rules() {
    let rules = r#"authorization: {rules: [
        {action: Deny, operation: {path: {type: Exact, value: /v1/files}}, cel: "request.headers['x-team'] == 'a'"},
        {action: Deny, operation: {path: {type: RegularExpression, value: '/v1/[a-z]+'}}, principal: {clientCIDRs: [10.0.0.0/8]}},
        {action: Allow, cel: "source.address.startsWith('10.') && request.url_path == '/'"}]}"#;
    let translation = scene(&of_gateway(rules));
    let authorization = policies(&translation)["ns.p"].authorization.clone().unwrap();
    let [files, lower, last] = &authorization.rules[..] else { panic!("{authorization:?}") };
    let path = |kind, value: &str| [RawPathMatch { kind, value: value.to_owned() }];
    assert_eq!(files.paths, path(RawPathMatchType::Exact, "/v1/files"));
    assert_eq!(files.cel.as_deref(), Some("request.headers['x-team'] == 'a'"));
    assert_eq!(lower.paths, path(RawPathMatchType::RegularExpression, "/v1/[a-z]+"));
    assert_eq!(last.cel.as_deref(), Some("source.address.startsWith('10.') && request.url_path == '/'"));
    let (is_accepted, _, message) = accepted(&translation, "p");
    assert!(
        is_accepted && message.contains("rules that deny are met where their cel cannot be told"),
        "{message}"
    );
    let all = scene(&of_gateway("authorization: {rules: [{action: Allow, operation: {path: {}}}]}"));
    let all = policies(&all)["ns.p"].authorization.clone().unwrap();
    assert_eq!(all.rules[0].paths, path(RawPathMatchType::PathPrefix, "/"));
}

/// Nothing is ever open because something in its policy is wrong.
#[test]
fn what_cannot_be_is_closed_and_told() {
    let secret = |name: &str, data: &str| {
        format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}, namespace: ns}}\nstringData: {data}\n---\n"
        )
    };
    let given = secret("empty", "{c: ''}")
        + &secret("twins", "{c: same, d: same}")
        + &secret("bcrypt", "{.htpasswd: 'u:$2y$05$x'}")
        + &secret("none", "{other: x}");
    let keys = |name: &str| {
        format!("apiKeyAuth: {{credentialRefs: [{{name: {name}}}], extractFrom: [{{headers: [k]}}]}}")
    };
    let jwt = |provider: &str| format!("jwt: {{providers: [{{name: x, {provider}}}]}}");
    let rule = |rule: &str| format!("{TOKENS}, authorization: {{defaultAction: Allow, rules: [{{{rule}}}]}}");
    for (spec, says) in [
        (keys("missing"), "apiKeyAuth.credentialRefs: the Secret ns/missing does not exist"),
        (keys("empty"), "c of Secret ns/empty is not a key"),
        (keys("twins"), "d of Secret ns/twins has the key of c"),
        ("apiKeyAuth: {}".to_owned(), "apiKeyAuth.credentialRefs is missing"),
        ("apiKeyAuth: {credentialRefs: [{name: keys}]}".to_owned(), "apiKeyAuth.extractFrom is missing"),
        (
            "apiKeyAuth: {credentialRefs: [{name: keys, namespace: other}], extractFrom: [{params: [k]}]}"
                .to_owned(),
            "no ReferenceGrant",
        ),
        ("basicAuth: {}".to_owned(), "basicAuth.users is missing"),
        ("basicAuth: {users: {name: none}}".to_owned(), "no key .htpasswd"),
        ("basicAuth: {users: {name: bcrypt}}".to_owned(), "use `htpasswd -s`"),
        ("jwt: {}".to_owned(), "jwt.providers is missing"),
        (jwt("issuer: x"), "remoteJWKS or localJWKS is missing"),
        (jwt("remoteJWKS: {uri: 'https://a.example'}, localJWKS: {inline: x}"), "cannot both be"),
        (jwt("remoteJWKS: {uri: 'http://127.0.0.1:9901/'}"), "is the gateway itself"),
        (jwt("remoteJWKS: {uri: 'ftp://a.example'}"), "https://"),
        (jwt("remoteJWKS: {uri: 'https://a.example', cacheDuration: soon}"), "cacheDuration"),
        (jwt("localJWKS: {inline: 'no json'}"), "is no key set"),
        (
            jwt("localJWKS: {type: ValueRef, valueRef: {kind: ConfigMap, name: missing}}"),
            "the ConfigMap ns/missing does not exist",
        ),
        (jwt("localJWKS: {type: ValueRef, inline: '{}'}"), "has nothing for its type \"ValueRef\""),
        (
            format!("jwt: {{providers: [{0}, {0}]}}", "{name: x, remoteJWKS: {uri: 'https://a.example'}}"),
            "has the name of another",
        ),
        (rule("action: Maybe"), "authorization.rules[0].action: \"Maybe\" is neither"),
        (
            rule("action: Deny, cel: 'request.time > 1'"),
            "authorization.rules[0].cel: request has no \"time\"",
        ),
        (
            rule("action: Deny, cel: connection.mtls"),
            "authorization.rules[0].cel: there is no variable \"connection\"",
        ),
        (
            rule("action: Deny, cel: request.path"),
            "authorization.rules[0].cel: comes to a value of the type string",
        ),
        (rule("action: Deny, cel: '('"), "authorization.rules[0].cel: "),
        (
            rule("action: Deny, operation: {path: {value: /a, invert: true}}"),
            "operation.path.invert is not served",
        ),
        (rule("action: Deny, operation: {path: {type: Suffix, value: /a}}"), "there is no type \"Suffix\""),
        (
            rule(r"action: Deny, operation: {path: {type: RegularExpression, value: '/a\?b=.*'}}"),
            "the pattern asks for a query",
        ),
        (rule("action: Deny, principal: {headers: [{name: h}]}"), "principal.headers has no values"),
        (
            rule("action: Deny, principal: {jwt: {provider: example, claims: [{name: c}]}}"),
            "jwt.claims has no values",
        ),
        (rule("action: Deny, operation: {methods: [BREW]}"), "\"BREW\" is no method"),
        (rule("action: Deny, principal: {clientCIDRs: ['10.0.0.0']}"), "clientCIDRs"),
        (
            rule("action: Deny, principal: {jwt: {provider: other, scopes: [a]}}"),
            "jwt.providers has no \"other\"",
        ),
        (
            rule("action: Deny, principal: {headers: [{name: x-ai-eg-model, values: ['m*']}]}"),
            "no model has a *",
        ),
    ] {
        let translation = scene(&(given.clone() + &of_gateway(&spec)));
        let places = asked(&translation);
        assert_eq!(places.len(), 7, "{spec}: {places:?}");
        assert!(places.values().all(|policies| policies == "closed"), "{spec}: {places:?}");
        let (is_accepted, reason, message) = accepted(&translation, "p");
        assert_eq!((is_accepted, reason), (false, "Invalid"), "{spec}");
        assert!(message.contains(says), "{spec}: {message}");
        for object in [(Kind::Gateway, "gw"), (Kind::HttpRoute, "a"), (Kind::AiGatewayRoute, "ai")] {
            let (is_closed, _, message) = condition(&translation, object, CLOSED);
            assert!(is_closed && message.contains(says), "{spec}: {message}");
        }
    }
}

#[test]
fn an_address_with_a_password_is_refused_and_told_nowhere() {
    for address in
        ["https://user:hunter2@a.example/jwks", "ftp://user:hunter2@a.example", "user:hunter2@a.example"]
    {
        let translation = scene(&of_gateway(&format!(
            "jwt: {{providers: [{{name: x, remoteJWKS: {{uri: '{address}'}}}}]}}"
        )));
        let (is_accepted, _, message) = accepted(&translation, "p");
        let says = "jwt.providers[0].remoteJWKS.uri has a user's name before its host";
        assert!(!is_accepted && message.contains(says), "{message}");
        assert!(!format!("{translation:?}").contains("hunter2"), "{address}");
    }
}

/// The Secret of a Gateway has room for so many bytes, and all of its policies' files are in it.
#[test]
fn key_sets_that_have_no_room_beside_others_are_refused_and_not_published() {
    let key_set = |name: &str, bytes: usize| {
        let text = format!(r#"{{"keys": [{{"x": "{}"}}]}}"#, "x".repeat(bytes));
        format!("{{name: {name}, localJWKS: {{inline: '{text}'}}}}")
    };
    let of_one = |sets: &[String]| format!("jwt: {{providers: [{}]}}", sets.join(", "));
    let closed = scene(&of_gateway(&of_one(&[key_set("x", 140 << 10), key_set("z", 130 << 10)])));
    assert!(asked(&closed).values().all(|policies| policies == "closed"));
    let (is_accepted, _, message) = accepted(&closed, "p");
    assert!(!is_accepted && message.contains("more than 262144 bytes"), "{message}");

    let large =
        |name: &str, key: &str, target: &str| policy(name, target, &of_one(&[key_set(key, 200 << 10)]));
    let three = large("p", "x", GW) + &large("q", "w", A) + &large("r", "z", AI);
    let translation = scene(&three);
    let places = asked(&translation);
    assert_eq!(places["one b/0"], "ns.p");
    assert_eq!(places["one a/0"], "ns.q");
    assert_eq!(places["one ai/0"], "no-room");
    assert_eq!(gateway(&translation).secrets.len(), 2, "{places:?}");
    let (is_accepted, reason, message) = accepted(&translation, "r");
    assert_eq!((is_accepted, reason), (false, "Invalid"), "{message}");
    assert!(message.contains("leave no room"), "{message}");
    assert!(accepted(&translation, "p").0 && accepted(&translation, "q").0);
}

/// What only the data plane's own check finds is found before it stands beside what others have.
#[test]
fn what_the_document_does_not_take_is_closed_and_told() {
    for (spec, says) in [
        (format!("{}, forwardClientIDHeader: host}}", KEYS.strip_suffix('}').unwrap()), "spec.apiKeyAuth: "),
        (
            "jwt: {providers: [{name: x, remoteJWKS: {uri: 'https://a.example'}, claimToHeaders: [{header: h, claim: a..b}]}]}"
                .to_owned(),
            "spec.jwt: claim: ",
        ),
        (
            format!("{TOKENS}, authorization: {{rules: [{{action: Allow, principal: {{headers: [{{name: 'a b', values: [x]}}]}}}}]}}"),
            "spec.authorization: ",
        ),
    ] {
        let translation = scene(&of_gateway(&spec));
        assert!(asked(&translation).values().all(|policies| policies == "closed"), "{spec}");
        assert!(policies(&translation).is_empty(), "{spec}");
        let (is_accepted, reason, message) = accepted(&translation, "p");
        assert_eq!((is_accepted, reason), (false, "Invalid"), "{spec}: {message}");
        assert!(message.starts_with(says), "{spec}: {message}");
    }
}

/// A document's check tells so many faults at once, and gives up after so many times.
#[test]
fn however_many_faults_policies_have_they_close_only_what_they_are_for() {
    let rule = "{action: Allow, principal: {headers: [{name: 'a b', values: [x]}]}}";
    let rules = format!("authorization: {{rules: [{}]}}", vec![rule; 200].join(", "));
    let mut manifests = policy("g", GW, KEYS);
    for number in 0..50 {
        let target =
            format!("targetRefs: [{{group: gateway.networking.k8s.io, kind: HTTPRoute, name: r{number}}}]");
        manifests += &format!(
            "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\n\
             metadata: {{name: r{number}, namespace: ns}}\n\
             spec: {{parentRefs: [{{name: gw}}], rules: [{{matches: [{{path: {{value: /r/{number}}}}}], \
             backendRefs: [{{name: s, port: 80}}]}}]}}\n---\n"
        );
        // Those that are put together with another as well.
        let merge = if number % 2 == 0 { "" } else { "mergeType: StrategicMerge, " };
        manifests += &policy(&format!("p{number}"), &target, &format!("{merge}{rules}"));
    }
    let translation = scene(&manifests);
    let places = asked(&translation);
    assert_eq!((places["one a/0"].as_str(), places["one ai/0"].as_str()), ("ns.g", "ns.g"));
    for number in 0..50 {
        assert_eq!(places[&format!("one r{number}/0")], "closed");
        assert_eq!(accepted(&translation, &format!("p{number}")).1, "Invalid");
    }
    assert!(accepted(&translation, "g").0);
}

#[test]
fn fields_that_are_not_acted_on_close() {
    for field in [
        "oidc: {provider: {issuer: 'https://a.example', backendRefs: [{name: b, port: 443}]}}",
        "extAuth: {grpc: {backendRefs: [{name: s, port: 80}]}, includeRouteMetadata: true}",
        "authorization: {rules: [{action: Allow, principal: {clientIPGeoLocations: [{country: DE}]}}]}",
        "authorization: {rules: [{action: Allow, operation: {path: {value: /, later: true}}}]}",
        "authorization: {rules: [{action: Allow, operation: {host: a.example}}]}",
        "jwt: {providers: [{name: x, remoteJWKS: {uri: 'https://a.example', backendRefs: [{name: b, port: 443}]}}]}",
    ] {
        let (first, _) = field.split_once(':').unwrap();
        let others = [KEYS, TOKENS].into_iter().filter(|other| !other.starts_with(first));
        let spec = others.chain([field]).collect::<Vec<_>>().join(", ");
        let translation = scene(&of_gateway(&spec));
        assert!(asked(&translation).values().all(|it| it == "closed"), "{field}");
        let (is_accepted, reason, message) = accepted(&translation, "p");
        assert_eq!((is_accepted, reason), (false, "Unsupported"), "{field}");
        assert!(message.contains(&format!("spec.{first}")), "{message}");
    }
    let settings = "remoteJWKS: {uri: 'https://id.example/keys', backendSettings: {}}";
    let named = scene(&of_gateway(&format!("{KEYS}, jwt: {{providers: [{{name: x, {settings}}}]}}")));
    let (is_accepted, _, message) = accepted(&named, "p");
    assert!(
        is_accepted
            && message.contains("is in force without SecurityPolicy ns/p (spec.jwt.providers[].remoteJWKS"),
        "{message}"
    );
}

#[test]
fn another_namespaces_secret_needs_a_grant() {
    let manifests = "
apiVersion: v1
kind: Secret
metadata: {name: keys, namespace: other}
stringData: {far: key-of-far}
---
apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: {name: g, namespace: other}
spec:
  from: [{group: gateway.envoyproxy.io, kind: SecurityPolicy, namespace: ns}]
  to: [{group: '', kind: Secret}]
---
";
    let spec =
        "apiKeyAuth: {credentialRefs: [{name: keys, namespace: other}], extractFrom: [{headers: [k]}]}";
    assert!(accepted(&scene(&(manifests.to_owned() + &policy("p", A, spec))), "p").0);
}
