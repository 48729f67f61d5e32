//! Servers that SecurityPolicies have asked.

use penstock_config::raw::{RawBackend, RawExternal};
use penstock_config::{Size, Span, UpstreamProtocol};
use penstock_translate::world::{Key, Kind};
use penstock_translate::{EndpointSource, HostSource, Translation};

use super::{A, GW, KEYS, accepted, asked, document, gateway, policies, policy, scene};

/// Services in the scene's namespace and in another one, and a Backend.
const SERVERS: &str = "
apiVersion: v1
kind: Service
metadata: {name: auth, namespace: ns}
spec: {ports: [{name: grpc, port: 9000}]}
---
apiVersion: v1
kind: Service
metadata: {name: far, namespace: other}
spec: {ports: [{port: 9000}]}
---
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: Backend
metadata: {name: fixed, namespace: ns}
spec: {endpoints: [{ip: {address: 10.9.9.9, port: 9001}}]}
---
";

/// What a policy with this extAuth means; it is for everything.
fn with(ext_auth: &str) -> Translation {
    scene(&(SERVERS.to_owned() + &policy("p", GW, &format!("extAuth: {ext_auth}"))))
}

/// The only policy of a translation's document, and the backend that it asks.
fn only(translation: &Translation) -> (RawExternal, RawBackend) {
    let all = policies(translation);
    assert_eq!(all.len(), 1, "{all:?}");
    let external = all["ns.p"].external.clone().unwrap();
    let grpc = external.grpc.as_ref().map(|grpc| &grpc.backend);
    let name = grpc.or(external.http.as_ref().map(|http| &http.backend)).unwrap();
    let backend = document(translation).backends.iter().find(|backend| backend.name == *name);
    (external.clone(), backend.unwrap_or_else(|| panic!("no {name}")).clone())
}

fn service(namespace: &str, name: &str) -> HostSource {
    HostSource::Service { service: Key::new(namespace, name), port: 9000 }
}

#[track_caller]
fn assert_closed(translation: &Translation, part: &str) {
    assert!(asked(translation).values().all(|it| it == "closed"), "{:?}", asked(translation));
    let (is_accepted, reason, message) = accepted(translation, "p");
    assert_eq!((is_accepted, reason), (false, "Invalid"), "{message}");
    assert!(message.contains(part), "{message}");
}

#[test]
fn a_server_is_asked_first_and_is_a_backend_of_its_own() {
    let grpc = "extAuth: {grpc: {backendRefs: [{name: auth, port: 9000}]}}";
    let translation = scene(&(SERVERS.to_owned() + &policy("p", GW, &format!("{KEYS}, {grpc}"))));
    let listeners = &document(&translation).listeners;
    assert!(listeners.iter().all(|it| it.policies == ["ns.p.ext-auth", "ns.p.api-key"]));
    assert_eq!(accepted(&translation, "p"), (true, "Accepted", "the policy is in force"));
    let (external, backend) = only(&with("{grpc: {backendRef: {name: auth, port: 9000}}}"));
    assert_eq!(external, RawExternal { grpc: external.grpc.clone(), ..RawExternal::default() });
    assert_eq!((backend.protocol, backend.tls), (UpstreamProtocol::H2c, None));
    assert_eq!(backend.endpoints_from, std::slice::from_ref(&backend.name));
    assert!(!backend.name.contains('.'), "no route's upstream is called so: {}", backend.name);
    let translation = with("{grpc: {backendRefs: [{name: auth, port: 9000}]}}");
    let source = &gateway(&translation).endpoints[&backend.name];
    assert_eq!(*source, EndpointSource::Hosts(vec![service("ns", "auth")]));
}

#[test]
fn each_field_becomes_what_it_says() {
    let (external, backend) = only(&with(
        "{http: {backendRefs: [{group: gateway.envoyproxy.io, kind: Backend, name: fixed}], path: /check, \
          headersToBackend: [X-User, x-user, x-group]}, headersToExtAuth: [Cookie, Path, cookie, host], \
          bodyToExtAuth: {maxRequestBytes: 8192}, timeout: 250ms, failOpen: true, statusOnError: 503}",
    ));
    let http = external.http.unwrap();
    assert_eq!((http.path.as_deref(), http.path_override), (Some("/check"), None));
    assert_eq!(
        (http.headers_to_upstream, external.headers_to_auth),
        (vec!["x-user".to_owned(), "x-group".to_owned()], vec!["cookie".to_owned()])
    );
    assert_eq!((external.body.unwrap().max_bytes, external.timeout), (Size(8192), Span::ms(250)));
    assert_eq!((external.fail_open, external.status_on_error), (true, 503));
    assert_eq!((backend.protocol, backend.endpoints[0].port), (UpstreamProtocol::Http1, 9001));
    let (external, _) = only(&with(
        "{grpc: {backendRefs: [{name: auth, port: 9000}], backendSettings: {}}, headersToExtAuth: [x-a], \
          contextExtensions: [{name: tenant, type: Value, value: a}]}",
    ));
    assert_eq!(external.headers_to_auth, ["x-a"]);
    assert_eq!(
        (&*external.context_extensions[0].name, &*external.context_extensions[0].value),
        ("tenant", "a")
    );
    let (external, _) =
        only(&with("{http: {backendRefs: [{name: auth, port: 9000}], path: /a, pathOverride: /b}}"));
    let http = external.http.unwrap();
    assert_eq!((http.path, http.path_override.as_deref()), (None, Some("/b")));
}

