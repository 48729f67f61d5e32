//! ClientTrafficPolicies: what they change of listeners, which of several counts, and what their statuses say.

use penstock_config::raw::RawListener;
use penstock_config::{ClientProof, EscapedSlashes, ProxyProtocol, Size};
use penstock_translate::world::Kind;
use penstock_translate::{CLOSED, POLICIES_NOT_ACTED_ON, Translation, translate};
use rcgen::{CertificateParams, CertifiedKey, KeyPair};

use crate::support::{condition, conditions, documents, options, world};

const SCENE: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: penstock}
spec: {controllerName: penstock.dev/gateway-controller}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: gw, namespace: ns}
spec:
  gatewayClassName: penstock
  listeners:
    - {name: plain, protocol: HTTP, port: 8080}
    - {name: a, protocol: HTTPS, port: 8443, hostname: a.test, tls: {certificateRefs: [{name: pair}]}}
    - {name: b, protocol: HTTPS, port: 8443, hostname: b.test, tls: {certificateRefs: [{name: pair}]}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r, namespace: ns}
spec: {parentRefs: [{name: gw}], rules: [{backendRefs: [{name: s, port: 80}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: s, namespace: ns}
spec: {ports: [{port: 80}]}
---
";

/// A pair for TLS, and authorities of clients in both kinds of objects, here and elsewhere.
fn files() -> String {
    let CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(vec!["a.test".to_owned()]).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca = params.self_signed(&key).unwrap().pem();
    let (pair, key) = (cert.pem(), signing_key.serialize_pem());
    let text = |text: &str| serde_json::to_string(text).unwrap();
    format!(
        "{{apiVersion: v1, kind: Secret, metadata: {{name: pair, namespace: ns}}, stringData: {{tls.crt: {}, tls.key: {}}}}}\n---\n\
         {{apiVersion: v1, kind: ConfigMap, metadata: {{name: ca, namespace: ns}}, data: {{ca.crt: {ca}}}}}\n---\n\
         {{apiVersion: v1, kind: Secret, metadata: {{name: ca, namespace: far}}, stringData: {{ca.crt: {ca}}}}}\n---\n",
        text(&pair),
        text(&key),
        ca = text(&ca),
    )
}

fn policy(name: &str, section: &str, spec: &str) -> String {
    let section = if section.is_empty() { String::new() } else { format!(", sectionName: {section}") };
    format!(
        "apiVersion: gateway.envoyproxy.io/v1alpha1\nkind: ClientTrafficPolicy\n\
         metadata: {{name: {name}, namespace: ns}}\n\
         spec: {{targetRefs: [{{group: gateway.networking.k8s.io, kind: Gateway, name: gw{section}}}], {spec}}}\n---\n"
    )
}

fn scene(manifests: &str) -> Translation {
    translate(&world(documents(&format!("{SCENE}{}{manifests}", files()))), &options())
}

fn listener<'t>(translation: &'t Translation, name: &str) -> &'t RawListener {
    let gateway = translation.gateways.values().next().expect("a Gateway");
    gateway.document.listeners.iter().find(|listener| listener.name == name).expect("it is served")
}

/// The listeners whose rules answer 500.
fn closed(translation: &Translation) -> Vec<String> {
    let gateway = translation.gateways.values().next().expect("a Gateway");
    let routes = gateway.document.routes.iter();
    let closed = routes.filter(|route| route.rules.iter().any(|rule| rule.targets[0].reason.is_some()));
    let mut closed: Vec<String> = closed.flat_map(|route| route.listeners.clone()).collect();
    closed.sort();
    closed
}

fn accepted<'t>(translation: &'t Translation, name: &str) -> (bool, &'static str, &'t str) {
    condition(translation, (Kind::ClientTrafficPolicy, name), "Accepted")
}

/// Of Envoy AI Gateway's examples.
#[test]
fn the_published_example_is_in_force_and_its_status_says_what_it_comes_to() {
    let translation = scene(&policy("p", "", "connection: {bufferLimit: 50Mi}"));
    assert!(closed(&translation).is_empty());
    assert_eq!(listener(&translation, "plain").limits.body_bytes, None);
    let (is_accepted, reason, message) = accepted(&translation, "p");
    assert_eq!((is_accepted, reason), (true, "Accepted"));
    assert!(message.contains("connection.bufferLimit: bodies are kept whole"), "{message}");
    assert!(conditions(&translation, Kind::Gateway, "gw").iter().all(|it| it.kind != POLICIES_NOT_ACTED_ON));
    let larger = scene(&policy("p", "", "connection: {bufferLimit: 100Mi}"));
    assert_eq!(listener(&larger, "b").limits.body_bytes, Some(Size(100 << 20)));
}

