//! Who is known by which name, and by which key.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use penstock_config::{Consumer, KeyDigest};
use rustc_hash::FxHashMap;

use crate::keys::key_digest;
use crate::line::{LineError, LineFault, checked_name, lines};

/// The document's consumers by their names. Whatever identifies somebody by one of these names, be it a key, a login or a
/// token, means that consumer: a policy has to name no provider that may not speak for all of them.
#[derive(Debug)]
pub struct ConsumerBook {
    known: FxHashMap<Arc<str>, Arc<Consumer>>,
    nameless: Arc<Consumer>,
}

/// Consumers by digests of their keys.
#[derive(Clone, Default)]
pub struct KeyTable(FxHashMap<KeyDigest, Arc<Consumer>>);

impl ConsumerBook {
    /// A book of these.
    pub fn new(consumers: &[Arc<Consumer>]) -> Self {
        let known = consumers.iter().map(|one| (Arc::clone(&one.name), Arc::clone(one))).collect();
        Self { known, nameless: unknown("") }
    }

    /// Who is called so. A name that is not in the document is a consumer of its own, without tags and without a list of
    /// models.
    pub fn get(&self, name: &str) -> Arc<Consumer> {
        self.known.get(name).map_or_else(|| unknown(name), Arc::clone)
    }

    /// Somebody without a name, such as the bearer of a token that names nobody.
    pub fn nameless(&self) -> Arc<Consumer> {
        Arc::clone(&self.nameless)
    }
}

fn unknown(name: &str) -> Arc<Consumer> {
    Arc::new(Consumer {
        name: name.into(),
        keys: Box::default(),
        tags: BTreeMap::new(),
        models: None,
        limits: BTreeMap::new(),
        priority: None,
    })
}

impl KeyTable {
    /// The keys that `consumers` have in the document, where no two have the same.
    pub fn from_consumers(consumers: &[Arc<Consumer>]) -> Self {
        let keys_of = |one: &Arc<Consumer>| {
            let one = Arc::clone(one);
            (0..one.keys.len()).map(move |at| (one.keys[at], Arc::clone(&one)))
        };
        Self(consumers.iter().flat_map(keys_of).collect())
    }

    /// The keys in a file: a consumer's name, white space and a digest in each line. Empty lines and those that begin with
    /// `#` mean nothing.
    ///
    /// # Errors
    /// A line is something else, or two consumers have the same key.
    pub fn parse_file(text: &str, book: &ConsumerBook) -> Result<Self, LineError> {
        let mut table = Self::default();
        let mut consumers = FxHashMap::<&str, Arc<Consumer>>::default();
        for (line, content) in lines(text) {
            let refused = |fault| LineError { line, fault };
            let (name, digest) = two_words(content).ok_or(refused(LineFault::NotTwoWords))?;
            let name = checked_name(name).ok_or(refused(LineFault::NotAName))?;
            let digest = KeyDigest::parse(digest).ok_or(refused(LineFault::NotADigest))?;
            let consumer = consumers.entry(name).or_insert_with(|| book.get(name));
            let holder = table.0.entry(digest).or_insert_with(|| Arc::clone(consumer));
            if *holder.name != *name {
                return Err(refused(LineFault::KeyOfAnother));
            }
        }
        Ok(table)
    }

    /// Whose key this is. The lookup may take longer for one digest than for another: that tells nothing, since nobody can
    /// make keys whose digests share as many bytes with a digest as they like.
    pub fn get(&self, key: &[u8]) -> Option<&Arc<Consumer>> {
        self.0.get(&key_digest(key))
    }

    /// The number of keys.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn two_words(line: &str) -> Option<(&str, &str)> {
    let mut words = line.split_ascii_whitespace();
    let pair = (words.next()?, words.next()?);
    words.next().is_none().then_some(pair)
}

