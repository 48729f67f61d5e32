//! Documents that mean harm, or nothing at all: an answer within bounded time, and no panic.

use std::fmt::Write as _;

use penstock_config::{Faults, MAX_DOCUMENT_BYTES, NoProfileCheck, Snapshot};
use proptest::prelude::{ProptestConfig, Strategy, any, prop, proptest};

const HEAD: &str = "apiVersion: penstock.dev/v1alpha1\nkind: RoutingConfig\nlisteners: [{name: http, address: '127.0.0.1:0'}]\n";

/// The faults of a document that must have some, none of them long.
fn faults(text: &str) -> Faults {
    let faults = Snapshot::compile(text, &NoProfileCheck).expect_err("it must be refused");
    assert!(faults.iter().count() <= Faults::MAX + 1);
    for fault in &faults {
        assert!(
            fault.path.len() + fault.message.len() < 2_000,
            "{} bytes",
            fault.path.len() + fault.message.len()
        );
    }
    faults
}

#[test]
fn names_of_a_megabyte() {
    let long = "x".repeat(1 << 20);
    faults(&format!("{HEAD}pools: [{{name: {long}}}]\n"));
    faults(&format!("{HEAD}routes: [{{name: a, rules: [{{targets: [{{pool: {long}}}]}}]}}]\n"));
    faults(&format!("{{\"{long}\": 1}}"));
    faults(&format!("{HEAD}? {long}\n: 1\n"));
    faults(&format!("{HEAD}pools: [{{name: a, endpoints: [{{address: {long}}}]}}]\n"));
    faults(&format!(
        "{HEAD}consumers: [{{name: a, keys: [{long}], models: [{long}], tags: {{{long}: ' '}}}}]\n"
    ));
    faults(&format!(
        "{HEAD}policies: [{{name: a, authorization: {{rules: [{{action: Deny, scopes: [{long}]}}]}}}}]\n"
    ));
}

#[test]
fn too_much_of_everything() {
    let many = |n: usize, item: &str| vec![item; n].join(",");
    faults(&format!("{HEAD}pools: [{}]\n", many(20_001, "{name: a}")));
    faults(&format!("{{{}}}", (0..50_000).map(|i| format!("\"f{i}\":1")).collect::<Vec<_>>().join(",")));
    faults(&format!("{HEAD}routes: [{{name: a, rules: [{}]}}]\n", many(20_000, "{targets: [{pool: x}]}")));
    faults(&format!("{HEAD}consumers: [{}]\n", many(50_000, "{name: a, tags: {a: ''}}")));
    faults(&format!("{HEAD}policies: [{}]\n", many(20_000, "{name: a, authentication: {}}")));
    faults(&"#".repeat(MAX_DOCUMENT_BYTES + 1));
}

#[test]
fn matches_that_multiply() {
    let models: Vec<String> = (0..1_000).map(|i| format!("m{i}")).collect();
    let matches = vec!["{method: GET}"; 128].join(",");
    let rule = format!("{{models: [{}], matches: [{matches}], targets: [{{pool: p}}]}}", models.join(","));
    let text = format!("{HEAD}pools: [{{name: p}}]\nroutes: [{{name: a, rules: [{rule},{rule},{rule}]}}]\n");
    let found = faults(&text);
    assert!(found.iter().any(|fault| fault.message.contains("multiply")), "{found}");
}

#[test]
fn deep_nesting() {
    for (open, close) in [("[", "]"), ("{a: ", "}"), ("{\"a\":", "}")] {
        faults(&format!("{HEAD}pools: {}{}", open.repeat(5_000), close.repeat(5_000)));
        faults(&format!("{}{}", open.repeat(100_000), close.repeat(100_000)));
    }
    let mut blocks = String::new();
    for depth in 0..2_000 {
        let _ = writeln!(blocks, "{}a:", " ".repeat(depth));
    }
    faults(&blocks);
}

#[test]
fn alias_bombs() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let inner = vec![format!("*a{}", level - 1); 10].join(", ");
        let _ = writeln!(bomb, "a{level}: &a{level} [{inner}]");
    }
    faults(&bomb);
}

