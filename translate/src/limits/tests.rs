//! Limits as documents have them.

use serde_json::{Value, json};

use super::{Costs, Limits};
use crate::api::{AiRequestCost, QuotaPolicy};

fn cost(key: &str, kind: &str, cel: Option<&str>) -> AiRequestCost {
    AiRequestCost { metadata_key: key.to_owned(), kind: kind.to_owned(), cel: cel.map(ToOwned::to_owned) }
}

#[track_caller]
fn read(settings: &Value) -> Limits {
    Limits::read(settings).unwrap().expect("it limits something")
}

/// The limits of a rule, globally, where costs are those of a route.
fn global(rule: &Value, costs: &[AiRequestCost]) -> Result<Value, String> {
    let limits = Limits::read(&json!({"global": {"rules": [rule]}}))?.expect("it limits something");
    let limits = limits.global.expect("it is global").limits(&Costs::of(costs, &[], true), false)?;
    Ok(serde_json::to_value(limits).unwrap())
}

#[test]
fn a_global_rule_counts_in_windows_that_are_shared() {
    let rule = json!({
        "clientSelectors": [{"headers": [
            {"name": "X-User", "type": "Distinct"},
            {"name": "x-org", "value": "a"},
            {"name": "x-kind", "type": "RegularExpression", "value": "b|c", "invert": true},
        ]}],
        "limit": {"requests": 3, "unit": "Hour"},
    });
    let expected = json!([{
        "name": "global-0", "amount": 3, "window": {"fixed": "1h"}, "per": ["header:x-user", "route"], "shared": true,
        "when": {"headers": [
            {"type": "Exact", "name": "x-org", "value": "a"},
            {"type": "RegularExpression", "name": "x-kind", "value": "b|c", "invert": true},
        ]},
    }]);
    assert_eq!(global(&rule, &[]).unwrap(), expected);
}

#[test]
fn units_are_those_of_envoys_service() {
    for (unit, window) in [
        ("Second", "1s"),
        ("Minute", "1m"),
        ("Day", "24h"),
        ("Week", "168h"),
        ("Month", "720h"),
        ("Year", "8760h"),
    ] {
        let limits = global(&json!({"shared": true, "limit": {"requests": 0, "unit": unit}}), &[]).unwrap();
        assert_eq!(limits[0]["window"], json!({"fixed": window}), "{unit}");
        assert_eq!((&limits[0]["amount"], &limits[0]["per"]), (&json!(0), &Value::Null), "{unit}");
    }
    let limits = read(&json!({"global": {"rules": [{"limit": {"requests": 1, "unit": "Month"}}]}}));
    assert!(limits.notes().any(|note| note.contains("a month has 30 days")));
}

#[test]
fn costs_are_what_the_route_has_under_their_key() {
    let rule = |key: &str| {
        json!({
            "limit": {"requests": 10, "unit": "Hour"},
            "cost": {
                "request": {"from": "Number", "number": 0},
                "response": {"from": "Metadata", "metadata": {"namespace": "io.envoy.ai_gateway", "key": key}},
            },
        })
    };
    let costs = [
        cost("in", "InputToken", None),
        cost("cached", "CachedInputToken", None),
        cost("written", "CacheCreationInputToken", None),
        cost("out", "OutputToken", None),
        cost("thought", "ReasoningToken", None),
        cost("all", "TotalToken", None),
        cost("cel", "CEL", Some("input_tokens == uint(3) ? 100000000 : 0")),
        cost("wrong", "CEL", Some("input_tokens * 2")),
        cost("odd", "Tokens", None),
    ];
    for (key, count) in [
        ("in", "InputTokens"),
        ("cached", "CachedInputTokens"),
        ("written", "CacheWriteTokens"),
        ("out", "OutputTokens"),
        ("thought", "ReasoningTokens"),
        ("all", "TotalTokens"),
    ] {
        let limits = global(&rule(key), &costs).unwrap();
        assert_eq!((&limits[0]["count"], &limits[0]["each"]), (&json!(count), &json!(0)), "{key}");
    }
    let limits = global(&rule("cel"), &costs).unwrap();
    assert_eq!(limits[0]["expression"], json!("input_tokens == uint(3) ? 100000000 : 0"));
    for (key, part) in [
        ("wrong", "write numbers with a `u`"),
        ("odd", "there is no type \"Tokens\""),
        ("total", "rules[0].cost.response.metadata.key: no llmRequestCosts"),
    ] {
        let fault = global(&rule(key), &costs).unwrap_err();
        assert!(fault.contains(part), "{key}: {fault}");
    }
}

