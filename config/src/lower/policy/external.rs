//! Lowering servers that decide whether requests are served.

use http::uri::PathAndQuery;
use http::{HeaderName, StatusCode};
use rustc_hash::FxHashSet;

use super::Known;
use crate::lower::text;
use crate::raw::{RawBackend, RawExternal, RawExternalHttp};
use crate::report::{FieldPath, Quoted, Report};
use crate::settings::UpstreamProtocol;
use crate::spec::{BackendIndex, External, ExternalPath, ExternalProtocol};

/// The server of a policy.
pub(super) fn lower(
    raw: &RawExternal,
    known: &Known<'_>,
    place: &FieldPath<'_>,
    report: &mut Report,
) -> Option<External> {
    let (protocol, backend) = match (&raw.grpc, &raw.http) {
        (Some(grpc), None) => {
            let place = place.field("grpc");
            let at = backend(&grpc.backend, known, &place.field("backend"), report);
            let is_http2 = |of: &RawBackend| match of.protocol {
                UpstreamProtocol::H2 | UpstreamProtocol::H2c => true,
                UpstreamProtocol::Auto => of.tls.is_some(),
                UpstreamProtocol::Http1 => false,
            };
            if at.is_some_and(|at| !is_http2(&known.backends[at.0])) {
                let message = || {
                    "speaks no HTTP/2, which gRPC needs: set its protocol to h2c, or to h2 with tls"
                        .to_owned()
                };
                report.add(&place.field("backend"), message);
            }
            (ExternalProtocol::Grpc, at)
        }
        (None, Some(http)) => {
            let place = place.field("http");
            let at = backend(&http.backend, known, &place.field("backend"), report);
            let to_upstream = &place.field("headersToUpstream");
            let headers_to_upstream =
                headers(&http.headers_to_upstream, text::told_header_name, to_upstream, report);
            (ExternalProtocol::Http { path: path(http, &place, report), headers_to_upstream }, at)
        }
        (Some(_), Some(_)) => {
            report.add(&place.field("http"), || "stands in place of grpc: give one of the two".to_owned());
            return None;
        }
        (None, None) => {
            report.add(place, || "says not whom to ask: give it grpc or http".to_owned());
            return None;
        }
    };
    let shown = headers(&raw.headers_to_auth, text::asked_header_name, &place.field("headersToAuth"), report);
    Some(External {
        protocol,
        backend: backend?,
        timeout: raw.timeout.0,
        is_open_on_error: raw.fail_open,
        // The schema lets through what is a status.
        status_on_error: StatusCode::from_u16(raw.status_on_error).ok()?,
        headers: (!shown.is_empty()).then_some(shown),
        max_body_bytes: raw.body.as_ref().map(|body| usize::try_from(body.max_bytes.0).unwrap_or(usize::MAX)),
        context_extensions: context_extensions(raw, place, report),
        concurrency: raw.concurrency as usize,
    })
}

/// A backend that is asked as it is. What translates requests, or shows a credential of the gateway's, is for models.
fn backend(
    name: &str,
    known: &Known<'_>,
    place: &FieldPath<'_>,
    report: &mut Report,
) -> Option<BackendIndex> {
    let at = known.backend_names.resolve(name, "backend", place, report)?;
    let backend = &known.backends[at];
    let fields = [
        ("provider", backend.provider.is_some()),
        ("api", backend.api.is_some()),
        ("credential", backend.credential.is_some()),
    ];
    for (field, _) in fields.iter().filter(|(_, is_there)| *is_there) {
        let message =
            || format!("{} has {field}, which is for models: name a backend without it", Quoted(name));
        report.add(place, message);
    }
    Some(BackendIndex(at))
}

fn path(raw: &RawExternalHttp, place: &FieldPath<'_>, report: &mut Report) -> ExternalPath {
    let mut check = |written: &str, field: &str| {
        let checked = text::path(written).and_then(|()| {
            PathAndQuery::try_from(written).map_err(|_| format!("{} is not a path", Quoted(written)))
        });
        checked.map_err(|message| report.add(&place.field(field), || message)).ok()
    };
    let prefix = raw.path.as_deref().and_then(|written| check(written, "path"));
    let fixed = raw.path_override.as_deref().and_then(|written| check(written, "pathOverride"));
    if raw.path.is_some() && raw.path_override.is_some() {
        let message = || "has no meaning with pathOverride: leave it out".to_owned();
        report.add(&place.field("path"), message);
    }
    let prefix = prefix.as_ref().map_or("", |prefix| prefix.as_str().trim_end_matches('/'));
    fixed.map_or_else(|| ExternalPath::Behind(prefix.into()), ExternalPath::Fixed)
}

fn headers(
    raw: &[String],
    check: fn(&str) -> Result<HeaderName, String>,
    place: &FieldPath<'_>,
    report: &mut Report,
) -> Box<[HeaderName]> {
    let mut names: Vec<HeaderName> = Vec::with_capacity(raw.len());
    for (index, written) in raw.iter().enumerate() {
        match check(written) {
            Ok(name) if names.contains(&name) => {
                report.add(&place.index(index), || format!("{name} is given twice"));
            }
            Ok(name) => names.push(name),
            Err(message) => report.add(&place.index(index), || message),
        }
    }
    names.into()
}

fn context_extensions(
    raw: &RawExternal,
    place: &FieldPath<'_>,
    report: &mut Report,
) -> Box<[(Box<str>, Box<str>)]> {
    let place = place.field("contextExtensions");
    if raw.http.is_some() && !raw.context_extensions.is_empty() {
        report.add(&place, || "has no meaning with http: leave it out".to_owned());
    }
    let mut seen = FxHashSet::default();
    for (index, extension) in raw.context_extensions.iter().enumerate() {
        if !seen.insert(extension.name.as_str()) {
            let place = place.index(index);
            report.add(&place.field("name"), || format!("{} is given twice", Quoted(&extension.name)));
        }
    }
    let pair = |of: &crate::raw::RawContextExtension| (of.name.as_str().into(), of.value.as_str().into());
    raw.context_extensions.iter().map(pair).collect()
}
