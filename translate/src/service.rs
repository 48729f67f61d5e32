//! Services as backends, and Backends that name a Service.

use penstock_config::raw::RawBackend;
use penstock_config::{Balancing, Encoding, Span, UpstreamProtocol};

use crate::api::{Service, ServicePort};
use crate::context::{Context, RefError};
use crate::options::Options;
use crate::output::{EndpointSource, HostSource};
use crate::policies::Policies;
use crate::upstream::{RawUpstream, Upstream};
use crate::world::{Key, World};

/// A port of a Service.
///
/// # Errors
/// It is not there, or a policy for it cannot be met.
pub(crate) fn upstream(
    context: &Context<'_>,
    policies: &Policies<'_>,
    key: &Key,
    port: u16,
    name: String,
) -> Result<Upstream, RefError> {
    let port = port_of(context.world, key, port)?;
    let mut raw = raw_backend(name.clone());
    let tls = policies.tls().of_service(key, &port.name)?;
    let (tls, secrets) = tls.map_or((None, Default::default()), |(tls, secrets)| (Some(tls), secrets));
    raw.protocol = protocol(port.app_protocol.iter().map(String::as_str), tls.is_some());
    raw.tls = tls;
    let source = EndpointSource::Hosts(vec![HostSource::Service { service: key.clone(), port: port.port }]);
    Ok(Upstream {
        name,
        raw: RawUpstream::Backend(Box::new(raw)),
        source: Some(source),
        secrets,
        headers: Default::default(),
        body: Default::default(),
        grant: None,
    })
}

/// The port of a Service.
///
/// # Errors
/// There is no such Service or port, or it only stands for a name elsewhere.
fn port_of<'a>(world: &'a World, key: &Key, port: u16) -> Result<&'a ServicePort, RefError> {
    let missing = |message: String| RefError::new("BackendNotFound", message);
    let service = world.services.get(key);
    let service = service.ok_or_else(|| missing(format!("the Service {key} does not exist")))?;
    let service: &Service = match &service.spec {
        Ok(spec) => spec,
        Err(error) => return Err(missing(format!("the Service {key} cannot be read: {error}"))),
    };
    if service.kind == "ExternalName" {
        let message = format!(
            "the Service {key} is of type ExternalName, which could lead anywhere: use a Backend with an fqdn"
        );
        return Err(RefError::new("UnsupportedValue", message));
    }
    let found = service.ports.iter().find(|it| it.port == port);
    found.ok_or_else(|| missing(format!("the Service {key} has no port {port}")))
}

/// The Service that a host is the DNS name of, if it is there and has the port: `NAME.NAMESPACE.svc`, with or without
/// the cluster's domain.
pub(crate) fn named_by(context: &Context<'_>, host: &str, port: u16) -> Option<Key> {
    let Options { cluster_domain, .. } = context.options;
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let short = host.strip_suffix(&cluster_domain.to_ascii_lowercase()).and_then(|it| it.strip_suffix('.'));
    let (name, namespace) = short.unwrap_or(&host).strip_suffix(".svc")?.split_once('.')?;
    let key = Key::new(namespace, name);
    port_of(context.world, &key, port).is_ok().then_some(key)
}

/// How an upstream is spoken to that says what it speaks. Envoy Gateway's spellings and Kubernetes' are the same here.
pub(crate) fn protocol<'a>(spoken: impl IntoIterator<Item = &'a str>, has_tls: bool) -> UpstreamProtocol {
    let is_h2c = spoken.into_iter().any(|it| matches!(it, "kubernetes.io/h2c" | "gateway.envoyproxy.io/h2c"));
    match (is_h2c, has_tls) {
        (false, _) => UpstreamProtocol::Http1,
        (true, false) => UpstreamProtocol::H2c,
        (true, true) => UpstreamProtocol::H2,
    }
}

/// A backend of which only the name is said.
pub(crate) fn raw_backend(name: String) -> RawBackend {
    RawBackend {
        endpoints_from: Vec::new(),
        name,
        provider: None,
        endpoints: Vec::new(),
        protocol: UpstreamProtocol::default(),
        tls: None,
        api: None,
        credential: None,
        balancing: Balancing::default(),
        hash_by: None,
        resolve_interval: Span::secs(30),
        health_check: None,
        request_encoding: Encoding::Any,
        response_encoding: Encoding::Identity,
        connection: Default::default(),
        ejection: Default::default(),
        failure_runs: None,
        panic_percent: 0,
        circuit_breaker: None,
        policies: Vec::new(),
    }
}
