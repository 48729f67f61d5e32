use std::collections::BTreeMap;

use http::HeaderValue;
use penstock_config::{Cidr, ClaimPath};
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn rule(action: Access) -> AccessRule {
    AccessRule {
        name: "r".into(),
        action,
        methods: Box::default(),
        models: None,
        addresses: Box::default(),
        consumers: Box::default(),
        tags: Box::default(),
        provider: None,
        claims: Box::default(),
        scopes: Box::default(),
        headers: Box::default(),
        paths: Box::default(),
        cel: None,
    }
}

fn texts(texts: &[&str]) -> Box<[Box<str>]> {
    texts.iter().map(|text| (*text).into()).collect()
}

fn identity(name: &str, tags: &[(&str, &str)], by: By, claims: Option<Value>) -> Identity {
    let tags = tags.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect::<BTreeMap<_, _>>();
    let consumer = Consumer {
        name: name.into(),
        keys: Box::default(),
        tags,
        models: None,
        limits: BTreeMap::new(),
        priority: None,
    };
    Identity { consumer: Arc::new(consumer), by, policy: Arc::default(), claims: claims.map(Arc::new) }
}

fn token(provider: &str, claims: Value) -> Identity {
    identity("ann", &[], By::Jwt { provider: provider.into() }, Some(claims))
}

/// A request of which nothing is known.
struct Asked {
    method: Method,
    path: &'static str,
    model: Model<'static>,
    tokens: Option<u64>,
    address: Option<IpAddr>,
    identities: Vec<Identity>,
    headers: HeaderMap,
}

fn asked() -> Asked {
    Asked {
        method: Method::POST,
        path: "/v1/chat/completions",
        model: Model::Unknown,
        tokens: None,
        address: None,
        identities: vec![],
        headers: HeaderMap::new(),
    }
}

fn asked_by(identities: impl Into<Vec<Identity>>) -> Asked {
    Asked { identities: identities.into(), ..asked() }
}

fn decide(rules: &[AccessRule], default_action: Access, asked: &Asked) -> Decision {
    let authorizer = Authorizer::new(&Authorization { default_action, rules: rules.into() });
    authorizer.decide(&facts(asked))
}

fn facts(asked: &Asked) -> Facts<'_> {
    Facts {
        method: &asked.method,
        host: "llm.example",
        path: asked.path,
        query: None,
        model: asked.model,
        tokens: asked.tokens,
        address: asked.address,
        port: 0,
        identities: &asked.identities,
        headers: &asked.headers,
    }
}

/// Whether the request meets the rule, by what the rule does.
fn meets(rule: &AccessRule, asked: &Asked) -> bool {
    let other = if rule.action == Access::Allow { Access::Deny } else { Access::Allow };
    let is_allowed = decide(std::slice::from_ref(rule), other, asked) == Decision::Allow;
    is_allowed == (rule.action == Access::Allow)
}

fn by_expression(action: Access, source: &str) -> AccessRule {
    AccessRule { cel: Some(Expression::parse(source).unwrap()), ..rule(action) }
}

#[test]
fn an_expression_is_one_of_a_rules_conditions() {
    let of = AccessRule {
        consumers: texts(&["ann"]),
        ..by_expression(Access::Allow, "tags.team == 'ads' && identity.by == 'api_key'")
    };
    let by = |name, team| asked_by([identity(name, &[("team", team)], By::ApiKey, None)]);
    assert!(meets(&of, &by("ann", "ads")));
    assert!(!meets(&of, &by("ann", "search")) && !meets(&of, &by("bob", "ads")));
    let claims = "claims.groups.exists(g, g == 'ops') && identity.provider == 'p'";
    let ops = asked_by([token("p", json!({"groups": ["dev", "ops"]}))]);
    for action in [Access::Allow, Access::Deny] {
        assert!(meets(&by_expression(action, claims), &ops));
        assert!(!meets(&by_expression(action, claims), &asked_by([token("p", json!({"groups": []}))])));
    }
}

#[test]
fn what_an_expression_cannot_tell_is_refused() {
    for source in
        ["model == 'gpt-4o'", "tokens < 5", "claims.level > 2", "address == '10.0.0.1'", "headers['x'] == ''"]
    {
        assert!(!meets(&by_expression(Access::Allow, source), &asked()), "{source}");
        assert!(meets(&by_expression(Access::Deny, source), &asked()), "{source}");
    }
    let level = asked_by([token("p", json!({"level": "3"}))]);
    assert!(!meets(&by_expression(Access::Allow, "claims.level > 2"), &level));
    assert!(meets(&by_expression(Access::Deny, "claims.level > 2"), &level));
    let large = Asked { tokens: Some(u64::MAX), model: Model::Named("gpt-4o"), ..asked() };
    assert!(meets(&by_expression(Access::Deny, "model == 'gpt-4o' && tokens > 4096"), &large));
}

