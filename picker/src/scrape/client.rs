//! Fetches one endpoint's metrics page, over and over, on one connection.
//!
//! The connection is driven by the task that scrapes, which watches it in the pauses between: a second task
//! would double the wake-ups, and a connection that nobody looks at in a pause is found dead only by the next
//! scrape. A pooling client was turned down because there is nothing to pool.
//!
//! In the pauses only the socket is kept: hyper has some 65 KB for each connection, whether anything is asked on
//! it or not, which a thousand endpoints turn into most of a gateway's memory.

use std::{net::SocketAddr, sync::Arc};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::{self, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite},
    net::TcpStream,
};

use super::{
    ScrapeError, Shown,
    page::{PageScanner, Reading},
    tls::TlsClient,
};
use crate::engine::EngineSeries;

/// Header fields of a response; a hyper client takes 100.
const MAX_HEADERS: usize = 64;

/// Bytes that are read at once, and with that the most that status line and headers may have. What a page is
/// longer than that does not stay in memory.
const READ_BUFFER_BYTES: usize = 32 * 1024;

/// The page to fetch.
#[derive(Clone, Debug)]
pub(super) struct PageAddress {
    pub(super) address: SocketAddr,
    /// Path of the metrics page, with its leading slash.
    pub(super) path: Arc<str>,
    pub(super) tls: Option<Arc<TlsClient>>,
    pub(super) shown: Option<Shown>,
}

/// The scraping side of one endpoint.
pub(super) struct Client {
    page: PageAddress,
    max_bytes: usize,
    scanner: PageScanner,
    /// The connection, on which nothing is being asked.
    idle: Option<Socket>,
    /// Bytes of pages read since [`Client::take_bytes`].
    bytes: usize,
}

trait ReadWrite: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> ReadWrite for S {}

/// A connection, plain or TLS.
type Socket = Box<dyn ReadWrite>;

impl Client {
    pub(super) fn new(page: PageAddress, series: &'static EngineSeries, max_bytes: usize) -> Self {
        Self { page, max_bytes, scanner: PageScanner::new(series), idle: None, bytes: 0 }
    }

    /// Fetches the page once. Without a deadline of its own: whoever gives up drops the future, after which
    /// the next fetch begins with a new connection.
    pub(super) async fn fetch(&mut self) -> Result<Reading, ScrapeError> {
        // Taken out, so that a fetch which ends half way leaves none behind.
        if let Some(kept) = self.idle.take() {
            let fetched = self.fetch_over(kept).await;
            // The server may have closed it in the very moment in which it was used again.
            if !matches!(fetched, Err(ScrapeError::Http(_))) {
                return fetched;
            }
        }
        let socket = connect(&self.page).await?;
        self.fetch_over(socket).await
    }

    /// Waits for `pause`, and meanwhile notices if the server closes the connection.
    pub(super) async fn idle_during<T>(&mut self, pause: impl Future<Output = T>) -> T {
        tokio::pin!(pause);
        if let Some(idle) = &mut self.idle {
            tokio::select! {
                biased;
                value = &mut pause => return value,
                // Its end, or what nobody asked for.
                _ = idle.read_u8() => self.idle = None,
            }
        }
        pause.await
    }

    /// How many bytes of pages were read since the last call.
    pub(super) fn take_bytes(&mut self) -> usize {
        std::mem::take(&mut self.bytes)
    }

    async fn fetch_over(&mut self, socket: Socket) -> Result<Reading, ScrapeError> {
        self.scanner.reset();
        let mut builder = http1::Builder::new();
        builder.max_headers(MAX_HEADERS).read_buf_exact_size(Some(READ_BUFFER_BYTES));
        let (mut sender, connection) =
            builder.handshake(TokioIo::new(socket)).await.map_err(ScrapeError::Http)?;
        let mut scan = Scan { scanner: &mut self.scanner, max_bytes: self.max_bytes, total: &mut self.bytes };
        let exchange = async {
            let bytes = scan.exchange(&mut sender, request(&self.page)).await?;
            Ok::<_, ScrapeError>((bytes, sender.ready().await.is_ok()))
        };
        let (exchanged, connection) = drive(connection, exchange).await;
        let (bytes, is_ready) = exchanged?;
        if let Some(connection) = connection.filter(|_| is_ready) {
            let parts = connection.into_parts();
            // What came behind the page is an answer to nothing; hyper should have found it an error already.
            self.idle = parts.read_buf.is_empty().then(|| parts.io.into_inner());
        }
        let reading = self.scanner.finish();
        if reading.is_empty() { Err(ScrapeError::NoSeries(bytes)) } else { Ok(reading) }
    }
}

