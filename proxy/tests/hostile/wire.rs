//! A client that writes any bytes and reads answers strictly.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::harness::PATIENCE;

/// One connection.
pub(crate) struct Wire {
    pub(crate) stream: TcpStream,
    unread: Vec<u8>,
}

/// One answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Wire {
    pub(crate) async fn connect(to: SocketAddr) -> Self {
        Self::over(TcpStream::connect(to).await.unwrap())
    }

    pub(crate) fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        Self { stream, unread: Vec::new() }
    }

    /// A connection from another address of this machine, as another client's.
    pub(crate) async fn connect_from(from: Ipv4Addr, to: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((from, 0).into()).unwrap();
        let stream = socket.connect(to).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, unread: Vec::new() }
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        tokio::time::timeout(PATIENCE, self.stream.write_all(bytes.as_ref())).await.unwrap().unwrap();
    }

    /// Sends as much as the other end takes before it closes.
    pub(crate) async fn send_all_it_takes(&mut self, bytes: impl AsRef<[u8]>) {
        let _closed = tokio::time::timeout(PATIENCE, self.stream.write_all(bytes.as_ref())).await.unwrap();
    }

    /// The next answer to a request that was not HEAD.
    pub(crate) async fn answer(&mut self) -> Answer {
        self.try_answer().await.expect("an answer, and not the end of the connection")
    }

    /// The next answer, or `None` when the connection ends without one.
    pub(crate) async fn try_answer(&mut self) -> Option<Answer> {
        let mut answer = loop {
            let answer = self.head().await?;
            if answer.status >= 200 {
                break answer;
            }
        };
        self.body(&mut answer).await;
        Some(answer)
    }

    /// The answer, if one came already.
    pub(crate) async fn answer_if_any(&mut self) -> Option<Answer> {
        tokio::time::timeout(Duration::from_millis(200), self.try_answer()).await.ok().flatten()
    }

    /// The next head, also an informational one.
    pub(crate) async fn head(&mut self) -> Option<Answer> {
        loop {
            let mut headers = [httparse::EMPTY_HEADER; 128];
            let mut response = httparse::Response::new(&mut headers);
            let parsed = response.parse(&self.unread).unwrap_or_else(|error| {
                panic!("no HTTP: {error}: {}", self.unread.escape_ascii());
            });
            if let httparse::Status::Complete(length) = parsed {
                let status = response.code.unwrap();
                let headers = response.headers.iter().map(|header| {
                    (header.name.to_ascii_lowercase(), String::from_utf8_lossy(header.value).into_owned())
                });
                let answer = Answer { status, headers: headers.collect(), body: Vec::new() };
                self.unread.drain(..length);
                return Some(answer);
            }
            if !self.more().await {
                assert!(self.unread.is_empty(), "half an answer: {}", self.unread.escape_ascii());
                return None;
            }
        }
    }

    /// Reads the body of `answer`, as its head frames it.
    pub(crate) async fn body(&mut self, answer: &mut Answer) {
        if answer.status == 204 || answer.status == 304 {
            // RFC 9112 §6.3: no body, whatever the header says.
        } else if let Some(length) = answer.header("content-length") {
            let length: usize = length.parse().unwrap();
            answer.body = self.take(length).await;
        } else if answer.header("transfer-encoding") == Some("chunked") {
            loop {
                let line = self.line().await;
                let size = usize::from_str_radix(line.trim_end(), 16).unwrap();
                let chunk = self.take(size + 2).await;
                assert_eq!(&chunk[size..], b"\r\n");
                answer.body.extend_from_slice(&chunk[..size]);
                if size == 0 {
                    return;
                }
            }
        } else {
            answer.body = self.rest().await;
        }
    }

    /// Everything up to the end of the connection.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        while self.more().await {}
        std::mem::take(&mut self.unread)
    }

    /// Asserts that the connection ends here, without another byte.
    pub(crate) async fn ends(&mut self) {
        let rest = self.rest().await;
        assert!(rest.is_empty(), "another answer: {}", rest.escape_ascii());
    }

    /// Reads some more. `false` at the end, also if it was a reset.
    pub(crate) async fn more(&mut self) -> bool {
        let read = tokio::time::timeout(PATIENCE, self.stream.read_buf(&mut self.unread));
        matches!(read.await.expect("the gateway neither answers nor closes"), Ok(read) if read > 0)
    }

    /// Closes with a reset, so that the other end notices at once.
    pub(crate) fn reset(self) {
        socket2::SockRef::from(&self.stream).set_linger(Some(std::time::Duration::ZERO)).unwrap();
    }

    async fn take(&mut self, length: usize) -> Vec<u8> {
        while self.unread.len() < length {
            assert!(self.more().await, "the body ends early: {}", self.unread.escape_ascii());
        }
        self.unread.drain(..length).collect()
    }

    async fn line(&mut self) -> String {
        loop {
            if let Some(end) = self.unread.windows(2).position(|pair| pair == b"\r\n") {
                return String::from_utf8(self.unread.drain(..end + 2).collect()).unwrap();
            }
            assert!(self.more().await, "the body ends within a chunk's head");
        }
    }
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Asserts that this is an error of the gateway's own, in OpenAI's shape, and returns its `code`.
    pub(crate) fn refusal(&self, case: &str) -> String {
        let id = self.header("x-request-id").unwrap_or_else(|| panic!("{case}: no request id: {self:?}"));
        assert!(!id.is_empty(), "{case}");
        assert_eq!(self.header("content-type"), Some("application/json"), "{case}");
        let error = &self.json()["error"];
        assert!(error["message"].as_str().is_some_and(|text| !text.is_empty()), "{case}: {error}");
        let kind = match self.status {
            429 => "rate_limit_error",
            500.. => "server_error",
            _ => "invalid_request_error",
        };
        assert_eq!(error["type"], kind, "{case}");
        assert!(error.get("param").is_some(), "{case}");
        error["code"].as_str().unwrap_or_else(|| panic!("{case}: no code")).to_owned()
    }
}
