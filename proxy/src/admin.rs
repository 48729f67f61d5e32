//! The admin listener: health, metrics, and answers to "why did my request go there?".
//!
//! It has no authentication and listens on loopback unless it is told otherwise. It serves HTTP/1.1 by hyper and
//! shares nothing with the request path but what it reports on, so that it answers while that path is overloaded.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::server::Server;
use crate::source::{ReloadStatus, StatusCell};

mod explain;

/// The largest request that `/debug/pick` explains, in bytes.
const MAX_EXPLAINED_BYTES: usize = 64 << 20;

/// What the index page says.
const INDEX: &str = "penstock admin\n\n\
    GET  /healthz       the process is alive\n\
    GET  /readyz        it takes traffic (503 while it drains)\n\
    GET  /metrics       Prometheus\n\
    GET  /debug/config  the routing document in force, without secrets, and how the last reload went\n\
    GET  /debug/pools   pools, backends and their endpoints\n\
    POST /debug/pick    a request's body in, the decision out; nothing is sent and nothing changes\n\
    \x20                    ?path=/v1/chat/completions&host=HOST&listener=NAME&method=POST\n";

/// What the admin listener reports on.
pub struct Admin {
    /// The gateway.
    pub server: Arc<Server>,
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
    async fn answer(&self, request: Request<Incoming>) -> Answer {
        let path = request.uri().path().to_owned();
        match (request.method(), path.as_str()) {
            (&Method::GET | &Method::HEAD, "/") => text(StatusCode::OK, INDEX),
            (&Method::GET | &Method::HEAD, "/healthz") => text(StatusCode::OK, "ok\n"),
            (&Method::GET | &Method::HEAD, "/readyz") => self.ready(),
            (&Method::GET, "/metrics") => self.metrics(),
            (&Method::GET, "/debug/config") => json_answer(StatusCode::OK, &self.config()),
            (&Method::GET, "/debug/pools") => json_answer(StatusCode::OK, &self.pools()),
            (&Method::POST, "/debug/pick") => self.pick(request).await,
            (_, "/" | "/healthz" | "/readyz" | "/metrics" | "/debug/config" | "/debug/pools") => {
                text(StatusCode::METHOD_NOT_ALLOWED, "this page takes GET only\n")
            }
            (_, "/debug/pick") => {
                text(StatusCode::METHOD_NOT_ALLOWED, "POST a request's body to have it explained\n")
            }
            _ => text(StatusCode::NOT_FOUND, INDEX),
        }
    }

    fn ready(&self) -> Answer {
        if self.server.is_draining() {
            text(StatusCode::SERVICE_UNAVAILABLE, "draining\n")
        } else {
            text(StatusCode::OK, "ready\n")
        }
    }

    fn metrics(&self) -> Answer {
        self.server.observe();
        let page = self.server.metrics().encode();
        let mut answer = text(StatusCode::OK, page);
        let version = http::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
        answer.headers_mut().insert(header::CONTENT_TYPE, version);
        answer
    }

    fn config(&self) -> Value {
        let runtime = self.server.live().load();
        let snapshot = runtime.snapshot();
        let addresses: Vec<Value> = self
            .server
            .addresses()
            .iter()
            .map(|(name, address)| json!({ "name": name, "address": address }))
            .collect();
        json!({
            "generation": snapshot.generation,
            "listening": addresses,
            "reload": self.reloads.as_ref().map(|reloads| reload_status(&reloads.get())),
            "document": snapshot.redacted(),
        })
    }

    fn pools(&self) -> Value {
        let runtime = self.server.live().load();
        let pools: Vec<_> = runtime.pools().iter().map(|pool| pool.report()).collect();
        let backends: Vec<_> = runtime.balancers().iter().map(|backend| backend.report()).collect();
        json!({ "pools": pools, "backends": backends })
    }

    async fn pick(&self, request: Request<Incoming>) -> Answer {
        let (head, body) = request.into_parts();
        let body = match Limited::new(body, MAX_EXPLAINED_BYTES).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) => {
                let message =
                    format!("the body could not be read (at most {MAX_EXPLAINED_BYTES} bytes): {error}");
                return json_answer(StatusCode::BAD_REQUEST, &json!({ "error": message }));
            }
        };
        let runtime = self.server.live().load_full();
        match explain::explain(&runtime, &head, &body) {
            Ok(decision) => json_answer(StatusCode::OK, &decision),
            Err(message) => json_answer(StatusCode::BAD_REQUEST, &json!({ "error": message })),
        }
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
