//! The command line.

mod crds;
mod manifests;
mod translate;

use std::ffi::OsString;
use std::io;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::exit::{EXIT_FAILURE, EXIT_USAGE, fail};
use crate::run::{self, RunOptions};

/// Runs Penstock in Kubernetes
#[derive(Debug, Parser)]
#[command(name = "penstock-operator", version, disable_help_subcommand = true, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run in a cluster: translate, publish, write statuses, run data planes
    Run(RunOptions),
    /// Print the routing document that Kubernetes manifests mean, without a cluster
    Translate(translate::TranslateOptions),
    /// Print the custom resource definitions that Penstock ships
    Crds(crds::CrdsOptions),
}

/// Does what `arguments` ask for, the program's name first.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { EXIT_USAGE } else { 0 });
        }
    };
    let done = match &cli.command {
        Command::Run(options) => Ok(run::run(options)),
        Command::Translate(options) => translate::run(options),
        Command::Crds(options) => crds::run(options),
    };
    done.unwrap_or_else(|error| match error.kind() {
        // Whoever read the output has seen enough.
        io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        _ => fail(EXIT_FAILURE, &error),
    })
}
