//! Lowering pools and backends.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;

use http::uri::Authority;
use rustc_hash::FxHashMap;

use super::file::{self, Files};
use super::names::Names;
use super::{api, credential, hash, policy, text};
use crate::fault::ProfileCheck;
use crate::knob::Knob as _;
use crate::raw::{
    Document, RawBackend, RawBackendEndpoint, RawEjection, RawEndpoint, RawHealthCheck, RawMetrics,
    RawModelRewrite, RawObjective, RawPool, RawUpstreamTls,
};
use crate::report::{FieldPath, Quoted, Report};
use crate::settings::{Balancing, Engine, HealthCheckMethod, UpstreamProtocol};
use crate::spec::{
    BackendEndpoint, BackendHost, BackendSpec, ClientCertificate, EndpointSpec, ModelRewrite, Objective,
    PoolSpec, UpstreamTls,
};

/// The most bytes that the body of a healthy answer may be asked to contain.
const MAX_EXPECTED_BYTES: usize = 4096;

/// All pools.
pub(super) fn pools(
    document: &Document,
    profiles: &dyn ProfileCheck,
    policies: &Names<'_>,
    files: &mut Files,
    report: &mut Report,
) -> Vec<PoolSpec> {
    let place = FieldPath::Root.field("pools");
    Names::unique(document.pools.iter().map(|pool| pool.name.as_str()), &place, report);
    document
        .pools
        .iter()
        .enumerate()
        .map(|(index, raw)| {
            let place = place.index(index);
            let pool = pool(raw, profiles, &place, files, report);
            let policies = policy::named(&raw.policies, policies, &place.field("policies"), report);
            PoolSpec { policies, ..pool }
        })
        .collect()
}

/// All backends.
pub(super) fn backends(
    document: &Document,
    policies: &Names<'_>,
    files: &mut Files,
    report: &mut Report,
) -> Vec<BackendSpec> {
    let place = FieldPath::Root.field("backends");
    Names::unique(document.backends.iter().map(|backend| backend.name.as_str()), &place, report);
    document
        .backends
        .iter()
        .enumerate()
        .map(|(index, raw)| {
            let place = place.index(index);
            let backend = backend(raw, &place, files, report);
            let policies = policy::named(&raw.policies, policies, &place.field("policies"), report);
            BackendSpec { policies, ..backend }
        })
        .collect()
}

fn pool(
    raw: &RawPool,
    profiles: &dyn ProfileCheck,
    place: &FieldPath<'_>,
    files: &mut Files,
    report: &mut Report,
) -> PoolSpec {
    check_protocol(raw.protocol, raw.tls.is_some(), place, report);
    check_ejection(&raw.ejection, &place.field("ejection"), report);
    check_metrics(&raw.metrics, &place.field("metrics"), report);
    if let Some(picker) = &raw.picker {
        report.extend(&place.field("picker"), profiles.check(picker));
    }
    let api = raw.api.as_ref().map(|raw| api::lower(raw, &place.field("api"), report));
    let schema = api.as_ref().map(|api| api.schema);
    PoolSpec {
        name: raw.name.as_str().into(),
        endpoints: endpoints(&raw.endpoints, raw.engine, &place.field("endpoints"), report),
        endpoints_from: file::endpoints_from(&raw.endpoints_from, &place.field("endpointsFrom"), report),
        engine: raw.engine,
        protocol: raw.protocol,
        tls: raw.tls.as_ref().map(|raw| tls(raw, &place.field("tls"), files, report)),
        credential: credential::lower(
            raw.credential.as_ref(),
            schema,
            &place.field("credential"),
            files,
            report,
        ),
        api,
        request_encoding: raw.request_encoding,
        response_encoding: raw.response_encoding,
        connection: raw.connection.value(),
        metrics: raw.metrics.value(),
        picker: raw.picker.clone(),
        saturation: raw.saturation.value(),
        ejection: raw.ejection.value(),
        objectives: objectives(&raw.objectives, &place.field("objectives"), report),
        model_rewrites: model_rewrites(&raw.model_rewrites, &place.field("modelRewrites"), report),
        policies: Box::default(),
    }
}

/// The model servers of a pool that are listed at one place.
pub(super) fn endpoints(
    raw: &[RawEndpoint],
    engine: Engine,
    place: &FieldPath<'_>,
    report: &mut Report,
) -> Vec<EndpointSpec> {
    let mut first: FxHashMap<SocketAddr, usize> = FxHashMap::default();
    let mut endpoints = Vec::with_capacity(raw.len());
    for (index, raw) in raw.iter().enumerate() {
        let address = raw.address.0;
        let item = place.index(index);
        let field = item.field("address");
        if let Some(other) = first.insert(address, index) {
            report.add(&field, || format!("{address} is the address of {place}[{other}] already"));
        }
        if address.port() == 0 || address.ip().is_unspecified() {
            report.add(&field, || format!("{address} cannot be connected to"));
        }
        endpoints.push(EndpointSpec {
            address,
            name: raw.name.as_deref().map_or_else(|| address.to_string().into(), Into::into),
            engine: raw.engine.unwrap_or(engine),
            metrics_address: SocketAddr::new(address.ip(), raw.metrics_port.unwrap_or(address.port())),
            labels: raw
                .labels
                .iter()
                .map(|(key, value)| (key.as_str().into(), value.as_str().into()))
                .collect(),
        });
    }
    endpoints
}