#[test]
fn a_policy_for_a_listener_takes_the_place_of_that_for_its_gateway() {
    let own = policy("own", "plain", "path: {escapedSlashesAction: RejectRequest}");
    let translation = scene(&(policy("all", "", "proxyProtocol: {optional: true}") + &own));
    let plain = listener(&translation, "plain");
    assert_eq!((plain.proxy_protocol, plain.escaped_slashes), (ProxyProtocol::Never, EscapedSlashes::Refuse));
    assert_eq!(listener(&translation, "a").proxy_protocol, ProxyProtocol::Optional);
    let (_, _, message) = condition(&translation, (Kind::ClientTrafficPolicy, "all"), "Overridden");
    assert!(message.ends_with("plain of Gateway ns/gw"), "{message}");
    let conflict = scene(&(policy("a", "", "proxyProtocol: {}") + &policy("b", "", "scheme: Preserve")));
    assert_eq!(accepted(&conflict, "b").1, "Conflicted");
}

#[test]
fn certificates_of_clients_are_asked_for_at_listeners_with_tls() {
    let reference = "caCertificateRefs: [{group: '', kind: ConfigMap, name: ca}]";
    let translation = scene(&policy("p", "", &format!("tls: {{clientValidation: {{{reference}}}}}")));
    assert!(closed(&translation).is_empty());
    assert!(listener(&translation, "plain").tls.is_none());
    for name in ["a", "b"] {
        let clients = listener(&translation, name).tls.as_ref().unwrap().clients.as_ref().unwrap();
        assert_eq!((clients.proof, clients.authority_files.len()), (ClientProof::Verified, 1));
        let gateway = translation.gateways.values().next().unwrap();
        let key = clients.authority_files[0].strip_prefix("secret:").unwrap();
        assert!(gateway.secrets.contains_key(key), "{key} is published");
    }
    assert!(accepted(&translation, "p").0);
}

#[test]
fn authorities_that_cannot_be_had_close_the_listeners() {
    let granted = "apiVersion: gateway.networking.k8s.io/v1beta1\nkind: ReferenceGrant\n\
                   metadata: {name: g, namespace: far}\n\
                   spec: {from: [{group: gateway.envoyproxy.io, kind: ClientTrafficPolicy, namespace: ns}], \
                   to: [{group: '', kind: Secret}]}\n---\n";
    let far = "caCertificateRefs: [{name: ca, namespace: far}]";
    for (reference, more, word) in [
        ("caCertificateRefs: [{name: gone}]", "", Some("there is no Secret ns/gone with ca.crt")),
        ("caCertificateRefs: [{name: pair}]", "", Some("there is no Secret ns/pair with ca.crt")),
        (far, "", Some("no ReferenceGrant in namespace far")),
        (far, granted, None),
    ] {
        let spec = format!("tls: {{clientValidation: {{{reference}}}}}");
        let translation = scene(&(policy("p", "", &spec) + more));
        let (is_accepted, reason, message) = accepted(&translation, "p");
        match word {
            None => assert!(is_accepted && closed(&translation).is_empty(), "{message}"),
            Some(word) => {
                assert_eq!(reason, "Invalid");
                assert!(message.contains(word), "{message}");
                assert_eq!(closed(&translation), ["a", "b", "plain"], "{reference}");
                let (_, _, message) = condition(&translation, (Kind::HttpRoute, "r"), CLOSED);
                assert!(message.contains("ClientTrafficPolicy ns/p (spec.tls.clientValidation"), "{message}");
            }
        }
    }
}

#[test]
fn what_holds_for_whole_connections_is_the_same_for_a_port_or_closes() {
    let spec = "tls: {clientValidation: {mode: RequireAny}}";
    let translation = scene(&policy("p", "a", spec));
    assert_eq!(closed(&translation), ["a"]);
    assert!(listener(&translation, "a").tls.as_ref().unwrap().clients.is_none());
    let (is_accepted, reason, message) = accepted(&translation, "p");
    assert_eq!((is_accepted, reason), (false, "Invalid"), "{message}");
    assert!(message.contains("port 8443") && message.contains("listener a"), "{message}");
    let both = scene(&(policy("p", "a", spec) + &policy("q", "b", spec)));
    assert!(closed(&both).is_empty());
    // What a request alone is about may differ.
    let paths = scene(&policy("p", "a", "path: {escapedSlashesAction: RejectRequest}"));
    assert!(closed(&paths).is_empty());
    assert_eq!(listener(&paths, "a").escaped_slashes, EscapedSlashes::Refuse);
}

