//! Tells HTTP/1.1 and HTTP/2 with prior knowledge apart on a plain connection, by its first bytes.

use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio::time::error::Elapsed;

/// The connection preface of HTTP/2 (RFC 9113 §3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The first pause before looking again when only a part of the preface is there; almost no client splits it. Each
/// pause is twice the one before, so that a client that stops there costs a few looks and not thousands.
const PARTIAL_PAUSE: Duration = Duration::from_millis(2);

/// What a client speaks on a connection without TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plain {
    /// HTTP/1.0 or HTTP/1.1.
    Http1,
    /// HTTP/2 with prior knowledge (h2c).
    Http2,
}

/// Looks at the first bytes of `stream` without consuming them.
///
/// Returns `None` when the client closed the connection.
///
/// # Errors
/// It sent nothing conclusive before `deadline`.
pub(super) async fn detect(stream: &TcpStream, deadline: Instant) -> Result<Option<Plain>, Elapsed> {
    tokio::time::timeout_at(deadline, peek_preface(stream)).await
}

async fn peek_preface(stream: &TcpStream) -> Option<Plain> {
    let mut buffer = [0u8; PREFACE.len()];
    let mut pause = PARTIAL_PAUSE;
    loop {
        let seen = match stream.peek(&mut buffer).await {
            Ok(0) | Err(_) => return None,
            Ok(seen) => seen,
        };
        if buffer[..seen] != PREFACE[..seen] {
            return Some(Plain::Http1);
        }
        if seen == PREFACE.len() {
            return Some(Plain::Http2);
        }
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;

    async fn first_bytes(parts: &[&[u8]]) -> Option<Plain> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let parts: Vec<Vec<u8>> = parts.iter().map(|part| part.to_vec()).collect();
        let client = tokio::spawn(async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            for part in parts {
                stream.write_all(&part).await.unwrap();
                stream.flush().await.unwrap();
                tokio::task::yield_now().await;
            }
            stream
        });
        let (stream, _) = listener.accept().await.unwrap();
        let found = detect(&stream, Instant::now() + Duration::from_secs(1)).await.unwrap();
        drop(client.await.unwrap());
        found
    }

    #[tokio::test]
    async fn tells_http1_from_http2() {
        assert_eq!(first_bytes(&[b"POST / HTTP/1.1\r\n"]).await, Some(Plain::Http1));
        assert_eq!(first_bytes(&[PREFACE]).await, Some(Plain::Http2));
        assert_eq!(first_bytes(&[&PREFACE[..1], &PREFACE[1..7], &PREFACE[7..]]).await, Some(Plain::Http2));
        assert_eq!(first_bytes(&[b"P", b"UT / HTTP/1.1\r\n"]).await, Some(Plain::Http1));
    }

    #[tokio::test]
    async fn a_client_that_stops_in_the_middle_of_the_preface_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        client.write_all(&PREFACE[..5]).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        assert!(detect(&stream, Instant::now() + Duration::from_millis(20)).await.is_err());
    }
}
