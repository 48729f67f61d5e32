//! The definitions that are shipped, and the page that says which fields are acted on.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;

use penstock_translate::crds::{definitions, fields};
use penstock_translate::world::Kind;
use penstock_translate::world::fates::{FATES, Fates, TARGETS};
use serde_json::Value;

use crate::support::folder;

/// Kinds in the order of the page, by what they belong to.
const CHAPTERS: &[(&str, &[Kind])] = &[
    (
        "Gateway API",
        &[
            Kind::GatewayClass,
            Kind::Gateway,
            Kind::ListenerSet,
            Kind::HttpRoute,
            Kind::ReferenceGrant,
            Kind::BackendTlsPolicy,
        ],
    ),
    (
        "Gateway API Inference Extension",
        &[Kind::InferencePool, Kind::InferenceObjective, Kind::InferenceModelRewrite],
    ),
    (
        "Envoy AI Gateway",
        &[Kind::AiGatewayRoute, Kind::AiServiceBackend, Kind::BackendSecurityPolicy, Kind::GatewayConfig],
    ),
    ("Envoy Gateway", &[Kind::Backend, Kind::EnvoyProxy]),
];

/// Policies that nobody here acts on, or on little of which.
const POLICIES: &[Kind] = &[
    Kind::SecurityPolicy,
    Kind::ClientTrafficPolicy,
    Kind::BackendTrafficPolicy,
    Kind::EnvoyExtensionPolicy,
    Kind::EnvoyPatchPolicy,
    Kind::QuotaPolicy,
    Kind::XBackendTrafficPolicy,
];

/// The fields that the original definitions have, by kind, with their types.
fn originals() -> BTreeMap<String, BTreeMap<String, String>> {
    let text = fs::read_to_string(folder("tests/upstream-fields.txt")).unwrap();
    let mut kinds: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let words: Vec<&str> = line.split(' ').collect();
        kinds.entry(words[0].to_owned()).or_default().insert(words[1].to_owned(), words[2].to_owned());
    }
    kinds
}

#[test]
fn committed_definitions_are_up_to_date() {
    let committed = folder("../helm/penstock/files/crds");
    let mut names = BTreeSet::new();
    for definition in definitions() {
        let name = format!("{}_{}.yaml", definition.kind.group(), definition.kind.plural());
        let text = fs::read_to_string(committed.join(&name)).unwrap_or_default();
        let read: Value = serde_saphyr::from_str(&text).unwrap_or_default();
        assert!(read == definition.object, "{name} is out of date: run `make generate`");
        names.insert(name);
    }
    let there: BTreeSet<String> = fs::read_dir(committed)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| name.ends_with(".yaml"))
        .collect();
    assert_eq!(there, names);
}

/// What is read has the type that the original definition gives it, so that ours lets through what that lets through.
#[test]
fn what_is_read_is_what_the_original_definitions_have() {
    let originals = originals();
    for kind in CHAPTERS.iter().flat_map(|(_, kinds)| *kinds).chain(POLICIES).chain(&[Kind::HttpRouteFilter])
    {
        let original = &originals[kind.name()];
        for field in fields(*kind) {
            let wanted = original.get(&field.path);
            let wanted = wanted.unwrap_or_else(|| panic!("{} has no {}", kind.name(), field.path));
            let is_same = *wanted == field.kind || field.kind == "any";
            assert!(is_same, "{} {}: {} there, {} here", kind.name(), field.path, wanted, field.kind);
        }
    }
}

/// The fields that are acted on: of a policy those that say what it is for, and few others.
fn acted_on(kind: Kind) -> BTreeSet<String> {
    let fields = fields(kind).into_iter().map(|field| field.path);
    if POLICIES.contains(&kind) {
        let fates = FATES.iter().filter(|fates| fates.kind == kind).flat_map(|fates| fates.acted_on);
        return TARGETS.iter().chain(fates).map(|name| format!("spec.{name}")).chain(fields).collect();
    }
    fields.collect()
}

/// What is declared of a kind, with `spec.` before it: named, and closing.
fn declared(kind: Kind) -> (BTreeSet<String>, BTreeSet<String>) {
    let full = |path: &&str| format!("spec.{path}");
    let Some(Fates { named, closes, closes_unless_open, .. }) = FATES.iter().find(|it| it.kind == kind)
    else {
        return Default::default();
    };
    (named.iter().map(full).collect(), closes.iter().chain(*closes_unless_open).map(full).collect())
}

