//! What a client's certificate has to be itself, whoever vouches for it.

use std::net::IpAddr;

use rustls::{CertificateError, Error};
use rustls_pki_types::{CertificateDer, UnixTime};
use sha2::{Digest, Sha256};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::X509Certificate;

use crate::pem;

/// What a client's certificate has to be itself. Nothing is asked of it by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CertificateTest {
    /// The SHA-256 of one of these certificates, in DER, unless its key is one of `key_hashes`.
    pub certificate_hashes: Vec<[u8; 32]>,
    /// The SHA-256 of one of these keys (`SubjectPublicKeyInfo` in DER), unless it is one of `certificate_hashes`.
    pub key_hashes: Vec<[u8; 32]>,
    /// It is for one of these names.
    pub names: Vec<NameTest>,
}

/// A condition on one of the names that a certificate is for (`subjectAltName`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameTest {
    /// What kind of name.
    pub kind: NameKind,
    /// How it is compared.
    pub how: NameMatch,
    /// What it is compared with. Case does not matter in DNS names.
    pub value: String,
}

/// A kind of name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameKind {
    /// A DNS name. A wildcard is a name as it is written.
    Dns,
    /// A URI, such as a SPIFFE id.
    Uri,
    /// An address of mail.
    Email,
    /// An IP address.
    Address,
}

/// How a name is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameMatch {
    /// It is the value.
    Exact,
    /// It begins with the value.
    Prefix,
    /// It ends with the value.
    Suffix,
}

impl CertificateTest {
    /// Whether it asks for certain certificates or keys: they vouch for themselves then.
    pub(super) fn has_hashes(&self) -> bool {
        !self.certificate_hashes.is_empty() || !self.key_hashes.is_empty()
    }

    /// Asks a certificate.
    ///
    /// # Errors
    /// It is none of those that are wanted.
    pub(super) fn check(&self, certificate: &CertificateDer<'_>) -> Result<(), Error> {
        if !self.has_hashes() && self.names.is_empty() {
            return Ok(());
        }
        let parsed = parsed(certificate)?;
        let is_listed =
            |hashes: &[[u8; 32]], der: &[u8]| hashes.iter().any(|hash| *hash == *Sha256::digest(der));
        let is_pinned = !self.has_hashes()
            || is_listed(&self.certificate_hashes, certificate)
            || is_listed(&self.key_hashes, parsed.public_key().raw);
        let is_named = self.names.is_empty() || self.is_named(&parsed);
        if is_pinned && is_named { Ok(()) } else { Err(refusal()) }
    }

    fn is_named(&self, certificate: &X509Certificate<'_>) -> bool {
        let names = certificate.subject_alternative_name().ok().flatten();
        let mut names = names.iter().flat_map(|names| &names.value.general_names);
        names.any(|name| self.names.iter().any(|test| test.is_met(name)))
    }
}

impl NameTest {
    fn is_met(&self, name: &GeneralName<'_>) -> bool {
        match (self.kind, name) {
            (NameKind::Dns, GeneralName::DNSName(name)) => {
                self.accepts(&name.to_ascii_lowercase(), &self.value.to_ascii_lowercase())
            }
            (NameKind::Uri, GeneralName::URI(name)) | (NameKind::Email, GeneralName::RFC822Name(name)) => {
                self.accepts(name, &self.value)
            }
            (NameKind::Address, GeneralName::IPAddress(bytes)) => {
                address(bytes).is_some_and(|address| self.accepts(&address.to_string(), &self.value))
            }
            _ => false,
        }
    }

    fn accepts(&self, name: &str, value: &str) -> bool {
        match self.how {
            NameMatch::Exact => name == value,
            NameMatch::Prefix => name.starts_with(value),
            NameMatch::Suffix => name.ends_with(value),
        }
    }
}

/// Asks a certificate for which nobody vouches whether it is valid now.
///
/// # Errors
/// It is not.
pub(super) fn check_time(certificate: &CertificateDer<'_>, now: UnixTime) -> Result<(), Error> {
    let parsed = parsed(certificate)?;
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let fault = if now > parsed.validity().not_after.timestamp() {
        CertificateError::Expired
    } else if now < parsed.validity().not_before.timestamp() {
        CertificateError::NotValidYet
    } else {
        return Ok(());
    };
    Err(fault.into())
}

