//! One sample line, after its name.

use std::borrow::Cow;

use memchr::{memchr, memchr2};

use crate::engine::{EngineLabels, Filter};

/// The labels and the value of a sample that is wanted.
#[derive(Debug)]
pub(super) struct Sample<'l> {
    /// What stands between the braces; known to parse.
    labels: &'l [u8],
    /// The engine that it is of.
    pub(super) engine: EngineKey<'l>,
    /// Finite and not negative.
    pub(super) value: f64,
}

/// Values of the labels that tell engines apart, still escaped; empty where there is no such label.
pub(super) type EngineKey<'l> = [&'l [u8]; 2];

impl<'l> Sample<'l> {
    /// Parses `{labels} value`, with whatever may follow (a timestamp, an exemplar). Nothing if the labels do
    /// not parse or the value is none that a wanted series can have.
    pub(super) fn parse(line: &'l [u8], engine_labels: &EngineLabels) -> Option<Self> {
        let line = line.trim_ascii();
        let mut engine = EngineKey::default();
        let (labels, rest) = match line.strip_prefix(b"{") {
            Some(inside) => {
                let end = closing_brace(inside, engine_labels, &mut engine)?;
                (&inside[..end], &inside[end + 1..])
            }
            None => (&line[..0], line),
        };
        let rest = rest.trim_ascii_start();
        let number = &rest[..memchr2(b' ', b'\t', rest).unwrap_or(rest.len())];
        let value: f64 = std::str::from_utf8(number).ok()?.parse().ok()?;
        (value.is_finite() && value >= 0.0).then_some(Self { labels, engine, value })
    }

    /// The un-escaped value of a label. Bytes that are no UTF-8 are replaced.
    pub(super) fn label(&self, name: &str) -> Option<Cow<'l, str>> {
        let mut labels = Labels { rest: self.labels };
        labels.find(|(label, _)| *label == name.as_bytes()).map(|(_, value)| unescape(value))
    }

    /// Whether this sample is one of those that a series means.
    pub(super) fn passes(&self, filter: Filter) -> bool {
        match filter {
            Filter::Any => true,
            Filter::Is(name, value) => self.label(name).is_some_and(|v| v == value),
            Filter::Unset(name) => self.label(name).is_none_or(|v| v.is_empty()),
        }
    }
}

/// Name and raw (still escaped) value of each label. Ends at the first that does not parse.
struct Labels<'l> {
    rest: &'l [u8],
}

impl<'l> Iterator for Labels<'l> {
    type Item = (&'l [u8], &'l [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let equals = memchr(b'=', self.rest)?;
        let name = self.rest[..equals].trim_ascii();
        let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':');
        if name.is_empty() || !name.iter().all(is_name) {
            return None;
        }
        let quoted = self.rest[equals + 1..].trim_ascii_start().strip_prefix(b"\"")?;
        let end = closing_quote(quoted)?;
        let after = quoted[end + 1..].trim_ascii_start();
        self.rest = after.strip_prefix(b",").unwrap_or(after).trim_ascii_start();
        Some((name, &quoted[..end]))
    }
}

/// Where the label set ends that begins with these bytes, if it parses up to there. Notes on the way which engine
/// it is of; of a label that is there twice, the first counts.
fn closing_brace<'l>(
    inside: &'l [u8],
    engine_labels: &EngineLabels,
    engine: &mut EngineKey<'l>,
) -> Option<usize> {
    let mut labels = Labels { rest: inside.trim_ascii_start() };
    while !labels.rest.starts_with(b"}") {
        let (name, value) = labels.next()?;
        for (known, wanted) in engine.iter_mut().zip(engine_labels) {
            if known.is_empty() && name == wanted.as_bytes() {
                *known = value;
            }
        }
    }
    Some(inside.len() - labels.rest.len())
}

fn closing_quote(quoted: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += memchr2(b'"', b'\\', &quoted[at..])?;
        if quoted[at] == b'"' {
            return Some(at);
        }
        at += 2;
        if at >= quoted.len() {
            return None;
        }
    }
}

fn unescape(raw: &[u8]) -> Cow<'_, str> {
    if memchr(b'\\', raw).is_none() {
        return String::from_utf8_lossy(raw);
    }
    let mut plain = Vec::with_capacity(raw.len());
    let mut bytes = raw.iter();
    while let Some(&byte) = bytes.next() {
        match byte {
            b'\\' => match bytes.next() {
                Some(b'n') => plain.push(b'\n'),
                Some(&escaped @ (b'\\' | b'"')) => plain.push(escaped),
                // Not an escape of the format: kept as it stands, as Prometheus does.
                Some(&other) => plain.extend_from_slice(&[b'\\', other]),
                None => plain.push(b'\\'),
            },
            _ => plain.push(byte),
        }
    }
    Cow::Owned(String::from_utf8_lossy(&plain).into_owned())
}
