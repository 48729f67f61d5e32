//! What a new configuration changes, and what it must not.

use std::sync::Arc;
use std::time::Duration;

use penstock_picker::EpcCheck;
use penstock_sim::Handle;
use penstock_sim::faults::{Action, Fault};
use penstock_sources::{Applier, file::FileSource};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::harness::{
    Client, Gateway, Load, MODEL, Protocol, RawServer, Reply, backend, chat, eventually, get, pool,
    post_json, sim, sims, spawn, until, with, within,
};

/// A document whose answers tell which one served them.
fn versioned(version: usize, servers: &[&Handle]) -> Value {
    let mut addresses: Vec<_> = servers.iter().map(|server| server.addr()).collect();
    addresses.rotate_left(version % servers.len());
    json!({
        "metadata": {"generation": version},
        "routes": [{"name": "r", "rules": [{
            "models": [MODEL],
            "targets": [{"pool": "p"}],
            "responseHeaders": {"set": [{"name": "x-version", "value": version.to_string()}]},
        }]}],
        "pools": [pool("p", &addresses)],
    })
}

fn asked() -> http::Request<crate::harness::Body> {
    post_json("/v1/chat/completions", &chat(MODEL, false))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_reloads_under_load_fail_no_request() {
    let [a, b, c] = sims().await;
    let gateway = Gateway::start(versioned(0, &[&a, &b])).await;
    let load = Load::start(gateway.addr(), 64, |_| asked());
    load.more(200).await;
    for version in 1..=100 {
        // Endpoints change their order, and one comes and goes.
        let servers: &[&Handle] = if version % 2 == 0 { &[&a, &b] } else { &[&a, &b, &c] };
        gateway.reload(versioned(version, servers)).unwrap();
        load.more(5).await;
    }
    let mut client = gateway.client(Protocol::H1).await;
    assert_eq!(client.send(asked()).await.header("x-version"), "100");
    let (answered, failures) = load.stop().await;
    assert_eq!(failures, [""; 0], "{answered} were answered");
    assert!(c.stats().completed > 0, "the endpoint that came and went served nothing");
    drop(client);
    gateway.stop().await;
}

/// A request is served to its end by the configuration that it began with.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_in_flight_keeps_its_configuration() {
    let server = sim(MODEL).await;
    let gateway = Gateway::start(versioned(1, &[&server])).await;
    server.faults().push(Fault::delay(Duration::from_millis(300)).times(1));
    let mut client = gateway.client(Protocol::H1).await;
    let running = client.start(asked());
    until(&server, |stats| stats.in_flight == 1).await;
    gateway.reload(versioned(2, &[&server])).unwrap();
    let response = running.join().await.unwrap();
    assert_eq!(response.headers()["x-version"], "1");
    drop(response);
    // The connection lives on, and its next request is served by the new one.
    assert_eq!(client.send(asked()).await.header("x-version"), "2");
    drop(client);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_turns_bad_leaves_the_running_configuration_in_force() {
    let server = sim(MODEL).await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("penstock.yaml");
    let text = |version| {
        with(
            versioned(version, &[&server]),
            json!({
                "apiVersion": "penstock.dev/v1alpha1", "kind": "RoutingConfig",
                "listeners": [{"name": "http", "address": "127.0.0.1:0"}],
            }),
        )
        .to_string()
    };
    let replace = |text: String| {
        let fresh = directory.path().join("fresh");
        std::fs::write(&fresh, text).unwrap();
        std::fs::rename(&fresh, &path).unwrap();
    };
    replace(text(1));
    let source = FileSource::new(&path, Arc::new(EpcCheck));
    let gateway = Gateway::start(versioned(1, &[&server])).await;
    let status = source.status().clone();
    let applier: Arc<dyn Applier> = gateway.server().clone();
    let stop = CancellationToken::new();
    let watching = spawn({
        let stop = stop.clone();
        async move { source.watch(applier, stop).await.unwrap() }
    });
    let mut client = gateway.client(Protocol::H1).await;

    replace(text(2));
    until_version(&mut client, "2").await;
    for bad in [
        "this is: [no document".to_owned(),
        text(3).replace("\"pool\":\"p\"", "\"pool\":\"gone\""),
        text(3).replace("127.0.0.1:0", "192.0.2.1:0"),
    ] {
        replace(bad);
        eventually("the refusal", || status.get().last_failure.clone()).await;
        assert_eq!(client.send(asked()).await.header("x-version"), "2");
        replace(text(2));
        eventually("the good one again", || status.get().last_failure.is_none().then_some(())).await;
    }
    replace(text(4));
    until_version(&mut client, "4").await;
    stop.cancel();
    watching.join().await;
    drop(client);
    gateway.stop().await;
}

async fn until_version(client: &mut Client, version: &str) {
    within("the new configuration", async {
        while client.send(asked()).await.header("x-version") != version {}
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_is_taken_refuses_the_whole_document() {
    let server = sim(MODEL).await;
    let gateway = Gateway::start(versioned(1, &[&server])).await;
    let taken = server.addr().to_string();
    let listeners = json!({"listeners": [
        {"name": "http", "address": "127.0.0.1:0"}, {"name": "other", "address": taken},
    ]});
    let faults = gateway.reload(with(versioned(2, &[&server]), listeners)).unwrap_err();
    assert_eq!(faults[0].path, "listeners[1].address");
    let mut client = gateway.client(Protocol::H1).await;
    assert_eq!(client.send(asked()).await.header("x-version"), "1");
    drop(client);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_known_of_an_endpoint_survives() {
    let [bad, good] = sims().await;
    bad.faults().push(Fault::new(Action::Reset));
    let ejection = json!({"ejection": {"consecutiveFailures": 1, "baseTime": "1h", "maxTime": "1h"}});
    let document = |version: usize| {
        json!({
            "routes": [{"name": "r", "rules": [
                {"matches": [{"path": {"value": "/v1"}}], "targets": [{"pool": "u"}],
                 "responseHeaders": {"set": [{"name": "x-version", "value": version.to_string()}]}},
                {"matches": [{"path": {"value": "/sim"}}], "targets": [{"backend": "u"}]},
            ]}],
            "pools": [with(pool("u", &[bad.addr(), good.addr()]), ejection.clone())],
            "backends": [with(backend("u", &[bad.addr(), good.addr()]), ejection.clone())],
        })
    };
    let gateway = Gateway::start(document(1)).await;
    let is_out = || {
        let pool =
            gateway.server().picker().pool("u").unwrap().report().endpoints[0].ejected_for_ms.is_some();
        let backend = gateway.server().balancers().get("u").unwrap().report();
        let backend =
            backend.endpoints.iter().any(|one| one.address == bad.addr() && one.ejected_for_ms.is_some());
        (pool, backend)
    };
    let mut client = gateway.client(Protocol::H1).await;
    within("both ejections", async {
        while is_out() != (true, true) {
            assert_eq!(client.send(asked()).await.status, 200);
            assert_eq!(client.send(get("/sim/sink")).await.status, 200);
        }
    })
    .await;
    let before = bad.stats().requests;
    for version in 2..5 {
        gateway.reload(document(version)).unwrap();
        assert_eq!(is_out(), (true, true), "forgotten at version {version}");
        for _ in 0..10 {
            assert_eq!(client.send(asked()).await.status, 200);
            assert_eq!(client.send(get("/sim/sink")).await.status, 200);
        }
    }
    assert_eq!(bad.stats().requests, before);
    // What has gone is forgotten: an endpoint that comes back starts anew.
    gateway.reload(json!({"routes": []})).unwrap();
    gateway.reload(document(5)).unwrap();
    assert_eq!(is_out(), (false, false));
    drop(client);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listeners_come_and_go() {
    let server = sim(MODEL).await;
    let document = |listeners: &[&str]| {
        let listeners: Vec<Value> =
            listeners.iter().map(|name| json!({"name": name, "address": "127.0.0.1:0"})).collect();
        with(versioned(1, &[&server]), json!({"listeners": listeners}))
    };
    let gateway = Gateway::start(document(&["one"])).await;
    let one = gateway.addr_of("one");
    gateway.reload(document(&["one", "two"])).unwrap();
    assert_eq!(gateway.addr_of("one"), one, "a listener that stays was moved");
    let two = gateway.addr_of("two");
    let mut busy = Client::connect(two, Protocol::H1).await;
    let mut idle = Client::connect(two, Protocol::H2).await;
    assert_eq!(busy.send(asked()).await.status, 200);
    assert_eq!(idle.send(asked()).await.status, 200);

    server.faults().push(Fault::delay(Duration::from_millis(300)).times(1));
    let running = spawn(async move { busy.send(asked()).await });
    until(&server, |stats| stats.in_flight == 1).await;
    gateway.reload(document(&["one"])).unwrap();
    within("connections to be refused", async {
        while TcpStream::connect(two).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    idle.closed().await;
    // What ran there is finished.
    let reply: Reply = running.join().await;
    assert_eq!(reply.status, 200);
    let mut client = Client::connect(one, Protocol::H1).await;
    assert_eq!(client.send(asked()).await.status, 200);
    drop(client);
    gateway.stop().await;
}

/// An endpoint that fails after it has left its pool was counted as one that is there, and the one that is left as tried.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_leaves_and_then_fails_is_followed_by_the_one_that_is_left() {
    let (asked_once, may_fail) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (is_asked, fails) = (asked_once.clone(), may_fail.clone());
    let leaving = RawServer::start(move |mut connection| {
        let (is_asked, fails) = (is_asked.clone(), fails.clone());
        async move {
            connection.request().await;
            is_asked.notify_one();
            fails.notified().await;
            connection.reset();
        }
    })
    .await;
    let staying = sim(MODEL).await;
    let with_endpoint = |endpoint| {
        json!({
            "routes": [{"name": "r", "rules": [{"targets": [{"pool": "p"}]}]}],
            "pools": [with(pool("p", &[endpoint]), json!({"metrics": {"enabled": false}}))],
        })
    };
    let gateway = Gateway::start(with_endpoint(leaving.addr())).await;
    let mut client = gateway.client(Protocol::H1).await;
    let running = client.start(asked());
    within("the endpoint to be asked", asked_once.notified()).await;
    gateway.reload(with_endpoint(staying.addr())).unwrap();
    may_fail.notify_one();
    assert_eq!(running.join().await.unwrap().status(), 200);
    assert_eq!(staying.stats().requests, 1);
    drop(client);
    gateway.stop().await;
}

/// A pod that is gone may leave an address behind that answers nothing, not even a refusal.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_waits_for_an_address_that_has_left_the_pool() {
    // A queue of connections that is full: further ones are dropped without a word.
    let hole = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    hole.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    hole.listen(0).unwrap();
    let address = hole.local_addr().unwrap().as_socket().unwrap();
    let _first = TcpStream::connect(address).await.unwrap();
    let staying = sim(MODEL).await;
    let endless = json!({"metrics": {"enabled": false}, "connection": {"connectTimeout": "5m"}});
    let with_endpoint = |endpoint| {
        json!({
            "routes": [{"name": "r", "rules": [{"targets": [{"pool": "p"}]}]}],
            "pools": [with(pool("p", &[endpoint]), endless.clone())],
        })
    };
    let gateway = Gateway::start(with_endpoint(address)).await;
    let mut client = gateway.client(Protocol::H1).await;
    let running = client.start(asked());
    eventually("the request to be at the endpoint", || {
        let pool = gateway.server().picker().pool("p").unwrap();
        (pool.endpoints()[0].in_flight() == 1).then_some(())
    })
    .await;
    gateway.reload(with_endpoint(staying.addr())).unwrap();
    let response = within("an answer by the endpoint that is there", running.join()).await.unwrap();
    assert_eq!(response.status(), 200);
    drop(client);
    gateway.stop().await;
}
