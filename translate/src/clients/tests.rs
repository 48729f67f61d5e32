use penstock_config::raw::RawListener;
use serde_json::{Value, json};

use super::*;
use crate::context::Secrets;
use crate::options::Options;
use crate::world::World;

fn read(settings: Value) -> Result<Clients, String> {
    let settings: ClientSettings = serde_json::from_value(settings).unwrap();
    let (world, options) = (World::default(), Options::default());
    let key = Key { namespace: "ns".to_owned(), name: "p".to_owned() };
    Clients::read(&Context::new(&world, &options), &key, &settings)
}

/// A listener with TLS that a policy was put on.
fn applied(settings: Value) -> RawListener {
    read(settings).unwrap().probe()
}

#[test]
fn what_is_said_is_put_on_a_listener() {
    let raw = applied(json!({
        "connection": {"connectionLimit": {"value": 7}, "bufferLimit": "128Mi"},
        "timeout": {"http": {"requestReceivedTimeout": "2m", "idleTimeout": "30s"}},
        "http2": {"maxConcurrentStreams": 20},
        "headers": {
            "withUnderscoresAction": "DropHeader", "requestID": "Generate",
            "earlyRequestHeaders": {"remove": ["x-user"]}, "lateResponseHeaders": {"set": [{"name": "a", "value": "b"}]},
        },
        "path": {"escapedSlashesAction": "RejectRequest", "disableMergeSlashes": true},
        "healthCheck": {"path": "/live"},
        "proxyProtocol": {},
        "tls": {"minVersion": "1.3", "alpnProtocols": ["http/1.1"], "clientValidation": {"mode": "RequireAny"}},
    }));
    let limits = &raw.limits;
    assert_eq!((limits.connections, limits.http2_streams), (Some(7), Some(20)));
    assert_eq!(limits.body_bytes, Some(Size(128 << 20)));
    assert_eq!(
        (limits.body_timeout, limits.keep_alive_timeout),
        (Some(Span::secs(120)), Some(Span::secs(30)))
    );
    assert_eq!(raw.headers_with_underscores, HeadersWithUnderscores::Drop);
    assert_eq!((raw.request_ids, raw.escaped_slashes), (RequestIds::Replace, EscapedSlashes::Refuse));
    assert_eq!(raw.request_headers.remove, ["x-user"]);
    assert_eq!(raw.response_headers.set[0].name, "a");
    assert_eq!((raw.health_path.as_deref(), raw.proxy_protocol), (Some("/live"), ProxyProtocol::Required));
    let tls = raw.tls.unwrap();
    assert_eq!(tls.min_version, penstock_config::TlsVersion::V13);
    assert_eq!(tls.protocols, [penstock_config::ClientProtocol::Http1]);
    assert_eq!(tls.clients.unwrap().proof, penstock_config::ClientProof::Any);
}

#[test]
fn a_policy_that_says_nothing_changes_nothing() {
    let mut raw = RawListener::new("a", penstock_config::Address(([127, 0, 0, 1], 1).into()));
    let unchanged = raw.clone();
    let clients = read(json!({})).unwrap();
    clients.apply(&mut raw, &mut Secrets::new());
    assert_eq!(raw, unchanged);
    assert!(clients.notes.is_empty() && clients.idle.is_empty() && clients.traffic.is_none());
}

/// That of many of Envoy AI Gateway's examples: there Envoy refuses bodies beyond it, which it keeps for its filter.
#[test]
fn a_buffer_raises_what_a_body_may_have_and_lowers_nothing() {
    for (limit, expected) in
        [("50Mi", None), ("64Mi", None), ("65Mi", Some(65 << 20)), ("1Ti", Some(4 << 30))]
    {
        let clients = read(json!({"connection": {"bufferLimit": limit}})).unwrap();
        assert_eq!(clients.limits.body_bytes, expected.map(Size), "{limit}");
        assert_eq!(clients.notes.len(), 1, "{limit}");
    }
}

