//! The operator's own pages: `/healthz`, `/readyz`, `/metrics`.

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use http::{Method, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::Full;
use hyper::{
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpListener, sync::Semaphore};
use tracing::debug;

use crate::metrics::Metrics;

/// Connections at a time. Probes and scrapes need a few; more would be somebody's mistake.
const MAX_CONNECTIONS: usize = 64;

/// How long a client may take for a request's head.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// What the pages show.
#[derive(Debug, Default)]
pub struct Health {
    /// Every watched kind was listed once: from now on the operator knows what there is.
    pub is_synced: AtomicBool,
    /// What `/metrics` shows.
    pub metrics: Metrics,
}

/// A bound listener that does not answer yet.
#[derive(Debug)]
pub struct Admin {
    listener: TcpListener,
}

impl Admin {
    /// Binds the address, so that a taken port ends the program at its start.
    ///
    /// # Errors
    /// If the address cannot be bound.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        Ok(Self { listener: TcpListener::bind(address).await? })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers until the task is dropped.
    pub async fn serve(self, health: Arc<Health>) {
        let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    debug!(%error, "accepting on the admin port failed");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let health = Arc::clone(&health);
            tokio::spawn(async move {
                let service = service_fn(|request: Request<Incoming>| {
                    let response = answer(request.method(), request.uri().path(), &health);
                    async move { Ok::<_, Infallible>(response) }
                });
                let served = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(HEADER_TIMEOUT)
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
                if let Err(error) = served {
                    debug!(%error, "a connection to the admin port ended");
                }
                drop(slot);
            });
        }
    }
}

fn answer(method: &Method, path: &str, health: &Health) -> Response<Full<Bytes>> {
    let text = "text/plain; charset=utf-8";
    let (status, kind, body) = match (method, path) {
        (&Method::GET | &Method::HEAD, "/healthz") => (StatusCode::OK, text, Bytes::from_static(b"ok\n")),
        (&Method::GET | &Method::HEAD, "/readyz") if health.is_synced.load(Relaxed) => {
            (StatusCode::OK, text, Bytes::from_static(b"ready\n"))
        }
        (&Method::GET | &Method::HEAD, "/readyz") => {
            (StatusCode::SERVICE_UNAVAILABLE, text, Bytes::from_static(b"not every kind was listed yet\n"))
        }
        (&Method::GET | &Method::HEAD, "/metrics") => {
            (StatusCode::OK, "text/plain; version=0.0.4", health.metrics.encode().into())
        }
        (_, "/healthz" | "/readyz" | "/metrics") => {
            (StatusCode::METHOD_NOT_ALLOWED, text, Bytes::from_static(b"GET only\n"))
        }
        _ => (StatusCode::NOT_FOUND, text, Bytes::from_static(b"there are /healthz, /readyz and /metrics\n")),
    };
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static(kind));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_means_that_everything_was_seen_once() {
        let health = Health::default();
        assert_eq!(answer(&Method::GET, "/healthz", &health).status(), 200);
        assert_eq!(answer(&Method::GET, "/readyz", &health).status(), 503);
        health.is_synced.store(true, Relaxed);
        assert_eq!(answer(&Method::GET, "/readyz", &health).status(), 200);
        assert_eq!(answer(&Method::POST, "/metrics", &health).status(), 405);
        assert_eq!(answer(&Method::GET, "/debug", &health).status(), 404);
    }
}
