use std::net::Ipv4Addr;

use penstock_config::{NoProfileCheck, Snapshot};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::*;
use crate::access_log::AccessLog;

/// An admin listener before there is a gateway, and a connection to it.
fn connect() -> (Arc<Admin>, DuplexStream) {
    let admin = Arc::new(Admin { server: Arc::default(), metrics: Arc::default(), reloads: None });
    let (client, server) = tokio::io::duplex(1 << 10);
    let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    tokio::spawn(connection(server, peer, admin.clone(), Bounds::new()));
    (admin, client)
}

fn timeouts(admin: &Admin) -> bool {
    admin.metrics.encode().contains("penstock_limit_hits_total{limit=\"admin.timeout\"} 1")
}

async fn rest(client: &mut DuplexStream) -> String {
    let mut rest = String::new();
    client.read_to_string(&mut rest).await.unwrap();
    rest
}

#[tokio::test(start_paused = true)]
async fn a_head_that_does_not_come_ends_the_connection_and_is_counted() {
    let (admin, mut client) = connect();
    client.write_all(b"GET /livez HTTP/1.1\r\nhost: local").await.unwrap();
    assert_eq!(rest(&mut client).await, "");
    assert!(timeouts(&admin));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_answered_and_counted() {
    let document = "apiVersion: penstock.dev/v1alpha1\nkind: RoutingConfig\n\
                    listeners: [{name: http, address: '127.0.0.1:0'}]\n";
    let snapshot = Arc::new(Snapshot::compile(document, &NoProfileCheck).unwrap());
    let (admin, mut client) = connect();
    let server = Server::start(&snapshot, admin.metrics.clone(), AccessLog::disabled()).unwrap();
    assert!(admin.server.set(server).is_ok());
    let head = b"POST /debug/pick HTTP/1.1\r\nhost: localhost\r\ncontent-length: 10\r\n\r\n{";
    client.write_all(head).await.unwrap();
    let answer = rest(&mut client).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(timeouts(&admin));
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_ends_without_a_word() {
    let (admin, mut client) = connect();
    client.write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let answer = rest(&mut client).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("ok\n"), "{answer}");
    assert!(!timeouts(&admin));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_not_read_is_given_up() {
    let (admin, mut client) = connect();
    let request = b"GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n";
    client.write_all(request).await.unwrap();
    // The page is longer than what fits between the two.
    tokio::time::sleep(bounds::MAX_AGE + 2 * bounds::DEADLINE).await;
    assert!(timeouts(&admin));
    let answer = rest(&mut client).await;
    assert!(answer.len() <= 1 << 10, "{}", answer.len());
}
