//! Bytes a second through the scanner, prefix hashing on, over chat bodies as clients send them.
//!
//! `cargo bench -p penstock-peek`. The chunks are 16 KiB, as a proxy reads them. The shapes differ in what
//! costs a scanner: how often a string ends, and how often an escape interrupts it.

use std::{fmt::Write as _, hint::black_box};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use penstock_peek::{Options, Peek};

const KIB: [usize; 4] = [1, 32, 220, 1_024];
const CHUNK_BYTES: usize = 16 * 1_024;

/// What the prompt is made of.
#[derive(Clone, Copy)]
enum Prompt {
    /// One message of plain prose without escapes: the best case.
    Plain,
    /// One message with a line break or a quotation every 80 bytes, as documents and code have.
    Lines,
    /// A conversation: messages of 200 bytes with line breaks.
    Turns,
    /// Text outside ASCII as Python's `json.dumps` writes it: an escape every six bytes.
    AsciiOnly,
}

fn bench(criterion: &mut Criterion) {
    let prompts = [
        ("plain", Prompt::Plain),
        ("lines", Prompt::Lines),
        ("turns", Prompt::Turns),
        ("ascii-only", Prompt::AsciiOnly),
    ];
    for (name, prompt) in prompts {
        for is_model_first in [true, false] {
            let place = if is_model_first { "model-first" } else { "model-last" };
            let mut group = criterion.benchmark_group(format!("{name}/{place}"));
            for kib in KIB {
                let body = body(prompt, is_model_first, kib * 1_024);
                group.throughput(Throughput::Bytes(body.len() as u64));
                group.bench_with_input(BenchmarkId::from_parameter(format!("{kib}KiB")), &body, |b, body| {
                    let options = Options { max_blocks: 8_192, seed: 7, ..Options::default() };
                    b.iter(|| scan(black_box(body), &options));
                });
            }
            group.finish();
        }
    }
}

fn scan(body: &[u8], options: &Options) -> usize {
    let mut peek = Peek::new(Some(b"application/json"), options).expect("the type is known");
    for chunk in body.chunks(CHUNK_BYTES) {
        peek.feed(chunk).expect("the body is sound");
    }
    let peeked = peek.finish().expect("the body is sound");
    assert!(peeked.model.is_some() && peeked.malformed.is_none());
    peeked.blocks.len()
}

fn body(prompt: Prompt, is_model_first: bool, len: usize) -> Vec<u8> {
    let model = r#""model":"meta-llama/Llama-3.1-8B-Instruct","stream":true,"max_tokens":256"#;
    let mut body = String::from("{");
    if is_model_first {
        body.push_str(model);
        body.push(',');
    }
    body.push_str(r#""messages":[{"role":"system","content":"You are a careful assistant."}"#);
    let turn = if matches!(prompt, Prompt::Turns) { 200 } else { len };
    let mut n = 0_usize;
    while body.len() < len {
        let role = if n.is_multiple_of(2) { "user" } else { "assistant" };
        write!(body, r#",{{"role":"{role}","content":""#).expect("a string takes everything");
        let end = (body.len() + turn).min(len);
        while body.len() < end {
            write_text(&mut body, prompt, n);
            n += 1;
        }
        body.push_str(r#""}"#);
    }
    body.push(']');
    if !is_model_first {
        body.push(',');
        body.push_str(model);
    }
    body.push('}');
    body.into_bytes()
}

/// About 80 bytes.
fn write_text(body: &mut String, prompt: Prompt, n: usize) {
    match prompt {
        Prompt::Plain => {
            write!(body, "The gateway reads {n} bytes of a request before it decides where to send it. ")
        }
        Prompt::Lines if n % 5 == 4 => {
            write!(body, "    return f\\\"{{prefix}}: {n}\\\"  # keep the caller's order, see above\\n\\n")
        }
        Prompt::Lines | Prompt::Turns => {
            write!(body, "The gateway reads {n} bytes of a request and then decides where to send.\\n")
        }
        Prompt::AsciiOnly => {
            body.push_str("\\u7f51\\u5173\\u8bfb\\u53d6\\u8bf7\\u6c42\\u7684\\u5b57\\u8282\\u3002 ");
            write!(body, "{n} \\u4e2a")
        }
    }
    .expect("a string takes everything");
}

criterion_group!(benches, bench);
criterion_main!(benches);
