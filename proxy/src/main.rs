//! The `penstock` binary.

use std::process::ExitCode;

use penstock_proxy::cli::{self, Next};

fn main() -> ExitCode {
    match cli::run(std::env::args_os()) {
        Next::Exit(code) => code,
        Next::Serve(_) => cli::fail(cli::EXIT_FAILURE, &"serving is not built yet"),
    }
}
