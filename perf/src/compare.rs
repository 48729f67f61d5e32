//! `penstock-perf compare`.

use clap::Args;
use thiserror::Error;

/// The command line of `compare`.
#[derive(Args, Debug)]
pub struct Flags {}

/// Why `compare` could not run.
#[derive(Debug, Error)]
pub enum Error {
    /// Nothing is there to run yet.
    #[error("`compare` is not built yet")]
    NotBuilt,
}

/// Runs `compare`.
///
/// # Errors
/// See [`Error`].
pub fn run(_flags: &Flags) -> Result<(), Error> {
    Err(Error::NotBuilt)
}
