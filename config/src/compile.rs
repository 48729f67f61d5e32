//! From text to snapshot.

use crate::fault::{Faults, ProfileCheck};
use crate::snapshot::Snapshot;
use crate::spec::Surroundings;
use crate::{lower, parse};

impl Snapshot {
    /// Compiles a document, in YAML or JSON, that stands in the working directory. `profiles` judges inline
    /// `EndpointPickerConfig`s.
    ///
    /// # Errors
    /// All that is wrong with the document, each fault with its path.
    pub fn compile(text: &str, profiles: &dyn ProfileCheck) -> Result<Self, Faults> {
        Self::compile_in(text, profiles, &Surroundings::default())
    }

    /// Compiles a document that stands elsewhere.
    ///
    /// # Errors
    /// As [`Self::compile`].
    pub fn compile_in(
        text: &str,
        profiles: &dyn ProfileCheck,
        surroundings: &Surroundings,
    ) -> Result<Self, Faults> {
        let (document, report) = parse::document(text)?;
        lower::snapshot(&document, profiles, surroundings, (text, report))
    }
}
