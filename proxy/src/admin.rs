//! The admin listener: health, metrics, and answers to "why did my request go there?".
//!
//! It has no authentication and listens on loopback unless it is told otherwise; `access` is who may ask for what where
//! it listens for others too. It serves HTTP/1.1 by hyper and shares nothing with the request path but what it reports
//! on, so that it answers while that path is overloaded; `bounds` keeps it from becoming a load itself.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use penstock_config::AdminSpec;
use penstock_sources::{ReloadStatus, StatusCell};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::decode::IsWanted;
use crate::error::Limit;
use crate::metrics::Metrics;
use crate::runtime::Runtime;
use crate::server::Server;
use crate::upstreams::Chooser;

mod access;
mod bounds;
mod explain;
mod log;

use bounds::Bounds;

/// What the index page says.
const INDEX: &str = "penstock admin\n\n\
    GET  /livez         the process is alive; /healthz is the same\n\
    GET  /readyz        it takes traffic, and by which document (503 before there is one and while it drains)\n\
    GET  /metrics       Prometheus\n\
    and, from the machine itself unless admin.debug says anyone:\n\
    GET  /debug/config  the routing document in force, without secrets, and how the last reload went\n\
    GET  /debug/pools   pools, backends and their endpoints, and the keys that policies go by\n\
    GET  /debug/log     what the program logs; POST it to change it, as --log-level takes it (from the machine itself only)\n\
    POST /debug/pick    a request's body in, the decision out; nothing is sent and nothing changes\n\
    \x20                    ?path=/v1/chat/completions&host=HOST&listener=NAME&method=POST&address=IP\n";

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
    let bounds = Bounds::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = socket.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let Some(place) = bounds.connection(peer.ip().to_canonical()) else {
                    admin.limit_hit(Limit::AdminConnections);
                    continue;
                };
                let (admin, bounds) = (admin.clone(), bounds.clone());
                let served = async move {
                    let _place = place;
                    connection(stream, peer, admin, bounds).await;
                };
                tokio::spawn(stop.clone().run_until_cancelled_owned(served));
            }
            Err(error) => {
                tracing::warn!(%error, "admin listener: accept failed");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    }
}

