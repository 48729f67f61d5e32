use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use penstock_config::{GcpIdentity, IdentityToken, TokenSource};
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RsaKeyPair, UnparsedPublicKey};
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject;
use serde_json::{Value, json};

use crate::server::Server;
use crate::{assert_about, fetch, file, header, in_seconds, text};

const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
const KEY: &str = include_str!("../data/rsa.pem");
const ISSUED: &str = r#"{"access_token": "ya29.a", "expires_in": 3599, "token_type": "Bearer"}"#;
const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

fn gcp(by: GcpIdentity, endpoint: Option<&str>) -> TokenSource {
    TokenSource::Gcp { by, scope: SCOPE.into(), endpoint: endpoint.map(Into::into) }
}

fn of_file(path: &Path, is_local: bool) -> TokenSource {
    gcp(GcpIdentity::File { path: path.into(), is_local }, None)
}

/// The parts of a JWT, its signature checked.
fn verified(assertion: &str) -> (Value, Value) {
    let (signed, signature) = assertion.rsplit_once('.').unwrap();
    let key = PrivatePkcs8KeyDer::from_pem_slice(KEY.as_bytes()).unwrap();
    let pair = RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()).unwrap();
    let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, pair.public().as_ref().to_vec());
    public.verify(signed.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).unwrap()).unwrap();
    let (header, claims) = signed.split_once('.').unwrap();
    let part = |part| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
    (part(header), part(claims))
}

#[tokio::test]
async fn a_service_account_signs_what_it_asks_for() {
    let server = Server::start([(200, ISSUED), (200, ISSUED)]).await;
    let token_uri = format!("{}/token", server.url());
    let account = json!({
        "type": "service_account", "project_id": "p", "private_key_id": "kid1", "private_key": KEY,
        "client_email": "gateway@p.iam.gserviceaccount.com", "client_id": "1", "token_uri": token_uri,
    });
    let directory = tempfile::tempdir().unwrap();
    let path = file(&directory, "sa.json", &account.to_string());
    let fetched = fetch(&of_file(&path, false), &[]).await.unwrap();
    assert_eq!((header(&fetched), fetched.lifetime), ("Bearer ya29.a", Some(Duration::from_secs(3599))));
    // The same, named by the environment.
    let variables = [("GOOGLE_APPLICATION_CREDENTIALS", text(&path))];
    fetch(&gcp(GcpIdentity::Environment, None), &variables).await.unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    for asked in server.asked() {
        assert_eq!(asked.line, "POST /token");
        let form = asked.form();
        assert_eq!(form[0].1, "urn:ietf:params:oauth:grant-type:jwt-bearer");
        assert_eq!((form.len(), &*form[1].0), (2, "assertion"));
        let (head, claims) = verified(&form[1].1);
        assert_eq!(head, json!({ "alg": "RS256", "typ": "JWT", "kid": "kid1" }));
        let issued = claims["iat"].as_u64().unwrap();
        assert!((now - 60..=now).contains(&issued));
        assert_eq!(
            claims,
            json!({
                "iss": "gateway@p.iam.gserviceaccount.com", "scope": SCOPE, "aud": token_uri,
                "iat": issued, "exp": issued + 3600,
            })
        );
    }
}

#[tokio::test]
async fn another_token_endpoint_takes_the_place_of_the_files_and_the_audience_stays() {
    let server = Server::start([(200, ISSUED)]).await;
    let account = json!({ "type": "service_account", "private_key": KEY, "client_email": "a@b" });
    let directory = tempfile::tempdir().unwrap();
    let path = file(&directory, "sa.json", &account.to_string());
    let by = GcpIdentity::File { path, is_local: true };
    fetch(&gcp(by, Some(&format!("{}/t", server.url()))), &[]).await.unwrap();
    let asked = &server.asked()[0];
    assert_eq!(asked.line, "POST /t");
    assert_eq!(verified(&asked.form()[1].1).1["aud"], "https://oauth2.googleapis.com/token");
}

#[tokio::test]
async fn a_user_is_asked_for_by_the_refresh_token() {
    let server = Server::start([(200, ISSUED)]).await;
    let user = json!({
        "type": "authorized_user", "client_id": "c", "client_secret": "s", "refresh_token": "1//r",
        "token_uri": server.url(),
    });
    let directory = tempfile::tempdir().unwrap();
    let path = file(&directory, "adc.json", &user.to_string());
    fetch(&of_file(&path, true), &[]).await.unwrap();
    server.asked()[0].assert_form(&[
        ("grant_type", "refresh_token"),
        ("client_id", "c"),
        ("client_secret", "s"),
        ("refresh_token", "1//r"),
    ]);
}

