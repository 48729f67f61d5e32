//! TLS towards upstreams, as BackendTLSPolicy and Backend have it.

use penstock_config::raw::RawUpstreamTls;

use crate::api::{BackendTls, BackendTlsValidation, LocalRef, SecretRef, SecretValue, SubjectAltName};
use crate::certificates;
use crate::context::{Context, RefError, Referrer, Secrets, data_file};
use crate::world::{Key, Kind};

/// The key of a ConfigMap or Secret that has authorities.
const CA: &str = "ca.crt";

const INVALID_CA: &str = "InvalidCACertificateRef";

/// Whom to trust.
struct Authorities<'a> {
    /// ConfigMaps or Secrets.
    references: &'a [LocalRef],
    /// `System`.
    well_known: Option<&'a str>,
}

/// Why the TLS of a policy cannot be had.
#[derive(Debug, Clone)]
pub(super) enum TlsFault {
    /// Its authorities.
    Authorities(RefError),
    /// The names that it wants in a certificate.
    Names(String),
}

/// TLS as a BackendTLSPolicy wants it.
pub(super) fn from_policy(
    context: &Context<'_>,
    namespace: &str,
    validation: &BackendTlsValidation,
) -> Result<(RawUpstreamTls, Secrets), TlsFault> {
    let hostname = validation.hostname.as_str();
    check_names(hostname, &validation.subject_alt_names).map_err(TlsFault::Names)?;
    let authorities = Authorities {
        references: &validation.ca_certificate_refs,
        well_known: validation.well_known_ca_certificates.as_deref(),
    };
    let mut secrets = Secrets::new();
    let ca_file = ca_file(context, namespace, &authorities, &mut secrets).map_err(TlsFault::Authorities)?;
    if ca_file.is_none() && authorities.well_known.is_none() {
        let message = "neither caCertificateRefs nor wellKnownCACertificates is there";
        return Err(TlsFault::Authorities(RefError::new(INVALID_CA, message)));
    }
    let sni = (!hostname.is_empty()).then(|| hostname.to_owned());
    Ok((RawUpstreamTls { sni, ca_file, ..RawUpstreamTls::default() }, secrets))
}

/// The data plane verifies the name that it asks for and no other: names that are not that one are an identity that nobody
/// would check.
fn check_names(hostname: &str, names: &[SubjectAltName]) -> Result<(), String> {
    let is_hostname = |name: &SubjectAltName| {
        name.kind == "Hostname"
            && name.hostname.as_deref().is_some_and(|name| name.eq_ignore_ascii_case(hostname))
    };
    if names.iter().all(is_hostname) {
        return Ok(());
    }
    Err("subjectAltNames other than the hostname cannot be verified yet, so requests to its targets are answered with \
         500"
    .to_owned())
}

impl TlsFault {
    /// Why an upstream that the policy is for cannot be used.
    pub(super) fn to_ref_error(&self, policy: &Key) -> RefError {
        match self {
            Self::Authorities(error) => error.clone(),
            Self::Names(message) => {
                RefError::new("UnsupportedValue", format!("BackendTLSPolicy {policy}: {message}"))
            }
        }
    }
}

/// TLS as a Backend wants it.
pub(crate) fn upstream_tls(
    context: &Context<'_>,
    backend: &Key,
    tls: &BackendTls,
) -> Result<(RawUpstreamTls, Secrets), RefError> {
    let mut secrets = Secrets::new();
    let authorities = Authorities {
        references: &tls.ca_certificate_refs,
        well_known: tls.well_known_ca_certificates.as_deref(),
    };
    let mut raw = RawUpstreamTls {
        sni: tls.sni.clone().filter(|sni| !sni.is_empty()),
        ca_file: ca_file(context, &backend.namespace, &authorities, &mut secrets)?,
        insecure_skip_verify: tls.insecure_skip_verify.unwrap_or(false),
        ..RawUpstreamTls::default()
    };
    if let Some(reference) = &tls.client_certificate_ref {
        let secret = client_certificate(context, backend, reference)?;
        let mut file = |key| Some(data_file(&mut secrets, "client", Kind::Secret, &secret, key));
        raw.client_certificate_file = file("tls.crt");
        raw.client_key_file = file("tls.key");
    }
    Ok((raw, secrets))
}

/// The file with the authorities; `None` for the system's. The document has room for one.
fn ca_file(
    context: &Context<'_>,
    namespace: &str,
    authorities: &Authorities<'_>,
    secrets: &mut Secrets,
) -> Result<Option<String>, RefError> {
    let (reference, more) = match authorities.references {
        [] => return Ok(None),
        [reference, more @ ..] => (reference, more),
    };
    if !more.is_empty() {
        return Err(RefError::new(
            INVALID_CA,
            "more than one of caCertificateRefs: put them into one object",
        ));
    }
    let key = Key::new(namespace, &reference.name);
    let (kind, pem) = match (reference.group.as_deref().unwrap_or(""), reference.kind.as_deref()) {
        ("", Some("ConfigMap")) => {
            let pem = context.config_map(&key).and_then(|data| data.get(CA)).map(|text| text.as_bytes());
            (Kind::ConfigMap, pem)
        }
        ("", Some("Secret")) => {
            (Kind::Secret, context.secret(&key).and_then(|data| data.get(CA)).map(SecretValue::expose))
        }
        (_, kind) => {
            let message = format!("{} cannot have authorities: ConfigMap and Secret can", kind.unwrap_or(""));
            return Err(RefError::new("InvalidKind", message));
        }
    };
    let kind_name = kind.name();
    let Some(pem) = pem else {
        let message = format!("there is no {kind_name} {key} with {CA}");
        return Err(RefError::new(INVALID_CA, message));
    };
    certificates::check_authorities(pem)
        .map_err(|message| RefError::new(INVALID_CA, format!("{CA} of {kind_name} {key}: {message}")))?;
    Ok(Some(data_file(secrets, "authorities", kind, &key, CA)))
}

fn client_certificate(context: &Context<'_>, backend: &Key, reference: &SecretRef) -> Result<Key, RefError> {
    const INVALID: &str = "InvalidClientCertificateRef";
    let from = Referrer::of(Kind::Backend, &backend.namespace);
    let (secret, values) = context.referred_secret(from, reference, INVALID)?;
    let value = |name: &str| {
        let value = values.get(name).map(SecretValue::expose);
        value.ok_or_else(|| RefError::new(INVALID, format!("the Secret {secret} has no {name}")))
    };
    certificates::check_pair(value("tls.crt")?, value("tls.key")?)
        .map_err(|message| RefError::new(INVALID, format!("Secret {secret}: {message}")))?;
    Ok(secret)
}