#[test]
fn several_servers_are_asked_alike_or_not_at_all() {
    let many = with(
        "{grpc: {backendRefs: [{name: auth, port: 9000}, {group: gateway.envoyproxy.io, kind: Backend, name: fixed}]}}",
    );
    let (_, backend) = only(&many);
    let fixed = HostSource::Host { host: "10.9.9.9".to_owned(), port: 9001 };
    assert_eq!(
        gateway(&many).endpoints[&backend.name],
        EndpointSource::Hosts(vec![service("ns", "auth"), fixed])
    );
    // The API server fills it in where it is left out.
    let (_, backend) = only(&with("{grpc: {backendRefs: [{name: auth, port: 9000, weight: 1}]}}"));
    assert!(!backend.name.is_empty());
    for uneven in [
        "{name: auth, port: 9000, weight: 0}",
        "{name: auth, port: 9000, weight: 3}, {group: gateway.envoyproxy.io, kind: Backend, name: fixed, weight: 1}",
    ] {
        assert_closed(
            &with(&format!("{{grpc: {{backendRefs: [{uneven}]}}}}")),
            "].weight: servers are asked alike",
        );
    }
}

#[test]
fn a_server_that_cannot_be_asked_closes_unless_the_policy_fails_open() {
    for (server, part) in [
        (
            "grpc: {backendRefs: [{name: gone, port: 9000}]}",
            "backendRefs[0]: the Service ns/gone does not exist",
        ),
        ("grpc: {backendRefs: [{name: auth, port: 1}]}", "has no port 1"),
        ("grpc: {backendRefs: [{name: auth}]}", "needs a port"),
        (
            "grpc: {backendRefs: [{name: far, namespace: other, port: 9000}]}",
            "no ReferenceGrant in namespace other",
        ),
        ("grpc: {}", "extAuth.grpc.backendRefs is missing"),
        ("http: {backendRefs: [{kind: InferencePool, name: p}]}", "cannot be asked"),
        (
            "grpc: {backendRefs: [{name: auth, port: 9000}]}, http: {backendRefs: [{name: auth, port: 9000}]}",
            "cannot both be",
        ),
    ] {
        assert_closed(&with(&format!("{{{server}}}")), part);
        let open = with(&format!("{{{server}, failOpen: true}}"));
        assert!(asked(&open).is_empty(), "{:?}", asked(&open));
        let (is_accepted, _, message) = accepted(&open, "p");
        assert!(is_accepted && message.contains("all requests pass") && message.contains(part), "{message}");
    }
    assert_closed(&with("{failOpen: true}"), "extAuth.grpc and extAuth.http are missing");
    let auth = "grpc: {backendRefs: [{name: auth, port: 9000}]}";
    assert_closed(&with(&format!("{{{auth}, timeout: soon}}")), "extAuth.timeout");
    assert_closed(&with(&format!("{{{auth}, statusOnError: 200}}")), "extAuth");
    assert_closed(&with(&format!("{{{auth}, bodyToExtAuth: {{}}}}")), "extAuth");
    let path = "{http: {backendRefs: [{name: auth, port: 9000}], path: bad}}";
    assert_closed(&with(path), "must start with /");
}

#[test]
fn another_namespaces_server_needs_a_grant() {
    let grant = "
apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: {name: g, namespace: other}
spec:
  from: [{group: gateway.envoyproxy.io, kind: SecurityPolicy, namespace: ns}]
  to: [{group: '', kind: Service}]
---
";
    let far = "extAuth: {grpc: {backendRefs: [{name: far, namespace: other, port: 9000}]}}";
    let translation = scene(&(SERVERS.to_owned() + grant + &policy("p", GW, far)));
    let (_, backend) = only(&translation);
    assert_eq!(
        gateway(&translation).endpoints[&backend.name],
        EndpointSource::Hosts(vec![service("other", "far")])
    );
}

