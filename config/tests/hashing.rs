//! Which requests go to the same endpoint of a backend: what is wrong with it has its place, and what it becomes.

use penstock_config::{NoProfileCheck, Snapshot};

fn compile(backend: &str) -> Result<Snapshot, Vec<String>> {
    let text = format!(
        "apiVersion: penstock.dev/v1alpha1\nkind: RoutingConfig\nlisteners: [{{name: a, address: '127.0.0.1:0'}}]\n\
         backends: [{{name: b, endpoints: [{{host: 127.0.0.1, port: 1}}], {backend}}}]\n\
         routes: [{{name: r, rules: [{{targets: [{{backend: b}}]}}]}}]\n"
    );
    Snapshot::compile(&text, &NoProfileCheck)
        .map_err(|faults| faults.into_iter().map(|fault| fault.to_string()).collect())
}

#[test]
fn each_fault_has_its_place_and_says_what_to_do() {
    let many: Vec<String> = (0..17).map(|at| format!("a{at}: ''")).collect();
    let many = format!("hashBy: {{cookie: {{name: a, ttl: 1h, attributes: {{{}}}}}}}", many.join(", "));
    for (backend, place, word) in [
        ("hashBy: {}", ".hashBy", "says nothing"),
        ("balancing: Random, hashBy: {client: true}", ".hashBy", "takes the place of balancing"),
        ("hashBy: {headers: ['a b']}", ".hashBy.headers[0]", ""),
        ("hashBy: {headers: [x-ai-eg-model]}", ".hashBy.headers[0]", "gateway's own"),
        ("hashBy: {cookie: {name: 'a;b'}}", ".hashBy.cookie.name", "not a cookie's name"),
        ("hashBy: {cookie: {name: a, attributes: {Path: /}}}", ".cookie.attributes", "of no use without ttl"),
        (
            "hashBy: {cookie: {name: a, ttl: 1h, attributes: {Path: '/; Domain=x'}}}",
            ".cookie.attributes",
            "no attribute",
        ),
        ("hashBy: {cookie: {name: a, ttl: 9000h}}", ".cookie.ttl", "8760h"),
        (&many, ".cookie.attributes", "has 17 members; the most is 16"),
    ] {
        let found = compile(backend).map(drop).unwrap_err();
        assert_eq!(found.len(), 1, "{backend}: {found:?}");
        assert!(found[0].contains(place) && found[0].contains(word), "{backend}: {found:?}");
    }
}

#[test]
fn a_cookie_that_is_given_has_its_attributes_once() {
    for (cookie, attributes) in [
        ("{name: a}", None),
        ("{name: a, ttl: 0s}", Some("; HttpOnly")),
        ("{name: a, ttl: 1h}", Some("; Max-Age=3600; HttpOnly")),
        (
            "{name: a, ttl: 1h, attributes: {SameSite: Lax, Secure: '', HttpOnly: ''}}",
            Some("; Max-Age=3600; HttpOnly; SameSite=Lax; Secure"),
        ),
    ] {
        let snapshot = compile(&format!("hashBy: {{cookie: {cookie}}}")).unwrap();
        let by = snapshot.backends[0].hash_by.as_ref().unwrap();
        assert_eq!(by.cookie.as_ref().unwrap().attributes.as_deref(), attributes, "{cookie}");
    }
}
