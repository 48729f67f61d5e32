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
        Next::Serve(launch, handover) => {
            give_memory_back();
            serve::run(launch, handover)
        }
    }
}

/// Has free memory given back to the system some seconds after it was freed, by a thread that does nothing else. Without it
/// this happens only as a thread allocates: what a burst took up stays as long as the gateway is idle.
fn give_memory_back() {
    if let Err(error) = tikv_jemalloc_ctl::background_thread::write(true) {
        eprintln!(
            "penstock: memory that is freed will be given back late: jemalloc has no background thread: {error}"
        );
    }
}
