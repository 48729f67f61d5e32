//! Pools that scrape real servers.

#![expect(clippy::unwrap_used, reason = "a test that panics is a test that fails")]

use std::{net::SocketAddr, sync::Arc, time::Duration};

use http::HeaderMap;
use penstock_config::{NoProfileCheck, Snapshot};
use penstock_picker::{ErrorKind, PickError, PickRequest, Picked, Picker, Pool};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::timeout,
};

/// Longer than anything here takes; only a test that fails waits for it.
const LONG: Duration = Duration::from_secs(60);

/// A pool with one endpoint at this address, and these `metrics` of its document.
fn apply(picker: &Arc<Picker>, address: SocketAddr, metrics: &str) -> Arc<Pool> {
    let document = format!(
        "{{apiVersion: penstock.dev/v1alpha1, kind: RoutingConfig,
           listeners: [{{name: http, address: '127.0.0.1:0'}}],
           routes: [{{name: all, rules: [{{targets: [{{pool: pool}}]}}]}}],
           pools: [{{name: pool, endpoints: [{{address: '{address}'}}], metrics: {metrics}}}]}}"
    );
    let snapshot = Snapshot::compile(&document, &NoProfileCheck).unwrap();
    picker.apply(&snapshot.pools).unwrap();
    picker.pool("pool").unwrap()
}

fn pick(pool: &Pool) -> Result<Picked, PickError> {
    let headers = HeaderMap::new();
    pool.pick(&PickRequest {
        model: "m",
        blocks: &[],
        prompt_bytes: 1,
        max_tokens: None,
        priority: 0,
        consumer: "",
        headers: &headers,
        exclude: &[],
    })
}

/// What a server notices.
#[derive(Debug, PartialEq)]
enum Seen {
    Request,
    ConnectionClosed,
}

/// Accepts connections, and tells what happens on any of them; answers with the page, or not at all.
async fn serve(page: Option<&'static str>) -> (SocketAddr, mpsc::Receiver<Seen>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (seen, requests) = mpsc::channel(100);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, page, seen.clone()));
        }
    });
    (address, requests)
}

async fn answer(mut stream: TcpStream, page: Option<&'static str>, seen: mpsc::Sender<Seen>) {
    let mut head = [0; 1024];
    while stream.read(&mut head).await.is_ok_and(|length| length > 0) {
        if let Some(page) = page {
            let response = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{page}", page.len());
            stream.write_all(response.as_bytes()).await.unwrap();
        }
        if seen.send(Seen::Request).await.is_err() {
            return;
        }
    }
    let _ = seen.send(Seen::ConnectionClosed).await;
}

async fn next(requests: &mut mpsc::Receiver<Seen>) -> Seen {
    timeout(LONG, requests.recv()).await.expect("something happens").expect("the server runs")
}

/// Waits for so many requests.
async fn expect(requests: &mut mpsc::Receiver<Seen>, count: usize) {
    for _ in 0..count {
        while next(requests).await != Seen::Request {}
    }
}

const FAST: &str = "{minInterval: 10ms, maxInterval: 10ms, timeout: 50ms}";

#[tokio::test]
async fn a_scraped_page_becomes_the_load_of_the_endpoint() {
    let page = "vllm:num_requests_waiting 2\nvllm:num_requests_running 5\nvllm:kv_cache_usage_perc 0.5\n\
                vllm:num_requests_running{broken\n\
                vllm:lora_requests_info{max_lora=\"4\",running_lora_adapters=\"legal\"} 1.0\n";
    let (address, mut requests) = serve(Some(page)).await;
    let picker = Picker::new();
    let pool = apply(&picker, address, FAST);
    // When the second is asked for, the first was taken in.
    expect(&mut requests, 2).await;
    let report = pool.report();
    let scraped = report.endpoints[0].scraped.as_ref().unwrap();
    assert_eq!((scraped.waiting, scraped.running, scraped.kv_usage), (2, 5, 0.5));
    assert_eq!(scraped.active_adapters, [Box::from("legal")]);
    let counters = pool.scrape_counters();
    assert!(counters.successes() >= 1 && counters.malformed_lines() >= 1);
    assert!(counters.bytes() >= page.len() as u64 && counters.duration() > Duration::ZERO);

    // An endpoint that left is scraped no more.
    picker.apply(&[]).unwrap();
    while next(&mut requests).await != Seen::ConnectionClosed {}
}

/// It was refused: eight waiting requests were held against the threshold of one engine.
#[tokio::test]
async fn a_page_of_eight_engines_with_one_request_waiting_at_each_refuses_nobody() {
    let samples =
        [("num_requests_waiting", "1"), ("num_requests_running", "4"), ("kv_cache_usage_perc", "0.85")];
    let lines = samples.iter().flat_map(|(name, value)| {
        (0..8).map(move |engine| format!("vllm:{name}{{engine=\"{engine}\",model_name=\"m\"}} {value}\n"))
    });
    let page: &'static str = lines.collect::<String>().leak();
    let (address, mut requests) = serve(Some(page)).await;
    let pool = apply(&Picker::new(), address, FAST);
    expect(&mut requests, 2).await;
    let report = pool.report();
    let scraped = report.endpoints[0].scraped.as_ref().unwrap();
    assert_eq!((scraped.engines, scraped.waiting, scraped.running), (8, 8, 32));
    assert_eq!(pick(&pool).unwrap().endpoint.address(), address);
}

#[tokio::test]
async fn a_server_that_hangs_is_given_up_and_asked_again() {
    let (address, mut requests) = serve(None).await;
    let pool = apply(&Picker::new(), address, FAST);
    expect(&mut requests, 3).await;
    let timeouts = pool.scrape_counters().errors().find(|(kind, _)| *kind == ErrorKind::Timeout).unwrap().1;
    assert!(timeouts >= 2, "{timeouts}");
    let report = pool.report();
    assert!(report.endpoints[0].scraped.is_none());
    assert_eq!(report.endpoints[0].last_error.as_deref(), Some("no page within 50ms"));
}

#[tokio::test]
async fn a_pool_without_metrics_is_still_balanced() {
    let (address, mut requests) = serve(Some("<html>welcome</html>")).await;
    let pool = apply(&Picker::new(), address, FAST);
    expect(&mut requests, 2).await;
    assert!(pool.report().endpoints[0].scraped.is_none());
    assert_eq!(pick(&pool).unwrap().endpoint.address(), address);
}
