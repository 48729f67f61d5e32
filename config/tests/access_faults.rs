//! What is wrong with consumers and policies is said at its place, with a way out, and without what is secret.

use penstock_config::{Fault, KeyDigest, NoProfileCheck, Snapshot};

const HEAD: &str = "apiVersion: penstock.dev/v1alpha1\nkind: RoutingConfig\nsecretsFrom: s\n";
const LISTENER: &str = "listeners: [{name: http, address: '127.0.0.1:8080'}]\n";
const A_PROVIDER: &str = "- {name: tokens, authentication: {jwt: {providers: [{name: idp, keysFile: f}]}}}\n";

/// A digest of which every byte is `byte`.
fn digest(byte: u8) -> String {
    KeyDigest([byte; 32]).to_string()
}

fn faults_of(body: &str) -> Vec<Fault> {
    let faults = Snapshot::compile(&format!("{HEAD}{LISTENER}{body}"), &NoProfileCheck);
    faults.map_or_else(|faults| faults.iter().cloned().collect(), |_| Vec::new())
}

/// Asserts that a document with `body` has one fault: at `place`, with `part` in its message.
#[track_caller]
fn assert_fault(body: &str, place: &str, part: &str) {
    let found = faults_of(body);
    assert_eq!(found.len(), 1, "{body}: {found:#?}");
    assert_eq!(found[0].path, place, "{body}: {found:#?}");
    assert!(found[0].message.contains(part), "{body}: {found:#?}");
}

/// The same for each of some consumers, by the fields that follow a name.
#[track_caller]
fn assert_consumer_faults(table: &[(String, &str, &str)]) {
    for (fields, place, part) in table {
        assert_fault(
            &format!("consumers: [{{name: a, {fields}}}]\n"),
            &format!("consumers[0].{place}"),
            part,
        );
    }
}

/// The same for each of some ways to authenticate, of a document in which a consumer has a key.
#[track_caller]
fn assert_authentication_faults(table: &[(&str, &str, &str)]) {
    let consumers = format!("consumers: [{{name: a, keys: ['{}']}}]\n", digest(1));
    for (ways, place, part) in table {
        let body = format!("{consumers}policies: [{{name: p, authentication: {{{ways}}}}}]\n");
        let dot = if place.is_empty() { "" } else { "." };
        assert_fault(&body, &format!("policies[0].authentication{dot}{place}"), part);
    }
}

/// The same for each of some rules that deny, of a document whose first policy has the identity provider `idp`.
#[track_caller]
fn assert_rule_faults(table: &[(&str, &str, &str)]) {
    for (rule, place, part) in table {
        let body = format!(
            "policies:\n{A_PROVIDER}- {{name: p, authorization: {{rules: [{{action: Deny, {rule}}}]}}}}\n"
        );
        assert_fault(&body, &format!("policies[1].authorization.rules[0].{place}"), part);
    }
}

/// Where a document warns of something, and with what.
fn warnings_of(body: &str) -> Vec<(String, String)> {
    let snapshot = Snapshot::compile(&format!("{HEAD}{LISTENER}{body}"), &NoProfileCheck);
    let snapshot = snapshot.unwrap_or_else(|faults| panic!("{faults}"));
    snapshot.warnings().iter().map(|fault| (fault.path.clone(), fault.message.clone())).collect()
}

#[test]
fn names_of_policies_lead_to_policies() {
    let policies = "policies: [{name: tenants, authorization: {}}]\npools: [{name: p}]\n";
    let rule = |names: &str| {
        format!("routes: [{{name: r, rules: [{{policies: [{names}], targets: [{{pool: p}}]}}]}}]\n")
    };
    let place = "routes[0].rules[0].policies";
    for (names, place, part) in [
        ("tenant", format!("{place}[0]"), "there is no policy \"tenant\"; did you mean \"tenants\"?"),
        ("tenants, tenants", format!("{place}[1]"), "given twice"),
    ] {
        assert_fault(&format!("{policies}{}", rule(names)), &place, part);
    }
    let listeners = "listeners: [{name: a, address: '127.0.0.1:1', policies: [x]}]\n";
    let faults = Snapshot::compile(&format!("{HEAD}{listeners}"), &NoProfileCheck).expect_err("no policy");
    assert_eq!(faults.to_string(), "listeners[0].policies[0]: there is no policy \"x\"; there are none");
    let twice = "policies: [{name: a, authorization: {}}, {name: a, authorization: {}}]\n";
    assert_fault(twice, "policies[1].name", "policies[0] already");
    assert_fault("policies: [{name: A, authorization: {}}]\n", "policies[0].name", "is not a name");
    assert_fault(
        "policies: [{name: a}]\n",
        "policies[0]",
        "give it external, authentication, authorization, limits or cors",
    );
}