#[test]
fn a_route_takes_the_place_of_its_gateway_and_one_that_is_not_about_models_may_lack_costs() {
    let (own, of_gateway) =
        ([cost("k", "InputToken", None)], [cost("k", "OutputToken", None), cost("g", "TotalToken", None)]);
    let costs = Costs::of(&own, &of_gateway, true);
    assert_eq!(
        costs.get("k").unwrap(),
        Some(super::costs::Counted::Kind(penstock_config::raw::RawCount::InputTokens))
    );
    assert!(costs.get("g").unwrap().is_some());
    let metadata = json!({"namespace": "io.envoy.ai_gateway", "key": "k"});
    let rules = json!([
        {"limit": {"requests": 1, "unit": "Hour"}, "cost": {"response": {"from": "Metadata", "metadata": metadata}}},
        {"limit": {"requests": 1, "unit": "Hour"}},
    ]);
    let group = read(&json!({"global": {"rules": rules}})).global.unwrap();
    let names = |limits: Vec<penstock_config::raw::RawLimit>| -> Vec<String> {
        limits.into_iter().map(|limit| limit.name).collect()
    };
    assert_eq!(names(group.limits(&Costs::default(), true).unwrap()), ["global-1"]);
    assert_eq!(names(group.limits(&costs, false).unwrap()), ["global-0", "global-1"]);
}

#[test]
fn the_local_rule_without_selectors_is_for_what_no_other_is_for() {
    let settings = json!({"local": {"rules": [
        {"limit": {"requests": 10, "unit": "Second"}},
        {"clientSelectors": [{"headers": [{"name": "x-tier", "value": "gold"}]}], "limit": {"requests": 100, "unit": "Minute"}},
        {"clientSelectors": [{"sourceCIDR": {"value": "10.1.2.3/8"}}], "limit": {"requests": 5, "unit": "Minute"}, "cost":
         {"request": {"from": "Number", "number": 2}}, "shadowMode": true},
        {"clientSelectors": [{"headers": [{"name": "x-user", "type": "Distinct"}]}], "limit": {"requests": 7, "unit": "Minute"}},
    ]}});
    let group = read(&settings).local.unwrap();
    let limits = serde_json::to_value(group.limits(&Costs::default(), false).unwrap()).unwrap();
    let gold = json!({"type": "Exact", "name": "x-tier", "value": "gold"});
    let not_gold = json!({"type": "Exact", "name": "x-tier", "value": "gold", "invert": true});
    let user = json!({"type": "Present", "name": "x-user"});
    let no_user = json!({"type": "Present", "name": "x-user", "invert": true});
    let limit = |name: &str, amount: u32, window: &str, when: Value| json!({"name": name, "amount": amount, "window": {"tokenBucket": window}, "per": ["route"], "when": when, "shared": false});
    let mut third = limit("local-2", 5, "1m", json!({"addresses": ["10.0.0.0/8"]}));
    third["each"] = json!(2);
    third["shadow"] = json!(true);
    let mut fourth = limit("local-3", 7, "1m", json!({"headers": [user]}));
    fourth["per"] = json!(["header:x-user", "route"]);
    let expected = json!([
        limit("local-0", 10, "1s", json!({"notAddresses": ["10.0.0.0/8"], "headers": [not_gold, no_user]})),
        limit("local-1", 100, "1m", json!({"headers": [gold]})),
        third,
        fourth,
    ]);
    assert_eq!(limits, expected);
}

