//! TLS towards an upstream: what pingora's connector has to be told.
//!
//! Three of pingora's ways need care. With an empty SNI its rustls connector silently verifies
//! nothing, so there is always one: the configured, else the host's name, else the address (which
//! rustls checks against the certificate's IP addresses and does not send). Its pool key knows
//! neither the authorities nor the key of the client certificate, so their fingerprint goes into the
//! group key, or a connection that was verified one way would be reused by who asks for another. And
//! it panics on a certificate that it cannot parse, so all are parsed when they are loaded.

use std::{path::PathBuf, sync::Arc};

use arc_swap::ArcSwap;
use penstock_config::UpstreamTls;
use pingora_core::{
    protocols::tls::CaType,
    upstreams::peer::{HttpPeer, Scheme},
    utils::tls::{CertKey, WrappedX509, parse_x509},
};
use rustls_pki_types::CertificateDer;

use super::{
    PemFiles,
    pem::{self, PemError},
};

/// TLS towards a pool or a backend, with its files loaded.
#[derive(Debug)]
pub struct UpstreamContext {
    spec: UpstreamTls,
    loaded: ArcSwap<Loaded>,
}

impl UpstreamContext {
    /// Reads the files that `spec` names.
    ///
    /// # Errors
    /// Everything that is wrong with the files.
    pub fn load(spec: UpstreamTls) -> Result<Self, Vec<PemError>> {
        let loaded = ArcSwap::from_pointee(Loaded::read(&spec)?);
        Ok(Self { spec, loaded })
    }

    /// Makes `peer` one that is spoken to in TLS. `host` is the name of the upstream, or its address
    /// where it has none.
    pub fn configure(&self, peer: &mut HttpPeer, host: &str) {
        let loaded = self.loaded.load();
        peer.scheme = Scheme::HTTPS;
        self.server_name(host).clone_into(&mut peer.sni);
        peer.options.verify_cert = self.spec.is_verified;
        peer.options.verify_hostname = self.spec.is_verified;
        peer.options.ca.clone_from(&loaded.authorities);
        peer.client_cert_key.clone_from(&loaded.client);
        peer.group_key ^= loaded.fingerprint;
    }

    /// The name that is asked for and verified. Never empty.
    #[must_use]
    pub fn server_name<'a>(&'a self, host: &'a str) -> &'a str {
        // An IPv6 address in a URL has brackets; rustls wants it bare.
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        self.spec.sni.as_deref().unwrap_or(bare.unwrap_or(host))
    }

    /// What this was built from.
    #[must_use]
    pub fn spec(&self) -> &UpstreamTls {
        &self.spec
    }
}

impl PemFiles for UpstreamContext {
    fn files(&self) -> Vec<PathBuf> {
        let client = &self.spec.client_certificate;
        let client = client.iter().flat_map(|files| [&files.certificate, &files.private_key]);
        self.spec.ca.iter().chain(client).cloned().collect()
    }

    fn reload(&self) -> Result<bool, Vec<PemError>> {
        let new = Loaded::read(&self.spec)?;
        let changed = new.fingerprint != self.loaded.load().fingerprint;
        if changed {
            self.loaded.store(Arc::new(new));
        }
        Ok(changed)
    }
}

/// The content of the files, as pingora wants it.
#[derive(Debug)]
struct Loaded {
    authorities: Option<Arc<CaType>>,
    client: Option<Arc<CertKey>>,
    /// Of the content of all files; 0 without any.
    fingerprint: u64,
}

impl Loaded {
    fn read(spec: &UpstreamTls) -> Result<Self, Vec<PemError>> {
        let mut errors = Vec::new();
        let mut loaded = Self { authorities: None, client: None, fingerprint: 0 };
        if let Some(path) = &spec.ca {
            match pem::authorities(path) {
                Ok((certificates, fingerprint)) => {
                    loaded.authorities = Some(certificates.iter().map(wrap).collect());
                    loaded.fingerprint ^= fingerprint;
                }
                Err(error) => errors.push(error),
            }
        }
        if let Some(files) = &spec.client_certificate {
            match pem::identity(&files.certificate, &files.private_key) {
                Ok(identity) => {
                    let chain = identity.chain.iter().map(|certificate| certificate.to_vec()).collect();
                    loaded.client = Some(Arc::new(CertKey::new(chain, identity.key.0)));
                    // Rotated, so that the same file as authority and as client does not cancel out.
                    loaded.fingerprint ^= identity.fingerprint.rotate_left(1);
                }
                Err(error) => errors.push(error),
            }
        }
        if errors.is_empty() { Ok(loaded) } else { Err(errors) }
    }
}

/// Has been parsed by [`pem`] before, so the parser that panics does not.
fn wrap(certificate: &CertificateDer<'static>) -> WrappedX509 {
    WrappedX509::new(certificate.to_vec(), parse_x509)
}
