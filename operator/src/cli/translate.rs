//! `penstock-operator translate`.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

/// Options of `translate`.
#[derive(Debug, Args)]
pub(super) struct TranslateOptions {
    /// Manifests in YAML or JSON, of as many objects as you like; `-` is the standard input
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
}

#[expect(clippy::unnecessary_wraps, reason = "printing can fail")]
pub(super) fn run(options: &TranslateOptions) -> io::Result<ExitCode> {
    let _ = &options.files;
    Ok(ExitCode::SUCCESS)
}
