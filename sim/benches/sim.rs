//! What the simulator costs as an upstream, over one kept-alive loopback connection.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use penstock_sim::{Sim, options::Options};
use serde_json::json;

fn benchmarks(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let options = Options { record_requests: 0, max_model_len: 1 << 20, ..Options::default() };
    let sim = runtime.block_on(Sim::start(options)).expect("a free port");
    let mut client = runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(sim.addr()).await.expect("the simulator listens");
        let (client, connection) = http1::handshake(TokioIo::new(stream)).await.expect("HTTP/1.1");
        tokio::spawn(connection);
        client
    });
    for (name, bytes) in [("chat, 1.2 KB", 1_000), ("chat, 32 KB", 32_000)] {
        let message = json!({"role": "user", "content": "word ".repeat(bytes / 5)});
        let body = json!({"messages": [message], "max_tokens": 16, "ignore_eos": true}).to_string();
        criterion.bench_function(name, |bencher| {
            bencher.iter(|| runtime.block_on(exchange(&mut client, "POST", "/v1/chat/completions", &body)));
        });
    }
    criterion.bench_function("metrics page", |bencher| {
        bencher.iter(|| runtime.block_on(exchange(&mut client, "GET", "/metrics", "")));
    });
}

async fn exchange(client: &mut SendRequest<Full<Bytes>>, method: &str, path: &str, body: &str) {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "sim")
        .body(Full::new(Bytes::copy_from_slice(body.as_bytes())))
        .expect("a valid request");
    client.ready().await.expect("a connection");
    let response = client.send_request(request).await.expect("an answer");
    assert_eq!(response.status(), 200);
    black_box(response.into_body().collect().await.expect("a body"));
}

criterion_group!(sim, benchmarks);
criterion_main!(sim);
