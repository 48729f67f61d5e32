//! The performance harness: puts a gateway under load, compares gateways, and simulates pools.

use std::{error::Error, process::ExitCode};

use clap::{Parser, Subcommand};
use penstock_perf::{compare, load, simulate, upstream};

/// The load generator shares a core with what it drives, so it should cost as little as it can.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Measures LLM gateways.
#[derive(Debug, Parser)]
#[command(name = "penstock-perf", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Put a gateway or a model server under load and report latencies, throughput and errors
    Load(Box<load::Flags>),
    /// Measure gateways side by side: CPU per request, throughput of a core, added latency, memory
    Compare(Box<compare::Flags>),
    /// Drive the picker against a simulated pool and compare routing policies
    Simulate(Box<simulate::Flags>),
    /// Serve the cheapest answers that a client of an inference API accepts: the upstream of `compare`
    Upstream(Box<upstream::Flags>),
}

fn main() -> ExitCode {
    let result: Result<(), Box<dyn Error>> = match Cli::parse().command {
        Command::Load(flags) => load::run(&flags).map_err(Into::into),
        Command::Compare(flags) => compare::run(&flags).map_err(Into::into),
        Command::Simulate(flags) => simulate::run(&flags).map_err(Into::into),
        Command::Upstream(flags) => upstream::run(&flags).map_err(Into::into),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&*error);
            ExitCode::FAILURE
        }
    }
}

fn report(error: &dyn Error) {
    let mut message = format!("penstock-perf: {error}");
    let mut source = error.source();
    while let Some(cause) = source {
        message.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    eprintln!("{message}");
}
