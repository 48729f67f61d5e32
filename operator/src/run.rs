//! `penstock-operator run`: from the command line to the end of the process.

use std::{
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use clap::Args;
use penstock_apiserver::Limits;
use penstock_config::Span;
use penstock_config::raw::RawLimitStore;
use penstock_logging::LogOptions;
use penstock_picker::EpcCheck;
use penstock_translate::GenAiMetrics;
use penstock_translate::{Adoption, DEFAULT_CONTROLLER, Options};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};
use tracing::{error, info};

use crate::{
    admin::{Admin, Health},
    cluster::Cluster,
    controller::{self, Parts},
    exit::{EXIT_FAILURE, EXIT_USAGE},
    lease::{self, LeaseOptions},
    provision::DataPlane,
    watch::{Owned, Referred, run as watch_cluster},
};

/// Threads of the runtime; the work is waiting for the API server.
const THREADS: usize = 2;

/// What is logged where neither the command line nor `RUST_LOG` says otherwise.
const DEFAULT_FILTER: &str = "info";

/// How `penstock-operator run` runs.
#[derive(Debug, Clone, Args)]
pub struct RunOptions {
    /// The controller name of GatewayClasses that are served
    #[arg(long, value_name = "NAME", default_value = DEFAULT_CONTROLLER)]
    pub controller_name: String,
    /// Serve GatewayClasses of gateway.envoyproxy.io/gatewayclass-controller too, unless its own controller runs
    #[arg(long)]
    pub take_over_envoy_gateway: bool,
    /// Create this GatewayClass
    #[arg(long, value_name = "NAME")]
    pub gateway_class: Option<String>,
    /// What holds for all data planes: YAML, as the chart writes it from its values
    #[arg(long, value_name = "FILE")]
    pub data_plane: Option<PathBuf>,
    /// The domain of the cluster's Services
    #[arg(long, value_name = "DOMAIN", default_value = "cluster.local")]
    pub cluster_domain: String,
    /// The Redis or Valkey in which data planes share the counters of limits: `redis://HOST:PORT`, `rediss://` with TLS,
    /// several addresses with commas for a cluster, `redis+sentinel://HOST:PORT,…/PRIMARY`; behind it `?` and, with `&` between
    /// them, `username`, `passwordFile` and `caFile` (in their pods), `database`, `deadline`, `onFailure`. Without it each lets
    /// its share pass
    #[arg(long, value_name = "URL", value_parser = penstock_translate::limit_store)]
    pub limit_store: Option<RawLimitStore>,
    /// By whose names data planes have metrics of generative AI: `OpenTelemetry`, `EnvoyAIGateway`, both with a comma between
    /// them, or `None`. Left out: OpenTelemetry's, and Envoy AI Gateway's too where its classes are taken over
    #[arg(long, value_name = "NAMES", value_parser = penstock_translate::gen_ai_metrics)]
    pub gen_ai_metrics: Option<GenAiMetrics>,
    /// The Lease by which replicas agree on who writes; without it this one does
    #[arg(long, value_name = "NAME")]
    pub lease: Option<String>,
    /// The namespace of the Lease
    #[arg(long, value_name = "NAMESPACE", default_value = "default")]
    pub namespace: String,
    /// The name of this replica, unlike all others
    #[arg(long, value_name = "NAME")]
    pub identity: Option<String>,
    /// Where /metrics, /healthz and /readyz are
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9902")]
    pub admin_address: SocketAddr,
    /// How long changes must be quiet before they are translated
    #[arg(long, value_name = "TIME", default_value = "30ms", value_parser = parse_span)]
    pub debounce_quiet: Duration,
    /// How long they may put the translation off
    #[arg(long, value_name = "TIME", default_value = "200ms", value_parser = parse_span)]
    pub debounce_max: Duration,
    #[command(flatten)]
    log: LogOptions,
}

