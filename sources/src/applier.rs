//! The running gateway, seen from its configuration.

use std::path::PathBuf;
use std::sync::Arc;

use penstock_config::{Fault, Snapshot};

/// Puts snapshots in force.
pub trait Applier: Send + Sync {
    /// Puts a snapshot in force at once, or refuses it and changes nothing.
    ///
    /// # Errors
    /// What only shows when files are opened and addresses bound, with paths in the document.
    fn apply(&self, snapshot: &Arc<Snapshot>) -> Result<(), Vec<Fault>>;

    /// Takes over what a list of endpoints says now; `None` if it is not there. A faulty one changes nothing.
    fn set_list(&self, reference: &str, text: Option<&str>);

    /// A document was refused, by [`Self::apply`] or before it got there.
    fn refused(&self) {}

    /// Files besides the document that what is in force was built from.
    fn files(&self) -> Vec<PathBuf>;

    /// Some of [`Self::files`] have changed, or may have: load them again.
    fn reload_files(&self);
}
