//! Servers that decide whether requests may be served.
//!
//! A policy's server is a backend of its own in documents, of all that its `backendRefs` lead to: it has nothing in common
//! with what requests are forwarded to, not even where that is the same Service.

use penstock_config::raw::{
    RawBackendEndpoint, RawContextExtension, RawExternal, RawExternalBody, RawExternalGrpc, RawExternalHttp,
    RawPolicy,
};
use penstock_config::{Size, Span, UpstreamProtocol};

use super::{Fault, distinct};
use crate::api::{
    ContextExtension, ExternalAccess, ExternalAuthBackendRef, ExternalAuthFilter, ExternalBackendRef,
    ExternalHttp,
};
use crate::backend::Backends;
use crate::compile::{compile_policies, shown as shown_fault};
use crate::context::{Context, Referrer};
use crate::output::{EndpointSource, HostSource};
use crate::policies::Policies;
use crate::service;
use crate::upstream::{RawUpstream, Upstream};
use crate::world::{Key, Kind, shorten};

/// What the policy that asks is called, among those of one object.
pub(super) const NAME: &str = "ext-auth";

/// The most references that Envoy Gateway has.
const MAX_REFERENCES: usize = 16;

/// The longest time that documents have for a decision.
const MAX_TIMEOUT: Span = Span::secs(300);

/// What a policy says of a server.
#[derive(Debug, Clone)]
pub(super) struct External {
    server: Option<Result<Server, Fault>>,
    headers: Vec<String>,
    max_body_bytes: Option<u64>,
    timeout: Option<String>,
    fail_open: Option<bool>,
    status_on_error: Option<u16>,
    recompute_route: Option<bool>,
    context: Vec<ContextExtension>,
}

/// A policy as documents have it.
pub(super) struct AskedServer {
    /// The policy.
    pub(super) raw: RawExternal,
    /// Whether what the server changes shall change the route.
    pub(super) recomputes_route: bool,
}

/// A server.
#[derive(Debug, Clone)]
struct Server {
    upstream: Upstream,
    /// How it is asked by HTTP; `None` is by gRPC.
    http: Option<ExternalHttp>,
}

pub(super) fn read(
    context: &Context<'_>,
    policies: &Policies<'_>,
    policy: &Key,
    spec: &ExternalAccess,
    notes: &mut Vec<String>,
) -> External {
    let from = Referrer::of(Kind::SecurityPolicy, &policy.namespace);
    let references = |one: &Option<ExternalAuthBackendRef>, all: &[ExternalBackendRef]| {
        one.iter().map(ExternalBackendRef::from).chain(all.iter().cloned()).collect::<Vec<_>>()
    };
    let server = match (&spec.grpc, &spec.http) {
        (None, None) => None,
        (Some(_), Some(_)) => Some(Err("extAuth.grpc and extAuth.http cannot both be".to_owned())),
        (Some(grpc), None) => {
            let references = references(&grpc.backend_ref, &grpc.backend_refs);
            let upstream = upstream(context, policies, from, &references, true);
            let server = upstream.map(|upstream| Server { upstream, http: None });
            Some(server.map_err(|fault| format!("extAuth.grpc.backendRefs{fault}")))
        }
        (None, Some(http)) => {
            let references = references(&http.backend_ref, &http.backend_refs);
            let upstream = upstream(context, policies, from, &references, false);
            let server = upstream.map(|upstream| Server { upstream, http: Some(http.clone()) });
            Some(server.map_err(|fault| format!("extAuth.http.backendRefs{fault}")))
        }
    };
    if let (Some(Err(fault)), Some(true)) = (&server, spec.fail_open) {
        notes.push(format!("nobody is asked, and all requests pass, since failOpen says so: {fault}"));
    }
    External {
        server,
        headers: spec.headers_to_ext_auth.clone(),
        max_body_bytes: spec.body_to_ext_auth.as_ref().map(|body| body.max_request_bytes.unwrap_or(0)),
        timeout: spec.timeout.clone(),
        fail_open: spec.fail_open,
        status_on_error: spec.status_on_error,
        recompute_route: spec.recompute_route,
        context: spec.context_extensions.clone(),
    }
}

impl External {
    /// This, and what a less specific policy says beside it.
    pub(super) fn over(self, parent: Self) -> Self {
        let mut context = self.context;
        let others = parent.context.into_iter().filter(|of| context.iter().all(|own| own.name != of.name));
        let others: Vec<_> = others.collect();
        context.extend(others);
        Self {
            server: self.server.or(parent.server),
            headers: if self.headers.is_empty() { parent.headers } else { self.headers },
            max_body_bytes: self.max_body_bytes.or(parent.max_body_bytes),
            timeout: self.timeout.or(parent.timeout),
            fail_open: self.fail_open.or(parent.fail_open),
            status_on_error: self.status_on_error.or(parent.status_on_error),
            recompute_route: self.recompute_route.or(parent.recompute_route),
            context,
        }
    }

