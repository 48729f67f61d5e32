//! Runs simulated model servers, or the walkthrough's test upstream, until it is told to stop.

use std::{error::Error, io::Write, process::ExitCode};

use clap::Parser;
use penstock_sim::{
    Handle, Sim,
    flags::{Environment, Flags},
};
use tokio::signal::unix::{SignalKind, signal};

/// An upstream in a benchmark should cost as little as it can.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Exit code of a command line that cannot be used, as in `sysexits.h`.
const USAGE: u8 = 64;

fn main() -> ExitCode {
    let (options, fakes) = match Flags::parse().servers(&Environment::read()) {
        Ok(servers) => servers,
        Err(error) => {
            report(&error);
            return ExitCode::from(USAGE);
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            report(&error);
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(async {
        let mut servers = Vec::with_capacity(options.len());
        for options in options {
            let server = Sim::start(options).await?;
            server.fake_metrics(fakes.clone());
            servers.push(server);
        }
        announce(&servers);
        serve(servers).await
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&*error);
            ExitCode::FAILURE
        }
    }
}

/// Finishes what is under way after the first signal, and ends at once after the second.
async fn serve(servers: Vec<Handle>) -> Result<(), Box<dyn Error>> {
    let mut terminated = signal(SignalKind::terminate())?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminated.recv() => {}
        _ = interrupted.recv() => {}
    }
    servers.iter().for_each(Handle::shutdown);
    let drained = async {
        for server in servers {
            server.join().await;
        }
    };
    tokio::select! {
        () = drained => {}
        _ = terminated.recv() => {}
        _ = interrupted.recv() => {}
    }
    Ok(())
}

/// Says where the servers listen; a script that started them on port 0 reads it.
fn announce(servers: &[Handle]) {
    let mut out = std::io::stdout().lock();
    for server in servers {
        // Nobody may be reading, which is none of our business.
        let _ = writeln!(out, "listening on {}", server.addr());
    }
    let _ = out.flush();
}

fn report(error: &dyn Error) {
    let mut message = format!("penstock-sim: {error}");
    let mut source = error.source();
    while let Some(cause) = source {
        message.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    eprintln!("{message}");
}
