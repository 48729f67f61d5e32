//! Chooses a certificate by the name that the client asks for.
//!
//! rustls brings such a resolver, but it neither knows wildcards nor lets its content be replaced.

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustc_hash::FxHashMap;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::identity::Identity;

/// The certificates of one listener, replaceable while it serves.
#[derive(Debug)]
pub(crate) struct Resolver {
    names: ArcSwap<Names>,
}

impl Resolver {
    pub(crate) fn new(identities: &[Identity]) -> Self {
        Self { names: ArcSwap::from_pointee(Names::new(identities)) }
    }

    /// Puts other certificates in force. Handshakes under way finish with what they have.
    pub(crate) fn replace(&self, identities: &[Identity]) {
        self.names.store(Arc::new(Names::new(identities)));
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.names.load().choose(hello.server_name())
    }
}

/// An index of certificates by name.
#[derive(Debug, Default)]
struct Names {
    exact: FxHashMap<String, Arc<CertifiedKey>>,
    /// By what follows the `*.`; a wildcard stands for exactly one label (RFC 6125, 6.4.3).
    wildcard: FxHashMap<String, Arc<CertifiedKey>>,
    /// For clients that send no name, or one that nobody claims: the first in the document. Whether
    /// it will do is the client's decision; hanging up would hide the mistake from it.
    default: Option<Arc<CertifiedKey>>,
}

impl Names {
    fn new(identities: &[Identity]) -> Self {
        let mut index = Self::default();
        for identity in identities {
            let key = Arc::new(identity.certified.clone());
            for name in &identity.names {
                // Where two certificates claim a name, the earlier in the document has it.
                match name.strip_prefix("*.") {
                    Some(suffix) => index.wildcard.entry(suffix.to_owned()),
                    None => index.exact.entry(name.clone()),
                }
                .or_insert_with(|| key.clone());
            }
            index.default.get_or_insert(key);
        }
        index
    }

    fn choose(&self, name: Option<&str>) -> Option<Arc<CertifiedKey>> {
        let found = name.and_then(|name| {
            // rustls has already put the name into lower case, and left the dot that may end it.
            let name = name.strip_suffix('.').unwrap_or(name);
            let wildcard = || self.wildcard.get(name.split_once('.')?.1);
            self.exact.get(name).or_else(wildcard)
        });
        found.or(self.default.as_ref()).cloned()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};
    use rustls_pki_types::PrivateKeyDer;

    use super::*;

    fn identity(names: &[&str]) -> Identity {
        let key = KeyPair::generate().unwrap();
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        let certificate = CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        Identity::new(vec![certificate.der().clone()], key).unwrap()
    }

    #[test]
    fn names_choose_exact_before_wildcard_before_the_first() {
        let identities = [&["first.test"][..], &["*.a.test"], &["x.a.test", "*.a.test"]].map(identity);
        let names = Names::new(&identities);
        for (asked, expected) in [
            (Some("first.test"), 0),
            (Some("x.a.test"), 2),
            (Some("y.a.test"), 1),
            (Some("x.a.test."), 2),
            (Some("a.test"), 0),
            (Some("z.y.a.test"), 0),
            (Some("unknown.test"), 0),
            (None, 0),
        ] {
            let chosen = names.choose(asked).unwrap();
            assert_eq!(chosen.cert, identities[expected].chain, "for {asked:?}");
        }
    }

    #[test]
    fn without_certificates_nothing_is_chosen() {
        assert!(Names::default().choose(Some("a.test")).is_none());
    }
}
