use std::time::Duration;

use futures::FutureExt;

use super::*;
use crate::options::{Calculator, KvOptions, Latency};

const MS: Duration = Duration::from_millis(1);

fn job(blocks: &[u64], output_tokens: usize) -> Job {
    Job { blocks: blocks.to_vec(), prompt_tokens: blocks.len() * 16 + 1, output_tokens, ..Job::default() }
}

async fn admit(engine: &Arc<Engine>, job: Job) -> Box<Sequence> {
    engine.admit(job).unwrap().wait().await.unwrap()
}

fn options(max_num_seqs: usize) -> Options {
    Options { max_num_seqs, max_waiting: 2, ..Options::default() }
}

fn timed(latency: Latency) -> Options {
    Options { latency, ..options(4) }
}

#[tokio::test]
async fn requests_wait_in_order_and_the_queue_is_bounded() {
    let engine = Engine::new(&options(1));
    let first = admit(&engine, job(&[1], 1)).await;
    let mut second = Box::pin(admit(&engine, job(&[2], 1)));
    let mut third = Box::pin(admit(&engine, job(&[3], 1)));
    assert!(second.as_mut().now_or_never().is_none());
    assert!(third.as_mut().now_or_never().is_none());
    assert_eq!(engine.admit(job(&[4], 1)).err(), Some(QueueFull));
    assert_eq!((engine.load().running, engine.load().waiting), (1, 2));
    first.finish("stop", &[]);
    let second = second.await;
    assert_eq!((engine.load().running, engine.load().waiting), (1, 1));
    drop(second);
    third.await.finish("stop", &[]);
    assert_eq!(engine.load(), Load { kv_usage: 0.0, ..Load::default() });
}

#[tokio::test]
async fn who_leaves_the_queue_makes_room() {
    let engine = Engine::new(&options(1));
    let first = admit(&engine, job(&[1], 1)).await;
    {
        let mut second = Box::pin(admit(&engine, job(&[2], 1)));
        assert!(second.as_mut().now_or_never().is_none());
        assert_eq!(engine.load().waiting, 1);
    }
    assert_eq!(engine.load().waiting, 0);
    drop(first);
    assert_eq!(engine.load().running, 0);
}

#[tokio::test]
async fn a_sequence_admitted_to_a_client_that_left_frees_its_slot() {
    let engine = Engine::new(&options(1));
    let first = admit(&engine, job(&[1], 1)).await;
    let mut second = Box::pin(admit(&engine, job(&[2], 1)));
    assert!(second.as_mut().now_or_never().is_none());
    drop(first);
    assert_eq!(engine.load().running, 1);
    drop(second);
    assert_eq!(engine.load().running, 0);
}

#[tokio::test]
async fn a_repeated_prompt_is_cached_but_for_its_end() {
    let engine = Engine::new(&options(4));
    let first = admit(&engine, job(&[1, 2, 3], 1)).await;
    assert_eq!(first.cached_tokens(), 0);
    first.finish("stop", &[1, 2, 3, 4]);
    assert_eq!(admit(&engine, job(&[1, 2, 9], 1)).await.cached_tokens(), 32);
    let exact = Job { prompt_tokens: 48, ..job(&[1, 2, 3], 1) };
    assert_eq!(admit(&engine, exact).await.cached_tokens(), 32);
    // The answer's blocks are there for the next turn.
    assert_eq!(admit(&engine, job(&[1, 2, 3, 4, 5], 1)).await.cached_tokens(), 64);
}

#[tokio::test]
async fn a_full_cache_makes_requests_wait() {
    let kv = KvOptions { blocks: 8, ..KvOptions::default() };
    let engine = Engine::new(&Options { kv, ..options(8) });
    let first = admit(&engine, job(&[1, 2], 31)).await;
    let second = admit(&engine, job(&[3, 4], 31)).await;
    let mut third = Box::pin(admit(&engine, job(&[5, 6], 31)));
    assert!(third.as_mut().now_or_never().is_none());
    drop(first);
    let _third = third.await;
    drop(second);
}

#[tokio::test]
async fn an_adapter_without_a_slot_lets_others_pass() {
    let engine = Engine::new(&Options { max_loras: 1, ..options(4) });
    let with = |lora| Job { lora: Some(lora), ..job(&[1], 1) };
    let first = admit(&engine, with(0)).await;
    let mut other = Box::pin(admit(&engine, with(1)));
    assert!(other.as_mut().now_or_never().is_none());
    let _base = admit(&engine, job(&[1], 1)).await;
    let _same = admit(&engine, with(0)).await;
    let load = engine.load();
    assert_eq!((load.running_loras, load.waiting_loras), (vec![0], vec![1]));
    drop(first);
    assert!(other.as_mut().now_or_never().is_none());
    drop(_same);
    other.await;
}

#[tokio::test(start_paused = true)]
async fn tokens_come_at_their_time() {
    let latency =
        Latency { time_to_first_token: 50 * MS, inter_token_latency: 10 * MS, ..Latency::default() };
    let engine = Engine::new(&timed(latency));
    let start = Instant::now();
    let mut sequence = admit(&engine, job(&[1], 6)).await;
    sequence.produce(1).await;
    assert_eq!(start.elapsed(), 50 * MS);
    sequence.produce(1).await;
    sequence.produce(4).await;
    assert_eq!(start.elapsed(), 100 * MS);
}

#[tokio::test(start_paused = true)]
async fn usage_grows_with_the_answer() {
    let latency = Latency { inter_token_latency: 10 * MS, ..Latency::default() };
    let kv = KvOptions { blocks: 100, ..KvOptions::default() };
    let engine = Engine::new(&Options { kv, ..timed(latency) });
    let mut sequence = admit(&engine, job(&[1, 2], 64)).await;
    assert!((engine.load().kv_usage - 0.03).abs() < 1e-9);
    sequence.produce(32).await;
    assert!((engine.load().kv_usage - 0.05).abs() < 1e-9);
    drop(sequence);
    assert!(engine.load().kv_usage.abs() < 1e-9);
}

#[tokio::test(start_paused = true)]
async fn a_batch_slows_with_its_size() {
    let alone = decode_time(1).await;
    let eight = decode_time(8).await;
    assert!(eight > alone, "{eight:?} {alone:?}");
    assert!(eight < alone * 2, "{eight:?} {alone:?}");
}

/// Time that `count` equal requests need when they start together.
async fn decode_time(count: u64) -> Duration {
    let latency =
        Latency { calculator: Calculator::Batch(crate::options::CostModel::default()), ..Latency::default() };
    let engine = Engine::new(&Options { latency, ..options(16) });
    let start = Instant::now();
    let runs = (0..count).map(|number| {
        let engine = engine.clone();
        async move {
            let mut sequence = admit(&engine, job(&[number * 10 + 1, number * 10 + 2], 20)).await;
            for _ in 0..20 {
                sequence.produce(1).await;
            }
            sequence.finish("stop", &[]);
        }
    });
    futures::future::join_all(runs).await;
    assert_eq!(engine.load().running, 0);
    start.elapsed()
}