#[test]
fn expressions_about_the_body_wait_for_it_and_leave_the_list_of_models_to_what_is_on_it() {
    let needs = |source| {
        let rules = [by_expression(Access::Deny, source)].into();
        Authorizer::new(&Authorization { default_action: Access::Allow, rules }).needs_model()
    };
    assert!(needs("model == 'a'") && needs("tokens > 1") && !needs("path == '/'"));
    let list = Asked { model: Model::List, ..asked() };
    for (source, allow, deny) in [("model == 'a'", true, false), ("path == '/'", false, false)] {
        assert_eq!(meets(&by_expression(Access::Allow, source), &list), allow, "{source}");
        assert_eq!(meets(&by_expression(Access::Deny, source), &list), deny, "{source}");
    }
}

#[test]
fn no_way_to_write_a_path_gets_around_an_expression_about_it() {
    let of = |action| by_expression(action, "path.startsWith('/v1/files')");
    let at = |path| Asked { path, ..asked() };
    for path in ["//v1/files", "/v1//files/a", "/v1%2Ffiles", "/v1/%66iles", "/v1;x/files"] {
        assert!(meets(&of(Access::Deny), &at(path)), "{path}");
        assert!(!meets(&of(Access::Allow), &at(path)), "{path}");
    }
    assert!(!meets(&by_expression(Access::Allow, "!path.startsWith('/v1/files')"), &at("//v1/files")));
    for action in [Access::Allow, Access::Deny] {
        assert!(meets(&of(action), &at("/v1/files/a")) && !meets(&of(action), &at("/v1/chat")));
    }
}

#[test]
fn the_first_rule_that_is_met_decides_else_the_default() {
    let named = |name: &str, action, consumer: &str| AccessRule {
        name: name.into(),
        consumers: texts(&[consumer]),
        ..rule(action)
    };
    let rules =
        [named("a", Access::Deny, "ann"), named("b", Access::Allow, "ann"), named("c", Access::Deny, "bob")];
    let by = |name: &str| asked_by([identity(name, &[], By::ApiKey, None)]);
    let denied = |rule: Option<&str>| Decision::Deny { rule: rule.map(Into::into) };
    assert_eq!(decide(&rules, Access::Allow, &by("ann")), denied(Some("a")));
    assert_eq!(decide(&rules, Access::Allow, &by("bob")), denied(Some("c")));
    assert_eq!(decide(&rules, Access::Allow, &by("carl")), Decision::Allow);
    assert_eq!(decide(&rules, Access::Deny, &by("carl")), denied(None));
    assert_eq!(decide(&rules[1..], Access::Deny, &by("ann")), Decision::Allow);
    assert_eq!(decide(&[], Access::Deny, &asked()), denied(None));
    // A rule that says nothing is met by everybody.
    assert_eq!(decide(&[rule(Access::Allow)], Access::Deny, &asked()), Decision::Allow);
}

#[test]
fn methods_are_met_by_one() {
    let get = AccessRule { methods: [Method::GET, Method::HEAD].into(), ..rule(Access::Allow) };
    assert!(meets(&get, &Asked { method: Method::HEAD, ..asked() }));
    assert!(!meets(&get, &asked()));
    assert!(!meets(&get, &Asked { method: Method::from_bytes(b"get").unwrap(), ..asked() }));
}

#[test]
fn hiding_the_model_leads_nowhere_and_the_list_of_models_shows_what_may_be_asked_for() {
    let of = |action| AccessRule { models: Some(ModelNames::new(["gpt-4o", "text-*"])), ..rule(action) };
    for (model, allow, deny) in [
        (Model::Named("gpt-4o"), true, true),
        (Model::Named("text-1"), true, true),
        (Model::Named("gpt-4"), false, false),
        (Model::Named(""), false, false),
        (Model::Unknown, false, true),
        (Model::List, true, false),
    ] {
        let asked = Asked { model, ..asked() };
        assert_eq!(meets(&of(Access::Allow), &asked), allow, "{model:?}");
        assert_eq!(meets(&of(Access::Deny), &asked), deny, "{model:?}");
    }
    let needs = |rules: &[AccessRule]| {
        Authorizer::new(&Authorization { default_action: Access::Allow, rules: rules.into() }).needs_model()
    };
    assert!(needs(&[rule(Access::Allow), of(Access::Deny)]) && !needs(&[rule(Access::Allow)]));
}

