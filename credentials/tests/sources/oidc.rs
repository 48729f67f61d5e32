use penstock_config::{AzureIdentity, IdentityToken, OidcClient, OidcProvider, TokenSource};

use crate::server::Server;
use crate::{fetch, file, header};

const ISSUED: &str = r#"{"access_token": "id.jwt", "expires_in": 60}"#;
const AZURE: &str = r#"{"access_token": "az", "expires_in": 3599}"#;

/// A source that takes the provider's token to a server.
fn source(provider: OidcProvider, client_secret: std::path::PathBuf, azure: &Server) -> TokenSource {
    let client = OidcClient {
        provider,
        client_id: "my client".into(),
        client_secret,
        scopes: vec!["a".into(), "b".into()],
        audience: Some("api://x".into()),
        grant_type: "client_credentials".into(),
    };
    TokenSource::Azure {
        tenant_id: Some("t".into()),
        client_id: Some("c".into()),
        by: AzureIdentity::Token(IdentityToken::Oidc(client)),
        scope: "s".into(),
        endpoint: Some(azure.url().into()),
    }
}

#[tokio::test]
async fn the_issuer_says_where_tokens_are_and_the_client_logs_in_there() {
    let azure = Server::start([(200, AZURE)]).await;
    let provider = Server::start([(200, ISSUED)]).await;
    let document = format!(r#"{{"issuer": "i", "token_endpoint": "{}/connect/token"}}"#, provider.url());
    let issuer = Server::start([(200, document)]).await;
    let directory = tempfile::tempdir().unwrap();
    let secret = file(&directory, "secret", "p:ss");
    let at = OidcProvider::Issuer(format!("{}/realm", issuer.url()).into());
    assert_eq!(header(&fetch(&source(at, secret, &azure), &[]).await.unwrap()), "Bearer az");
    assert_eq!(issuer.asked()[0].line, "GET /realm/.well-known/openid-configuration");
    let asked = &provider.asked()[0];
    assert_eq!(asked.line, "POST /connect/token");
    // "my+client:p%3Ass" (RFC 6749, 2.3.1)
    assert_eq!(asked.header("authorization"), "Basic bXkrY2xpZW50OnAlM0Fzcw==");
    asked.assert_form(&[("grant_type", "client_credentials"), ("scope", "a b"), ("audience", "api://x")]);
    assert_eq!(azure.asked()[0].form()[4], ("client_assertion".to_owned(), "id.jwt".to_owned()));
}

#[tokio::test]
async fn a_provider_that_wants_the_secret_in_the_form_gets_it_there() {
    let azure = Server::start([(200, AZURE)]).await;
    let provider = Server::start([(401, r#"{"error": "invalid_client"}"#), (200, ISSUED)]).await;
    let directory = tempfile::tempdir().unwrap();
    let secret = file(&directory, "secret", "p:ss");
    let at = OidcProvider::TokenEndpoint(provider.url().into());
    fetch(&source(at, secret, &azure), &[]).await.unwrap();
    let asked = &provider.asked()[1];
    assert_eq!(asked.header("authorization"), "");
    asked.assert_form(&[
        ("grant_type", "client_credentials"),
        ("scope", "a b"),
        ("audience", "api://x"),
        ("client_id", "my client"),
        ("client_secret", "p:ss"),
    ]);
}

#[tokio::test]
async fn a_provider_that_refuses_or_gives_nothing_is_named() {
    let azure = Server::start([(200, AZURE)]).await;
    let directory = tempfile::tempdir().unwrap();
    let secret = file(&directory, "secret", "hush");
    let refusal = r#"{"error": "invalid_client", "error_description": "hush"}"#;
    let provider =
        Server::start([(401, refusal), (401, refusal), (200, r#"{"access_token": ""}"#), (200, "{}")]).await;
    let source = source(OidcProvider::TokenEndpoint(provider.url().into()), secret, &azure);
    for part in ["answered 401: invalid_client", "has no token", "is not what was asked for"] {
        let error = fetch(&source, &[]).await.unwrap_err().to_string();
        assert!(error.contains(&provider.address()) && error.contains(part), "{error}");
        assert!(!error.contains("hush"), "{error}");
    }
    assert!(azure.asked().is_empty());
}
