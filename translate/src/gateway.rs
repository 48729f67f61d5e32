//! Gateways: their listeners, settings and statuses.

mod config;
mod frontend;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use penstock_config::Address;
use penstock_config::raw::{RawCertificate, RawListener, RawListenerTls, RawProtocol};

use crate::api::{self, GatewayListener, SecretRef};
use crate::class::{self, Class, Parameters};
use crate::context::{Context, RefError, Referrer, Secrets, data_file};
use crate::options::ADMIN_PORT;
use crate::output::PortMapping;
use crate::status::{Condition, ListenerStatus, Status, StatusUpdate};
use crate::world::{Key, Kind, Object};
use crate::{certificates, names};

pub(crate) use config::config_statuses;

/// Kinds of routes that attach to HTTP listeners.
pub(crate) const HTTP_ROUTE: (&str, &str) = ("gateway.networking.k8s.io", "HTTPRoute");
const AI_ROUTE: (&str, &str) = ("aigateway.envoyproxy.io", "AIGatewayRoute");

/// A Gateway of ours.
pub(crate) struct Gateway<'a> {
    /// The object.
    pub(crate) object: &'a Arc<Object<api::Gateway>>,
    /// Its class's controller name.
    pub(crate) controller: String,
    /// Its listeners, in its order.
    pub(crate) listeners: Vec<Listener<'a>>,
    /// Its own settings or its class's, or why they cannot be had.
    pub(crate) parameters: Result<Option<Parameters>, String>,
    /// What its GatewayConfig has counted of requests.
    pub(crate) request_costs: &'a [api::AiRequestCost],
    /// Whether the settings are its own.
    has_own_parameters: bool,
}

/// A listener of a Gateway of ours.
pub(crate) struct Listener<'a> {
    /// As the Gateway has it.
    pub(crate) spec: &'a GatewayListener,
    /// As the document has it; `None` if it cannot be served.
    pub(crate) raw: Option<RawListener>,
    /// What the document names in it.
    pub(crate) secrets: Secrets,
    /// Kinds of routes that may attach.
    pub(crate) kinds: Vec<(&'static str, &'static str)>,
    /// How many routes are attached.
    pub(crate) attached: u32,
    /// The policy, by its position, that cannot be put on it, and why.
    pub(crate) client_fault: Option<(usize, String)>,
    /// Why what the Gateway wants of its clients cannot be asked for.
    pub(crate) frontend_fault: Option<String>,
    /// Why it is not accepted.
    refused: Option<RefError>,
    /// Why it conflicts with another.
    conflict: Option<RefError>,
    /// Why some reference of it leads nowhere.
    unresolved: Option<RefError>,
}

impl<'a> Gateway<'a> {
    /// Reads a Gateway of a class.
    pub(crate) fn read(
        context: &Context<'a>,
        object: &'a Arc<Object<api::Gateway>>,
        spec: &'a api::Gateway,
        class: &Class,
    ) -> Self {
        let namespace = &object.meta.key.namespace;
        let own = spec.infrastructure.as_ref().and_then(|it| it.parameters_ref.as_ref());
        let parameters = match own {
            Some(reference) => {
                let named = (reference.group.as_deref(), reference.kind.as_deref(), reference.name.as_str());
                class::parameters(context, named, Some(namespace)).map(Some)
            }
            None => class.parameters.clone(),
        };
        let mut listeners: Vec<Listener<'a>> =
            spec.listeners.iter().map(|listener| Listener::read(context, namespace, listener)).collect();
        for listener in &mut listeners {
            listener.ask_clients(context, &object.meta.key, frontend::of_port(spec, listener.spec.port));
        }
        find_conflicts(&mut listeners);
        for listener in &mut listeners {
            if listener.refused.is_some() || listener.conflict.is_some() {
                listener.raw = None;
            }
        }
        let controller = class.controller.clone();
        let request_costs = config::request_costs(context, object);
        Self { object, controller, listeners, parameters, request_costs, has_own_parameters: own.is_some() }
    }

