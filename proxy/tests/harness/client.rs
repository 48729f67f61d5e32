//! A client on one connection, by hyper.

use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::Bytes;
use futures::stream;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::{Task, spawn, within};

/// A request's body.
pub(crate) type Body = BoxBody<Bytes, Infallible>;

/// What a client or an upstream speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// HTTP/1.1.
    H1,
    /// HTTP/2 with prior knowledge.
    H2,
}

/// A connection to the gateway; dropping it closes the connection at once.
pub(crate) struct Client {
    sender: Sender,
    connection: Task<()>,
}

enum Sender {
    H1(http1::SendRequest<Body>),
    H2(http2::SendRequest<Body>),
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// An answer whose body is still to come.
pub(crate) struct Stream {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    body: Incoming,
}

impl Client {
    /// Connects.
    pub(crate) async fn connect(addr: SocketAddr, protocol: Protocol) -> Self {
        let stream = within("a connection", TcpStream::connect(addr)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self::on(stream, protocol).await
    }

    /// Connects, unless nobody listens.
    pub(crate) async fn try_connect(addr: SocketAddr, protocol: Protocol) -> Option<Self> {
        let stream = within("a connection or its refusal", TcpStream::connect(addr)).await.ok()?;
        stream.set_nodelay(true).unwrap();
        Some(Self::on(stream, protocol).await)
    }

    /// Speaks over a connection that is there, such as one with TLS.
    pub(crate) async fn on(
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        protocol: Protocol,
    ) -> Self {
        let io = TokioIo::new(stream);
        match protocol {
            Protocol::H1 => {
                let (sender, connection) = http1::handshake(io).await.unwrap();
                // How a connection ends shows in what is sent over it.
                let connection = spawn(async { drop(connection.await) });
                Self { sender: Sender::H1(sender), connection }
            }
            Protocol::H2 => {
                let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
                let connection = spawn(async { drop(connection.await) });
                Self { sender: Sender::H2(sender), connection }
            }
        }
    }

    /// Sends a request and reads the answer to its end.
    ///
    /// # Errors
    /// The connection broke, or the answer is incomplete.
    pub(crate) async fn try_send(&mut self, request: Request<Body>) -> hyper::Result<Reply> {
        within("an answer", async {
            let (head, body) = self.response(request).await?.into_parts();
            let body = body.collect().await?.to_bytes();
            Ok(Reply { status: head.status, headers: head.headers, body })
        })
        .await
    }

    /// Sends a request and reads the answer to its end.
    pub(crate) async fn send(&mut self, request: Request<Body>) -> Reply {
        self.try_send(request).await.unwrap()
    }

    /// Sends a request and reads the answer's head.
    pub(crate) async fn open(&mut self, request: Request<Body>) -> Stream {
        self.try_open(request).await.unwrap()
    }

    /// Sends a request and reads the answer's head.
    ///
    /// # Errors
    /// The connection broke before.
    pub(crate) async fn try_open(&mut self, request: Request<Body>) -> hyper::Result<Stream> {
        let response = within("the head of an answer", self.response(request)).await?;
        let (head, body) = response.into_parts();
        Ok(Stream { status: head.status, headers: head.headers, body })
    }

    /// Sends a request without waiting for its answer, which the returned task gets.
    pub(crate) fn start(&mut self, request: Request<Body>) -> Task<hyper::Result<Response<Incoming>>> {
        match &mut self.sender {
            Sender::H1(sender) => spawn(sender.send_request(request)),
            Sender::H2(sender) => spawn(sender.send_request(request)),
        }
    }

    /// Waits until the gateway has closed the connection.
    pub(crate) async fn closed(self) {
        let Self { sender, connection } = self;
        connection.join().await;
        drop(sender);
    }

    /// Sends a request and reads the answer to its end, unless the connection turns out to have ended before anything
    /// of the request was sent: then the request comes back.
    ///
    /// # Errors
    /// The connection broke later, or the answer is incomplete.
    pub(crate) async fn offer(
        &mut self,
        request: Request<Body>,
    ) -> hyper::Result<Result<Reply, Request<Body>>> {
        within("an answer", async {
            let sent = match &mut self.sender {
                Sender::H1(sender) => sender.try_send_request(request).await,
                Sender::H2(sender) => sender.try_send_request(request).await,
            };
            match sent {
                Ok(response) => {
                    let (head, body) = response.into_parts();
                    let body = body.collect().await?.to_bytes();
                    Ok(Ok(Reply { status: head.status, headers: head.headers, body }))
                }
                Err(mut error) => match error.take_message() {
                    Some(request) => Ok(Err(request)),
                    None => Err(error.into_error()),
                },
            }
        })
        .await
    }

    /// Whether the connection is still open.
    pub(crate) fn is_open(&self) -> bool {
        !self.connection.is_finished()
    }

    async fn response(&mut self, request: Request<Body>) -> hyper::Result<Response<Incoming>> {
        match &mut self.sender {
            Sender::H1(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
            Sender::H2(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
        }
    }
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.text()))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A header's first value, or nothing.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// `error.code` of an error in OpenAI's shape.
    pub(crate) fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap_or_default().to_owned()
    }
}

impl Stream {
    /// The next piece of the body; `None` at its end.
    ///
    /// # Errors
    /// The body was cut off.
    pub(crate) async fn next(&mut self) -> Option<hyper::Result<Bytes>> {
        loop {
            match within("a piece of the answer", self.body.frame()).await? {
                Ok(frame) => {
                    // The end of an HTTP/2 stream may come as an empty piece.
                    if let Ok(data) = frame.into_data()
                        && !data.is_empty()
                    {
                        return Some(Ok(data));
                    }
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }

    /// What is left of the body, and whether it came to its proper end.
    pub(crate) async fn rest(mut self) -> (String, bool) {
        let mut text = Vec::new();
        loop {
            match self.next().await {
                Some(Ok(data)) => text.extend_from_slice(&data),
                Some(Err(_)) => return (String::from_utf8_lossy(&text).into_owned(), false),
                None => return (String::from_utf8_lossy(&text).into_owned(), true),
            }
        }
    }
}

/// A request with `Host`, and a body of known length.
pub(crate) fn request(method: Method, path: &str, headers: &[(&str, &str)], body: Body) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(format!("http://gateway.test{path}"));
    request = request.header("host", "gateway.test");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(body).unwrap()
}

/// A body with a length.
pub(crate) fn body(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).boxed()
}

/// A body without a length: chunked over HTTP/1.1.
pub(crate) fn chunked(pieces: Vec<Bytes>) -> Body {
    StreamBody::new(stream::iter(pieces.into_iter().map(|piece| Ok(Frame::data(piece))))).boxed()
}

/// A body without a length that begins so and never ends.
pub(crate) fn chunked_forever(first: Bytes) -> Body {
    let first = stream::once(async { Ok(Frame::data(first)) });
    StreamBody::new(stream::StreamExt::chain(first, stream::pending())).boxed()
}

/// A GET without a body.
pub(crate) fn get(path: &str) -> Request<Body> {
    request(Method::GET, path, &[], body(Bytes::new()))
}

/// A POST with a body of known length.
pub(crate) fn post(path: &str, headers: &[(&str, &str)], bytes: impl Into<Bytes>) -> Request<Body> {
    request(Method::POST, path, headers, body(bytes))
}

/// A POST of JSON.
pub(crate) fn post_json(path: &str, value: &Value) -> Request<Body> {
    post(path, &[("content-type", "application/json")], value.to_string())
}
