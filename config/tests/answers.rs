//! Rules that answer, and changes of path and host by patterns and headers: what is wrong with them has its place.

use penstock_config::{NoProfileCheck, Snapshot};

fn faults(rule: &str) -> Vec<String> {
    let text = format!(
        "apiVersion: penstock.dev/v1alpha1\nkind: RoutingConfig\nlisteners: [{{name: a, address: '127.0.0.1:0'}}]\n\
         backends: [{{name: b, endpoints: [{{host: 127.0.0.1, port: 1}}]}}]\n\
         routes: [{{name: r, rules: [{{{rule}}}]}}]\n"
    );
    match Snapshot::compile(&text, &NoProfileCheck) {
        Ok(_) => Vec::new(),
        Err(faults) => faults.into_iter().map(|fault| fault.to_string()).collect(),
    }
}

fn regex(pattern: &str, substitution: &str) -> String {
    format!(
        "targets: [{{backend: b}}], urlRewrite: {{path: {{type: ReplaceRegexMatch, \
         replaceRegexMatch: {{pattern: '{pattern}', substitution: '{substitution}'}}}}}}"
    )
}

#[test]
fn each_fault_has_its_place_and_says_what_to_do() {
    let large = "(a{1000}){1000}";
    for (rule, place, word) in [
        ("respond: {}, targets: [{backend: b}]", ".respond", "goes with neither"),
        ("respond: {}, redirect: {hostname: a.test}", ".respond", "either answers or redirects"),
        ("respond: {status: 100}", ".respond.status", "choose 200 to 599"),
        ("respond: {status: 204, body: x}", ".respond.body", "cannot go with"),
        ("respond: {contentType: \"a\\nb\"}", ".respond.contentType", ""),
        (&regex("(", ""), ".replaceRegexMatch.pattern", "no pattern"),
        (&regex(large, ""), ".replaceRegexMatch.pattern", "no pattern"),
        (&regex("(a)", r"\2"), ".replaceRegexMatch.substitution", "no group"),
        (
            "targets: [{backend: b}], urlRewrite: {path: {type: ReplaceRegexMatch}}",
            ".replaceRegexMatch",
            "is missing",
        ),
        (
            "redirect: {path: {type: ReplaceRegexMatch, replaceRegexMatch: {pattern: a, substitution: b}}}",
            ".path.type",
            "not for redirects",
        ),
        (
            "targets: [{backend: b}], urlRewrite: {hostname: a.test, hostnameHeader: x-host}",
            ".hostnameHeader",
            "choose one",
        ),
        ("targets: [{backend: b}], bodyBytes: 5GiB", ".bodyBytes", "4GiB"),
        (
            "targets: [{backend: b}], responseOverrides: [{statuses: [{from: 500, to: 404}]}]",
            "responseOverrides[0].statuses[0].to",
            "before from",
        ),
        (
            "targets: [{backend: b}], responseOverrides: [{statuses: [{from: 200}]}]",
            ".statuses[0].from",
            "300 to 599",
        ),
        ("targets: [{backend: b}], responseOverrides: [{statuses: []}]", "responseOverrides[0].statuses", ""),
        (
            "targets: [{backend: b}], responseOverrides: [{statuses: [{from: 500}], status: 204, body: x}]",
            "responseOverrides[0].body",
            "cannot go with",
        ),
        (
            "targets: [{backend: b}], responseOverrides: [{statuses: [{from: 500}], body: x, redirect: {hostname: a.test}}]",
            "responseOverrides[0].redirect",
            "stands alone",
        ),
        (
            "targets: [{backend: b}], responseOverrides: [{statuses: [{from: 500}], contentType: \"a\\nb\"}]",
            "responseOverrides[0].contentType",
            "",
        ),
        ("respond: {}, responseOverrides: [{statuses: [{from: 500}]}]", ".responseOverrides", "of no use"),
    ] {
        let found = faults(rule);
        assert_eq!(found.len(), 1, "{rule}: {found:?}");
        assert!(found[0].contains(place) && found[0].contains(word), "{rule}: {found:?}");
    }
    for rule in [
        &regex("^/a/(.*)$", r"/\1"),
        "respond: {status: 404, contentType: text/plain, body: gone}",
        "targets: [{backend: b}], urlRewrite: {hostnameHeader: x-host}, bodyBytes: 1KiB",
    ] {
        assert_eq!(faults(rule), Vec::<String>::new(), "{rule}");
    }
}
