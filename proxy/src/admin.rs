//! The admin listener: health, metrics, and answers to "why did my request go there?".
//!
//! It has no authentication and listens on loopback unless it is told otherwise. It serves HTTP/1.1 by hyper and
//! shares nothing with the request path but what it reports on, so that it answers while that path is overloaded.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use penstock_sources::{ReloadStatus, StatusCell};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;
use crate::server::Server;
use crate::upstreams::Chooser;

mod explain;

/// The largest request that `/debug/pick` explains, in bytes.
const MAX_EXPLAINED_BYTES: usize = 64 << 20;

/// What the index page says.
const INDEX: &str = "penstock admin\n\n\
    GET  /healthz       the process is alive\n\
    GET  /readyz        it takes traffic, and by which document (503 before there is one and while it drains)\n\
    GET  /metrics       Prometheus\n\
    GET  /debug/config  the routing document in force, without secrets, and how the last reload went\n\
    GET  /debug/pools   pools, backends and their endpoints\n\
    POST /debug/pick    a request's body in, the decision out; nothing is sent and nothing changes\n\
    \x20                    ?path=/v1/chat/completions&host=HOST&listener=NAME&method=POST\n";

/// What the admin listener reports on.
pub struct Admin {
    /// The gateway, once there is one.
    pub server: Arc<OnceLock<Arc<Server>>>,
    /// The process's metrics.
    pub metrics: Arc<Metrics>,
    /// How loading the configuration went; `None` where there is no file to load it from.
    pub reloads: Option<Arc<StatusCell>>,
}

type Answer = Response<Full<Bytes>>;

