//! Lowering listeners.

use std::net::SocketAddr;

use rustc_hash::FxHashMap;

use super::names::Names;
use super::text;
use crate::raw::{Document, RawListener, RawProtocol};
use crate::report::{Place, Report};
use crate::spec::{CertificateFiles, Listener, ListenerTls};

/// All listeners.
pub(super) fn lower(document: &Document, report: &mut Report) -> Vec<Listener> {
    let place = Place::Root.field("listeners");
    Names::unique(document.listeners.iter().map(|listener| listener.name.as_str()), &place, report);
    check_addresses(document, &place, report);
    document
        .listeners
        .iter()
        .enumerate()
        .map(|(index, raw)| listener(raw, &place.index(index), report))
        .collect()
}

/// One socket cannot be bound twice; port 0 is a different port each time.
fn check_addresses(document: &Document, place: &Place<'_>, report: &mut Report) {
    let mut first: FxHashMap<SocketAddr, usize> = FxHashMap::default();
    for (index, listener) in document.listeners.iter().enumerate() {
        let address = listener.address.0;
        if address.port() != 0
            && let Some(other) = first.insert(address, index)
        {
            let message = || {
                format!(
                    "{address} is the address of {place}[{other}] already: give one listener several certificates, and \
                     its routes their hostnames"
                )
            };
            report.add(&place.index(index).field("address"), message);
        }
    }
    let admin = document.admin.address.0;
    if document.admin.enabled
        && let Some(listener) = first.get(&admin)
    {
        let message = || format!("{admin} is the address of {place}[{listener}] already");
        report.add(&Place::Root.field("admin").field("address"), message);
    }
}

fn listener(raw: &RawListener, place: &Place<'_>, report: &mut Report) -> Listener {
    let hostname = raw.hostname.as_deref().and_then(|hostname| {
        text::host_pattern(hostname).map_err(|message| report.add(&place.field("hostname"), || message)).ok()
    });
    let tls = raw.tls.as_ref().map(|tls| ListenerTls {
        certificates: tls
            .certificates
            .iter()
            .map(|files| CertificateFiles {
                certificate: files.certificate_file.as_str().into(),
                private_key: files.private_key_file.as_str().into(),
            })
            .collect(),
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
    Listener { name: raw.name.as_str().into(), address: raw.address.0, hostname, tls }
}
