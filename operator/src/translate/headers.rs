//! Changes to headers.

use penstock_config::raw::{RawHeader, RawHeaderEdits};

use crate::api::{AiHeaderMutation, HeaderModifier};

/// Headers that only the gateway sets; a mutation of them is left out, as Envoy AI Gateway does.
fn is_reserved(name: &str) -> bool {
    name.starts_with(':') || name.starts_with("x-ai-eg-") || name == "x-envoy-original-path"
}

/// Changes as HTTPRoute has them.
pub(super) fn modifier(modifier: &HeaderModifier) -> RawHeaderEdits {
    let headers = |headers: &[crate::api::HttpHeader]| {
        headers.iter().map(|it| RawHeader { name: it.name.clone(), value: it.value.clone() }).collect()
    };
    RawHeaderEdits {
        set: headers(&modifier.set),
        add: headers(&modifier.add),
        remove: modifier.remove.clone(),
    }
}

/// Both of two changes; where they change the same header, the second counts.
pub(super) fn merge(first: RawHeaderEdits, second: RawHeaderEdits) -> RawHeaderEdits {
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
pub(super) fn mutation(
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