#[test]
fn addresses_are_in_a_range_and_an_unknown_one_may_be_in_any() {
    let ranges = ["10.0.0.0/8", "fd00::/8"].map(|range| Cidr::parse(range).unwrap());
    let of = |action| AccessRule { addresses: ranges.into(), ..rule(action) };
    for (address, is_in) in [
        ("10.1.2.3", true),
        ("::ffff:10.1.2.3", true),
        ("fd12::1", true),
        ("11.0.0.1", false),
        ("::ffff:11.0.0.1", false),
        ("::10.1.2.3", false),
    ] {
        let asked = Asked { address: Some(address.parse().unwrap()), ..asked() };
        assert_eq!(meets(&of(Access::Allow), &asked), is_in, "{address}");
        assert_eq!(meets(&of(Access::Deny), &asked), is_in, "{address}");
    }
    assert!(!meets(&of(Access::Allow), &asked()) && meets(&of(Access::Deny), &asked()));
}

#[test]
fn consumers_and_tags_are_those_of_one_who_asks() {
    let consumers = AccessRule { consumers: texts(&["ann", "bob"]), ..rule(Access::Allow) };
    let tags = [("team".into(), texts(&["search", "ads"])), ("tier".into(), texts(&["gold"]))].into();
    let tagged = AccessRule { tags, ..rule(Access::Allow) };
    let both = AccessRule { consumers: texts(&["ann"]), ..tagged.clone() };
    let one = |name, tags: &[(&str, &str)]| identity(name, tags, By::ApiKey, None);
    let gold = &[("team", "ads"), ("tier", "gold"), ("x", "y")][..];
    for (rule, identities, is_met) in [
        (&consumers, vec![], false),
        (&consumers, vec![one("ann", &[])], true),
        (&consumers, vec![one("Ann", &[])], false),
        (&consumers, vec![one("carl", &[]), one("bob", &[])], true),
        (&tagged, vec![one("carl", gold)], true),
        (&tagged, vec![one("carl", &gold[..1])], false),
        (&tagged, vec![one("carl", &[("team", "gold"), ("tier", "gold")])], false),
        (&tagged, vec![one("carl", &gold[..1]), one("ann", &gold[1..])], false),
        (&both, vec![one("ann", gold)], true),
        (&both, vec![one("ann", &[]), one("carl", gold)], false),
    ] {
        assert_eq!(meets(rule, &asked_by(identities.clone())), is_met, "{identities:?}");
    }
}

#[test]
fn a_token_has_all_that_is_asked_of_one() {
    let wanted = |name: &str, is_list, values: &[&str]| ClaimMatch {
        path: ClaimPath::parse(name).unwrap(),
        is_list,
        values: texts(values),
    };
    let text = AccessRule { claims: [wanted("a.b", false, &["x", "y"])].into(), ..rule(Access::Allow) };
    let list = AccessRule { claims: [wanted("a.b", true, &["x", "y"])].into(), ..rule(Access::Allow) };
    for (value, is_text, is_list) in [
        (json!("x"), true, false),
        (json!("z"), false, false),
        (json!("x y"), false, false),
        (json!(["z", "y"]), false, true),
        (json!(["z", 1, null, ["x"]]), false, false),
        (json!([]), false, false),
        (json!(1), false, false),
        (json!(null), false, false),
        (json!({"x": "x"}), false, false),
    ] {
        let asked = asked_by([token("p", json!({"a": {"b": value}}))]);
        assert_eq!((meets(&text, &asked), meets(&list, &asked)), (is_text, is_list), "{value}");
    }
    assert!(!meets(&text, &asked_by([token("p", json!({"a.b": "x"}))])));
    assert!(!meets(&text, &asked_by([identity("ann", &[], By::ApiKey, None)])) && !meets(&text, &asked()));

    let all = AccessRule {
        claims: [wanted("a", false, &["x"]), wanted("b", false, &["y"])].into(),
        scopes: texts(&["read"]),
        provider: Some("p".into()),
        ..rule(Access::Allow)
    };
    let whole = json!({"a": "x", "b": "y", "scope": "read"});
    assert!(meets(&all, &asked_by([token("q", json!({})), token("p", whole.clone())])));
    assert!(!meets(&all, &asked_by([token("q", whole)])));
    // Two tokens do not make one.
    let halves =
        [token("p", json!({"a": "x", "scope": "read"})), token("p", json!({"b": "y", "scope": "read"}))];
    assert!(!meets(&all, &asked_by(halves)));
}