fn objectives(raw: &[RawObjective], place: &FieldPath<'_>, report: &mut Report) -> Vec<Objective> {
    Names::unique(raw.iter().map(|objective| objective.name.as_str()), place, report);
    raw.iter().map(|raw| Objective { name: raw.name.as_str().into(), priority: raw.priority }).collect()
}

fn model_rewrites(raw: &[RawModelRewrite], place: &FieldPath<'_>, report: &mut Report) -> Vec<ModelRewrite> {
    let mut rewrites = Vec::with_capacity(raw.len());
    for (index, raw) in raw.iter().enumerate() {
        let place = place.index(index);
        let models_place = place.field("models");
        for (index, model) in raw.models.iter().enumerate() {
            if let Err(message) = text::named_model(model) {
                report.add(&models_place.index(index), || message);
            }
        }
        let targets_place = place.field("targets");
        for (index, target) in raw.targets.iter().enumerate() {
            if let Err(message) = text::model(&target.model) {
                report.add(&targets_place.index(index).field("model"), || message);
            }
        }
        // The schema does not let a weight of 0 through.
        let targets = raw
            .targets
            .iter()
            .filter_map(|target| Some((target.model.as_str().into(), NonZeroU32::new(target.weight)?)));
        rewrites.push(ModelRewrite {
            models: raw.models.iter().map(|model| model.as_str().into()).collect(),
            targets: targets.collect(),
        });
    }
    rewrites
}

fn backend(raw: &RawBackend, place: &FieldPath<'_>, files: &mut Files, report: &mut Report) -> BackendSpec {
    let raw = &*api::completed(raw, place, report);
    check_protocol(raw.protocol, raw.tls.is_some(), place, report);
    check_ejection(&raw.ejection, &place.field("ejection"), report);
    if let Some(check) = &raw.health_check {
        let place = place.field("healthCheck");
        check_health_check(check, &place, report);
    }
    if raw.endpoints.is_empty() && raw.endpoints_from.is_empty() {
        let message = || "needs at least 1 item, or lists of them in endpointsFrom".to_owned();
        report.add(&place.field("endpoints"), message);
    }
    let api = raw.api.as_ref().map(|raw| api::lower(raw, &place.field("api"), report));
    let schema = api.as_ref().map(|api| api.schema);
    let hash_place = place.field("hashBy");
    if raw.hash_by.is_some() && raw.balancing != Balancing::default() {
        report.add(&hash_place, || "takes the place of balancing: leave that out".to_owned());
    }
    BackendSpec {
        name: raw.name.as_str().into(),
        endpoints: backend_endpoints(&raw.endpoints, &place.field("endpoints"), report),
        endpoints_from: file::endpoints_from(&raw.endpoints_from, &place.field("endpointsFrom"), report),
        protocol: raw.protocol,
        tls: raw.tls.as_ref().map(|raw| tls(raw, &place.field("tls"), files, report)),
        credential: credential::lower(
            raw.credential.as_ref(),
            schema,
            &place.field("credential"),
            files,
            report,
        ),
        api,
        balancing: raw.balancing,
        hash_by: raw.hash_by.as_ref().map(|raw| hash::by(raw, &hash_place, report)),
        resolve_interval: raw.resolve_interval.value(),
        health_check: raw.health_check.as_ref().map(|check| check.value()),
        request_encoding: raw.request_encoding,
        response_encoding: raw.response_encoding,
        connection: raw.connection.value(),
        ejection: raw.ejection.value(),
        failure_runs: raw.failure_runs.as_ref().map(|runs| runs.value()),
        panic_percent: raw.panic_percent,
        circuit_breaker: raw.circuit_breaker,
        policies: Box::default(),
    }
}

/// The endpoints of a backend that are listed at one place.
pub(super) fn backend_endpoints(
    raw: &[RawBackendEndpoint],
    place: &FieldPath<'_>,
    report: &mut Report,
) -> Vec<BackendEndpoint> {
    let endpoint = |(index, raw)| backend_endpoint(raw, &place.index(index), report);
    raw.iter().enumerate().filter_map(endpoint).collect()
}