#[test]
fn deadlines_of_streams_are_those_of_rules_that_have_none() {
    let timeouts =
        "timeout: {http: {streamIdleTimeout: 7s}}, connection: {connectionLimit: {maxStreamDuration: 9s}}";
    let translation = scene(&policy("p", "plain", timeouts));
    let gateway = translation.gateways.values().next().unwrap();
    for route in &gateway.document.routes {
        let is_changed = route.listeners == ["plain"];
        let timeouts = &route.rules[0].timeouts;
        assert_eq!(
            timeouts.stream_idle == penstock_config::Timeout::secs(7),
            is_changed,
            "{:?}",
            route.listeners
        );
        assert_eq!(timeouts.request == penstock_config::Timeout::secs(9), is_changed);
    }
    assert_eq!(gateway.document.routes.len(), 2);
}

#[test]
fn what_is_not_acted_on_is_named_with_its_value() {
    let spec = "http1: {http10: {}}, scheme: MatchBackend, http2: {maxConcurrentStreams: 5, initialStreamWindowSize: 1Mi}";
    let translation = scene(&policy("p", "", spec));
    let (is_accepted, _, message) = accepted(&translation, "p");
    assert!(is_accepted, "{message}");
    for word in ["spec.http1", "spec.http2.initialStreamWindowSize", "spec.scheme: MatchBackend"] {
        assert!(message.contains(word), "{word}: {message}");
    }
    assert_eq!(listener(&translation, "plain").limits.http2_streams, Some(5));
    let (_, _, message) = condition(&translation, (Kind::Gateway, "gw"), POLICIES_NOT_ACTED_ON);
    assert!(message.contains("spec.scheme: MatchBackend"), "{message}");
}

#[test]
fn what_a_certificate_is_itself_is_asked_of_clients() {
    let hash = "a1".repeat(32);
    let spec = format!(
        "tls: {{clientValidation: {{certificateHashes: [{hash}], spkiHashes: ['BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc='], \
         subjectAltNames: {{dnsNames: [{{type: Suffix, value: .corp.test}}], uris: [{{value: 'spiffe://corp/a'}}]}}}}}}"
    );
    let translation = scene(&policy("p", "", &spec));
    assert!(closed(&translation).is_empty(), "{:?}", accepted(&translation, "p"));
    let clients = listener(&translation, "a").tls.as_ref().unwrap().clients.as_ref().unwrap();
    assert!(clients.authority_files.is_empty(), "the certificates vouch for themselves");
    assert_eq!(clients.certificate_hashes, [hash]);
    assert_eq!(clients.key_hashes, ["07".repeat(32)]);
    let names = serde_json::to_value(&clients.names).unwrap();
    let wanted = serde_json::json!([
        {"type": "DNS", "match": "Suffix", "value": ".corp.test"}, {"type": "URI", "value": "spiffe://corp/a"},
    ]);
    assert_eq!(names, wanted);
    let reference = "caCertificateRefs: [{group: '', kind: ConfigMap, name: ca}]";
    for (spec, word) in [
        (format!("{reference}, spkiHashes: [abc]"), "no SHA-256 in Base64"),
        (format!("{reference}, certificateHashes: [abc]"), "tls"),
        (format!("{reference}, crl: {{refs: [{{name: gone}}]}}"), "there is no Secret ns/gone with ca.crl"),
        (format!("{reference}, crl: {{refs: []}}"), "names no lists"),
        (
            format!("{reference}, subjectAltNames: {{uris: [{{type: RegularExpression, value: .*}}]}}"),
            "is not served",
        ),
        (format!("{reference}, subjectAltNames: {{otherNames: [{{oid: '1.2'}}]}}"), "otherNames"),
        ("mode: RequireAny, subjectAltNames: {uris: [{value: a}]}".to_owned(), "takes any certificate"),
    ] {
        let translation = scene(&policy("p", "", &format!("tls: {{clientValidation: {{{spec}}}}}")));
        let (is_accepted, _, message) = accepted(&translation, "p");
        assert!(!is_accepted && message.contains(word), "{spec}: {message}");
        assert_eq!(closed(&translation), ["a", "b", "plain"], "{spec}");
    }
}

