//! What the response tap costs: nanoseconds a streamed chunk, and gigabytes a second of JSON.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use penstock_tap::Tap;

fn stream() -> Tap {
    Tap::new(Some(b"text/event-stream; charset=utf-8"), None)
}

/// A token as vLLM streams it, with `tail` before the closing brace.
fn token(tail: &str) -> String {
    format!(
        "data: {{\"id\":\"chatcmpl-7f1c9a521f8e4a559d5e0d4c1c7b1a11\",\"object\":\"chat.completion.chunk\",\"created\":1760000000,\
         \"model\":\"meta-llama/Llama-3.1-8B-Instruct\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\" the\"}},\
         \"logprobs\":null,\"finish_reason\":null}}]{tail}}}\n\n"
    )
}

fn chunks(c: &mut Criterion) {
    let mut group = c.benchmark_group("tap/chunk");
    let delta = "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\
                 \"delta\":{\"type\":\"text_delta\",\"text\":\" the\"}}\n\n";
    let usage = ",\"usage\":{\"prompt_tokens\":1200,\"total_tokens\":1250,\"completion_tokens\":50}";
    for (name, chunk) in [
        ("token", token("")),
        ("token, usage null", token(",\"usage\":null")),
        ("token, usage counted", token(usage)),
        ("token of the Messages API", delta.to_owned()),
    ] {
        group.throughput(Throughput::Bytes(chunk.len() as u64));
        let mut tap = stream();
        group.bench_function(name, |b| b.iter(|| tap.feed(black_box(chunk.as_bytes()))));
    }

    let chunk = token("");
    let (head, tail) = chunk.as_bytes().split_at(chunk.len() / 2);
    group.throughput(Throughput::Bytes(chunk.len() as u64));
    let mut tap = stream();
    group.bench_function("token cut in two", |b| {
        b.iter(|| {
            tap.feed(black_box(head));
            tap.feed(black_box(tail))
        });
    });

    let many = token("").repeat(200);
    group.throughput(Throughput::Bytes(many.len() as u64));
    let mut tap = stream();
    group.bench_function("200 tokens at once", |b| b.iter(|| tap.feed(black_box(many.as_bytes()))));
    group.finish();
}

fn documents(c: &mut Criterion) {
    let mut group = c.benchmark_group("tap/document");
    let vector = "-0.012345678,".repeat(4095) + "0.5";
    let data =
        vec![format!("{{\"object\":\"embedding\",\"index\":0,\"embedding\":[{vector}]}}"); 64].join(",");
    let embeddings = format!(
        "{{\"object\":\"list\",\"data\":[{data}],\"usage\":{{\"prompt_tokens\":7,\"total_tokens\":7}}}}"
    );
    let text = "One line of an answer, and \\\"another\\\".\\n".repeat(100);
    let chat = format!(
        "{{\"id\":\"1\",\"choices\":[{{\"message\":{{\"role\":\"assistant\",\"content\":\"{text}\"}}}}],\
         \"usage\":{{\"prompt_tokens\":7,\"completion_tokens\":900,\"total_tokens\":907}}}}"
    );
    for (name, body) in [("embeddings, 3.4 MB", embeddings), ("chat, 4 KB", chat)] {
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(name, |b| {
            b.iter_batched_ref(
                || Tap::new(Some(b"application/json"), None),
                |tap| {
                    for chunk in body.as_bytes().chunks(64 * 1024) {
                        tap.feed(black_box(chunk));
                    }
                    tap.finish()
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, chunks, documents);
criterion_main!(benches);
