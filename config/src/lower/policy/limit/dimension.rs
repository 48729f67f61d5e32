//! Lowering what limits have a counter for each value of.

use rustc_hash::FxHashSet;

use super::Known;
use crate::lower::text;
use crate::report::{FieldPath, Quoted, Report, Suggestion};
use crate::spec::{ClaimPath, Dimension, MODEL_HEADER};

/// Dimensions that are a word.
const PLAIN: [(&str, Dimension); 11] = [
    ("consumer", Dimension::Consumer),
    ("model", Dimension::Model),
    ("targetModel", Dimension::TargetModel),
    ("upstream", Dimension::Upstream),
    ("route", Dimension::Route),
    ("rule", Dimension::Rule),
    ("listener", Dimension::Listener),
    ("address", Dimension::Address { v4_bits: 32, v6_bits: 128 }),
    ("method", Dimension::Method),
    ("path", Dimension::Path),
    ("host", Dimension::Host),
];

/// Those that have something behind a colon.
const NAMED: [&str; 5] = ["tag:NAME", "claim:PATH", "header:NAME", "query:NAME", "address:24/56"];

/// The dimensions of a limit, whose list is at `place`.
pub(super) fn lower(
    raw: &[String],
    known: &Known<'_>,
    place: &FieldPath<'_>,
    report: &mut Report,
    warnings: &mut Report,
) -> Box<[Dimension]> {
    let mut seen = FxHashSet::default();
    let mut dimensions = Vec::with_capacity(raw.len());
    for (index, written) in raw.iter().enumerate() {
        let place = place.index(index);
        if !seen.insert(written.as_str()) {
            report.add(&place, || format!("{} is given twice", Quoted(written)));
        }
        match dimension(written) {
            Ok(dimension) => {
                warn(&dimension, known, &place, warnings);
                dimensions.push(dimension);
            }
            Err(message) => report.add(&place, || message),
        }
    }
    dimensions.into()
}

fn dimension(written: &str) -> Result<Dimension, String> {
    if let Some((_, dimension)) = PLAIN.iter().find(|(word, _)| *word == written) {
        return Ok(dimension.clone());
    }
    let unknown = || {
        let words = PLAIN.iter().map(|(word, _)| *word).chain(NAMED);
        format!("{} is nothing that requests have{}", Quoted(written), Suggestion::of(written, words))
    };
    let (kind, name) = written.split_once(':').ok_or_else(unknown)?;
    match kind {
        "tag" => text::label(name).map(|()| Dimension::Tag(name.into())),
        "claim" => ClaimPath::parse(name).map(Dimension::Claim).ok_or_else(|| {
            format!("{} is no claim: write its name, or names with dots between", Quoted(name))
        }),
        "header" => text::header_name(name).map(|name| match name.as_str() {
            MODEL_HEADER => Dimension::Model,
            _ => Dimension::Header(name),
        }),
        "query" => text::label(name).map(|()| Dimension::Query(name.into())),
        "address" => address(name),
        _ => Err(unknown()),
    }
}

fn address(bits: &str) -> Result<Dimension, String> {
    let read = |text: &str, most: u8| text.parse().ok().filter(|bits: &u8| (1..=most).contains(bits));
    let both = bits.split_once('/');
    let both = both.and_then(|(v4, v6)| Some((read(v4, 32)?, read(v6, 128)?)));
    let (v4_bits, v6_bits) = both.ok_or_else(|| {
        format!(
            "{} are not bits of IPv4 and IPv6 addresses: write them as in \"address:24/56\"",
            Quoted(bits)
        )
    })?;
    Ok(Dimension::Address { v4_bits, v6_bits })
}

/// Legal, since policies may come and go, and rarely meant: no request has a value.
fn warn(dimension: &Dimension, known: &Known<'_>, place: &FieldPath<'_>, warnings: &mut Report) {
    let lacks = match dimension {
        Dimension::Consumer if !known.has_keys && !known.has_others => {
            "no policy asks who asks (authentication)".to_owned()
        }
        Dimension::Tag(tag) if !known.tags.contains_key(&**tag) => {
            let suggestion = Suggestion::of(tag, known.tags.keys().copied());
            format!("no consumer has the tag {}{suggestion}", Quoted(tag))
        }
        Dimension::Claim(_) if known.providers.is_empty() => {
            "no policy asks for tokens (authentication.jwt, authentication.oidc)".to_owned()
        }
        _ => return,
    };
    warnings.add(place, || format!("{lacks}: all requests lack it, and are treated as `missing` says"));
}
