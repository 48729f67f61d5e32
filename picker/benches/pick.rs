//! What a pick costs, by size of the pool and of the prompt.
//!
//! `cargo bench -p penstock-picker --bench pick`; every pick is settled, so the index and the counts are in the figure.
//! `known` prompts are in the index already; `new` ones are recorded block by block.

use std::{collections::BTreeMap, hint::black_box, sync::Arc};

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use http::HeaderMap;
use penstock_config::{EndpointSpec, Engine, MetricsSpec, PoolSpec};
use penstock_picker::{LoadSample, Outcome, PickRequest, Picker, Pool};

/// Prompts that take turns, so that no figure is that of one prompt in the nearest cache.
const PROMPTS: u64 = 64;

fn pool(picker: &Arc<Picker>, endpoints: u16) -> Arc<Pool> {
    let spec = PoolSpec {
        endpoints: (0..endpoints)
            .map(|port| EndpointSpec {
                address: ([10, 0, 0, 1], port + 1).into(),
                name: format!("default/pod-{port}").into(),
                engine: Engine::Vllm,
                metrics_address: ([10, 0, 0, 1], port + 1).into(),
                labels: BTreeMap::new(),
            })
            .collect(),
        metrics: MetricsSpec { enabled: false, ..MetricsSpec::default() },
        ..PoolSpec::new("pool")
    };
    picker.apply(&[Arc::new(spec)]).expect("the default profile is sound");
    let pool = picker.pool("pool").expect("it was just applied");
    for (load, endpoint) in pool.endpoints().iter().enumerate() {
        let (waiting, running) = (load as u32 % 3, load as u32 % 17);
        let sample = LoadSample { waiting, running, kv_usage: 0.3, ..LoadSample::default() };
        endpoint.store_sample(sample, endpoint.mark());
    }
    pool
}

fn prompt(number: u64, blocks: usize) -> Vec<u64> {
    // The first quarter is the same for all, as a system prompt is.
    let hash = |seed: u64, block: usize| xxhash_rust::xxh3::xxh3_64_with_seed(&block.to_le_bytes(), seed);
    (0..blocks).map(|block| hash(if block < blocks / 4 { 0 } else { number + 1 }, block)).collect()
}

fn pick(pool: &Pool, blocks: &[u64], headers: &HeaderMap) {
    let request = PickRequest {
        model: "meta-llama/Llama-3.1-8B-Instruct",
        blocks,
        prompt_bytes: blocks.len() as u64 * 256,
        max_tokens: Some(256),
        priority: 0,
        consumer: "",
        headers,
        exclude: &[],
    };
    let picked = pool.pick(&request).expect("nothing is full");
    black_box(&picked.endpoint);
    picked.in_flight.finish(Outcome::Served);
}

fn picks(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be had");
    let _context = runtime.enter();
    let headers = HeaderMap::new();

    let mut group = criterion.benchmark_group("pick/known");
    for endpoints in [3, 10, 100, 1000] {
        for blocks in [0, 16, 128] {
            let picker = Picker::new();
            let pool = pool(&picker, endpoints);
            let prompts: Vec<_> = (0..PROMPTS).map(|number| prompt(number, blocks)).collect();
            let mut turn = prompts.iter().cycle();
            for blocks in &prompts {
                pick(&pool, blocks, &headers);
            }
            group.bench_function(BenchmarkId::new(endpoints.to_string(), blocks), |bencher| {
                bencher.iter(|| pick(&pool, turn.next().expect("a cycle has no end"), &headers));
            });
        }
    }
    group.finish();

    let mut group = criterion.benchmark_group("pick/new");
    for endpoints in [10, 100] {
        let picker = Picker::new();
        let pool = pool(&picker, endpoints);
        let mut number = PROMPTS;
        group.bench_function(BenchmarkId::new(endpoints.to_string(), 128), |bencher| {
            let next = || {
                number += 1;
                prompt(number, 128)
            };
            bencher.iter_batched(next, |blocks| pick(&pool, &blocks, &headers), BatchSize::SmallInput);
        });
    }
    group.finish();
}

criterion_group!(benches, picks);
criterion_main!(benches);
