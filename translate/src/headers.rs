//! Changes to headers.

use penstock_config::raw::{RawHeader, RawHeaderEdits};

use crate::api::{AiHeaderMutation, HeaderModifier, HttpHeader};

/// Headers that only the gateway sets; a mutation of them is left out, as Envoy AI Gateway does.
fn is_reserved(name: &str) -> bool {
    name.starts_with(':') || name.starts_with("x-ai-eg-") || name == "x-envoy-original-path"
}

/// Changes as HTTPRoute has them. A document has each header once; of several changes to one, those count that Envoy Gateway
/// makes: adding comes before setting, and what is removed as well is replaced.
pub(crate) fn modifier(modifier: &HeaderModifier) -> RawHeaderEdits {
    let is_removed = |header: &HttpHeader| has_name(modifier.remove.iter(), &header.name);
    let mut edits = RawHeaderEdits::default();
    let mut seen: Vec<&str> = Vec::new();
    let added = modifier.add.iter().map(|header| (header, is_removed(header)));
    let set = modifier.set.iter().map(|header| (header, true));
    for (header, replaces) in added.chain(set) {
        if has_name(seen.iter(), &header.name) {
            continue;
        }
        seen.push(&header.name);
        let raw = RawHeader { name: header.name.clone(), value: header.value.clone() };
        if replaces { edits.set.push(raw) } else { edits.add.push(raw) }
    }
    for name in &modifier.remove {
        if !has_name(seen.iter(), name) {
            seen.push(name);
            edits.remove.push(name.clone());
        }
    }
    edits
}

/// Whether a header is among names.
fn has_name<'n>(mut names: impl Iterator<Item = &'n (impl AsRef<str> + 'n)>, name: &str) -> bool {
    names.any(|known| known.as_ref().eq_ignore_ascii_case(name))
}

/// Both of two changes; where they change the same header, the second counts.
pub(crate) fn merge(first: RawHeaderEdits, second: RawHeaderEdits) -> RawHeaderEdits {
    let is_changed = |name: &str| {
        let names = second.set.iter().chain(&second.add).map(|header| &header.name).chain(&second.remove);
        names.into_iter().any(|other| other.eq_ignore_ascii_case(name))
    };
    let mut merged = first;
    merged.set.retain(|header| !is_changed(&header.name));
    merged.add.retain(|header| !is_changed(&header.name));
    merged.remove.retain(|name| !is_changed(name));
    merged.set.extend(second.set);
    merged.add.extend(second.add);
    merged.remove.extend(second.remove);
    merged
}

/// Changes as AIServiceBackend and AIGatewayRoute have them; where both change a header, the route's counts. A header
/// that is both removed and set is set.
pub(crate) fn mutation(
    backend: Option<&AiHeaderMutation>,
    route: Option<&AiHeaderMutation>,
) -> RawHeaderEdits {
    let edits = |mutation: &AiHeaderMutation| {
        let mut set: Vec<RawHeader> = Vec::new();
        for header in &mutation.set {
            let name = header.name.to_ascii_lowercase();
            set.retain(|known| known.name != name);
            if !is_reserved(&name) {
                set.push(RawHeader { name, value: header.value.clone() });
            }
        }
        let mut remove: Vec<String> = Vec::new();
        for name in mutation.remove.iter().map(|name| name.to_ascii_lowercase()) {
            let is_new = !remove.contains(&name) && set.iter().all(|header| header.name != name);
            if is_new && !is_reserved(&name) {
                remove.push(name);
            }
        }
        RawHeaderEdits { set, add: Vec::new(), remove }
    };
    merge(backend.map(edits).unwrap_or_default(), route.map(edits).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edits(add: &[(&str, &str)], set: &[(&str, &str)], remove: &[&str]) -> RawHeaderEdits {
        let headers = |headers: &[(&str, &str)]| -> Vec<HttpHeader> {
            let header = |(name, value): &(&str, &str)| HttpHeader {
                name: (*name).to_owned(),
                value: (*value).to_owned(),
            };
            headers.iter().map(header).collect()
        };
        let remove = remove.iter().map(|name| (*name).to_owned()).collect();
        modifier(&HeaderModifier { add: headers(add), set: headers(set), remove })
    }

    fn raw(name: &str, value: &str) -> RawHeader {
        RawHeader { name: name.to_owned(), value: value.to_owned() }
    }

    #[test]
    fn each_header_is_changed_once_and_as_envoy_gateway_changes_it() {
        let both = edits(&[("X-Team", "added")], &[("x-team", "set"), ("x-other", "set")], &[]);
        assert_eq!((both.add, both.set), (vec![raw("X-Team", "added")], vec![raw("x-other", "set")]));
        let replaced = edits(&[("a", "new")], &[("b", "new")], &["A", "B", "c", "C"]);
        assert_eq!(replaced.set, [raw("a", "new"), raw("b", "new")]);
        assert_eq!((replaced.add, replaced.remove), (vec![], vec!["c".to_owned()]));
        let twice = edits(&[("d", "1"), ("D", "2")], &[], &[]);
        assert_eq!(twice.add, [raw("d", "1")]);
    }
}