/// Whether a field is another or lies in it.
fn is_in(path: &str, field: &str) -> bool {
    path.strip_prefix(field).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

#[test]
fn every_field_of_the_original_definitions_has_a_fate_and_only_one() {
    let originals = originals();
    for kind in CHAPTERS.iter().flat_map(|(_, kinds)| *kinds).chain(POLICIES) {
        let original = &originals[kind.name()];
        let acted_on = acted_on(*kind);
        let (named, closing) = declared(*kind);
        assert_eq!(named.intersection(&closing).count(), 0, "{}", kind.name());
        let declared: BTreeSet<&String> = named.union(&closing).collect();
        for path in &declared {
            assert!(original.contains_key(*path), "{} has no {path}", kind.name());
            assert!(!acted_on.contains(*path), "{} {path} is acted on", kind.name());
        }
        for path in original.keys() {
            // Of those of which each field that is read is known, nothing else is.
            let is_whole = POLICIES.contains(kind) && fields(*kind).is_empty();
            let is_acted_on =
                acted_on.contains(path) || is_whole && acted_on.iter().any(|field| is_in(path, field));
            // What lies in a field that is read as it is, such as a Pod's affinity, is passed on.
            let is_passed_on = acted_on.iter().any(|field| {
                is_in(path, field) && !acted_on.iter().any(|other| other != field && is_in(other, field))
            });
            let has_fate = declared.iter().any(|field| is_in(path, field));
            let holds_others = declared.iter().any(|field| is_in(field, path));
            assert!(
                is_acted_on || is_passed_on || has_fate || holds_others,
                "{} {path} has no fate: declare it in translate/src/world/fates.rs",
                kind.name()
            );
        }
    }
    let kinds: BTreeSet<Kind> =
        CHAPTERS.iter().flat_map(|(_, kinds)| *kinds).chain(POLICIES).copied().collect();
    assert!(FATES.iter().all(|fates| kinds.contains(&fates.kind)), "a kind that the page does not have");
}

#[test]
fn nothing_is_required_and_nothing_unknown_is_pruned() {
    fn walk(schema: &Value, place: &str) {
        assert!(schema.get("required").is_none(), "{place}");
        for word in ["$ref", "anyOf", "oneOf", "allOf", "not", "nullable"] {
            assert!(schema.get(word).is_none(), "{place} has {word}, which is not structural");
        }
        let kind = schema.get("type").and_then(Value::as_str);
        let is_map = schema.get("additionalProperties").is_some();
        if kind.is_none() || kind == Some("object") && !is_map {
            assert_eq!(schema["x-kubernetes-preserve-unknown-fields"], true, "{place}");
        }
        for (name, inner) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            walk(inner, &format!("{place}.{name}"));
        }
        for inner in ["items", "additionalProperties"] {
            if let Some(inner) = schema.get(inner) {
                walk(inner, &format!("{place}[]"));
            }
        }
    }
    for definition in definitions() {
        for version in definition.object["spec"]["versions"].as_array().unwrap() {
            let schema = &version["schema"]["openAPIV3Schema"]["properties"]["spec"];
            walk(schema, &format!("{} {}", definition.kind.name(), version["name"]));
        }
    }
}

#[test]
fn filters_are_listed_as_served_with_their_fields() {
    let page = page();
    let (_, section) = page.split_once("\n### HTTPRouteFilter\n").unwrap();
    let (section, _) = section.split_once("\n#").unwrap();
    for field in ["urlRewrite.path.replaceRegexMatch.pattern", "directResponse.body.valueRef.name"] {
        assert!(section.contains(&format!("`{field}`")), "{section}");
    }
    let (_, unserved) = page.split_once("\n## Kinds that are not served\n").unwrap();
    assert!(unserved.contains("`GRPCRoute`") && !unserved.contains("HTTPRouteFilter"), "{unserved}");
}

#[test]
fn the_page_of_fields_is_up_to_date() {
    let page = page();
    let file = folder("../docs/kubernetes-fields.md");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&file, &page).unwrap();
    }
    let committed = fs::read_to_string(file).unwrap_or_default();
    assert!(
        page == committed,
        "docs/kubernetes-fields.md is out of date: run this test with UPDATE_GOLDEN=1"
    );
}

