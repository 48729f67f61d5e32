//! What clients have to show of themselves, and whose word is taken for it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use penstock_config::raw::{RawCertificateName, RawClientCertificates};
use penstock_config::{CertificateNameKind, CertificateNameMatch, ClientProof};

use super::{Fault, unknown};
use crate::api::{ClientNames, ClientRevocations, ClientValidation, SecretRef, SecretValue, StringMatch};
use crate::certificates;
use crate::context::{Context, Referrer, Secrets, data_file};
use crate::world::{Key, Kind, shorten};

/// The key of a ConfigMap or Secret that has authorities.
const CA: &str = "ca.crt";

/// The key of one that has lists of revoked certificates.
const CRL: &str = "ca.crl";

const PLACE: &str = "tls.clientValidation";

/// What clients have to show; `None` if that is nothing.
pub(super) fn read(
    context: &Context<'_>,
    policy: &Key,
    wanted: &ClientValidation,
    secrets: &mut Secrets,
    idle: &mut Vec<String>,
) -> Result<Option<RawClientCertificates>, Fault> {
    let proof = match (wanted.mode.as_deref(), wanted.optional) {
        (Some("RequireAndVerify"), _) | (None, None | Some(false)) => ClientProof::Verified,
        (Some("VerifyIfGiven"), _) | (None, Some(true)) => ClientProof::VerifiedIfGiven,
        (Some("RequireAny"), _) => ClientProof::Any,
        // Whatever a client shows, or shows nothing, it is served.
        (Some("Request"), _) => {
            idle.push("spec.tls.clientValidation.mode: Request".to_owned());
            return Ok(None);
        }
        (Some(other), _) => return Err(unknown("tls.clientValidation.mode", other)),
    };
    let mut raw = RawClientCertificates { proof, ..RawClientCertificates::default() };
    read_tests(wanted, &mut raw)?;
    let has_hashes = !raw.certificate_hashes.is_empty() || !raw.key_hashes.is_empty();
    if proof == ClientProof::Any {
        if has_hashes || !raw.names.is_empty() || wanted.crl.is_some() {
            return Err(format!(
                "{PLACE}.mode: RequireAny takes any certificate, and asks nothing else of it"
            ));
        }
        return Ok(Some(raw));
    }
    let from = Referrer::of(Kind::ClientTrafficPolicy, &policy.namespace);
    raw.authority_files = authorities(context, from, &wanted.ca_certificate_refs, secrets)
        .map_err(|why| format!("{PLACE}.caCertificateRefs: {why}"))?;
    if raw.authority_files.is_empty() && !has_hashes {
        return Err(format!(
            "{PLACE}.caCertificateRefs is missing: nobody says whose certificates are believed"
        ));
    }
    if let Some(crl) = &wanted.crl {
        let files = revocations(context, from, crl, secrets).map_err(|why| format!("{PLACE}.crl: {why}"))?;
        raw.revocation_files = files;
        raw.revocations_of_clients_only = crl.only_verify_leaf_certificate_crl == Some(true);
    }
    Ok(Some(raw))
}

/// The files with authorities that references lead to.
///
/// # Errors
/// One leads to none: why.
pub(crate) fn authorities(
    context: &Context<'_>,
    from: Referrer<'_>,
    references: &[SecretRef],
    secrets: &mut Secrets,
) -> Result<Vec<String>, String> {
    let check = certificates::check_authorities;
    files(context, from, references, ("authorities", CA), check, secrets)
}

fn revocations(
    context: &Context<'_>,
    from: Referrer<'_>,
    spec: &ClientRevocations,
    secrets: &mut Secrets,
) -> Result<Vec<String>, String> {
    if spec.refs.is_empty() {
        return Err("it names no lists".to_owned());
    }
    let check = certificates::check_revocations;
    files(context, from, &spec.refs, ("revocations", CRL), check, secrets)
}

fn files(
    context: &Context<'_>,
    from: Referrer<'_>,
    references: &[SecretRef],
    (what, part): (&str, &str),
    check: impl Fn(&[u8]) -> Result<(), String>,
    secrets: &mut Secrets,
) -> Result<Vec<String>, String> {
    let mut files = Vec::new();
    for reference in references {
        let key = Key::new(reference.namespace.as_deref().unwrap_or(from.namespace), &reference.name);
        let group = reference.group.as_deref().unwrap_or_default();
        let kind = match (group, reference.kind.as_deref().unwrap_or("Secret")) {
            ("", "Secret") => Kind::Secret,
            ("", "ConfigMap") => Kind::ConfigMap,
            (_, other) => return Err(format!("{other} cannot have {what}: ConfigMap and Secret can")),
        };
        context.allowed(from, kind, &key).map_err(|error| error.message)?;
        let pem = match kind {
            Kind::ConfigMap => context.config_map(&key).and_then(|data| data.get(part)).map(String::as_bytes),
            _ => context.secret(&key).and_then(|data| data.get(part)).map(SecretValue::expose),
        };
        let name = kind.name();
        let pem = pem.ok_or_else(|| format!("there is no {name} {key} with {part}"))?;
        check(pem).map_err(|message| format!("{part} of {name} {key}: {message}"))?;
        let file = data_file(secrets, what, kind, &key, part);
        if !files.contains(&file) {
            files.push(file);
        }
    }
    Ok(files)
}

/// What a certificate has to be itself.
fn read_tests(wanted: &ClientValidation, raw: &mut RawClientCertificates) -> Result<(), Fault> {
    raw.certificate_hashes.clone_from(&wanted.certificate_hashes);
    for text in &wanted.spki_hashes {
        let hash = STANDARD.decode(text).ok().filter(|hash| hash.len() == 32);
        let hash = hash
            .ok_or_else(|| format!("{PLACE}.spkiHashes: {:?} is no SHA-256 in Base64", shorten(text, 60)))?;
        raw.key_hashes.push(hash.iter().map(|byte| format!("{byte:02x}")).collect());
    }
    let Some(ClientNames { dns_names, email_addresses, ip_addresses, uris }) = &wanted.subject_alt_names
    else {
        return Ok(());
    };
    for (names, kind) in [
        (dns_names, CertificateNameKind::Dns),
        (email_addresses, CertificateNameKind::Email),
        (ip_addresses, CertificateNameKind::Address),
        (uris, CertificateNameKind::Uri),
    ] {
        for name in names {
            raw.names.push(one_name(name, kind)?);
        }
    }
    if raw.names.is_empty() {
        return Err(format!("{PLACE}.subjectAltNames names none"));
    }
    Ok(())
}

fn one_name(spec: &StringMatch, kind: CertificateNameKind) -> Result<RawCertificateName, Fault> {
    let how = match spec.kind.as_deref() {
        None | Some("Exact") => CertificateNameMatch::Exact,
        Some("Prefix") => CertificateNameMatch::Prefix,
        Some("Suffix") => CertificateNameMatch::Suffix,
        Some("RegularExpression") => {
            return Err(format!(
                "{PLACE}.subjectAltNames: a RegularExpression is not served: write Exact, Prefix or Suffix"
            ));
        }
        Some(other) => return Err(unknown("tls.clientValidation.subjectAltNames[].type", other)),
    };
    Ok(RawCertificateName { kind, how, value: spec.value.clone() })
}
