//! Changes to headers and bodies.

use http::{HeaderMap, HeaderName, HeaderValue};

/// Changes to a message's headers, in the order: remove, set, add. Names that frame a message (`content-length`,
/// `connection` and their like) cannot be among them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeaderEdits {
    /// Fields that are taken out.
    pub remove: Vec<HeaderName>,
    /// Fields that replace those of the same name.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// Fields that are added to those of the same name.
    pub add: Vec<(HeaderName, HeaderValue)>,
}

/// Changes to the top-level members of a request's body.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BodyEdits {
    /// Members that are taken out; none of `set`.
    pub remove: Vec<Box<str>>,
    /// Members that get a value, which is JSON, or are added.
    pub set: Vec<(Box<str>, Box<str>)>,
}

impl BodyEdits {
    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.set.is_empty()
    }
}

impl HeaderEdits {
    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.set.is_empty() && self.add.is_empty()
    }

    /// Changes `headers`.
    pub fn apply(&self, headers: &mut HeaderMap) {
        for name in &self.remove {
            headers.remove(name);
        }
        for (name, value) in &self.set {
            headers.insert(name, value.clone());
        }
        for (name, value) in &self.add {
            headers.append(name, value.clone());
        }
    }
}
