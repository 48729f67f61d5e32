//! The gateway under test.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use penstock_config::{Fault, Snapshot};
use penstock_picker::EpcCheck;
use penstock_proxy::access_log::{AccessLog, Sink, Writer};
use penstock_proxy::metrics::Metrics;
use penstock_proxy::policy::Extension;
use penstock_proxy::server::{Drained, Server};
use penstock_sources::Applier;
use serde_json::{Value, json};

use super::{Client, PATIENCE, Protocol, eventually, with};

/// Panics of tasks that nobody joins, such as the gateway's connections.
static LOST_PANICS: AtomicUsize = AtomicUsize::new(0);

/// A gateway that serves on loopback.
pub(crate) struct Gateway {
    server: Arc<Server>,
    directory: tempfile::TempDir,
    writer: Option<Writer>,
}

/// Adds nothing.
struct Bare;

impl Extension for Bare {}

impl Gateway {
    /// Serves a routing document, of which only what matters has to be given: without listeners it has one, called
    /// `http`, on a port of the system's choice.
    pub(crate) async fn start(document: Value) -> Self {
        Self::extended(document, Arc::new(Bare)).await
    }

    /// The same, with what a test adds to the configuration.
    pub(crate) async fn extended(document: Value, extension: Arc<dyn Extension>) -> Self {
        count_lost_panics();
        let metrics = Arc::new(Metrics::default());
        let directory = tempfile::tempdir().unwrap();
        let sink = Sink::File(directory.path().join("access.log"));
        let (access_log, writer) =
            AccessLog::start(&sink, 1 << 16, metrics.gateway.access_log.clone()).unwrap();
        let server = Server::start_extended(&compile(document), metrics, access_log, extension).unwrap();
        Self { server, directory, writer: Some(writer) }
    }

    /// The server itself.
    pub(crate) fn server(&self) -> &Arc<Server> {
        &self.server
    }

    /// Where the first listener listens.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.server.addresses()[0].1
    }

    /// Where a listener listens.
    pub(crate) fn addr_of(&self, listener: &str) -> SocketAddr {
        let addresses = self.server.addresses();
        addresses.iter().find(|(name, _)| **name == *listener).map(|(_, address)| *address).unwrap()
    }

    /// A new connection to the first listener.
    pub(crate) async fn client(&self, protocol: Protocol) -> Client {
        Client::connect(self.addr(), protocol).await
    }

    /// Puts another document in force.
    pub(crate) fn reload(&self, document: Value) -> Result<(), Vec<Fault>> {
        self.server.apply(&compile(document))
    }

    /// As SIGTERM does.
    pub(crate) async fn drain(&self, deadline: Duration) -> Drained {
        self.server.drain(deadline).await
    }

    /// The access log, once it has at least `count` lines.
    pub(crate) async fn log(&self, count: usize) -> Vec<Value> {
        let path = self.log_path();
        eventually("lines in the access log", || {
            let text = std::fs::read_to_string(&path).ok()?;
            let whole = text.rfind('\n').map_or("", |end| &text[..end]);
            let lines: Vec<Value> = whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            (lines.len() >= count).then_some(lines)
        })
        .await
    }

    /// The metrics as Prometheus reads them.
    pub(crate) fn metrics(&self) -> String {
        self.server.observe();
        self.server.metrics().encode()
    }

    /// The sum of all series of a metric whose labels contain each of `labels`.
    pub(crate) fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let text = self.metrics();
        let series = text.lines().filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            let (of, set) = series.split_once('{').unwrap_or((series, ""));
            (of == name && labels.iter().all(|label| set.contains(label)))
                .then(|| value.parse::<f64>().unwrap())
        });
        series.fold(0.0, |sum, value| sum + value)
    }

    /// Ends it, and panics if one of its tasks did.
    pub(crate) async fn stop(mut self) {
        let ended = self.server.drain(PATIENCE).await;
        assert_eq!(ended, Drained::Completely, "connections were left open");
        assert_eq!(self.server.in_flight(), 0, "requests are still counted as in flight");
        assert_eq!(self.server.body_bytes(), 0, "memory of request bodies was not given back");
        assert_eq!(LOST_PANICS.load(Ordering::Relaxed), 0, "a task of the gateway panicked");
        if let Some(writer) = self.writer.take() {
            tokio::task::spawn_blocking(|| writer.close()).await.unwrap();
        }
    }

    fn log_path(&self) -> PathBuf {
        self.directory.path().join("access.log")
    }
}

/// Compiles a document of which the usual parts may be left out.
pub(crate) fn compile(document: Value) -> Arc<Snapshot> {
    let usual = json!({
        "apiVersion": "penstock.dev/v1alpha1",
        "kind": "RoutingConfig",
        "listeners": [{"name": "http", "address": "127.0.0.1:0"}],
        // Tests have no clients that need longer to hear of the end, unless they say so.
        "shutdown": {"linger": "50ms"},
    });
    let text = with(usual, document).to_string();
    Arc::new(Snapshot::compile(&text, &EpcCheck).unwrap_or_else(|faults| panic!("{faults}\n{text}")))
}

fn count_lost_panics() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            // A failed assertion of a test's own task comes out of its `join`.
            if panic.location().is_none_or(|location| !location.file().contains("tests/")) {
                LOST_PANICS.fetch_add(1, Ordering::Relaxed);
            }
            usual(panic);
        }));
    });
}
