//! `penstock serve`: from a sound configuration to the end of the process.

use std::io;
use std::process::ExitCode;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::access_log::{AccessLog, Sink, Writer};
use crate::admin::{self, Admin};
use crate::cli::{EXIT_FAILURE, EXIT_USAGE, Launch, fail};
use crate::metrics::Metrics;
use crate::server::{Drained, Server};
use crate::source::Applier;

/// Serves until SIGTERM or SIGINT, drains, and says how it ended.
pub fn run(launch: Launch) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(EXIT_FAILURE, &format!("cannot start threads: {error}")),
    };
    let code = runtime.block_on(serve(launch));
    // What is still running has had its time; a task that does not end must not hold up the process.
    runtime.shutdown_background();
    code
}

async fn serve(launch: Launch) -> ExitCode {
    // The signals are caught before anything is bound: a supervisor may be quick.
    let (mut terminate, mut interrupt) =
        match (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
            (Ok(terminate), Ok(interrupt)) => (terminate, interrupt),
            (Err(error), _) | (_, Err(error)) => {
                return fail(EXIT_FAILURE, &format!("cannot listen for signals: {error}"));
            }
        };
    let (server, stop, writer) = match start(launch).await {
        Ok(started) => started,
        Err(code) => return code,
    };
    tokio::select! {
        _ = terminate.recv() => tracing::info!("SIGTERM: draining"),
        _ = interrupt.recv() => tracing::info!("SIGINT: draining"),
    }
    let limit = server.live().load().snapshot().shutdown.drain_timeout;
    let drained = tokio::select! {
        drained = server.drain(limit) => drained,
        _ = terminate.recv() => Drained::Cut(server.in_flight()),
        _ = interrupt.recv() => Drained::Cut(server.in_flight()),
    };
    stop.cancel();
    drop(server);
    if let Some(writer) = writer {
        // Blocks until the last line is written, at the end of a process that has nothing else to do.
        writer.close();
    }
    match drained {
        Drained::Completely => tracing::info!("drained; bye"),
        Drained::Cut(requests) => {
            tracing::warn!(requests, ?limit, "drain deadline passed; cut off what was left")
        }
    }
    ExitCode::SUCCESS
}

/// Binds everything and starts what runs beside the request path.
async fn start(launch: Launch) -> Result<(Arc<Server>, CancellationToken, Option<Writer>), ExitCode> {
    let Launch { snapshot, source, status } = launch;
    let document = source.as_ref().map(|source| format!("{}: ", source.path().display())).unwrap_or_default();
    let refuse = |code, reason: String| fail(code, &format_args!("{document}{reason}"));
    let metrics = Arc::new(Metrics::default());
    let (access_log, writer) = open_access_log(&snapshot.access_log, &metrics).map_err(|error| {
        refuse(EXIT_USAGE, format!("accessLog.path: cannot write to {}: {error}", snapshot.access_log.path))
    })?;
    let admin_socket = match snapshot.admin.enabled {
        true => Some(bind_admin(snapshot.admin.address).await.map_err(|why| refuse(EXIT_FAILURE, why))?),
        false => None,
    };
    let server = Server::start(&snapshot, metrics.clone(), access_log.clone()).map_err(|faults| {
        let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
        // An address in use is the machine's state; a certificate that cannot be read is a faulty configuration.
        let is_faulty = faults.iter().any(|fault| !fault.path.ends_with(".address"));
        let code = if is_faulty { EXIT_USAGE } else { EXIT_FAILURE };
        refuse(code, lines.join(&format!("\n{document}")))
    })?;
    metrics.gateway.reload_applied(snapshot.generation.unwrap_or(0));
    for (name, address) in server.addresses() {
        tracing::info!(listener = %name, %address, "listening");
    }

    let stop = CancellationToken::new();
    if let Some(socket) = admin_socket {
        if let Ok(address) = socket.local_addr() {
            tracing::info!(%address, "admin listening");
        }
        let admin = Arc::new(Admin { server: server.clone(), reloads: Some(status) });
        tokio::spawn(admin::serve(socket, admin, stop.clone()));
    }
    if let Some(source) = source {
        let (applier, stop): (Arc<dyn Applier>, _) = (server.clone(), stop.clone());
        tokio::spawn(async move {
            if let Err(error) = source.watch(applier, stop).await {
                tracing::error!(%error, "the configuration is not watched; restart to change it");
            }
        });
    }
    tokio::spawn(reopen_on_hangup(access_log, stop.clone()));
    Ok((server, stop, writer))
}

async fn bind_admin(address: std::net::SocketAddr) -> Result<TcpListener, String> {
    TcpListener::bind(address)
        .await
        .map_err(|error| format!("admin.address: cannot listen on {address}: {error}"))
}

fn open_access_log(
    spec: &penstock_config::AccessLog,
    metrics: &Metrics,
) -> io::Result<(AccessLog, Option<Writer>)> {
    if !spec.enabled {
        return Ok((AccessLog::disabled(), None));
    }
    let sink = Sink::from_path(&spec.path);
    let (log, writer) =
        AccessLog::start(&sink, spec.queue_entries as usize, metrics.gateway.access_log.clone())?;
    Ok((log, Some(writer)))
}

/// Log rotation moves the file away and sends SIGHUP.
async fn reopen_on_hangup(access_log: AccessLog, stop: CancellationToken) {
    let Ok(mut hangup) = signal(SignalKind::hangup()) else { return };
    while let Some(Some(())) = stop.run_until_cancelled(hangup.recv()).await {
        access_log.reopen();
    }
}
