//! Commands that print what is generated from the program itself.

use std::{
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use clap::Args;
use clap_complete::Shell;

/// Options of `completions`.
#[derive(Debug, Args)]
pub(super) struct CompletionOptions {
    /// The shell to complete in
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// Options of `man`.
#[derive(Debug, Args)]
pub(super) struct ManOptions {
    /// Write the pages of all commands here instead of printing the main one
    #[arg(long, value_name = "DIRECTORY")]
    directory: Option<PathBuf>,
}

/// Prints the schema of the routing document.
pub(super) fn schema() -> io::Result<ExitCode> {
    let mut out = io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, penstock_config::schema())?;
    writeln!(out)?;
    Ok(ExitCode::SUCCESS)
}

/// Prints a completion script.
pub(super) fn completions(options: &CompletionOptions, command: &mut clap::Command) -> io::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(options.shell, command, "penstock", &mut script);
    io::stdout().lock().write_all(&script)?;
    Ok(ExitCode::SUCCESS)
}

/// Prints the manual page, or writes all of them.
pub(super) fn man(options: &ManOptions, command: clap::Command) -> io::Result<ExitCode> {
    match &options.directory {
        Some(directory) => {
            std::fs::create_dir_all(directory)?;
            clap_mangen::generate_to(command, directory)?;
        }
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(command).render(&mut page)?;
            io::stdout().lock().write_all(&page)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