    /// Its name.
    pub(crate) fn key(&self) -> &'a Key {
        &self.object.meta.key
    }

    /// The name of its class.
    pub(crate) fn class_name(&self) -> &str {
        self.object.spec.as_ref().map_or("", |spec| spec.gateway_class_name.as_str())
    }

    /// The ports that clients connect to, by number.
    pub(crate) fn ports(&self) -> Vec<PortMapping> {
        let served = self.listeners.iter().filter(|listener| listener.raw.is_some());
        let ports: BTreeMap<u16, &str> =
            served.map(|listener| (listener.spec.port, listener.spec.protocol.as_str())).collect();
        let mapping = |(port, protocol): (u16, &str)| PortMapping {
            name: format!("{}-{port}", protocol.to_ascii_lowercase()),
            port,
            container_port: PortMapping::container_port(port),
            node_port: None,
        };
        ports.into_iter().map(mapping).collect()
    }

    /// What its status shall say. `attached` is what policies make to be said of it, and of a listener of it by name.
    pub(crate) fn status(&self, attached: impl Fn(Option<&str>) -> Vec<Condition>) -> StatusUpdate {
        let is_valid = |listener: &Listener<'_>| listener.raw.is_some() && listener.unresolved.is_none();
        let broken: Vec<&str> =
            self.listeners.iter().filter(|it| !is_valid(it)).map(|it| it.spec.name.as_str()).collect();
        let is_served = self.listeners.iter().any(|listener| listener.raw.is_some());
        let accepted = match &self.parameters {
            Err(message) if self.has_own_parameters => {
                Condition::no("Accepted", "InvalidParameters", message.as_str())
            }
            _ if !is_served => Condition::no(
                "Accepted",
                "ListenersNotValid",
                format!("no listener can be served; see those of {}", broken.join(", ")),
            ),
            _ if !broken.is_empty() => Condition::yes(
                "Accepted",
                "ListenersNotValid",
                format!("these listeners have faults: {}", broken.join(", ")),
            ),
            _ => Condition::yes("Accepted", "Accepted", "all listeners can be served"),
        };
        let mut conditions = vec![accepted];
        if !is_served {
            conditions.push(Condition::no("Programmed", "Invalid", "no listener can be served"));
        }
        let mut unread = self.object.unread.clone();
        if let (true, Ok(Some(parameters))) = (self.has_own_parameters, &self.parameters) {
            let key = &parameters.meta.key;
            unread.extend(parameters.unread.iter().map(|field| format!("{field} of EnvoyProxy {key}")));
        }
        conditions.extend(Condition::fields(&unread));
        conditions.extend(self.object.spec.as_ref().ok().and_then(frontend::insecure));
        conditions.extend(attached(None));
        let listener_status = |listener: &Listener<'_>| {
            let mut status = listener.status();
            status.conditions.extend(attached(Some(&listener.spec.name)));
            status
        };
        let listeners = self.listeners.iter().map(listener_status).collect();
        StatusUpdate::new(self.object, Status::Gateway { conditions, listeners })
    }
}

