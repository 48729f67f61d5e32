//! What is wrong with a document is said at its place, all at once, with a way out.

use penstock_config::{Fault, NoProfileCheck, ProfileCheck, Snapshot};

const HEAD: &str = "apiVersion: penstock.dev/v1alpha1\nkind: RoutingConfig\n";
const LISTENER: &str = "listeners: [{name: http, address: '127.0.0.1:8080'}]\n";

fn faults_of(text: &str) -> Vec<(String, String)> {
    match Snapshot::compile(text, &NoProfileCheck) {
        Ok(_) => Vec::new(),
        Err(faults) => faults.iter().map(|fault| (fault.path.clone(), fault.message.clone())).collect(),
    }
}

/// Asserts that a document with `body` below a sound head has one fault: at `path`, with `part` in its message.
#[track_caller]
fn assert_fault(body: &str, path: &str, part: &str) {
    let found = faults_of(&format!("{HEAD}{LISTENER}{body}"));
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!(found[0].0, path, "{found:#?}");
    assert!(found[0].1.contains(part), "{found:#?}");
}

/// The same, for a rule that stands in a route next to a pool `p` and a backend `b`.
#[track_caller]
fn assert_rule_fault(rule: &str, path: &str, part: &str) {
    let around = "pools: [{name: p}]\nbackends: [{name: b, endpoints: [{host: h, port: 80}]}]\n";
    let path =
        if path.is_empty() { "routes[0].rules[0]".to_owned() } else { format!("routes[0].rules[0].{path}") };
    assert_fault(&format!("{around}routes: [{{name: r, rules: [{{{rule}}}]}}]\n"), &path, part);
}

#[test]
fn shape_and_sense_are_reported_together() {
    let text = format!(
        "{HEAD}{LISTENER}\
         limts: {{}}\n\
         limits: {{headerBytes: 1TB, headerCount: 3, bodyBytes: 12}}\n\
         pools:\n- {{name: Upper, endpoint: [], engine: vlm}}\n\
         routes:\n- name: r\n  rules:\n  - targets: [{{pool: upper, weigth: 1}}]\n"
    );
    let found = faults_of(&text);
    let paths: Vec<&str> = found.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "limts",
            "limits.headerBytes",
            "limits.headerCount",
            "limits.bodyBytes",
            "pools[0].endpoint",
            "pools[0].engine",
            "routes[0].rules[0].targets[0].weigth",
            "pools[0].name",
            "routes[0].rules[0].targets[0].pool",
        ],
        "{found:#?}"
    );
    assert!(found[0].1.contains("did you mean \"limits\"?"), "{found:#?}");
    assert!(found[5].1.contains("did you mean \"vllm\"?"), "{found:#?}");
    assert!(found[8].1.contains("did you mean \"Upper\"?"), "{found:#?}");
}

#[test]
fn missing_fields_say_what_they_are_for() {
    let found = faults_of("kind: RoutingConfig\nlisteners: [{name: a}]\n");
    assert_eq!(
        found[0],
        ("listeners[0].address".into(), "is missing (The IP address and port to listen on)".into())
    );
    assert_eq!(found[1], ("apiVersion".into(), "is missing (The version of this format)".into()));
    assert_eq!(found.len(), 2);
}

#[test]
fn wrong_types_say_what_is_wanted() {
    let found = faults_of(&format!(
        "{HEAD}{LISTENER}limits: {{headerCount: many, headerTimeout: 10, bodyBytes: [1], modelBytes: 1.5}}\n\
         metadata: {{name: 1, generation: -1}}\nadmin: {{enabled: 'yes', address: localhost}}\npeek:\n"
    ));
    let messages: Vec<&str> = found.iter().map(|(_, message)| message.as_str()).collect();
    assert_eq!(
        messages,
        [
            "must be a whole number, not a text",
            "must be a duration, such as \"10s\": give 10 a unit",
            "must be a number of bytes, or one with a unit, such as 64KiB, not a list",
            "must be a number of bytes, or one with a unit, such as 64KiB, not a fraction",
            "must be a text: put 1 in quotes",
            "-1 is out of range: choose 0 to 9223372036854775807",
            "must be true or false, not a text",
            "not an address: write an IP address and a port, such as \"10.0.0.1:8000\" or \"[::1]:8000\"",
            "has no value: give it an object, or leave it out",
        ]
    );
}

