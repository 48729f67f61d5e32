//! What clients have to show of themselves, and whose word is taken for it.

use penstock_config::ClientProof;
use penstock_config::raw::RawClientCertificates;

use super::{Fault, unknown};
use crate::api::{ClientValidation, SecretRef, SecretValue};
use crate::certificates;
use crate::context::{Context, Referrer, Secrets, data_file};
use crate::world::{Key, Kind};

/// The key of a ConfigMap or Secret that has authorities.
const CA: &str = "ca.crt";

const REFS: &str = "tls.clientValidation.caCertificateRefs";

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
    if proof == ClientProof::Any {
        return Ok(Some(RawClientCertificates { proof, authority_files: Vec::new() }));
    }
    let mut authority_files = Vec::new();
    for reference in &wanted.ca_certificate_refs {
        let file = authorities(context, policy, reference, secrets);
        let file = file.map_err(|why| format!("{REFS}: {why}"))?;
        if !authority_files.contains(&file) {
            authority_files.push(file);
        }
    }
    if authority_files.is_empty() {
        return Err(format!("{REFS} is missing: nobody says whose certificates are believed"));
    }
    Ok(Some(RawClientCertificates { proof, authority_files }))
}

fn authorities(
    context: &Context<'_>,
    policy: &Key,
    reference: &SecretRef,
    secrets: &mut Secrets,
) -> Result<String, String> {
    let key = Key::new(reference.namespace.as_deref().unwrap_or(&policy.namespace), &reference.name);
    let group = reference.group.as_deref().unwrap_or_default();
    let kind = match (group, reference.kind.as_deref().unwrap_or("Secret")) {
        ("", "Secret") => Kind::Secret,
        ("", "ConfigMap") => Kind::ConfigMap,
        (_, other) => return Err(format!("{other} cannot have authorities: ConfigMap and Secret can")),
    };
    let from = Referrer::of(Kind::ClientTrafficPolicy, &policy.namespace);
    context.allowed(from, kind, &key).map_err(|error| error.message)?;
    let pem = match kind {
        Kind::ConfigMap => context.config_map(&key).and_then(|data| data.get(CA)).map(String::as_bytes),
        _ => context.secret(&key).and_then(|data| data.get(CA)).map(SecretValue::expose),
    };
    let name = kind.name();
    let pem = pem.ok_or_else(|| format!("there is no {name} {key} with {CA}"))?;
    certificates::check_authorities(pem).map_err(|message| format!("{CA} of {name} {key}: {message}"))?;
    Ok(data_file(secrets, "authorities", kind, &key, CA))
}
