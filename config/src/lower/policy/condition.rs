//! Lowering conditions of rules that are compiled: paths and expressions.

use super::Known;
use crate::expression::Expression;
use crate::lower::text;
use crate::pattern::{PathCondition, Pattern};
use crate::raw::{RawAccess, RawAccessRule, RawPathMatch, RawPathMatchType};
use crate::report::{FieldPath, Quoted, Report};
use crate::spec::PathTest;

/// The most patterns and expressions that the policies of a document may have. Each takes up to some milliseconds to
/// compile.
const MAX_COMPILED: usize = 1_000;

/// The paths of a rule.
pub(super) fn paths(
    raw: &RawAccessRule,
    known: &Known<'_>,
    place: &FieldPath<'_>,
    report: &mut Report,
) -> Box<[PathTest]> {
    let mut tests = Vec::with_capacity(raw.paths.len());
    for (index, path) in raw.paths.iter().enumerate() {
        let place = place.index(index);
        if raw.paths[..index].contains(path) {
            report.add(&place, || format!("{} is given twice", Quoted(&path.value)));
        }
        tests.extend(test(path, raw.action == RawAccess::Deny, known, &place.field("value"), report));
    }
    tests.into()
}

/// The expression of a rule.
pub(super) fn expression(
    raw: &RawAccessRule,
    known: &Known<'_>,
    place: &FieldPath<'_>,
    report: &mut Report,
) -> Option<Expression> {
    let source = raw.cel.as_deref()?;
    has_room(known, place, report).then(|| Expression::parse(source)).and_then(|parsed| match parsed {
        Ok(expression) => Some(expression),
        Err(message) => {
            report.add(place, || message);
            None
        }
    })
}

fn test(
    raw: &RawPathMatch,
    is_of_refusal: bool,
    known: &Known<'_>,
    place: &FieldPath<'_>,
    report: &mut Report,
) -> Option<PathTest> {
    let condition = match raw.kind {
        RawPathMatchType::RegularExpression if !has_room(known, place, report) => return None,
        RawPathMatchType::RegularExpression if is_of_refusal => {
            PathTest::any_case(&raw.value).map(PathCondition::Pattern)
        }
        RawPathMatchType::RegularExpression => {
            Pattern::new(&raw.value).map(PathCondition::Pattern).map_err(|error| error.to_string())
        }
        RawPathMatchType::Exact => {
            text::path(&raw.value).map(|()| PathCondition::Exact(raw.value.as_str().into()))
        }
        RawPathMatchType::PathPrefix => {
            text::path(&raw.value).map(|()| PathCondition::Prefix(raw.value.trim_end_matches('/').into()))
        }
    };
    match condition {
        Ok(condition) => Some(PathTest::new(condition, is_of_refusal)),
        Err(message) => {
            report.add(place, || message);
            None
        }
    }
}

/// Whether one more may be compiled.
fn has_room(known: &Known<'_>, place: &FieldPath<'_>, report: &mut Report) -> bool {
    let compiled = known.compiled.get() + 1;
    known.compiled.set(compiled);
    if compiled > MAX_COMPILED {
        let message = || format!("the policies have more than {MAX_COMPILED} patterns and expressions");
        report.add(place, message);
    }
    compiled <= MAX_COMPILED
}