#[test]
fn syntax_errors_have_a_line() {
    let found = faults_of("apiVersion: x\nkind: [\nb: }\n");
    assert_eq!(found.len(), 1);
    assert!(found[0].1.contains("line 2"), "{found:?}");
    let found = faults_of("kind: a\nkind: b\n");
    assert!(found[0].1.contains("line 2") && found[0].1.contains("kind"), "{found:?}");
    let found = faults_of("{\"kind\": 1,\n \"kind\": 2}");
    assert!(found[0].1.contains("kind"), "{found:?}");
}

#[test]
fn json_is_read_as_json() {
    let text = "{\"apiVersion\":\"penstock.dev/v1alpha1\",\n\t\"kind\":\"RoutingConfig\",\"metadata\":{\"name\":\"\\ud83d\\ude00\"},\n\
                \t\"listeners\":[{\"name\":\"a\",\"address\":\"127.0.0.1:0\"}]}";
    let snapshot = Snapshot::compile(text, &NoProfileCheck).unwrap_or_else(|faults| panic!("{faults}"));
    assert_eq!(snapshot.name.as_deref(), Some("😀"));
}

#[test]
fn listeners() {
    let found = |listeners: &str| faults_of(&format!("{HEAD}listeners: [{listeners}]\n"));
    assert_eq!(found("")[0].1, "needs at least 1 item");
    let twice = found("{name: a, address: '127.0.0.1:1'}, {name: a, address: '127.0.0.1:1'}");
    assert_eq!(
        twice.iter().map(|(path, _)| path.as_str()).collect::<Vec<_>>(),
        ["listeners[1].name", "listeners[1].address"]
    );
    assert!(found("{name: a, address: '127.0.0.1:0'}, {name: b, address: '127.0.0.1:0'}").is_empty());
    assert_eq!(found("{name: a, address: '127.0.0.1:9901'}")[0].0, "admin.address");
    assert_eq!(found("{name: a, address: '127.0.0.1:1', protocol: HTTPS}")[0].0, "listeners[0].tls");
    for (setting, place, part) in [
        (
            "trustedProxies: [10.0.0.0/8, 10.0.0.1]",
            "trustedProxies[1]",
            "has no prefix length: \"10.0.0.1/32\"",
        ),
        ("trustedProxies: [10.1.0.0/8]", "trustedProxies[0]", "that length is \"10.0.0.0/8\""),
        ("headersWithUnderscores: reject", "headersWithUnderscores", "did you mean \"Reject\"?"),
        ("healthPath: healthz", "healthPath", "must start with /"),
        ("healthPath: /health?x", "healthPath", "percent-encode it"),
    ] {
        let faults = found(&format!("{{name: a, address: '127.0.0.1:1', {setting}}}"));
        assert_eq!((faults.len(), &*faults[0].0), (1, &*format!("listeners[0].{place}")), "{faults:?}");
        assert!(faults[0].1.contains(part), "{faults:?}");
    }
    let useless =
        "{name: a, address: '127.0.0.1:1', tls: {certificates: [{certificateFile: c, privateKeyFile: k}]}}";
    assert!(found(useless)[0].1.contains("protocol: HTTPS"));
    for hostname in ["a.*.test", "*", "*a.test", "http://a", "a:80", "10.0.0.1", "-a.test", "a..b", "a b"] {
        let text = format!("{{name: a, address: '127.0.0.1:1', hostname: '{hostname}'}}");
        assert_eq!(found(&text).first().map(|f| f.0.as_str()), Some("listeners[0].hostname"), "{hostname}");
    }
}