async fn connect(page: &PageAddress) -> Result<Socket, ScrapeError> {
    let stream = TcpStream::connect(page.address).await.map_err(ScrapeError::Connect)?;
    // Fails on a socket that is closed already; then so does the request.
    let _ = stream.set_nodelay(true);
    Ok(match &page.tls {
        None => Box::new(stream),
        Some(tls) => Box::new(tls.connect(stream, page.address.ip()).await?),
    })
}

/// One page on its way into the scanner.
struct Scan<'s> {
    scanner: &'s mut PageScanner,
    max_bytes: usize,
    total: &'s mut usize,
}

impl Scan<'_> {
    /// Asks for the page and reads it. Returns its length.
    async fn exchange(
        &mut self,
        sender: &mut SendRequest<Empty<Bytes>>,
        request: Request<Empty<Bytes>>,
    ) -> Result<usize, ScrapeError> {
        sender.ready().await.map_err(ScrapeError::Http)?;
        let response = sender.send_request(request).await.map_err(ScrapeError::Http)?;
        if response.status() != StatusCode::OK {
            return Err(ScrapeError::Status(response.status()));
        }
        let encoding = response.headers().get(header::CONTENT_ENCODING);
        if let Some(encoding) = encoding.filter(|encoding| *encoding != "identity") {
            return Err(ScrapeError::Encoding(encoding.clone()));
        }
        let mut body = response.into_body();
        let mut bytes = 0;
        while let Some(frame) = body.frame().await {
            let Ok(chunk) = frame.map_err(ScrapeError::Http)?.into_data() else { continue };
            bytes += chunk.len();
            *self.total += chunk.len();
            if bytes > self.max_bytes {
                return Err(ScrapeError::TooLarge(self.max_bytes));
            }
            self.scanner.feed(&chunk);
        }
        Ok(bytes)
    }
}

/// Polls `work`, and the connection next to it. One that ends is dropped, by which the request on it hears of that.
async fn drive<T>(
    mut connection: Connection<TokioIo<Socket>, Empty<Bytes>>,
    work: impl Future<Output = T>,
) -> (T, Option<Connection<TokioIo<Socket>, Empty<Bytes>>>) {
    tokio::pin!(work);
    tokio::select! {
        biased;
        value = &mut work => return (value, Some(connection)),
        _ = &mut connection => drop(connection),
    }
    (work.await, None)
}

fn request(page: &PageAddress) -> Request<Empty<Bytes>> {
    const FIXED: [(HeaderName, HeaderValue); 3] = [
        (header::USER_AGENT, HeaderValue::from_static(concat!("penstock/", env!("CARGO_PKG_VERSION")))),
        (header::ACCEPT, HeaderValue::from_static("text/plain;version=0.0.4")),
        (header::ACCEPT_ENCODING, HeaderValue::from_static("identity")),
    ];
    let mut request = Request::new(Empty::new());
    // A path that is no URI was refused with the document; the root page then answers for it.
    *request.uri_mut() = page.path.parse().unwrap_or_default();
    let host = HeaderValue::try_from(page.address.to_string());
    let host = host.expect("a socket address has only digits, dots, colons and brackets");
    request.headers_mut().insert(header::HOST, host);
    request.headers_mut().extend(FIXED);
    if let Some((name, value)) = page.shown.as_ref().and_then(|shown| shown.0.header()) {
        request.headers_mut().insert(name, value);
    }
    request
}

#[cfg(test)]
mod tests;
