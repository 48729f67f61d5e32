use std::{
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    time::Duration,
};

use futures::future::BoxFuture;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    time::timeout,
};

use super::*;
use crate::engine::VLLM;

mod tls;

const PAGE: &str = "vllm:num_requests_waiting 3\nvllm:num_requests_running 4\n";
const MAX_BYTES: usize = 100_000;

/// A metrics server whose connections behave as told, one after the other; the last behaviour is for all
/// that follow.
struct Server {
    address: SocketAddr,
    accepted: Arc<AtomicUsize>,
}

type Behaviour = fn(TcpStream) -> BoxFuture<'static, ()>;

impl Server {
    async fn start(behaviours: &'static [Behaviour]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self { address: listener.local_addr().unwrap(), accepted: Arc::default() };
        let accepted = Arc::clone(&server.accepted);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let index = accepted.fetch_add(1, SeqCst).min(behaviours.len() - 1);
                tokio::spawn(behaviours[index](stream));
            }
        });
        server
    }

    fn accepted(&self) -> usize {
        self.accepted.load(SeqCst)
    }

    fn client(&self) -> Client {
        client(self.address, None)
    }
}

fn client(address: SocketAddr, tls: Option<TlsClient>) -> Client {
    let page = PageAddress { address, path: Arc::from("/metrics"), tls: tls.map(Arc::new), shown: None };
    Client::new(page, &VLLM, MAX_BYTES)
}

/// Reads one request; nothing if the client has closed the connection.
async fn request_head<S: AsyncRead + Unpin>(stream: &mut S) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    Some(String::from_utf8(head).unwrap())
}

/// Answers every request with these bytes.
async fn answer<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, response: String) {
    while request_head(&mut stream).await.is_some() {
        if stream.write_all(response.as_bytes()).await.is_err() {
            return;
        }
    }
}

fn page() -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{PAGE}", PAGE.len())
}

fn well(stream: TcpStream) -> BoxFuture<'static, ()> {
    Box::pin(answer(stream, page()))
}

/// Answers that the connection ends with this page, and waits for the client to end it.
fn say_close(stream: TcpStream) -> BoxFuture<'static, ()> {
    Box::pin(answer(stream, page().replace("OK\r\n", "OK\r\nconnection: close\r\n")))
}

/// Says the same by its version.
fn old(stream: TcpStream) -> BoxFuture<'static, ()> {
    Box::pin(answer(stream, page().replace("HTTP/1.1", "HTTP/1.0")))
}

/// Answers one request with two pages, of which the second lies.
fn two_answers(stream: TcpStream) -> BoxFuture<'static, ()> {
    Box::pin(answer(stream, page() + &page().replace('3', "9")))
}

/// Answers one request, then waits for the next and closes the connection instead of answering.
fn close_on_second(mut stream: TcpStream) -> BoxFuture<'static, ()> {
    Box::pin(async move {
        request_head(&mut stream).await;
        stream.write_all(page().as_bytes()).await.unwrap();
        request_head(&mut stream).await;
    })
}

fn close_after_answer(mut stream: TcpStream) -> BoxFuture<'static, ()> {
    Box::pin(async move {
        request_head(&mut stream).await;
        stream.write_all(page().as_bytes()).await.unwrap();
    })
}

fn hang(mut stream: TcpStream) -> BoxFuture<'static, ()> {
    Box::pin(async move {
        request_head(&mut stream).await;
        std::future::pending::<()>().await;
    })
}

/// One byte a second, for ever.
fn drip(mut stream: TcpStream) -> BoxFuture<'static, ()> {
    Box::pin(async move {
        request_head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n").await.unwrap();
        while stream.write_all(b"#").await.is_ok() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    })
}

/// A page without an end.
fn endless(mut stream: TcpStream) -> BoxFuture<'static, ()> {
    Box::pin(async move {
        request_head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        let line = "vllm:num_requests_waiting{engine=\"0\"} 1\n".repeat(100);
        while stream.write_all(line.as_bytes()).await.is_ok() {}
    })
}

