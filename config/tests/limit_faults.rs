//! What is wrong with limits, prices and the store of counters is said at its place, with a way out.

use penstock_config::{Fault, NoProfileCheck, Snapshot};

const HEAD: &str = "apiVersion: penstock.dev/v1alpha1\nkind: RoutingConfig\n";
const LISTENER: &str = "listeners: [{name: http, address: '127.0.0.1:8080'}]\n";

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

/// The same for each of some limits.
#[track_caller]
fn assert_limit_faults(table: &[(&str, &str, &str)]) {
    for (fields, place, part) in table {
        let dot = if place.is_empty() { "" } else { "." };
        assert_fault(
            &format!("policies: [{{name: p, limits: [{{name: l, {fields}}}]}}]\n"),
            &format!("policies[0].limits[0]{dot}{place}"),
            part,
        );
    }
}

/// Where a document warns of something, and with what.
#[track_caller]
fn warnings_of(body: &str) -> Vec<(String, String)> {
    let snapshot = Snapshot::compile(&format!("{HEAD}{LISTENER}{body}"), &NoProfileCheck);
    let snapshot = snapshot.unwrap_or_else(|faults| panic!("{faults}"));
    snapshot.warnings().iter().map(|fault| (fault.path.clone(), fault.message.clone())).collect()
}

#[test]
fn a_limit_has_one_window_and_one_count() {
    assert_limit_faults(&[
        ("amount: 1", "window", "is missing: give it one of tokenBucket, sliding, fixed or calendar"),
        ("amount: 1, window: {}", "window", "has 0 windows"),
        ("amount: 1, window: {sliding: 1m, fixed: 1m}", "window", "has 2 windows"),
        ("amount: 1, count: Concurrency, window: {fixed: 1s}", "window", "leave it out"),
        ("amount: 1, window: {sliding: 1m, timeZone: UTC}", "window.timeZone", "without calendar"),
        ("amount: 1, window: {calendar: Day, weekStart: Sunday}", "window.weekStart", "calendar: Week"),
        ("amount: 1, window: {calendar: Day, timeZone: Europe/Bonn}", "window.timeZone", "\"Europe/Berlin\""),
        ("amount: 1, window: {sliding: 10ms, fixed: 1s}", "window.sliding", "choose 1s to 8784h"),
        (
            "amount: 1, window: {fixed: 1s}, count: Cost, expression: '1'",
            "expression",
            "keep count or expression",
        ),
        ("amount: 1, window: {fixed: 1s}, expression: 'input_tokens * 2'", "expression", "with a `u`"),
        ("window: {fixed: 1s}", "amount", "is missing"),
    ]);
}

#[test]
fn amounts_are_exact() {
    assert_limit_faults(&[
        ("window: {fixed: 1s}, amount: 1.5", "amount", "only limits of Cost have decimals"),
        ("window: {fixed: 1s}, amount: -1", "amount", "not an amount"),
        ("window: {fixed: 1s}, amount: many", "amount", "not an amount"),
        ("window: {fixed: 1s}, amount: true", "amount", "must be an amount"),
        ("window: {fixed: 1s}, count: Cost, amount: '0.0000000001'", "amount", "more than 9 decimals"),
        ("window: {fixed: 1s}, count: Cost, amount: 0.12345678901234567", "amount", "put it in quotes"),
        ("window: {fixed: 1s}, count: Cost, amount: '99999999999'", "amount", "more than can be counted"),
        ("window: {fixed: 1s}, amount: 1, each: 0", "each", "nothing is ever counted"),
        ("amount: 2, count: Concurrency, each: 0.5", "each", "not a whole number"),
    ]);
}

#[test]
fn what_is_counted_for_is_something_that_requests_have() {
    assert_limit_faults(&[
        ("window: {fixed: 1s}, amount: 1, per: [consumers]", "per[0]", "did you mean \"consumer\"?"),
        ("window: {fixed: 1s}, amount: 1, per: ['headers:x']", "per[0]", "is nothing that requests have"),
        ("window: {fixed: 1s}, amount: 1, per: ['header:a b']", "per[0]", "is not a header's name"),
        ("window: {fixed: 1s}, amount: 1, per: ['tag:']", "per[0]", "is empty"),
        ("window: {fixed: 1s}, amount: 1, per: ['claim:a..b']", "per[0]", "is no claim"),
        ("window: {fixed: 1s}, amount: 1, per: ['address:33/56']", "per[0]", "address:24/56"),
        ("window: {fixed: 1s}, amount: 1, per: ['address:24']", "per[0]", "address:24/56"),
        ("window: {fixed: 1s}, amount: 1, per: [path, path]", "per[1]", "given twice"),
        ("window: {fixed: 1s}, amount: 1, missing: Deny", "missing", "without per"),
        ("window: {fixed: 1s}, amount: 1, cutStreams: true", "cutStreams", "does not grow"),
    ]);
}

