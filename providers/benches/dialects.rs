//! What translation costs: a request that is put into another API, a whole answer, and an event of a stream.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use http::HeaderMap;
use penstock_providers::{Api, Call, Encoded, Place, Provider, Schema};

use streams::{CHAT, MESSAGES, Stream};

#[path = "../tests/support/streams.rs"]
mod streams;

fn encoded(schema: Schema, path: &str, body: &[u8]) -> Encoded {
    let call = Call {
        api: Api::of_path(path),
        path,
        query: None,
        model: Some("claude-sonnet-4-5"),
        asked_model: Some("claude-sonnet-4-5"),
        headers: &HeaderMap::new(),
        body,
        now: 1_760_000_000,
        request_id: "7f1c9a521f8e4a55",
    };
    Provider::new(schema, Place::default(), false).encode(&call).expect("the request is sound")
}

/// A conversation of about so many bytes, with a line break every 80, in the form that both of OpenAI's chat and Anthropic's
/// Messages have.
fn request(bytes: usize) -> String {
    let line = "The gateway reads a line of a request and then decides where it will go to. \\n";
    let text = line.repeat(bytes / 3 / line.len() + 1);
    format!(
        "{{\"model\":\"claude-sonnet-4-5\",\"max_tokens\":256,\"temperature\":0.5,\"messages\":[\
         {{\"role\":\"user\",\"content\":\"{text}\"}},{{\"role\":\"assistant\",\"content\":\"{text}\"}},\
         {{\"role\":\"user\",\"content\":\"{text}\"}}]}}"
    )
}

fn requests(c: &mut Criterion) {
    let mut group = c.benchmark_group("dialects/request");
    for (size, body) in [("1.2 KB", request(1_200)), ("32 KB", request(32_000))] {
        group.throughput(Throughput::Bytes(body.len() as u64));
        for (name, schema, path) in [
            ("chat to Anthropic", Schema::Anthropic, CHAT),
            ("chat to Bedrock", Schema::AwsBedrock, CHAT),
            ("chat to Gemini", Schema::Gemini, CHAT),
            ("messages to chat", Schema::OpenAi, MESSAGES),
        ] {
            group.bench_function(format!("{name}, {size}"), |b| {
                b.iter(|| encoded(schema, path, black_box(body.as_bytes())));
            });
        }
    }
    group.finish();
}

fn answers(c: &mut Criterion) {
    let mut group = c.benchmark_group("dialects/answer");
    for size in [1_200, 32_000] {
        let text = "One line of an answer, and \\\"another\\\".\\n".repeat(size / 42);
        let answer = format!(
            "{{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"claude-sonnet-4-5\",\
             \"content\":[{{\"type\":\"text\",\"text\":\"{text}\"}}],\"stop_reason\":\"end_turn\",\
             \"usage\":{{\"input_tokens\":10,\"output_tokens\":900}}}}"
        );
        let request = request(100);
        group.throughput(Throughput::Bytes(answer.len() as u64));
        group.bench_function(format!("Anthropic to chat, {size} bytes"), |b| {
            b.iter_batched_ref(
                || {
                    encoded(Schema::Anthropic, CHAT, request.as_bytes())
                        .translation
                        .expect("it is translated")
                },
                |translation| {
                    let mut out = Vec::new();
                    translation.body(black_box(answer.as_bytes()), true, &mut out).map(|()| out)
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

fn events(c: &mut Criterion) {
    let mut group = c.benchmark_group("dialects/event");
    for stream in Stream::all() {
        let mut translation = stream.begun();
        let mut out = Vec::new();
        group.throughput(Throughput::Bytes(stream.event.len() as u64));
        group.bench_function(stream.name.as_str(), |b| {
            b.iter(|| {
                out.clear();
                translation.body(black_box(&stream.event), false, &mut out)
            });
        });
    }
    group.finish();
}

criterion_group!(benches, requests, answers, events);
criterion_main!(benches);