fn parsed<'a>(certificate: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, Error> {
    pem::parse(1, certificate).map_err(|_| CertificateError::BadEncoding.into())
}

fn refusal() -> Error {
    CertificateError::ApplicationVerificationFailure.into()
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = || <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    let v6 = || <[u8; 16]>::try_from(bytes).map(IpAddr::from);
    v4().or_else(|_| v6()).ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcgen::{CertificateParams, KeyPair, SanType};

    use super::*;

    fn issued() -> CertificateDer<'static> {
        let mut params = CertificateParams::new(["App.Example.com".to_owned()]).unwrap();
        params.subject_alt_names.push(SanType::URI("spiffe://corp/ns/a/sa/app".try_into().unwrap()));
        params.subject_alt_names.push(SanType::Rfc822Name("ops@example.com".try_into().unwrap()));
        params.subject_alt_names.push(SanType::IpAddress([10, 1, 2, 3].into()));
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
    }

    fn named(kind: NameKind, how: NameMatch, value: &str) -> NameTest {
        NameTest { kind, how, value: value.to_owned() }
    }

    #[test]
    fn one_name_of_a_certificate_has_to_meet_one_condition() {
        use {NameKind as Kind, NameMatch as How};
        let certificate = issued();
        for (kind, how, value, is_met) in [
            (Kind::Dns, How::Exact, "app.example.COM", true),
            (Kind::Dns, How::Suffix, ".example.com", true),
            (Kind::Dns, How::Prefix, "app.", true),
            (Kind::Dns, How::Exact, "example.com", false),
            (Kind::Uri, How::Prefix, "spiffe://corp/", true),
            (Kind::Uri, How::Exact, "spiffe://corp/ns/a/sa/App", false),
            (Kind::Uri, How::Exact, "app.example.com", false),
            (Kind::Email, How::Exact, "ops@example.com", true),
            (Kind::Address, How::Exact, "10.1.2.3", true),
            (Kind::Address, How::Exact, "10.1.2.30", false),
        ] {
            let own = CertificateTest { names: vec![named(kind, how, value)], ..CertificateTest::default() };
            assert_eq!(own.check(&certificate).is_ok(), is_met, "{kind:?} {how:?} {value}");
        }
        let either =
            vec![named(Kind::Dns, How::Exact, "other.test"), named(Kind::Uri, How::Suffix, "/sa/app")];
        let either = CertificateTest { names: either, ..CertificateTest::default() };
        assert!(either.check(&certificate).is_ok());
    }

    #[test]
    fn a_certificate_or_its_key_is_one_of_those_that_are_listed() {
        let (certificate, other) = (issued(), issued());
        let of_key =
            |der: &CertificateDer<'_>| Sha256::digest(pem::parse(1, der).unwrap().public_key().raw).into();
        let certificates =
            |hashes| CertificateTest { certificate_hashes: hashes, ..CertificateTest::default() };
        let by_certificate = certificates(vec![Sha256::digest(&certificate).into()]);
        let by_key = CertificateTest { key_hashes: vec![of_key(&certificate)], ..CertificateTest::default() };
        // Either will do.
        let either = CertificateTest { certificate_hashes: vec![[7; 32]], ..by_key.clone() };
        for own in [&by_certificate, &by_key, &either] {
            assert!(own.check(&certificate).is_ok() && own.check(&other).is_err(), "{own:?}");
        }
        let names = vec![named(NameKind::Dns, NameMatch::Exact, "other.test")];
        assert!(CertificateTest { names, ..by_key }.check(&certificate).is_err(), "a name is wanted as well");
        assert!(CertificateTest::default().check(&other).is_ok());
    }

    #[test]
    fn what_nobody_vouches_for_has_to_be_valid_now() {
        let mut params = CertificateParams::new(["a.test".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let at = |seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        assert!(check_time(certificate.der(), at(1_590_000_000)).is_ok());
        assert!(check_time(certificate.der(), at(1_700_000_000)).is_err());
        assert!(check_time(certificate.der(), at(1_500_000_000)).is_err());
    }
}
