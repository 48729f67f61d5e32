//! A proxy of nothing but Pingora, as its guide builds one: the yardstick for what Penstock adds.
//!
//! It takes every request to one of its upstreams, in turn, and knows no model, route, limit or metric. Listeners are
//! Pingora's own.

use std::{
    error::Error,
    net::SocketAddr,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use async_trait::async_trait;
use clap::Parser;
use pingora_core::{
    server::{RunArgs, Server, configuration::ServerConf},
    upstreams::peer::HttpPeer,
};
use pingora_error::Result;
use pingora_proxy::{ProxyHttp, Session, http_proxy_service};
use tikv_jemallocator::Jemalloc;

/// The same allocator as Penstock's, so that it makes no difference.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// Idle connections to upstreams that are kept, as many as Penstock keeps.
const POOL: usize = 4096;

/// A proxy of nothing but Pingora.
#[derive(Debug, Parser)]
struct Cli {
    /// Where to listen
    #[arg(long)]
    listen: SocketAddr,
    /// Where requests go, in turn
    #[arg(long, required = true, value_delimiter = ',')]
    upstream: Vec<SocketAddr>,
    /// PEM file with the certificate chain; makes the listener TLS
    #[arg(long, requires = "key")]
    certificate: Option<String>,
    /// PEM file with the private key
    #[arg(long)]
    key: Option<String>,
    /// Threads
    #[arg(long, default_value_t = 1)]
    threads: usize,
}

struct Bare {
    upstreams: Vec<SocketAddr>,
    next: AtomicUsize,
}

#[async_trait]
impl ProxyHttp for Bare {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _session: &mut Session, _ctx: &mut ()) -> Result<Box<HttpPeer>> {
        let next = self.next.fetch_add(1, Relaxed) % self.upstreams.len();
        Ok(Box::new(HttpPeer::new(self.upstreams[next], false, String::new())))
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let cli = Cli::parse();
    let conf = ServerConf {
        threads: cli.threads,
        upstream_keepalive_pool_size: POOL,
        grace_period_seconds: Some(0),
        graceful_shutdown_timeout_seconds: Some(1),
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let proxy = Bare { upstreams: cli.upstream, next: AtomicUsize::new(0) };
    let mut service = http_proxy_service(&server.configuration, proxy);
    match (&cli.certificate, &cli.key) {
        (Some(certificate), Some(key)) => service.add_tls(&cli.listen.to_string(), certificate, key)?,
        _ => service.add_tcp(&cli.listen.to_string()),
    }
    server.add_service(service);
    server.run(RunArgs::default());
    Ok(())
}
