//! `penstock-perf simulate`: the real picker against a model of a pool, so that routing quality is known without GPUs.

use clap::Args;
use thiserror::Error;

/// What to simulate.
#[derive(Args, Debug)]
pub struct Flags {}

/// Why a simulation could not run.
#[derive(Debug, Error)]
pub enum Error {
    /// Nothing is there to run yet.
    #[error("`simulate` is not built yet")]
    NotBuilt,
}

/// Simulates and prints what was found.
///
/// # Errors
/// See [`Error`].
pub fn run(_flags: &Flags) -> Result<(), Error> {
    Err(Error::NotBuilt)
}
