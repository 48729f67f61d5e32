//! What a listener says of its clients: limits of its own, who they are, and what becomes of their paths and headers.

use penstock_sim::Handle;
use serde_json::{Value, json};

use crate::harness::{Gateway, MODEL, Protocol, RawClient, chat, get, pool, post, post_json, sim, with};

/// A gateway with a listener `own` that says this, and one called `plain` that says nothing.
async fn gateway(listener: Value) -> (Gateway, Handle) {
    let server = sim(MODEL).await;
    let own = with(json!({"name": "own", "address": "127.0.0.1:0"}), listener);
    let gateway = Gateway::start(json!({
        "listeners": [own, {"name": "plain", "address": "127.0.0.1:0"}],
        "routes": [{"name": "r", "rules": [{"targets": [{"pool": "p"}]}]}],
        "pools": [pool("p", &[server.addr()])],
    }))
    .await;
    (gateway, server)
}

const CHAT: &str = "/v1/chat/completions";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_of_a_listener_are_its_own() {
    let limits = json!({"bodyBytes": "1KiB", "headerBytes": "2KiB"});
    let (gateway, _server) = gateway(json!({"limits": limits})).await;
    let mut large = chat(MODEL, false);
    large["messages"][0]["content"] = json!("x".repeat(2048));
    let filler = "y".repeat(3000);
    for protocol in [Protocol::H1, Protocol::H2] {
        for (listener, is_limited) in [("own", true), ("plain", false)] {
            let expected = |status| if is_limited { status } else { 200 };
            let mut client = crate::harness::Client::connect(gateway.addr_of(listener), protocol).await;
            let reply = client.send(post_json(CHAT, &large)).await;
            assert_eq!(reply.status.as_u16(), expected(413), "{listener} {}", reply.text());
            let mut client = crate::harness::Client::connect(gateway.addr_of(listener), protocol).await;
            let small = chat(MODEL, false).to_string();
            let answered = client.try_send(post(CHAT, &[("x-filler", filler.as_str())], small)).await;
            // HTTP/2's library may refuse it by itself.
            let status = answered.map_or(431, |reply| reply.status.as_u16());
            assert_eq!(status, expected(431), "{listener} {protocol:?}");
        }
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_of_a_listener_are_counted_for_themselves() {
    let (gateway, _server) = gateway(json!({"limits": {"connections": 1}})).await;
    let address = gateway.addr_of("own");
    let mut first = crate::harness::Client::connect(address, Protocol::H1).await;
    assert_eq!(first.send(get("/v1/models")).await.status, 200);
    let second = RawClient::connect(address).await;
    second.closed().await;
    assert_eq!(gateway.metric("penstock_limit_hits_total", &["limits.connections"]), 1.0);
    let mut other = crate::harness::Client::connect(gateway.addr_of("plain"), Protocol::H1).await;
    assert_eq!(other.send(get("/v1/models")).await.status, 200);
    drop((first, other));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_client_is_whom_so_many_proxies_name() {
    let (gateway, server) = gateway(json!({"trustedHops": 2})).await;
    let mut client = gateway.client(Protocol::H1).await;
    for forwarded in ["198.51.100.9, 203.0.113.7, 192.0.2.1", "192.0.2.1"] {
        let headers = [("x-forwarded-for", forwarded)];
        let reply = client.send(post(CHAT, &headers, chat(MODEL, false).to_string())).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    let log = gateway.log(2).await;
    assert_eq!(log[0]["client"], "203.0.113.7");
    // One that did not come by two proxies speaks for itself.
    assert!(log[1]["client"].as_str().unwrap().starts_with("127.0.0.1"), "{}", log[1]);
    let requests = server.requests();
    let seen = requests[0].header("x-forwarded-for").unwrap();
    assert!(seen.starts_with("198.51.100.9, 203.0.113.7, 192.0.2.1"), "{seen}");
    drop(client);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_header_names_the_client_and_who_lacks_it_is_refused_where_it_is_required() {
    for required in [true, false] {
        let (gateway, _server) =
            gateway(json!({"clientAddress": {"header": "x-real-ip", "required": required}})).await;
        let mut client = gateway.client(Protocol::H1).await;
        let mut ask = async |headers: &[(&str, &str)]| {
            client.send(post(CHAT, headers, chat(MODEL, false).to_string())).await
        };
        assert_eq!(ask(&[("x-real-ip", "203.0.113.7")]).await.status, 200);
        for bad in
            [&[][..], &[("x-real-ip", "me")], &[("x-real-ip", "203.0.113.7"), ("x-real-ip", "203.0.113.8")]]
        {
            let reply = ask(bad).await;
            let expected = if required { 403 } else { 200 };
            assert_eq!(reply.status.as_u16(), expected, "{bad:?}");
            if required {
                assert_eq!(reply.code(), "permission_denied");
            }
        }
        let log = gateway.log(4).await;
        assert_eq!(log[0]["client"], "203.0.113.7");
        assert!(log[1..].iter().all(|line| line["client"].as_str().unwrap().starts_with("127.0.0.1")));
        drop(client);
        gateway.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_are_changed_before_routes_look_and_after_everything_else() {
    let (gateway, server) = gateway(json!({
        "requestIds": "Replace",
        "requestHeaders": {"remove": ["x-user"], "set": [{"name": "x-edge", "value": "1"}]},
        "responseHeaders": {"set": [{"name": "x-late", "value": "2"}], "remove": ["server"]},
    }))
    .await;
    for protocol in [Protocol::H1, Protocol::H2] {
        let mut client = crate::harness::Client::connect(gateway.addr_of("own"), protocol).await;
        let headers = [("x-user", "root"), ("x-edge", "mine"), ("x-request-id", "mine")];
        let reply = client.send(post(CHAT, &headers, chat(MODEL, false).to_string())).await;
        assert_eq!((reply.status.as_u16(), reply.header("x-late")), (200, "2"));
        assert_ne!(reply.header("x-request-id"), "mine");
        let requests = server.requests();
        let seen = requests.last().unwrap();
        assert_eq!((seen.header("x-user"), seen.header("x-edge")), (None, Some("1")));
        assert_eq!(seen.header("x-request-id"), Some(reply.header("x-request-id")));
        // Nor does a client take away what is set.
        let taking = [("connection", "x-edge")];
        if protocol == Protocol::H1 {
            let mut client = crate::harness::Client::connect(gateway.addr_of("own"), protocol).await;
            let refused = client.send(post(CHAT, &taking, chat(MODEL, false).to_string())).await;
            assert_eq!(refused.status, 400);
        }
        // The gateway's own answers too.
        let refused = client.send(post(CHAT, &[("x_user", "root")], "{}")).await;
        assert_eq!((refused.status.as_u16(), refused.header("x-late")), (400, "2"));
        assert_eq!(client.send(get("/v1/models")).await.header("x-late"), "2");
    }
    let mut client = crate::harness::Client::connect(gateway.addr_of("plain"), Protocol::H1).await;
    let reply = client.send(post(CHAT, &[("x-request-id", "mine")], chat(MODEL, false).to_string())).await;
    assert_eq!((reply.header("x-late"), reply.header("x-request-id")), ("", "mine"));
    drop(client);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn escaped_slashes_are_refused_or_are_slashes_to_routes_too() {
    for (action, status, seen) in [("Refuse", 400, None), ("Unescape", 200, Some("/v1/chat/completions"))] {
        let (gateway, server) = gateway(json!({"escapedSlashes": action})).await;
        let mut client = gateway.client(Protocol::H1).await;
        let reply = client.send(post_json("/v1%2Fchat%2fcompletions", &chat(MODEL, false))).await;
        assert_eq!(reply.status.as_u16(), status, "{action}: {}", reply.text());
        assert_eq!(server.requests().first().map(|request| request.path.as_str()), seen, "{action}");
        drop(client);
        gateway.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_proxy_protocol_names_clients_and_is_asked_for_where_it_is_required() {
    let request = "GET /v1/models HTTP/1.1\r\nhost: a\r\n\r\n";
    for (mode, is_needed) in [("Required", true), ("Optional", false)] {
        let (gateway, _server) = gateway(json!({"proxyProtocol": mode})).await;
        let mut client = RawClient::connect(gateway.addr_of("own")).await;
        client.send(format!("PROXY TCP4 203.0.113.7 10.0.0.1 4660 80\r\n{request}")).await;
        assert_eq!(client.reply().await.unwrap().status, 200);
        // Of one connection, not of each request.
        client.send(request).await;
        assert_eq!(client.reply().await.unwrap().status, 200);
        drop(client);
        let mut bare = RawClient::connect(gateway.addr_of("own")).await;
        bare.send(request).await;
        assert_eq!(bare.reply().await.is_none(), is_needed, "{mode}");
        drop(bare);
        let mut broken = RawClient::connect(gateway.addr_of("own")).await;
        broken.send(format!("PROXY TCP4 nobody 10.0.0.1 4660 80\r\n{request}")).await;
        broken.closed().await;
        let log = gateway.log(if is_needed { 2 } else { 3 }).await;
        let named = log.iter().filter(|line| line["client"] == "203.0.113.7:4660").count();
        assert_eq!(named, 2, "{log:?}");
        gateway.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_sends_half_a_proxy_header_runs_out_of_time() {
    let (gateway, _server) =
        gateway(json!({"proxyProtocol": "Required", "limits": {"headerTimeout": "200ms"}})).await;
    for half in [&b"PROXY TCP4 203.0"[..], b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x0f\xff", b""] {
        let mut client = RawClient::connect(gateway.addr_of("own")).await;
        client.send(half).await;
        client.closed().await;
    }
    assert_eq!(gateway.metric("penstock_limit_hits_total", &["limits.headerTimeout"]), 3.0);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_listener_says_of_its_clients_is_reloaded() {
    let (gateway, server) = gateway(json!({"limits": {"bodyBytes": "1KiB"}})).await;
    let mut large = chat(MODEL, false);
    large["messages"][0]["content"] = json!("x".repeat(2048));
    let mut client = gateway.client(Protocol::H1).await;
    assert_eq!(client.send(post_json(CHAT, &large)).await.status, 413);
    let document = json!({
        "listeners": [{"name": "own", "address": "127.0.0.1:0"}, {"name": "plain", "address": "127.0.0.1:0"}],
        "routes": [{"name": "r", "rules": [{"targets": [{"pool": "p"}]}]}],
        "pools": [pool("p", &[server.addr()])],
    });
    gateway.reload(document).unwrap();
    let mut client = gateway.client(Protocol::H1).await;
    assert_eq!(client.send(post_json(CHAT, &large)).await.status, 200);
    drop(client);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_are_dropped_by_patterns_of_their_names_before_others_are_set() {
    let (gateway, server) = gateway(json!({
        "dropHeaders": ["X-Internal-.*", "x-team", "host", "content-length", "transfer-encoding"],
        "requestHeaders": {"set": [{"name": "x-internal-edge", "value": "1"}]},
    }))
    .await;
    for protocol in [Protocol::H1, Protocol::H2] {
        let mut client = crate::harness::Client::connect(gateway.addr_of("own"), protocol).await;
        let headers =
            [("x-internal-user", "root"), ("x-internal-edge", "mine"), ("x-team", "a"), ("x-teams", "b")];
        let reply = client.send(post(CHAT, &headers, chat(MODEL, false).to_string())).await;
        assert_eq!(reply.status, 200, "what frames a request stays: {}", reply.text());
        let seen = server.requests().pop().unwrap();
        assert_eq!((seen.header("x-internal-user"), seen.header("x-internal-edge")), (None, Some("1")));
        assert_eq!((seen.header("x-team"), seen.header("x-teams")), (None, Some("b")));
        assert!(seen.header("host").is_some());
    }
    gateway.stop().await;
}
