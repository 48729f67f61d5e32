//! TLS towards an upstream: what pingora's connector has to be told.
//!
//! Three of pingora's ways need care. With an empty SNI its rustls connector silently verifies
//! nothing, so there is always one: the configured, else the host's name, else the address (which
//! rustls checks against the certificate's IP addresses and does not send). Its pool key knows
//! neither the authorities nor the key of the client certificate, so their fingerprint goes into the
//! group key, or a connection that was verified one way would be reused by who asks for another. And
//! it panics on a certificate that it cannot parse, so all are parsed when they are loaded.

use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use penstock_config::UpstreamTls;
use penstock_tls::{ClientOptions, ClientTls, Identity, IdentityFiles, PemErrors, PemFiles};
use pingora_core::protocols::tls::CaType;
use pingora_core::upstreams::peer::{HttpPeer, Scheme};
use pingora_core::utils::tls::{CertKey, WrappedX509, parse_x509};
use rustls_pki_types::CertificateDer;

/// TLS towards a pool or a backend, with its files loaded.
#[derive(Debug)]
pub struct UpstreamContext {
    spec: UpstreamTls,
    options: ClientOptions,
    loaded: ArcSwap<Loaded>,
}

impl UpstreamContext {
    /// Reads the files that `spec` names.
    ///
    /// # Errors
    /// Everything that is wrong with the files.
    pub fn load(spec: UpstreamTls) -> Result<Self, PemErrors> {
        let options = options(&spec);
        let loaded = ArcSwap::from_pointee(Loaded::from(&ClientTls::load(&options)?));
        Ok(Self { spec, options, loaded })
    }

    /// Makes `peer` one that is spoken to in TLS. `host` is the name of the upstream, or its address
    /// where it has none.
    pub fn configure(&self, peer: &mut HttpPeer, host: &str) {
        let loaded = self.loaded.load();
        peer.scheme = Scheme::HTTPS;
        self.options.server_name(host).clone_into(&mut peer.sni);
        peer.options.verify_cert = self.options.is_verified;
        peer.options.verify_hostname = self.options.is_verified;
        peer.options.ca.clone_from(&loaded.authorities);
        peer.client_cert_key.clone_from(&loaded.client);
        peer.group_key ^= loaded.fingerprint;
    }

    /// The file of the certificate that says who the gateway is, and when the one of it that is in force expires, in
    /// seconds since 1970.
    #[must_use]
    pub fn expiry(&self) -> Option<(PathBuf, i64)> {
        let files = self.options.identity.as_ref()?;
        Some((files.certificate.clone(), self.loaded.load().client_not_after?))
    }

    /// What this was built from.
    #[must_use]
    pub fn spec(&self) -> &UpstreamTls {
        &self.spec
    }
}

impl PemFiles for UpstreamContext {
    fn files(&self) -> Vec<PathBuf> {
        self.options.files()
    }

    fn reload(&self) -> Result<bool, PemErrors> {
        let new = ClientTls::load(&self.options)?;
        let changed = new.fingerprint != self.loaded.load().fingerprint;
        if changed {
            self.loaded.store(Arc::new(Loaded::from(&new)));
        }
        Ok(changed)
    }
}

/// The content of the files, as pingora wants it.
#[derive(Debug)]
struct Loaded {
    authorities: Option<Arc<CaType>>,
    client: Option<Arc<CertKey>>,
    /// When the client's certificate expires, in seconds since 1970.
    client_not_after: Option<i64>,
    /// Of the content of all files; 0 without any.
    fingerprint: u64,
}

impl From<&ClientTls> for Loaded {
    fn from(tls: &ClientTls) -> Self {
        let authorities =
            tls.authorities.as_ref().map(|certificates| certificates.iter().map(wrap).collect());
        let client = |identity: &Identity| {
            let chain = identity.chain.iter().map(|certificate| certificate.to_vec()).collect();
            Arc::new(CertKey::new(chain, identity.key.der().to_vec()))
        };
        Self {
            authorities,
            client: tls.identity.as_ref().map(client),
            client_not_after: tls.identity.as_ref().map(|identity| identity.not_after),
            fingerprint: tls.fingerprint,
        }
    }
}

fn options(spec: &UpstreamTls) -> ClientOptions {
    let identity = spec.client_certificate.as_ref().map(|files| IdentityFiles {
        certificate: files.certificate.clone(),
        private_key: files.private_key.clone(),
    });
    ClientOptions {
        server_name: spec.sni.clone(),
        authorities: spec.ca.clone(),
        identity,
        is_verified: spec.is_verified,
    }
}

/// Was parsed when it was loaded, so the parser that panics does not.
fn wrap(certificate: &CertificateDer<'static>) -> WrappedX509 {
    WrappedX509::new(certificate.to_vec(), parse_x509)
}
