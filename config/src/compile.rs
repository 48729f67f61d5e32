//! From text to snapshot.

use crate::fault::{Faults, ProfileCheck};
use crate::snapshot::Snapshot;
use crate::{lower, parse};

impl Snapshot {
    /// Compiles a document, in YAML or JSON. `profiles` judges inline `EndpointPickerConfig`s.
    ///
    /// # Errors
    /// All that is wrong with the document, each fault with its path.
    pub fn compile(text: &str, profiles: &dyn ProfileCheck) -> Result<Self, Faults> {
        let (document, report) = parse::document(text)?;
        lower::snapshot(&document, profiles, report)
    }
}
