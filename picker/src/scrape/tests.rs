use std::{net::SocketAddr, sync::Arc, time::Duration};

use penstock_config::{NoProfileCheck, Snapshot};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::{Instant, timeout},
};

use super::*;
use crate::{Picker, Pool, pool::Picked, request::PickRequest};

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

/// A pool that is not scraped, and its endpoint.
fn unscraped() -> (Arc<Pool>, Arc<Endpoint>) {
    let pool = apply(&Picker::new(), SocketAddr::from(([127, 0, 0, 1], 9)), "{enabled: false}");
    let endpoint = Arc::clone(&pool.endpoints()[0]);
    (pool, endpoint)
}

fn send_request(pool: &Pool) -> Picked {
    let headers = http::HeaderMap::new();
    let request = PickRequest {
        model: "m",
        blocks: &[],
        prompt_bytes: 1,
        max_tokens: None,
        priority: 0,
        headers: &headers,
        exclude: &[],
    };
    pool.pick(&request).unwrap()
}

const PAUSE: Pause = Pause { length: Duration::from_secs(5), wakes_after: Some(Duration::from_millis(50)) };

#[tokio::test(start_paused = true)]
async fn a_pause_without_traffic_lasts_as_long_as_it_is() {
    let (_pool, endpoint) = unscraped();
    for pause in [PAUSE, Pause { wakes_after: None, ..PAUSE }] {
        let started = Instant::now();
        rest(&endpoint, pause).await;
        assert!((PAUSE.length..=PAUSE.length.mul_f64(1.11)).contains(&started.elapsed()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_ends_the_pause_of_an_idle_endpoint() {
    let (pool, endpoint) = unscraped();
    let started = Instant::now();
    let request = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        // However short it is.
        drop(send_request(&pool));
    };
    tokio::join!(rest(&endpoint, PAUSE), request);
    assert_eq!(started.elapsed().as_millis(), 1000);
}

#[tokio::test(start_paused = true)]
async fn a_request_right_after_a_scrape_does_not_cause_the_next_at_once() {
    let (pool, endpoint) = unscraped();
    let started = Instant::now();
    let _in_flight = send_request(&pool);
    rest(&endpoint, PAUSE).await;
    assert_eq!(started.elapsed().as_millis(), 50);
}

#[tokio::test(start_paused = true)]
async fn traffic_does_not_shorten_the_pause_after_a_failure() {
    let (pool, endpoint) = unscraped();
    let started = Instant::now();
    let _in_flight = send_request(&pool);
    rest(&endpoint, Pause { wakes_after: None, ..PAUSE }).await;
    assert!(started.elapsed() >= PAUSE.length);
}

#[tokio::test(start_paused = true)]
async fn a_wake_up_that_nobody_waited_for_costs_one_early_scrape_at_most() {
    let (pool, endpoint) = unscraped();
    endpoint.wake().begin_pause();
    drop(send_request(&pool));
    drop(send_request(&pool));
    let started = Instant::now();
    rest(&endpoint, PAUSE).await;
    assert_eq!(started.elapsed().as_millis(), 50);
    rest(&endpoint, PAUSE).await;
    assert!(started.elapsed() > PAUSE.length);
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
    assert_eq!(send_request(&pool).endpoint.address(), address);
}

#[test]
fn a_pool_with_tls_is_scraped_by_tls_on_its_own_port_only() {
    let (pool, endpoint) = {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _guard = runtime.enter();
        unscraped()
    };
    let tls =
        penstock_config::UpstreamTls { sni: None, ca: None, client_certificate: None, is_verified: true };
    let mut spec = ScrapeSpec {
        path: Arc::from("/metrics"),
        min_interval: Duration::ZERO,
        max_interval: Duration::ZERO,
        timeout: LONG,
        max_bytes: 1,
        tls: None,
    };
    assert!(spec.page(&endpoint).tls.is_none());
    spec.tls = Some(Arc::new(TlsClient::new(tls)));
    assert!(spec.page(&endpoint).tls.is_some());
    assert_eq!(spec, spec.clone());
    drop(pool);
}
