//! Lowering listeners.

use std::net::SocketAddr;

use rustc_hash::FxHashMap;

use super::file::Files;
use super::names::Names;
use super::{policy, text};
use crate::raw::{Document, RawCertificate, RawListener, RawProtocol};
use crate::report::{FieldPath, Report};
use crate::spec::{CertificateFiles, Listener, ListenerTls};

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
            let listener = listener(raw, shares_address, &place, files, report);
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
    let tls_place = place.field("tls");
    let list_place = tls_place.field("certificates");
    let certificate = |(index, raw): (usize, &RawCertificate)| {
        let place = list_place.index(index);
        CertificateFiles {
            certificate: files.path(&raw.certificate_file, &place.field("certificateFile"), report),
            private_key: files.path(&raw.private_key_file, &place.field("privateKeyFile"), report),
        }
    };
    let tls = raw.tls.as_ref().map(|tls| ListenerTls {
        certificates: tls.certificates.iter().enumerate().map(certificate).collect(),
    });
    match (raw.protocol, &tls) {
        (RawProtocol::Http, Some(_)) => {
            report.add(&place.field("tls"), || {
                "is of no use with protocol HTTP: write protocol: HTTPS".to_owned()
            });
        }
        (RawProtocol::Https, None) => {
            report.add(&place.field("tls"), || "is missing: protocol HTTPS needs a certificate".to_owned());
        }
        (RawProtocol::Http, None) | (RawProtocol::Https, Some(_)) => {}
    }
    Listener {
        name: raw.name.as_str().into(),
        address: raw.address.0,
        hostname,
        tls,
        shares_address,
        headers_with_underscores: raw.headers_with_underscores,
        trusted_proxies: raw.trusted_proxies.as_slice().into(),
        health_path: raw.health_path.as_deref().map(Box::from),
        policies: Box::default(),
        target_headers: raw.target_headers,
    }
}