#[test]
fn numbers_out_of_range_become_the_nearest_and_the_status_says_so() {
    let settings = json!({"timeout": {"http": {"idleTimeout": "2h", "requestReceivedTimeout": "0s"}}});
    let clients = read(settings).unwrap();
    assert_eq!(clients.limits.keep_alive_timeout, Some(Span::secs(3600)));
    assert_eq!(clients.limits.body_timeout, Some(Span::secs(24 * 3600)));
    assert_eq!(clients.notes.len(), 2, "{:?}", clients.notes);
}

#[test]
fn what_proxies_say_of_certificates_is_taken_out_unless_it_is_wanted() {
    let hops = json!({"xForwardedFor": {"numTrustedHops": 1}});
    for (mode, removed) in
        [(json!(null), true), (json!("Sanitize"), true), (json!("AlwaysForwardOnly"), false)]
    {
        let headers = json!({"xForwardedClientCert": {"mode": mode}});
        let raw = applied(json!({"clientIPDetection": hops, "headers": headers}));
        assert_eq!(raw.request_headers.remove.contains(&"x-forwarded-client-cert".to_owned()), removed);
    }
    assert!(applied(json!({})).request_headers.remove.is_empty());
}

#[test]
fn what_cannot_be_is_told_by_its_field() {
    for (settings, field) in [
        (json!({"connection": {"bufferLimit": "much"}}), "connection.bufferLimit: "),
        (json!({"connection": {"connectionLimit": {"value": 0}}}), "connection.connectionLimit.value: "),
        (json!({"timeout": {"http": {"idleTimeout": "soon"}}}), "timeout.http.idleTimeout: "),
        (
            json!({"clientIPDetection": {"xForwardedFor": {"trustedCIDRs": ["a"]}}}),
            "clientIPDetection.xForwardedFor",
        ),
        (
            json!({"clientIPDetection": {"xForwardedFor": {"numTrustedHops": 65}}}),
            "clientIPDetection.xForwardedFor",
        ),
        (json!({"clientIPDetection": {"customHeader": {"name": "a b"}}}), "clientIPDetection.customHeader: "),
        (json!({"headers": {"withUnderscoresAction": "Maybe"}}), "headers.withUnderscoresAction: "),
        (json!({"headers": {"earlyRequestHeaders": {"remove": ["host"]}}}), "headers.earlyRequestHeaders: "),
        (json!({"headers": {"lateResponseHeaders": {"remove": ["a b"]}}}), "headers.lateResponseHeaders: "),
        (json!({"healthCheck": {"path": "live"}}), "healthCheck.path: "),
        (json!({"path": {"escapedSlashesAction": "Ignore"}}), "path.escapedSlashesAction: "),
        (json!({"tls": {"maxVersion": "1.1"}}), "tls.maxVersion: "),
        (json!({"tls": {"ciphers": ["NULL-MD5"]}}), "tls.ciphers: "),
        (json!({"tls": {"minVersion": "1.3", "maxVersion": "1.2"}}), "tls: "),
        (json!({"tls": {"clientValidation": {}}}), "tls.clientValidation.caCertificateRefs is missing"),
        (
            json!({"tls": {"clientValidation": {"caCertificateRefs": [{"name": "a"}]}}}),
            "tls.clientValidation.caCert",
        ),
        (json!({"tls": {"clientValidation": {"mode": "Sometimes"}}}), "tls.clientValidation.mode: "),
    ] {
        let fault = read(settings.clone()).unwrap_err();
        assert!(fault.starts_with(field), "{settings}: {fault}");
    }
}

#[test]
fn what_is_left_out_is_named() {
    let clients = read(json!({
        "scheme": "MatchBackend",
        "headers": {"requestID": "Disable", "xForwardedClientCert": {"mode": "SanitizeSet"}},
        "tls": {"ciphers": ["[ECDHE-RSA-AES128-GCM-SHA256|AES128-SHA]"], "alpnProtocols": ["http/1.0"],
                "clientValidation": {"mode": "Request"}},
    }));
    let clients = clients.unwrap();
    assert_eq!(
        clients.idle,
        [
            "spec.headers.requestID: Disable",
            "spec.headers.xForwardedClientCert.mode: SanitizeSet",
            "spec.scheme: MatchBackend",
            "spec.tls.ciphers: AES128-SHA",
            "spec.tls.alpnProtocols: http/1.0",
            "spec.tls.clientValidation.mode: Request",
        ]
    );
}
