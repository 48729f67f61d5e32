//! The `penstock-operator` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    penstock_operator::cli::run(std::env::args_os())
}