#[test]
fn headers_are_dropped_by_their_names() {
    let spec = "headers: {earlyRequestHeaders: {remove: [x-one], removeOnMatch: [{value: x.y}, {type: Prefix, value: x-internal-}, \
                {type: Suffix, value: -id}, {type: RegularExpression, value: 'x-[0-9]+'}]}}";
    let translation = scene(&policy("p", "", spec));
    assert!(accepted(&translation, "p").0 && closed(&translation).is_empty());
    let plain = listener(&translation, "plain");
    assert_eq!(plain.drop_headers, ["x\\.y", "x\\-internal\\-.*", ".*\\-id", "x-[0-9]+"]);
    assert_eq!(plain.request_headers.remove, ["x-one"]);
    let bad = "headers: {earlyRequestHeaders: {removeOnMatch: [{type: RegularExpression, value: '('}]}}";
    let translation = scene(&policy("p", "", bad));
    let (is_accepted, _, message) = accepted(&translation, "p");
    assert!(!is_accepted && message.contains("earlyRequestHeaders.removeOnMatch"), "{message}");
    assert_eq!(closed(&translation), ["a", "b", "plain"]);
}

/// The scene, with this for the Gateway's `spec.tls.frontend`.
fn with_frontend(frontend: &str, more: &str) -> Translation {
    let scene = SCENE.replace("  listeners:\n", &format!("  tls: {{frontend: {frontend}}}\n  listeners:\n"));
    assert_ne!(scene, SCENE);
    translate(&world(documents(&format!("{scene}{}{more}", files()))), &options())
}

#[test]
fn a_gateway_asks_clients_of_its_ports_for_certificates() {
    let refs = "caCertificateRefs: [{group: '', kind: ConfigMap, name: ca}]";
    let all = format!("{{default: {{validation: {{{refs}}}}}}}");
    let none = format!("{{default: {{validation: {{{refs}}}}}, perPort: [{{port: 8443, tls: {{}}}}]}}");
    let one = format!("{{default: {{}}, perPort: [{{port: 8443, tls: {{validation: {{{refs}}}}}}}]}}");
    let other = format!("{{default: {{}}, perPort: [{{port: 9443, tls: {{validation: {{{refs}}}}}}}]}}");
    let open = format!("{{default: {{validation: {{{refs}, mode: AllowInsecureFallback}}}}}}");
    for (frontend, is_asked) in [(&all, true), (&none, false), (&one, true), (&other, false), (&open, false)]
    {
        let translation = with_frontend(frontend, "");
        assert!(closed(&translation).is_empty(), "{frontend}");
        assert!(listener(&translation, "plain").tls.is_none());
        for name in ["a", "b"] {
            let clients = listener(&translation, name).tls.as_ref().unwrap().clients.as_ref();
            let found = clients.map(|clients| (clients.proof, clients.authority_files.len()));
            assert_eq!(found, is_asked.then_some((ClientProof::Verified, 1)), "{frontend}");
        }
        let said = conditions(&translation, Kind::Gateway, "gw");
        let is_insecure = said.iter().any(|it| it.kind == "InsecureFrontendValidationMode");
        assert_eq!(is_insecure, *frontend == open, "{frontend}");
    }
    // A policy that says nothing of certificates leaves them as they are; one that wants others closes.
    let silent = with_frontend(&all, &policy("p", "", "tls: {minVersion: '1.3'}"));
    assert!(closed(&silent).is_empty());
    assert!(listener(&silent, "a").tls.as_ref().unwrap().clients.is_some());
    let any = with_frontend(&all, &policy("p", "", "tls: {clientValidation: {mode: RequireAny}}"));
    assert_eq!(closed(&any), ["a", "b"]);
    assert!(listener(&any, "a").tls.as_ref().unwrap().clients.is_some());
    for (frontend, word) in [
        (
            "{default: {validation: {caCertificateRefs: [{kind: ConfigMap, name: gone}]}}}",
            "no ConfigMap ns/gone",
        ),
        ("{default: {validation: {}}}", "is missing"),
        ("{default: {validation: {mode: Other}}}", "no mode"),
        (
            "{default: {validation: {caCertificateRefs: [{kind: Secret, name: ca, namespace: far}]}}}",
            "no ReferenceGrant",
        ),
    ] {
        let translation = with_frontend(frontend, "");
        assert_eq!(closed(&translation), ["a", "b"], "{frontend}");
        let (_, _, message) = condition(&translation, (Kind::HttpRoute, "r"), CLOSED);
        assert!(message.contains("spec.tls.frontend") && message.contains(word), "{frontend}: {message}");
    }
}
