//! The state that all connections of a server share.

use std::{net::SocketAddr, sync::Arc};

use super::{
    api::Api,
    faults::{Action, Fault, Faults},
    issuing::Vault,
    options::Options,
    record::Record,
};

/// One server's options and all that its requests change.
#[derive(Debug)]
pub(crate) struct ServerState {
    pub(crate) options: Arc<Options>,
    pub(crate) addr: SocketAddr,
    pub(crate) api: Api,
    pub(crate) faults: Faults,
    pub(crate) record: Arc<Record>,
    /// What credentials it knows, if it asks for any.
    pub(crate) vault: Option<Vault>,
}

impl ServerState {
    pub(crate) fn new(options: Options, addr: SocketAddr) -> Self {
        let faults = Faults::new(options.seed);
        if options.failure_rate_percent > 0 {
            let rate = f64::from(options.failure_rate_percent) / 100.0;
            faults.push(Fault::new(Action::Failure { kind: None }).rate(rate));
        }
        let options = Arc::new(options);
        Self {
            addr,
            api: Api::new(options.clone()),
            faults,
            record: Arc::new(Record::new(options.record_requests)),
            vault: options.credentials.clone().map(Vault::new),
            options,
        }
    }
}
