//! Lowering a listener's TLS.

use crate::knob::Knob as _;
use crate::lower::file::Files;
use crate::raw::{RawCertificate, RawClientCertificates, RawListener, RawListenerTls, RawProtocol};
use crate::report::{FieldPath, Quoted, Report};
use crate::settings::{ClientProof, ClientProtocol, TlsVersion};
use crate::spec::{CertificateFiles, CertificateName, ClientCertificates, ListenerTls};

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
    let has_hashes = !raw.certificate_hashes.is_empty() || !raw.key_hashes.is_empty();
    if raw.proof == ClientProof::Any {
        check_any(raw, place, report);
    } else if raw.authority_files.is_empty() && !has_hashes {
        let message = || "needs at least one item: whose certificates are believed".to_owned();
        report.add(&list_place, message);
    } else if raw.authority_files.is_empty() && !raw.revocation_files.is_empty() {
        let message =
            || "is of no use without authorityFiles: who revokes certificates has issued them".to_owned();
        report.add(&place.field("revocationFiles"), message);
    }
    let file = |(index, file): (usize, &String)| files.path(file, &list_place.index(index), report);
    let authorities = raw.authority_files.iter().enumerate().map(file).collect();
    let list_place = place.field("revocationFiles");
    let file = |(index, file): (usize, &String)| files.path(file, &list_place.index(index), report);
    let revocations = raw.revocation_files.iter().enumerate().map(file).collect();
    for (index, _) in raw.names.iter().enumerate().filter(|(_, name)| name.value.is_empty()) {
        report.add(&place.field("names").index(index).field("value"), || "is empty".to_owned());
    }
    let names = raw.names.iter();
    ClientCertificates {
        proof: raw.proof,
        authorities,
        certificate_hashes: hashes(&raw.certificate_hashes, &place.field("certificateHashes"), report),
        key_hashes: hashes(&raw.key_hashes, &place.field("keyHashes"), report),
        names: names
            .map(|name| CertificateName { kind: name.kind, how: name.how, value: name.value.as_str().into() })
            .collect(),
        revocations,
        revocations_of_clients_only: raw.revocations_of_clients_only,
    }
}

/// Where any certificate will do, nothing is asked of it.
fn check_any(raw: &RawClientCertificates, place: &FieldPath<'_>, report: &mut Report) {
    let fields = [
        ("authorityFiles", raw.authority_files.is_empty()),
        ("certificateHashes", raw.certificate_hashes.is_empty()),
        ("keyHashes", raw.key_hashes.is_empty()),
        ("names", raw.names.is_empty()),
        ("revocationFiles", raw.revocation_files.is_empty()),
    ];
    for (field, _) in fields.into_iter().filter(|(_, is_empty)| !is_empty) {
        let message = || "is of no use where any certificate will do: leave it out".to_owned();
        report.add(&place.field(field), message);
    }
}

fn hashes(raw: &[String], place: &FieldPath<'_>, report: &mut Report) -> Vec<[u8; 32]> {
    let mut hashes = Vec::with_capacity(raw.len());
    for (index, text) in raw.iter().enumerate() {
        match hash(text) {
            Some(hash) => hashes.push(hash),
            None => report.add(&place.index(index), || {
                format!("{} is no SHA-256: 64 hexadecimal digits, with colons or without", Quoted(text))
            }),
        }
    }
    hashes
}

fn hash(text: &str) -> Option<[u8; 32]> {
    let has_colons = text.contains(':');
    let pairs: Vec<&str> = match has_colons {
        true => text.split(':').collect(),
        false => (0..text.len()).step_by(2).map(|at| text.get(at..at + 2)).collect::<Option<_>>()?,
    };
    let is_pair = |pair: &&str| pair.len() == 2 && pair.bytes().all(|byte| byte.is_ascii_hexdigit());
    let bytes: Vec<u8> = pairs
        .iter()
        .filter(|pair| is_pair(pair))
        .filter_map(|pair| u8::from_str_radix(pair, 16).ok())
        .collect();
    if bytes.len() == pairs.len() { bytes.try_into().ok() } else { None }
}
