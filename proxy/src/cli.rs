//! The command line: what the user types, and everything that happens before the gateway serves.
//!
//! [`run`] does the whole of commands that need no gateway (`validate`, `keys`, `explain`, `cost`, `schema`, `completions`, `man`)
//! and prepares those that do (`serve`, `up`), so that a bad configuration ends the program before any
//! port is bound.

use std::{
    ffi::OsString,
    fmt::Display,
    io::{self, Write as _},
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
};

use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use penstock_config::Snapshot;
use penstock_picker::EpcCheck;
use penstock_sources::{cluster, file::FileSource, up::UpSource};

mod cost;
mod explain;
mod generate;
mod help;
mod keys;
pub mod logging;
pub(crate) mod up;
mod validate;

use cost::CostOptions;
use explain::ExplainOptions;
use generate::{CompletionOptions, ManOptions, SchemaOptions};
use keys::KeysCommand;
use logging::LogOptions;
use up::UpOptions;
use validate::ValidateOptions;

/// Exit code for a faulty configuration or command line (`EX_USAGE` of sysexits.h).
pub const EXIT_USAGE: u8 = 64;

/// Exit code when no model server answers (`EX_UNAVAILABLE` of sysexits.h).
pub const EXIT_UNAVAILABLE: u8 = 69;

/// Exit code when the gateway cannot start or go on for another reason.
pub const EXIT_FAILURE: u8 = 1;

/// What the command line asks for.
#[derive(Debug, Parser)]
#[command(name = "penstock", about = help::ABOUT, long_about = help::LONG_ABOUT, after_long_help = help::AFTER)]
#[command(max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve a routing document
    #[command(after_long_help = help::AFTER_SERVE)]
    Serve(ServeOptions),
    /// Check routing documents without serving them
    #[command(after_long_help = help::AFTER_VALIDATE)]
    Validate(ValidateOptions),
    /// Make the keys by which consumers are known, and their digests
    #[command(subcommand, after_long_help = help::AFTER_KEYS)]
    Keys(KeysCommand),
    /// Ask a gateway that runs what would become of a request, and why
    #[command(after_long_help = help::AFTER_EXPLAIN)]
    Explain(ExplainOptions),
    /// Add up what the requests of access logs took and cost
    #[command(after_long_help = help::AFTER_COST)]
    Cost(CostOptions),
    /// Print what a routing document may say: its JSON schema, or its reference page
    #[command(after_long_help = help::AFTER_SCHEMA)]
    Schema(SchemaOptions),
    /// Serve model servers without any file: ask each which models it has
    #[command(after_long_help = help::AFTER_UP)]
    Up(UpOptions),
    /// Print a completion script for a shell
    #[command(after_long_help = help::AFTER_COMPLETIONS)]
    Completions(CompletionOptions),
    /// Print the manual page, or write those of all commands to a directory
    Man(ManOptions),
}

#[derive(Debug, Args)]
struct ServeOptions {
    /// The routing document, in YAML or JSON; watched and reloaded when it changes
    #[arg(value_name = "FILE", required_unless_present_any = ["config", "kubernetes"])]
    file: Option<PathBuf>,
    /// The routing document too: `serve --config FILE` is `serve FILE`
    #[arg(short, long, value_name = "FILE", conflicts_with = "file")]
    config: Option<PathBuf>,
    /// Take the place of the process that was started with the same path, without a failed request
    #[arg(long, value_name = "SOCKET")]
    handover: Option<PathBuf>,
    #[command(flatten)]
    cluster: ClusterOptions,
    #[command(flatten)]
    log: LogOptions,
}

/// Options of `serve` that read the document from a Kubernetes cluster.
#[derive(Debug, Args)]
struct ClusterOptions {
    /// Read the routing document from ConfigMap BASE-routing of a Kubernetes cluster
    #[arg(long, value_name = "BASE", conflicts_with_all = ["file", "config"])]
    kubernetes: Option<String>,
    /// The namespace of the objects [default: the pod's own]
    #[arg(long, value_name = "NAMESPACE", requires = "kubernetes")]
    namespace: Option<String>,
    /// Keep the last good state here, and start from it when the API server cannot be reached
    #[arg(long, value_name = "DIRECTORY", requires = "kubernetes")]
    cache_dir: Option<PathBuf>,
    /// The address of the admin listener, which answers before there is a document
    #[arg(long, value_name = "ADDRESS", requires = "kubernetes", default_value = "0.0.0.0:9901")]
    admin: SocketAddr,
}

