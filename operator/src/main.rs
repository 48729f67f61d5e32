//! The `penstock-operator` binary.

use std::process::ExitCode;

use tikv_jemallocator::Jemalloc;

/// Ten thousand Pods are listed as large objects and kept as small ones; glibc's allocator keeps what was freed.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    penstock_operator::cli::run(std::env::args_os())
}
