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
    /// The kind of document
    #[arg(long, value_name = "KIND", value_enum, default_value_t)]
    kind: DocumentKind,
    /// The form to print it in; the reference page has both kinds
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    format: SchemaFormat,
}

/// A kind of document.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum DocumentKind {
    /// The routing document
    #[default]
    RoutingConfig,
    /// A list of endpoints that pools and backends name in `endpointsFrom`
    Endpoints,
}

/// The form of the description of a document.
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

/// Prints what a document may say.
pub(super) fn schema(options: &SchemaOptions) -> io::Result<ExitCode> {
    let mut out = io::stdout().lock();
    match options.format {
        SchemaFormat::Json => {
            let schema = match options.kind {
                DocumentKind::RoutingConfig => penstock_config::schema(),
                DocumentKind::Endpoints => penstock_config::endpoints_schema(),
            };
            serde_json::to_writer_pretty(&mut out, schema)?;
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
