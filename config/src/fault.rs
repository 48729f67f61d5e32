//! What is wrong with a document.

use std::fmt;

/// One thing that is wrong with a document, and where.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// The place in the document, such as `routes[2].rules[0].targets[1].pool`; empty for the document itself.
    pub path: String,
    /// What is wrong and what would mend it.
    pub message: String,
}

/// Everything that is wrong with a document, in document order where that is known. Never empty.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Faults(Vec<Fault>);

/// Checks an inline `EndpointPickerConfig`, which this crate carries without understanding it.
pub trait ProfileCheck {
    /// Everything that is wrong with `document`; paths are relative to it. Empty if it is sound.
    fn check(&self, document: &serde_json::Value) -> Vec<Fault>;
}

/// Accepts every `EndpointPickerConfig`. For tests, and for tools that have no picker.
#[derive(Debug, Clone, Copy)]
pub struct NoProfileCheck;

impl Fault {
    /// A fault at `path`.
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, message } = self;
        if path.is_empty() { f.write_str(message) } else { write!(f, "{path}: {message}") }
    }
}

impl Faults {
    /// The most faults that are kept: a document of a million mistakes is not worth a million lines.
    pub const MAX: usize = 200;

    /// `faults`, and a note of `surplus` further ones; `None` if there are none.
    pub(crate) fn some(mut faults: Vec<Fault>, surplus: usize) -> Option<Self> {
        if surplus > 0 {
            faults.push(Fault::new("", format!("and {surplus} more faults")));
        }
        (!faults.is_empty()).then_some(Self(faults))
    }

    /// A single fault.
    pub(crate) fn one(fault: Fault) -> Self {
        Self(vec![fault])
    }

    /// The same, as a list.
    pub(crate) fn into_vec(self) -> Vec<Fault> {
        self.0
    }

    /// The faults, in document order where that is known.
    pub fn iter(&self) -> std::slice::Iter<'_, Fault> {
        self.0.iter()
    }
}

impl<'a> IntoIterator for &'a Faults {
    type Item = &'a Fault;
    type IntoIter = std::slice::Iter<'a, Fault>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{fault}")?;
        }
        Ok(())
    }
}

impl ProfileCheck for NoProfileCheck {
    fn check(&self, _: &serde_json::Value) -> Vec<Fault> {
        Vec::new()
    }
}
