//! A client that sends exactly the bytes it is given.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::within;

/// A TCP connection to the gateway.
pub(crate) struct RawClient {
    stream: TcpStream,
    /// Received, not yet consumed.
    buffer: Vec<u8>,
}

/// An answer, taken apart by hand.
#[derive(Debug)]
pub(crate) struct RawReply {
    pub(crate) status: u16,
    /// Names in lower case, in order.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl RawClient {
    /// Connects.
    pub(crate) async fn connect(addr: SocketAddr) -> Self {
        let stream = within("a connection", TcpStream::connect(addr)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, buffer: Vec::new() }
    }

    /// Sends bytes as they are. A gateway that has closed the connection is no failure here: what was answered shows.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _closed = within("the gateway to read", self.stream.write_all(bytes.as_ref())).await;
    }

    /// Says that nothing more will be sent, and goes on reading.
    pub(crate) async fn finish_sending(&mut self) {
        let _closed = self.stream.shutdown().await;
    }

    /// The next answer, to its end; `None` when the connection ended before one began.
    ///
    /// Interim answers (1xx) are answers of their own, without a body.
    pub(crate) async fn reply(&mut self) -> Option<RawReply> {
        within("a raw answer", self.read_reply()).await
    }

    /// Everything until the connection ends.
    pub(crate) async fn rest(mut self) -> Vec<u8> {
        within("the connection to end", async { while self.fill().await {} }).await;
        self.buffer
    }

    /// Reads until the connection ends, in order or by a reset.
    pub(crate) async fn closed(self) {
        drop(self.rest().await);
    }

    /// Waits for one piece of data.
    pub(crate) async fn piece(&mut self) -> Vec<u8> {
        if self.buffer.is_empty() {
            within("data", self.fill()).await;
        }
        std::mem::take(&mut self.buffer)
    }

    /// Resets the connection (RST) instead of closing it.
    pub(crate) fn reset(self) {
        reset(self.stream);
    }

    async fn read_reply(&mut self) -> Option<RawReply> {
        let end = loop {
            if let Some(at) = find(&self.buffer, b"\r\n\r\n") {
                break at + 4;
            }
            if !self.fill().await {
                return None;
            }
        };
        let head = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
        self.buffer.drain(..end);
        let (status, headers) = parse_head(&head);
        let mut reply = RawReply { status, headers, body: Vec::new() };
        if status < 200 || status == 204 || status == 304 {
            return Some(reply);
        }
        if reply.header("transfer-encoding") == "chunked" {
            self.read_chunks(&mut reply.body).await;
        } else if let Ok(length) = reply.header("content-length").parse::<usize>() {
            while self.buffer.len() < length && self.fill().await {}
            let length = length.min(self.buffer.len());
            reply.body = self.buffer.drain(..length).collect();
        } else {
            while self.fill().await {}
            reply.body = std::mem::take(&mut self.buffer);
        }
        Some(reply)
    }

    async fn read_chunks(&mut self, body: &mut Vec<u8>) {
        loop {
            let Some(line) = self.line().await else { return };
            let size = usize::from_str_radix(line.trim(), 16).unwrap();
            while self.buffer.len() < size + 2 && self.fill().await {}
            body.extend_from_slice(&self.buffer[..size.min(self.buffer.len())]);
            self.buffer.drain(..(size + 2).min(self.buffer.len()));
            if size == 0 {
                return;
            }
        }
    }

    async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(at) = find(&self.buffer, b"\r\n") {
                let line = String::from_utf8_lossy(&self.buffer[..at]).into_owned();
                self.buffer.drain(..at + 2);
                return Some(line);
            }
            if !self.fill().await {
                return None;
            }
        }
    }

    /// Reads more; `false` at the end.
    async fn fill(&mut self) -> bool {
        matches!(self.stream.read_buf(&mut self.buffer).await, Ok(1..))
    }
}

impl RawReply {
    /// A header's first value, or nothing.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("not JSON: {}", String::from_utf8_lossy(&self.body)))
    }

    /// `error.code` of an error in OpenAI's shape.
    pub(crate) fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap_or_default().to_owned()
    }
}

/// Closes a connection by a reset (RST).
pub(super) fn reset(stream: TcpStream) {
    socket2::SockRef::from(&stream).set_linger(Some(std::time::Duration::ZERO)).unwrap();
    drop(stream);
}

pub(super) fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

fn parse_head(head: &str) -> (u16, Vec<(String, String)>) {
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).unwrap_or_default();
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    (status, headers)
}
