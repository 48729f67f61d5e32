//! `penstock serve`: from a sound configuration to the end of the process.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use penstock_config::{Fault, Snapshot};
use penstock_picker::EpcCheck;
use penstock_sources::cluster::{self, ClusterOptions};
use penstock_sources::up::UpSource;
use penstock_sources::{Applier, StatusCell};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::admin::{self, Admin};
use crate::bind::bind;
use crate::cli::{EXIT_FAILURE, EXIT_USAGE, Launch, fail, up};
use crate::server::Drained;

mod starter;
mod succession;

use starter::Starter;
use succession::Succession;

/// Serves until SIGTERM or SIGINT, or until another process that was started with the same path `handover` serves in this
/// one's place; drains, and says how it ended.
pub fn run(launch: Launch, handover: Option<PathBuf>) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(EXIT_FAILURE, &format!("cannot start threads: {error}")),
    };
    let code = runtime.block_on(serve(launch, handover));
    // What is still running has had its time; a task that does not end must not hold up the process.
    runtime.shutdown_background();
    code
}

async fn serve(launch: Launch, handover: Option<PathBuf>) -> ExitCode {
    // The signals are caught before anything is bound: a supervisor may be quick.
    let signals = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()].map(signal);
    let (mut terminate, mut interrupt, hangup) = match signals {
        [Ok(terminate), Ok(interrupt), Ok(hangup)] => (terminate, interrupt, hangup),
        [Err(error), ..] | [_, Err(error), _] | [.., Err(error)] => {
            return fail(EXIT_FAILURE, &format!("cannot listen for signals: {error}"));
        }
    };
    let stop = CancellationToken::new();
    let started = tokio::select! {
        started = start(launch, handover, &stop) => started,
        _ = terminate.recv() => return ExitCode::SUCCESS,
        _ = interrupt.recv() => return ExitCode::SUCCESS,
    };
    let starter = match started {
        Ok(starter) => starter,
        Err(code) => return code,
    };
    tokio::spawn(reopen_on_hangup(starter.clone(), hangup, stop.clone()));
    tokio::select! {
        _ = terminate.recv() => tracing::info!("SIGTERM: draining"),
        _ = interrupt.recv() => tracing::info!("SIGINT: draining"),
        () = starter.is_over.cancelled() => tracing::info!("another process serves in this one's place: draining"),
    }
    if let Some(server) = starter.server() {
        let limit = server.live().load().snapshot().shutdown.drain_timeout;
        let drained = tokio::select! {
            drained = server.drain(limit) => drained,
            _ = terminate.recv() => Drained::Cut(server.in_flight()),
            _ = interrupt.recv() => Drained::Cut(server.in_flight()),
        };
        match drained {
            Drained::Completely => tracing::info!("drained; bye"),
            Drained::Cut(requests) => {
                tracing::warn!(requests, ?limit, "drain deadline passed; cut off what was left")
            }
        }
    }
    stop.cancel();
    if let Some(writer) = starter.writer.lock().take() {
        starter.close_log();
        // Blocks until the last line is written, at the end of a process that has nothing else to do.
        writer.close();
    }
    ExitCode::SUCCESS
}

/// Starts what runs beside the request path, and the gateway itself where its document is known.
async fn start(
    launch: Launch,
    handover: Option<PathBuf>,
    stop: &CancellationToken,
) -> Result<Arc<Starter>, ExitCode> {
    let starter = match handover {
        Some(path) => {
            let begun = tokio::task::spawn_blocking(move || Succession::begin(&path)).await;
            let begun = begun.map_err(|error| fail(EXIT_FAILURE, &error))?;
            let (succession, inherited) = begun.map_err(|error| fail(EXIT_FAILURE, &error))?;
            Starter::succeeding(succession, inherited)
        }
        None => Starter::default(),
    };
    let starter = Arc::new(starter);
    match launch {
        Launch::Up(source) => start_up(&starter, source, stop).await?,
        Launch::File(source, snapshot) => {
            let document = source.path().display();
            source.read_lists(|reference, text| starter.set_list(reference, text));
            let status = source.status().clone();
            start_known(&starter, &snapshot, &|fault| format!("{document}: {fault}"), status, stop)?;
            let (applier, stop): (Arc<dyn Applier>, _) = (starter.clone(), stop.clone());
            tokio::spawn(async move {
                if let Err(error) = source.watch(applier, stop).await {
                    tracing::error!(%error, "the configuration is not watched; restart to change it");
                }
            });
        }
        Launch::Cluster { options, admin } => {
            let socket = starter.bind_admin(admin).map_err(|fault| fail(EXIT_FAILURE, &fault))?;
            let status = Arc::new(StatusCell::default());
            serve_admin(socket, &starter, status.clone(), stop);
            follow_cluster(&starter, options, status, stop).await?;
        }
    }
    Ok(starter)
}

