//! Whether certificates, keys and authorities can be used, by the data plane's own judgement: it refuses a whole document
//! for one that it cannot load, and a broken certificate must affect its listener alone.

use penstock_tls::{Identity, PemFault, pem};

/// Checks a chain and its key, both PEM, of a Secret of type `kubernetes.io/tls`.
///
/// # Errors
/// What is wrong, for people.
pub(crate) fn check_pair(chain: &[u8], key: &[u8]) -> Result<(), String> {
    let of = |name: &'static str| move |fault: PemFault| format!("{name}: {fault}");
    let chain = pem::certificates(chain).map_err(of("tls.crt"))?;
    let key = pem::private_key(key).map_err(of("tls.key"))?;
    match Identity::new(chain, key) {
        Ok(_) => Ok(()),
        Err(fault @ (PemFault::Mismatch | PemFault::BadKey(_))) => Err(of("tls.key")(fault)),
        Err(fault) => Err(of("tls.crt")(fault)),
    }
}

/// Checks lists of revoked certificates, PEM.
///
/// # Errors
/// What is wrong, for people.
pub(crate) fn check_revocations(pem: &[u8]) -> Result<(), String> {
    pem::revocations(pem).map(|_| ()).map_err(|fault| fault.to_string())
}

/// Checks authorities, PEM.
///
/// # Errors
/// What is wrong, for people.
pub(crate) fn check_authorities(pem: &[u8]) -> Result<(), String> {
    pem::authorities(pem).map(|_| ()).map_err(|fault| fault.to_string())
}
