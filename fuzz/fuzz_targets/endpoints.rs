//! No text makes the compiler of `Endpoints` documents panic, and a list that it takes can be connected to.

#![no_main]

use std::collections::HashSet;

use libfuzzer_sys::fuzz_target;
use penstock_config::{BackendEndpoint, EndpointSpec, Endpoints, Engine, check_endpoints};

fuzz_target!(|text: &str| {
    let pool = Endpoints::<EndpointSpec>::compile_for_pool(text, Engine::Vllm);
    let backend = Endpoints::<BackendEndpoint>::compile_for_backend(text);
    if let Ok(list) = &pool {
        let addresses: HashSet<_> = list.endpoints.iter().map(|endpoint| endpoint.address).collect();
        assert_eq!(addresses.len(), list.endpoints.len(), "an address is there twice");
        assert!(addresses.iter().all(|address| address.port() != 0 && !address.ip().is_unspecified()));
    }
    if let Ok(list) = &backend {
        assert!(list.endpoints.iter().all(|endpoint| endpoint.port != 0));
    }
    for faults in [pool.as_ref().err(), backend.as_ref().err()].into_iter().flatten() {
        assert!(faults.iter().next().is_some(), "refused without a fault");
        assert!(faults.to_string().len() < 1 << 20, "the faults are longer than any list");
    }
    // For tools that are handed any document: one of the two kinds decides.
    match check_endpoints(text) {
        Some(Ok(())) => assert!(pool.is_ok() || backend.is_ok()),
        Some(Err(_)) => assert!(pool.is_err() || backend.is_err()),
        None => {}
    }
});