#[test]
fn tls_towards_a_server_is_as_its_policy_says() {
    let tls = "
apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: {name: t, namespace: ns}
spec:
  targetRefs: [{group: '', kind: Service, name: auth}]
  validation: {hostname: auth.example, wellKnownCACertificates: System}
---
";
    let spec = "extAuth: {grpc: {backendRefs: [{name: auth, port: 9000}]}}";
    let translation = scene(&(SERVERS.to_owned() + tls + &policy("p", GW, spec)));
    let (_, backend) = only(&translation);
    assert_eq!(backend.protocol, UpstreamProtocol::H2);
    assert_eq!(backend.tls.unwrap().sni.as_deref(), Some("auth.example"));
}

#[test]
fn a_route_is_found_anew_only_where_the_server_is_asked_before() {
    let auth = "grpc: {backendRefs: [{name: auth, port: 9000}]}, recomputeRoute: true";
    assert!(accepted(&with(&format!("{{{auth}}}")), "p").0);
    let of_route = policy("p", A, &format!("extAuth: {{{auth}}}"));
    let translation = scene(&(SERVERS.to_owned() + &of_route));
    assert!(asked(&translation).values().all(|it| it == "closed"));
    assert!(accepted(&translation, "p").2.contains("spec.extAuth.recomputeRoute"));
    assert_closed(&with(&format!("{{{auth}, bodyToExtAuth: {{maxRequestBytes: 1}}}}")), "recomputeRoute");
}

/// What a rule of the HTTPRoute `f` with this filter becomes, with what its status says.
fn filtered(filter: &str) -> (Translation, Option<String>) {
    let route = format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{name: f, namespace: ns}}\n\
         spec: {{parentRefs: [{{name: gw, sectionName: one}}], rules: [{{matches: [{{path: {{value: /f}}}}], \
         filters: [{{type: ExternalAuth, externalAuth: {filter}}}], backendRefs: [{{name: s, port: 80}}]}}]}}\n---\n"
    );
    let translation = scene(&(SERVERS.to_owned() + &route));
    let places = asked(&translation);
    let place = places.get("one f/0").cloned();
    (translation, place)
}

#[test]
fn a_filter_has_a_server_asked_by_its_rule() {
    let (translation, place) = filtered(
        "{protocol: GRPC, backendRef: {name: auth, port: 9000}, grpc: {allowedHeaders: [X-A]}, forwardBody: {maxSize: 1024}}",
    );
    let name = place.expect("a policy");
    let external = policies(&translation)[name.as_str()].external.clone().unwrap();
    assert_eq!(
        (external.headers_to_auth, external.body.unwrap().max_bytes),
        (vec!["x-a".to_owned()], Size(1024))
    );
    let server = external.grpc.unwrap().backend;
    let backends = &document(&translation).backends;
    let backend = backends.iter().find(|backend| backend.name == server).unwrap();
    assert_eq!(backend.protocol, UpstreamProtocol::H2c);
    assert_eq!(gateway(&translation).endpoints[&server], EndpointSource::Hosts(vec![service("ns", "auth")]));
    let (translation, place) = filtered(
        "{protocol: HTTP, backendRef: {name: auth, port: 9000}, http: {path: /check, allowedHeaders: [cookie], \
          allowedResponseHeaders: [x-user]}, forwardBody: {maxSize: 0}}",
    );
    let external = policies(&translation)[place.unwrap().as_str()].external.clone().unwrap();
    let http = external.http.unwrap();
    assert_eq!((http.path.as_deref(), http.headers_to_upstream), (Some("/check"), vec!["x-user".to_owned()]));
    assert_eq!((external.headers_to_auth, external.body), (vec!["cookie".to_owned()], None));
}

#[test]
fn a_filter_that_cannot_be_honoured_closes_its_rule() {
    for filter in [
        "{protocol: GRPC, backendRef: {name: gone, port: 9000}}",
        "{protocol: GRPC, backendRef: {name: far, namespace: other, port: 9000}}",
        "{protocol: TCP, backendRef: {name: auth, port: 9000}}",
        "{protocol: HTTP, backendRef: {name: auth, port: 9000}}",
        "{protocol: HTTP, backendRef: {name: auth, port: 9000}, http: {path: bad, allowedResponseHeaders: [x]}}",
        "{protocol: GRPC, backendRef: {name: auth, port: 9000}, grpc: {allowedHeaders: ['a b']}}",
    ] {
        let (translation, place) = filtered(filter);
        assert_eq!(place, None, "{filter}");
        let routes = &document(&translation).routes;
        let rule = &routes.iter().find(|route| route.name == "ns.f").unwrap().rules[0];
        assert_eq!(
            rule.targets.iter().map(|target| target.status).collect::<Vec<_>>(),
            [Some(500)],
            "{filter}"
        );
        let conditions = crate::support::conditions(&translation, Kind::HttpRoute, "f");
        assert!(conditions.iter().any(|it| it.message.contains("externalAuth")), "{filter}: {conditions:?}");
    }
}