/// What is left to do once the command line was dealt with.
#[derive(Debug)]
pub enum Next {
    /// Nothing.
    Exit(ExitCode),
    /// Serve; with the path, if any, at which processes hand their listening sockets over.
    Serve(Launch, Option<PathBuf>),
}

/// A gateway that is ready to start, by where its configuration comes from.
#[derive(Debug)]
pub enum Launch {
    /// Model servers, which have not been asked yet.
    Up(UpSource),
    /// A file, and what it says now.
    File(FileSource, Arc<Snapshot>),
    /// The objects of a Kubernetes cluster.
    Cluster {
        /// Which objects.
        options: cluster::ClusterOptions,
        /// The admin listener's address, which cannot come from a document that is not there yet.
        admin: SocketAddr,
    },
}

/// Does what `arguments` ask for, the program's name first, as far as that can be done without serving.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> Next {
    let matches = match command().try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(error) => return Next::Exit(refuse(&error)),
    };
    let done = match Cli::from_arg_matches(&matches).map(|cli| cli.command) {
        Ok(Command::Serve(options)) => return serve(options),
        Ok(Command::Up(options)) => return up::run(options),
        Ok(Command::Validate(options)) => validate::run(&options, &EpcCheck),
        Ok(Command::Keys(command)) => keys::run(&command),
        Ok(Command::Explain(options)) => explain::run(&options),
        Ok(Command::Cost(options)) => cost::run(&options),
        Ok(Command::Schema(options)) => generate::schema(&options),
        // What is generated leaves out `help`, which would come with a copy of every command.
        Ok(Command::Completions(options)) => {
            generate::completions(&options, &mut command().disable_help_subcommand(true))
        }
        Ok(Command::Man(options)) => generate::man(&options, command().disable_help_subcommand(true)),
        Err(error) => Ok(refuse(&error)),
    };
    Next::Exit(done.unwrap_or_else(|error| match error.kind() {
        // Whoever read the output has seen enough.
        io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        _ => fail(EXIT_FAILURE, &error),
    }))
}

/// The command line as clap knows it.
fn command() -> clap::Command {
    Cli::command().version(help::version())
}

fn serve(options: ServeOptions) -> Next {
    logging::start(&options.log);
    let ClusterOptions { kubernetes, namespace, cache_dir, admin } = options.cluster;
    let handover = options.handover;
    if let Some(base) = kubernetes {
        let options = cluster::ClusterOptions { base, namespace, cache_dir };
        return Next::Serve(Launch::Cluster { options, admin }, handover);
    }
    // The command line has one of the three.
    let config = options.file.or(options.config).unwrap_or_default();
    let source = FileSource::new(&config, Arc::new(EpcCheck));
    match source.start() {
        Ok(snapshot) => Next::Serve(Launch::File(source, snapshot), handover),
        Err(error) => {
            let file = config.display();
            let faults = error.faults();
            let lines: Vec<String> = faults.iter().map(|fault| format!("{file}: {fault}")).collect();
            Next::Exit(fail(EXIT_USAGE, &lines.join("\n")))
        }
    }
}

/// Prints clap's message: an error, or the help or version that was asked for.
fn refuse(error: &clap::Error) -> ExitCode {
    let _ = error.print();
    ExitCode::from(if error.use_stderr() { EXIT_USAGE } else { 0 })
}

/// Says why the program ends. Not through the log, which may be off or in a form for machines.
pub fn fail(code: u8, reason: &impl Display) -> ExitCode {
    let _ = writeln!(io::stderr(), "penstock: {reason}");
    ExitCode::from(code)
}

#[cfg(test)]
mod tests;