#[test]
fn names_of_the_admin_listener_are_names() {
    let found = |hosts: &str| faults_of(&format!("{HEAD}{LISTENER}admin: {{hosts: [{hosts}]}}\n"));
    assert!(found("admin.example.com, penstock").is_empty());
    for host in ["'a:9901'", "'http://a'", "10.0.0.1", "'*.a'", "''"] {
        assert_eq!(found(&format!("ok, {host}"))[0].0, "admin.hosts[1]", "{host}");
    }
    let refused = faults_of(&format!("{HEAD}{LISTENER}admin: {{debug: everyone}}\n"));
    assert_eq!(refused[0].0, "admin.debug");
    assert!(refused[0].1.contains("anyone"), "{}", refused[0].1);
}

#[test]
fn a_misspelt_stream_is_not_a_file() {
    assert_fault("accessLog: {path: stdot}", "accessLog.path", "did you mean \"stdout\"?");
    assert!(faults_of(&format!("{HEAD}{LISTENER}accessLog: {{path: ./log}}")).is_empty());
}

#[test]
fn routes() {
    let around = "pools: [{name: p}]\n";
    let rule = "rules: [{targets: [{pool: p}]}]";
    assert_fault(
        &format!("{around}routes: [{{name: r, listeners: [htp], {rule}}}]"),
        "routes[0].listeners[0]",
        "did you mean \"http\"?",
    );
    assert_fault(
        &format!("{around}routes: [{{name: r, hostnames: [a, A], {rule}}}]"),
        "routes[0].hostnames[1]",
        "twice",
    );
    assert_fault(
        &format!("{around}routes: [{{name: r, {rule}}}, {{name: r, {rule}}}]"),
        "routes[1].name",
        "routes[0] already",
    );
    assert_fault(
        &format!("{around}routes: [{{name: r, modelsCreatedAt: today, {rule}}}]"),
        "routes[0].modelsCreatedAt",
        "2026",
    );
    assert_fault(&format!("{around}routes: [{{name: r, rules: []}}]"), "routes[0].rules", "at least 1");
    let found = faults_of(&format!(
        "{HEAD}listeners: [{{name: a, address: '127.0.0.1:1', hostname: '*.a.test'}}]\n{around}routes: [{{name: r, hostnames: [b.test], {rule}}}]"
    ));
    assert_eq!(found[0].0, "routes[0].hostnames", "{found:?}");
}

#[test]
fn targets() {
    assert_rule_fault("name: x", "", "give it targets or a redirect");
    assert_rule_fault("targets: [{weight: 1}]", "targets[0]", "leads nowhere");
    assert_rule_fault("targets: [{pool: p, backend: b}]", "targets[0]", "both");
    assert_rule_fault("targets: [{pool: b}]", "targets[0].pool", "write `backend`");
    assert_rule_fault("targets: [{backend: p}]", "targets[0].backend", "write `pool`");
    assert_rule_fault("targets: [{pool: zebra}]", "targets[0].pool", "there are \"p\"");
    assert_rule_fault("targets: [{pool: p, weight: 1000001}]", "targets[0].weight", "0 to 1000000");
    assert_rule_fault(
        r#"targets: [{pool: p, modelOverride: "a\nb"}]"#,
        "targets[0].modelOverride",
        "contains",
    );
    assert_rule_fault("targets: [{pool: p}], redirect: {}", "redirect", "not both");
    assert_rule_fault("redirect: {}, urlRewrite: {hostname: a}", "urlRewrite", "of no use");
    assert_rule_fault("redirect: {statusCode: 304}", "redirect.statusCode", "choose 301");
    assert_rule_fault(
        "targets: [{pool: p}], timeouts: {request: 1s, perTry: 2s}",
        "timeouts.perTry",
        "longer",
    );
    assert_rule_fault("targets: [{pool: p}], retry: {statuses: [200]}", "retry.statuses[0]", "400 to 599");
}