#[test]
fn faults_of_consumers() {
    let (one, nothing) = (digest(1), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_consumer_faults(&[
        (format!("keys: ['{one}', '{one}']"), "keys[1]", "consumers[0].keys[0] already"),
        (format!("keys: ['sha256:{nothing}']"), "keys[0]", "of an empty key"),
        ("keys: [sk-1]".into(), "keys[0]", "`penstock keys new` makes a key"),
        ("keys: ['sha256:0f']".into(), "keys[0]", "64 hexadecimal digits"),
        (format!("keys: ['{}']", &one[7..]), "keys[0]", "has no `sha256:` before it"),
        ("keys: [4711]".into(), "keys[0]", "must be a key's digest"),
        ("tags: {team: ''}".into(), "tags.team", "is empty"),
        (r#"tags: {"a\nb": c}"#.into(), r#"tags["a\nb"]"#, "must not contain"),
        ("tags: {team: [a]}".into(), "tags.team", "must be a text"),
        ("models: [a, a]".into(), "models[1]", "given twice"),
        ("models: ['gpt-*-mini']".into(), "models[0]", "before its end"),
        ("models: ['']".into(), "models[0]", "is empty"),
        (format!("models: ['{}*']", "m".repeat(257)), "models[0]", "limits.modelBytes"),
    ]);
    let two = format!("consumers: [{{name: a, keys: ['{one}']}}, {{name: b, keys: ['{one}']}}]\n");
    assert_fault(&two, "consumers[1].keys[0]", "is the digest at consumers[0].keys[0] already");
    assert_fault("consumers: [{name: a}, {name: a}]\n", "consumers[1].name", "consumers[0] already");
    assert_fault("consumers: [{name: ' a'}]\n", "consumers[0].name", "begin or end with white space");
}

#[test]
fn faults_of_servers_that_are_asked() {
    let backends = "backends:\n- {name: a, endpoints: [{host: a.test, port: 1}], protocol: h2c}\n\
                    - {name: plain, endpoints: [{host: a.test, port: 1}]}\n\
                    - {name: model, provider: openai}\n";
    for (external, place, part) in [
        ("", "", "give it grpc or http"),
        ("grpc: {backend: a}, http: {backend: a}", "http", "give one of the two"),
        ("grpc: {backend: b}", "grpc.backend", "there is no backend \"b\""),
        ("grpc: {backend: plain}", "grpc.backend", "set its protocol to h2c"),
        ("http: {backend: model}", "http.backend", "has provider, which is for models"),
        ("http: {backend: a, path: bad}", "http.path", "must start with /"),
        ("http: {backend: a, path: /a, pathOverride: /b}", "http.path", "no meaning with pathOverride"),
        ("http: {backend: a, headersToUpstream: [host]}", "http.headersToUpstream[0]", "the header host"),
        ("http: {backend: a, headersToUpstream: [x, X]}", "http.headersToUpstream[1]", "given twice"),
        ("grpc: {backend: a}, headersToAuth: ['a b']", "headersToAuth[0]", "is not a header's name"),
        ("grpc: {backend: a}, headersToAuth: [x-ai-eg-model]", "headersToAuth[0]", "the gateway's own"),
        ("grpc: {backend: a}, statusOnError: 200", "statusOnError", "400"),
        ("grpc: {backend: a}, timeout: 0s", "timeout", "1ms"),
        ("grpc: {backend: a}, body: {maxBytes: 0}", "body.maxBytes", "1"),
        ("http: {backend: a}, contextExtensions: [{name: a, value: b}]", "contextExtensions", "with http"),
        (
            "grpc: {backend: a}, contextExtensions: [{name: a, value: b}, {name: a, value: c}]",
            "contextExtensions[1].name",
            "given twice",
        ),
    ] {
        let dot = if place.is_empty() { "" } else { "." };
        let body = format!("{backends}policies: [{{name: p, external: {{{external}}}}}]\n");
        assert_fault(&body, &format!("policies[0].external{dot}{place}"), part);
    }
}

#[test]
fn what_stands_in_a_digests_place_is_told_nobody() {
    for key in ["'sk-proj-4711'", "4711", "'sha256:4711'", "'a key\n 4711'", "true4711", "4711.5", "[4711]"] {
        let found = faults_of(&format!("consumers: [{{name: a, keys: [{key}]}}]\n"));
        assert!(!found.is_empty(), "{key}");
        assert!(!format!("{found:?}").contains("4711"), "{found:?}");
    }
}

#[test]
fn faults_of_authentication() {
    let provider = "jwt: {providers: [{name: i, keysUrl: 'https://h/k'}, {name: i, keysFile: f}]}";
    assert_authentication_faults(&[
        ("", "", "give it apiKey, basic, jwt or oidc"),
        ("optional: true", "", "give it apiKey, basic, jwt or oidc"),
        ("apiKey: {extractFrom: [{}]}", "apiKey.extractFrom[0]", "give it header, query or cookie"),
        ("apiKey: {extractFrom: [{header: a, query: b}]}", "apiKey.extractFrom[0]", "more than one place"),
        ("apiKey: {extractFrom: [{query: b, prefix: c}]}", "apiKey.extractFrom[0].prefix", "without header"),
        ("apiKey: {extractFrom: [{header: a}, {header: A}]}", "apiKey.extractFrom[1]", "given twice"),
        ("apiKey: {extractFrom: [{header: a b}]}", "apiKey.extractFrom[0].header", "not a header's name"),
        ("apiKey: {extractFrom: [{header: Host}]}", "apiKey.extractFrom[0].header", "carries no credential"),
        ("apiKey: {extractFrom: [{header: Cookie}]}", "apiKey.extractFrom[0].header", "with `cookie`"),
        ("apiKey: {extractFrom: [{header: x-penstock-key}]}", "apiKey.extractFrom[0].header", "takes it out"),
        (
            r#"apiKey: {extractFrom: [{header: a, prefix: "\n"}]}"#,
            "apiKey.extractFrom[0].prefix",
            "printable",
        ),
        ("apiKey: {extractFrom: [{cookie: 'a;b'}]}", "apiKey.extractFrom[0].cookie", "not a cookie's name"),
        ("apiKey: {consumerHeader: X-Api-Key}", "apiKey.consumerHeader", "where clients show a credential"),
        ("basic: {userHeader: a}", "basic.file", "is missing"),
        ("basic: {file: f, userHeader: authorization}", "basic.userHeader", "where clients show"),
        ("basic: {file: 'secret:a/b'}", "basic.file", "is not a Secret's key"),
        ("jwt: {providers: []}", "jwt.providers", "at least 1"),
        (provider, "jwt.providers[1].name", "providers[0] already"),
    ]);
    let none = "policies: [{name: p, authentication: {apiKey: {}}}]\n";
    assert_fault(none, "policies[0].authentication.apiKey.file", "no consumer has keys");
}

#[test]
fn headers_that_upstreams_are_told_something_in_are_free_for_it() {
    let names = ["host", "Content-Length", "transfer-encoding", "connection", "content-type", "te"];
    let own =
        ["X-AI-EG-Model", "x-penstock-user", "x-forwarded-for", "x-request-id", "forwarded", "x-real-ip"];
    let odd = ["a b", "é", "a:"];
    let parts = ["it frames the message", "the gateway says something else", "is not a header's name"];
    for (names, part) in [&names[..], &own, &odd].into_iter().zip(parts) {
        for name in names {
            assert_authentication_faults(&[
                (&format!("apiKey: {{consumerHeader: '{name}'}}"), "apiKey.consumerHeader", part),
                (&format!("basic: {{file: f, userHeader: '{name}'}}"), "basic.userHeader", part),
            ]);
        }
    }
}

#[test]
fn faults_of_identity_providers() {
    for (fields, place, part) in [
        ("name: i", "", "give it keysUrl or keysFile"),
        ("name: i, keysUrl: 'https://h', keysFile: f", ".keysFile", "one of the two"),
        ("name: i, keysUrl: 'ftp://host'", ".keysUrl", "is not an address"),
        ("name: i, keysUrl: id.example.com/keys", ".keysUrl", "is not an address"),
        ("name: i, keysUrl: 'https://h/keys#a'", ".keysUrl", "is not an address"),
        ("name: i, keysUrl: 'https://h:port/k'", ".keysUrl", "is not an address"),
        ("name: i, keysUrl: 'https://u:p@h/keys'", ".keysUrl", "a user's name before its host"),
        ("name: i, keysFile: f, cacheDuration: 1m", ".cacheDuration", "no meaning with keysFile"),
        ("name: i, keysUrl: 'https://h', cacheDuration: 1ms", ".cacheDuration", "1s to 168h"),
        ("name: i, keysFile: f, audiences: [a, a]", ".audiences[1]", "given twice"),
        ("name: i, keysFile: f, consumerClaim: a..b", ".consumerClaim", "is not a claim"),
        ("name: ' i', keysFile: f", ".name", "white space"),
        (
            "name: i, keysFile: f, claimHeaders: [{header: x, claim: .}]",
            ".claimHeaders[0].claim",
            "not a claim",
        ),
        (
            "name: i, keysFile: f, claimHeaders: [{header: host, claim: a}]",
            ".claimHeaders[0].header",
            "frames",
        ),
        (
            "name: i, keysFile: f, claimHeaders: [{header: Authorization, claim: a}]",
            ".claimHeaders[0].header",
            "where clients show a credential",
        ),
        (
            "name: i, keysFile: f, claimHeaders: [{header: x, claim: a}, {header: X, claim: b}]",
            ".claimHeaders[1].header",
            "has a claim already",
        ),
    ] {
        let place = format!("jwt.providers[0]{place}");
        assert_authentication_faults(&[(&format!("jwt: {{providers: [{{{fields}}}]}}"), &place, part)]);
    }
    let found = faults_of(
        "policies: [{name: p, authentication: {jwt: {providers: [{name: i, keysUrl: 'https://u:hush@h'}]}}}]\n",
    );
    assert!(!format!("{found:?}").contains("hush"), "{found:?}");
}

#[test]
fn faults_of_paths_and_expressions() {
    assert_rule_faults(&[
        ("cel: 'nothing == 1'", "cel", "there is no variable \"nothing\""),
        ("cel: 'path == '", "cel", "column"),
        ("cel: path", "cel", "comes to a value of the type string"),
        ("cel: ''", "cel", "is empty: give it a value"),
        ("paths: [{value: v1}]", "paths[0].value", "must start with /"),
        ("paths: [{value: /v1}, {value: /v1}]", "paths[1]", "is given twice"),
        ("paths: [{type: RegularExpression, value: '('}]", "paths[0].value", "not a regular expression"),
        ("paths: [{type: RegularExpression, value: 'a)(b'}]", "paths[0].value", "not a regular expression"),
    ]);
    let rules = vec!["{action: Deny, cel: 'true'}"; 501].join(", ");
    let half = |name: &str| format!("{{name: {name}, authorization: {{rules: [{rules}]}}}}");
    let faults = faults_of(&format!("policies: [{}, {}]\n", half("a"), half("b")));
    assert!(faults[0].message.contains("more than 1000 patterns and expressions"), "{:?}", faults[0]);
}

#[test]
fn faults_of_cors() {
    for (cors, place, part) in [
        ("allowOrigins: ['https://a/b']", "allowOrigins[0]", "is no origin"),
        ("allowOrigins: [a.example]", "allowOrigins[0]", "is no origin"),
        ("allowOrigins: ['*', '*']", "allowOrigins[1]", "is given twice"),
        ("allowMethods: ['GE T']", "allowMethods[0]", "is no method"),
        ("allowHeaders: ['a b']", "allowHeaders[0]", "is not a header's name"),
        ("exposeHeaders: ['']", "exposeHeaders[0]", "is not a header's name"),
    ] {
        assert_fault(
            &format!("policies: [{{name: p, cors: {{{cors}}}}}]\n"),
            &format!("policies[0].cors.{place}"),
            part,
        );
    }
    let of_rule =
        "routes: [{name: r, rules: [{redirect: {hostname: a.example}, cors: {allowOrigins: ['a']}}]}]\n";
    assert_fault(of_rule, "routes[0].rules[0].cors.allowOrigins[0]", "is no origin");
    let open = "policies: [{name: p, cors: {allowOrigins: ['*'], allowCredentials: true}}]\n";
    let found = warnings_of(open);
    assert!(found.iter().any(|(path, _)| path == "policies[0].cors.allowOrigins"), "{found:?}");
}

#[test]
fn faults_of_authorization() {
    assert_rule_faults(&[
        ("provider: id", "provider", "there is no provider of tokens \"id\"; did you mean \"idp\"?"),
        ("tags: {team: []}", "tags.team", "has no values"),
        ("tags: {team: [a, a]}", "tags.team[1]", "given twice"),
        ("consumers: [a, a]", "consumers[1]", "given twice"),
        ("models: ['a*b']", "models[0]", "before its end"),
        ("models: [a], headers: [{name: x-ai-eg-model, values: [b]}]", "headers[0]", "keep one"),
        ("headers: [{name: x-ai-eg-model, values: ['*a']}]", "headers[0].values[0]", "before its end"),
        ("headers: [{name: a b, values: [b]}]", "headers[0].name", "not a header's name"),
        ("headers: [{name: x-penstock-a, values: [b]}]", "headers[0].name", "takes it out"),
        ("headers: [{name: a, values: [b, é]}]", "headers[0].values[1]", "printable ASCII"),
        ("headers: [{name: a, values: []}]", "headers[0].values", "at least 1"),
        ("claims: [{name: '', values: [a]}]", "claims[0].name", "is empty"),
        ("claims: [{name: a., values: [a]}]", "claims[0].name", "is not a claim"),
        ("claims: [{name: a, type: Number, values: [a]}]", "claims[0].type", "unknown value"),
        ("scopes: ['a b']", "scopes[0]", "one to an item"),
        ("addresses: [10.0.0.1]", "addresses[0]", "\"10.0.0.1/32\""),
        ("methods: [get]", "methods[0]", "did you mean \"GET\"?"),
        (r#"name: "a\nb""#, "name", "must not contain"),
    ]);
    let rule = |rule: &str| {
        format!("policies: [{{name: p, authorization: {{rules: [{{action: Deny, {rule}}}]}}}}]\n")
    };
    let place = "policies[0].authorization.rules[0]";
    assert_fault(&rule("provider: a"), &format!("{place}.provider"), "there are none");
    assert_fault(&rule("scopes: [a]"), &format!("{place}.scopes"), "no policy asks for tokens");
    assert_fault(
        &rule("claims: [{name: a, values: [b]}]"),
        &format!("{place}.claims"),
        "no policy asks for tokens",
    );
    assert_fault(
        "policies: [{name: p, authorization: {rules: [{}]}}]\n",
        &format!("{place}.action"),
        "is missing",
    );
}

#[test]
fn what_nobody_can_meet_is_warned_of() {
    let consumers = "consumers: [{name: ann, tags: {team: search}}]\n";
    let rules = |ways: &str, rule: &str| {
        let rule = format!("{{name: p, {ways}authorization: {{rules: [{{action: Deny, {rule}}}]}}}}");
        let listeners = "routes: [{name: r, rules: [{policies: [p], redirect: {}}]}]\n";
        warnings_of(&format!("{consumers}{listeners}policies: [{rule}]\n"))
    };
    let place = "policies[0].authorization.rules[0]";
    for (rule, at, part) in [
        ("consumers: [ann, anna]", "consumers[1]", "there is no consumer \"anna\"; did you mean \"ann\"?"),
        ("tags: {teem: [search]}", "tags.teem", "no consumer has the tag \"teem\"; did you mean \"team\"?"),
        ("tags: {team: [search, adds]}", "tags.team[1]", "no consumer's tag \"team\" has the value \"adds\""),
    ] {
        let found = rules("", rule);
        assert_eq!((found.len(), &*found[0].0), (1, &*format!("{place}.{at}")), "{found:?}");
        assert!(found[0].1.contains(part), "{found:?}");
    }
    for ways in ["apiKey: {file: f}", "basic: {file: f}", "jwt: {providers: [{name: i, keysFile: f}]}"] {
        let ways = format!("authentication: {{{ways}}}, ");
        assert_eq!(rules(&ways, "consumers: [anna]"), [], "others may be called so");
    }
}

#[test]
fn a_policy_that_nothing_names_is_warned_of() {
    let found = warnings_of("policies: [{name: p, authorization: {}}]\n");
    assert_eq!((found.len(), &*found[0].0), (1, "policies[0]"), "{found:?}");
    assert!(found[0].1.contains("no request is asked to pass \"p\""), "{found:?}");
}

#[test]
fn people_cannot_be_led_to_where_nobody_could_log_in() {
    let client = "issuer: 'https://login.test', clientId: c, clientSecret: 'secret:c'";
    for (fields, place, part) in [
        ("issuer: 'login.test', clientId: c, clientSecret: s", "issuer", "is not an address"),
        ("issuer: 'ftp://x', clientId: c, clientSecret: s", "issuer", "has 7 bytes; the least is 8"),
        ("tokenEndpoint: '/no-address'", "tokenEndpoint", "is not an address"),
        ("endSessionEndpoint: 'https://u:hush@h/'", "endSessionEndpoint", "user's name"),
        ("redirectUrl: /", "redirectUrl", "is not where people can be led back to"),
        ("redirectUrl: 'https://chat.test'", "redirectUrl", "is not where people can be led back to"),
        ("redirectUrl: 'https://chat.test/a?b=c'", "redirectUrl", "is not where people can be led back to"),
        ("redirectUrl: '/a//b'", "redirectUrl", "is not where people can be led back to"),
        ("redirectUrl: 'ftp://chat.test/a'", "redirectUrl", "is not where people can be led back to"),
        ("logoutPath: logout", "logoutPath", "is not a path to log out at"),
        ("logoutPath: /oauth2/callback", "logoutPath", "where people log in"),
        ("scopes: ['a b']", "scopes[0]", "is not a scope"),
        ("scopes: [a, a]", "scopes[1]", "is given twice"),
        ("resources: [api]", "resources[0]", "is not an address"),
        ("cookieName: 'a b'", "cookieName", "is not a cookie's name"),
        ("cookieDomain: 'a b'", "cookieDomain", "a b"),
        (
            "cookieDomain: other.test, redirectUrl: 'https://chat.test/cb'",
            "cookieDomain",
            "nobody could log in",
        ),
        ("sameSite: None, redirectUrl: 'http://chat.test/cb'", "sameSite", "with https"),
        (
            "denyRedirect: [{name: a, type: RegularExpression, value: '('}]",
            "denyRedirect[0].value",
            "regular",
        ),
        ("idTokenCookie: t, accessTokenCookie: t", "accessTokenCookie", "has another meaning"),
        ("cookieName: t, idTokenCookie: t", "idTokenCookie", "has another meaning"),
        ("idTokenHeader: host", "idTokenHeader", "cannot be set"),
        ("idTokenHeader: authorization, forwardAccessToken: true", "idTokenHeader", "has the access token"),
        ("idTokenHeader: x, claimHeaders: [{header: x, claim: sub}]", "idTokenHeader", "has a claim already"),
        ("claimHeaders: [{header: x, claim: a..b}]", "claimHeaders[0].claim", "is not a claim"),
        ("consumerClaim: ''", "consumerClaim", ""),
        ("loginTtl: 25h", "loginTtl", "24h"),
    ] {
        let fields =
            if fields.starts_with("issuer") { fields.to_owned() } else { format!("{client}, {fields}") };
        let oidc = format!("oidc: {{{fields}}}");
        assert_authentication_faults(&[(&oidc, &format!("oidc.{place}"), part)]);
    }
    let both = format!("optional: true, oidc: {{{client}}}");
    assert_authentication_faults(&[(&both, "optional", "has no meaning with oidc")]);
}