#[test]
fn a_claim_that_is_refused_is_refused_however_it_is_written() {
    let wanted = |is_list| ClaimMatch {
        path: ClaimPath::parse("a").unwrap(),
        is_list,
        values: texts(&["true", "7", "x"]),
    };
    for is_list in [false, true] {
        let of = |action| AccessRule { claims: [wanted(is_list)].into(), ..rule(action) };
        for (value, is_refused) in [
            (json!("x"), true),
            (json!(true), true),
            (json!(7), true),
            (json!(["y", 7]), true),
            (json!([false, true]), true),
            (json!(["x"]), true),
            (json!(false), false),
            (json!(7.5), false),
            (json!([["x"]]), false),
            (json!({"x": true}), false),
            (json!(null), false),
        ] {
            let asked = asked_by([token("p", json!({"a": value}))]);
            assert_eq!(meets(&of(Access::Deny), &asked), is_refused, "{value}");
            let is_text = |value: &Value| value == "x" && !is_list;
            let is_list = is_list && value.as_array().is_some_and(|list| list.iter().any(|one| one == "x"));
            assert_eq!(meets(&of(Access::Allow), &asked), is_text(&value) || is_list, "{value}");
        }
    }
}

#[test]
fn a_policys_own_provider_is_no_other_policys_of_its_name() {
    let by = |policy: &str| Identity { policy: policy.into(), ..token("p", json!({"a": "x"})) };
    let named = |action| AccessRule { provider: Some("p".into()), ..rule(action) };
    let rules = [named(Access::Allow), by_expression(Access::Allow, "claims_of.p.a == 'x'")];
    for (own, policy, is_met) in [
        (&["p"][..], "mine", true),
        (&["p"], "theirs", false),
        // Without one of its own it means whoever has the name.
        (&["q"], "theirs", true),
        (&[], "theirs", true),
    ] {
        for rule in &rules {
            let rules = [rule.clone()].into();
            let authorizer = Authorizer::new(&Authorization { default_action: Access::Deny, rules })
                .of_policy("mine".into(), own.iter().map(|name| Arc::from(*name)));
            let asked = asked_by([by(policy)]);
            assert_eq!(authorizer.decide(&facts(&asked)) == Decision::Allow, is_met, "{own:?} {policy}");
        }
    }
}

#[test]
fn a_model_that_is_refused_is_refused_in_any_case() {
    let of = |action| AccessRule { models: Some(ModelNames::new(["gpt-4o", "llama-*"])), ..rule(action) };
    for (model, is_exact) in
        [("gpt-4o", true), ("GPT-4o", false), ("llama-3", true), ("Llama-3", false), ("LLAMA-", false)]
    {
        let asked = Asked { model: Model::Named(model), ..asked() };
        assert!(meets(&of(Access::Deny), &asked), "{model}");
        assert_eq!(meets(&of(Access::Allow), &asked), is_exact, "{model}");
    }
    for model in ["gpt-4o-mini", "lla", "é", "llamé-3"] {
        let asked = Asked { model: Model::Named(model), ..asked() };
        assert!(!meets(&of(Access::Deny), &asked), "{model}");
    }
}

#[test]
fn a_provider_alone_can_be_asked_for() {
    let of = AccessRule { provider: Some("p".into()), ..rule(Access::Deny) };
    assert!(meets(&of, &asked_by([token("p", json!({}))])));
    assert!(!meets(&of, &asked_by([token("P", json!({}))])) && !meets(&of, &asked()));
}

#[test]
fn scopes_are_in_either_claim_and_in_either_form() {
    let of = AccessRule { scopes: texts(&["models.read", "chat"]), ..rule(Access::Allow) };
    for (claims, is_met) in [
        (json!({"scope": "chat models.read"}), true),
        (json!({"scp": "models.read x chat"}), true),
        (json!({"scp": ["models.read", "chat"]}), true),
        (json!({"scope": ["models.read", "chat"]}), true),
        (json!({"scope": "chat", "scp": ["models.read"]}), true),
        (json!({"scope": "chat"}), false),
        (json!({"scope": "chat,models.read"}), false),
        (json!({"scope": "chat models.readwrite"}), false),
        (json!({"scope": "Chat models.read"}), false),
        (json!({"scope": "chat\tmodels.read"}), false),
        (json!({"scp": ["chat models.read"]}), false),
        (json!({"scp": {"chat": true, "models.read": true}}), false),
        (json!({"scopes": "chat models.read"}), false),
        (json!({}), false),
    ] {
        assert_eq!(meets(&of, &asked_by([token("p", claims.clone())])), is_met, "{claims}");
    }
}