#[test]
fn all_selectors_have_to_be_met() {
    let rule = json!({
        "clientSelectors": [
            {"methods": [{"value": "GET"}, {"value": "POST"}], "path": {"value": "/v1"}},
            {"methods": [{"value": "POST"}, {"value": "PUT"}], "path": {"type": "Exact", "value": "/v1/x", "invert": true},
             "sourceCIDR": {"type": "Distinct", "value": "0.0.0.0/0"}},
            {"queryParams": [{"name": "q", "type": "Distinct"}, {"name": "r", "value": "1"}]},
        ],
        "limit": {"requests": 1, "unit": "Minute"},
    });
    let limits = global(&rule, &[]).unwrap();
    assert_eq!(limits[0]["per"], json!(["address", "query:q", "route"]));
    let expected = json!({
        "methods": ["POST"], "addresses": ["0.0.0.0/0"],
        "queryParams": [{"type": "Exact", "name": "r", "value": "1"}],
        "paths": [{"type": "PathPrefix", "value": "/v1"}, {"type": "Exact", "value": "/v1/x", "invert": true}],
    });
    assert_eq!(limits[0]["when"], expected);
}

#[test]
fn what_cannot_be_is_told_with_its_field() {
    let limit = json!({"requests": 1, "unit": "Minute"});
    let selectors = |selectors: Value| json!({"clientSelectors": selectors, "limit": limit});
    let cost = |cost: Value| json!({"limit": limit, "cost": cost});
    for (rule, part) in [
        (
            json!({"limit": {"requests": 1, "unit": "Minute", "fromMetadata": {}}}),
            "unknown field `fromMetadata`",
        ),
        (
            json!({"limit": {"requests": 1, "unit": "Fortnight"}}),
            "rules[0].limit.unit: there is no \"Fortnight\"",
        ),
        (json!({"limit": {"unit": "Hour"}}), "rules[0].limit.requests is missing"),
        (json!({"limit": limit, "more": 1}), "unknown field `more`"),
        (selectors(json!([{"headers": [{"name": "a"}]}])), "clientSelectors[0].headers: \"a\" has no value"),
        (
            selectors(json!([{"headers": [{"name": "a", "type": "Distinct", "invert": true}]}])),
            "Distinct has no contrary",
        ),
        (
            selectors(json!([{"headers": [{"name": "a", "type": "Prefix", "value": "b"}]}])),
            "there is no type \"Prefix\"",
        ),
        (selectors(json!([{"headers": [{"name": "a b", "value": "b"}]}])), "is not a header's name"),
        (selectors(json!([{"methods": [{"value": "BREW"}]}])), "\"BREW\" is no method"),
        (
            selectors(json!([{"methods": [{"value": "GET"}]}, {"methods": [{"value": "PUT"}]}])),
            "all selectors name",
        ),
        (selectors(json!([{"sourceCIDR": {"value": "x"}}])), "sourceCIDR: \"x\" not a range"),
        (
            selectors(json!([{"path": {"type": "RegularExpression", "value": "("}}])),
            "not a regular expression",
        ),
        (cost(json!({"request": {"from": "Metadata", "metadata": {}}})), "nothing notes a cost of requests"),
        (cost(json!({"response": {"from": "Metadata"}})), "cost.response.metadata is missing"),
        (
            cost(json!({"response": {"from": "Metadata", "metadata": {"namespace": "other", "key": "k"}}})),
            "costs of requests for models are in io.envoy.ai_gateway",
        ),
    ] {
        let fault = Limits::read(&json!({"global": {"rules": [rule]}})).expect_err(part);
        assert!(fault.starts_with("rateLimit") && fault.contains(part), "{part}: {fault}");
    }
    let selector = json!([{"headers": [{"name": "a", "value": "b"}], "methods": [{"value": "GET"}]}]);
    let rules = json!({"local": {"rules": [{"limit": limit}, selectors(selector)]}});
    let fault = Limits::read(&rules).unwrap_err();
    assert!(fault.starts_with("rateLimit.local.rules[1].clientSelectors: beside a rule without"), "{fault}");
    let cost = json!({"response": {"from": "Number", "number": 1}});
    let fault = Limits::read(&json!({"local": {"rules": [{"limit": limit, "cost": cost}]}})).unwrap_err();
    assert!(fault.contains("only global limits count responses"), "{fault}");
    assert!(Limits::read(&json!({"type": "Global"})).is_err());
}

