//! An authorization server: Envoy's own description of the protocol as tonic serves it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use envoy_types::ext_authz::v3::pb::{Authorization, AuthorizationServer, CheckRequest, CheckResponse};
use envoy_types::pb::envoy::service::auth::v3::attribute_context::HttpRequest;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tonic::codegen::Service;

use crate::harness::{Task, eventually, spawn};

/// What is answered.
type Decide = dyn Fn(&HttpRequest) -> Result<CheckResponse, tonic::Status> + Send + Sync;

/// A server on loopback; dropping it closes its connections.
pub(super) struct Server {
    addr: SocketAddr,
    asked: Arc<Mutex<Vec<CheckRequest>>>,
    accepted: Arc<AtomicUsize>,
    going: watch::Sender<usize>,
    _task: Task<()>,
}

struct Decider {
    decide: Arc<Decide>,
    asked: Arc<Mutex<Vec<CheckRequest>>>,
}

impl Server {
    /// Serves on a port of the system's choice.
    pub(super) async fn start(
        decide: impl Fn(&HttpRequest) -> Result<CheckResponse, tonic::Status> + Send + Sync + 'static,
    ) -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), decide).await
    }

    /// Serves at an address where another served before.
    pub(super) async fn start_at(
        addr: SocketAddr,
        decide: impl Fn(&HttpRequest) -> Result<CheckResponse, tonic::Status> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(addr).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (asked, accepted): (Arc<Mutex<_>>, Arc<AtomicUsize>) = Default::default();
        let (going, told) = watch::channel(0);
        let service = AuthorizationServer::new(Decider { decide: Arc::new(decide), asked: asked.clone() });
        let count = accepted.clone();
        let task = spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                count.fetch_add(1, Ordering::Relaxed);
                let mut told = told.clone();
                // What was told before is not for this connection.
                told.borrow_and_update();
                connections.spawn(serve(stream, service.clone(), told));
            }
        });
        Self { addr, asked, accepted, going, _task: task }
    }

    pub(super) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Connections accepted so far.
    pub(super) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }

    /// All questions so far.
    pub(super) fn asked(&self) -> Vec<CheckRequest> {
        self.asked.lock().clone()
    }

    /// Waits for a question.
    pub(super) async fn until_asked(&self, count: usize) {
        eventually("a question", || (self.asked.lock().len() >= count).then_some(())).await;
    }

    /// Tells those who are connected that no more questions are taken on their connections (GOAWAY).
    pub(super) fn go_away(&self) {
        self.going.send_modify(|times| *times += 1);
    }
}

#[async_trait]
impl Authorization for Decider {
    async fn check(
        &self,
        request: tonic::Request<CheckRequest>,
    ) -> Result<tonic::Response<CheckResponse>, tonic::Status> {
        let request = request.into_inner();
        let http = request.attributes.clone().and_then(|of| of.request?.http).unwrap_or_default();
        self.asked.lock().push(request);
        if http.path.contains("hang") {
            std::future::pending::<()>().await;
        }
        (self.decide)(&http).map(tonic::Response::new)
    }
}

async fn serve(stream: TcpStream, service: AuthorizationServer<Decider>, mut told: watch::Receiver<usize>) {
    let serving = service_fn(move |request: hyper::Request<Incoming>| {
        let mut service = service.clone();
        async move { service.call(request).await }
    });
    let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), serving));
    loop {
        tokio::select! {
            // How it ends is the gateway's affair.
            _ended = &mut connection => return,
            changed = told.changed() => match changed {
                Ok(()) => connection.as_mut().graceful_shutdown(),
                Err(_) => return,
            },
        }
    }
}
