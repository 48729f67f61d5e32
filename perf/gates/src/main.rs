//! The parts whose instructions the regression gates count: `penstock-gates NAME COUNT` does one thing so many times.
//!
//! `scripts/gates.py` runs it under callgrind twice, with different counts, so that the start of the process cancels
//! out. Nothing here depends on time, on addresses or on random numbers of the system. A program of its own, and not a
//! benchmark of `proxy`, because it is then built with the same dependencies as what is released.

use std::{collections::BTreeMap, fmt::Write as _, hint::black_box, process::ExitCode, sync::Arc};

use http::{HeaderMap, HeaderValue, Method};
use penstock_config::{
    EndpointSpec, Engine, ListenerIndex, Lookup, MetricsSpec, NoProfileCheck, PoolSpec, RequestModel,
    RouteRequest, Snapshot,
};
use penstock_peek::{Options, Peek};
use penstock_picker::{
    LoadSample, Outcome, PickRequest, Picker, Pool, engine::EngineSeries, scrape::page::PageScanner,
};
use penstock_providers::{Api, Call, Encoded, Place, Provider, Schema};
use penstock_tap::Tap;

use vllm_page::VllmPage;

#[path = "../../../picker/tests/metrics/vllm_page.rs"]
mod vllm_page;

/// A gate: its name, and what it does so many times.
type Gate = (&'static str, fn(u64));

const GATES: [Gate; 7] = [
    ("peek", peek),
    ("pick", pick),
    ("metrics", metrics),
    ("route", route),
    ("tap", tap),
    ("encode", encode),
    ("decode", decode),
];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let gate = args.first().and_then(|name| GATES.iter().find(|gate| gate.0 == name));
    match (gate, args.get(1).map(|count| count.parse()), args.len()) {
        (Some((_, run)), Some(Ok(count)), 2) => {
            run(count);
            ExitCode::SUCCESS
        }
        _ => {
            let names = GATES.map(|gate| gate.0).join("|");
            eprintln!("usage: penstock-gates {names} COUNT");
            ExitCode::from(64)
        }
    }
}

/// [`chat`] in chunks of 16 KB, prefix blocks hashed.
fn peek(count: u64) {
    let body = chat();
    let options = Options { seed: 7, ..Options::default() };
    for _ in 0..count {
        let mut peek = Peek::new(Some(b"application/json"), &options).expect("the type is known");
        for chunk in black_box(body.as_bytes()).chunks(16 << 10) {
            peek.feed(chunk).expect("the body is sound");
        }
        black_box(peek.finish().expect("the body is sound"));
    }
}