#[test]
fn conditions_of_limits_are_checked() {
    let limit = |when: &str| format!("window: {{fixed: 1s}}, amount: 1, when: {{{when}}}");
    for (when, place, part) in [
        ("headers: [{name: a}]", "headers[0].value", "or type: Present"),
        ("headers: [{name: a, type: Present, value: b}]", "headers[0].value", "which any value meets"),
        ("headers: [{name: 'a b', value: b}]", "headers[0].name", "not a header's name"),
        (
            "queryParams: [{name: a, type: RegularExpression, value: '('}]",
            "queryParams[0].value",
            "not a regular",
        ),
        ("paths: [{value: v1}]", "paths[0].value", "must start with /"),
        ("paths: [{type: RegularExpression, value: '(a{1000}){1000}'}]", "paths[0].value", "too large"),
        ("models: ['a*b']", "models[0]", "before its end"),
        ("tags: {team: []}", "tags.team", "has no values"),
        ("consumers: [a, a]", "consumers[1]", "given twice"),
    ] {
        assert_limit_faults(&[(&limit(when), &format!("when.{place}"), part)]);
    }
}

#[test]
fn names_of_limits_are_unique_in_their_policy() {
    let limit = "{name: l, amount: 1, window: {fixed: 1s}}";
    let body =
        format!("policies: [{{name: p, limits: [{limit}, {limit}]}}, {{name: q, limits: [{limit}]}}]\n");
    assert_fault(&body, "policies[0].limits[1].name", "already");
    assert_fault("policies: [{name: p, limits: []}]\n", "policies[0]", "authorization, limits or cors");
}

#[test]
fn amounts_of_consumers_are_those_of_limits_that_count_for_each() {
    let policies = "policies: [{name: p, limits: [{name: tokens, count: TotalTokens, amount: 1, window: {fixed: 1s}, per: \
                    [consumer]}, {name: all, amount: 1, window: {fixed: 1s}}]}, {name: q, limits: [{name: money, count: Cost, \
                    amount: 1, window: {fixed: 1s}, per: [consumer]}]}, {name: r, limits: [{name: money, amount: 1, window: \
                    {fixed: 1s}, per: [consumer]}]}]\n";
    for (limits, place, part) in [
        ("token: 1", "token", "no policy has a limit \"token\"; did you mean \"tokens\"?"),
        ("all: 1", "all", "add consumer to its per"),
        ("money: 1", "money", "name them differently"),
        ("tokens: 1.5", "tokens", "not a whole number"),
        ("tokens: x", "tokens", "not an amount"),
    ] {
        let body = format!("{policies}consumers: [{{name: a, limits: {{{limits}}}}}]\n");
        assert_fault(&body, &format!("consumers[0].limits.{place}"), part);
    }
}

#[test]
fn policies_are_named_where_they_can_be_asked() {
    let late = "policies: [{name: late, limits: [{name: l, amount: 1, window: {fixed: 1s}, per: [upstream]}]}, {name: who, \
                authorization: {}}]\npools: [{name: p}]\n";
    let rule = "routes: [{name: r, rules: [{policies: [late], targets: [{pool: p}]}]}]\n";
    assert_fault(
        &format!("{late}{rule}"),
        "routes[0].rules[0].policies[0]",
        "name it in the policies of pools",
    );
    let body = late.replace("name: p}]\n", "name: p, policies: [late, who]}]\n");
    assert_fault(&body, "pools[0].policies[1]", "has more than limits");
    let body = format!(
        "{late}backends: [{{name: b, policies: [who], endpoints: [{{host: a.example, port: 80}}]}}]\n"
    );
    assert_fault(&body, "backends[0].policies[0]", "a policy of their own");
    for more in ["cors: {allowOrigins: ['https://a.example']}", "external: {http: {backend: b}}"] {
        let body = format!(
            "policies: [{{name: more, {more}}}]\n\
             backends: [{{name: b, policies: [more], endpoints: [{{host: a.example, port: 80}}]}}]\n"
        );
        assert_fault(&body, "backends[0].policies[0]", "has more than limits");
    }
    assert_fault("pools: [{name: p, policies: [none]}]\n", "pools[0].policies[0]", "there is no policy");
}

#[test]
fn prices_are_for_models_that_have_none_yet() {
    for (prices, place, part) in [
        ("{models: [a], upstream: o}", "[0].upstream", "there is no pool or backend \"o\""),
        ("{models: [a, a]}", "[0].models[1]", "has its price at prices[0] already"),
        ("{models: [a]}, {models: [a], input: 1}", "[1].models[0]", "has its price at prices[0] already"),
        ("{models: ['a*b']}", "[0].models[0]", "before its end"),
        ("{models: ['']}", "[0].models[0]", "is empty"),
        ("{models: [a], input: '0.0000000001'}", "[0].input", "more than 9 decimals"),
        ("{models: [a], per: Token, output: '99999'}", "[0].output", "more than can be counted"),
        (
            "{models: [a], tiers: [{aboveInputTokens: 5}, {aboveInputTokens: 5}]}",
            "[0].tiers[1].aboveInputTokens",
            "put tiers in order",
        ),
        ("{models: [a], request: '0.0000000001'}", "[0].request", "more than 9 decimals"),
    ] {
        assert_fault(&format!("prices: [{prices}]\n"), &format!("prices{place}"), part);
    }
}

