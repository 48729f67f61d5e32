//! Upstreams that speak HTTP/2 and use what its framing lets them try.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::gate::{Gate, Setup, chat};
use crate::h2::frame;
use crate::harness::{MODEL, within};

const DATA: u8 = 0x0;
const HEADERS: u8 = 0x1;
const SETTINGS: u8 = 0x4;
const ACK: u8 = 0x1;
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;

/// An upstream without TLS that answers the request of each stream with these frames, for ever if `is_endless`. Tells of
/// each endless answer that was cut.
async fn upstream(answer: fn(u32) -> Vec<u8>, is_endless: bool) -> (SocketAddr, mpsc::Receiver<()>) {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let (cut, is_cut) = mpsc::channel(16);
    tokio::spawn(async move {
        while let Ok((stream, _)) = socket.accept().await {
            let cut = cut.clone();
            tokio::spawn(async move {
                if serve(stream, answer, is_endless).await.is_err() && is_endless {
                    // The test may have its answer already.
                    let _over = cut.send(()).await;
                }
            });
        }
    });
    (address, is_cut)
}

/// Serves a connection up to its end, or up to the first write that fails.
async fn serve(mut stream: TcpStream, answer: fn(u32) -> Vec<u8>, is_endless: bool) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    stream.read_exact(&mut [0; 24]).await?;
    stream.write_all(&frame(SETTINGS, 0, 0, &[])).await?;
    loop {
        let mut header = [0; 9];
        if stream.read_exact(&mut header).await.is_err() {
            return Ok(());
        }
        let [high, middle, low, kind, flags, id @ ..] = header;
        let mut payload = vec![0; u32::from_be_bytes([0, high, middle, low]) as usize];
        stream.read_exact(&mut payload).await?;
        match kind {
            SETTINGS if flags & ACK == 0 => stream.write_all(&frame(SETTINGS, ACK, 0, &[])).await?,
            HEADERS => {
                let frames = answer(u32::from_be_bytes(id));
                loop {
                    stream.write_all(&frames).await?;
                    if !is_endless {
                        break;
                    }
                }
            }
            _ => {}
        }
    }
}

/// An interim response: `:status: 103` (a literal under the name that the static table has at 8) and a header.
fn hint(stream: u32) -> Vec<u8> {
    let mut block = b"\x08\x03103\x00\x04link\x40".to_vec();
    block.extend_from_slice(&[b'x'; 64]);
    frame(HEADERS, END_HEADERS, stream, &block)
}

/// Some hints, and an answer behind them: `:status: 200` is 8 of the static table.
fn hints_and_answer(stream: u32) -> Vec<u8> {
    let head = frame(HEADERS, END_HEADERS, stream, b"\x88");
    [hint(stream).repeat(20), head, frame(DATA, END_STREAM, stream, b"good")].concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upstream_that_floods_interim_responses_is_cut() {
    let (address, mut cut) = upstream(hint, true).await;
    let gate = Gate::with(address, Setup { protocol: "h2c", ..Setup::default() }).await;
    for _ in 0..3 {
        let answer = gate.ask(chat(MODEL)).await;
        assert_eq!((answer.status, &*answer.refusal("hints")), (502, "upstream_reset"), "{answer:?}");
        within("the flood to be cut", cut.recv()).await.unwrap();
    }
    gate.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn interim_responses_before_an_answer_pass_on_any_number_of_streams() {
    let (address, _cut) = upstream(hints_and_answer, false).await;
    let gate = Gate::with(address, Setup { protocol: "h2c", ..Setup::default() }).await;
    // More hints than one response may have, on one connection.
    for _ in 0..100 {
        let answer = gate.ask(chat(MODEL)).await;
        assert_eq!((answer.status, &*answer.body), (200, &b"good"[..]), "{answer:?}");
    }
    gate.close().await;
}