/// Serves what the model servers have, and goes on asking them. While none can be used yet, only the admin listener
/// answers.
async fn start_up(
    starter: &Arc<Starter>,
    mut source: UpSource,
    stop: &CancellationToken,
) -> Result<(), ExitCode> {
    let (snapshot, problems) = source.start().await.map_err(|error| up::refuse(&error))?;
    up::warn(&problems);
    let status = source.status().clone();
    match snapshot {
        Some(snapshot) => start_known(starter, &snapshot, &up::describe, status, stop)?,
        None => {
            tracing::warn!("no model server can be used yet; they are asked again every few seconds");
            let refuse = |fault: Fault| fail(EXIT_FAILURE, &up::describe(&fault));
            let (listen, admin) = source.addresses();
            // A port that is taken is told at once, and not when the servers are there.
            bind(listen).map_err(|error| refuse(Fault::new("listeners[0].address", error.to_string())))?;
            serve_admin(starter.bind_admin(admin).map_err(refuse)?, starter, status, stop);
        }
    }
    let (applier, stop): (Arc<dyn Applier>, _) = (starter.clone(), stop.clone());
    tokio::spawn(async move {
        if let Err(error) = source.watch(applier, stop).await {
            tracing::error!(%error, "the model servers are not asked again; restart to have them asked");
        }
    });
    Ok(())
}

/// Follows the cluster on a thread of its own: requests, however many, never keep its news waiting, nor does a large
/// document that is compiled keep requests waiting.
async fn follow_cluster(
    starter: &Arc<Starter>,
    options: ClusterOptions,
    status: Arc<StatusCell>,
    stop: &CancellationToken,
) -> Result<(), ExitCode> {
    let broken =
        |error: &dyn std::fmt::Display| fail(EXIT_FAILURE, &format!("cannot follow the cluster: {error}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| broken(&error))?;
    let applier = Arc::new(Within { runtime: Handle::current(), applier: starter.clone() });
    let (metrics, stop) = (Arc::new(starter.metrics.gateway.cluster.clone()), stop.clone());
    let (connected, is_connected) = tokio::sync::oneshot::channel();
    let follow = move || {
        runtime.block_on(async {
            match cluster::connect(options, Arc::new(EpcCheck), status, metrics).await {
                Ok(follower) => {
                    let _ = connected.send(Ok(()));
                    follower.follow(applier, stop).await;
                }
                Err(error) => drop(connected.send(Err(error))),
            }
        });
    };
    std::thread::Builder::new().name("cluster".to_owned()).spawn(follow).map_err(|error| broken(&error))?;
    match is_connected.await {
        Ok(connected) => connected.map_err(|error| fail(EXIT_FAILURE, &error)),
        Err(ended) => Err(broken(&ended)),
    }
}

/// Hands on to an applier from another runtime what it is to do within this one: it starts tasks.
struct Within {
    runtime: Handle,
    applier: Arc<dyn Applier>,
}

impl Applier for Within {
    fn apply(&self, snapshot: &Arc<Snapshot>) -> Result<(), Vec<Fault>> {
        let _entered = self.runtime.enter();
        self.applier.apply(snapshot)
    }

    fn refused(&self) {
        self.applier.refused();
    }

    fn set_list(&self, reference: &str, text: Option<&str>) {
        let _entered = self.runtime.enter();
        self.applier.set_list(reference, text);
    }

    fn files(&self) -> Vec<PathBuf> {
        self.applier.files()
    }

    fn reload_files(&self) {
        let _entered = self.runtime.enter();
        self.applier.reload_files();
    }
}

/// Starts the gateway with the document that there is, or says why that cannot be done, in the words of `describe`.
fn start_known(
    starter: &Arc<Starter>,
    snapshot: &Arc<Snapshot>,
    describe: &dyn Fn(&Fault) -> String,
    status: Arc<StatusCell>,
    stop: &CancellationToken,
) -> Result<(), ExitCode> {
    let admin_socket = match snapshot.admin.enabled {
        true => {
            let bound = starter.bind_admin(snapshot.admin.address);
            Some(bound.map_err(|fault| fail(EXIT_FAILURE, &describe(&fault)))?)
        }
        false => None,
    };
    starter.apply(snapshot).map_err(|faults| {
        let lines: Vec<String> = faults.iter().map(describe).collect();
        // An address in use is the machine's state; a certificate that cannot be read is a faulty configuration.
        let is_faulty = faults.iter().any(|fault| !fault.path.ends_with(".address"));
        let code = if is_faulty { EXIT_USAGE } else { EXIT_FAILURE };
        fail(code, &lines.join("\n"))
    })?;
    if let Some(socket) = admin_socket {
        serve_admin(socket, starter, status, stop);
    }
    Ok(())
}

fn serve_admin(
    socket: TcpListener,
    starter: &Arc<Starter>,
    status: Arc<StatusCell>,
    stop: &CancellationToken,
) {
    if let Ok(address) = socket.local_addr() {
        tracing::info!(%address, "admin listening");
    }
    let admin =
        Admin { server: starter.server.clone(), metrics: starter.metrics.clone(), reloads: Some(status) };
    // Questions that come when another process serves are for that one.
    let is_over = starter.is_over.clone();
    tokio::spawn(is_over.run_until_cancelled_owned(admin::serve(socket, Arc::new(admin), stop.clone())));
}

/// Log rotation moves the file away and sends SIGHUP.
async fn reopen_on_hangup(starter: Arc<Starter>, mut hangup: Signal, stop: CancellationToken) {
    while let Some(Some(())) = stop.run_until_cancelled(hangup.recv()).await {
        if let Some(access_log) = &*starter.access_log.lock() {
            access_log.reopen();
        }
    }
}
