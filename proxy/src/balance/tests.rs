use std::{
    collections::{HashMap, HashSet},
    io,
    num::NonZeroU32,
};

use async_trait::async_trait;
use parking_lot::Mutex;
use penstock_config::{
    BackendEndpoint, BackendHost, Balancing, CertificateFiles, EjectionSpec, HealthCheckSpec, ListenerTls,
    UpstreamTls,
};
use penstock_picker::Outcome;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::*;
use crate::tls::DownstreamTls;

/// Answers from a table that a test changes.
#[derive(Default)]
struct FakeDns {
    answers: Mutex<HashMap<String, Vec<SocketAddr>>>,
    asked: watch::Sender<u64>,
}

impl FakeDns {
    fn set(&self, name: &str, addresses: &[&str]) {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        self.answers.lock().insert(name.to_owned(), addresses);
    }

    fn fail(&self, name: &str) {
        self.answers.lock().remove(name);
    }

    /// Waits for the results of two look-ups that begin from now on.
    async fn looked_up_again(&self) {
        let mut asked = self.asked.subscribe();
        let before = *asked.borrow_and_update();
        // The third look-up begins after the result of the second was taken in.
        asked.wait_for(|&count| count >= before + 3).await.unwrap();
    }
}

#[async_trait]
impl Resolve for FakeDns {
    async fn resolve(&self, name: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
        self.asked.send_modify(|count| *count += 1);
        let known = self.answers.lock().get(name).cloned();
        known.ok_or_else(|| io::Error::other("no such name"))
    }
}

fn endpoint(host: &str, port: u16, weight: u32) -> BackendEndpoint {
    let host = match host.parse() {
        Ok(ip) => BackendHost::Ip(ip),
        Err(_) => BackendHost::Dns(host.into()),
    };
    BackendEndpoint { host, port, weight: NonZeroU32::new(weight).unwrap() }
}

fn spec(endpoints: Vec<BackendEndpoint>) -> BackendSpec {
    BackendSpec { endpoints, ..BackendSpec::new("b") }
}

fn apply(balancers: &Balancers, spec: BackendSpec) -> Arc<Balancer> {
    balancers.apply(&[Arc::new(spec)], |_| (None, None)).remove(0)
}

fn besides(exclude: &[SocketAddr]) -> Wanted<'_> {
    Wanted { exclude, ..Wanted::default() }
}

fn three() -> BackendSpec {
    spec(vec![endpoint("10.0.0.1", 80, 1), endpoint("10.0.0.2", 80, 1), endpoint("::1", 8000, 1)])
}

fn pick_many(balancer: &Balancer, count: usize) -> HashMap<SocketAddr, usize> {
    let mut picks = HashMap::new();
    for _ in 0..count {
        let chosen = balancer.pick(besides(&[])).unwrap();
        *picks.entry(chosen.address()).or_default() += 1;
        chosen.finish(Outcome::Served);
    }
    picks
}

fn addresses(balancer: &Balancer) -> Vec<String> {
    balancer.report().endpoints.iter().map(|endpoint| endpoint.address.to_string()).collect()
}

#[tokio::test]
async fn requests_go_round_and_by_weight() {
    for balancing in [Balancing::RoundRobin, Balancing::Random] {
        let balancers = Balancers::new();
        let endpoints = vec![endpoint("10.0.0.1", 80, 10), endpoint("10.0.0.2", 80, 30)];
        let balancer = apply(&balancers, BackendSpec { balancing, ..spec(endpoints) });
        let picks = pick_many(&balancer, 4000);
        let heavy = picks[&"10.0.0.2:80".parse().unwrap()];
        assert!((2800..=3200).contains(&heavy), "{balancing:?}: {picks:?}");
    }
}

#[tokio::test]
async fn what_failed_this_request_is_not_chosen_again() {
    let balancers = Balancers::new();
    let balancer = apply(&balancers, three());
    let mut tried = Vec::new();
    for _ in 0..3 {
        let chosen = balancer.pick(besides(&tried)).unwrap();
        assert!(!tried.contains(&chosen.address()));
        tried.push(chosen.address());
    }
    assert_eq!(balancer.pick(besides(&tried)).unwrap_err(), BalanceError::AllExcluded);
}

#[tokio::test]
async fn a_chosen_endpoint_has_its_name_for_host_and_tls() {
    let balancers = Balancers::new();
    let balancer = apply(&balancers, three());
    let names: HashSet<_> = (0..3)
        .map(|_| {
            let chosen = balancer.pick(besides(&[])).unwrap();
            (chosen.name().host.to_string(), chosen.name().authority.to_string())
        })
        .collect();
    let expected = [("10.0.0.1", "10.0.0.1"), ("10.0.0.2", "10.0.0.2"), ("::1", "[::1]:8000")];
    assert_eq!(names, expected.map(|(host, authority)| (host.to_owned(), authority.to_owned())).into());
}

