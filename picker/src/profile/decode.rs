//! Reads a JSON value strictly and keeps going after a fault, so that a document's faults are reported all at once.

use std::{cell::RefCell, fmt::Display};

use penstock_config::Fault;
use serde_json::{Map, Value};

/// The most entries of a list that are read. A configuration comes from whoever may write a ConfigMap, and names are
/// looked up in lists.
const MAX_ENTRIES: usize = 256;

/// The most bytes of a place or a message that are told: a name in it may be as long as a ConfigMap.
const MAX_FAULT_BYTES: usize = 500;

/// The longest name that is compared with others. The time for a comparison grows with the product of two lengths.
const MAX_COMPARED: usize = 64;

/// Collects faults.
#[derive(Debug, Default)]
pub(super) struct Faults(RefCell<Vec<Fault>>);

/// An object of the document, whose fields are asked for one by one.
#[derive(Debug)]
pub(super) struct Object<'a> {
    path: String,
    fields: Option<&'a Map<String, Value>>,
    known: RefCell<Vec<&'static str>>,
    faults: &'a Faults,
}

impl Faults {
    /// Adds a fault at `path`.
    pub(super) fn add(&self, path: impl Into<String>, message: impl Display) {
        self.0.borrow_mut().push(Fault::new(cut(path.into()), cut(message.to_string())));
    }

    /// All faults, in the order in which they were found.
    pub(super) fn into_vec(self) -> Vec<Fault> {
        self.0.into_inner()
    }
}

impl<'a> Object<'a> {
    /// The object `value` at `path`. Anything but an object or nothing is a fault, and then all fields are absent.
    pub(super) fn open(value: Option<&'a Value>, path: impl Into<String>, faults: &'a Faults) -> Self {
        let path = path.into();
        let fields = match value {
            None | Some(Value::Null) => None,
            Some(Value::Object(fields)) => Some(fields),
            Some(other) => {
                faults.add(path.clone(), format_args!("expected an object, found {}", kind(other)));
                None
            }
        };
        Self { path, fields, known: RefCell::default(), faults }
    }

    /// The path of a field.
    pub(super) fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// Adds a fault at a field.
    pub(super) fn fault(&self, name: &str, message: impl Display) {
        self.faults.add(self.path_of(name), message);
    }

    /// A field of any kind; `null` counts as absent.
    pub(super) fn value(&self, name: &'static str) -> Option<&'a Value> {
        self.known.borrow_mut().push(name);
        self.fields?.get(name).filter(|value| !value.is_null())
    }

    /// A text field.
    pub(super) fn text(&self, name: &'static str) -> Option<&'a str> {
        self.typed(name, "a string", Value::as_str)
    }

    /// A field that is `true` or `false`.
    pub(super) fn boolean(&self, name: &'static str) -> Option<bool> {
        self.typed(name, "true or false", Value::as_bool)
    }

    /// A number field that must lie in `range`.
    pub(super) fn number(&self, name: &'static str, range: std::ops::RangeInclusive<f64>) -> Option<f64> {
        let number = self.typed(name, "a number", Value::as_f64)?;
        if range.contains(&number) {
            return Some(number);
        }
        self.fault(name, format_args!("{number} is not between {} and {}", range.start(), range.end()));
        None
    }

    /// A whole-number field of at least `min`.
    pub(super) fn integer(&self, name: &'static str, min: u64) -> Option<u64> {
        let number = self.typed(name, "a whole number that is not negative", Value::as_u64)?;
        if number >= min {
            return Some(number);
        }
        self.fault(name, format_args!("{number} is less than {min}"));
        None
    }

    /// The elements of a list field, each with its path.
    pub(super) fn list(&self, name: &'static str) -> impl Iterator<Item = (String, &'a Value)> {
        let list = self.typed(name, "a list", Value::as_array).map(Vec::as_slice).unwrap_or_default();
        if list.len() > MAX_ENTRIES {
            self.fault(name, format_args!("{} entries; the most are {MAX_ENTRIES}", list.len()));
        }
        let path = self.path_of(name);
        let read = list.iter().take(MAX_ENTRIES);
        read.enumerate().map(move |(index, value)| (format!("{path}[{index}]"), value))
    }

    /// Reports every field that was not asked for.
    pub(super) fn close(self) {
        let known = self.known.borrow();
        for name in self.fields.into_iter().flat_map(Map::keys).filter(|name| !known.contains(&name.as_str()))
        {
            match nearest(name, known.iter().copied()) {
                Some(near) => self.fault(name, format_args!("unknown field; did you mean {near}?")),
                None => self.fault(name, "unknown field"),
            }
        }
    }

    fn typed<T>(
        &self,
        name: &'static str,
        wanted: &str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Option<T> {
        let value = self.value(name)?;
        let read = read(value);
        if read.is_none() {
            self.fault(name, format_args!("expected {wanted}, found {}", kind(value)));
        }
        read
    }
}

/// The one of `names` that `name` is most likely a slip of, if any is near.
pub(super) fn nearest<'n>(name: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    if name.len() > MAX_COMPARED {
        return None;
    }
    let allowed = name.len().div_ceil(5).max(1);
    names
        .into_iter()
        .filter(|candidate| candidate.len() <= MAX_COMPARED)
        .map(|candidate| (edits(name, candidate), candidate))
        .filter(|(edits, _)| *edits <= allowed)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Levenshtein distance in characters, regardless of case.
fn edits(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.to_lowercase().chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (line, character) in one.to_lowercase().chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = line + 1;
        for (column, wanted) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(character != *wanted);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[other.len()]
}

/// A text that is not too long to be told.
fn cut(mut text: String) -> String {
    if text.len() > MAX_FAULT_BYTES {
        text.truncate(text.floor_char_boundary(MAX_FAULT_BYTES));
        text.push('…');
    }
    text
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::{edits, nearest};

    #[test]
    fn slips_are_recognised_and_strangers_are_not() {
        assert_eq!(edits("kitten", "sitting"), 3);
        assert_eq!(nearest("queue-scorr", ["queue-scorer", "random-picker"]), Some("queue-scorer"));
        assert_eq!(nearest("pluginref", ["pluginRef", "weight"]), Some("pluginRef"));
        assert_eq!(nearest("teapot", ["queue-scorer", "random-picker"]), None);
    }
}
