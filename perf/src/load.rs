//! `penstock-perf load`: a load generator that counts latency from when a request was to be sent, and checks answers.

mod answer;
pub mod arrival;
mod client;
mod csv;
mod exchange;
mod flags;
mod http1;
mod outcome;
mod plan;
mod progress;
mod record;
mod resources;
mod run;
mod series;
mod shared;
mod target;
mod workload;

use std::{fs, io, path::PathBuf};

use thiserror::Error;

pub use self::{
    flags::{Arrival, Flags, FlagsError, WorkloadName},
    outcome::FailureKind,
    target::Error as TargetError,
    workload::{Api, Models, ModelsError, TraceError},
};
use crate::report::{self, schema::Report};

/// Why a run did not come to its end.
#[derive(Debug, Error)]
pub enum Error {
    /// The command line cannot be run.
    #[error(transparent)]
    Flags(#[from] FlagsError),
    /// A thread or its runtime could not be started.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
    /// A thread of the generator panicked, which is a bug.
    #[error("a thread of the generator panicked")]
    Panicked,
    /// A report cannot be written.
    #[error("cannot write {}", .0.display())]
    Write(PathBuf, #[source] io::Error),
    /// There was no right answer at all.
    #[error("not one right answer came from {0}")]
    NoAnswer(String),
}

/// Runs, prints the result and writes the files that were asked for.
///
/// # Errors
/// See [`enum@Error`]; a run without a single right answer is one.
pub fn run(flags: &Flags) -> Result<(), Error> {
    let report = measure(flags)?;
    print!("{}", report::block(&report));
    if report.results.completed == 0 && report.results.cut == 0 {
        return Err(Error::NoAnswer(flags.url.clone()));
    }
    Ok(())
}

/// Runs and writes the files that were asked for.
///
/// # Errors
/// See [`enum@Error`].
pub fn measure(flags: &Flags) -> Result<Report, Error> {
    let plan = flags.plan()?;
    let settings = flags.settings(&plan);
    let (report, mut recorder) = run::run(plan, settings)?;
    if let Some(path) = &flags.json {
        let json = serde_json::to_string_pretty(&report).map_err(io::Error::from);
        json.and_then(|json| fs::write(path, json + "\n"))
            .map_err(|error| Error::Write(path.clone(), error))?;
    }
    if let (Some(path), Some(rows)) = (&flags.csv, &mut recorder.rows) {
        csv::write(path, rows).map_err(|error| Error::Write(path.clone(), error))?;
    }
    if let Some(path) = &flags.html {
        fs::write(path, report::html(&report)).map_err(|error| Error::Write(path.clone(), error))?;
    }
    Ok(report)
}
