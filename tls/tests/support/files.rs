//! Certificate files for tests; the proxy's tests use them too.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

/// A directory of certificates, all from one authority.
pub(crate) struct Files {
    dir: TempDir,
    issuer: Issuer<'static, KeyPair>,
    authority: String,
}

impl Files {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let authority = params.self_signed(&key).unwrap().pem();
        Self { dir: tempfile::tempdir().unwrap(), issuer: Issuer::new(params, key), authority }
    }

    /// Writes NAME.crt and NAME.key for the DNS names or addresses in `names`.
    pub(crate) fn issue(&self, name: &str, names: &[&str]) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &self.issuer).unwrap();
        (
            self.write(&format!("{name}.crt"), &certificate.pem()),
            self.write(&format!("{name}.key"), &key.serialize_pem()),
        )
    }

    /// Writes the authority's certificate.
    pub(crate) fn authority(&self) -> PathBuf {
        self.write("ca.crt", &self.authority)
    }

    pub(crate) fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }
}
