//! What listeners say of their clients.

use penstock_config::{NoProfileCheck, Snapshot};

/// The faults of a document with these listeners.
fn faults(listeners: &str) -> Vec<String> {
    let text = format!(
        "apiVersion: penstock.dev/v1alpha1\nkind: RoutingConfig\nsecretsFrom: s\nlisteners: {listeners}\n"
    );
    match Snapshot::compile(&text, &NoProfileCheck) {
        Ok(_) => Vec::new(),
        Err(faults) => faults.into_iter().map(|fault| fault.to_string()).collect(),
    }
}

fn listener(name: &str, rest: &str) -> String {
    format!("{{name: {name}, address: '127.0.0.1:1', {rest}}}")
}

fn tls(rest: &str) -> String {
    format!(
        "protocol: HTTPS, tls: {{certificates: [{{certificateFile: secret:a, privateKeyFile: secret:b}}], {rest}}}"
    )
}

#[test]
fn each_fault_has_its_place_and_says_what_to_do() {
    for (rest, place, word) in [
        ("limits: {bodyBytes: 1B}", "listeners[0].limits.bodyBytes", "choose 1KiB to 4GiB"),
        ("limits: {headerTimeout: 1h}", "listeners[0].limits.headerTimeout", "choose 100ms to 5m"),
        ("limits: {connections: 0}", "listeners[0].limits.connections", "choose 1 to"),
        ("trustedHops: 65", "listeners[0].trustedHops", "64"),
        ("trustedHops: 1, trustedProxies: [10.0.0.0/8]", "listeners[0].trustedHops", "choose one"),
        ("clientAddress: {header: 'a b'}", "listeners[0].clientAddress.header", "not a header's name"),
        ("requestHeaders: {remove: [host]}", "listeners[0].requestHeaders.remove[0]", "cannot be changed"),
        ("dropHeaders: ['x-(']", "listeners[0].dropHeaders[0]", "no regular expression"),
        (
            "responseHeaders: {remove: [connection]}",
            "listeners[0].responseHeaders.remove[0]",
            "cannot be changed",
        ),
        (
            &tls("minVersion: '1.3', maxVersion: '1.2'"),
            "listeners[0].tls.minVersion",
            "newer than maxVersion",
        ),
        (&tls("protocols: [h2, h2]"), "listeners[0].tls.protocols", "twice"),
        (&tls("clients: {}"), "listeners[0].tls.clients.authorityFiles", "at least one"),
        (
            &tls("clients: {proof: Any, authorityFiles: [secret:c]}"),
            "listeners[0].tls.clients.authorityFiles",
            "no use",
        ),
        (
            &tls("clients: {proof: Any, keyHashes: []}"
                .replace("[]", &format!("[{}]", "a1".repeat(32)))
                .as_str()),
            "listeners[0].tls.clients.keyHashes",
            "no use",
        ),
        (
            &tls("clients: {certificateHashes: ['a1:b2']}"),
            "listeners[0].tls.clients.certificateHashes[0]",
            "the least is 64",
        ),
        (
            &tls(&format!("clients: {{certificateHashes: ['{}']}}", "g1".repeat(32))),
            "listeners[0].tls.clients.certificateHashes[0]",
            "no SHA-256",
        ),
        (
            &tls(&format!("clients: {{keyHashes: [{}], revocationFiles: [secret:c]}}", "a1".repeat(32))),
            "listeners[0].tls.clients.revocationFiles",
            "no use without authorityFiles",
        ),
        (
            &tls("clients: {authorityFiles: [secret:c], names: [{type: URI, value: ''}]}"),
            "listeners[0].tls.clients.names[0].value",
            "empty",
        ),
        (
            &tls("minVersion: '1.3', ciphers: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]"),
            "listeners[0].tls.ciphers",
            "leave them out",
        ),
    ] {
        let found = faults(&format!("[{}]", listener("a", rest)));
        assert_eq!(found.len(), 1, "{rest}: {found:?}");
        assert!(found[0].contains(place) && found[0].contains(word), "{rest}: {found:?}");
    }
}

#[test]
fn listeners_of_one_address_agree_in_what_holds_for_whole_connections() {
    let pair = |rest: &str, other: &str| {
        let one = listener("a", &format!("hostname: a.test, {rest}"));
        let two = listener("b", &format!("hostname: b.test, {other}"));
        faults(&format!("[{one}, {two}]"))
    };
    for (rest, other, field) in [
        ("limits: {headerTimeout: 1s}", "limits: {}", Some("limits")),
        ("limits: {connections: 1}", "limits: {connections: 2}", Some("limits")),
        ("proxyProtocol: Required", "proxyProtocol: Never", Some("proxyProtocol")),
        (&*tls("clients: {proof: Any}"), &*tls(""), Some("tls")),
        (&*tls("minVersion: '1.3'"), &*tls(""), Some("tls")),
        ("limits: {bodyBytes: 1KiB}", "limits: {}", None),
        (&*tls("clients: {proof: Any}"), &*tls("clients: {proof: Any}"), None),
        ("trustedHops: 1, requestIds: Replace", "escapedSlashes: Refuse", None),
    ] {
        let found = pair(rest, other);
        match field {
            None => assert!(found.is_empty(), "{rest}: {found:?}"),
            Some(field) => {
                assert_eq!(found.len(), 1, "{rest}: {found:?}");
                let place = format!("listeners[1].{field}");
                assert!(found[0].contains(&place) && found[0].contains("same address"), "{found:?}");
            }
        }
    }
}