#[test]
fn a_rule_that_counts_nothing_is_told() {
    let rule = json!({"limit": {"requests": 1, "unit": "Hour"}, "cost": {"request": {"from": "Number", "number": 0}}});
    let limits = read(&json!({"global": {"rules": [rule]}}));
    assert!(limits.notes().any(|note| note.contains("rateLimit.global.rules[0] counts nothing")));
    assert_eq!(limits.global.unwrap().limits(&Costs::default(), false).unwrap(), []);
}

#[test]
fn quotas_are_limits_of_upstreams_by_the_models_that_they_serve() {
    let spec: QuotaPolicy = serde_json::from_value(json!({
        "serviceQuota": {"costExpression": "input_tokens + output_tokens", "quota": {"limit": 500, "duration": "1d"}},
        "perModelQuotas": [{"modelName": "gpt-4o", "quota": {
            "mode": "Shared", "defaultBucket": {"limit": 10, "duration": "1m"},
            "bucketRules": [
                {"clientSelectors": [{"headers": [{"name": "x-tier", "value": "gold"}]}], "quota": {"limit": 90, "duration": "1h"}},
                {"clientSelectors": [{"headers": [{"name": "x-user", "type": "Distinct"}]}], "quota": {"limit": 5, "duration": "1s"},
                 "shadowMode": true},
            ],
        }}],
    }))
    .unwrap();
    let limits = serde_json::to_value(super::read_quota(&spec).unwrap()).unwrap();
    let gold = |invert: bool| {
        let mut header = json!({"type": "Exact", "name": "x-tier", "value": "gold"});
        if invert {
            header["invert"] = json!(true);
        }
        header
    };
    let expected = json!([
        {"name": "service", "expression": "input_tokens + output_tokens", "amount": 500, "window": {"sliding": "24h"},
         "shared": true},
        {"name": "model-0-rule-0", "count": "TotalTokens", "amount": 90, "window": {"sliding": "1h"},
         "when": {"models": ["gpt-4o"], "headers": [gold(false)]}, "shared": true},
        {"name": "model-0-rule-1", "count": "TotalTokens", "amount": 5, "window": {"sliding": "1s"},
         "per": ["header:x-user"], "shadow": true, "shared": true,
         "when": {"models": ["gpt-4o"], "headers": [{"type": "Present", "name": "x-user"}]}},
        {"name": "model-0", "count": "TotalTokens", "amount": 10, "window": {"sliding": "1m"},
         "when": {"models": ["gpt-4o"], "headers": [gold(true)]}, "shared": true},
    ]);
    assert_eq!(limits, expected);
}

#[test]
fn quotas_that_cannot_be_are_told_with_their_field() {
    for (spec, part) in [
        (
            json!({"serviceQuota": {"quota": {"limit": 1, "duration": "1w"}}}),
            "serviceQuota.quota.duration: there is no",
        ),
        (json!({"serviceQuota": {"quotas": {}}}), "serviceQuota: unknown field"),
        (
            json!({"perModelQuotas": [{"modelName": "a", "quota": {}}]}),
            "perModelQuotas[0].quota.defaultBucket is missing",
        ),
        (json!({"perModelQuotas": [{"quota": {}}]}), "perModelQuotas[0].modelName"),
        (
            json!({"perModelQuotas": [{"modelName": "a", "quota": {"mode": "Exclusive"}}]}),
            "perModelQuotas[0].quota.mode: there is no \"Exclusive\"",
        ),
        (
            json!({"perModelQuotas": [{"modelName": "a", "quota": {"costExpression": "tokens", "defaultBucket":
                {"limit": 1, "duration": "1s"}}}]}),
            "quota.costExpression: there is no variable tokens",
        ),
    ] {
        let spec: QuotaPolicy = serde_json::from_value(spec).unwrap();
        let fault = super::read_quota(&spec).expect_err(part);
        assert!(fault.contains(part), "{part}: {fault}");
    }
}
