use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use http::{HeaderName, HeaderValue};
use penstock_config::Engine;
use tokio::time::Instant;

use super::{Pause, ScrapeSpec, Shown, Shows, TlsClient, sit_out};
use crate::{
    clock::Clock,
    endpoint::{Attributes, Endpoint, Shared},
};

/// An endpoint that nothing scrapes.
fn endpoint() -> Arc<Endpoint> {
    endpoint_with_page_at(SocketAddr::from(([127, 0, 0, 1], 9)))
}

/// An endpoint at port 9 whose metrics page is there.
fn endpoint_with_page_at(metrics_address: SocketAddr) -> Arc<Endpoint> {
    let address = SocketAddr::from(([127, 0, 0, 1], 9));
    let attributes = Attributes { metrics_address, engine: Engine::Vllm, labels: BTreeMap::new() };
    Endpoint::new(address, "default/pod".into(), attributes, 0, Arc::new(Shared::new(Clock::running())))
}

const PAUSE: Pause = Pause { length: Duration::from_secs(5), wakes_after: Some(Duration::from_millis(50)) };

#[tokio::test(start_paused = true)]
async fn a_pause_without_traffic_lasts_as_long_as_it_is() {
    let endpoint = endpoint();
    for pause in [PAUSE, Pause { wakes_after: None, ..PAUSE }] {
        let started = Instant::now();
        sit_out(&endpoint, pause).await;
        assert!((PAUSE.length..=PAUSE.length.mul_f64(1.11)).contains(&started.elapsed()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_ends_the_pause_of_an_idle_endpoint() {
    let endpoint = endpoint();
    let started = Instant::now();
    let request = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        // However short it is.
        drop(endpoint.enter(1, 1, false));
    };
    tokio::join!(sit_out(&endpoint, PAUSE), request);
    assert_eq!(started.elapsed().as_millis(), 1000);
}

#[tokio::test(start_paused = true)]
async fn a_request_right_after_a_scrape_does_not_cause_the_next_at_once() {
    let endpoint = endpoint();
    let started = Instant::now();
    let _in_flight = endpoint.enter(1, 1, false);
    sit_out(&endpoint, PAUSE).await;
    assert_eq!(started.elapsed().as_millis(), 50);
}

#[tokio::test(start_paused = true)]
async fn traffic_does_not_shorten_the_pause_after_a_failure() {
    let endpoint = endpoint();
    let started = Instant::now();
    let _in_flight = endpoint.enter(1, 1, false);
    sit_out(&endpoint, Pause { wakes_after: None, ..PAUSE }).await;
    assert!(started.elapsed() >= PAUSE.length);
}

#[tokio::test(start_paused = true)]
async fn a_wake_up_that_nobody_waited_for_costs_one_early_scrape_at_most() {
    let endpoint = endpoint();
    endpoint.wake().begin_pause();
    drop(endpoint.enter(1, 1, false));
    drop(endpoint.enter(1, 1, false));
    let started = Instant::now();
    sit_out(&endpoint, PAUSE).await;
    assert_eq!(started.elapsed().as_millis(), 50);
    sit_out(&endpoint, PAUSE).await;
    assert!(started.elapsed() > PAUSE.length);
}

struct Key;

impl Shows for Key {
    fn header(&self) -> Option<(HeaderName, HeaderValue)> {
        Some((http::header::AUTHORIZATION, HeaderValue::from_static("Bearer key")))
    }
}

#[tokio::test]
async fn a_pool_with_tls_is_scraped_by_tls_on_its_own_port_only() {
    let endpoint = endpoint();
    let tls =
        penstock_config::UpstreamTls { sni: None, ca: None, client_certificate: None, is_verified: true };
    let mut spec = ScrapeSpec {
        path: Arc::from("/metrics"),
        min_interval: Duration::ZERO,
        max_interval: Duration::ZERO,
        timeout: Duration::ZERO,
        max_bytes: 1,
        tls: None,
        shown: None,
    };
    assert!(spec.page(&endpoint).tls.is_none());
    spec.tls = Some(Arc::new(TlsClient::new(tls)));
    assert!(spec.page(&endpoint).tls.is_some());
    assert_eq!(spec, spec.clone());
    // A key goes where requests go, and to no other program.
    spec.shown = Some(Shown(Arc::new(Key)));
    assert!(spec.page(&endpoint).shown.is_some());
    assert_eq!(spec, spec.clone());
    let exporter = endpoint_with_page_at(SocketAddr::from(([127, 0, 0, 1], 10)));
    assert!(spec.page(&exporter).shown.is_none() && spec.page(&exporter).tls.is_none());
}