impl<'a> Listener<'a> {
    fn read(context: &Context<'a>, namespace: &str, spec: &'a GatewayListener) -> Self {
        let mut listener = Self {
            spec,
            raw: None,
            secrets: Secrets::new(),
            kinds: Vec::new(),
            attached: 0,
            client_fault: None,
            frontend_fault: None,
            refused: None,
            conflict: None,
            unresolved: None,
        };
        let protocol = match spec.protocol.as_str() {
            "HTTP" => RawProtocol::Http,
            "HTTPS" => RawProtocol::Https,
            other => {
                let message = format!("protocol {other:?} is not served: HTTP and HTTPS are");
                listener.refused = Some(RefError::new("UnsupportedProtocol", message));
                return listener;
            }
        };
        listener.read_kinds();
        listener.refused = refusal(spec);
        let tls = match protocol {
            RawProtocol::Http => None,
            RawProtocol::Https => match listener.read_tls(context, namespace) {
                Some(tls) => Some(tls),
                None => return listener,
            },
        };
        let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, PortMapping::container_port(spec.port)));
        listener.raw = Some(RawListener {
            hostname: spec.hostname.clone().filter(|hostname| !hostname.is_empty()),
            protocol,
            tls,
            ..RawListener::new(spec.name.as_str(), Address(address))
        });
        listener
    }

    /// Asks clients for what the Gateway wants of them, where they come by TLS.
    fn ask_clients(
        &mut self,
        context: &Context<'a>,
        gateway: &Key,
        wanted: Option<&api::FrontendValidation>,
    ) {
        let tls = self.raw.as_mut().and_then(|raw| raw.tls.as_mut());
        let (Some(tls), Some(wanted)) = (tls, wanted) else { return };
        match frontend::read(context, gateway, wanted, &mut self.secrets) {
            Ok(clients) => tls.clients = clients,
            Err(why) => {
                let message = format!("spec.tls.frontend: {why}");
                self.unresolved = Some(RefError::new("InvalidCACertificateRef", message.as_str()));
                self.frontend_fault = Some(message);
            }
        }
    }

    /// Takes it out of the document.
    pub(crate) fn refuse(&mut self, message: String) {
        self.raw = None;
        self.refused = Some(RefError::new("UnsupportedValue", message));
    }

    fn read_kinds(&mut self) {
        let wanted = self.spec.allowed_routes.as_ref().map_or(&[][..], |allowed| &allowed.kinds);
        if wanted.is_empty() {
            self.kinds = vec![HTTP_ROUTE];
            return;
        }
        for kind in wanted {
            let group = kind.group.as_deref().unwrap_or(HTTP_ROUTE.0);
            match [HTTP_ROUTE, AI_ROUTE].into_iter().find(|known| *known == (group, kind.kind.as_str())) {
                Some(known) if !self.kinds.contains(&known) => self.kinds.push(known),
                Some(_) => {}
                None => {
                    let message =
                        format!("routes of kind {} of group {group} are not served here", kind.kind);
                    self.unresolved = Some(RefError::new("InvalidRouteKinds", message));
                }
            }
        }
    }

    /// The certificates that can be used; `None` if there are none.
    fn read_tls(&mut self, context: &Context<'a>, namespace: &str) -> Option<RawListenerTls> {
        let tls = self.spec.tls.as_ref();
        let mode = tls.and_then(|tls| tls.mode.as_deref()).unwrap_or("Terminate");
        if mode != "Terminate" {
            let message = format!("TLS mode {mode} is not served: Terminate is");
            self.refused = Some(RefError::new("UnsupportedValue", message));
            return None;
        }
        let references = tls.map_or(&[][..], |tls| &tls.certificate_refs);
        let mut certificates = Vec::new();
        if references.is_empty() {
            let message = "HTTPS needs certificateRefs";
            self.unresolved = Some(RefError::new("InvalidCertificateRef", message));
        }
        for reference in references {
            match certificate(context, namespace, reference, &mut self.secrets) {
                Ok(certificate) if !certificates.contains(&certificate) => certificates.push(certificate),
                Ok(_) => {}
                Err(error) => self.unresolved = Some(error),
            }
        }
        (!certificates.is_empty()).then(|| RawListenerTls { certificates, ..RawListenerTls::default() })
    }

    fn status(&self) -> ListenerStatus {
        let no = |kind, error: &RefError| Condition::no(kind, error.reason, error.message.as_str());
        let mut conditions = vec![
            match (&self.refused, &self.conflict) {
                (Some(error), _) => no("Accepted", error),
                (None, Some(conflict)) => no("Accepted", conflict),
                (None, None) if self.raw.is_some() => {
                    Condition::yes("Accepted", "Accepted", "the listener is served")
                }
                (None, None) => Condition::yes(
                    "Accepted",
                    "Accepted",
                    "the listener is valid, and is not served before what it refers to can be used",
                ),
            },
            match &self.conflict {
                Some(RefError { reason, message }) => Condition::yes("Conflicted", reason, message.as_str()),
                None => Condition::no("Conflicted", "NoConflicts", "no other listener is in its way"),
            },
            match &self.unresolved {
                Some(error) => no("ResolvedRefs", error),
                None => Condition::yes("ResolvedRefs", "ResolvedRefs", "all references lead somewhere"),
            },
        ];
        if self.raw.is_none() {
            let message = "the listener cannot be served; see its other conditions";
            conditions.push(Condition::no("Programmed", "Invalid", message));
        }
        ListenerStatus {
            name: self.spec.name.clone(),
            supported_kinds: self.kinds.clone(),
            attached_routes: self.attached,
            conditions,
        }
    }
}

