use tokio::{io::AsyncWriteExt, net::TcpListener};

use super::*;

/// Sends a request and reads the answer, whose bytes come in these pieces before the connection ends.
async fn read(pieces: &'static [&'static str]) -> (Result<(u16, String), Failure>, bool) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 64];
        let read = stream.read(&mut request).await.unwrap();
        assert_eq!(&request[..read], b"POST / HTTP/1.1\r\n\r\nbody");
        for piece in pieces {
            stream.write_all(piece.as_bytes()).await.unwrap();
            tokio::task::yield_now().await;
        }
    });
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let mut connection = Connection::new(Stream::Plain(stream));
    let answer = async {
        connection.send(b"POST / HTTP/1.1\r\n\r\n", &[Bytes::from("bo"), Bytes::from("dy")]).await?;
        let head = connection.head().await?;
        let mut body = String::new();
        while let Some((data, _)) = connection.data().await? {
            body.push_str(std::str::from_utf8(&data).unwrap());
        }
        Ok((head.status, body))
    };
    let answer = answer.await;
    server.await.unwrap();
    (answer, connection.is_reusable())
}

#[tokio::test]
async fn every_framing_is_read() {
    let length = &["HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel", "lo"];
    assert_eq!(read(length).await.0.unwrap(), (200, "hello".to_owned()));
    let chunked = &[
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ntransfer-enc",
        "oding: chunked\r\n\r\n3;x=y\r\nhel\r",
        "\n2\r\nlo\r\n0\r\n",
        "x-trailer: 1\r\n\r\n",
    ];
    let (answer, is_reusable) = read(chunked).await;
    assert_eq!(answer.unwrap(), (200, "hello".to_owned()));
    assert!(is_reusable);
    let (answer, is_reusable) = read(&["HTTP/1.0 200 OK\r\n\r\nhel", "lo"]).await;
    assert_eq!(answer.unwrap(), (200, "hello".to_owned()));
    assert!(!is_reusable);
    let closing = &["HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n"];
    let (answer, is_reusable) = read(closing).await;
    assert_eq!(answer.unwrap(), (204, String::new()));
    assert!(!is_reusable);
}

#[tokio::test]
async fn what_is_cut_or_malformed_is_told_apart() {
    let kind = |answer: Result<(u16, String), Failure>| answer.unwrap_err().kind;
    assert_eq!(
        kind(read(&["HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello"]).await.0),
        FailureKind::Truncated
    );
    assert_eq!(
        kind(read(&["HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab"]).await.0),
        FailureKind::Truncated
    );
    assert_eq!(kind(read(&["SSH-2.0-x\r\n\r\n"]).await.0), FailureKind::Protocol);
    assert_eq!(kind(read(&["HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n"]).await.0), FailureKind::Protocol);
    assert_eq!(
        kind(read(&["HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"]).await.0),
        FailureKind::Protocol
    );
}
