//! Envoy Gateway's Backends.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::rc::Rc;

use penstock_config::UpstreamProtocol;
use penstock_config::raw::{RawBackend, RawBackendEndpoint, RawHeaderEdits, RawUpstreamTls};

use crate::api::BackendEndpoint;
use crate::context::{Context, RefError, Secrets};
use crate::hosts::{is_own, is_own_host};
use crate::output::{EndpointSource, HostSource};
use crate::policies::{Policies, upstream_tls};
use crate::service::{named_by, protocol, raw_backend};
use crate::status::{Condition, Status, StatusUpdate};
use crate::upstream::{RawUpstream, Upstream, UpstreamKey};
use crate::world::{Key, ObjectId};

/// The Backends that something leads to, each read once.
pub(crate) struct Backends<'a, 'c> {
    context: &'c Context<'a>,
    policies: &'c Policies<'a>,
    read: BTreeMap<Key, Result<Rc<BackendParts>, RefError>>,
}

/// A Backend as documents have it, but for its name there: an AIServiceBackend makes another backend of it.
pub(crate) struct BackendParts {
    endpoints: Vec<RawBackendEndpoint>,
    source: Option<EndpointSource>,
    protocol: UpstreamProtocol,
    tls: Option<RawUpstreamTls>,
    secrets: Secrets,
}

impl<'a, 'c> Backends<'a, 'c> {
    pub(crate) fn new(context: &'c Context<'a>, policies: &'c Policies<'a>) -> Self {
        Self { context, policies, read: BTreeMap::new() }
    }

    /// A Backend.
    ///
    /// # Errors
    /// It does not exist or cannot be used.
    pub(crate) fn get(&mut self, key: &Key) -> Result<Rc<BackendParts>, RefError> {
        if let Some(read) = self.read.get(key) {
            return read.clone();
        }
        let read = read(self.context, self.policies, key).map(Rc::new);
        self.read.insert(key.clone(), read.clone());
        read
    }

    /// What the statuses of Backends in use shall say. `problems` are what the check of documents found.
    pub(crate) fn statuses(
        &mut self,
        problems: &BTreeMap<UpstreamKey, String>,
        used: &BTreeSet<ObjectId>,
    ) -> Vec<StatusUpdate> {
        let mut statuses = Vec::new();
        for (key, object) in self.context.world.backends.iter() {
            if !used.contains(&object.id()) {
                continue;
            }
            let accepted = match (self.get(key), problems.get(&UpstreamKey::Backend(key.clone()))) {
                (Err(error), _) => Condition::no("Accepted", "Invalid", error.message),
                (Ok(_), Some(message)) => Condition::no("Accepted", "Invalid", message.as_str()),
                (Ok(_), None) => Condition::yes("Accepted", "Accepted", "the Backend can be used"),
            };
            let mut conditions = vec![accepted];
            conditions.extend(Condition::fields(&object.unread));
            statuses.push(StatusUpdate::new(object, Status::Conditions(conditions)));
        }
        statuses
    }
}

impl BackendParts {
    /// The backend of a document.
    pub(crate) fn upstream(&self, name: String) -> Upstream {
        let raw = RawBackend {
            endpoints: self.endpoints.clone(),
            protocol: self.protocol,
            tls: self.tls.clone(),
            ..raw_backend(name.clone())
        };
        Upstream {
            name,
            raw: RawUpstream::Backend(Box::new(raw)),
            source: self.source.clone(),
            secrets: self.secrets.clone(),
            headers: RawHeaderEdits::default(),
            body: Default::default(),
            grant: None,
        }
    }
}

