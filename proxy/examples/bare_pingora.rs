//! A proxy of nothing but Pingora: the yardstick for what Penstock adds.
//!
//! `bare_pingora LISTEN UPSTREAM`, such as `bare_pingora 127.0.0.1:8080 127.0.0.1:9000`. It forwards every request
//! to one upstream and knows no model, route, limit or metric. Connections are accepted as Penstock accepts them, so
//! there is no write buffer under them as there would be in a listener of Pingora's.

use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use pingora_core::apps::ServerApp;
use pingora_core::protocols::l4::stream::Stream;
use pingora_core::server::configuration::ServerConf;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_error::Result;
use pingora_proxy::{ProxyHttp, Session, http_proxy};
use tikv_jemallocator::Jemalloc;

/// The same allocator as Penstock's, so that it makes no difference.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

struct Bare(SocketAddr);

#[async_trait]
impl ProxyHttp for Bare {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _session: &mut Session, _ctx: &mut ()) -> Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.0, false, String::new())))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let addresses: Vec<SocketAddr> =
        std::env::args().skip(1).map(|arg| arg.parse()).collect::<Result<_, _>>()?;
    let [listen, upstream] = addresses[..] else {
        return Err("usage: bare_pingora LISTEN UPSTREAM".into());
    };
    let conf = ServerConf { upstream_keepalive_pool_size: 4096, ..ServerConf::default() };
    let proxy = Arc::new(http_proxy(&Arc::new(conf), Bare(upstream)));
    let listener = tokio::net::TcpListener::bind(listen).await?;
    let (_stop, shutdown) = tokio::sync::watch::channel(false);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (proxy, shutdown) = (proxy.clone(), shutdown.clone());
        tokio::spawn(async move { proxy.process_new(Box::new(Stream::from(stream)), &shutdown).await });
    }
}