/// Not the digests: whoever knows a weak key's digest can guess the key.
impl fmt::Debug for KeyTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyTable").field("keys", &self.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use penstock_config::ModelNames;
    use proptest::prelude::*;

    use super::*;

    fn consumer(name: &str, keys: &[&str]) -> Arc<Consumer> {
        Arc::new(Consumer {
            name: name.into(),
            keys: keys.iter().map(|key| key_digest(key.as_bytes())).collect(),
            tags: BTreeMap::from([("team".into(), "search".into())]),
            models: Some(ModelNames::new(["gpt-4o"])),
            limits: BTreeMap::new(),
            priority: None,
        })
    }

    fn line(name: &str, key: &str) -> String {
        format!("{name} {}\n", key_digest(key.as_bytes()))
    }

    fn fault(text: &str) -> (usize, LineFault) {
        let error = KeyTable::parse_file(text, &ConsumerBook::new(&[])).unwrap_err();
        (error.line, error.fault)
    }

    #[test]
    fn a_key_tells_its_consumer_and_another_key_nobody() {
        let consumers = [consumer("a", &["a1", "a2"]), consumer("b", &["b1"])];
        let table = KeyTable::from_consumers(&consumers);
        assert_eq!(table.len(), 3);
        for (key, name) in [("a1", Some("a")), ("a2", Some("a")), ("b1", Some("b")), ("c", None), ("", None)]
        {
            assert_eq!(table.get(key.as_bytes()).map(|one| &*one.name), name, "{key}");
        }
        assert!(KeyTable::from_consumers(&[]).is_empty());
    }

    #[test]
    fn a_digest_is_not_a_key() {
        let table = KeyTable::from_consumers(&[consumer("a", &["a1"])]);
        let digest = key_digest(b"a1");
        assert!(table.get(digest.to_string().as_bytes()).is_none());
        assert!(table.get(&digest.0).is_none());
    }

    #[test]
    fn a_name_of_the_document_has_what_the_document_says_and_another_nothing() {
        let book = ConsumerBook::new(&[consumer("a", &[])]);
        assert_eq!(book.get("a").tags.len(), 1);
        let other = book.get("A");
        assert_eq!((&*other.name, other.tags.len(), &other.models), ("A", 0, &None));
        assert_eq!(&*book.nameless().name, "");
    }

    #[test]
    fn a_file_has_a_key_in_each_line_whatever_ends_it() {
        let book = ConsumerBook::new(&[consumer("a", &[])]);
        let lines = [line("a", "1"), line("b", "2"), line("b", "3").replace(' ', " \t "), line("b", "3")];
        let text = format!("\u{feff}# keys\n\n  # more\n \t\n{}", lines.concat());
        for text in [text.clone(), text.replace('\n', "\r\n"), text.trim_end().to_owned()] {
            let table = KeyTable::parse_file(&text, &book).unwrap();
            let name = |key: &str| table.get(key.as_bytes()).map(|one| one.name.to_string());
            assert_eq!(
                ["1", "2", "3", "4"].map(name),
                [Some("a"), Some("b"), Some("b"), None].map(|n| n.map(str::to_owned))
            );
            assert_eq!((table.len(), table.get(b"1").unwrap().tags.len()), (3, 1));
        }
    }

    #[test]
    fn what_is_no_key_is_refused_by_its_line() {
        let good = line("a", "1");
        let cases = [
            ("a\n", LineFault::NotTwoWords),
            ("a b c\n", LineFault::NotTwoWords),
            ("a sk-secret\n", LineFault::NotADigest),
            ("a sha256:00\n", LineFault::NotADigest),
            ("a sha256:zz\n", LineFault::NotADigest),
            (&line("b", "1"), LineFault::KeyOfAnother),
            (&line("b\u{7}", "2"), LineFault::NotAName),
            (&line(&"b".repeat(254), "2"), LineFault::NotAName),
        ];
        for (bad, expected) in cases {
            assert_eq!(fault(&format!("# keys\r\n{good}\n{bad}")), (4, expected), "{bad}");
        }
    }

    #[test]
    fn a_hundred_thousand_keys_are_a_lookup_away() {
        let text: String =
            (0..100_000).map(|n| line(&format!("consumer-{}", n % 1000), &format!("key-{n}"))).collect();
        let table = KeyTable::parse_file(&text, &ConsumerBook::new(&[])).unwrap();
        assert_eq!(table.len(), 100_000);
        let found = |n: u32| table.get(format!("key-{n}").as_bytes());
        assert!((0..100_000).all(|n| *found(n).unwrap().name == *format!("consumer-{}", n % 1000)));
        assert!(found(100_000).is_none());
        // One name is one consumer, not one for each of its lines.
        assert!(Arc::ptr_eq(found(7).unwrap(), found(1007).unwrap()));
    }

    proptest! {
        #[test]
        fn no_message_quotes_the_file(before in "[a-z#\\n ]{0,20}", after in "[a-z:\\n ]{0,20}") {
            let text = format!("{before}sk-SECRET-51{after}");
            if let Err(error) = KeyTable::parse_file(&text, &ConsumerBook::new(&[])) {
                let shown = format!("{error} {error:?}");
                prop_assert!(!shown.contains("SECRET"), "{}", shown);
            }
        }
    }
}
