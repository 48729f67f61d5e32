//! `penstock-operator crds`.

use std::io;
use std::process::ExitCode;

use clap::Args;

/// Options of `crds`.
#[derive(Debug, Args)]
pub(super) struct CrdsOptions {
    /// Print only those of this API group; may be given several times
    #[arg(long, value_name = "GROUP")]
    group: Vec<String>,
}

#[expect(clippy::unnecessary_wraps, reason = "printing can fail")]
pub(super) fn run(options: &CrdsOptions) -> io::Result<ExitCode> {
    let _ = &options.group;
    Ok(ExitCode::SUCCESS)
}
