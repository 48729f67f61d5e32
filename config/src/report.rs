//! Gathering faults while walking a document.

use std::cell::Cell;
use std::fmt;

use crate::fault::{Fault, Faults};

/// A place in a document, as a chain of references, so that naming one costs nothing until there is a fault.
#[derive(Debug, Clone, Copy)]
pub(crate) enum FieldPath<'a> {
    Root,
    Field(&'a Self, &'a str),
    Index(&'a Self, usize),
}

/// The faults found so far. Beyond [`Faults::MAX`] they are only counted, so that the cost of a hostile document stays
/// bounded.
#[derive(Debug, Default)]
pub(crate) struct Report {
    faults: Vec<Fault>,
    surplus: usize,
}

/// A text from the document as a message shows it: quoted, escaped, and cut where it is long.
pub(crate) struct Quoted<'a>(pub(crate) &'a str);

/// Proposes a known name for one that is not known: `; did you mean "pools"?`, or else the known names.
pub(crate) struct Suggestion<'a, I> {
    given: &'a str,
    known: Cell<Option<I>>,
}

/// The known name closest to `given`, if one is close enough to be meant.
pub(crate) fn closest<'k>(given: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    /// Longer names are not compared; nor is a name compared with more than this many.
    const MAX_COMPARED: usize = 64;
    const MAX_KNOWN: usize = 2_000;
    /// The fewest letters by which a part of a name is recognised.
    const MIN_PART: usize = 4;
    if given.len() > MAX_COMPARED {
        return None;
    }
    let given = given.to_lowercase();
    let limit = 1 + given.len() / 4;
    let score = |name: &str| {
        let name = name.to_lowercase();
        let is_part = given.len() >= MIN_PART && name.contains(&given);
        let distance = distance(&given, &name);
        if is_part { Some(distance.min(limit)) } else { Some(distance).filter(|distance| *distance <= limit) }
    };
    let compared = known.take(MAX_KNOWN).filter(|name| name.len() <= MAX_COMPARED);
    compared
        .filter_map(|name| Some((score(name)?, name)))
        .min_by_key(|(score, _)| *score)
        .map(|(_, name)| name)
}

impl<'a> FieldPath<'a> {
    /// The place of a field of this object.
    pub(crate) fn field(&'a self, name: &'a str) -> Self {
        Self::Field(self, name)
    }

    /// The place of an item of this list.
    pub(crate) fn index(&'a self, index: usize) -> Self {
        Self::Index(self, index)
    }
}

impl fmt::Display for FieldPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Index(list, index) => write!(f, "{list}[{index}]"),
            Self::Field(object, name) => {
                let is_plain =
                    name.len() <= 64 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
                match (object, is_plain) {
                    (Self::Root, true) => f.write_str(name),
                    (_, true) => write!(f, "{object}.{name}"),
                    (_, false) => write!(f, "{object}[{}]", Quoted(name)),
                }
            }
        }
    }
}

impl Report {
    /// Notes a fault. `message` is only asked for if the fault is kept.
    pub(crate) fn add(&mut self, place: &FieldPath<'_>, message: impl FnOnce() -> String) {
        if self.faults.len() < Faults::MAX {
            self.faults.push(Fault::new(place.to_string(), message()));
        } else {
            self.surplus += 1;
        }
    }

    /// Notes faults of an inner document at `place`.
    pub(crate) fn extend(&mut self, place: &FieldPath<'_>, faults: Vec<Fault>) {
        for Fault { path, message } in faults {
            if self.faults.len() < Faults::MAX {
                let separator = if path.is_empty() || path.starts_with('[') { "" } else { "." };
                self.faults.push(Fault::new(format!("{place}{separator}{path}"), message));
            } else {
                self.surplus += 1;
            }
        }
    }

    /// Whether nothing was wrong so far.
    pub(crate) fn is_empty(&self) -> bool {
        self.faults.is_empty()
    }

