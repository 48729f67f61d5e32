//! One request and its answer on one connection, over HTTP/1.1 or HTTP/2.

use std::future::poll_fn;

use bytes::{BufMut, Bytes, BytesMut};
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::time::Instant;

use super::{
    answer::AnswerReader,
    http1,
    outcome::{Failure, FailureKind},
    target::{Protocol, Target},
    workload::PreparedRequest,
};

/// Flow-control window of an HTTP/2 stream and of a connection, in bytes: never what limits a run.
const WINDOW_BYTES: u32 = 16 << 20;

/// An open connection.
pub(crate) enum ClientConnection {
    Http1(Box<http1::Connection>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl ClientConnection {
    pub(crate) async fn open(target: &Target) -> Result<Self, Failure> {
        let stream = target.connect().await?;
        match target.protocol {
            Protocol::Http1 => Ok(Self::Http1(Box::new(http1::Connection::new(stream)))),
            Protocol::Http2 => {
                let (sender, connection) = http2::Builder::new(TokioExecutor::new())
                    .initial_stream_window_size(WINDOW_BYTES)
                    .initial_connection_window_size(WINDOW_BYTES)
                    .handshake(TokioIo::new(stream))
                    .await
                    .map_err(|error| Failure::new(FailureKind::Connect, error.to_string()))?;
                tokio::spawn(async move {
                    // Its requests are told of its end, with the reason.
                    let _ = connection.await;
                });
                Ok(Self::Http2(sender))
            }
        }
    }

    /// Another handle on the same connection, where it takes many requests at a time.
    pub(crate) fn share(&self) -> Option<Self> {
        match self {
            Self::Http1(_) => None,
            Self::Http2(sender) => Some(Self::Http2(sender.clone())),
        }
    }

    /// Whether another request may follow.
    pub(crate) fn is_reusable(&self) -> bool {
        match self {
            Self::Http1(connection) => connection.is_reusable(),
            Self::Http2(sender) => !sender.is_closed(),
        }
    }

    /// Whether a failure was only that of a connection that the peer had closed while it was idle.
    pub(crate) fn was_stale(&self) -> bool {
        match self {
            Self::Http1(connection) => connection.was_stale(),
            Self::Http2(_) => false,
        }
    }
}

/// What every request carries, made once.
#[derive(Debug)]
pub(crate) struct RequestTemplate {
    /// Header lines of HTTP/1.1 that are the same in all requests.
    fixed: Bytes,
    headers: Vec<(String, String)>,
    base: String,
    prefix: String,
    model_header: Option<String>,
}

impl RequestTemplate {
    /// `model_header` names a header that repeats the model, for gateways that do not read bodies.
    pub(crate) fn new(
        target: &Target,
        headers: &[(String, String)],
        model_header: Option<&str>,
        closes: bool,
    ) -> Self {
        let mut fixed = BytesMut::new();
        let mut line = |name: &str, value: &str| {
            for part in [name, ": ", value, "\r\n"] {
                fixed.put_slice(part.as_bytes());
            }
        };
        line("host", &target.authority);
        line("content-type", "application/json");
        line("accept", "*/*");
        line("user-agent", "penstock-perf");
        if closes {
            line("connection", "close");
        }
        for (name, value) in headers {
            line(name, value);
        }
        let scheme = if target.is_tls { "https" } else { "http" };
        Self {
            fixed: fixed.freeze(),
            headers: headers.to_vec(),
            base: format!("{scheme}://{}{}", target.authority, target.prefix),
            prefix: target.prefix.clone(),
            model_header: model_header.map(str::to_owned),
        }
    }

    fn head(&self, request: &PreparedRequest) -> BytesMut {
        let mut head = BytesMut::with_capacity(self.fixed.len() + 128);
        for part in ["POST ", &self.prefix, request.path, " HTTP/1.1\r\n"] {
            head.put_slice(part.as_bytes());
        }
        head.put_slice(&self.fixed);
        if let Some(name) = &self.model_header {
            for part in [name.as_str(), ": ", &request.model, "\r\n"] {
                head.put_slice(part.as_bytes());
            }
        }
        head.put_slice(b"content-length: ");
        let length: usize = request.body.iter().map(Bytes::len).sum();
        head.put_slice(length.to_string().as_bytes());
        head.put_slice(b"\r\n\r\n");
        head
    }

    fn request(&self, request: &PreparedRequest) -> Result<Request<Full<Bytes>>, http::Error> {
        let mut builder = Request::post(format!("{}{}", self.base, request.path))
            .header("content-type", "application/json")
            .header("user-agent", "penstock-perf");
        for (name, value) in &self.headers {
            builder = builder.header(name, value);
        }
        if let Some(name) = &self.model_header {
            builder = builder.header(name, &*request.model);
        }
        builder.body(Full::new(request.body.concat().into()))
    }
}

/// Sends a request and reads its answer into `reader`. `on_tokens` is told of tokens as they come.
pub(crate) async fn exchange(
    connection: &mut ClientConnection,
    template: &RequestTemplate,
    request: &PreparedRequest,
    reader: &mut AnswerReader,
    mut on_tokens: impl FnMut(u64),
) -> Result<(), Failure> {
    match connection {
        ClientConnection::Http1(connection) => {
            connection.send(&template.head(request), &request.body).await?;
            let head = connection.head().await?;
            reader.on_head(head.status, &head.content_type);
            while let Some((data, at)) = connection.data().await? {
                on_tokens(reader.on_data(&data, at));
            }
            Ok(())
        }
        ClientConnection::Http2(sender) => {
            let broken = |error: hyper::Error| Failure::new(FailureKind::Io, error.to_string());
            let request = template
                .request(request)
                .map_err(|error| Failure::new(FailureKind::Protocol, error.to_string()))?;
            poll_fn(|context| sender.poll_ready(context)).await.map_err(broken)?;
            let response = sender.send_request(request).await.map_err(broken)?;
            let content_type = response.headers().get(http::header::CONTENT_TYPE);
            let content_type = content_type.map(http::HeaderValue::as_bytes).unwrap_or_default();
            reader.on_head(response.status().as_u16(), content_type);
            let mut body = response.into_body();
            while let Some(frame) = body.frame().await {
                let at = Instant::now();
                if let Ok(data) = frame.map_err(broken)?.into_data() {
                    on_tokens(reader.on_data(&data, at));
                }
            }
            Ok(())
        }
    }
}
