//! A large cluster: 2,000 routes, 100 pools, 10,000 Pods.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use penstock_picker::EpcCheck;
use penstock_translate::world::{Key, World};
use penstock_translate::{EndpointSource, Options, endpoints, render, translate};
use serde_json::{Value, json};

const ROUTES: usize = 2_000;
const POOLS: usize = 100;
const PODS: usize = 10_000;

fn large() -> World {
    let mut world = World::default();
    let mut apply = |object: Value| drop(world.apply(object).expect("an object"));
    apply(json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass", "metadata": {"name": "penstock"},
        "spec": {"controllerName": "penstock.dev/gateway-controller"},
    }));
    apply(json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": {"name": "gw", "namespace": "ai"},
        "spec": {"gatewayClassName": "penstock", "listeners": [{"name": "http", "protocol": "HTTP", "port": 80}]},
    }));
    for pool in 0..POOLS {
        apply(json!({
            "apiVersion": "inference.networking.k8s.io/v1", "kind": "InferencePool",
            "metadata": {"name": format!("pool-{pool}"), "namespace": "ai"},
            "spec": {"selector": {"matchLabels": {"app": format!("pool-{pool}")}}, "targetPorts": [{"number": 8000}]},
        }));
    }
    for route in 0..ROUTES {
        apply(json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
            "metadata": {"name": format!("route-{route}"), "namespace": "ai", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"parentRefs": [{"name": "gw"}], "rules": [{
                "matches": [{"headers": [{"name": "x-ai-eg-model", "value": format!("model-{route}")}]}],
                "backendRefs": [{
                    "group": "inference.networking.k8s.io", "kind": "InferencePool",
                    "name": format!("pool-{}", route % POOLS),
                }],
            }]},
        }));
    }
    for pod in 0..PODS {
        let app = format!("pool-{}", pod % POOLS);
        apply(json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": format!("pod-{pod}"), "namespace": "ai", "labels": {"app": app}},
            "status": {
                "podIP": format!("10.{}.{}.1", pod / 256, pod % 256),
                "conditions": [{"type": "Ready", "status": "True"}],
            },
        }));
    }
    world
}

fn bench(criterion: &mut Criterion) {
    let world = large();
    let options = Options { profiles: Arc::new(EpcCheck), ..Options::default() };
    let mut group = criterion.benchmark_group("2,000 routes, 100 pools, 10,000 pods");
    group.sample_size(10);
    group.bench_function("translate", |bencher| bencher.iter(|| translate(black_box(&world), &options)));
    let translation = translate(&world, &options);
    let document = &translation.gateways[&Key::new("ai", "gw")].document;
    group.bench_function("render", |bencher| bencher.iter(|| render(black_box(document))));
    let source = EndpointSource::Pool(Key::new("ai", "pool-7"));
    group.bench_function("endpoints of one pool", |bencher| {
        bencher.iter(|| endpoints(black_box(&world), &source, &options));
    });
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