/// A chat request of 32 KB with a line break every 80 bytes.
fn chat() -> String {
    let mut body = String::from(r#"{"messages":[{"role":"user","content":""#);
    for line in 0..410 {
        write!(
            body,
            "The gateway reads line {line:4} of a request and then decides where it will go next.\\n"
        )
        .expect("a string takes everything");
    }
    body.push_str(r#""}],"model":"meta-llama/Llama-3.1-8B-Instruct","stream":true,"max_tokens":256}"#);
    body
}

/// A pick among ten endpoints for a prompt of 128 blocks that one of them has, and its settling.
fn pick(count: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime can be had");
    let _context = runtime.enter();
    let picker = Picker::new();
    let pool = pool(&picker, 10);
    let blocks: Vec<u64> =
        (0..128_u64).map(|block| (block + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect();
    let headers = HeaderMap::new();
    let request = PickRequest {
        model: "meta-llama/Llama-3.1-8B-Instruct",
        blocks: &blocks,
        prompt_bytes: 32 << 10,
        max_tokens: Some(256),
        priority: 0,
        consumer: "",
        headers: &headers,
        exclude: &[],
    };
    for _ in 0..count {
        let picked = pool.pick(black_box(&request)).expect("nothing is full");
        black_box(&picked.endpoint);
        picked.in_flight.finish(Outcome::Served);
    }
}

fn pool(picker: &Arc<Picker>, endpoints: u16) -> Arc<Pool> {
    let endpoint = |port: u16| EndpointSpec {
        address: ([10, 0, 0, 1], port + 1).into(),
        name: format!("default/pod-{port}").into(),
        engine: Engine::Vllm,
        metrics_address: ([10, 0, 0, 1], port + 1).into(),
        labels: BTreeMap::new(),
    };
    let spec = PoolSpec {
        endpoints: (0..endpoints).map(endpoint).collect(),
        metrics: MetricsSpec { enabled: false, ..MetricsSpec::default() },
        ..PoolSpec::new("pool")
    };
    picker.apply(&[Arc::new(spec)]).expect("the default profile is sound");
    let pool = picker.pool("pool").expect("it was just applied");
    for (load, endpoint) in pool.endpoints().iter().enumerate() {
        // All different, so that no tie is broken at random.
        let sample =
            LoadSample { running: load as u32, kv_usage: 0.02 * load as f64, ..LoadSample::default() };
        endpoint.store_sample(sample, endpoint.mark());
    }
    pool
}

/// vLLM's metrics page.
fn metrics(count: u64) {
    let text = VllmPage::default().render();
    let mut scanner = PageScanner::new(EngineSeries::of(Engine::Vllm));
    for _ in 0..count {
        for chunk in black_box(text.as_bytes()).chunks(16 << 10) {
            scanner.feed(chunk);
        }
        black_box(scanner.finish());
    }
}

/// A lookup among 2,000 rules that differ by model.
fn route(count: u64) {
    let mut text = "apiVersion: penstock.dev/v1alpha1\nkind: RoutingConfig\n\
                    listeners: [{name: http, address: '127.0.0.1:0'}]\npools: [{name: p}]\nroutes:\n"
        .to_owned();
    for number in 0..2000 {
        writeln!(
            text,
            "- {{name: r{number}, rules: [{{models: [model-{number}], targets: [{{pool: p}}]}}]}}"
        )
        .expect("a string takes everything");
    }
    let snapshot = Snapshot::compile(&text, &NoProfileCheck).unwrap_or_else(|faults| panic!("{faults}"));
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static("application/json"));
    let request = RouteRequest {
        host: "llm.example.com",
        path: "/v1/chat/completions",
        query: None,
        method: &Method::POST,
        headers: &headers,
        model: RequestModel::Named("model-1234"),
    };
    for _ in 0..count {
        assert!(matches!(snapshot.route(ListenerIndex(0), black_box(&request)), Lookup::Rule(_)));
    }
}

/// A streamed token as vLLM sends it.
fn tap(count: u64) {
    let token = "data: {\"id\":\"chatcmpl-7f1c9a521f8e4a559d5e0d4c1c7b1a11\",\"object\":\"chat.completion.chunk\",\
                 \"created\":1760000000,\"model\":\"meta-llama/Llama-3.1-8B-Instruct\",\"choices\":[{\"index\":0,\
                 \"delta\":{\"content\":\" the\"},\"logprobs\":null,\"finish_reason\":null}]}\n\n";
    let mut tap = Tap::new(Some(b"text/event-stream; charset=utf-8"), None);
    for _ in 0..count {
        tap.feed(black_box(token.as_bytes()));
    }
    black_box(tap.finish());
}

/// [`chat`], written as a request of Anthropic's API.
fn encode(count: u64) {
    let body = chat();
    for _ in 0..count {
        black_box(encoded(black_box(body.as_bytes())));
    }
}

/// A token that Anthropic's API streams, as a chunk of OpenAI's.
fn decode(count: u64) {
    let start = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"model\":\
                 \"claude-sonnet-4-5\",\"usage\":{\"input_tokens\":7}}}\n\nevent: content_block_start\ndata: \
                 {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n";
    let token = "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":\
                 {\"type\":\"text_delta\",\"text\":\" the\"}}\n\n";
    let mut translation = encoded(chat().as_bytes()).translation.expect("it is translated");
    let mut out = Vec::new();
    translation.body(start.as_bytes(), false, &mut out).expect("the stream is sound");
    for _ in 0..count {
        out.clear();
        translation.body(black_box(token.as_bytes()), false, &mut out).expect("the stream is sound");
        assert!(black_box(&out).ends_with(b"}\n\n"), "nothing came out");
    }
}

fn encoded(body: &[u8]) -> Encoded {
    let path = "/v1/chat/completions";
    let call = Call {
        api: Api::of_path(path),
        path,
        query: None,
        model: Some("claude-sonnet-4-5"),
        asked_model: Some("claude-sonnet-4-5"),
        headers: &HeaderMap::new(),
        body,
        now: 1_760_000_000,
        request_id: "7f1c9a521f8e4a559d5e0d4c1c7b1a11",
    };
    let provider = Provider::new(Schema::Anthropic, Place::default(), false);
    provider.encode(&call).expect("the request is sound")
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_gate_does_its_work() {
        super::GATES.iter().for_each(|(_, run)| run(1));
    }
}
