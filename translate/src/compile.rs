//! The data plane's own validator, and documents for it that have nothing in them yet.

use std::net::{Ipv4Addr, SocketAddr};

use penstock_config::raw::{Document, RawBackend, RawListener, RawMetadata, RawPolicy};
use penstock_config::{Address, Fault, NoProfileCheck, ProfileCheck, Snapshot};

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
    let mut document = blank(None);
    document.backends.extend(server);
    document.secrets_from = Some(SECRETS.to_owned());
    document.policies = policies.to_vec();
    document.listeners.push(RawListener {
        policies: policies.iter().map(|policy| policy.name.clone()).collect(),
        ..RawListener::new("all", Address(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))))
    });
    let faults = compile(&document, &NoProfileCheck).err();
    faults.and_then(|faults| faults.into_iter().next()).map_or(Ok(()), Err)
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
        models: Vec::new(),
        pools: Vec::new(),
        backends: Vec::new(),
        limits: Default::default(),
        peek: Default::default(),
        access_log: Default::default(),
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