#[test]
fn patterns_that_explode() {
    for pattern in [
        "(a{1000}){1000}",
        "((((a{30}){30}){30}){30})",
        "(",
        "(?=a)",
        "a)|(b",
        "\\\\x{110000}",
        "(?i)\\\\w{500}{500}",
    ] {
        let text = format!(
            "{HEAD}pools: [{{name: p}}]\nroutes: [{{name: a, rules: [{{matches: [{{path: {{type: RegularExpression, value: \"{pattern}\"}}}}], targets: [{{pool: p}}]}}]}}]\n"
        );
        let found = faults(&text);
        assert_eq!(
            found.iter().next().expect("one").path,
            "routes[0].rules[0].matches[0].path.value",
            "{pattern}: {found}"
        );
    }
    let matches: Vec<String> =
        (0..1_100).map(|i| format!("{{path: {{type: RegularExpression, value: '/{i}.*'}}}}")).collect();
    let rules: Vec<String> = matches
        .chunks(100)
        .map(|chunk| format!("{{matches: [{}], targets: [{{pool: p}}]}}", chunk.join(",")))
        .collect();
    faults(&format!("{HEAD}pools: [{{name: p}}]\nroutes: [{{name: a, rules: [{}]}}]\n", rules.join(",")));
}

#[test]
fn what_is_not_a_document() {
    for text in [
        "",
        " ",
        "\u{feff}",
        "null",
        "[]",
        "1",
        "\"x\"",
        "---\n---\n",
        "a: b: c",
        "{",
        "\t",
        "%YAML 9.9\n---\n",
        "!!binary x",
        "a: .nan",
        "<<: x",
        "\0",
        "&a *a",
        "*a",
    ] {
        faults(text);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_text_never_panics(text in ".{0,200}") {
        let _ = Snapshot::compile(&text, &NoProfileCheck);
    }

    #[test]
    fn arbitrary_yaml_tokens_never_panic(tokens in prop::collection::vec(token(), 0..60)) {
        let _ = Snapshot::compile(&tokens.concat(), &NoProfileCheck);
    }

}

proptest! {
    // Each case compiles a whole document.
    #![proptest_config(ProptestConfig { cases: 250, ..ProptestConfig::default() })]

    #[test]
    fn a_damaged_example_never_panics(at in any::<prop::sample::Index>(), length in 0_usize..40, patch in token()) {
        let sound = include_str!("../../examples/production.yaml");
        let start = sound.floor_char_boundary(at.index(sound.len()));
        let end = sound.floor_char_boundary((start + length).min(sound.len()));
        let damaged = format!("{}{patch}{}", &sound[..start], &sound[end..]);
        if let Err(faults) = Snapshot::compile(&damaged, &NoProfileCheck) {
            assert!(faults.iter().count() > 0);
        }
    }
}

fn token() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "\n",
        " ",
        "  ",
        "- ",
        ": ",
        ":",
        ",",
        "[",
        "]",
        "{",
        "}",
        "&a ",
        "*a",
        "!!str ",
        "|",
        ">",
        "'",
        "\"",
        "#",
        "? ",
        "---\n",
        "<<: ",
        "~",
        "null",
        "0",
        "-1",
        "1e999",
        "0x10",
        "true",
        "apiVersion: penstock.dev/v1alpha1\n",
        "kind: RoutingConfig\n",
        "listeners:\n",
        "routes:\n",
        "pools:\n",
        "name: a\n",
        "rules:\n",
        "targets:\n",
        "pool: a\n",
        "address: 127.0.0.1:0\n",
        "limits: ",
        "headerTimeout: 10s\n",
        "é",
        "\u{0}",
        "\u{2028}",
        "value: /\n",
        "matches:\n",
        "consumers:\n",
        "policies:\n",
        "authentication:\n",
        "authorization:\n",
        "jwt: {providers: [{name: a}]}\n",
    ])
    .prop_map(str::to_owned)
}
