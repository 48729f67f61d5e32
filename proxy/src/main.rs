//! The `penstock` binary.

use std::process::ExitCode;

use penstock_proxy::cli::{self, Next};
use penstock_proxy::serve;
use tikv_jemallocator::Jemalloc;

/// Bodies of very different sizes come and go on all threads; glibc's allocator keeps their memory.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    match cli::run(std::env::args_os()) {
        Next::Exit(code) => code,
        Next::Serve(launch) => serve::run(launch),
    }
}
