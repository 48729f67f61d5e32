//! What a policy changes of listeners' TLS.

use penstock_config::raw::{RawClientCertificates, RawListenerTls};
use penstock_config::{CipherSuite, ClientProtocol, TlsVersion};

use super::{Fault, proof, unknown};
use crate::api::ClientTls;
use crate::context::{Context, Secrets};
use crate::world::{Key, shorten};

/// What a policy changes of listeners' TLS.
#[derive(Debug, Clone, Default)]
pub(super) struct Secure {
    clients: Option<RawClientCertificates>,
    min_version: TlsVersion,
    max_version: Option<TlsVersion>,
    ciphers: Vec<CipherSuite>,
    protocols: Vec<ClientProtocol>,
    secrets: Secrets,
}

impl Secure {
    pub(super) fn read(
        context: &Context<'_>,
        policy: &Key,
        tls: &ClientTls,
        notes: &mut Vec<String>,
        idle: &mut Vec<String>,
    ) -> Result<Self, Fault> {
        let mut secure = Self::default();
        match tls.min_version.as_deref() {
            None | Some("Auto" | "1.2") => {}
            Some("1.3") => secure.min_version = TlsVersion::V13,
            Some("1.0" | "1.1") => {
                notes.push("tls.minVersion: older ones than 1.2 are not spoken".to_owned())
            }
            Some(other) => return Err(unknown("tls.minVersion", other)),
        }
        match tls.max_version.as_deref() {
            None | Some("Auto" | "1.3") => {}
            Some("1.2") => secure.max_version = Some(TlsVersion::V12),
            Some("1.0" | "1.1") => {
                return Err("tls.maxVersion: older ones than 1.2 are not spoken".to_owned());
            }
            Some(other) => return Err(unknown("tls.maxVersion", other)),
        }
        // Of TLS 1.3 none can be chosen.
        if secure.min_version == TlsVersion::V12 {
            secure.ciphers = ciphers(&tls.ciphers, idle)?;
        }
        if let Some(protocols) = &tls.alpn_protocols {
            secure.protocols = offered(protocols, idle);
        }
        if let Some(wanted) = &tls.client_validation {
            secure.clients = proof::read(context, policy, wanted, &mut secure.secrets, idle)?;
        }
        Ok(secure)
    }

    /// Whether clients have to show something else than this.
    pub(super) fn wants_other(&self, known: &RawClientCertificates) -> bool {
        self.clients.as_ref().is_some_and(|clients| clients != known)
    }

    /// Changes a listener's TLS.
    pub(super) fn apply(&self, tls: &mut RawListenerTls, secrets: &mut Secrets) {
        if self.clients.is_some() {
            tls.clients.clone_from(&self.clients);
        }
        (tls.min_version, tls.max_version) = (self.min_version, self.max_version);
        tls.ciphers.clone_from(&self.ciphers);
        tls.protocols.clone_from(&self.protocols);
        secrets.extend(self.secrets.clone());
    }
}

/// Cipher suites, each alone or among others that are as good (`[a|b]`).
fn ciphers(wanted: &[String], idle: &mut Vec<String>) -> Result<Vec<CipherSuite>, Fault> {
    let mut ciphers = Vec::new();
    let names = wanted.iter().flat_map(|entry| entry.trim_matches(['[', ']']).split('|'));
    for name in names {
        match CipherSuite::from_openssl(name) {
            Some(suite) if !ciphers.contains(&suite) => ciphers.push(suite),
            Some(_) => {}
            None => idle.push(format!("spec.tls.ciphers: {}", shorten(name, 40))),
        }
    }
    if ciphers.is_empty() && !wanted.is_empty() {
        return Err("tls.ciphers: none of them is spoken".to_owned());
    }
    Ok(ciphers)
}

/// What is offered. A client that is offered nothing speaks HTTP/1.1.
fn offered(wanted: &[String], idle: &mut Vec<String>) -> Vec<ClientProtocol> {
    let mut protocols = Vec::new();
    for name in wanted {
        let protocol = match name.as_str() {
            "h2" => ClientProtocol::H2,
            "http/1.1" => ClientProtocol::Http1,
            other => {
                idle.push(format!("spec.tls.alpnProtocols: {}", shorten(other, 40)));
                continue;
            }
        };
        if !protocols.contains(&protocol) {
            protocols.push(protocol);
        }
    }
    if protocols.is_empty() {
        protocols.push(ClientProtocol::Http1);
    }
    protocols
}
