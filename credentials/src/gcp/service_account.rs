//! Service accounts: a token for an assertion that is signed with the account's key (RFC 7523).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::json;

use crate::error::FileFault;
use crate::secret;

/// How long an assertion is valid; Google takes no more than an hour.
const LIFETIME: Duration = Duration::from_secs(3600);

/// A file of type `service_account`.
#[derive(Deserialize)]
pub(super) struct ServiceAccount {
    client_email: String,
    #[serde(deserialize_with = "secret::text")]
    private_key: SecretString,
    private_key_id: Option<String>,
    pub(super) token_uri: Option<String>,
}

impl ServiceAccount {
    /// The signed assertion that the account asks for a token for `scope`.
    pub(super) fn assertion(
        &self,
        audience: &str,
        scope: &str,
        now: SystemTime,
    ) -> Result<SecretString, FileFault> {
        let issued = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let header = json!({ "alg": "RS256", "typ": "JWT", "kid": self.private_key_id });
        let claims = json!({
            "iss": self.client_email,
            "scope": scope,
            "aud": audience,
            "iat": issued,
            "exp": issued + LIFETIME.as_secs(),
        });
        let encoded = |part: &serde_json::Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let signed = format!("{}.{}", encoded(&header), encoded(&claims));
        let key = PrivatePkcs8KeyDer::from_pem_slice(self.private_key.expose_secret().as_bytes())
            .map_err(|_| FileFault::Content("its private_key is no PKCS #8 key in PEM"))?;
        let pair = RsaKeyPair::from_pkcs8(key.secret_pkcs8_der())
            .map_err(|_| FileFault::Content("its private_key is no RSA key of 2048 bits or more"))?;
        let mut signature = vec![0; pair.public().modulus_len()];
        pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
            .map_err(|_| FileFault::Content("its private_key cannot sign"))?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)).into())
    }
}
