//! Keys and users in files: read before the first request, again when they change, and in use until something better is
//! there.

use std::path::Path;

use penstock_sources::Applier as _;
use serde_json::{Value, json};

use super::{KEY, ask, by_key, digest, guarded};
use crate::harness::{Client, Gateway, MODEL, Protocol, eventually, sim};

/// The metrics of what the policy `p` goes by.
fn gauge(gateway: &Gateway, name: &str) -> f64 {
    gateway.metric(&format!("penstock_policy_keys_{name}"), &["policy=\"p\""])
}

async fn status(client: &mut Client, key: &str) -> u16 {
    client.send(ask(&[("x-api-key", key)])).await.status.as_u16()
}

/// A line of a file of keys.
fn line(consumer: &str, key: &str) -> String {
    format!("{consumer} {}\n", digest(key))
}

async fn with_file(server: std::net::SocketAddr, file: &Path) -> (Gateway, Value) {
    let document = guarded(server, by_key(&json!({"file": file, "consumerHeader": "x-consumer"})));
    (Gateway::start(document.clone()).await, document)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_rotated_by_writing_its_file() {
    let server = sim(MODEL).await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("keys");
    std::fs::write(&file, format!("# of ours\n\n{}{}", line("search", "sk-old"), line("guest", "sk-guest")))
        .unwrap();
    let (gateway, _) = with_file(server.addr(), &file).await;
    let mut client = gateway.client(Protocol::H1).await;
    for (key, consumer) in [("sk-old", "search"), ("sk-guest", "guest")] {
        assert_eq!(status(&mut client, key).await, 200);
        assert_eq!(server.requests().pop().unwrap().header("x-consumer"), Some(consumer));
    }
    assert_eq!(status(&mut client, KEY).await, 401, "the document's keys are others");
    std::fs::write(&file, format!("{}{}", line("search", "sk-old"), line("search", "sk-new"))).unwrap();
    gateway.server().reload_files();
    for (key, expected) in [("sk-old", 200), ("sk-new", 200), ("sk-guest", 401)] {
        assert_eq!(status(&mut client, key).await, expected, "{key}");
    }
    std::fs::write(&file, line("search", "sk-new")).unwrap();
    gateway.server().reload_files();
    for (key, expected) in [("sk-old", 401), ("sk-new", 200)] {
        assert_eq!(status(&mut client, key).await, expected, "{key}");
    }
    assert!(gateway.server().files().contains(&file), "it is watched");
    drop(client);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_goes_bad_leaves_what_it_said_over_reloads_too() {
    let server = sim(MODEL).await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("keys");
    std::fs::write(&file, line("search", "sk-1")).unwrap();
    let (gateway, mut document) = with_file(server.addr(), &file).await;
    let mut client = gateway.client(Protocol::H1).await;
    assert_eq!(status(&mut client, "sk-1").await, 200);
    assert_eq!((gauge(&gateway, "available"), gauge(&gateway, "faulty")), (1.0, 0.0));
    for bad in [Some("search sk-plain-hush\n"), Some("\u{0}"), None] {
        match bad {
            Some(text) => std::fs::write(&file, text).unwrap(),
            None => std::fs::remove_file(&file).unwrap(),
        }
        gateway.server().reload_files();
        assert_eq!(status(&mut client, "sk-1").await, 200, "{bad:?}");
        assert_eq!((gauge(&gateway, "available"), gauge(&gateway, "faulty")), (1.0, 1.0));
        // The next document's consumers are others, and the keys theirs.
        document["consumers"][0]["models"] = json!([MODEL]);
        gateway.reload(document.clone()).unwrap();
        assert_eq!(status(&mut client, "sk-1").await, 200, "{bad:?}");
        document["consumers"][0]["models"] = json!(["gpt-4o"]);
        gateway.reload(document.clone()).unwrap();
        assert_eq!(status(&mut client, "sk-1").await, 403, "{bad:?}");
        document["consumers"][0].as_object_mut().unwrap().remove("models");
        gateway.reload(document.clone()).unwrap();
    }
    assert!(!gateway.metrics().contains("hush"));
    assert!(gauge(&gateway, "loads_total") >= 4.0);
    std::fs::write(&file, line("search", "sk-2")).unwrap();
    gateway.server().reload_files();
    assert_eq!((status(&mut client, "sk-1").await, status(&mut client, "sk-2").await), (401, 200));
    assert_eq!(gauge(&gateway, "faulty"), 0.0);
    drop(client);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_keys_that_were_ever_read_nobody_knows_and_the_client_may_try_again() {
    let server = sim(MODEL).await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("keys");
    let (gateway, document) = with_file(server.addr(), &file).await;
    let mut client = gateway.client(Protocol::H1).await;
    let reply = client.send(ask(&[("x-api-key", KEY)])).await;
    assert_eq!((reply.status.as_u16(), reply.code().as_str()), (503, "keys_unavailable"));
    assert_eq!((reply.header("retry-after"), reply.header("www-authenticate")), ("1", ""));
    assert_eq!(client.send(ask(&[])).await.status, 401, "who shows nothing need not wait");
    assert_eq!((gauge(&gateway, "available"), gauge(&gateway, "faulty")), (0.0, 1.0));
    std::fs::write(&file, line("search", KEY)).unwrap();
    gateway.server().reload_files();
    assert_eq!(status(&mut client, KEY).await, 200);
    // No configuration names it any more, and then one does again.
    gateway.reload(json!({})).unwrap();
    // The last request's configuration goes when that is settled.
    let is_forgotten = || (!gateway.server().files().contains(&file)).then_some(());
    eventually("the file to be forgotten", is_forgotten).await;
    gateway.reload(document).unwrap();
    assert_eq!(status(&mut client, KEY).await, 200);
    let line = gateway.log(1).await.swap_remove(0);
    assert_eq!((&line["error"], &line["policy"]), (&json!("keys_unavailable"), &json!("p")));
    drop(client);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_show_their_passwords() {
    let server = sim(MODEL).await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("htpasswd");
    std::fs::write(&file, "ann:{SHA}HyHjC/2o54DBcrn3W367/BjmyHk=\n").unwrap();
    let policy = json!({"authentication": {"basic": {"file": file, "userHeader": "x-user"}}});
    let gateway = Gateway::start(guarded(server.addr(), policy)).await;
    for protocol in [Protocol::H1, Protocol::H2] {
        let mut client = gateway.client(protocol).await;
        let right = ask(&[("authorization", "Basic YW5uOmh1c2g="), ("x-user", "root")]);
        assert_eq!(client.send(right).await.status, 200);
        let seen = server.requests().pop().unwrap();
        assert_eq!((seen.header("authorization"), seen.header("x-user")), (None, Some("ann")));
        for wrong in ["Basic YW5uOm90aGVy", "Basic YW5u", "Basic !", "Bearer x", ""] {
            let reply = client.send(ask(&[("authorization", wrong)])).await;
            assert_eq!(
                (reply.status.as_u16(), reply.header("www-authenticate")),
                (401, "Basic realm=\"penstock\", charset=\"UTF-8\""),
                "{wrong}"
            );
        }
    }
    std::fs::write(&file, "ann:{SHA}0JQeaNqPOBUf+Gph/Fn3xc+fyqI=\n").unwrap();
    gateway.server().reload_files();
    let mut client = gateway.client(Protocol::H1).await;
    assert_eq!(client.send(ask(&[("authorization", "Basic YW5uOmh1c2g=")])).await.status, 401);
    assert_eq!(client.send(ask(&[("authorization", "Basic YW5uOm90aGVy")])).await.status, 200);
    assert_eq!(gateway.log(1).await[0]["consumer"], "ann");
    drop(client);
    gateway.stop().await;
}