    /// What documents have of it, and its server; `None` if nobody is asked since that is not there and requests pass
    /// without, as with Envoy Gateway.
    ///
    /// # Errors
    /// It cannot be.
    pub(super) fn asked(&self) -> Result<Option<(AskedServer, Upstream)>, Fault> {
        let server = match &self.server {
            Some(Ok(server)) => server,
            Some(Err(_)) if self.fail_open == Some(true) => return Ok(None),
            Some(Err(fault)) => return Err(fault.clone()),
            None => return Err("extAuth.grpc and extAuth.http are missing".to_owned()),
        };
        let recomputes_route = self.recompute_route == Some(true);
        if recomputes_route && self.max_body_bytes.is_some() {
            return Err(
                "extAuth.recomputeRoute: with bodyToExtAuth the route is found before the server is asked"
                    .to_owned(),
            );
        }
        let backend = server.upstream.name.clone();
        let (grpc, http) = match &server.http {
            None => (Some(RawExternalGrpc { backend }), None),
            Some(http) => (None, Some(raw_http(http, backend))),
        };
        let raw = RawExternal {
            grpc,
            http,
            timeout: self.timeout()?,
            fail_open: self.fail_open == Some(true),
            status_on_error: self.status_on_error.unwrap_or(RawExternal::default().status_on_error),
            headers_to_auth: self.headers(server.http.is_some()),
            body: self.max_body_bytes.map(|bytes| RawExternalBody { max_bytes: Size(bytes) }),
            context_extensions: if server.http.is_some() { Vec::new() } else { self.context()? },
            ..RawExternal::default()
        };
        Ok(Some((AskedServer { raw, recomputes_route }, server.upstream.clone())))
    }

    fn timeout(&self) -> Result<Span, Fault> {
        let Some(text) = &self.timeout else { return Ok(RawExternal::TIMEOUT) };
        let span = Span::parse(text).map_err(|error| format!("extAuth.timeout: {error}"))?;
        Ok(span.clamp(Span::ms(1), MAX_TIMEOUT))
    }

    /// Method and path are no headers here, and always shown by HTTP.
    fn headers(&self, is_http: bool) -> Vec<String> {
        let lower: Vec<String> = self.headers.iter().map(|name| name.to_ascii_lowercase()).collect();
        let mut headers = distinct(&lower);
        if is_http {
            headers.retain(|name| !matches!(name.as_str(), "host" | "method" | "path" | "content-length"));
        }
        headers
    }

    fn context(&self) -> Result<Vec<RawContextExtension>, Fault> {
        let mut all: Vec<RawContextExtension> = Vec::with_capacity(self.context.len());
        for extension in &self.context {
            match (extension.kind.as_deref().unwrap_or("Value"), &extension.value) {
                ("Value", Some(value)) => {
                    all.push(RawContextExtension { name: extension.name.clone(), value: value.clone() });
                }
                (kind, _) => {
                    let kind = shorten(kind, 40);
                    return Err(format!("extAuth.contextExtensions[] has no value for its type {kind:?}"));
                }
            }
        }
        Ok(all)
    }
}

fn raw_http(http: &ExternalHttp, backend: String) -> RawExternalHttp {
    let lower: Vec<String> = http.headers_to_backend.iter().map(|name| name.to_ascii_lowercase()).collect();
    RawExternalHttp {
        backend,
        // Envoy Gateway lets the other one count.
        path: http.path.clone().filter(|path| !path.is_empty() && http.path_override.is_none()),
        path_override: http.path_override.clone(),
        headers_to_upstream: distinct(&lower),
    }
}

/// The policy and its server of a rule's filter (GEP-1494).
///
/// # Errors
/// It cannot be.
pub(crate) fn of_filter(
    context: &Context<'_>,
    policies: &Policies<'_>,
    from: Referrer<'_>,
    filter: &ExternalAuthFilter,
) -> Result<(RawExternal, Upstream), Fault> {
    let is_grpc = match (filter.protocol.as_str(), &filter.http) {
        ("GRPC", _) => true,
        ("HTTP", _) => false,
        (other, _) => return Err(format!("externalAuth.protocol {:?} is not served", shorten(other, 40))),
    };
    let references = [ExternalBackendRef::from(&filter.backend_ref)];
    let upstream = upstream(context, policies, from, &references, is_grpc);
    let upstream = upstream.map_err(|fault| format!("externalAuth.backendRef{fault}"))?;
    let http = filter.http.clone().unwrap_or_default();
    if !is_grpc && http.allowed_response_headers.is_empty() {
        return Err("externalAuth.http.allowedResponseHeaders is missing, and without it upstreams would have to get \
                    all headers of answers: name those that they get"
            .to_owned());
    }
    let shown =
        if is_grpc { filter.grpc.clone().unwrap_or_default().allowed_headers } else { http.allowed_headers };
    let external = External {
        server: Some(Ok(Server {
            upstream,
            http: (!is_grpc).then(|| ExternalHttp {
                path: http.path,
                headers_to_backend: http.allowed_response_headers,
                ..ExternalHttp::default()
            }),
        })),
        headers: shown,
        max_body_bytes: filter.forward_body.as_ref().and_then(|body| body.max_size).filter(|size| *size > 0),
        timeout: None,
        fail_open: None,
        status_on_error: None,
        recompute_route: None,
        context: Vec::new(),
    };
    let (asked, server) = external.asked()?.ok_or("externalAuth asks nobody")?;
    let policy =
        RawPolicy { name: NAME.to_owned(), external: Some(asked.raw.clone()), ..RawPolicy::default() };
    compile_policies(&[policy], super::backend(&server))
        .map_err(|fault| format!("externalAuth: {}", shown_fault(&fault)))?;
    Ok((asked.raw, server))
}

