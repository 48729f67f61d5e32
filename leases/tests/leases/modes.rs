//! The ways in which servers of Redis belong together.

use std::fs;

use penstock_config::{Count, RedisMode, RedisTls};
use penstock_leases::State;
use penstock_policies::limits::Usage;
use tokio::time::{Duration, Instant, sleep};

use crate::gateway::{FOR_LONG, Gateway, SOON, limit, store};
use crate::server::Redis;

/// Slots of a cluster.
const SLOTS: u16 = 16384;

/// Two gateways admit together what one limit is.
async fn check(store: &penstock_config::LimitStore) {
    let limit = limit(Count::Requests, 20, FOR_LONG);
    let (first, second) = (Gateway::start(&limit, store, 2), Gateway::start(&limit, store, 2));
    let deadline = Instant::now() + SOON;
    let mut passed = 0;
    while passed < 20 {
        assert!(Instant::now() < deadline, "{passed} of 20 passed");
        for gateway in [&first, &second] {
            passed += u64::from(gateway.spend(&Usage::default()).await.is_ok());
        }
        sleep(Duration::from_millis(5)).await;
    }
    for gateway in [first, second] {
        assert!(gateway.spend(&Usage::default()).await.is_err(), "nothing is left");
        gateway.drain().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_of_three_nodes_keeps_counters() {
    let nodes = cluster(3).await;
    check(&store(&[nodes[0].address()], RedisMode::Cluster)).await;
}

async fn cluster(count: u16) -> Vec<Redis> {
    let mut nodes = Vec::new();
    for index in 0..count {
        // Its bus is at its port and 10,000, which is none where the port is high already.
        let bus = crate::server::free_port().to_string();
        let arguments = ["--cluster-enabled", "yes", "--cluster-port", &bus];
        let node = Redis::start_with(&arguments).await;
        let (first, last) = (SLOTS / count * index, SLOTS / count * (index + 1) - 1);
        let last = if index + 1 == count { SLOTS - 1 } else { last };
        node.command(&["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &last.to_string()]).await;
        node.command(&["CLUSTER", "SET-CONFIG-EPOCH", &(index + 1).to_string()]).await;
        nodes.push((node, bus));
    }
    for (other, bus) in &nodes[1..] {
        nodes[0].0.command(&["CLUSTER", "MEET", "127.0.0.1", &other.port().to_string(), bus]).await;
    }
    let nodes: Vec<_> = nodes.into_iter().map(|(node, _)| node).collect();
    let deadline = Instant::now() + SOON;
    for node in &nodes {
        while !said(&node.command(&["CLUSTER", "INFO"]).await).contains("cluster_state:ok") {
            assert!(Instant::now() < deadline, "the nodes do not find one another");
            sleep(Duration::from_millis(50)).await;
        }
    }
    nodes
}

#[tokio::test(flavor = "multi_thread")]
async fn sentinels_tell_who_is_the_primary_and_who_is_it_after_a_failover() {
    let mut primary = Redis::start().await;
    let replica = Redis::start_with(&["--replicaof", "127.0.0.1", &primary.port().to_string()]).await;
    until_replicated(&replica).await;
    let sentinel = sentinel_of(&primary).await;
    let limit = limit(Count::Requests, 1000, FOR_LONG);
    let store = store(&[sentinel.address()], RedisMode::Sentinel("main".into()));
    check_one(&Gateway::start(&limit, &store, 1)).await;
    until_known(&sentinel).await;
    let gateway = Gateway::start(&limit, &store, 1);
    check_one(&gateway).await;
    primary.kill();
    gateway.until_away().await;
    gateway.until(State::Closed).await;
    check_one(&gateway).await;
    assert!(said(&replica.command(&["INFO", "replication"]).await).contains("role:master"));
}

async fn check_one(gateway: &Gateway) {
    let deadline = Instant::now() + SOON;
    while gateway.spend(&Usage::default()).await.is_err() {
        assert!(Instant::now() < deadline, "nothing passes");
        sleep(Duration::from_millis(50)).await;
    }
}

async fn sentinel_of(primary: &Redis) -> Redis {
    let folder = tempfile::tempdir().expect("a folder");
    let text = format!(
        "sentinel monitor main 127.0.0.1 {} 1\nsentinel down-after-milliseconds main 500\n\
         sentinel failover-timeout main 3000\n",
        primary.port()
    );
    fs::write(folder.path().join("sentinel.conf"), text).expect("a file");
    Redis::start_in(folder, &["{folder}/sentinel.conf", "--sentinel"]).await
}

async fn until_replicated(replica: &Redis) {
    let deadline = Instant::now() + SOON;
    while !said(&replica.command(&["INFO", "replication"]).await).contains("master_link_status:up") {
        assert!(Instant::now() < deadline, "the replica does not replicate");
        sleep(Duration::from_millis(50)).await;
    }
}

async fn until_known(sentinel: &Redis) {
    let deadline = Instant::now() + SOON;
    while !said(&sentinel.command(&["INFO", "sentinel"]).await).contains("slaves=1") {
        assert!(Instant::now() < deadline, "the sentinel does not find the replica");
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_tls_a_user_and_a_database_is_spoken_to_and_another_one_is_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let certified = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    let (certificate, key) = (folder.path().join("certificate.pem"), folder.path().join("key.pem"));
    let authority = tempfile::NamedTempFile::new().expect("a file");
    fs::write(&certificate, certified.cert.pem()).expect("a file");
    fs::write(authority.path(), certified.cert.pem()).expect("a file");
    fs::write(&key, certified.signing_key.serialize_pem()).expect("a file");
    let tls_port = crate::server::free_port();
    let redis = Redis::start_in(
        folder,
        &[
            "--tls-port",
            &tls_port.to_string(),
            "--tls-cert-file",
            "{folder}/certificate.pem",
            "--tls-key-file",
            "{folder}/key.pem",
            "--tls-auth-clients",
            "no",
        ],
    )
    .await;
    let _ = redis.command(&["ACL", "SETUSER", "limits", "on", ">first", "~penstock:*", "+@all"]).await;
    let password = tempfile::NamedTempFile::new().expect("a file");
    fs::write(password.path(), "first\n").expect("a file");

    let mut store = store(&[format!("127.0.0.1:{tls_port}")], RedisMode::Single);
    store.redis.tls = Some(RedisTls { ca_file: Some(authority.path().to_owned()) });
    store.redis.username = Some("limits".into());
    store.redis.password_file = Some(password.path().to_owned());
    store.redis.database = 3;
    check(&store).await;
    let keyspace = said(&redis.command(&["INFO", "keyspace"]).await);
    assert!(keyspace.contains("db3:") && !keyspace.contains("db0:"), "{keyspace}");

    // Whom nobody has signed for is not spoken to.
    let stranger = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    fs::write(authority.path(), stranger.cert.pem()).expect("a file");
    let limit = limit(Count::Requests, 20, FOR_LONG);
    Gateway::start(&limit, &store, 1).until_away().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_changes_is_read_again() {
    let redis = Redis::start().await;
    let _ = redis.command(&["ACL", "SETUSER", "limits", "on", ">first", "~*", "+@all"]).await;
    let password = tempfile::NamedTempFile::new().expect("a file");
    fs::write(password.path(), "first").expect("a file");
    let mut store = store(&[redis.address()], RedisMode::Single);
    store.redis.username = Some("limits".into());
    store.redis.password_file = Some(password.path().to_owned());
    let limit = limit(Count::Requests, 1000, FOR_LONG);
    let gateway = Gateway::start(&limit, &store, 1);
    check_one(&gateway).await;
    let _ = redis.command(&["ACL", "SETUSER", "limits", "resetpass", ">second"]).await;
    fs::write(password.path(), "second").expect("a file");
    let _ = redis.command(&["CLIENT", "KILL", "USER", "limits"]).await;
    // More than it may have been lent before.
    for _ in 0..600 {
        check_one(&gateway).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_forgot_the_script_is_given_it_again() {
    let redis = Redis::start().await;
    let limit = limit(Count::Requests, 1000, FOR_LONG);
    let gateway = Gateway::start(&limit, &store(&[redis.address()], RedisMode::Single), 1);
    check_one(&gateway).await;
    let _ = redis.command(&["SCRIPT", "FLUSH"]).await;
    sleep(Duration::from_millis(200)).await;
    for _ in 0..200 {
        gateway.spend(&Usage::default()).await.expect("it passes");
    }
}

fn said(value: &redis::Value) -> String {
    match value {
        redis::Value::BulkString(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        redis::Value::VerbatimString { text, .. } => text.clone(),
        other => panic!("a text, not {other:?}"),
    }
}