#[tokio::test]
async fn requests_in_flight_are_counted_until_they_end_or_are_dropped() {
    let balancers = Balancers::new();
    let balancer = apply(&balancers, spec(vec![endpoint("10.0.0.1", 80, 1)]));
    let (first, second) = (balancer.pick(besides(&[])).unwrap(), balancer.pick(besides(&[])).unwrap());
    assert_eq!(balancer.report().endpoints[0].in_flight, 2);
    first.finish(Outcome::Failed);
    drop(second);
    let report = &balancer.report().endpoints[0];
    assert_eq!((report.in_flight, report.requests, report.failures), (0, 2, 1));
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_keeps_failing_is_left_out_and_tried_again() {
    let balancers = Balancers::new();
    let balancer = apply(&balancers, three());
    let bad: SocketAddr = "10.0.0.1:80".parse().unwrap();
    let others: Vec<SocketAddr> = ["10.0.0.2:80", "[::1]:8000"].map(|other| other.parse().unwrap()).into();
    for _ in 0..EjectionSpec::default().consecutive_failures {
        balancer.pick(besides(&others)).unwrap().finish(Outcome::Failed);
    }
    assert!(!pick_many(&balancer, 30).contains_key(&bad));
    assert_eq!(balancer.pick(besides(&others)).unwrap_err(), BalanceError::NoneAvailable);

    // One of three was out; a second one would be two thirds.
    for _ in 0..20 {
        balancer.pick(besides(&[bad, others[1]])).unwrap().finish(Outcome::Failed);
    }
    assert!(balancer.pick(besides(&[bad, others[1]])).is_ok(), "not more than half may be ejected");

    tokio::time::advance(EjectionSpec::default().base_time).await;
    let trial = balancer.pick(besides(&others)).unwrap();
    assert_eq!(balancer.pick(besides(&others)).unwrap_err(), BalanceError::NoneAvailable, "one at a time");
    trial.finish(Outcome::Served);
    assert_eq!(pick_many(&balancer, 30).len(), 3);
}

#[tokio::test(start_paused = true)]
async fn names_are_resolved_again_and_their_last_good_addresses_stay() {
    let dns = Arc::new(FakeDns::default());
    let balancers = Balancers::with_resolver(dns.clone());
    let balancer = apply(&balancers, spec(vec![endpoint("a.test", 443, 1)]));
    assert_eq!(balancer.pick(besides(&[])).unwrap_err(), BalanceError::Unresolved);
    balancers.settled(Duration::from_secs(1)).await;
    let report = balancer.report();
    assert_eq!(report.lookup_error.as_deref(), Some("a.test: no such name"));

    dns.set("a.test", &["10.0.0.2:443", "10.0.0.1:443"]);
    dns.looked_up_again().await;
    assert_eq!(addresses(&balancer), ["10.0.0.1:443", "10.0.0.2:443"]);
    let chosen = balancer.pick(besides(&[])).unwrap();
    assert_eq!((&*chosen.name().host, &*chosen.name().authority), ("a.test", "a.test:443"));

    dns.fail("a.test");
    dns.looked_up_again().await;
    assert_eq!(addresses(&balancer).len(), 2, "the last good answer stays");
    assert!(balancer.report().lookup_error.is_some());

    dns.set("a.test", &["[fd00::1]:443"]);
    dns.looked_up_again().await;
    assert_eq!(addresses(&balancer), ["[fd00::1]:443"]);
    assert_eq!(balancer.report().lookup_error, None);
}

#[tokio::test(start_paused = true)]
async fn a_first_request_waits_for_the_first_look_up() {
    let dns = Arc::new(FakeDns::default());
    dns.set("a.test", &["10.0.0.1:80"]);
    let balancers = Balancers::with_resolver(dns);
    let balancer = apply(&balancers, spec(vec![endpoint("a.test", 80, 1)]));
    assert!(balancer.pick_when_resolved(besides(&[]), Duration::from_secs(1)).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn what_is_known_survives_a_change_of_configuration() {
    let dns = Arc::new(FakeDns::default());
    dns.set("a.test", &["10.0.0.1:80"]);
    let balancers = Balancers::with_resolver(dns.clone());
    let before = apply(&balancers, spec(vec![endpoint("a.test", 80, 1)]));
    balancers.settled(Duration::from_secs(1)).await;
    let chosen = before.pick(besides(&[])).unwrap();
    let unchanged = apply(&balancers, (*before.spec()).clone());
    assert!(Arc::ptr_eq(&before, &unchanged), "an unchanged backend is left alone");

    dns.fail("a.test");
    let endpoints = vec![endpoint("a.test", 80, 1), endpoint("10.0.0.9", 80, 1)];
    let after = apply(&balancers, spec(endpoints));
    assert_eq!(addresses(&after), ["10.0.0.1:80", "10.0.0.9:80"]);
    assert_eq!(after.report().endpoints[0].in_flight, 1);
    chosen.finish(Outcome::Failed);
    let report = &after.report().endpoints[0];
    assert_eq!((report.in_flight, report.failures), (0, 1), "an old request settles with the new state");

    balancers.apply(&[], |_| (None, None));
    assert!(balancers.get("b").is_none());
    assert!(after.pick(besides(&[])).is_ok(), "a request that holds its snapshot goes on");
}

/// An HTTP server whose health can be switched.
struct Server {
    address: SocketAddr,
    status: watch::Sender<u16>,
    checks: watch::Sender<Vec<String>>,
    _task: AbortOnDropHandle<()>,
}

impl Server {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (status, checks) = (watch::Sender::new(204), watch::Sender::new(Vec::new()));
        let task = tokio::spawn({
            let (status, checks) = (status.clone(), checks.clone());
            async move {
                while let Ok((mut stream, _)) = listener.accept().await {
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        head.push(stream.read_u8().await.unwrap());
                    }
                    let status = *status.borrow();
                    let answer = format!("HTTP/1.1 {status} x\r\ncontent-length: 0\r\n\r\n");
                    stream.write_all(answer.as_bytes()).await.unwrap();
                    checks.send_modify(|checks| checks.push(String::from_utf8(head).unwrap()));
                }
            }
        });
        Self { address, status, checks, _task: AbortOnDropHandle::new(task) }
    }

    fn endpoint(&self) -> BackendEndpoint {
        endpoint(&self.address.ip().to_string(), self.address.port(), 1)
    }
}

fn checked(endpoints: Vec<BackendEndpoint>) -> BackendSpec {
    let health_check = HealthCheckSpec {
        path: "/healthz".into(),
        // The tests call for each check themselves.
        interval: Duration::from_secs(3600),
        timeout: Duration::from_secs(30),
        unhealthy_threshold: 2,
        healthy_threshold: 2,
        ..HealthCheckSpec::default()
    };
    BackendSpec { health_check: Some(health_check), ..spec(endpoints) }
}

async fn check(balancer: &Balancer) {
    balancer.running.load_full().shared.selection.check_health().await;
}

#[tokio::test]
async fn an_unhealthy_endpoint_is_left_out_by_its_thresholds() {
    let (good, bad) = (Server::start().await, Server::start().await);
    let balancers = Balancers::new();
    let balancer = apply(&balancers, checked(vec![good.endpoint(), bad.endpoint()]));
    // The check that the balancer makes at its start.
    bad.checks.subscribe().wait_for(|checks| !checks.is_empty()).await.unwrap();
    check(&balancer).await;
    assert_eq!(pick_many(&balancer, 10).len(), 2);
    let asked = bad.checks.borrow()[0].to_ascii_lowercase();
    assert!(asked.starts_with("get /healthz http/1.1\r\n"), "{asked}");
    assert!(asked.contains(&format!("host: {}\r\n", bad.address)), "{asked}");

    bad.status.send_replace(503);
    check(&balancer).await;
    assert_eq!(pick_many(&balancer, 10).len(), 2, "once is not enough");
    check(&balancer).await;
    assert_eq!(pick_many(&balancer, 10), HashMap::from([(good.address, 10)]));
    let report = balancer.report();
    let bad_report = report.endpoints.iter().find(|endpoint| endpoint.address == bad.address).unwrap();
    assert!(!bad_report.is_healthy);
    assert!(bad_report.check_error.as_deref().unwrap().starts_with("answered 503"), "{bad_report:?}");
    assert_eq!(balancer.pick(besides(&[good.address])).unwrap_err(), BalanceError::NoneAvailable);

    bad.status.send_replace(200);
    check(&balancer).await;
    check(&balancer).await;
    assert_eq!(pick_many(&balancer, 10).len(), 2);
}

#[tokio::test]
async fn health_survives_a_change_that_leaves_the_checks_alone() {
    let (good, bad) = (Server::start().await, Server::start().await);
    let balancers = Balancers::new();
    let before = checked(vec![good.endpoint(), bad.endpoint()]);
    let balancer = apply(&balancers, before.clone());
    bad.status.send_replace(500);
    check(&balancer).await;
    check(&balancer).await;
    check(&balancer).await;
    assert_eq!(pick_many(&balancer, 10).len(), 1);

    let mut reweighted = before;
    reweighted.endpoints[1].weight = NonZeroU32::new(7).unwrap();
    let balancer = apply(&balancers, reweighted);
    assert_eq!(pick_many(&balancer, 10), HashMap::from([(good.address, 10)]));

    bad.status.send_replace(200);
    check(&balancer).await;
    check(&balancer).await;
    assert_eq!(pick_many(&balancer, 8).len(), 2, "the new members are checked");
}

#[tokio::test]
async fn an_endpoint_that_refuses_connections_is_unhealthy() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let balancers = Balancers::new();
    let balancer = apply(&balancers, checked(vec![endpoint("127.0.0.1", address.port(), 1)]));
    check(&balancer).await;
    check(&balancer).await;
    assert_eq!(balancer.pick(besides(&[])).unwrap_err(), BalanceError::NoneAvailable);
    assert!(balancer.report().endpoints[0].check_error.is_some());
}

