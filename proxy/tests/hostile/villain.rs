//! An upstream that answers whatever it likes.

use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What comes after the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// The connection stays open for the next request.
    Stay,
    /// The connection closes.
    Close,
    /// The same bytes again, for as long as they are taken.
    Repeat,
}

/// An answer: bytes, and what comes after them.
pub(crate) type Script = (Vec<u8>, Then);

/// Where it listens, and the requests that it saw, raw.
pub(crate) struct Villain {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Villain {
    /// Answers the nth request, counted from 0 over all connections, by `script`.
    pub(crate) async fn new(script: impl Fn(usize) -> Script + Send + Sync + 'static) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let seen: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
        let script = Arc::new(script);
        tokio::spawn({
            let seen = seen.clone();
            async move {
                while let Ok((stream, _)) = socket.accept().await {
                    tokio::spawn(serve(stream, script.clone(), seen.clone()));
                }
            }
        });
        Self { address, seen }
    }

    /// Answers each request with the same bytes.
    pub(crate) async fn always(answer: impl Into<Vec<u8>>, then: Then) -> Self {
        let answer = answer.into();
        Self::new(move |_| (answer.clone(), then)).await
    }

    /// The requests so far, with their bodies.
    pub(crate) fn seen(&self) -> Vec<String> {
        self.seen.lock().iter().map(|raw| String::from_utf8_lossy(raw).into_owned()).collect()
    }
}

async fn serve(mut stream: TcpStream, script: Arc<impl Fn(usize) -> Script>, seen: Arc<Mutex<Vec<Vec<u8>>>>) {
    let mut buffer = Vec::new();
    loop {
        let end = loop {
            if let Some(end) = end_of_request(&buffer) {
                break end;
            }
            match stream.read_buf(&mut buffer).await {
                Ok(read) if read > 0 => {}
                _ => return,
            }
        };
        let number = {
            let mut seen = seen.lock();
            seen.push(buffer.drain(..end).collect());
            seen.len() - 1
        };
        let (answer, then) = script(number);
        if stream.write_all(&answer).await.is_err() {
            return;
        }
        match then {
            Then::Stay => {}
            Then::Close => return,
            Then::Repeat => while stream.write_all(&answer).await.is_ok() {},
        }
    }
}

/// Where the first request in `buffer` ends, if all of it is there.
fn end_of_request(buffer: &[u8]) -> Option<usize> {
    let head = buffer.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&buffer[..head]).to_ascii_lowercase();
    if text.contains("\r\ntransfer-encoding: chunked") {
        let body = &buffer[head..];
        let end = body.windows(5).position(|five| five == b"0\r\n\r\n")?;
        return Some(head + end + 5);
    }
    let length = text
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .map_or(0, |length| length.trim().parse().unwrap());
    (buffer.len() >= head + length).then_some(head + length)
}
