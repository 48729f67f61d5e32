//! `penstock-perf load`.

use clap::Args;
use thiserror::Error;

/// The command line of `load`.
#[derive(Args, Debug)]
pub struct Flags {}

/// Why `load` could not run.
#[derive(Debug, Error)]
pub enum Error {
    /// Nothing is there to run yet.
    #[error("`load` is not built yet")]
    NotBuilt,
}

/// Runs `load`.
///
/// # Errors
/// See [`Error`].
pub fn run(_flags: &Flags) -> Result<(), Error> {
    Err(Error::NotBuilt)
}
