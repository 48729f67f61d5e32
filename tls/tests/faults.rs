//! What is wrong with certificates, keys and their files, in words.

#![expect(clippy::unwrap_used, reason = "a test that panics is a test that fails")]

use std::path::{Path, PathBuf};

use penstock_tls::{
    ClientOptions, ClientTls, Identity, IdentityFiles, PemError, PemFault, PemFiles, ServerTls,
};

#[path = "support/files.rs"]
mod files;

use self::files::Files;

fn load(certificate: &Path, private_key: &Path) -> Result<Identity, PemError> {
    let files = IdentityFiles { certificate: certificate.to_owned(), private_key: private_key.to_owned() };
    Identity::load(&files)
}

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

#[test]
fn every_fault_of_a_file_is_told_with_its_name() {
    let files = Files::new();
    let (certificate, key) = files.issue("a", &["a.test"]);
    let (_, other) = files.issue("b", &["b.test"]);
    let missing = files.path().join("missing");
    let directory = files.path().to_owned();
    let empty = files.write("empty", "");
    let large = files.write("large", &"#".repeat((4 << 20) + 1));
    let broken = files.write("broken", "-----BEGIN CERTIFICATE-----\n????\n-----END CERTIFICATE-----\n");
    let nonsense = files.write("nonsense", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let encrypted = files.write(
        "encrypted",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
    );
    let unusable = files.write("unusable", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
    for (certificate, key, file, words) in [
        (&missing, &key, &missing, "cannot open the file"),
        (&directory, &key, &directory, "not a regular file"),
        (&large, &key, &large, "larger than 4194304 bytes"),
        (&empty, &key, &empty, "no certificate in it"),
        (&key, &key, &key, "no certificate in it"),
        (&broken, &key, &broken, "not valid PEM"),
        (&nonsense, &key, &nonsense, "certificate 1 in it cannot be parsed"),
        (&certificate, &certificate, &certificate, "no private key in it"),
        (&certificate, &encrypted, &encrypted, "unencrypted"),
        (&certificate, &unusable, &unusable, "cannot be used"),
        (&certificate, &other, &other, "does not belong to the first certificate in"),
    ] {
        let error = load(certificate, key).unwrap_err().to_string();
        assert!(error.starts_with(&*file.to_string_lossy()), "{error}");
        assert!(error.contains(words), "{error}");
    }
    let identity =
        |certificate: &PathBuf| IdentityFiles { certificate: certificate.clone(), private_key: key.clone() };
    let errors = ServerTls::load(vec![identity(&missing), identity(&empty)]).unwrap_err().0;
    assert_eq!(errors.len(), 2, "all faults at once");
    let options = ClientOptions {
        authorities: Some(missing.clone()),
        identity: Some(identity(&empty)),
        ..ClientOptions::verified()
    };
    assert_eq!(ClientTls::load(&options).unwrap_err().0.len(), 2, "all faults at once");
}

/// As the recipe in Envoy Gateway's documentation makes it; `tests/data/README.md`.
#[test]
fn a_certificate_of_version_1_is_refused_with_the_way_to_make_a_better_one() {
    let (certificate, key) = (data("v1.crt"), data("v1.key"));
    let error = load(&certificate, &key).unwrap_err();
    let is_version = |source: &PemFault| matches!(source, PemFault::Version { position: 1, version: 1 });
    assert!(matches!(&error, PemError::Content { source, .. } if is_version(source)), "{error:?}");
    let message = error.to_string();
    assert!(message.starts_with(&*certificate.to_string_lossy()), "{message}");
    for words in ["X.509 version 1", "version 3", "openssl x509 -req", "subjectAltName=DNS:"] {
        assert!(message.contains(words), "{message}");
    }
    // As an authority it is sound: what it vouches for is verified, and not it.
    let options = ClientOptions { authorities: Some(certificate), ..ClientOptions::verified() };
    assert_eq!(ClientTls::load(&options).unwrap().authorities.unwrap().len(), 1);
}

#[test]
fn an_identity_knows_its_names_and_its_expiry_and_hides_its_key() {
    let files = Files::new();
    let (certificate, key) = files.issue("a", &["A.test", "*.b.test"]);
    let identity = load(&certificate, &key).unwrap();
    assert_eq!(identity.names, ["a.test", "*.b.test"]);
    assert!(identity.not_after > 0);
    let shown = format!("{identity:?}");
    assert!(shown.contains("PrivateKey(redacted)") && !shown.contains(&format!("{:?}", identity.key.der())));
    let server =
        ServerTls::load(vec![IdentityFiles { certificate: certificate.clone(), private_key: key }]).unwrap();
    assert_eq!(server.expiries(), [(certificate, identity.not_after)]);
    assert_eq!(server.files().len(), 2);
}

#[test]
fn the_fingerprint_is_of_all_that_is_loaded() {
    let files = Files::new();
    let issued = |name| {
        let (certificate, private_key) = files.issue(name, &["a.test"]);
        IdentityFiles { certificate, private_key }
    };
    let authorities = Some(files.authority());
    let options = [
        ClientOptions::verified(),
        ClientOptions { authorities: authorities.clone(), ..ClientOptions::verified() },
        ClientOptions { identity: Some(issued("a")), ..ClientOptions::verified() },
        ClientOptions { identity: Some(issued("b")), authorities, ..ClientOptions::verified() },
    ];
    let fingerprints = options.map(|options| ClientTls::load(&options).unwrap().fingerprint);
    assert_eq!(fingerprints[0], 0);
    for (at, fingerprint) in fingerprints.iter().enumerate() {
        assert!(!fingerprints[..at].contains(fingerprint), "{fingerprints:?}");
    }
}