fn read(context: &Context<'_>, policies: &Policies<'_>, key: &Key) -> Result<BackendParts, RefError> {
    let object = context.world.backends.get(key);
    let object = object
        .ok_or_else(|| RefError::new("BackendNotFound", format!("the Backend {key} does not exist")))?;
    let invalid = |message: String| RefError::new("InvalidBackend", format!("Backend {key}: {message}"));
    let spec = object.spec.as_ref().map_err(|error| invalid(error.clone()))?;
    if spec.kind.as_deref().is_some_and(|kind| kind != "Endpoints") {
        return Err(invalid("only type Endpoints is served".to_owned()));
    }
    if spec.endpoints.is_empty() {
        return Err(invalid("it has no endpoints".to_owned()));
    }
    let hosts: Result<Vec<HostSource>, String> =
        spec.endpoints.iter().map(|endpoint| host(context, endpoint)).collect();
    let hosts = hosts.map_err(invalid)?;
    let ports: BTreeSet<u16> = spec.endpoints.iter().filter_map(BackendEndpoint::port).collect();
    let (tls, secrets) = match (policies.tls().of_backend(key, &ports)?, &spec.tls) {
        (Some((tls, secrets)), _) => (Some(tls), secrets),
        (None, Some(tls)) => {
            let (tls, secrets) = upstream_tls(context, key, tls)?;
            (Some(tls), secrets)
        }
        (None, None) => (None, Secrets::new()),
    };
    let protocol = protocol(spec.app_protocols.iter().map(String::as_str), tls.is_some());
    // Where nothing can change, the document has it all.
    let fixed: Option<Vec<RawBackendEndpoint>> = hosts.iter().map(fixed).collect();
    let (endpoints, source) = match fixed {
        Some(mut endpoints) => {
            endpoints.dedup();
            (endpoints, None)
        }
        None => (Vec::new(), Some(EndpointSource::Hosts(hosts))),
    };
    Ok(BackendParts { endpoints, source, protocol, tls, secrets })
}

/// One endpoint of a Backend.
fn host(context: &Context<'_>, endpoint: &BackendEndpoint) -> Result<HostSource, String> {
    let allow_loopback = context.options.allow_loopback;
    match (&endpoint.fqdn, &endpoint.ip) {
        (Some(fqdn), None) => {
            let host = fqdn.hostname.trim_end_matches('.');
            if host.is_empty() || fqdn.port == 0 {
                return Err("an fqdn needs a hostname and a port".to_owned());
            }
            if !is_host(host) {
                return Err(format!("{:?} is not a hostname", shown(host)));
            }
            if is_own_host(host) && !allow_loopback {
                return Err(format!("{host} is the gateway itself"));
            }
            Ok(match named_by(context, host, fqdn.port) {
                Some(service) => HostSource::Service { service, port: fqdn.port },
                None => HostSource::Host { host: host.to_owned(), port: fqdn.port },
            })
        }
        (None, Some(ip)) => {
            let address: IpAddr =
                ip.address.parse().map_err(|_| format!("{:?} is not an IP address", shown(&ip.address)))?;
            if is_own(address) && !allow_loopback {
                return Err(format!("{address} is the gateway itself"));
            }
            if ip.port == 0 {
                return Err("an ip needs a port".to_owned());
            }
            Ok(HostSource::Host { host: address.to_string(), port: ip.port })
        }
        (None, None) => Err("an endpoint has neither fqdn nor ip: nothing else is served".to_owned()),
        (Some(_), Some(_)) => Err("an endpoint has both fqdn and ip".to_owned()),
    }
}

/// Whether a text can be a DNS name or an address. Underscores are let through, since names of services have them.
fn is_host(text: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(is_inner)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.parse::<IpAddr>().is_ok() || text.len() <= 253 && text.split('.').all(is_label)
}

fn fixed(source: &HostSource) -> Option<RawBackendEndpoint> {
    match source {
        HostSource::Host { host, port } => {
            Some(RawBackendEndpoint { host: host.clone(), port: *port, weight: 1 })
        }
        HostSource::Service { .. } => None,
    }
}

fn shown(text: &str) -> String {
    crate::world::shorten(text, 80)
}
