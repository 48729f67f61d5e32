//! Lowering a listener's TLS.

use crate::knob::Knob as _;
use crate::lower::file::Files;
use crate::raw::{RawCertificate, RawClientCertificates, RawListener, RawListenerTls, RawProtocol};
use crate::report::{FieldPath, Report};
use crate::settings::{ClientProof, ClientProtocol, TlsVersion};
use crate::spec::{CertificateFiles, ClientCertificates, ListenerTls};

/// The TLS of a listener, which it has to have where its protocol does.
pub(super) fn lower(
    raw: &RawListener,
    place: &FieldPath<'_>,
    files: &mut Files,
    report: &mut Report,
) -> Option<ListenerTls> {
    let place = place.field("tls");
    match (raw.protocol, &raw.tls) {
        (RawProtocol::Http, Some(_)) => {
            report.add(&place, || "is of no use with protocol HTTP: write protocol: HTTPS".to_owned());
        }
        (RawProtocol::Https, None) => {
            report.add(&place, || "is missing: protocol HTTPS needs a certificate".to_owned());
        }
        (RawProtocol::Http, None) | (RawProtocol::Https, Some(_)) => {}
    }
    raw.tls.as_ref().map(|raw| tls(raw, &place, files, report))
}

fn tls(raw: &RawListenerTls, place: &FieldPath<'_>, files: &mut Files, report: &mut Report) -> ListenerTls {
    let list_place = place.field("certificates");
    let mut certificate = |(index, raw): (usize, &RawCertificate)| {
        let place = list_place.index(index);
        CertificateFiles {
            certificate: files.path(&raw.certificate_file, &place.field("certificateFile"), report),
            private_key: files.path(&raw.private_key_file, &place.field("privateKeyFile"), report),
        }
    };
    let certificates = raw.certificates.iter().enumerate().map(&mut certificate).collect();
    let clients = raw.clients.as_ref().map(|raw| clients(raw, &place.field("clients"), files, report));
    let max_version = raw.max_version.unwrap_or(TlsVersion::V13);
    if raw.min_version > max_version {
        report.add(&place.field("minVersion"), || "is newer than maxVersion".to_owned());
    }
    if raw.min_version == TlsVersion::V13 && !raw.ciphers.is_empty() {
        let message = || "are of TLS 1.2, which minVersion does not let be spoken: leave them out".to_owned();
        report.add(&place.field("ciphers"), message);
    }
    let protocols = match raw.protocols.as_slice() {
        [] => vec![ClientProtocol::H2, ClientProtocol::Http1],
        some => some.to_vec(),
    };
    if protocols.len() == 2 && protocols[0] == protocols[1] {
        report.add(&place.field("protocols"), || "has the same twice".to_owned());
    }
    ListenerTls {
        certificates,
        clients,
        min_version: raw.min_version,
        max_version,
        ciphers: raw.ciphers.clone(),
        protocols,
        handshake_timeout: raw.handshake_timeout.map(|limit| limit.value()),
    }
}

fn clients(
    raw: &RawClientCertificates,
    place: &FieldPath<'_>,
    files: &mut Files,
    report: &mut Report,
) -> ClientCertificates {
    let list_place = place.field("authorityFiles");
    if (raw.proof == ClientProof::Any) != raw.authority_files.is_empty() {
        let message = || match raw.proof {
            ClientProof::Any => "is of no use where any certificate will do: leave it out".to_owned(),
            _ => "needs at least one item: whose certificates are believed".to_owned(),
        };
        report.add(&list_place, message);
    }
    let file = |(index, file): (usize, &String)| files.path(file, &list_place.index(index), report);
    ClientCertificates {
        proof: raw.proof,
        authorities: raw.authority_files.iter().enumerate().map(file).collect(),
    }
}
