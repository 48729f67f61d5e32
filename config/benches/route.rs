//! The cost of a lookup by the number of rules, where the rules differ by model, host, path or header.

use std::fmt::Write as _;
use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use http::{HeaderMap, HeaderValue, Method};
use penstock_config::{ListenerIndex, Lookup, NoProfileCheck, RequestModel, RouteRequest, Snapshot};

const HEAD: &str = "apiVersion: penstock.dev/v1alpha1\nkind: RoutingConfig\nlisteners: [{name: http, address: '127.0.0.1:0'}]\n\
                    pools: [{name: p}]\nroutes:\n";

/// A route, written as YAML, that the `n`th request alone finds.
type Write = fn(usize) -> String;

const KINDS: [(&str, Write); 4] = [
    ("model", |n| format!("models: [model-{n}]")),
    ("host", |_| "matches: []".to_owned()),
    ("path", |n| format!("matches: [{{path: {{value: /v1/path-{n}}}}}]")),
    ("header", |n| format!("matches: [{{headers: [{{name: x-tenant, value: tenant-{n}}}]}}]")),
];

fn compile(kind: &str, write: Write, rules: usize) -> Snapshot {
    let mut text = HEAD.to_owned();
    for n in 0..rules {
        let hosts =
            if kind == "host" { format!("hostnames: [host-{n}.example.com], ") } else { String::new() };
        let _ = writeln!(text, "- {{name: r{n}, {hosts}rules: [{{{}, targets: [{{pool: p}}]}}]}}", write(n));
    }
    Snapshot::compile(&text, &NoProfileCheck).unwrap_or_else(|faults| panic!("{faults}"))
}

fn route(criterion: &mut Criterion) {
    for (kind, write) in KINDS {
        let mut group = criterion.benchmark_group(format!("route_by_{kind}"));
        for rules in [1, 100, 2_000] {
            let snapshot = compile(kind, write, rules);
            let n = rules / 2;
            let (host, path, model) =
                (format!("host-{n}.example.com"), format!("/v1/path-{n}/x"), format!("model-{n}"));
            let mut headers = HeaderMap::new();
            for (name, value) in [
                ("host", "h"),
                ("user-agent", "openai/1.0"),
                ("accept", "*/*"),
                ("content-type", "application/json"),
            ] {
                headers.insert(name, HeaderValue::from_static(value));
            }
            headers.insert("x-tenant", HeaderValue::from_str(&format!("tenant-{n}")).expect("a value"));
            let request = RouteRequest {
                host: &host,
                path: &path,
                query: None,
                method: &Method::POST,
                headers: &headers,
                model: RequestModel::Named(&model),
            };
            assert!(matches!(snapshot.route(ListenerIndex(0), &request), Lookup::Rule(_)));
            group.bench_with_input(BenchmarkId::from_parameter(rules), &request, |bencher, request| {
                bencher.iter(|| snapshot.route(ListenerIndex(0), black_box(request)));
            });
        }
        group.finish();
    }
}

criterion_group!(benches, route);
criterion_main!(benches);
