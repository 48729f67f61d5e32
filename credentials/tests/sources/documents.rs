//! Documents that anybody may read.

use penstock_credentials::Documents;

use crate::server::Server;

#[tokio::test]
async fn a_document_is_asked_for_without_a_credential_and_read_up_to_its_limit() {
    let server = Server::start([(200, "x".repeat(200 << 10)), (200, "x".repeat((200 << 10) + 1))]).await;
    let documents = Documents::new();
    let url = format!("{}/keys?a=1", server.url());
    assert_eq!(documents.get(&url, 200 << 10).await.unwrap().len(), 200 << 10);
    let asked = server.asked().remove(0);
    assert_eq!((asked.line.as_str(), asked.header("authorization")), ("GET /keys?a=1", ""));
    let error = documents.get(&url, 200 << 10).await.unwrap_err().to_string();
    assert_eq!(error, format!("the answer of {} is larger than 204800 bytes", server.address()));
}

#[tokio::test]
async fn anything_but_200_is_no_document() {
    let server = Server::start([(204, ""), (302, ""), (404, "hush"), (503, "")]).await;
    for status in [204, 302, 404, 503] {
        let error = Documents::new().get(&server.url(), 1024).await.unwrap_err().to_string();
        assert_eq!(error, format!("{} answered {status}", server.address()));
    }
}
