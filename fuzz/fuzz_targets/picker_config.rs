//! No `EndpointPickerConfig` makes the profile's builder panic; one without faults makes a pool that can pick.

#![no_main]

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock},
};

use libfuzzer_sys::fuzz_target;
use penstock_config::{EndpointSpec, Engine, MetricsSpec, PoolSpec, ProfileCheck as _};
use penstock_picker::{EpcCheck, PickRequest, Picker};
use tokio::runtime::{Builder, Runtime};

/// Pools want one to be there; nothing runs in it.
static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().build().expect("a runtime"));

fuzz_target!(|data: &[u8]| {
    let Ok(document) = serde_json::from_slice(data) else { return };
    let faults = EpcCheck.check(&document);
    let _context = RUNTIME.enter();
    let spec = PoolSpec {
        endpoints: [8000, 8001].map(endpoint).into(),
        metrics: MetricsSpec { enabled: false, ..MetricsSpec::default() },
        picker: Some(document),
        ..PoolSpec::new("pool")
    };
    let picker = Picker::new();
    assert_eq!(picker.apply(&[Arc::new(spec)]).is_ok(), faults.is_empty(), "{faults:?}");
    let Some(pool) = picker.pool("pool") else { return };
    let request = PickRequest {
        model: "m",
        blocks: &[1, 2, 3],
        prompt_bytes: 800,
        max_tokens: None,
        priority: 0,
        consumer: "",
        headers: &http::HeaderMap::new(),
        exclude: &[],
    };
    pool.pick(&request).expect("both endpoints are free");
});

fn endpoint(port: u16) -> EndpointSpec {
    let address = ([10, 0, 0, 1], port).into();
    let name = format!("ns/{port}").into();
    EndpointSpec { address, name, engine: Engine::Vllm, metrics_address: address, labels: BTreeMap::new() }
}
