//! No objects make the translation panic, and every document that it makes is one that a data plane takes.
//!
//! The input is a sequence of JSON objects, as the API server sends them.

#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use penstock_config::{Endpoints, Engine, Snapshot};
use penstock_picker::EpcCheck;
use penstock_translate::{
    Adoption, Options, endpoints, merge, render, render_endpoints, translate, world::World,
};
use serde_json::{Deserializer, Value};

fuzz_target!(|data: &[u8]| {
    let mut world = World::default();
    for object in Deserializer::from_slice(data).into_iter::<Value>().map_while(Result::ok) {
        let _ = world.apply(object);
    }
    let profiles = Arc::new(EpcCheck);
    let options = Options { adoption: Adoption::EnvoyGateway, profiles, ..Options::default() };
    let translation = translate(&world, &options);
    for (key, gateway) in &translation.gateways {
        let text = render(&gateway.document).expect("a document can be written");
        if let Err(faults) = Snapshot::compile(&text, &EpcCheck) {
            panic!("{key}: {faults}\n{text}");
        }
        for (name, source) in &gateway.endpoints {
            let found = endpoints(&world, source, &options);
            let text = render_endpoints(&found, name, None).expect("a list can be written");
            let (pool, backend) =
                (Endpoints::compile_for_pool(&text, Engine::Vllm), Endpoints::compile_for_backend(&text));
            assert!(pool.is_ok() || backend.is_ok(), "{name}: {pool:?} {backend:?}\n{text}");
        }
    }
    for update in &translation.statuses {
        merge(&Value::Null, update, "2026-01-01T00:00:00Z");
    }
});