#[tokio::test]
async fn a_check_over_tls_asks_for_the_right_name() {
    let dir = tempfile::tempdir().unwrap();
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(vec!["a.test".to_owned()]).unwrap();
    let (certificate, private_key) = (dir.path().join("tls.crt"), dir.path().join("tls.key"));
    std::fs::write(&certificate, cert.pem()).unwrap();
    std::fs::write(&private_key, signing_key.serialize_pem()).unwrap();
    let files = CertificateFiles { certificate: certificate.clone(), private_key };
    let server_tls = DownstreamTls::load(ListenerTls::serving(vec![files])).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let _server = AbortOnDropHandle::new(tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let limit = Duration::from_secs(30);
            let Ok(mut stream) = server_tls.accept(stream.into(), limit).await else { continue };
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
            stream.flush().await.unwrap();
        }
    }));

    let dns = Arc::new(FakeDns::default());
    for (name, is_healthy) in [("a.test", true), ("b.test", false)] {
        dns.set(name, &[&address.to_string()]);
        let tls = UpstreamTls {
            sni: None,
            ca: Some(certificate.clone()),
            client_certificate: None,
            is_verified: true,
        };
        let context = Arc::new(UpstreamContext::load(tls.clone()).unwrap());
        let endpoints = vec![endpoint(name, address.port(), 1)];
        let spec = Arc::new(BackendSpec { tls: Some(tls), ..checked(endpoints) });
        let balancers = Balancers::with_resolver(dns.clone());
        let balancer = balancers.apply(&[spec], |_| (Some(context.clone()), None)).remove(0);
        balancers.settled(Duration::from_secs(30)).await;
        check(&balancer).await;
        check(&balancer).await;
        let report = balancer.report();
        assert_eq!(report.endpoints[0].is_healthy, is_healthy, "{report:?}");
    }
}

