//! Start, stop, kill and restart.

use penstock_sim::{
    Sim, StartError,
    faults::{Action, Fault},
    options::Options,
};
use serde_json::json;

use crate::{
    client::{Client, post},
    start,
};

#[tokio::test]
async fn a_killed_server_resets_its_clients_and_can_be_started_again() {
    let sim = start(Options::default()).await;
    let addr = sim.addr();
    sim.faults().push(Fault::new(Action::Hang));
    let mut client = Client::http1(addr).await;
    let call =
        tokio::spawn(async move { client.send(post("/v1/completions", &json!({"prompt": "x"}))).await });
    sim.until(|stats| stats.in_flight == 1).await;
    sim.kill();
    assert!(call.await.unwrap().is_err());
    sim.join().await;
    assert!(tokio::net::TcpStream::connect(addr).await.is_err());
    let again = start(Options { listen: addr, ..Options::default() }).await;
    assert_eq!(again.addr(), addr);
    assert_eq!(Client::http1(addr).await.get("/health").await.status, 200);
}

#[tokio::test]
async fn shutdown_finishes_what_is_under_way() {
    let sim = start(Options::default()).await;
    sim.faults().push(Fault::new(Action::Delay { ms: 20 }));
    let mut client = Client::http1(sim.addr()).await;
    let call =
        tokio::spawn(async move { client.send(post("/v1/completions", &json!({"prompt": "x"}))).await });
    sim.until(|stats| stats.in_flight == 1).await;
    sim.shutdown();
    assert_eq!(call.await.unwrap().unwrap().status, 200);
    sim.join().await;
}

#[tokio::test]
async fn an_idle_connection_does_not_hold_a_shutdown_up() {
    let sim = start(Options::default()).await;
    let mut client = Client::http1(sim.addr()).await;
    client.get("/health").await;
    sim.shutdown();
    sim.join().await;
}

#[tokio::test]
async fn a_taken_address_is_an_error() {
    let sim = start(Options::default()).await;
    let second = Sim::start(Options { listen: sim.addr(), ..Options::default() }).await;
    assert!(matches!(second, Err(StartError::Bind { address, .. }) if address == sim.addr()));
}

#[tokio::test]
async fn a_thousand_servers_share_one_runtime() {
    let alive = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = alive();
    let mut servers = Vec::new();
    for _ in 0..1000 {
        servers.push(start(Options::default()).await);
    }
    assert_eq!(alive() - before, 1000);
    for server in servers.iter().step_by(100) {
        assert_eq!(Client::http1(server.addr()).await.get("/health").await.status, 200);
    }
}