/// The backend of all that a policy's references lead to.
fn upstream(
    context: &Context<'_>,
    policies: &Policies<'_>,
    from: Referrer<'_>,
    references: &[ExternalBackendRef],
    is_grpc: bool,
) -> Result<Upstream, Fault> {
    if references.is_empty() {
        return Err(" is missing".to_owned());
    }
    if references.len() > MAX_REFERENCES {
        return Err(format!(" has more than {MAX_REFERENCES} items"));
    }
    let weight = |reference: &ExternalBackendRef| reference.weight.unwrap_or(1);
    let weights = || references.iter().map(weight);
    if let Some(index) = weights().position(|weight| weight == 0 || Some(weight) != weights().next()) {
        return Err(format!("[{index}].weight: servers are asked alike, each with the same weight above 0"));
    }
    let mut whole: Option<Upstream> = None;
    for (index, reference) in references.iter().enumerate() {
        let own = one(context, policies, from, reference).map_err(|fault| format!("[{index}]: {fault}"))?;
        whole = Some(match whole {
            None => own,
            Some(whole) => joined(whole, own).map_err(|fault| format!("[{index}]: {fault}"))?,
        });
    }
    let mut whole = whole.ok_or(" is missing")?;
    if let (RawUpstream::Backend(raw), true) = (&mut whole.raw, is_grpc) {
        // As Envoy Gateway does it, whatever the port says of itself.
        raw.protocol = if raw.tls.is_some() { UpstreamProtocol::H2 } else { UpstreamProtocol::H2c };
    }
    Ok(whole)
}

fn one(
    context: &Context<'_>,
    policies: &Policies<'_>,
    from: Referrer<'_>,
    reference: &ExternalBackendRef,
) -> Result<Upstream, Fault> {
    let key = Key::new(reference.namespace.as_deref().unwrap_or(from.namespace), &reference.name);
    let group = reference.group.as_deref().unwrap_or("");
    let kind = reference.kind.as_deref().unwrap_or("Service");
    let servable = [Kind::Service, Kind::Backend];
    let Some(kind) = Kind::in_group(group, kind).filter(|kind| servable.contains(kind)) else {
        let (kind, group) = (shorten(kind, 80), shorten(group, 80));
        return Err(format!("{kind} of group {group:?} cannot be asked: Service and Backend can"));
    };
    context.allowed(from, kind, &key).map_err(|error| error.message)?;
    let name = NAME.to_owned();
    let upstream = match (kind, reference.port) {
        (Kind::Backend, _) => {
            Backends::new(context, policies).get(&key).map(|backend| backend.upstream(name))
        }
        (_, Some(port)) => service::upstream(context, policies, &key, port, name),
        (_, None) => return Err(format!("the reference to Service {key} needs a port")),
    };
    upstream.map_err(|error| error.message)
}

/// The endpoints of two, which are asked in the same way.
fn joined(whole: Upstream, other: Upstream) -> Result<Upstream, Fault> {
    let (RawUpstream::Backend(mut raw), RawUpstream::Backend(own)) = (whole.raw, other.raw) else {
        return Err("a pool cannot be asked".to_owned());
    };
    if (raw.protocol, &raw.tls) != (own.protocol, &own.tls) {
        return Err("it has another protocol or other TLS than those before it".to_owned());
    }
    let mut secrets = whole.secrets;
    secrets.extend(other.secrets);
    let source = match (whole.source, other.source) {
        (None, None) => {
            let new = own.endpoints.into_iter().filter(|endpoint| !raw.endpoints.contains(endpoint));
            let new: Vec<RawBackendEndpoint> = new.collect();
            raw.endpoints.extend(new);
            None
        }
        (whole, other) => {
            let mut hosts = hosts(whole, &raw.endpoints);
            hosts.extend(self::hosts(other, &own.endpoints));
            raw.endpoints.clear();
            Some(EndpointSource::Hosts(hosts))
        }
    };
    Ok(Upstream { raw: RawUpstream::Backend(raw), source, secrets, ..whole })
}

fn hosts(source: Option<EndpointSource>, fixed: &[RawBackendEndpoint]) -> Vec<HostSource> {
    match source {
        Some(EndpointSource::Hosts(hosts)) => hosts,
        Some(EndpointSource::Pool(_)) => Vec::new(),
        None => fixed.iter().map(|it| HostSource::Host { host: it.host.clone(), port: it.port }).collect(),
    }
}
