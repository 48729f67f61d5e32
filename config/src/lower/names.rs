//! Names that other parts of the document refer to.

use rustc_hash::FxHashMap;

use super::text;
use crate::report::{FieldPath, Quoted, Report, Suggestion};

/// The positions of named things.
pub(super) struct Names<'d> {
    positions: FxHashMap<&'d str, usize>,
    in_order: Vec<&'d str>,
}

impl<'d> Names<'d> {
    /// The names of things, in order. Of two that are equal, the first counts.
    pub(super) fn of(names: impl Iterator<Item = &'d str>) -> Self {
        let in_order: Vec<&str> = names.collect();
        let mut positions = FxHashMap::default();
        for (position, name) in in_order.iter().enumerate() {
            positions.entry(*name).or_insert(position);
        }
        Self { positions, in_order }
    }

    /// The same, for a list at `place`. Reports what is not a name, and what is there twice.
    pub(super) fn unique(
        names: impl Iterator<Item = &'d str>,
        place: &FieldPath<'_>,
        report: &mut Report,
    ) -> Self {
        Self::checked(names, text::name, place, report)
    }

    /// The same, for names that `check` knows, which says what is wrong with one.
    pub(super) fn checked(
        names: impl Iterator<Item = &'d str>,
        check: fn(&str) -> Result<(), String>,
        place: &FieldPath<'_>,
        report: &mut Report,
    ) -> Self {
        let names = Self::of(names);
        for (position, name) in names.in_order.iter().enumerate() {
            let item = place.index(position);
            let field = item.field("name");
            if let Err(message) = check(name) {
                report.add(&field, || message);
            }
            let first = names.positions[name];
            if first != position {
                report.add(&field, || format!("{} is the name of {place}[{first}] already", Quoted(name)));
            }
        }
        names
    }

    /// The position of a name. Reports a reference to nothing; `kind` is what is referred to.
    pub(super) fn resolve(
        &self,
        name: &str,
        kind: &str,
        place: &FieldPath<'_>,
        report: &mut Report,
    ) -> Option<usize> {
        let position = self.position(name);
        if position.is_none() {
            let suggestion = Suggestion::of(name, self.in_order.iter().copied());
            report.add(place, || format!("there is no {kind} {}{suggestion}", Quoted(name)));
        }
        position
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.in_order.is_empty()
    }

    /// The position of a name.
    pub(super) fn position(&self, name: &str) -> Option<usize> {
        self.positions.get(name).copied()
    }
}
