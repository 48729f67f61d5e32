//! Exchanges over HTTP/1.1 with a server that says, byte by byte, what it is told to.

#![expect(clippy::unwrap_used, reason = "a test that panics is a test that fails")]

use std::future::poll_fn;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use penstock_wire::{
    BodyFraming, Connection, ConnectionOptions, Connections, Error, Event, Outgoing, Peers, Protocol,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const ENDPOINT: u64 = 7;

/// A server and what connects to it.
struct Wire {
    listener: TcpListener,
    address: SocketAddr,
    connections: Connections,
    peers: Peers,
}

impl Wire {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let options = ConnectionOptions {
            connect_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(60),
            read_timeout: None,
            write_timeout: None,
            http2_streams: 100,
        };
        let peers = Peers::new(Protocol::Http1, options, None);
        Self { listener, address, connections: Connections::new(8), peers }
    }

    async fn connect(&self, generation: u64) -> Result<Connection, Error> {
        self.connections.connect(&self.peers, self.address, generation, None).await
    }

    /// A connection of `ENDPOINT`, new or used, and the server's end of a new one.
    async fn pair(&self) -> (Connection, TcpStream) {
        let connection = self.connect(ENDPOINT).await.unwrap();
        (connection, self.listener.accept().await.unwrap().0)
    }
}

fn post(framing: BodyFraming) -> Outgoing {
    let mut headers = HeaderMap::new();
    headers.insert(header::HOST, HeaderValue::from_static("a.test"));
    Outgoing { method: Method::POST, target: "/v1/x?y".parse().unwrap(), headers, framing }
}

fn pieces<const N: usize>(pieces: [&'static str; N]) -> [Bytes; N] {
    pieces.map(|piece| Bytes::from_static(piece.as_bytes()))
}

async fn next(connection: &mut Connection) -> Result<Event, Error> {
    poll_fn(|cx| connection.poll_event(cx)).await
}

/// The final head and the whole body, or what went wrong after the head.
async fn response(connection: &mut Connection) -> Result<(StatusCode, Vec<u8>), Error> {
    let (mut status, mut body) = (StatusCode::IM_A_TEAPOT, Vec::new());
    loop {
        let is_end = match next(connection).await? {
            Event::Head { header, is_end } => {
                status = header.status;
                is_end
            }
            Event::Body { data, is_end } => {
                body.extend_from_slice(&data);
                is_end
            }
            Event::Sent | Event::Informational(_) => false,
            Event::Trailers(_) => true,
        };
        if is_end {
            return Ok((status, body));
        }
    }
}

async fn read(server: &mut TcpStream, expected: &str) {
    let mut bytes = vec![0; expected.len()];
    server.read_exact(&mut bytes).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&bytes), expected);
}

#[tokio::test]
async fn a_connection_is_used_again_by_its_endpoint_and_by_no_other() {
    let wire = Wire::new().await;
    let (mut connection, mut server) = wire.pair().await;
    for _ in 0..2 {
        connection.start(post(BodyFraming::Whole), pieces(["ab", "c"])).unwrap();
        let answer = async {
            read(&mut server, "POST /v1/x?y HTTP/1.1\r\nhost: a.test\r\n\r\nabc").await;
            server.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ngood").await.unwrap();
        };
        let (response, ()) = tokio::join!(response(&mut connection), answer);
        assert_eq!(response.unwrap(), (StatusCode::OK, b"good".to_vec()));
        wire.connections.release(connection);
        assert_eq!(wire.connections.idle_count(), 1);
        connection = wire.connect(ENDPOINT).await.unwrap();
        assert_eq!(wire.connections.idle_count(), 0);
    }
    // Handed back without an exchange, it is idle again; another endpoint at its address gets one of its own.
    wire.connections.release(connection);
    let other = wire.connect(ENDPOINT + 1).await.unwrap();
    assert_eq!(wire.connections.idle_count(), 1);
    drop(other);
    wire.connections.sweep(|key| key.generation != ENDPOINT);
    assert_eq!(wire.connections.idle_count(), 0);
}

