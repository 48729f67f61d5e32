//! What a Gateway says that clients of its HTTPS listeners have to show of themselves (`spec.tls.frontend`).
//!
//! Where a ClientTrafficPolicy wants something else of a listener's clients, neither is in force: the listener is closed.

use penstock_config::raw::RawClientCertificates;

use crate::api::{self, FrontendValidation};
use crate::clients::proof;
use crate::context::{Context, Referrer, Secrets};
use crate::status::Condition;
use crate::world::{Key, Kind, shorten};

/// Serves whoever shows nothing, or something that is not believed.
const INSECURE: &str = "AllowInsecureFallback";

/// What is said of a port.
pub(super) fn of_port(spec: &api::Gateway, port: u16) -> Option<&FrontendValidation> {
    let frontend = spec.tls.as_ref()?.frontend.as_ref()?;
    let own = frontend.per_port.iter().find(|own| own.port == port);
    own.map_or(&frontend.default, |own| &own.tls).validation.as_ref()
}

/// What clients have to show; `None` if that is nothing.
///
/// # Errors
/// It cannot be asked for: why.
pub(super) fn read(
    context: &Context<'_>,
    gateway: &Key,
    wanted: &FrontendValidation,
    secrets: &mut Secrets,
) -> Result<Option<RawClientCertificates>, String> {
    match wanted.mode.as_deref() {
        None | Some("AllowValidOnly") => {}
        Some(INSECURE) => return Ok(None),
        Some(other) => return Err(format!("there is no mode {:?}", shorten(other, 40))),
    }
    let from = Referrer::of(Kind::Gateway, &gateway.namespace);
    let references = &wanted.ca_certificate_refs;
    let authority_files = proof::authorities(context, from, references, secrets)
        .map_err(|why| format!("caCertificateRefs: {why}"))?;
    if authority_files.is_empty() {
        return Err("caCertificateRefs is missing: nobody says whose certificates are believed".to_owned());
    }
    Ok(Some(RawClientCertificates { authority_files, ..RawClientCertificates::default() }))
}

/// What Gateway API wants to be said of a Gateway that serves whoever shows nothing.
pub(super) fn insecure(spec: &api::Gateway) -> Option<Condition> {
    let frontend = spec.tls.as_ref()?.frontend.as_ref()?;
    let all = frontend.per_port.iter().map(|own| &own.tls).chain([&frontend.default]);
    let mut modes = all.filter_map(|settings| settings.validation.as_ref()?.mode.as_deref());
    modes.any(|mode| mode == INSECURE).then(|| {
        let message = format!("{INSECURE}: clients are not asked for certificates where it holds");
        Condition::yes("InsecureFrontendValidationMode", "ConfigurationChanged", message)
    })
}