/// Serves the admin pages on `socket` until `stop` is cancelled.
pub async fn serve(socket: TcpListener, admin: Arc<Admin>, stop: CancellationToken) {
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = socket.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let served = connection(stream, peer, admin.clone());
                tokio::spawn(stop.clone().run_until_cancelled_owned(served));
            }
            Err(error) => {
                tracing::warn!(%error, "admin listener: accept failed");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, peer: SocketAddr, admin: Arc<Admin>) {
    let service = service_fn(move |request| {
        let admin = admin.clone();
        async move { Ok::<_, Infallible>(admin.answer(request).await) }
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(hyper_util::rt::TokioTimer::new()).header_read_timeout(std::time::Duration::from_secs(10));
    if let Err(error) = http.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(%peer, %error, "admin connection ended");
    }
}

impl Admin {
    /// Reports on a gateway that runs.
    pub fn of(server: Arc<Server>, reloads: Option<Arc<StatusCell>>) -> Self {
        let metrics = server.metrics().clone();
        Self { server: Arc::new(OnceLock::from(server)), metrics, reloads }
    }

    async fn answer(&self, request: Request<Incoming>) -> Answer {
        let path = request.uri().path().to_owned();
        match (request.method(), path.as_str()) {
            (&Method::GET | &Method::HEAD, "/") => text(StatusCode::OK, INDEX),
            (&Method::GET | &Method::HEAD, "/healthz") => text(StatusCode::OK, "ok\n"),
            (&Method::GET | &Method::HEAD, "/readyz") => self.ready(),
            (&Method::GET, "/metrics") => self.metrics(),
            (&Method::GET, "/debug/config") => self.about(|server| self.config(server)),
            (&Method::GET, "/debug/pools") => self.about(pools),
            (&Method::POST, "/debug/pick") => match self.server.get() {
                Some(server) => pick(server, request).await,
                None => self.ready(),
            },
            (_, "/" | "/healthz" | "/readyz" | "/metrics" | "/debug/config" | "/debug/pools") => {
                text(StatusCode::METHOD_NOT_ALLOWED, "this page takes GET only\n")
            }
            (_, "/debug/pick") => {
                text(StatusCode::METHOD_NOT_ALLOWED, "POST a request's body to have it explained\n")
            }
            _ => text(StatusCode::NOT_FOUND, INDEX),
        }
    }

    /// Answers about the gateway; before there is one, why there is none.
    fn about(&self, page: impl FnOnce(&Server) -> Value) -> Answer {
        match self.server.get() {
            Some(server) => json_answer(StatusCode::OK, &page(server)),
            None => self.ready(),
        }
    }

    fn ready(&self) -> Answer {
        let status = self.reloads.as_ref().map(|reloads| reloads.get());
        let waits_for = status.as_ref().and_then(|status| status.waits_for.clone());
        let failure = status.as_ref().and_then(|status| status.last_failure.as_ref());
        let faults: Vec<String> =
            failure.iter().flat_map(|failure| &failure.faults).map(ToString::to_string).collect();
        let Some(server) = self.server.get() else {
            let reason = waits_for.unwrap_or_else(|| "there is no routing document yet".to_owned());
            let answer = json!({ "ready": false, "reason": reason, "faults": faults });
            return json_answer(StatusCode::SERVICE_UNAVAILABLE, &answer);
        };
        let is_ready = !server.is_draining();
        let runtime = server.live().load();
        let snapshot = runtime.snapshot();
        let answer = json!({
            "ready": is_ready,
            "generation": snapshot.generation,
            "digest": &*snapshot.digest,
            "reason": (!is_ready).then_some("draining"),
            "waits_for": waits_for,
            "faults": faults,
        });
        json_answer(if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, &answer)
    }

    fn metrics(&self) -> Answer {
        if let Some(server) = self.server.get() {
            server.observe();
        }
        let mut answer = text(StatusCode::OK, self.metrics.encode());
        let version = http::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
        answer.headers_mut().insert(header::CONTENT_TYPE, version);
        answer
    }

    fn config(&self, server: &Server) -> Value {
        let runtime = server.live().load();
        let snapshot = runtime.snapshot();
        let addresses: Vec<Value> = server
            .addresses()
            .iter()
            .map(|(name, address)| json!({ "name": name, "address": address }))
            .collect();
        json!({
            "generation": snapshot.generation,
            "digest": &*snapshot.digest,
            "listening": addresses,
            "reload": self.reloads.as_ref().map(|reloads| reload_status(&reloads.get())),
            "lists": server.lists_report(),
            "document": snapshot.redacted(),
        })
    }
}

fn pools(server: &Server) -> Value {
    let runtime = server.live().load();
    let (mut pools, mut backends) = (Vec::new(), Vec::new());
    for upstream in runtime.upstreams() {
        match &upstream.chooser {
            Chooser::Pool { pool, .. } => pools.push(pool.report()),
            Chooser::Balancer(balancer) => backends.push(balancer.report()),
        }
    }
    json!({ "pools": pools, "backends": backends })
}

async fn pick(server: &Server, request: Request<Incoming>) -> Answer {
    let (head, body) = request.into_parts();
    let body = match Limited::new(body, MAX_EXPLAINED_BYTES).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => {
            let message =
                format!("the body could not be read (at most {MAX_EXPLAINED_BYTES} bytes): {error}");
            return json_answer(StatusCode::BAD_REQUEST, &json!({ "error": message }));
        }
    };
    let runtime = server.live().load_full();
    match explain::explain(&runtime, &head, &body) {
        Ok(decision) => json_answer(StatusCode::OK, &decision),
        Err(message) => json_answer(StatusCode::BAD_REQUEST, &json!({ "error": message })),
    }
}

fn reload_status(status: &ReloadStatus) -> Value {
    let time = |at| humantime::format_rfc3339_millis(at).to_string();
    let failure = status.last_failure.as_ref().map(|failure| {
        let faults: Vec<String> = failure.faults.iter().map(ToString::to_string).collect();
        json!({ "at": time(failure.at), "faults": faults })
    });
    json!({
        "count": status.generation,
        "loaded_at": time(status.loaded_at),
        "failures": status.failures,
        "last_failure": failure,
        "waits_for": status.waits_for,
    })
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    answer(status, "text/plain; charset=utf-8", body.into())
}

fn json_answer(status: StatusCode, value: &Value) -> Answer {
    answer(status, "application/json", Bytes::from(format!("{value:#}\n")))
}

fn answer(status: StatusCode, content_type: &'static str, body: Bytes) -> Answer {
    let mut answer = Response::new(Full::new(body));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, http::HeaderValue::from_static(content_type));
    answer
}
