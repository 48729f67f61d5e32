//! A lookup allocates nothing.

use http::{HeaderMap, Method};
use penstock_config::{ListenerIndex, Lookup, NoProfileCheck, RequestModel, RouteRequest, Snapshot};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[test]
fn a_lookup_allocates_nothing() {
    let text = include_str!("../../examples/production.yaml");
    let snapshot = Snapshot::compile(text, &NoProfileCheck).unwrap_or_else(|faults| panic!("{faults}"));
    let headers: HeaderMap =
        [("x-tenant", "batch"), ("content-type", "application/json"), ("user-agent", "test")]
            .map(|(name, value)| (http::HeaderName::from_static(name), http::HeaderValue::from_static(value)))
            .into_iter()
            .collect();
    let ask = |path, model| RouteRequest {
        host: "LLM.example.com:443",
        path,
        query: Some("a=b&c=d"),
        method: &Method::POST,
        headers: &headers,
        model,
    };
    let requests = [
        ask("/v1/chat/completions", RequestModel::Unread),
        ask("/v1/chat/completions", RequestModel::Named("llama-3.3-70b")),
        ask("/v1/chat/completions", RequestModel::Named("llama-3.3-70b-ft-x1")),
        ask("/v1/chat/completions", RequestModel::Named("unknown")),
    ];
    let allocated = tikv_jemalloc_ctl::thread::allocatedp::read().expect("jemalloc counts");
    let mut found = 0;
    let mut round = || {
        for request in &requests {
            found += usize::from(matches!(snapshot.route(ListenerIndex(0), request), Lookup::Rule(_)));
        }
    };
    // The first use of a regular expression by a thread makes its scratch space.
    round();
    let before = allocated.get();
    for _ in 0..1000 {
        round();
    }
    assert_eq!(allocated.get() - before, 0);
    assert_eq!(found, 2 * 1001);
}
