//! Reading metrics pages and load reports. Target: a vLLM page of 60 KB in under 20 µs.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use penstock_config::Engine;
use penstock_picker::{engine::EngineSeries, orca, scrape::page::PageScanner};

use vllm_page::VllmPage;

#[path = "../tests/metrics/vllm_page.rs"]
mod vllm_page;

/// What hyper hands over at a time, about.
const CHUNK_BYTES: usize = 16 * 1024;

fn pages(c: &mut Criterion) {
    let one = VllmPage::default();
    let eight = VllmPage { engines: vec![(3, 17, 0.4375); 8], ..VllmPage::default() };
    // Adapters come and go; vLLM keeps a series for every combination that there ever was.
    let adapters = (0..500).map(|n| (format!("adapter-{n},adapter-{}", n + 1), String::new())).collect();
    let many_adapters = VllmPage { adapters, ..VllmPage::default() };

    let mut group = c.benchmark_group("page");
    for (name, page) in [("vllm", one), ("vllm_8_engines", eight), ("vllm_500_lora_series", many_adapters)] {
        let text = page.render();
        let mut scanner = PageScanner::new(EngineSeries::of(Engine::Vllm));
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(name, |b| {
            b.iter(|| {
                for chunk in black_box(text.as_bytes()).chunks(CHUNK_BYTES) {
                    scanner.feed(chunk);
                }
                scanner.finish()
            });
        });
    }
    group.finish();
}

fn reports(c: &mut Criterion) {
    let mut group = c.benchmark_group("load_report");
    let text = "TEXT named_metrics.kv_cache_usage_perc=0.4, named_metrics.num_requests_waiting=3.0";
    let json = r#"JSON {"named_metrics": {"kv_cache_usage_perc": 0.4, "num_requests_waiting": 3.0}}"#;
    for (name, value) in [("text", text), ("json", json)] {
        group.bench_function(name, |b| b.iter(|| orca::parse(black_box(value.as_bytes()))));
    }
    group.finish();
}

criterion_group!(benches, pages, reports);
criterion_main!(benches);