fn backend_endpoint(
    raw: &RawBackendEndpoint,
    place: &FieldPath<'_>,
    report: &mut Report,
) -> Option<BackendEndpoint> {
    let bare = raw.host.trim_start_matches('[').trim_end_matches(']');
    let host = match bare.parse::<IpAddr>() {
        Ok(ip) => BackendHost::Ip(ip),
        Err(_) => {
            text::dns_name(raw.host.trim_end_matches('.'))
                .map_err(|message| report.add(&place.field("host"), || message))
                .ok()?;
            BackendHost::Dns(raw.host.to_ascii_lowercase().into())
        }
    };
    // The schema does not let 0 through.
    Some(BackendEndpoint { host, port: raw.port, weight: NonZeroU32::new(raw.weight)? })
}

fn tls(raw: &RawUpstreamTls, place: &FieldPath<'_>, files: &mut Files, report: &mut Report) -> UpstreamTls {
    if let Some(sni) = &raw.sni
        && let Err(message) = text::dns_name(sni)
    {
        report.add(&place.field("sni"), || message);
    }
    let client_certificate = match (&raw.client_certificate_file, &raw.client_key_file) {
        (Some(certificate), Some(key)) => {
            let certificate = files.path(certificate, &place.field("clientCertificateFile"), report);
            let private_key = files.path(key, &place.field("clientKeyFile"), report);
            Some(ClientCertificate { certificate, private_key })
        }
        (Some(_), None) => {
            report.add(&place.field("clientKeyFile"), || {
                "is missing: the client certificate needs its key".to_owned()
            });
            None
        }
        (None, Some(_)) => {
            let message = || "is missing: the client key needs its certificate".to_owned();
            report.add(&place.field("clientCertificateFile"), message);
            None
        }
        (None, None) => None,
    };
    if raw.insecure_skip_verify && raw.ca_file.is_some() {
        let message = || "contradicts caFile: either verify the certificate or do not".to_owned();
        report.add(&place.field("insecureSkipVerify"), message);
    }
    UpstreamTls {
        sni: raw.sni.as_deref().map(Into::into),
        ca: raw.ca_file.as_deref().map(|path| files.path(path, &place.field("caFile"), report)),
        client_certificate,
        is_verified: !raw.insecure_skip_verify,
    }
}

fn check_protocol(protocol: UpstreamProtocol, has_tls: bool, place: &FieldPath<'_>, report: &mut Report) {
    let message = match (protocol, has_tls) {
        (UpstreamProtocol::H2c, true) => "h2c is HTTP/2 without TLS: write h2, or leave out tls",
        (UpstreamProtocol::H2, false) => "h2 is HTTP/2 over TLS: add tls (`{}` will do), or write h2c",
        (UpstreamProtocol::Auto, false) => {
            "auto is decided by TLS: add tls (`{}` will do), or write http1 or h2c"
        }
        _ => return,
    };
    report.add(&place.field("protocol"), || message.to_owned());
}

fn check_ejection(raw: &RawEjection, place: &FieldPath<'_>, report: &mut Report) {
    if raw.base_time > raw.max_time {
        let message = || format!("{} is longer than maxTime ({})", raw.base_time, raw.max_time);
        report.add(&place.field("baseTime"), message);
    }
}

fn check_health_check(raw: &RawHealthCheck, place: &FieldPath<'_>, report: &mut Report) {
    if let Err(message) = text::path(raw.path.split('?').next().unwrap_or_default()) {
        report.add(&place.field("path"), || message);
    } else if raw.path.contains(|c: char| !c.is_ascii_graphic() || c == '#') {
        report.add(&place.field("path"), || format!("{} must not contain spaces or #", Quoted(&raw.path)));
    }
    if !raw.host.is_empty() && raw.host.parse::<Authority>().is_err() {
        report.add(&place.field("host"), || {
            format!("{} is no host, with or without a port", Quoted(&raw.host))
        });
    }
    if raw.contains.len() > MAX_EXPECTED_BYTES {
        let message = || format!("has {} bytes; {MAX_EXPECTED_BYTES} are the most", raw.contains.len());
        report.add(&place.field("contains"), message);
    }
    if raw.method == HealthCheckMethod::Head && !raw.contains.is_empty() {
        let message = || "answers to HEAD have no body: write another method, or leave it out".to_owned();
        report.add(&place.field("contains"), message);
    }
}

fn check_metrics(raw: &RawMetrics, place: &FieldPath<'_>, report: &mut Report) {
    if let Err(message) = text::path(raw.path.split('?').next().unwrap_or_default()) {
        report.add(&place.field("path"), || message);
    }
    if raw.path.contains(|c: char| !c.is_ascii_graphic()) {
        report.add(&place.field("path"), || format!("{} must not contain spaces", Quoted(&raw.path)));
    }
    if raw.min_interval > raw.max_interval {
        let message = || format!("{} is longer than maxInterval ({})", raw.min_interval, raw.max_interval);
        report.add(&place.field("minInterval"), message);
    }
}
