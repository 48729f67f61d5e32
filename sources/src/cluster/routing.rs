//! The routing document as it is spread over ConfigMaps, put together.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::ConfigMap;

/// The annotation that says how many ConfigMaps the document is spread over.
const PARTS: &str = "penstock.dev/parts";

/// The annotation with the SHA-256 of the whole document, in hexadecimal.
const DIGEST: &str = "penstock.dev/digest";

/// Where a part's piece of the document stands in its ConfigMap.
const KEY: &str = "routing.yaml";

/// The most ConfigMaps that a document may be spread over: those of the largest document, and some.
const MAX_PARTS: usize = 64;

/// The parts that were seen so far.
#[derive(Debug, Default)]
pub(super) struct Parts {
    /// By position; `None` for a ConfigMap that is not there.
    seen: BTreeMap<usize, Option<Part>>,
}

#[derive(Debug, PartialEq, Eq)]
struct Part {
    parts: usize,
    digest: Option<String>,
    text: Result<String, &'static str>,
}

/// What the parts make.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Assembly {
    /// The whole document.
    Whole(Arc<str>),
    /// Not all of it, and what is missing.
    Incomplete(String),
}

/// The name of the ConfigMap with the `index`th part.
pub(super) fn name_of(base: &str, index: usize) -> String {
    if index == 0 { format!("{base}-routing") } else { format!("{base}-routing-{index}") }
}

impl Parts {
    /// Takes over what the ConfigMap of the `index`th part says now.
    pub(super) fn set(&mut self, index: usize, object: Option<&ConfigMap>) {
        self.seen.insert(index, object.map(Part::of));
    }

    /// How many ConfigMaps the first part says there are. At least one.
    pub(super) fn count(&self) -> usize {
        let first = self.seen.get(&0).and_then(Option::as_ref);
        first.map_or(1, |part| part.parts).clamp(1, MAX_PARTS)
    }

    /// Puts the parts together. `base` is for the message.
    pub(super) fn assemble(&self, base: &str) -> Assembly {
        let mut whole = String::new();
        let count = self.count();
        let mut digest: Option<&String> = None;
        for index in 0..count {
            let name = name_of(base, index);
            let part = match self.seen.get(&index) {
                None => return Assembly::Incomplete(format!("ConfigMap {name} has not been read yet")),
                Some(None) => return Assembly::Incomplete(format!("ConfigMap {name} does not exist")),
                Some(Some(part)) => part,
            };
            match &part.text {
                Ok(text) => whole.push_str(text),
                Err(why) => return Assembly::Incomplete(format!("ConfigMap {name} {why}")),
            }
            if index > 0 && (part.digest.as_ref() != digest || part.parts != count) {
                return Assembly::Incomplete(format!(
                    "ConfigMap {name} belongs to another state of the document"
                ));
            }
            digest = part.digest.as_ref();
        }
        match digest {
            Some(digest) if *digest != penstock_config::digest(&whole) => Assembly::Incomplete(format!(
                "the text of ConfigMap {} and those after it does not have the digest that they say",
                name_of(base, 0)
            )),
            _ => Assembly::Whole(whole.into()),
        }
    }
}

impl Part {
    fn of(object: &ConfigMap) -> Self {
        let annotation =
            |name: &str| object.metadata.annotations.as_ref().and_then(|annotations| annotations.get(name));
        let text = object.data.as_ref().and_then(|data| data.get(KEY));
        Self {
            parts: annotation(PARTS).and_then(|parts| parts.parse().ok()).unwrap_or(1),
            digest: annotation(DIGEST).cloned(),
            text: text.cloned().ok_or("has no key routing.yaml"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(text: &str, parts: usize, digest: &str) -> ConfigMap {
        let mut object = ConfigMap::default();
        let annotations = [(PARTS, parts.to_string()), (DIGEST, digest.to_owned())];
        object.metadata.annotations = Some(annotations.map(|(name, value)| (name.to_owned(), value)).into());
        object.data = Some([(KEY.to_owned(), text.to_owned())].into());
        object
    }

    #[track_caller]
    fn assert_incomplete(parts: &Parts, why: &str) {
        match parts.assemble("penstock-gw") {
            Assembly::Incomplete(message) => assert!(message.contains(why), "{message}"),
            Assembly::Whole(text) => panic!("it is whole: {text}"),
        }
    }

    #[test]
    fn a_document_of_one_part() {
        let mut parts = Parts::default();
        assert_incomplete(&parts, "penstock-gw-routing has not been read");
        parts.set(0, None);
        assert_incomplete(&parts, "does not exist");
        parts.set(0, Some(&ConfigMap::default()));
        assert_incomplete(&parts, "no key routing.yaml");
        parts.set(0, Some(&part("kind: a", 1, "0000")));
        assert_incomplete(&parts, "digest");
        parts.set(0, Some(&part("kind: a", 1, &penstock_config::digest("kind: a"))));
        assert_eq!(parts.assemble("penstock-gw"), Assembly::Whole("kind: a".into()));
    }

    #[test]
    fn parts_of_different_states_make_no_document() {
        let digest = penstock_config::digest("abc");
        let mut parts = Parts::default();
        parts.set(0, Some(&part("a", 3, &digest)));
        assert_eq!(parts.count(), 3);
        parts.set(1, Some(&part("b", 3, &digest)));
        assert_incomplete(&parts, "penstock-gw-routing-2 has not been read");
        parts.set(2, Some(&part("c", 3, "other")));
        assert_incomplete(&parts, "another state");
        parts.set(2, Some(&part("c", 3, &digest)));
        assert_eq!(parts.assemble("penstock-gw"), Assembly::Whole("abc".into()));
        parts.set(0, Some(&part("A", 3, &penstock_config::digest("Abc"))));
        assert_incomplete(&parts, "another state");
    }

    #[test]
    fn a_map_that_a_person_wrote_needs_no_annotations() {
        let mut object = part("kind: a", 1, "");
        object.metadata.annotations = None;
        let mut parts = Parts::default();
        parts.set(0, Some(&object));
        assert_eq!(parts.assemble("b"), Assembly::Whole("kind: a".into()));
    }

    #[test]
    fn an_absurd_number_of_parts_is_bounded() {
        let mut parts = Parts::default();
        parts.set(0, Some(&part("a", usize::MAX, "")));
        assert_eq!(parts.count(), MAX_PARTS);
    }
}
