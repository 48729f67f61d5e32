//! What arrived is reported to the byte, whatever the framing.

use bytes::Bytes;
use http::Method;
use penstock_sim::{
    faults::Fault,
    options::Options,
    record::{Framing, RecordedRequest, body_hash},
};

use crate::{
    client::{Answer, Client, request, unframed},
    start,
};

fn body(bytes: usize) -> Bytes {
    (0..bytes).map(|at| (at * 31 + at / 251) as u8).collect()
}

fn check(answer: &Answer, sent: &Bytes, framing: Framing) {
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("x-sim-body-xxh64"), body_hash(sent));
    assert_eq!(answer.header("x-sim-body-bytes"), sent.len().to_string());
    let seen: RecordedRequest = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((seen.body_bytes, seen.framing), (sent.len() as u64, framing));
    assert_eq!(seen.body_xxh64, body_hash(sent));
}

#[tokio::test]
async fn every_framing_and_size() {
    let sim = start(Options::default()).await;
    let mut http1 = Client::http1(sim.addr()).await;
    let mut http2 = Client::http2(sim.addr()).await;
    for size in [0, 1, 65_535, 65_536, 65_537, 1 << 20] {
        let sent = body(size);
        let pieces: Vec<_> = sent.chunks(7000).map(|piece| sent.slice_ref(piece)).collect();
        for (client, unknown) in [(&mut http1, Framing::Chunked), (&mut http2, Framing::Stream)] {
            let length = if size == 0 { Framing::None } else { Framing::Length };
            let whole = client.send(request(Method::PUT, "/sim/sink/x?y", &[], sent.clone())).await.unwrap();
            // A client may send a length of zero or none at all.
            let length = if whole.text().contains("content-length") { Framing::Length } else { length };
            check(&whole, &sent, length);
            if size > 0 {
                check(&client.send(unframed("/sim/sink", pieces.clone())).await.unwrap(), &sent, unknown);
            }
        }
    }
    assert_eq!(sim.stats().connections, 2);
    let seen = sim.requests();
    assert_eq!((seen[0].method.as_str(), seen[0].path.as_str()), ("PUT", "/sim/sink/x?y"));
    assert_eq!(seen[0].header("host"), Some("sim"));
    assert_eq!(seen.len(), 22);
    sim.forget_requests();
    assert!(sim.requests().is_empty());
}

#[tokio::test]
async fn thirty_two_mebibytes() {
    let sim = start(Options::default()).await;
    let sent = body(32 << 20);
    let pieces: Vec<_> = sent.chunks(1 << 16).map(|piece| sent.slice_ref(piece)).collect();
    let answer = Client::http2(sim.addr()).await.send(unframed("/sim/sink", pieces)).await.unwrap();
    check(&answer, &sent, Framing::Stream);
}

#[tokio::test]
async fn faults_apply_and_the_refused_body_was_read() {
    let sim = start(Options::default()).await;
    sim.faults().push(Fault::status(503).times(1));
    let mut client = Client::http1(sim.addr()).await;
    let sent = body(1 << 20);
    let refused = client.send(request(Method::POST, "/sim/sink", &[], sent.clone())).await.unwrap();
    assert_eq!(refused.status, 503);
    assert_eq!(refused.header("x-sim-body-xxh64"), body_hash(&sent));
    let taken = client.send(request(Method::POST, "/sim/sink", &[], sent.clone())).await.unwrap();
    check(&taken, &sent, Framing::Length);
    assert_eq!(sim.requests().len(), 2);
}

#[tokio::test]
async fn bodies_are_remembered_where_that_is_asked_for() {
    for record_bodies in [false, true] {
        let sim = start(Options { record_bodies, ..Options::default() }).await;
        let mut client = Client::http1(sim.addr()).await;
        client.send(request(Method::POST, "/v1/nothing", &[], "what was said")).await.unwrap();
        let seen = sim.requests().pop().unwrap();
        assert_eq!(seen.body.as_deref(), record_bodies.then_some("what was said"));
    }
}
