//! `penstock-perf upstream`: the cheapest model server that still reads what it is sent before it answers.
//!
//! In a comparison the upstream shares a core with the load, so its cost bounds what can be measured; `penstock-sim`
//! simulates an engine and needs several times as much for a request. A static answer of nginx would be cheaper
//! still, but is sent before the body was read, and a proxy that is answered early closes the client's connection:
//! half of a handshake a request that no model server would cause. Answers follow `stream` and `max_tokens` of the
//! request; they carry the number of tokens that was asked for, so that the load generator can check them.

mod answer;
mod request;

use std::{
    io::{self, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    rc::Rc,
    time::Duration,
};

use bytes::BytesMut;
use clap::Args;
use thiserror::Error;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::LocalSet,
    time::Instant,
};

use self::{
    answer::Answers,
    request::{ParsedRequest, RequestParser},
};

/// Bytes that one read asks for at least.
const READ_BYTES: usize = 64 << 10;

/// A cheap upstream for measurements.
#[derive(Args, Clone, Debug)]
pub struct Flags {
    /// Where to listen first; port 0 takes free ones
    #[arg(long, default_value_t = SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))]
    pub listen: SocketAddr,
    /// Number of servers, each on a port of its own
    #[arg(long, default_value_t = 1)]
    pub count: u16,
    /// Give each server an address of its own instead, from the first one on, and all the same port, as pods have it
    #[arg(long)]
    pub own_addresses: bool,
    /// Bytes of an answer that is not streamed
    #[arg(long, default_value_t = 1024)]
    pub answer_bytes: usize,
    /// Milliseconds between the tokens of a stream; the streams of a server step together, as an engine's batch does
    #[arg(long, default_value_t = 0)]
    pub step_ms: u64,
    /// The model that is listed
    #[arg(long, default_value = "model")]
    pub model: String,
}

/// Why the upstream does not run.
#[derive(Debug, Error)]
pub enum Error {
    /// The runtime could not be started.
    #[error("cannot start")]
    Runtime(#[source] io::Error),
    /// An address is taken or not ours.
    #[error("cannot listen on {0}")]
    Listen(SocketAddr, #[source] io::Error),
}

/// Serves until the process ends. Prints `listening on ADDRESS` for each server.
///
/// # Errors
/// See [`enum@Error`].
pub fn run(flags: &Flags) -> Result<(), Error> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Runtime)?;
    LocalSet::new().block_on(&runtime, async {
        for listener in bind(flags).await? {
            let server = Rc::new(Server {
                answers: Answers::new(flags.answer_bytes, &flags.model),
                step: Duration::from_millis(flags.step_ms),
                began: Instant::now(),
            });
            tokio::task::spawn_local(accept(listener, server));
        }
        std::future::pending().await
    })
}

async fn bind(flags: &Flags) -> Result<Vec<TcpListener>, Error> {
    let mut listeners = Vec::new();
    for index in 0..flags.count {
        let mut address = flags.listen;
        match (flags.own_addresses, address.ip(), listeners.first()) {
            (true, first, Some(before)) => {
                let ip: IpAddr = match first {
                    IpAddr::V4(ip) => Ipv4Addr::from_bits(ip.to_bits().saturating_add(index.into())).into(),
                    IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits().saturating_add(index.into())).into(),
                };
                let port = TcpListener::local_addr(before).map_or(0, |bound| bound.port());
                address = SocketAddr::from((ip, port));
            }
            (false, ..) if address.port() != 0 => address.set_port(address.port().saturating_add(index)),
            _ => {}
        }
        let listener = TcpListener::bind(address).await.map_err(|error| Error::Listen(address, error))?;
        let bound = listener.local_addr().map_err(|error| Error::Listen(address, error))?;
        // Nobody may be reading, which is none of our business.
        let _ = writeln!(io::stdout(), "listening on {bound}");
        listeners.push(listener);
    }
    Ok(listeners)
}

struct Server {
    answers: Answers,
    step: Duration,
    began: Instant,
}

async fn accept(listener: TcpListener, server: Rc<Server>) {
    /// Wait after an `accept` that failed for want of descriptors.
    const PAUSE: Duration = Duration::from_millis(20);
    loop {
        match listener.accept().await {
            Err(_) => tokio::time::sleep(PAUSE).await,
            Ok((stream, _)) => {
                let server = server.clone();
                tokio::task::spawn_local(async move {
                    // A peer that goes away, or that does not speak HTTP, is of no interest.
                    let _ = serve(stream, &server).await;
                });
            }
        }
    }
}

/// Serves the requests of one connection.
async fn serve(mut stream: TcpStream, server: &Server) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = BytesMut::new();
    loop {
        let Some(request) = receive(&mut stream, &mut buffer).await? else { return Ok(()) };
        if request.is_stream {
            stream_tokens(&mut stream, server, &request).await?;
        } else {
            stream.write_all(&server.answers.whole(&request)).await?;
        }
        if request.closes {
            return stream.shutdown().await;
        }
    }
}

/// Reads a request to its end.
async fn receive(stream: &mut TcpStream, buffer: &mut BytesMut) -> io::Result<Option<ParsedRequest>> {
    let mut parser = RequestParser::default();
    loop {
        if let Some(request) = parser.advance(buffer)? {
            return Ok(Some(request));
        }
        if parser.wants_continue() {
            stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        buffer.reserve(READ_BYTES.max(parser.missing(buffer)));
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
}

async fn stream_tokens(stream: &mut TcpStream, server: &Server, request: &ParsedRequest) -> io::Result<()> {
    stream.write_all(server.answers.stream_head(request)).await?;
    let mut due = next_step(server);
    for _ in 0..request.max_tokens {
        if !server.step.is_zero() {
            tokio::time::sleep_until(due).await;
            due += server.step;
        }
        stream.write_all(server.answers.token(request)).await?;
    }
    stream.write_all(&Answers::stream_end(request)).await
}

/// The next time at which the server's batch steps.
fn next_step(server: &Server) -> Instant {
    if server.step.is_zero() {
        return server.began;
    }
    let steps = server.began.elapsed().as_nanos() / server.step.as_nanos() + 1;
    server.began + server.step * u32::try_from(steps).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
