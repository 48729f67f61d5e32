//! Keys.

use std::sync::Arc;

use http::HeaderName;
use penstock_config::ApiKeys;

use super::{Attempt, Request, TWICE, edits, told};
use crate::authenticator::{By, Identified, Identity, Sources};
use crate::consumers::KeyTable;
use crate::extract::{Places, Shown};
use crate::held::Held;

/// By a key.
#[derive(Debug)]
pub(in crate::authenticator) struct ByKey {
    places: Places,
    keys: Keys,
    consumer_header: Option<HeaderName>,
    is_forwarded: bool,
}

/// Where keys are.
#[derive(Debug)]
enum Keys {
    Document(Arc<KeyTable>),
    File(Arc<Held<KeyTable>>),
}

impl ByKey {
    pub(in crate::authenticator) fn new(
        keys: &ApiKeys,
        of_document: &Arc<KeyTable>,
        sources: &dyn Sources,
    ) -> Self {
        Self {
            places: Places::new(keys.extract_from.iter().cloned()),
            keys: match &keys.file {
                None => Keys::Document(Arc::clone(of_document)),
                Some(file) => Keys::File(sources.keys(file)),
            },
            consumer_header: keys.consumer_header.clone(),
            is_forwarded: keys.is_forwarded,
        }
    }

    pub(in crate::authenticator) fn attempt(&self, request: Request<'_>) -> Attempt {
        let (text, place) = match self.places.find(request.headers, request.query) {
            Shown::Nothing => return Attempt::NotShown,
            Shown::Twice => return Attempt::Invalid(TWICE),
            Shown::Once { text, place } => (text, place),
        };
        let found = match &self.keys {
            Keys::Document(table) => table.get(&text).cloned(),
            Keys::File(held) => match held.get() {
                None => return Attempt::Unavailable,
                Some(table) => table.get(&text).cloned(),
            },
        };
        let Some(consumer) = found else { return Attempt::Invalid("the key is not known") };
        let set = told(self.consumer_header.as_ref(), &consumer.name);
        let identity = Identity { consumer, by: By::ApiKey, policy: Arc::default(), claims: None };
        Attempt::Identified(Identified { identity, edits: edits(place, self.is_forwarded, set) })
    }
}