#[test]
fn a_store_has_addresses_and_no_password_in_them() {
    for (redis, place, part) in [
        ("addresses: []", "addresses", "needs at least 1 item"),
        ("addresses: ['redis://u:p@h:1']", "addresses[0]", "leave out the scheme"),
        ("addresses: [redis]", "addresses[0]", "such as \"redis:6379\""),
        ("addresses: ['redis:0']", "addresses[0]", "such as \"redis:6379\""),
        ("addresses: ['a:1', 'a:1'], mode: Cluster", "addresses[1]", "given twice"),
        ("addresses: ['a:1', 'b:1']", "addresses[1]", "mode: Cluster or Sentinel"),
        ("addresses: ['a:1'], mode: Sentinel", "primary", "is missing"),
        ("addresses: ['a:1'], primary: x", "primary", "mode: Sentinel"),
        ("addresses: ['a:1'], mode: Cluster, database: 1", "database", "database 0 alone"),
        ("addresses: ['a:1'], keyPrefix: 'a b'", "keyPrefix", "use letters"),
        ("addresses: ['a:1'], scope: 'a b'", "scope", "use letters"),
        ("addresses: ['a:1'], deadline: 10s", "deadline", "choose 1ms to 5s"),
        ("addresses: ['a:1'], passwordFile: 'secret:p'", "passwordFile", "name that in secretsFrom"),
    ] {
        assert_fault(
            &format!("limitStore: {{redis: {{{redis}}}}}\n"),
            &format!("limitStore.redis.{place}"),
            part,
        );
    }
    let message = &faults_of("limitStore: {redis: {addresses: ['redis://u:hunter2@h:1']}}\n")[0].message;
    assert!(!message.contains("hunter2"), "{message}");
}

#[test]
fn limits_that_are_rarely_meant_are_warned_of() {
    for (fields, place, part) in [
        ("amount: 0, window: {fixed: 1s}", "amount", "every request that the limit is for is refused"),
        ("amount: 5, each: 6, window: {fixed: 1s}", "each", "more than the amount (5)"),
        ("amount: 1000000000000000, window: {fixed: 1s}", "amount", "refuses nothing"),
        ("amount: 5, window: {fixed: 1s}, per: [consumer]", "per[0]", "no policy asks who asks"),
        ("amount: 5, window: {fixed: 1s}, per: ['tag:team']", "per[0]", "no consumer has the tag \"team\""),
        ("amount: 5, window: {fixed: 1s}, per: ['claim:org']", "per[0]", "no policy asks for tokens"),
        (
            "amount: 5, window: {fixed: 1s}, when: {consumers: [a]}",
            "when.consumers[0]",
            "there is no consumer",
        ),
        ("amount: 5, window: {fixed: 1s}, shared: true", "shared", "each of the 2 gateways has its share"),
    ] {
        let body = format!(
            "replicas: 2\npolicies: [{{name: p, limits: [{{name: l, {fields}}}]}}]\npools: [{{name: q, policies: [p]}}]\n"
        );
        let found = warnings_of(&body);
        let found: Vec<_> = found.iter().filter(|(place, _)| place.starts_with("policies")).collect();
        assert_eq!(found.len(), 1, "{fields}: {found:?}");
        assert_eq!(found[0].0, format!("policies[0].limits[0].{place}"), "{fields}: {found:?}");
        assert!(found[0].1.contains(part), "{fields}: {found:?}");
    }
}

#[test]
fn a_model_without_a_price_is_warned_of_where_costs_are_limited() {
    let body = |prices: &str| {
        format!(
            "policies: [{{name: budget, limits: [{{name: l, count: Cost, amount: 5, window: {{calendar: Month}}}}]}}]\n\
             backends: [{{name: b, endpoints: [{{host: a.example, port: 80}}]}}]\n\
             routes: [{{name: r, rules: [{{models: [m, k], policies: [budget], targets: [{{backend: b}}, {{backend: b, \
             modelOverride: o}}]}}, {{models: [free], targets: [{{backend: b}}]}}]}}]\n{prices}"
        )
    };
    let places = |prices: &str| -> Vec<(String, bool)> {
        let found = warnings_of(&body(prices)).into_iter();
        found.map(|(place, message)| (place, message.contains("has no price"))).collect()
    };
    let target = |index: usize| (format!("routes[0].rules[0].targets[{index}]"), true);
    assert_eq!(places(""), [target(0), target(0), target(1)]);
    assert_eq!(places("prices: [{models: [m, o]}]\n"), [target(0)]);
    assert_eq!(places("prices: [{models: ['*'], upstream: b}]\n"), []);
    assert_eq!(places("pricesFile: /prices.yaml\n"), []);
}
