//! Lowering listeners.

use std::net::SocketAddr;

use rustc_hash::FxHashMap;

use super::file::Files;
use super::names::Names;
use super::{policy, target, text};
use crate::knob::Knob as _;
use crate::raw::{Document, RawListener};
use crate::report::{FieldPath, Report};
use crate::settings::{Limits, RawLimits};
use crate::spec::{ClientAddressHeader, Listener, Pattern};

mod tls;

/// All listeners.
pub(super) fn lower(
    document: &Document,
    policies: &Names<'_>,
    files: &mut Files,
    report: &mut Report,
) -> Vec<Listener> {
    let place = FieldPath::Root.field("listeners");
    Names::unique(document.listeners.iter().map(|listener| listener.name.as_str()), &place, report);
    check_addresses(document, &place, report);
    check_admin_hosts(document, report);
    document
        .listeners
        .iter()
        .enumerate()
        .map(|(index, raw)| {
            let shares_address = shares_address(document, index);
            let place = place.index(index);
            let listener = listener(raw, shares_address, &document.limits, &place, files, report);
            let policies = policy::named(&raw.policies, policies, &place.field("policies"), report);
            Listener { policies, ..listener }
        })
        .collect()
}

/// Listeners on one socket must be told apart by hostname, and be of one protocol. Port 0 is a different port each time.
fn check_addresses(document: &Document, place: &FieldPath<'_>, report: &mut Report) {
    let mut first: FxHashMap<SocketAddr, usize> = FxHashMap::default();
    let mut hostnames: FxHashMap<(SocketAddr, Option<String>), usize> = FxHashMap::default();
    for (index, listener) in document.listeners.iter().enumerate() {
        let address = listener.address.0;
        if address.port() == 0 {
            continue;
        }
        let item = place.index(index);
        let other = *first.entry(address).or_insert(index);
        if document.listeners[other].protocol != listener.protocol {
            let message = || {
                format!("differs from that of {place}[{other}], which has the same address: use another port")
            };
            report.add(&item.field("protocol"), message);
            continue;
        }
        check_connections(&document.listeners[other], listener, (&place.index(other), &item), report);
        let hostname = listener.hostname.as_deref().map(str::to_ascii_lowercase);
        let same = hostnames.insert((address, hostname), index);
        if let Some(other) = same {
            let message = || {
                format!(
                    "{address} is the address of {place}[{other}] already, with the same hostname: give each its own \
                     hostname, or one listener several certificates"
                )
            };
            report.add(&item.field("address"), message);
        }
    }
    let admin = document.admin.address.0;
    if document.admin.enabled
        && let Some(listener) = first.get(&admin)
    {
        let message = || format!("{admin} is the address of {place}[{listener}] already");
        report.add(&FieldPath::Root.field("admin").field("address"), message);
    }
}

/// What holds before a request's host is known has to be the same for all listeners of an address.
fn check_connections(
    first: &RawListener,
    listener: &RawListener,
    (other, item): (&FieldPath<'_>, &FieldPath<'_>),
    report: &mut Report,
) {
    for field in first.differences(listener) {
        let message = || {
            format!(
                "differs from that of {other}, which has the same address, in what holds for whole connections: make it \
                 the same, or use another port"
            )
        };
        report.add(&item.field(field), message);
    }
}

fn check_admin_hosts(document: &Document, report: &mut Report) {
    let admin = FieldPath::Root.field("admin");
    let place = admin.field("hosts");
    for (index, host) in document.admin.hosts.iter().enumerate() {
        if let Err(message) = text::dns_name(host) {
            report.add(&place.index(index), || message);
        }
    }
}

fn shares_address(document: &Document, index: usize) -> bool {
    let address = document.listeners[index].address;
    let mut others = document.listeners.iter().enumerate().filter(|(other, _)| *other != index);
    address.0.port() != 0 && others.any(|(_, other)| other.address == address)
}

fn listener(
    raw: &RawListener,
    shares_address: bool,
    all: &RawLimits,
    place: &FieldPath<'_>,
    files: &mut Files,
    report: &mut Report,
) -> Listener {
    let hostname = raw.hostname.as_deref().and_then(|hostname| {
        text::host_pattern(hostname).map_err(|message| report.add(&place.field("hostname"), || message)).ok()
    });
    if let Some(Err(message)) = raw.health_path.as_deref().map(text::path) {
        report.add(&place.field("healthPath"), || message);
    }
    check_clients(raw, place, report);
    let tls = tls::lower(raw, place, files, report);
    Listener {
        name: raw.name.as_str().into(),
        address: raw.address.0,
        hostname,
        tls,
        shares_address,
        limits: limits(raw, all),
        connections: raw.limits.connections,
        proxy_protocol: raw.proxy_protocol,
        headers_with_underscores: raw.headers_with_underscores,
        trusted_proxies: raw.trusted_proxies.as_slice().into(),
        trusted_hops: raw.trusted_hops as usize,
        client_address: client_address(raw, place, report),
        request_ids: raw.request_ids,
        escaped_slashes: raw.escaped_slashes,
        drop_headers: patterns(&raw.drop_headers, &place.field("dropHeaders"), report),
        request_headers: target::edits(&raw.request_headers, &place.field("requestHeaders"), report),
        response_headers: target::edits(&raw.response_headers, &place.field("responseHeaders"), report),
        health_path: raw.health_path.as_deref().map(Box::from),
        policies: Box::default(),
        target_headers: raw.target_headers,
    }
}

/// Patterns of names, which have no case.
fn patterns(raw: &[String], place: &FieldPath<'_>, report: &mut Report) -> Box<[Pattern]> {
    let mut patterns = Vec::with_capacity(raw.len());
    for (index, source) in raw.iter().enumerate() {
        let compiled = Pattern::new(source).and_then(|_| Pattern::new(&format!("(?i:{source})")));
        match compiled {
            Ok(pattern) => patterns.push(pattern),
            Err(error) => {
                let error = error.to_string();
                let why = error.lines().last().unwrap_or_default().replace("error: ", "");
                report.add(&place.index(index), || format!("is no regular expression: {why}"));
            }
        }
    }
    patterns.into()
}

/// There is one way to tell who the client is.
fn check_clients(raw: &RawListener, place: &FieldPath<'_>, report: &mut Report) {
    let ways = [
        ("trustedProxies", !raw.trusted_proxies.is_empty()),
        ("trustedHops", raw.trusted_hops > 0),
        ("clientAddress", raw.client_address.is_some()),
    ];
    let mut there = ways.into_iter().filter(|(_, is_there)| *is_there).map(|(field, _)| field);
    let first = there.next();
    for field in there {
        let message = || format!("cannot stand beside {}: choose one", first.unwrap_or_default());
        report.add(&place.field(field), message);
    }
}

fn client_address(
    raw: &RawListener,
    place: &FieldPath<'_>,
    report: &mut Report,
) -> Option<ClientAddressHeader> {
    let wanted = raw.client_address.as_ref()?;
    match text::asked_header_name(&wanted.header) {
        Ok(name) => Some(ClientAddressHeader { name, is_required: wanted.required }),
        Err(message) => {
            report.add(&place.field("clientAddress").field("header"), || message);
            None
        }
    }
}

fn limits(raw: &RawListener, all: &RawLimits) -> Option<Box<Limits>> {
    let own = raw.limits.over(all);
    (own != *all).then(|| Box::new(own.value()))
}