    /// Takes over what `later` found, except at places at or below one that is already faulty.
    pub(crate) fn append(&mut self, later: Self) {
        let earlier = self.faults.len();
        for fault in later.faults {
            let is_known = self.faults[..earlier].iter().any(|known| {
                !known.path.is_empty()
                    && fault
                        .path
                        .strip_prefix(&known.path)
                        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
            });
            if !is_known {
                self.faults.push(fault);
            }
        }
        self.surplus += later.surplus;
    }

    /// The faults, or `None` if there are none.
    pub(crate) fn into_faults(self) -> Option<Faults> {
        Faults::some(self.faults, self.surplus)
    }
}

impl<'a, 'k, I: Iterator<Item = &'k str> + Clone> Suggestion<'a, I> {
    /// For the unknown name `given`.
    pub(crate) fn of(given: &'a str, known: I) -> Self {
        Self { given, known: Cell::new(Some(known)) }
    }
}

impl<'k, I: Iterator<Item = &'k str> + Clone> fmt::Display for Suggestion<'_, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MAX_LISTED: usize = 12;
        let Some(known) = self.known.take() else { return Ok(()) };
        if let Some(name) = closest(self.given, known.clone()) {
            return write!(f, "; did you mean {}?", Quoted(name));
        }
        let mut names = known.fuse();
        let listed: Vec<_> = names.by_ref().take(MAX_LISTED).map(|name| Quoted(name).to_string()).collect();
        match (listed.is_empty(), names.next().is_some()) {
            (true, _) => f.write_str("; there are none"),
            (false, false) => write!(f, "; there are {}", listed.join(", ")),
            (false, true) => write!(f, "; there are {}, …", listed.join(", ")),
        }
    }
}

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MAX_SHOWN: usize = 80;
        match self.0.char_indices().nth(MAX_SHOWN) {
            None => write!(f, "{:?}", self.0),
            Some((cut, _)) => write!(f, "{:?}… ({} bytes)", &self.0[..cut], self.0.len()),
        }
    }
}

/// Levenshtein's distance, over bytes.
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_reads_like_a_path() {
        let routes = FieldPath::Root.field("routes");
        let route = routes.index(2);
        assert_eq!(route.field("name").to_string(), "routes[2].name");
        assert_eq!(route.field("odd.key").to_string(), "routes[2][\"odd.key\"]");
        assert_eq!(FieldPath::Root.to_string(), "");
    }

    #[test]
    fn close_names_are_proposed_and_others_listed() {
        let known = ["pools", "backends"];
        let suggestion = |given| Suggestion::of(given, known.into_iter()).to_string();
        assert_eq!(suggestion("pool"), "; did you mean \"pools\"?");
        assert_eq!(suggestion("Backend"), "; did you mean \"backends\"?");
        assert_eq!(suggestion("elephants"), "; there are \"pools\", \"backends\"");
        assert_eq!(Suggestion::of("x", std::iter::empty()).to_string(), "; there are none");
    }

    #[test]
    fn long_texts_are_cut() {
        assert!(Quoted(&"é".repeat(1_000_000)).to_string().len() < 300);
        assert_eq!(Quoted("a\nb").to_string(), "\"a\\nb\"");
    }

    #[test]
    fn faults_beyond_the_most_are_counted() {
        let mut report = Report::default();
        for index in 0..Faults::MAX + 5 {
            report.add(&FieldPath::Root.field("list").index(index), || "bad".to_owned());
        }
        let faults = report.into_faults().expect("there are faults");
        assert_eq!(faults.iter().count(), Faults::MAX + 1);
        assert_eq!(faults.iter().last().expect("not empty").message, "and 5 more faults");
    }

    #[test]
    fn later_faults_below_an_earlier_one_are_left_out() {
        let (mut early, mut late) = (Report::default(), Report::default());
        let (pools, other) = (FieldPath::Root.field("pools"), FieldPath::Root.field("poolsize"));
        early.add(&pools, || "bad".to_owned());
        late.add(&pools.index(0), || "also bad".to_owned());
        late.add(&other, || "bad too".to_owned());
        early.append(late);
        let faults = early.into_faults().expect("there are faults");
        assert_eq!(faults.iter().map(|fault| fault.path.as_str()).collect::<Vec<_>>(), ["pools", "poolsize"]);
    }
}