#[tokio::test]
async fn a_body_that_is_still_coming_is_sent_in_chunks_and_an_early_answer_is_seen() {
    let wire = Wire::new().await;
    let (mut connection, mut server) = wire.pair().await;
    connection.start(post(BodyFraming::Chunked), pieces(["hello"])).unwrap();
    assert!(matches!(next(&mut connection).await, Ok(Event::Sent)));
    assert!(connection.wants_body());
    connection.push(Bytes::from_static(b"world!"));
    connection.finish();
    let answer = async {
        let head = "POST /v1/x?y HTTP/1.1\r\nhost: a.test\r\n\r\n";
        read(&mut server, &format!("{head}5\r\nhello\r\n6\r\nworld!\r\n0\r\n\r\n")).await;
        let hint = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n";
        let chunks = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
        server.write_all(format!("{hint}{chunks}").as_bytes()).await.unwrap();
    };
    let (response, ()) = tokio::join!(response(&mut connection), answer);
    assert_eq!(response.unwrap(), (StatusCode::OK, b"abcde".to_vec()));

    connection.start(post(BodyFraming::Length), pieces(["a part"])).unwrap();
    server.write_all(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    assert_eq!(self::response(&mut connection).await.unwrap().0, StatusCode::PAYLOAD_TOO_LARGE);
    wire.connections.release(connection);
    assert_eq!(wire.connections.idle_count(), 0, "the request was not sent to its end");
}

#[tokio::test]
async fn what_ends_with_the_connection_or_goes_beyond_its_end_ends_the_connection() {
    for answer in [
        "HTTP/1.1 200 OK\r\n\r\ngood",
        "HTTP/1.1 200 OK\r\ncontent-length: 4\r\nconnection: close\r\n\r\ngood",
        "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ngoodHTTP/1.1 200 OK\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 9\r\ntransfer-encoding: chunked\r\n\r\n4\r\ngood\r\n0\r\n\r\n",
    ] {
        let wire = Wire::new().await;
        let (mut connection, mut server) = wire.pair().await;
        connection.start(post(BodyFraming::Whole), []).unwrap();
        server.write_all(answer.as_bytes()).await.unwrap();
        server.shutdown().await.unwrap();
        let (status, body) = response(&mut connection).await.unwrap();
        assert_eq!((status, &*body), (StatusCode::OK, &b"good"[..]), "{answer}");
        wire.connections.release(connection);
        assert_eq!(wire.connections.idle_count(), 0, "{answer}");
    }
}

#[tokio::test]
async fn every_failure_has_its_kind_and_its_cause() {
    type Kind = fn(&Error) -> bool;
    let is_reset: Kind = |error| matches!(error, Error::Reset(_));
    let is_invalid: Kind = |error| matches!(error, Error::InvalidResponse(_));
    let is_broken: Kind = |error| matches!(error, Error::BrokenStream(_));
    for (answer, is_expected) in [
        ("", is_reset),
        ("HTTP/1.1 200 OK\r\ncontent-", is_reset),
        ("220 mail.example.com ESMTP\r\n", is_invalid),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntransfer-encoding: gzip\r\n\r\n", is_invalid),
        ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort", is_broken),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\ngood\r\n", is_broken),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nno size\r\n", is_broken),
    ] {
        let wire = Wire::new().await;
        let (mut connection, mut server) = wire.pair().await;
        connection.start(post(BodyFraming::Whole), []).unwrap();
        server.write_all(answer.as_bytes()).await.unwrap();
        server.shutdown().await.unwrap();
        let error = response(&mut connection).await.unwrap_err();
        assert!(is_expected(&error), "{answer}: {error:?}");
        assert!(std::error::Error::source(&error).is_some(), "{error:?}");
        assert!(!connection.is_stale(), "it is new");
    }
    let wire = Wire::new().await;
    drop(wire.listener);
    let refused = wire.connections.connect(&wire.peers, wire.address, ENDPOINT, None).await;
    assert!(matches!(refused.err(), Some(Error::Connect(_))));
}

#[tokio::test]
async fn a_kept_connection_that_was_closed_is_not_taken_and_one_that_closes_then_is_stale() {
    let wire = Wire::new().await;
    let (connection, mut server) = wire.pair().await;
    wire.connections.release(connection);
    let mut connection = wire.connect(ENDPOINT).await.unwrap();
    connection.start(post(BodyFraming::Whole), []).unwrap();
    // All of the request is taken, so that it is an end and no reset.
    let closing = async {
        read(&mut server, "POST /v1/x?y HTTP/1.1\r\nhost: a.test\r\n\r\n").await;
        drop(server);
    };
    let (response, ()) = tokio::join!(response(&mut connection), closing);
    assert!(matches!(response, Err(Error::Reset(_))));
    assert!(connection.is_stale());

    let (connection, mut server) = wire.pair().await;
    wire.connections.release(connection);
    server.shutdown().await.unwrap();
    // Until the end has come through; how long that takes is the system's.
    while wire.connections.idle_count() > 0 {
        wire.connections.sweep(|_| true);
        tokio::task::yield_now().await;
    }
}
