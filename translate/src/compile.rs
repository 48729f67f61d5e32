//! The data plane's own validator, and documents for it that have nothing in them yet.

use std::net::{Ipv4Addr, SocketAddr};

use penstock_config::raw::{Document, RawBackend, RawLimitStore, RawListener, RawMetadata, RawPolicy};
use penstock_config::{Address, Fault, NoProfileCheck, ProfileCheck, Snapshot};

use crate::pools;
use crate::world::shorten;

/// The name by which documents know the Secret that has what they name.
pub(crate) const SECRETS: &str = "secrets";

/// Whether the data plane takes a document.
///
/// # Errors
/// It does not: its faults.
pub(crate) fn compile(document: &Document, profiles: &dyn ProfileCheck) -> Result<(), Vec<Fault>> {
    let text = serde_json::to_string(document).map_err(|error| vec![Fault::new("", error.to_string())])?;
    Snapshot::compile(&text, profiles).map(|_| ()).map_err(|faults| faults.iter().cloned().collect())
}

/// Whether the data plane takes policies, in a document in which there is nothing else but the server that they ask.
///
/// # Errors
/// It does not: the first fault.
pub(crate) fn compile_policies(policies: &[RawPolicy], server: Option<RawBackend>) -> Result<(), Fault> {
    let mut document = with_listener(policies.iter().map(|policy| policy.name.clone()).collect());
    document.backends.extend(server);
    document.secrets_from = Some(SECRETS.to_owned());
    document.policies = policies.to_vec();
    first_fault(&document)
}

/// Whether the data plane takes limits of what upstreams are asked for.
///
/// # Errors
/// It does not: the first fault.
pub(crate) fn compile_quota(policy: RawPolicy) -> Result<(), Fault> {
    let mut document = with_listener(Vec::new());
    let mut pool = pools::raw_pool("pool".to_owned());
    pool.policies.push(policy.name.clone());
    document.pools.push(pool);
    document.policies.push(policy);
    first_fault(&document)
}

/// Whether the data plane takes a store of counters.
///
/// # Errors
/// It does not: the first fault.
pub(crate) fn compile_store(store: RawLimitStore) -> Result<(), Fault> {
    let mut document = with_listener(Vec::new());
    document.limit_store = Some(store);
    first_fault(&document)
}

fn first_fault(document: &Document) -> Result<(), Fault> {
    let faults = compile(document, &NoProfileCheck).err();
    faults.and_then(|faults| faults.into_iter().next()).map_or(Ok(()), Err)
}

fn with_listener(policies: Vec<String>) -> Document {
    let mut document = blank(None);
    document.listeners.push(RawListener {
        policies,
        ..RawListener::new("all", Address(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))))
    });
    document
}

/// Whether the data plane takes a listener, in a document in which there is nothing else.
///
/// # Errors
/// It does not: the first fault.
pub(crate) fn compile_listener(listener: &RawListener) -> Result<(), Fault> {
    let mut document = blank(None);
    document.secrets_from = Some(SECRETS.to_owned());
    document.listeners.push(listener.clone());
    let faults = compile(&document, &NoProfileCheck).err();
    faults.and_then(|faults| faults.into_iter().next()).map_or(Ok(()), Err)
}

/// A document with nothing but a name.
pub(crate) fn blank(name: Option<String>) -> Document {
    Document {
        api_version: Default::default(),
        kind: Default::default(),
        metadata: RawMetadata { name, generation: None },
        replicas: 1,
        secrets_from: None,
        listeners: Vec::new(),
        routes: Vec::new(),
        consumers: Vec::new(),
        policies: Vec::new(),
        prices: Vec::new(),
        prices_file: None,
        limit_store: None,
        models: Vec::new(),
        pools: Vec::new(),
        backends: Vec::new(),
        limits: Default::default(),
        peek: Default::default(),
        access_log: Default::default(),
        telemetry: Default::default(),
        admin: Default::default(),
        shutdown: Default::default(),
    }
}

/// A fault for people who did not write the document: without the place in it, but with the field.
pub(crate) fn shown(fault: &Fault) -> String {
    let field = fault.path.rsplit("].").next().unwrap_or_default();
    let message = shorten(&fault.message, 500);
    if field.is_empty() || field == fault.path { message } else { format!("{field}: {message}") }
}
