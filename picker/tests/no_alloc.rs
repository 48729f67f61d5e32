//! A pick takes nothing from the heap.

use std::{collections::BTreeMap, sync::Arc};

use http::HeaderMap;
use penstock_config::{EndpointSpec, Engine, MetricsSpec, PoolSpec};
use penstock_picker::{LoadSample, Outcome, PickRequest, Picker};
use serde_json::json;

fn spec(endpoints: u16) -> PoolSpec {
    let plugins = [
        "expected-ttft-scorer",
        "queue-scorer",
        "running-requests-size-scorer",
        "kv-cache-utilization-scorer",
        "lora-affinity-scorer",
        "load-aware-scorer",
        "active-request-scorer",
        "token-load-scorer",
        "prefix-cache-scorer",
        "no-hit-lru-scorer",
        "session-affinity-scorer",
        "utilization-filter",
    ];
    PoolSpec {
        endpoints: (0..endpoints)
            .map(|port| EndpointSpec {
                address: ([10, 0, 0, 1], port + 1).into(),
                name: format!("default/pod-{port}").into(),
                engine: Engine::Vllm,
                metrics_address: ([10, 0, 0, 1], port + 1).into(),
                labels: BTreeMap::new(),
            })
            .collect(),
        metrics: MetricsSpec { enabled: false, ..MetricsSpec::default() },
        picker: Some(json!({
            "apiVersion": "llm-d.ai/v1alpha1",
            "kind": "EndpointPickerConfig",
            "plugins": plugins.map(|kind| json!({"type": kind})),
            "schedulingProfiles":
                [{"name": "default", "plugins": plugins.map(|kind| json!({"pluginRef": kind}))}],
        })),
        ..PoolSpec::new("pool")
    }
}

#[tokio::test]
async fn a_pick_with_every_scorer_allocates_nothing() {
    let picker = Picker::new();
    picker.apply(&[Arc::new(spec(100))]).unwrap();
    let pool = picker.pool("pool").unwrap();
    for endpoint in pool.endpoints() {
        let sample = LoadSample { running: 3, kv_usage: 0.3, ..LoadSample::default() };
        endpoint.store_sample(sample, endpoint.mark());
    }
    let prompts: Vec<Vec<u64>> = (0..20_u64)
        .map(|prompt| {
            (0..128).map(|block| (prompt + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ block).collect()
        })
        .collect();
    let headers = HeaderMap::new();
    let pick_all = || {
        for blocks in &prompts {
            let request = PickRequest {
                model: "meta-llama/Llama-3.1-8B-Instruct",
                blocks,
                prompt_bytes: 32 << 10,
                max_tokens: Some(100),
                priority: 0,
                consumer: "",
                headers: &headers,
                exclude: &[],
            };
            let mut picked = pool.pick(&request).unwrap();
            picked.in_flight.first_byte();
            picked.in_flight.finish(Outcome::Served);
        }
    };
    // The first round grows what is kept: scratch space, and the index by the new prompts.
    pick_all();
    let counted = allocation_counter::measure(pick_all);
    assert_eq!(counted.count_total, 0, "{counted:?}");
}