/// Headers without an end.
fn endless_head(mut stream: TcpStream) -> BoxFuture<'static, ()> {
    Box::pin(async move {
        request_head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nx: ").await.unwrap();
        while stream.write_all(&[b'x'; 1000]).await.is_ok() {}
    })
}

fn many_headers(stream: TcpStream) -> BoxFuture<'static, ()> {
    let headers = "a: b\r\n".repeat(MAX_HEADERS + 1);
    Box::pin(answer(stream, format!("HTTP/1.1 200 OK\r\n{headers}content-length: 0\r\n\r\n")))
}

fn garbage(stream: TcpStream) -> BoxFuture<'static, ()> {
    Box::pin(answer(stream, "SSH-2.0-OpenSSH_9.6\r\n\r\n".to_owned()))
}

/// A page in chunks, of which each line has some.
fn chunked(stream: TcpStream) -> BoxFuture<'static, ()> {
    let chunks: String = PAGE.as_bytes().chunks(7).fold(String::new(), |text, chunk| {
        let data = std::str::from_utf8(chunk).unwrap();
        format!("{text}{:x}\r\n{data}\r\n", chunk.len())
    });
    Box::pin(answer(
        stream,
        format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{chunks}0\r\n\r\n"),
    ))
}

fn redirect(stream: TcpStream) -> BoxFuture<'static, ()> {
    let head = "HTTP/1.1 302 Found\r\nlocation: http://192.0.2.1/\r\ncontent-length: 0\r\n\r\n";
    Box::pin(answer(stream, head.to_owned()))
}

fn not_found(stream: TcpStream) -> BoxFuture<'static, ()> {
    Box::pin(answer(stream, "HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\nno".to_owned()))
}

fn unavailable(stream: TcpStream) -> BoxFuture<'static, ()> {
    Box::pin(answer(stream, "HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n".to_owned()))
}

fn compressed(stream: TcpStream) -> BoxFuture<'static, ()> {
    let head = "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 1\r\n\r\nx";
    Box::pin(answer(stream, head.to_owned()))
}

fn other_page(stream: TcpStream) -> BoxFuture<'static, ()> {
    Box::pin(answer(stream, "HTTP/1.1 200 OK\r\ncontent-length: 15\r\n\r\n<html>hi</html>".to_owned()))
}

/// Breaks off in the middle of the page, after wanted lines.
fn cut_short(mut stream: TcpStream) -> BoxFuture<'static, ()> {
    Box::pin(async move {
        request_head(&mut stream).await;
        let head = "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n";
        stream.write_all(format!("{head}{PAGE}").as_bytes()).await.unwrap();
    })
}

fn loaded(fetched: Result<Reading, ScrapeError>) -> (Option<u32>, Option<u32>) {
    let reading = fetched.unwrap();
    (reading.waiting, reading.running)
}

const LOAD: (Option<u32>, Option<u32>) = (Some(3), Some(4));

/// Fetches the page so often, and returns how many connections that took.
async fn connections_for(fetches: usize, behaviours: &'static [Behaviour]) -> usize {
    let server = Server::start(behaviours).await;
    let mut client = server.client();
    for _ in 0..fetches {
        let fetched = timeout(Duration::from_secs(30), client.fetch()).await.expect("a page");
        assert_eq!(loaded(fetched), LOAD);
    }
    server.accepted()
}

#[tokio::test]
async fn one_connection_serves_all_scrapes() {
    let server = Server::start(&[well]).await;
    let mut client = server.client();
    for _ in 0..5 {
        assert_eq!(loaded(client.fetch().await), LOAD);
    }
    assert_eq!((server.accepted(), client.take_bytes()), (1, 5 * PAGE.len()));
    assert_eq!(client.take_bytes(), 0);
}

#[tokio::test]
async fn asks_for_a_plain_page_of_the_address_that_it_scrapes() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut client = client(address, None);
    let served = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let head = request_head(&mut stream).await.unwrap();
        stream.write_all(page().as_bytes()).await.unwrap();
        head
    };
    let (fetched, head) = tokio::join!(client.fetch(), served);
    assert_eq!(loaded(fetched), LOAD);
    assert!(head.starts_with("GET /metrics HTTP/1.1\r\n"), "{head}");
    assert!(head.contains(&format!("host: {address}\r\n")), "{head}");
    assert!(head.contains("accept-encoding: identity\r\n"), "{head}");
}

