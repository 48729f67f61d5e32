//! Simulates gateways in front of a pool of model servers: the real picker, virtual time, no GPU.
//!
//! A discrete-event simulation drives the picker crate as the gateway does (same pools, scorers, prefix index,
//! accounting) against a model of vLLM, with workloads that are traces or made from a seed. What is virtual is time:
//! an hour of a thousand servers takes seconds, and the same seed gives the same result, bit by bit.
//!
//! | what | where |
//! |---|---|
//! | one run: events in order of time | `world` |
//! | a model server: batches, KV cache, queue | `server`, what it costs: `model` |
//! | what decides where a request goes | `policy` |
//! | what is asked when | `workload`, `request` |
//! | figures | `measure` |
//! | what is shown | `show` |

mod flags;
mod measure;
mod model;
mod policy;
mod request;
mod server;
mod show;
mod workload;
mod world;

use std::{
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;

pub use self::{
    flags::{Flags, FlagsError},
    model::{ModelError, ModelSpec},
    policy::UnknownPolicy,
    workload::WorkloadError,
};
use self::{
    measure::{Figures, Slo, hit_bound},
    show::{PhaseFigures, Report, Run, Skipped, WorkloadReport},
    workload::Workload,
    world::RunConfig,
};

/// A simulation that cannot be run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SimulateError {
    /// The flags do not fit together.
    #[error(transparent)]
    Flags(#[from] FlagsError),
    /// A workload cannot be had.
    #[error(transparent)]
    Workload(#[from] WorkloadError),
    /// There is no such policy.
    #[error(transparent)]
    Policy(#[from] UnknownPolicy),
    /// A report cannot be written.
    #[error("{path} cannot be written")]
    Write {
        /// The report.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// Runs every policy on every workload that the flags name, and shows what came of it.
///
/// # Errors
/// [`SimulateError`] if the flags name what there is not, or a report cannot be written.
pub fn run(flags: &Flags) -> Result<(), SimulateError> {
    let model = flags.model()?;
    let slo = flags.slo();
    let mut report = Report::new(&model, &slo, flags);
    for name in flags.workloads() {
        let workload = match Workload::named(name, &flags.workload_config()) {
            Err(missing) if flags.skips(&missing) => {
                let skipped = Skipped { name: name.to_owned(), reason: missing.to_string() };
                println!("\n{skipped}");
                report.skipped.push(skipped);
                continue;
            }
            workload => workload?,
        };
        let config = RunConfig {
            model: model.clone(),
            gateways: flags.gateways.unwrap_or(workload.gateways),
            slo_ttft_ns: slo.ttft_ms * 1e6,
            seed: flags.seed,
        };
        let runs = run_policies(&config, &workload, &slo, flags)?;
        let one = WorkloadReport {
            name: workload.name.clone(),
            servers: workload.members().len(),
            gateways: config.gateways,
            hit_bound: hit_bound(workload.requests()),
            runs,
        };
        print!("{}", show::table(&one));
        report.workloads.push(one);
    }
    print!("{}", show::summary(&report));
    report.write(flags)
}

/// Runs the policies on as many threads as there are to be, each run on one.
fn run_policies(
    config: &RunConfig,
    workload: &Workload,
    slo: &Slo,
    flags: &Flags,
) -> Result<Vec<Run>, SimulateError> {
    let names = flags.policies();
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::new());
    let work = || {
        while let Some(name) = names.get(next.fetch_add(1, Relaxed)) {
            let place = names.iter().position(|other| other == name).unwrap_or(0);
            let result = run_policy(config, workload, slo, name);
            done.lock().push((place, result));
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..flags.threads() {
            scope.spawn(work);
        }
        work();
    });
    let mut done = done.into_inner();
    done.sort_by_key(|(place, _)| *place);
    done.into_iter().map(|(_, result)| result).collect()
}

fn run_policy(config: &RunConfig, workload: &Workload, slo: &Slo, name: &str) -> Result<Run, SimulateError> {
    let started = Instant::now();
    let outcome = world::run(config, name, workload)?;
    let phases = workload.phases.iter().enumerate().map(|(phase, name)| {
        let of_phase = |record: &&measure::Record| record.phase as usize == phase;
        let records: Vec<_> = outcome.records.iter().filter(of_phase).copied().collect();
        PhaseFigures { name: name.clone(), figures: Figures::of_records(&records, slo) }
    });
    Ok(Run {
        policy: name.to_owned(),
        figures: Figures::of(&outcome, slo),
        phases: phases.collect(),
        wall: started.elapsed().max(Duration::from_nanos(1)),
    })
}

#[cfg(test)]
mod tests;
