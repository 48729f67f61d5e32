use std::path::Path;
use std::time::Duration;

use penstock_config::{AzureIdentity, IdentityToken, TokenSource};

use crate::server::Server;
use crate::{fetch, file, header, text};

const SCOPE: &str = "https://cognitiveservices.azure.com/.default";

fn azure(by: AzureIdentity, endpoint: Option<String>) -> TokenSource {
    let is_named = by != AzureIdentity::Environment;
    TokenSource::Azure {
        tenant_id: is_named.then(|| "tenant".into()),
        client_id: is_named.then(|| "client".into()),
        by,
        scope: SCOPE.into(),
        endpoint: endpoint.map(Into::into),
    }
}

const ISSUED: &str =
    r#"{"token_type": "Bearer", "expires_in": 3599, "ext_expires_in": 3599, "access_token": "a.b-c"}"#;

#[tokio::test]
async fn an_application_shows_its_secret() {
    let server = Server::start([(200, ISSUED)]).await;
    let directory = tempfile::tempdir().unwrap();
    let secret = file(&directory, "secret", "s&c=~t\n");
    let source = azure(AzureIdentity::Secret(secret), Some(server.url()));
    let fetched = fetch(&source, &[]).await.unwrap();
    assert_eq!((header(&fetched), fetched.lifetime), ("Bearer a.b-c", Some(Duration::from_secs(3599))));
    let asked = &server.asked()[0];
    assert_eq!(asked.line, "POST /tenant/oauth2/v2.0/token");
    asked.assert_form(&[
        ("client_id", "client"),
        ("scope", SCOPE),
        ("grant_type", "client_credentials"),
        ("client_secret", "s&c=~t"),
    ]);
    assert_eq!(
        asked.body,
        "client_id=client&scope=https%3A%2F%2Fcognitiveservices.azure.com%2F.default&grant_type=client_credentials\
         &client_secret=s%26c%3D%7Et"
    );
}

#[tokio::test]
async fn an_application_shows_a_federated_token() {
    let directory = tempfile::tempdir().unwrap();
    let token = file(&directory, "token", "jwt");
    let assertion = [
        ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
        ("client_assertion", "jwt"),
    ];
    let server = Server::start([(200, ISSUED), (200, ISSUED)]).await;
    let url = server.url();
    let named = azure(AzureIdentity::Token(IdentityToken::File(token.clone())), Some(url.clone()));
    fetch(&named, &[]).await.unwrap();
    let variables = [
        ("AZURE_TENANT_ID", "tenant"),
        ("AZURE_CLIENT_ID", "client"),
        ("AZURE_FEDERATED_TOKEN_FILE", text(&token)),
        ("AZURE_AUTHORITY_HOST", &*format!("{url}/")),
    ];
    fetch(&azure(AzureIdentity::Environment, None), &variables).await.unwrap();
    for asked in server.asked() {
        assert_eq!(asked.line, "POST /tenant/oauth2/v2.0/token");
        let fields = [("client_id", "client"), ("scope", SCOPE), ("grant_type", "client_credentials")];
        asked.assert_form(&[&fields[..], &assertion].concat());
    }
}

#[tokio::test]
async fn a_managed_identity_is_asked_where_the_environment_says() {
    let answer = r#"{"access_token": "m", "expires_in": "86399", "resource": "r"}"#;
    let server = Server::start([(200, answer)]).await;
    let service = format!("{}/msi/token", server.url());
    let variables = [
        ("IDENTITY_ENDPOINT", &*service),
        ("IDENTITY_HEADER", "shared"),
        ("AZURE_CLIENT_ID", "user-assigned"),
    ];
    let fetched = fetch(&azure(AzureIdentity::Environment, None), &variables).await.unwrap();
    assert_eq!((header(&fetched), fetched.lifetime), ("Bearer m", Some(Duration::from_secs(86399))));
    let asked = &server.asked()[0];
    assert_eq!(
        asked.line,
        "GET /msi/token?api-version=2019-08-01&resource=https%3A%2F%2Fcognitiveservices.azure.com\
         &client_id=user-assigned"
    );
    assert_eq!(asked.header("x-identity-header"), "shared");
}

#[tokio::test]
async fn what_is_missing_or_refused_is_named_without_secrets() {
    let directory = tempfile::tempdir().unwrap();
    let secret = file(&directory, "secret", "hush");
    let body = r#"{"error": "invalid_client", "error_description": "AADSTS7000215: hush is no secret", "error_codes": [7000215]}"#;
    let server = Server::start([(401, body)]).await;
    let source = azure(AzureIdentity::Secret(secret), Some(server.url()));
    let error = fetch(&source, &[]).await.unwrap_err().to_string();
    assert_eq!(error, format!("{} answered 401: invalid_client", server.address()));
    let nowhere = fetch(&source_without_file(), &[]).await.unwrap_err().to_string();
    assert!(nowhere.starts_with("/nowhere/secret: No such file"), "{nowhere}");
    let variables = [("AZURE_CLIENT_SECRET", "hush")];
    let error = fetch(&azure(AzureIdentity::Environment, None), &variables).await.unwrap_err().to_string();
    assert!(error.contains("AZURE_TENANT_ID"), "{error}");
}

fn source_without_file() -> TokenSource {
    azure(AzureIdentity::Secret(Path::new("/nowhere/secret").into()), None)
}
