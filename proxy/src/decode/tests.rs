use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;

use penstock_config::Limits;

use super::*;
use crate::body::{Body, BodyMemory};
use crate::error::Limit;

const PATIENCE: Duration = Duration::from_secs(5);

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn body(prompt_bytes: usize) -> Vec<u8> {
    [br#"{"model":"m","prompt":""#.as_slice(), &vec![b'x'; prompt_bytes], b"\"}"].concat()
}

/// `bytes` compressed, in chunks, on the account of `memory`, which may hold `limit` bytes.
fn encoded(bytes: &[u8], memory: &Arc<BodyMemory>, limit: usize) -> Encoded {
    let limits = Limits { bodies_in_flight_bytes: limit, ..Limits::default() };
    let peek = Peek::new(Some(b"application/json"), &Options::default()).unwrap();
    let room = Body::new(memory).room(None, &limits);
    let chunks = gzip(bytes).chunks(700).map(Bytes::copy_from_slice).collect();
    Encoded { coding: Coding::Gzip, chunks, peek, room }
}

#[test]
fn what_comes_out_is_read_kept_and_counted() {
    let memory = Arc::<BodyMemory>::default();
    let bytes = body(200_000);
    let encoded = encoded(&bytes, &memory, usize::MAX);
    let (peeked, decoded) = encoded.decode(&Options::default(), PATIENCE, &|| true).unwrap();
    assert_eq!(peeked.model.unwrap().range, 9..12);
    assert_eq!(memory.held(), bytes.len());
    let mut whole = Body::new(&memory);
    whole.set_decoded(decoded);
    assert_eq!(whole.plain().concat(), bytes);
    assert!(whole.plain().iter().all(|chunk| chunk.len() <= CHUNK_BYTES));
    whole.release();
    assert_eq!(memory.held(), 0);
}

#[test]
fn what_has_no_room_is_given_back_whole() {
    let memory = Arc::<BodyMemory>::default();
    let encoded = encoded(&body(200_000), &memory, 100_000);
    let refused = encoded.decode(&Options::default(), PATIENCE, &|| true).unwrap_err();
    assert!(matches!(refused, Error::BodyMemoryExhausted), "{refused}");
    assert_eq!(memory.held(), 0);
}

#[test]
fn decoding_ends_with_its_time_and_with_whoever_waits_for_it() {
    let memory = Arc::<BodyMemory>::default();
    let late =
        encoded(&body(1000), &memory, usize::MAX).decode(&Options::default(), Duration::ZERO, &|| true);
    assert!(matches!(late, Err(Error::DecodeTimeout)));
    let left = encoded(&body(1000), &memory, usize::MAX).decode(&Options::default(), PATIENCE, &|| false);
    assert!(matches!(left, Err(Error::ClientGone)));
    assert_eq!(memory.held(), 0);
}

#[tokio::test]
async fn there_are_so_many_turns_and_waiting_for_one_ends() {
    let decoders = Decoders::new(1);
    let (go_on, wait) = mpsc::channel::<()>();
    let (began, has_begun) = oneshot::channel();
    let first = decoders.run(PATIENCE, move |_| {
        let _ = began.send(());
        wait.recv()
    });
    let second = async {
        has_begun.await.unwrap();
        let refused = decoders.run(Duration::from_millis(10), |_| ()).await.unwrap_err();
        assert_eq!((refused.row().status, refused.row().limit), (503, Some(Limit::DecodeTimeout)));
        go_on.send(()).unwrap();
    };
    let (first, ()) = tokio::join!(first, second);
    first.unwrap().unwrap();
    // The turn is free again.
    decoders.run(PATIENCE, |_| ()).await.unwrap();
}

#[tokio::test]
async fn a_turn_lasts_as_long_as_its_work_even_if_nobody_waits_any_more() {
    let decoders = Decoders::new(1);
    let is_done = Arc::new(AtomicBool::new(false));
    let (began, has_begun) = oneshot::channel();
    let abandoned = decoders.run(PATIENCE, {
        let is_done = is_done.clone();
        move |is_wanted: IsWanted<'_>| {
            let _ = began.send(());
            while is_wanted() {
                std::thread::yield_now();
            }
            is_done.store(true, Ordering::SeqCst);
        }
    });
    tokio::select! {
        biased;
        _ = abandoned => panic!("it waits to be given up"),
        begun = has_begun => begun.unwrap(),
    }
    decoders.run(PATIENCE, |_| ()).await.unwrap();
    assert!(is_done.load(Ordering::SeqCst));
}