#[test]
fn a_rule_of_weight_zero_is_sound_and_leads_nowhere() {
    let text = format!(
        "{HEAD}{LISTENER}pools: [{{name: p}}]\nroutes: [{{name: r, rules: [{{targets: [{{pool: p, weight: 0}}]}}]}}]"
    );
    let snapshot = Snapshot::compile(&text, &NoProfileCheck).unwrap_or_else(|faults| panic!("{faults}"));
    assert!(
        matches!(&snapshot.rules()[0].action, penstock_config::Action::Forward(tiers) if tiers.is_empty())
    );
}

#[test]
fn headers_cannot_smuggle() {
    let set = |name: &str, value: &str| {
        format!("targets: [{{pool: p}}], requestHeaders: {{set: [{{name: \"{name}\", value: \"{value}\"}}]}}")
    };
    for value in [r"a\r\nb: c", r"a\nb", r"a\0b", r"\x7f", "é"] {
        assert_rule_fault(&set("x-a", value), "requestHeaders.set[0].value", "printable ASCII");
    }
    for name in ["x a", "x:a", ":path", r"x\na", "é"] {
        assert_rule_fault(&set(name, "v"), "requestHeaders.set[0].name", "not a header's name");
    }
    for name in ["Content-Length", "transfer-encoding", "connection", "host"] {
        assert_rule_fault(&set(name, "v"), "requestHeaders.set[0].name", "cannot be changed");
    }
    assert_rule_fault(
        "targets: [{pool: p}], responseHeaders: {remove: [X-A], add: [{name: x-a, value: b}]}",
        "responseHeaders.add[0].name",
        "already",
    );
    assert_rule_fault(
        r#"matches: [{headers: [{name: x-a, value: "a\nb"}]}], targets: [{pool: p}]"#,
        "matches[0].headers[0].value",
        "printable ASCII",
    );
    assert_rule_fault(r#"models: ["a\nb"], targets: [{pool: p}]"#, "models[0]", "contains");
}

#[test]
fn matches() {
    for path in ["v1", "/a//b", "/a/../b", "/a/.", "/a%2Fb", "/a b", "/a?b", "/a#b", "/é"] {
        assert_rule_fault(
            &format!("matches: [{{path: {{value: '{path}'}}}}], targets: [{{pool: p}}]"),
            "matches[0].path.value",
            "must",
        );
    }
    assert_rule_fault(
        "matches: [{path: {type: Prefix}}], targets: [{pool: p}]",
        "matches[0].path.type",
        "did you mean \"PathPrefix\"?",
    );
    assert_rule_fault(
        "matches: [{method: post}], targets: [{pool: p}]",
        "matches[0].method",
        "did you mean \"POST\"?",
    );
    assert_rule_fault(
        "matches: [{headers: [{name: x-a, value: b}, {name: X-A, value: c}]}], targets: [{pool: p}]",
        "matches[0].headers[1].name",
        "already",
    );
    assert_rule_fault(
        "matches: [{headers: [{name: x-ai-eg-model, value: a}]}], models: [b], targets: [{pool: p}]",
        "matches[0].headers",
        "keep one",
    );
    assert_rule_fault("models: [a, a], targets: [{pool: p}]", "models[1]", "twice");
    assert_rule_fault(
        &format!("models: [{}], targets: [{{pool: p}}]", "m".repeat(257)),
        "models[0]",
        "limits.modelBytes (256)",
    );
    assert_rule_fault(
        "matches: [{path: {type: RegularExpression, value: '/a('}}], targets: [{pool: p}]",
        "matches[0].path.value",
        "unclosed group",
    );
}

#[test]
fn rewrites() {
    let rewrite = |path: &str| format!("targets: [{{pool: p}}], urlRewrite: {{path: {{{path}}}}}");
    assert_rule_fault("targets: [{pool: p}], urlRewrite: {}", "urlRewrite", "changes nothing");
    assert_rule_fault(&rewrite("type: ReplaceFullPath"), "urlRewrite.path.replaceFullPath", "is missing");
    assert_rule_fault(
        &rewrite("type: ReplaceFullPath, replaceFullPath: a"),
        "urlRewrite.path.replaceFullPath",
        "start with /",
    );
    assert_rule_fault(
        &rewrite("type: ReplaceFullPath, replaceFullPath: /a, replacePrefixMatch: /b"),
        "urlRewrite.path.replacePrefixMatch",
        "does not go",
    );
    assert_rule_fault(
        &format!(
            "matches: [{{path: {{type: Exact, value: /a}}}}], {}",
            rewrite("type: ReplacePrefixMatch, replacePrefixMatch: /b")
        ),
        "urlRewrite.path",
        "PathPrefix in every match",
    );
}

#[test]
fn pools_and_backends() {
    let pool = |rest: &str| format!("pools: [{{name: p, {rest}}}]\n");
    let backend =
        |rest: &str| format!("backends: [{{name: b, endpoints: [{{host: h, port: 1}}], {rest}}}]\n");
    let endpoints = "endpoints: [{address: '10.0.0.1:1'}, {address: '10.0.0.1:1'}]";
    assert_fault(&pool(endpoints), "pools[0].endpoints[1].address", "endpoints[0] already");
    assert_fault(
        &pool("endpoints: [{address: '0.0.0.0:1'}]"),
        "pools[0].endpoints[0].address",
        "cannot be connected",
    );
    assert_fault(&pool("protocol: h2"), "pools[0].protocol", "add tls");
    assert_fault(&pool("protocol: h2c, tls: {}"), "pools[0].protocol", "write h2");
    assert_fault(&pool("tls: {clientKeyFile: k}"), "pools[0].tls.clientCertificateFile", "is missing");
    assert_fault(
        &pool("tls: {caFile: c, insecureSkipVerify: true}"),
        "pools[0].tls.insecureSkipVerify",
        "contradicts",
    );
    assert_fault(
        &pool("metrics: {minInterval: 10s}"),
        "pools[0].metrics.minInterval",
        "longer than maxInterval (5s)",
    );
    assert_fault(&pool("metrics: {path: metrics}"), "pools[0].metrics.path", "start with /");
    assert_fault(&pool("ejection: {baseTime: 2m}"), "pools[0].ejection.baseTime", "longer than maxTime");
    assert_fault(
        &pool("saturation: {queue: {timeout: 2h}}"),
        "pools[0].saturation.queue.timeout",
        "1ms to 1h",
    );
    assert_fault(&pool("picker: 5"), "pools[0].picker", "an object");
    assert_fault(&pool("objectives: [{name: a}, {name: a}]"), "pools[0].objectives[1].name", "already");
    assert_fault(&backend("healthCheck: {path: '?'}"), "backends[0].healthCheck.path", "start with /");
    assert_fault(&backend("healthCheck: {path: '/a?b#c'}"), "backends[0].healthCheck.path", "spaces or #");
    assert_fault(&backend("healthCheck: {host: 'a b'}"), "backends[0].healthCheck.host", "is no host");
    assert_fault(&backend("healthCheck: {statuses: [100]}"), "backends[0].healthCheck.statuses[0]", "200");
    assert_fault(
        &backend("healthCheck: {method: HEAD, contains: ok}"),
        "backends[0].healthCheck.contains",
        "no body",
    );
    assert_fault(&backend("panicPercent: 101"), "backends[0].panicPercent", "100");
    assert_fault(
        &backend("circuitBreaker: {maxConnections: -1}"),
        "backends[0].circuitBreaker.maxConnections",
        "",
    );
    assert_fault(&backend("circuitBreaker: {maxRequests: 1}"), "backends[0].circuitBreaker.maxRequests", "");
    assert_fault(
        &backend("failureRuns: {serverErrors: 2000000}"),
        "backends[0].failureRuns.serverErrors",
        "1000000",
    );
    assert_fault("backends: [{name: b, endpoints: []}]\n", "backends[0].endpoints", "at least 1");
    assert_fault(
        "backends: [{name: b, endpoints: [{host: 'http://h', port: 1}]}]\n",
        "backends[0].endpoints[0].host",
        "leave out scheme",
    );
    for (address, part) in [
        ("localhost:8000", "\"127.0.0.1:8000\" for localhost"),
        ("http://10.0.0.1:8000", "a URL is not an address"),
        ("10.0.0.1", "has no port"),
    ] {
        let body = format!("pools: [{{name: p, endpoints: [{{address: '{address}'}}]}}]\n");
        assert_fault(&body, "pools[0].endpoints[0].address", part);
    }
    assert_fault(
        "backends: [{name: b, endpoints: [{host: h, port: 0}]}]\n",
        "backends[0].endpoints[0].port",
        "1 to 65535",
    );
}

struct Picky;

impl ProfileCheck for Picky {
    fn check(&self, document: &serde_json::Value) -> Vec<Fault> {
        vec![Fault::new("plugins[0].type", document["kind"].to_string()), Fault::new("", "bad")]
    }
}

#[test]
fn faults_of_a_profile_are_placed_in_the_pool() {
    let text = format!("{HEAD}{LISTENER}pools: [{{name: p, picker: {{kind: X}}}}]\n");
    let faults = Snapshot::compile(&text, &Picky).expect_err("it has faults").to_string();
    assert_eq!(faults, "pools[0].picker.plugins[0].type: \"X\"\npools[0].picker: bad");
}

#[test]
fn the_dump_has_defaults_and_no_credentials() {
    let text = format!(
        "{HEAD}{LISTENER}pools: [{{name: p}}]\nroutes: [{{name: r, rules: [{{targets: [{{pool: p, requestHeaders: {{set: [{{name: Authorization, value: Bearer sk-1}}, {{name: x-a, value: plain}}]}}}}]}}]}}]"
    );
    let snapshot = Snapshot::compile(&text, &NoProfileCheck).unwrap_or_else(|faults| panic!("{faults}"));
    let dump = snapshot.redacted();
    assert_eq!(dump["limits"]["bodyBytes"], "64MiB");
    assert!(!dump.to_string().contains("sk-1") && dump.to_string().contains("plain"));
    assert!(!format!("{:?}", snapshot.rules()).contains("sk-1"));
    // Written out and read again, it is the same document.
    let again =
        Snapshot::compile(&dump.to_string(), &NoProfileCheck).unwrap_or_else(|faults| panic!("{faults}"));
    assert_eq!(again.redacted(), dump);
}

#[test]
fn a_member_of_bodies_is_changed_once() {
    assert_rule_fault(
        "targets: [{pool: p, body: {set: [{name: tier, value: 1.5}, {name: a, value: {b: [null]}}], remove: [tier]}}]",
        "targets[0].body.remove[0]",
        "the member \"tier\" is changed here already",
    );
}

#[test]
fn a_rules_secret_is_in_a_header_that_may_be_changed() {
    let rule = |credential: &str| format!("targets: [{{pool: p}}], credential: {{{credential}}}");
    for (credential, place, part) in [
        ("file: /k, header: Host", "credential.header", "use urlRewrite.hostname"),
        ("file: /k, header: content-length", "credential.header", "frames the message"),
        ("file: /k, header: 'a b'", "credential.header", "not a header's name"),
        ("file: 'secret:k'", "credential.file", "secretsFrom"),
        ("file: ''", "credential.file", "is empty"),
    ] {
        assert_rule_fault(&rule(credential), place, part);
    }
    assert_rule_fault("redirect: {port: 81}, credential: {file: /k}", "credential", "nothing is sent on");
}