/// Why the operator ends before it was told to.
#[derive(Debug, thiserror::Error)]
enum RunError {
    #[error("no way to the API server: {0}")]
    Config(#[from] kube::config::InferConfigError),
    #[error("the client for the API server cannot be built: {0}")]
    Client(#[from] kube::Error),
    #[error("the admin address {address} cannot be listened on: {source}")]
    Admin { address: SocketAddr, source: std::io::Error },
    #[error("signals cannot be caught: {0}")]
    Signals(std::io::Error),
    #[error("the runtime cannot be started: {0}")]
    Runtime(std::io::Error),
    #[error("{0} ended")]
    Ended(&'static str),
}

/// Runs until SIGTERM or SIGINT.
pub fn run(options: &RunOptions) -> ExitCode {
    penstock_logging::start(&options.log, DEFAULT_FILTER);
    let data_plane = match options.data_plane.as_deref().map(DataPlane::read).transpose() {
        Ok(data_plane) => data_plane.unwrap_or_default(),
        Err(error) => {
            error!(%error, "the data planes' settings cannot be used");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(THREADS).enable_all().build();
    let served = runtime.map_err(RunError::Runtime).and_then(|runtime| {
        let served = runtime.block_on(serve(options, data_plane));
        runtime.shutdown_timeout(Duration::from_secs(1));
        served
    });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!(%error, "the operator cannot go on");
            ExitCode::from(EXIT_FAILURE)
        }
    }
}

async fn serve(options: &RunOptions, data_plane: DataPlane) -> Result<(), RunError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(RunError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(RunError::Signals)?;
    let address = options.admin_address;
    let admin = Admin::bind(address).await.map_err(|source| RunError::Admin { address, source })?;
    let client = Limits::default().client(kube::Config::infer().await?)?;
    let health = Arc::new(Health::default());
    let cluster = Arc::new(Cluster::default());
    let owned = Arc::new(Owned::new(Arc::clone(&cluster)));
    let referred = Arc::new(Referred::new(Arc::clone(&cluster)));
    let identity =
        options.identity.clone().unwrap_or_else(|| format!("penstock-operator-{}", std::process::id()));
    info!(version = env!("CARGO_PKG_VERSION"), identity, "starting");

    let (lead, leading) = watch::channel(options.lease.is_none());
    let (stop_lease, lease_stopped) = watch::channel(false);
    let (stop, stopped) = watch::channel(false);
    let lease = options.lease.as_deref().map(|name| {
        let seeking = LeaseOptions::new(&options.namespace, name, &identity);
        let health = Arc::clone(&health);
        let is_ready = move || health.is_synced.load(Ordering::Relaxed);
        tokio::spawn(lease::run(client.clone(), seeking, is_ready, lead.clone(), lease_stopped))
    });
    let admin = tokio::spawn(admin.serve(Arc::clone(&health)));
    let watches = tokio::spawn(watch_cluster(
        client.clone(),
        Arc::clone(&cluster),
        Arc::clone(&owned),
        Arc::clone(&referred),
        Arc::clone(&health),
    ));
    let parts = Parts {
        client,
        cluster,
        owned,
        referred,
        health,
        options: Options {
            controller_name: options.controller_name.clone(),
            adoption: if options.take_over_envoy_gateway { Adoption::EnvoyGateway } else { Adoption::None },
            cluster_domain: options.cluster_domain.clone(),
            limit_store: options.limit_store.clone(),
            gen_ai_metrics: options.gen_ai_metrics.clone().map(|named| named.0),
            profiles: Arc::new(EpcCheck),
            ..Options::default()
        },
        data_plane: Arc::new(data_plane),
        gateway_class: options.gateway_class.clone(),
        identity,
        quiet: options.debounce_quiet,
        max: options.debounce_max.max(options.debounce_quiet),
    };
    let mut controller = tokio::spawn(controller::run(parts, leading, stopped));

    let mut watches_end = watches;
    let ended = tokio::select! {
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
        _ = &mut controller => Err(RunError::Ended("the controller")),
        _ = &mut watches_end => Err(RunError::Ended("the watches")),
    };
    info!("ending");
    // First nobody writes any more, then another replica may.
    let _ = stop.send(true);
    if ended.is_ok() {
        let _ = controller.await;
    }
    let _ = stop_lease.send(true);
    if let Some(lease) = lease {
        let _ = lease.await;
    }
    watches_end.abort();
    admin.abort();
    drop(lead);
    ended
}

fn parse_span(text: &str) -> Result<Duration, String> {
    Span::parse(text).map(|span| span.0).map_err(|error| error.to_string())
}
