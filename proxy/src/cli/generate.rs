//! Commands that print what is generated from the program itself.

use std::{
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Args, ValueEnum};
use clap_complete::Shell;

/// Options of `schema`.
#[derive(Debug, Args)]
pub(super) struct SchemaOptions {
    /// The form to print it in
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    format: SchemaFormat,
}

/// The form of the description of the routing document.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum SchemaFormat {
    /// JSON schema, for editors that complete and check
    #[default]
    Json,
    /// The reference page: every field with its type, default, range and meaning
    Markdown,
}

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

/// Prints what a routing document may say.
pub(super) fn schema(options: &SchemaOptions) -> io::Result<ExitCode> {
    let mut out = io::stdout().lock();
    match options.format {
        SchemaFormat::Json => {
            serde_json::to_writer_pretty(&mut out, penstock_config::schema())?;
            writeln!(out)?;
        }
        SchemaFormat::Markdown => out.write_all(penstock_config::reference_markdown().as_bytes())?,
    }
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