fn page() -> String {
    let mut page = "# Kubernetes objects, field by field\n\n\
        <!-- Generated by the tests of `translate/`. Do not edit: UPDATE_GOLDEN=1 cargo test -p penstock-translate. -->\n\n\
        What Penstock reads of each kind, and what becomes of the rest. The original definitions are those of Gateway API \
        v1.5.1, Inference Extension v1.0.1 and later, Envoy AI Gateway v1.1.0 and Envoy Gateway v1.8.0.\n\n\
        - **Acted on**: read. Such a field may still have values that are not served, such as a listener of protocol TCP: \
        the condition `Accepted` says so.\n\
        - **Named**: served without it. An object that has such a field has the condition `penstock.dev/FieldsNotActedOn` \
        in its status, which names it (an `EnvoyProxy`'s fields are named by the GatewayClass or Gateway that refers to \
        it).\n\
        - **Closes**: it decides who may ask, how much, or as whom, so nothing is served without it. Requests that it is \
        for get 500, and statuses say so: see [below](#policies-that-are-not-acted-on) for policies.\n"
        .to_owned();
    for (chapter, kinds) in CHAPTERS {
        writeln!(page, "\n## {chapter}").unwrap();
        for kind in *kinds {
            let read = acted_on(*kind);
            let has_inner = |path: &str| read.iter().any(|other| other != path && is_in(other, path));
            writeln!(page, "\n### {}\n", kind.name()).unwrap();
            writeln!(page, "Acted on: {}.", listed(read.iter().filter(|path| !has_inner(path)))).unwrap();
            let (named, closing) = declared(*kind);
            writeln!(page, "\nNamed: {}.", listed(&named)).unwrap();
            if !closing.is_empty() {
                writeln!(page, "\nCloses: {}.", listed(&closing)).unwrap();
            }
        }
    }
    page.push_str(&filters());
    page.push_str(
        "\n## Policies that are not acted on\n\nOf these kinds nothing is acted on but what is listed, and it is known what their objects are \
        for (`targetRef`, `targetRefs`, `targetSelectors`, `mergeType`). Fields that close are answered for with 500 by \
        whatever the policy is for; the condition `penstock.dev/Closed` of that, the policy's own status and an Event say \
        so. What is served without the others has the condition `penstock.dev/PoliciesNotActedOn`.\n",
    );
    for kind in POLICIES {
        let (named, closing) = declared(*kind);
        writeln!(page, "\n### {}\n", kind.name()).unwrap();
        let acted_on = acted_on(*kind)
            .into_iter()
            .filter(|path| TARGETS.iter().all(|name| path.strip_prefix("spec.") != Some(name)));
        let acted_on: BTreeSet<String> = acted_on.collect();
        let fates = FATES.iter().find(|fates| fates.kind == *kind).unwrap();
        if !acted_on.is_empty() {
            let has_inner = |path: &str| acted_on.iter().any(|other| other != path && is_in(other, path));
            let rest = if fates.is_strict { "closes" } else { "is named" };
            writeln!(
                page,
                "Acted on: {}; what else lies in them {rest}.\n",
                listed(acted_on.iter().filter(|path| !has_inner(path)))
            )
            .unwrap();
        }
        writeln!(page, "Named: {}.", listed(&named)).unwrap();
        let mut rest = String::new();
        if !fates.closes_unless_open.is_empty() {
            let open: Vec<String> =
                fates.closes_unless_open.iter().map(|path| format!("`{path}[]`")).collect();
            write!(rest, " Those of {} that say `failOpen: true` are named only.", open.join(" and "))
                .unwrap();
        }
        if fates.is_strict {
            rest.push_str(" So does any field that definitions may get later.");
        }
        writeln!(page, "\nCloses: {}.{rest}", listed(&closing)).unwrap();
    }
    let others: Vec<String> = Kind::ALL
        .iter()
        .filter(|kind| kind.is_unsupported() && !POLICIES.contains(kind) && **kind != Kind::HttpRouteFilter)
        .map(|kind| format!("`{}` of `{}`", kind.name(), kind.group()))
        .collect();
    writeln!(
        page,
        "\n## Kinds that are not served\n\nNothing is served for objects of these kinds; the status of a route, and an Event \
        for each, says so: {}.",
        others.join(", ")
    )
    .unwrap();
    page
}

/// What the page says of filters that are objects. They have no status, and are refused whole for what is not read, so that
/// no table declares their fields: what the original definition has beside those that are read closes.
fn filters() -> String {
    let read: BTreeSet<String> = fields(Kind::HttpRouteFilter).into_iter().map(|field| field.path).collect();
    let has_inner = |path: &str| read.iter().any(|other| other != path && is_in(other, path));
    let originals = originals();
    let original = &originals[Kind::HttpRouteFilter.name()];
    let unread: Vec<&String> = original.keys().filter(|path| !read.contains(*path)).collect();
    let closing =
        unread.iter().filter(|path| !unread.iter().any(|other| other != *path && is_in(path, other)));
    format!(
        "\n### HTTPRouteFilter\n\nActed on: {}.\n\nCloses: {}. So does any field that definitions may get later, wherever in \
        the filter it is. The rules that refer to it answer 500, and the status of their route says why.\n",
        listed(read.iter().filter(|path| !has_inner(path))),
        listed(closing.copied())
    )
}

/// Paths without `spec.`, which all have, in a sentence.
fn listed<'p>(paths: impl IntoIterator<Item = &'p String>) -> String {
    let paths: Vec<String> =
        paths.into_iter().map(|path| format!("`{}`", path.strip_prefix("spec.").unwrap_or(path))).collect();
    if paths.is_empty() { "nothing".to_owned() } else { paths.join(", ") }
}
