//! The chart's role: it lets the operator watch every kind that it knows, and write no more than statuses of what is not its
//! own.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use penstock_translate::world::Kind;

use crate::path;

/// Verbs by group and resource, of all rules of the chart's ClusterRole.
fn granted() -> BTreeMap<(String, String), BTreeSet<String>> {
    let text = fs::read_to_string(path("../helm/penstock/templates/rbac.yaml")).unwrap();
    let role = text.split("kind: ClusterRoleBinding").next().unwrap();
    let list = |line: &str, name: &str| -> Option<Vec<String>> {
        let items = line.trim().trim_start_matches("- ").strip_prefix(name)?.trim();
        let items = items.strip_prefix('[')?.strip_suffix(']')?;
        Some(items.split(',').map(|item| item.trim().trim_matches('"').to_owned()).collect())
    };
    let mut granted: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
    let (mut groups, mut resources) = (Vec::new(), Vec::new());
    for line in role.lines() {
        if let Some(found) = list(line, "apiGroups:") {
            groups = found;
        } else if let Some(found) = list(line, "resources:") {
            resources = found;
        } else if let Some(verbs) = list(line, "verbs:") {
            for group in &groups {
                for resource in &resources {
                    let known = granted.entry((group.clone(), resource.clone())).or_default();
                    known.extend(verbs.iter().cloned());
                }
            }
        }
    }
    granted
}

#[test]
fn the_charts_role_lets_every_kind_be_watched_and_only_statuses_of_strangers_be_written() {
    let granted = granted();
    assert!(granted.len() > 30, "{granted:?}");
    let none = BTreeSet::new();
    for kind in Kind::ALL {
        let verbs = |resource: String| granted.get(&(kind.group().to_owned(), resource)).unwrap_or(&none);
        let own = verbs(kind.plural().to_owned());
        for verb in ["get", "list", "watch"] {
            assert!(own.contains(verb), "{verb} {} of {}", kind.plural(), kind.group());
        }
        if kind.is_unsupported() {
            assert_eq!(own.len(), 3, "{}: {own:?}", kind.plural());
            let of_status = verbs(format!("{}/status", kind.plural()));
            // Of an InferencePool's status, the group's own rule speaks.
            // HTTPRouteFilters have no status: routes tell what is wrong with them.
            let is_told = !kind.is_metadata_only() && *kind != Kind::HttpRouteFilter;
            assert!(
                is_told == of_status.contains("patch") || *kind == Kind::LegacyInferencePool,
                "{}",
                kind.plural()
            );
        }
    }
}