#[tokio::test]
async fn of_two_that_are_drawn_the_one_with_fewer_requests_is_chosen() {
    let balancers = Balancers::new();
    let endpoints = vec![endpoint("10.0.0.1", 80, 1), endpoint("10.0.0.2", 80, 1)];
    let balancer = apply(&balancers, BackendSpec { balancing: Balancing::LeastRequest, ..spec(endpoints) });
    let free: SocketAddr = "10.0.0.2:80".parse().unwrap();
    let busy: Vec<Chosen> = (0..50).map(|_| balancer.pick(besides(&[free])).unwrap()).collect();
    // Both draws are the busy one a quarter of the time.
    let picks = pick_many(&balancer, 1000);
    assert!((650..=850).contains(&picks[&free]), "{picks:?}");
    drop(busy);
    assert_eq!(balancer.pick(besides(&[free])).unwrap().address(), "10.0.0.1:80".parse().unwrap());
}

#[tokio::test]
async fn all_are_used_while_too_few_are_well() {
    let balancers = Balancers::new();
    let off = BackendSpec { ejection: one_failure(), ..three() };
    let balancer = apply(&balancers, BackendSpec { panic_percent: 50, ..off.clone() });
    let eject_one = |balancer: &Balancer| balancer.pick(besides(&[])).unwrap().finish(Outcome::Failed);
    eject_one(&balancer);
    assert_eq!(pick_many(&balancer, 30).len(), 2, "two of three are well");
    eject_one(&balancer);
    assert_eq!(pick_many(&balancer, 30).len(), 3, "one of three is");

    let calm = apply(&Balancers::new(), off);
    eject_one(&calm);
    eject_one(&calm);
    assert_eq!(pick_many(&calm, 30).len(), 1);
}

/// One failure is enough, and all may be out.
fn one_failure() -> EjectionSpec {
    EjectionSpec { consecutive_failures: 1, max_ejected_percent: 100, ..EjectionSpec::default() }
}
