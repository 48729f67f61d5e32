//! `penstock validate`: all that is wrong with documents, without serving them.

use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;
use penstock_config::{Fault, ProfileCheck, Snapshot, Surroundings};
use penstock_sources::file::LoadError;
use penstock_sources::files::{self, DOCUMENT_LIMIT_BYTES};

use super::EXIT_USAGE;
use crate::keys;
use crate::meter::prices;
use crate::server::certificates::Certificates;

/// Options of `validate`.
#[derive(Debug, Args)]
pub(super) struct ValidateOptions {
    /// Routing documents and lists of endpoints, in YAML or JSON; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Look for the files that a document names too: certificates, keys, credentials
    #[arg(long)]
    with_files: bool,
    /// Print nothing about documents without faults
    #[arg(short, long)]
    quiet: bool,
}

/// Checks each file and prints the faults of all.
pub(super) fn run(options: &ValidateOptions, profiles: &dyn ProfileCheck) -> io::Result<ExitCode> {
    let mut is_sound = true;
    for file in &options.files {
        let name = file.display();
        match check(file, profiles, options.with_files) {
            Ok(_) if options.quiet => {}
            Ok(warnings) => {
                for warning in warnings {
                    writeln!(io::stderr(), "{name}: warning: {warning}")?;
                }
                writeln!(io::stdout(), "{name}: ok")?;
            }
            Err(error) => {
                is_sound = false;
                for fault in error.faults() {
                    writeln!(io::stderr(), "{name}: {fault}")?;
                }
            }
        }
    }
    Ok(if is_sound { ExitCode::SUCCESS } else { ExitCode::from(EXIT_USAGE) })
}

/// What is probably not meant in a sound document.
fn check(file: &Path, profiles: &dyn ProfileCheck, with_files: bool) -> Result<Vec<Fault>, LoadError> {
    let text = if file == Path::new("-") {
        files::read_text_from(io::stdin().lock(), DOCUMENT_LIMIT_BYTES)?
    } else {
        files::read_text(file, DOCUMENT_LIMIT_BYTES)?
    };
    if let Some(checked) = penstock_config::check_endpoints(&text) {
        return Ok(checked.map(|()| Vec::new())?);
    }
    let directory = file.parent().unwrap_or(Path::new("")).to_owned();
    let snapshot = Snapshot::compile_in(&text, profiles, &Surroundings { directory, secrets: None })?;
    if with_files {
        check_files(&snapshot).map_err(LoadError::Refused)?;
    }
    Ok(snapshot.warnings().to_vec())
}

/// Reads the files that a document names, as `serve` does, and refuses those of policies too, without which it would serve.
fn check_files(snapshot: &Snapshot) -> Result<(), Vec<Fault>> {
    let mut faults = Certificates::default().load(snapshot, None).err().unwrap_or_default();
    let of_policies = keys::check_files(snapshot).into_iter();
    faults.extend(of_policies.map(|(place, error)| Fault::new(place, error.to_string())));
    faults.extend(prices::check(snapshot));
    if faults.is_empty() { Ok(()) } else { Err(faults) }
}
