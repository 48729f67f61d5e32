//! Services that answer too much, nothing, or elsewhere.

use penstock_config::{GcpIdentity, TokenSource};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::fetch;
use crate::server::Server;

fn source(url: &str) -> TokenSource {
    TokenSource::Gcp { by: GcpIdentity::Environment, scope: "s".into(), endpoint: Some(url.into()) }
}

#[tokio::test]
async fn an_answer_is_read_up_to_64_kib() {
    let token = |length: usize| {
        let around = r#"{"expires_in": 10, "access_token": ""}"#.len();
        format!(r#"{{"expires_in": 10, "access_token": "{}"}}"#, "t".repeat(length - around))
    };
    let server = Server::start([(200, token(64 << 10)), (200, token((64 << 10) + 1))]).await;
    let source = source(&server.url());
    fetch(&source, &[]).await.unwrap();
    let error = fetch(&source, &[]).await.unwrap_err().to_string();
    assert_eq!(error, format!("the answer of {} is larger than 65536 bytes", server.address()));
}

#[tokio::test]
async fn garbage_is_not_quoted() {
    for body in
        ["", "hush", "[]", r#"{"access_token": 5}"#, "{\"access_token\": \"two\\nlines\", \"expires_in\": 9}"]
    {
        let server = Server::start([(200, body)]).await;
        let error = fetch(&source(&server.url()), &[]).await.unwrap_err().to_string();
        assert!(error.starts_with(&format!("the answer of {}", server.address())), "{error}");
        assert!(!error.contains("hush") && !error.contains("lines"), "{error}");
    }
    let server = Server::start([(200, b"\xff\xfe".as_slice())]).await;
    assert!(fetch(&source(&server.url()), &[]).await.is_err());
    let server = Server::start([(200, r#"{"access_token": "t", "expires_in": 0}"#)]).await;
    let error = fetch(&source(&server.url()), &[]).await.unwrap_err().to_string();
    assert!(error.contains("has expired"), "{error}");
}

#[tokio::test]
async fn nobody_is_led_elsewhere() {
    let elsewhere = Server::start([(200, r#"{"access_token": "t", "expires_in": 9}"#)]).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let url = elsewhere.url();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 1024]).await;
        let head = format!("HTTP/1.1 302 Found\r\nlocation: {url}/\r\ncontent-length: 0\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
    });
    let error = fetch(&source(&format!("http://{address}")), &[]).await.unwrap_err().to_string();
    assert_eq!(error, format!("{address} answered 302"));
    assert!(elsewhere.asked().is_empty());
}

#[tokio::test]
async fn one_that_is_not_there_or_speaks_no_http_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = fetch(&source(&format!("http://{address}")), &[]).await.unwrap_err().to_string();
    assert!(error.starts_with(&format!("{address} cannot be asked: ")), "{error}");
    assert!(error.to_lowercase().contains("refused"), "{error}");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"SSH-2.0-OpenSSH_9.9\r\n").await.unwrap();
        let _ = stream.read_to_end(&mut Vec::new()).await;
    });
    let error = fetch(&source(&format!("http://{address}")), &[]).await.unwrap_err().to_string();
    assert!(error.starts_with(&format!("{address} cannot be asked: ")), "{error}");
    let error = fetch(&source("http://bad host"), &[]).await.unwrap_err().to_string();
    assert!(error.contains("is no address"), "{error}");
}