#[tokio::test]
async fn chunks_may_cut_lines() {
    let server = Server::start(&[chunked]).await;
    assert_eq!(loaded(server.client().fetch().await), LOAD);
}

#[tokio::test]
async fn a_server_that_closes_its_connections_is_still_scraped() {
    assert_eq!(connections_for(3, &[close_after_answer]).await, 3);
}

#[tokio::test]
async fn a_connection_that_turns_out_dead_is_replaced_at_once() {
    assert_eq!(connections_for(2, &[close_on_second, well]).await, 2);
}

#[tokio::test]
async fn a_connection_that_is_said_to_end_is_not_waited_for() {
    assert_eq!(connections_for(3, &[say_close, old]).await, 3);
}

#[tokio::test]
async fn what_comes_behind_a_page_is_no_answer_to_the_next_request() {
    assert_eq!(connections_for(2, &[two_answers, well]).await, 2);
}

#[tokio::test]
async fn a_pause_notices_that_the_server_closed_the_connection() {
    let server = Server::start(&[close_after_answer]).await;
    let mut client = server.client();
    assert_eq!(loaded(client.fetch().await), LOAD);
    let closed = async {
        while client.idle.is_some() {
            client.idle_during(tokio::task::yield_now()).await;
        }
    };
    timeout(Duration::from_secs(30), closed).await.expect("the closed connection was let go");
}

#[tokio::test]
async fn what_is_no_page_of_the_engine_is_told_apart() {
    let kinds: [(&'static [Behaviour], &str); 9] = [
        (&[redirect], "status"),
        (&[not_found], "status"),
        (&[unavailable], "status"),
        (&[compressed], "encoding"),
        (&[other_page], "no_series"),
        (&[garbage], "http"),
        (&[cut_short], "http"),
        (&[endless_head], "http"),
        (&[many_headers], "http"),
    ];
    for (behaviour, kind) in kinds {
        let server = Server::start(behaviour).await;
        let error = server.client().fetch().await.unwrap_err();
        assert_eq!(error.kind().label(), kind, "{error}");
    }
}

#[tokio::test]
async fn a_page_without_end_is_cut_and_counted() {
    let server = Server::start(&[endless, well]).await;
    let mut client = server.client();
    let error = client.fetch().await.unwrap_err();
    assert!(matches!(error, ScrapeError::TooLarge(MAX_BYTES)), "{error}");
    let bytes = client.take_bytes();
    assert!((MAX_BYTES..MAX_BYTES + 2 * READ_BUFFER_BYTES).contains(&bytes), "{bytes}");
    assert_eq!(loaded(client.fetch().await), LOAD);
}

#[tokio::test]
async fn a_closed_port_is_a_connect_error() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = client(address, None).fetch().await.unwrap_err();
    assert!(matches!(error, ScrapeError::Connect(_)), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_is_given_up_leaves_the_client_usable() {
    for slow in [&[hang as Behaviour, well], &[drip, well]] {
        let server = Server::start(slow).await;
        let mut client = server.client();
        timeout(Duration::from_secs(3), client.fetch()).await.unwrap_err();
        assert_eq!(loaded(client.fetch().await), LOAD);
        assert_eq!(server.accepted(), 2);
    }
}

#[test]
fn servers_that_have_no_metrics_are_told_from_those_out_of_reach() {
    use crate::scrape::pace::ScrapeOutcome;
    let status = |code| ScrapeError::Status(StatusCode::from_u16(code).unwrap()).outcome();
    assert_eq!(
        (status(404), status(302), status(401)),
        (ScrapeOutcome::NoMetrics, ScrapeOutcome::NoMetrics, ScrapeOutcome::NoMetrics)
    );
    assert_eq!((status(503), status(500)), (ScrapeOutcome::NoAnswer, ScrapeOutcome::NoAnswer));
    assert_eq!(ScrapeError::NoSeries(0).outcome(), ScrapeOutcome::NoMetrics);
    assert_eq!(ScrapeError::TooLarge(1).outcome(), ScrapeOutcome::NoAnswer);
}
