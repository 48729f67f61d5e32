//! Lowering consumers.

use std::sync::LazyLock;

use rustc_hash::FxHashMap;
use sha2::{Digest as _, Sha256};

use super::{limit, model_names};
use crate::lower::names::Names;
use crate::lower::text;
use crate::raw::{Document, RawConsumer};
use crate::report::{FieldPath, Report};
use crate::spec::{Consumer, KeyDigest};

/// Where each key is, by its digest: the positions of consumer and key.
type Places = FxHashMap<KeyDigest, (usize, usize)>;

/// What tools print that were given an empty variable, or a line without anything.
static OF_NOTHING: LazyLock<[KeyDigest; 2]> =
    LazyLock::new(|| [&b""[..], b"\n"].map(|nothing| KeyDigest(Sha256::digest(nothing).into())));

/// All consumers.
pub(in crate::lower) fn lower(document: &Document, report: &mut Report) -> Vec<Consumer> {
    let place = FieldPath::Root.field("consumers");
    let names = document.consumers.iter().map(|consumer| consumer.name.as_str());
    Names::checked(names, text::label, &place, report);
    let mut places = Places::default();
    let mut consumers = Vec::with_capacity(document.consumers.len());
    let mut amounts = limit::overrides(document, report).into_iter();
    for (index, raw) in document.consumers.iter().enumerate() {
        let keys = keys(&document.consumers, index, &mut places, report);
        let place = place.index(index);
        check_tags(raw, &place.field("tags"), report);
        let models = raw.models.as_deref();
        let models = models
            .map(|models| model_names(models, document.limits.model_bytes, &place.field("models"), report));
        let tags = raw.tags.iter().map(|(tag, value)| (tag.as_str().into(), value.as_str().into())).collect();
        consumers.push(Consumer {
            name: raw.name.as_str().into(),
            keys,
            tags,
            models,
            limits: amounts.next().unwrap_or_default(),
            priority: raw.priority,
        });
    }
    consumers
}

/// The digests of a consumer's keys. No message has a text of theirs: it may be a key itself.
fn keys(
    consumers: &[RawConsumer],
    index: usize,
    places: &mut Places,
    report: &mut Report,
) -> Box<[KeyDigest]> {
    let list = FieldPath::Root.field("consumers");
    let consumer = list.index(index);
    let keys_place = consumer.field("keys");
    let mut digests = Vec::new();
    for (at, written) in consumers[index].keys.iter().enumerate() {
        let place = keys_place.index(at);
        let Some(digest) = KeyDigest::parse(written) else {
            report.add(&place, || no_digest(written).to_owned());
            continue;
        };
        if OF_NOTHING.contains(&digest) {
            let message =
                "is the digest of an empty key, which is what everybody has: `penstock keys new` makes one";
            report.add(&place, || message.to_owned());
        }
        match places.get(&digest) {
            Some((owner, key)) => {
                let message =
                    || format!("is the digest at {list}[{owner}].keys[{key}] already: no two keys are equal");
                report.add(&place, message);
            }
            None => {
                places.insert(digest, (index, at));
            }
        }
        digests.push(digest);
    }
    digests.into()
}

/// What is wrong with a text that is no digest.
fn no_digest(text: &str) -> &'static str {
    const DIGITS: usize = 64;
    let begins = text.get(..KeyDigest::PREFIX.len());
    if begins.is_some_and(|beginning| beginning.eq_ignore_ascii_case(KeyDigest::PREFIX)) {
        "is not a digest: write `sha256:` and 64 hexadecimal digits, as `penstock keys new` prints them"
    } else if text.len() == DIGITS && text.bytes().all(|b| b.is_ascii_hexdigit()) {
        "has no `sha256:` before it: write that if it is a digest; if it is a key itself, write its digest, which \
         `penstock keys digest` prints"
    } else {
        "looks like a key itself, which has no place in a document: write its digest, `sha256:` and 64 hexadecimal \
         digits; `penstock keys new` makes a key and prints its digest, `penstock keys digest` prints that of a key"
    }
}

fn check_tags(raw: &RawConsumer, place: &FieldPath<'_>, report: &mut Report) {
    for (tag, value) in &raw.tags {
        for text in [tag, value] {
            if let Err(message) = text::label(text) {
                report.add(&place.field(tag), || message);
            }
        }
    }
}