#[test]
fn another_header_of_the_name_neither_opens_nor_closes() {
    let headers = [(HeaderName::from_static("x-tier"), texts(&["gold", "silver"]))];
    let of = |action| AccessRule { headers: headers.clone().into(), ..rule(action) };
    for (values, allow, deny) in [
        (&[][..], false, false),
        (&["gold"], true, true),
        (&["gold", "silver"], true, true),
        (&["free"], false, false),
        (&["free", "gold"], false, true),
        (&["gold", "free"], false, true),
        (&["gold,free"], false, false),
        (&["Gold"], false, false),
    ] {
        let mut asked = asked();
        for value in values {
            asked.headers.append("x-tier", HeaderValue::from_static(value));
        }
        assert_eq!(meets(&of(Access::Allow), &asked), allow, "{values:?}");
        assert_eq!(meets(&of(Access::Deny), &asked), deny, "{values:?}");
    }
}

#[test]
fn a_request_meets_all_that_a_rule_says_or_does_not_meet_it() {
    let whole = AccessRule {
        methods: [Method::POST].into(),
        models: Some(ModelNames::new(["m"])),
        consumers: texts(&["ann"]),
        scopes: texts(&["chat"]),
        ..rule(Access::Allow)
    };
    let good = || Asked { model: Model::Named("m"), ..asked_by([token("p", json!({"scope": "chat"}))]) };
    assert!(meets(&whole, &good()));
    assert!(!meets(&whole, &Asked { method: Method::GET, ..good() }));
    assert!(!meets(&whole, &Asked { model: Model::Named("n"), ..good() }));
    assert!(!meets(&whole, &Asked { identities: vec![token("p", json!({}))], ..good() }));
    // A key's consumer and a token's scope are one request's.
    let two = vec![identity("ann", &[], By::ApiKey, None), {
        let mut other = token("p", json!({"scope": "chat"}));
        other.consumer = identity("other", &[], By::ApiKey, None).consumer;
        other
    }];
    assert!(meets(&whole, &Asked { identities: two, ..good() }));
}

#[test]
fn every_list_of_models_has_to_have_the_model() {
    let with = |models: Option<&[&str]>| {
        let mut one = identity("ann", &[], By::ApiKey, None);
        let mut consumer = (*one.consumer).clone();
        consumer.models = models.map(|models| ModelNames::new(models.iter().copied()));
        one.consumer = Arc::new(consumer);
        one
    };
    const ANY: Option<&[&str]> = None;
    const SOME: Option<&[&str]> = Some(&["gpt-4o", "llama-*"]);
    const OTHER: Option<&[&str]> = Some(&["llama-3"]);
    for (lists, model, may) in [
        (&[][..], Model::Unknown, true),
        (&[ANY], Model::Named("x"), true),
        (&[ANY], Model::Unknown, true),
        (&[SOME], Model::Named("llama-3"), true),
        (&[SOME], Model::Named("x"), false),
        (&[SOME], Model::Unknown, false),
        (&[SOME], Model::List, true),
        (&[ANY, SOME], Model::Named("x"), false),
        (&[SOME, OTHER], Model::Named("llama-3"), true),
        (&[SOME, OTHER], Model::Named("gpt-4o"), false),
        (&[Some(&[])], Model::Named("x"), false),
    ] {
        let identities: Vec<_> = lists.iter().map(|models| with(*models)).collect();
        assert_eq!(may_ask(&identities, model), may, "{lists:?} {model:?}");
    }
}

fn any_rule() -> impl Strategy<Value = AccessRule> {
    let action = prop::sample::select(vec![Access::Allow, Access::Deny]);
    let models = prop::option::of(prop::collection::vec("[ab]\\*?", 0..2));
    let consumers = prop::collection::vec("[ab]", 0..2);
    (action, models, consumers).prop_map(|(action, models, consumers)| AccessRule {
        models: models.map(|models| ModelNames::new(models.iter().map(String::as_str))),
        consumers: consumers.iter().map(|name| name.as_str().into()).collect(),
        ..rule(action)
    })
}

proptest! {
    #[test]
    fn an_unknown_model_is_let_through_only_where_every_model_is(
        rules in prop::collection::vec(any_rule(), 0..6),
        by in "[abc]",
        is_open in any::<bool>(),
    ) {
        let default = if is_open { Access::Allow } else { Access::Deny };
        let ask = |model| Asked { model, ..asked_by([identity(&by, &[], By::ApiKey, None)]) };
        if decide(&rules, default, &ask(Model::Unknown)) == Decision::Allow {
            for model in ["a", "b", "ab", "c", ""] {
                // A rule before that which lets it through cannot have refused it.
                prop_assert_eq!(decide(&rules, default, &ask(Model::Named(model))), Decision::Allow);
            }
        }
    }
}
