//! `penstock-perf compare`: gateways side by side on one machine, in one run.
//!
//! Repeats are interleaved (A B C, A B C, …), so that a machine that slows down slows all of them down. A gateway has a
//! core for itself; the load and the upstream share the others. What is compared is the CPU time of all of a gateway's
//! processes, which a busy neighbour disturbs least; percentiles are shown beside each other and never subtracted.

mod install;
mod machine;
mod peer;
mod publish;
mod runner;
mod scenario;
mod stack;
mod summary;
mod table;
mod template;

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{Args, ValueEnum};
use thiserror::Error;

pub use self::{
    machine::Machine,
    peer::{Ability, Install, Peer, PeerError},
    scenario::{Axis, Pressure, Scenario, Topology},
    summary::{COMPARE_SCHEMA, Comparison, Figures, MissingPeer, Run, Spread},
};
use self::{runner::Plan, stack::Cores};

/// Measures gateways side by side.
#[derive(Args, Clone, Debug)]
pub struct Flags {
    /// Which scenarios
    #[arg(long, value_enum, default_value_t)]
    pub scenarios: Selection,
    /// Only scenarios whose name contains this; may be repeated
    #[arg(long)]
    pub only: Vec<String>,
    /// Gateways to compare: names of perf/peers, or files; all of them if none is given
    #[arg(long, value_delimiter = ',')]
    pub peer: Vec<String>,
    /// Repeats of everything, interleaved
    #[arg(long, default_value_t = 3)]
    pub repeats: usize,
    /// How long each measurement takes
    #[arg(long, default_value = "2500ms", value_parser = humantime::parse_duration)]
    pub duration: Duration,
    /// Requests a second at which latency is measured
    #[arg(long, default_value_t = scenario::RATE)]
    pub rate: f64,
    /// Cores of the gateways, as taskset takes them (default: the last that may be used)
    #[arg(long)]
    pub gateway_cores: Option<String>,
    /// Cores of load and upstream (default: all others)
    #[arg(long)]
    pub load_cores: Option<String>,
    /// Install nothing: what is not there is reported as missing
    #[arg(long)]
    pub no_install: bool,
    /// Where results go
    #[arg(long, default_value = "target/perf")]
    pub out: PathBuf,
    /// Measure nothing: read the results of an earlier run from this file
    #[arg(long, value_name = "FILE")]
    pub from: Option<PathBuf>,
    /// Write the tables and plots into this page, between its markers
    #[arg(long, value_name = "FILE")]
    pub docs: Option<PathBuf>,
}

/// A set of scenarios.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Selection {
    /// Three sizes of prompts, a stream, and latency at a fixed rate
    #[default]
    Headline,
    /// All of them
    Full,
    /// The least that shows that everything runs
    Smoke,
}

/// Why a comparison did not come to its end.
#[derive(Debug, Error)]
pub enum Error {
    /// A peer cannot be read.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// No scenario is left to run.
    #[error("no scenario is called so; there are: {0}")]
    NoScenario(String),
    /// A number is out of its range.
    #[error("--repeats 0: at least 1 is needed")]
    NoRepeats,
    /// A file cannot be written.
    #[error("cannot write {}", .0.display())]
    Write(PathBuf, #[source] io::Error),
    /// A file cannot be read.
    #[error("cannot read {}", .0.display())]
    Read(PathBuf, #[source] io::Error),
    /// The page has no markers to write between.
    #[error("{} lacks the line `{marker}`", page.display())]
    NoMarker {
        /// The page.
        page: PathBuf,
        /// The line.
        marker: &'static str,
    },
    /// The harness could not prepare a measurement.
    #[error("cannot prepare the measurements")]
    Prepare(#[source] io::Error),
    /// Nothing could be measured.
    #[error("not one measurement succeeded; the first failure: {0}")]
    Nothing(String),
}

/// Measures, prints the tables and writes the results.
///
/// # Errors
/// See [`enum@Error`]. A gateway that cannot be installed or started is part of the result, not an error.
pub fn run(flags: &Flags) -> Result<(), Error> {
    let comparison = match &flags.from {
        Some(path) => read(path)?,
        None => measure(flags)?,
    };
    print!("{}", table::text(&comparison));
    fs::create_dir_all(&flags.out).map_err(|error| Error::Write(flags.out.clone(), error))?;
    if flags.from.is_none() {
        write_json(&flags.out.join("compare.json"), &comparison)?;
    }
    write_json(&flags.out.join("headline.json"), &summary::headline(&comparison))?;
    write(&flags.out.join("compare.html"), &publish::html(&comparison))?;
    if let Some(page) = &flags.docs {
        publish::docs(&comparison, page)?;
    }
    println!("\nresults: {}/{{headline.json,compare.json,compare.html,raw/}}", flags.out.display());
    if comparison.runs.is_empty() {
        let reason = comparison.missing.first().map_or(String::new(), |missing| missing.reason.clone());
        return Err(Error::Nothing(reason));
    }
    Ok(())
}

fn measure(flags: &Flags) -> Result<Comparison, Error> {
    if flags.repeats == 0 {
        return Err(Error::NoRepeats);
    }
    let all = match flags.scenarios {
        Selection::Headline => scenario::headline(),
        Selection::Full => scenario::full(),
        Selection::Smoke => scenario::smoke(),
    };
    let is_wanted = |name: &str| flags.only.is_empty() || flags.only.iter().any(|part| name.contains(part));
    let scenarios: Vec<Scenario> = all.iter().filter(|scenario| is_wanted(&scenario.name)).cloned().collect();
    if scenarios.is_empty() {
        let names: Vec<&str> = all.iter().map(|scenario| scenario.name.as_str()).collect();
        return Err(Error::NoScenario(names.join(", ")));
    }
    let names = if flags.peer.is_empty() {
        Peer::names().into_iter().map(str::to_owned).collect()
    } else {
        flags.peer.clone()
    };
    let peers = names.iter().map(|name| Peer::find(name)).collect::<Result<_, _>>()?;
    let cores = cores(flags);
    runner::run(&Plan {
        scenarios,
        peers,
        repeats: flags.repeats,
        duration: flags.duration,
        rate: flags.rate,
        cores,
        may_install: !flags.no_install,
        out: flags.out.clone(),
    })
}

/// The gateway's core and the others.
fn cores(flags: &Flags) -> Cores {
    let own = crate::process::own_cores();
    let list = |cores: &[usize]| cores.iter().map(usize::to_string).collect::<Vec<_>>().join(",");
    let (gateway, load) = match own.split_last() {
        Some((last, others)) if !others.is_empty() => (list(&[*last]), list(others)),
        _ => {
            eprintln!(
                "compare: one core only: gateway, load and upstream share it, and latencies mean little"
            );
            (list(&own), list(&own))
        }
    };
    Cores {
        gateway: flags.gateway_cores.clone().unwrap_or(gateway),
        load: flags.load_cores.clone().unwrap_or(load),
    }
}

fn read(path: &Path) -> Result<Comparison, Error> {
    let text = fs::read_to_string(path).map_err(|error| Error::Read(path.to_owned(), error))?;
    serde_json::from_str(&text).map_err(|error| Error::Read(path.to_owned(), error.into()))
}

fn write_json(path: &Path, value: &impl serde::Serialize) -> Result<(), Error> {
    let json =
        serde_json::to_string_pretty(value).map_err(|error| Error::Write(path.to_owned(), error.into()))?;
    write(path, &(json + "\n"))
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    fs::write(path, text).map_err(|error| Error::Write(path.to_owned(), error))
}
