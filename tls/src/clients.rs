//! What clients have to show of themselves, and whose word is taken for it.

mod test;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};

use crate::pem::{self, PemError, PemErrors};
use crate::provider::provider;

pub use test::{CertificateTest, NameKind, NameMatch, NameTest};

/// What a client has to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientProof {
    /// A certificate of one of the authorities.
    Verified,
    /// No certificate, or one of those.
    VerifiedIfGiven,
    /// Any certificate whose key it has.
    Any,
}

/// What clients have to show, and whose word is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCheckOptions {
    /// What a client has to show.
    pub proof: ClientProof,
    /// PEM files with the authorities. Not read with [`ClientProof::Any`]. There may be none where certificates are listed
    /// that vouch for themselves.
    pub authorities: Vec<PathBuf>,
    /// PEM files with lists of revoked certificates. With any, each authority in a client's chain needs one.
    pub revocations: Vec<PathBuf>,
    /// Whether only the client's own certificate is looked for in them, and not those between it and an authority.
    pub revocations_of_clients_only: bool,
    /// What the certificate has to be itself.
    pub test: CertificateTest,
}

impl ClientCheckOptions {
    /// A certificate of one of the authorities in these files.
    pub fn verified(authorities: Vec<PathBuf>) -> Self {
        Self {
            proof: ClientProof::Verified,
            authorities,
            revocations: Vec::new(),
            revocations_of_clients_only: false,
            test: CertificateTest::default(),
        }
    }

    /// Whether somebody has to vouch for clients.
    fn has_authorities(&self) -> bool {
        self.proof != ClientProof::Any && !(self.authorities.is_empty() && self.test.has_hashes())
    }
}

/// Looks at clients' certificates. It follows its authorities as they are reloaded.
pub(crate) struct ClientCheck {
    options: ClientCheckOptions,
    provider: Arc<CryptoProvider>,
    /// `None` where nobody has to vouch for clients.
    authorities: ArcSwapOption<Authorities>,
}

struct Authorities {
    certificates: Vec<CertificateDer<'static>>,
    revocations: Vec<CertificateRevocationListDer<'static>>,
    verifier: Arc<dyn ClientCertVerifier>,
}

impl ClientCheck {
    /// Reads the authorities.
    ///
    /// # Errors
    /// Everything that is wrong with any of the files.
    pub(crate) fn load(options: &ClientCheckOptions) -> Result<Self, PemErrors> {
        let provider = Arc::new(provider());
        let authorities = match options.has_authorities() {
            false => None,
            true => Some(Arc::new(Authorities::read(options, &provider)?)),
        };
        Ok(Self { options: options.clone(), provider, authorities: ArcSwapOption::new(authorities) })
    }

    /// The files that it was read from.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        match self.options.has_authorities() {
            false => Vec::new(),
            true => [&self.options.authorities[..], &self.options.revocations].concat(),
        }
    }

    /// Reads the authorities again. Tells whether they are others. Connections that are there stay.
    ///
    /// # Errors
    /// Everything that is wrong with any of the files. Those that were read before stay in force.
    pub(crate) fn reload(&self) -> Result<bool, PemErrors> {
        let Some(known) = self.authorities.load_full() else { return Ok(false) };
        let new = Authorities::read(&self.options, &self.provider)?;
        let is_changed = new.certificates != known.certificates || new.revocations != known.revocations;
        if is_changed {
            self.authorities.store(Some(Arc::new(new)));
        }
        Ok(is_changed)
    }
}

impl Authorities {
    fn read(options: &ClientCheckOptions, provider: &Arc<CryptoProvider>) -> Result<Self, PemErrors> {
        let (mut certificates, mut revocations, mut errors) = (Vec::new(), Vec::new(), Vec::new());
        for file in &options.authorities {
            let read = pem::read(file).and_then(|text| pem::authorities(&text).map_err(PemError::of(file)));
            match read {
                Ok(found) => certificates.extend(found),
                Err(error) => errors.push(error),
            }
        }
        for file in &options.revocations {
            let read = pem::read(file).and_then(|text| pem::revocations(&text).map_err(PemError::of(file)));
            match read {
                Ok(found) => revocations.extend(found),
                Err(error) => errors.push(error),
            }
        }
        if !errors.is_empty() {
            return Err(PemErrors(errors));
        }
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(certificates.iter().cloned());
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
        let builder = match options.proof {
            ClientProof::VerifiedIfGiven => builder.allow_unauthenticated(),
            _ => builder,
        };
        // A list that is out of date says nothing of what was revoked since.
        let builder = builder.with_crls(revocations.iter().cloned()).enforce_revocation_expiration();
        let builder = match options.revocations_of_clients_only {
            true => builder.only_check_end_entity_revocation(),
            false => builder,
        };
        let verifier = builder.build().expect("it has authorities and lists, each of which was parsed");
        Ok(Self { certificates, revocations, verifier })
    }
}

impl ClientCertVerifier for ClientCheck {
    fn client_auth_mandatory(&self) -> bool {
        self.options.proof != ClientProof::VerifiedIfGiven
    }

    /// None: authorities come and go, and a client that has one certificate shows that.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        match &*self.authorities.load() {
            Some(authorities) => {
                authorities.verifier.verify_client_cert(end_entity, intermediates, now)?;
            }
            None if self.options.test.has_hashes() => test::check_time(end_entity, now)?,
            None => {}
        }
        self.options.test.check(end_entity)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

impl fmt::Debug for ClientCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCheck").field("options", &self.options).finish_non_exhaustive()
    }
}
