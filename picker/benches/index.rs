//! The prefix index under eight threads, as eight workers of the proxy would use it.
//!
//! `cargo bench -p penstock-picker --bench index`. A figure is the time of one look-up and one recording of a prompt of
//! 128 blocks, divided over the threads: with as many cores as threads, it falls as threads are added. `new` is the time of
//! recording a prompt that nobody has sent before, with an index that is full.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use penstock_picker::prefix::PrefixIndex;

const ENDPOINTS: u16 = 100;
const BLOCKS: usize = 128;
const PROMPTS: u64 = 512;
const CAPACITY: usize = 31_250;

fn prompt(number: u64) -> Vec<u64> {
    // The first quarter is the same for all, so that all threads meet at its blocks.
    let hash = |seed: u64, block: usize| xxhash_rust::xxh3::xxh3_64_with_seed(&block.to_le_bytes(), seed);
    (0..BLOCKS).map(|block| hash(if block < BLOCKS / 4 { 0 } else { number + 1 }, block)).collect()
}

/// Time for `iterations` on each of `threads` threads.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
fn run(index: &PrefixIndex, prompts: &[Vec<u64>], threads: usize, iterations: u64) -> Duration {
    let started = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..threads {
            scope.spawn(move || {
                let mut matched = vec![0; usize::from(ENDPOINTS)];
                let turns = prompts.iter().enumerate().cycle().skip(thread * prompts.len() / threads);
                for (number, prompt) in turns.take(iterations as usize) {
                    matched.fill(0);
                    let chain = index.chain("model", prompt, 1, BLOCKS);
                    index.matches(&chain, &mut matched);
                    black_box(&matched);
                    index.record(&chain, (number % usize::from(ENDPOINTS)) as u16, CAPACITY);
                }
            });
        }
    });
    started.elapsed()
}

fn threads(criterion: &mut Criterion) {
    let index = PrefixIndex::new();
    let prompts: Vec<_> = (0..PROMPTS).map(prompt).collect();
    run(&index, &prompts, 1, PROMPTS);
    let mut group = criterion.benchmark_group("index/128 blocks");
    for threads in [1, 2, 4, 8] {
        group.bench_function(BenchmarkId::new("threads", threads), |bencher| {
            bencher.iter_custom(|iterations| {
                run(&index, &prompts, threads, iterations.div_ceil(threads as u64))
            });
        });
    }
    group.finish();
}

/// Recording prompts that are all different, for one endpoint; between two of them a body goes through the cache.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
fn new(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("index/new");
    for blocks in [5, 128, 860] {
        let index = PrefixIndex::new();
        let (mut number, mut hashes, mut body) = (0_u64, vec![0; blocks], vec![0_u8; 1 << 20]);
        let mut record = || {
            for hash in &mut hashes {
                number += 1;
                *hash = xxhash_rust::xxh3::xxh3_64(&number.to_le_bytes());
            }
            body.fill(number as u8);
            black_box(&body);
            let chain = index.chain("model", &hashes, 1, blocks);
            let started = Instant::now();
            index.record(&chain, 0, CAPACITY);
            started.elapsed()
        };
        black_box((0..2 * CAPACITY / blocks).map(|_| record()).sum::<Duration>());
        group.bench_function(BenchmarkId::new("blocks", blocks), |bencher| {
            bencher.iter_custom(|iterations| (0..iterations).map(|_| record()).sum());
        });
    }
    group.finish();
}

criterion_group!(benches, threads, new);
criterion_main!(benches);