#[tokio::test]
async fn the_metadata_server_is_asked_with_its_header() {
    let server = Server::start([(200, ISSUED), (200, ISSUED), (200, ISSUED)]).await;
    let address = server.address();
    let variables = [("GCE_METADATA_HOST", &*address)];
    fetch(&gcp(GcpIdentity::Environment, None), &variables).await.unwrap();
    fetch(&gcp(GcpIdentity::Environment, Some(&server.url())), &[]).await.unwrap();
    let narrow =
        TokenSource::Gcp { by: GcpIdentity::Environment, scope: "https://s/a".into(), endpoint: None };
    fetch(&narrow, &variables).await.unwrap();
    let path = "GET /computeMetadata/v1/instance/service-accounts/default/token";
    let lines: Vec<_> = server.asked().into_iter().map(|asked| asked.line).collect();
    assert_eq!(lines, [path.to_owned(), path.to_owned(), format!("{path}?scopes=https%3A%2F%2Fs%2Fa")]);
    assert!(server.asked().iter().all(|asked| asked.header("metadata-flavor") == "Google"));
}

#[tokio::test]
async fn a_federated_token_is_exchanged_and_impersonates() {
    let impersonated = json!({ "accessToken": "ya29.sa", "expireTime": in_seconds(3600) }).to_string();
    let server =
        Server::start([(200, ISSUED.to_owned()), (200, ISSUED.to_owned()), (200, impersonated)]).await;
    let directory = tempfile::tempdir().unwrap();
    let token = file(&directory, "token", "k8s.jwt");
    let identity = |service_account: Option<&str>| GcpIdentity::WorkloadIdentity {
        audience: "//iam.googleapis.com/p".into(),
        token: IdentityToken::File(token.clone()),
        service_account: service_account.map(Into::into),
        sts_endpoint: format!("{}/v1/token", server.url()).into(),
        iam_endpoint: server.url().into(),
    };
    assert_eq!(header(&fetch(&gcp(identity(None), None), &[]).await.unwrap()), "Bearer ya29.a");
    let narrow =
        TokenSource::Gcp { by: identity(Some("a@p.test")), scope: "https://s/a".into(), endpoint: None };
    let fetched = fetch(&narrow, &[]).await.unwrap();
    assert_eq!(header(&fetched), "Bearer ya29.sa");
    assert_about(&fetched, 3600);
    let asked = server.asked();
    for exchange in &asked[..2] {
        assert_eq!(exchange.line, "POST /v1/token");
        exchange.assert_form(&[
            ("grant_type", EXCHANGE),
            ("audience", "//iam.googleapis.com/p"),
            ("scope", SCOPE),
            ("requested_token_type", ACCESS_TOKEN),
            ("subject_token", "k8s.jwt"),
            ("subject_token_type", JWT),
        ]);
    }
    assert_eq!(asked[2].line, "POST /v1/projects/-/serviceAccounts/a@p.test:generateAccessToken");
    assert_eq!(asked[2].header("authorization"), "Bearer ya29.a");
    assert_eq!(asked[2].body, r#"{"scope":["https://s/a"]}"#);
}

#[tokio::test]
async fn an_external_account_is_read_from_this_machine_and_never_from_a_secret() {
    let impersonated = json!({ "accessToken": "sa", "expireTime": in_seconds(600) }).to_string();
    let server = Server::start([
        (200, r#"{"value": "from-url"}"#.to_owned()),
        (200, ISSUED.to_owned()),
        (200, impersonated),
    ])
    .await;
    let url = server.url();
    let account = json!({
        "type": "external_account", "audience": "aud", "subject_token_type": JWT,
        "token_url": format!("{url}/sts"),
        "service_account_impersonation_url": format!("{url}/impersonate"),
        "credential_source": {
            "url": format!("{url}/subject"), "headers": { "metadata": "True" },
            "format": { "type": "json", "subject_token_field_name": "value" },
        },
    });
    let directory = tempfile::tempdir().unwrap();
    let path = file(&directory, "ext.json", &account.to_string());
    let error = fetch(&of_file(&path, false), &[]).await.unwrap_err().to_string();
    assert!(error.contains("which a Secret may not: use gcp.workloadIdentity"), "{error}");
    assert!(server.asked().is_empty());

    assert_eq!(header(&fetch(&of_file(&path, true), &[]).await.unwrap()), "Bearer sa");
    let asked = server.asked();
    assert_eq!((&*asked[0].line, asked[0].header("metadata")), ("GET /subject", "True"));
    assert!(asked[1].form().contains(&("subject_token".to_owned(), "from-url".to_owned())));
    assert_eq!(asked[2].line, "POST /impersonate");
}

#[tokio::test]
async fn a_file_that_is_none_is_named_and_not_quoted() {
    let directory = tempfile::tempdir().unwrap();
    for (content, part) in [
        ("hush", "not a credential of Google's"),
        (r#"{"type": "hush"}"#, "not a credential of Google's"),
        (r#"{"type": "service_account", "client_email": "a", "private_key": "hush"}"#, "no PKCS #8 key"),
        ("", "nothing in it"),
    ] {
        let path = file(&directory, "f.json", content);
        let error = fetch(&of_file(&path, true), &[]).await.unwrap_err().to_string();
        assert!(error.contains("f.json: ") && error.contains(part) && !error.contains("hush"), "{error}");
    }
    let path = file(&directory, "f.json", &"x".repeat((64 << 10) + 1));
    let error = fetch(&of_file(&path, true), &[]).await.unwrap_err().to_string();
    assert!(error.contains("larger than 65536 bytes"), "{error}");
}