/// Why a listener cannot be had, whatever others there are.
fn refusal(spec: &GatewayListener) -> Option<RefError> {
    if spec.port == 0 {
        return Some(RefError::new("UnsupportedValue", "port 0 is no port"));
    }
    if PortMapping::container_port(spec.port) == ADMIN_PORT {
        let message = format!("port {} is that of the data plane's admin listener", spec.port);
        return Some(RefError::new("PortUnavailable", message));
    }
    if !names::is_name(&spec.name) {
        return Some(RefError::new("UnsupportedValue", "the listener's name is not a name"));
    }
    None
}

/// Finds listeners that cannot be served beside each other. All of a conflict are refused, as the specification has it.
fn find_conflicts(listeners: &mut [Listener<'_>]) {
    let mut protocols: BTreeMap<u16, BTreeSet<&str>> = BTreeMap::new();
    let mut hosts: BTreeMap<(u16, String), u32> = BTreeMap::new();
    let mut names: BTreeMap<&str, u32> = BTreeMap::new();
    let mut ports: BTreeMap<u16, u16> = BTreeMap::new();
    let host = |spec: &GatewayListener| {
        (spec.port, spec.hostname.as_deref().unwrap_or_default().to_ascii_lowercase())
    };
    for spec in listeners.iter().map(|listener| listener.spec) {
        protocols.entry(spec.port).or_default().insert(&spec.protocol);
        *hosts.entry(host(spec)).or_default() += 1;
        *names.entry(&spec.name).or_default() += 1;
        ports.entry(PortMapping::container_port(spec.port)).or_insert(spec.port);
    }
    for listener in listeners {
        let spec = listener.spec;
        let conflict = |reason, message: String| Some(RefError::new(reason, message));
        listener.conflict = if protocols[&spec.port].len() > 1 {
            conflict("ProtocolConflict", format!("port {} has listeners of several protocols", spec.port))
        } else if hosts[&host(spec)] > 1 {
            let message = format!("port {} has several listeners for this hostname", spec.port);
            conflict("HostnameConflict", message)
        } else if names[spec.name.as_str()] > 1 {
            conflict("HostnameConflict", format!("several listeners are called {}", spec.name))
        } else {
            None
        };
        let container_port = PortMapping::container_port(spec.port);
        if ports[&container_port] != spec.port {
            let message = format!("its port in the container, {container_port}, is that of another listener");
            listener.refused = Some(RefError::new("PortUnavailable", message));
        }
    }
}

/// A certificate and its key.
fn certificate(
    context: &Context<'_>,
    namespace: &str,
    reference: &SecretRef,
    secrets: &mut Secrets,
) -> Result<RawCertificate, RefError> {
    const INVALID: &str = "InvalidCertificateRef";
    let from = Referrer::of(Kind::Gateway, namespace);
    let (key, values) = context.referred_secret(from, reference, INVALID)?;
    let value = |name: &str| {
        let value = values.get(name).map(api::SecretValue::expose);
        value.ok_or_else(|| RefError::new(INVALID, format!("the Secret {key} has no {name}")))
    };
    certificates::check_pair(value("tls.crt")?, value("tls.key")?)
        .map_err(|message| RefError::new(INVALID, format!("Secret {key}: {message}")))?;
    Ok(RawCertificate {
        certificate_file: data_file(secrets, "certificate", Kind::Secret, &key, "tls.crt"),
        private_key_file: data_file(secrets, "certificate", Kind::Secret, &key, "tls.key"),
    })
}