/// Serves the requests of a connection, which ends when it is too old: between two requests, or soon after.
async fn connection<S>(stream: S, peer: SocketAddr, admin: Arc<Admin>, bounds: Arc<Bounds>)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let has_asked = AtomicBool::new(false);
    let (asked, pages, bounds) = (&has_asked, &*admin, &*bounds);
    let service = service_fn(move |request: Request<Incoming>| {
        asked.store(true, Ordering::Relaxed);
        async move { Ok::<_, Infallible>(pages.answer(peer.ip(), request, bounds).await) }
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(bounds::DEADLINE).max_buf_size(bounds::MAX_HEAD_BYTES);
    let mut served = pin!(http.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        () = tokio::time::sleep(bounds::MAX_AGE) => {
            served.as_mut().graceful_shutdown();
            match tokio::time::timeout(bounds::DEADLINE, served).await {
                Ok(ended) => ended,
                Err(_) => return admin.limit_hit(Limit::AdminTimeout),
            }
        }
    };
    if let Err(error) = ended {
        // A connection that was used and lies idle ends this way too.
        if error.is_timeout() && !has_asked.load(Ordering::Relaxed) {
            admin.limit_hit(Limit::AdminTimeout);
        }
        tracing::debug!(%peer, %error, "admin connection ended");
    }
}

impl Admin {
    /// Reports on a gateway that runs.
    pub fn of(server: Arc<Server>, reloads: Option<Arc<StatusCell>>) -> Self {
        let metrics = server.metrics().clone();
        Self { server: Arc::new(OnceLock::from(server)), metrics, reloads }
    }

    async fn answer(&self, peer: IpAddr, request: Request<Incoming>, bounds: &Bounds) -> Answer {
        if let Err(refusal) = access::check(&self.spec(), peer, &request) {
            return text(refusal.status(), format!("{refusal}\n"));
        }
        let path = request.uri().path().to_owned();
        match (request.method(), path.as_str()) {
            (&Method::GET | &Method::HEAD, "/") => text(StatusCode::OK, INDEX),
            (&Method::GET | &Method::HEAD, "/healthz" | "/livez") => text(StatusCode::OK, "ok\n"),
            (&Method::GET | &Method::HEAD, "/readyz") => self.ready(),
            (&Method::GET, "/metrics") => self.metrics(),
            (&Method::GET, "/debug/config") => self.about(|server| self.config(server)),
            (&Method::GET, "/debug/pools") => self.about(pools),
            (&Method::GET, "/debug/log") => log::show(),
            (&Method::POST, "/debug/log") => log::change(peer, request, bounds::DEADLINE).await,
            (&Method::POST, "/debug/pick") => match self.server.get() {
                Some(server) => self.pick(server, request, bounds).await,
                None => self.ready(),
            },
            (_, "/" | "/healthz" | "/livez" | "/readyz" | "/metrics" | "/debug/config" | "/debug/pools") => {
                text(StatusCode::METHOD_NOT_ALLOWED, "this page takes GET only\n")
            }
            (_, "/debug/log") => text(StatusCode::METHOD_NOT_ALLOWED, "GET what is logged, or POST it\n"),
            (_, "/debug/pick") => {
                text(StatusCode::METHOD_NOT_ALLOWED, "POST a request's body to have it explained\n")
            }
            _ => text(StatusCode::NOT_FOUND, INDEX),
        }
    }

    /// What the document in force says of this listener; before there is one, the default.
    fn spec(&self) -> AdminSpec {
        self.server.get().map(|server| server.snapshot().admin.clone()).unwrap_or_default()
    }

    fn limit_hit(&self, limit: Limit) {
        self.metrics.gateway.limit_hit(limit);
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
            "without_credential": without_credential(&runtime),
        });
        json_answer(if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, &answer)
    }

    fn metrics(&self) -> Answer {
        if let Some(server) = self.server.get() {
            server.observe();
        }
        let mut answer = text(StatusCode::OK, self.metrics.encode());
        let version = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
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

    async fn pick(&self, server: &Server, request: Request<Incoming>, bounds: &Bounds) -> Answer {
        let Some(_place) = bounds.pick() else {
            self.limit_hit(Limit::AdminPicks);
            let mut answer = refuse(
                StatusCode::SERVICE_UNAVAILABLE,
                "other requests are being explained; try again shortly",
            );
            answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            return answer;
        };
        let (head, body) = request.into_parts();
        let body = match self.explained(body).await {
            Ok(body) => body,
            Err(answer) => return answer,
        };
        let runtime = server.live().load_full();
        let explained = if head.headers.contains_key(header::CONTENT_ENCODING) {
            // Decoding is done where and when it is for requests.
            let limit = runtime.limits().decode_timeout;
            let explain = move |_: IsWanted<'_>| explain::explain(&runtime, &head, &body);
            let explained = server.decoders().run(limit, explain).await;
            explained.unwrap_or_else(|error| Err(error.to_string()))
        } else {
            explain::explain(&runtime, &head, &body)
        };
        match explained {
            Ok(decision) => json_answer(StatusCode::OK, &decision),
            Err(message) => refuse(StatusCode::BAD_REQUEST, &message),
        }
    }

    /// Reads a body that is to be explained, within bounds.
    async fn explained(&self, body: Incoming) -> Result<Bytes, Answer> {
        let limited = Limited::new(body, bounds::MAX_EXPLAINED_BYTES);
        let Ok(read) = tokio::time::timeout(bounds::DEADLINE, limited.collect()).await else {
            self.limit_hit(Limit::AdminTimeout);
            return Err(refuse(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time"));
        };
        read.map(http_body_util::Collected::to_bytes).map_err(|error| {
            if error.is::<LengthLimitError>() {
                self.limit_hit(Limit::AdminBodyBytes);
                let most = bounds::MAX_EXPLAINED_BYTES;
                return refuse(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    &format!("at most {most} bytes of a body are explained"),
                );
            }
            refuse(StatusCode::BAD_REQUEST, &format!("the body could not be read: {error}"))
        })
    }
}

/// Upstreams that are not asked because their credential cannot be fetched. Whoever has the operator watch over data planes
/// sees it in the status of a policy.
fn without_credential(runtime: &Runtime) -> Vec<Value> {
    /// The most that are told: whoever asks often wants an answer that is short.
    const MAX_TOLD: usize = 32;
    /// The longest error, in bytes: hosts in it come from policies.
    const MAX_ERROR_BYTES: usize = 500;
    let missing = runtime.upstreams().iter().filter_map(|upstream| {
        let error = upstream.credential.as_ref()?.failure()?;
        Some(json!({ "upstream": &*upstream.name, "error": crate::text::clip(&error, MAX_ERROR_BYTES) }))
    });
    missing.take(MAX_TOLD).collect()
}

fn pools(server: &Server) -> Value {
    let runtime = server.live().load();
    let (mut pools, mut backends) = (Vec::new(), Vec::new());
    for upstream in runtime.upstreams() {
        let (list, mut report) = match &upstream.chooser {
            Chooser::Pool { pool, .. } => (&mut pools, json!(pool.report())),
            Chooser::Balancer(balancer) => (&mut backends, json!(balancer.report())),
        };
        if let Some(credential) = upstream.credential.as_ref().and_then(|credential| credential.report()) {
            report["credential"] = credential;
        }
        list.push(report);
    }
    json!({ "pools": pools, "backends": backends, "policy_keys": server.keys_report() })
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

fn refuse(status: StatusCode, message: &str) -> Answer {
    json_answer(status, &json!({ "error": message }))
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
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}

#[cfg(test)]
mod tests;
