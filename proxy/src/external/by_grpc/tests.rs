use envoy_types::ext_authz::v3::pb as envoy;
use http::HeaderMap;

use super::*;
use crate::external::messages;

fn framed(message: &impl Message) -> Bytes {
    let mut framed = BytesMut::new();
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.encoded_len()).unwrap());
    message.encode(&mut framed).unwrap();
    framed.freeze()
}

fn answered(body: Bytes) -> Answered {
    let mut trailers = HeaderMap::new();
    trailers.insert(GRPC_STATUS, HeaderValue::from_static("0"));
    Answered { status: StatusCode::OK, headers: HeaderMap::new(), body, trailers }
}

#[test]
fn our_messages_are_envoys() {
    let address = SocketAddress { address: "10.0.0.1".into(), port_value: Some(0) };
    let peer = Peer { address: Some(Address { socket_address: Some(address) }) };
    let ours = CheckRequest {
        attributes: Some(AttributeContext {
            source: Some(peer),
            destination: None,
            request: Some(Request {
                time: Some(Timestamp { seconds: 1, nanos: 2 }),
                http: Some(HttpRequest {
                    id: "i".into(),
                    method: "m".into(),
                    headers: BTreeMap::from([("a".into(), "b".into())]),
                    path: "/p".into(),
                    host: "h".into(),
                    scheme: "s".into(),
                    size: -1,
                    protocol: "HTTP/1.1".into(),
                    body: Bytes::from_static(b"text"),
                    raw_body: Bytes::from_static(&[0xff]),
                }),
            }),
            context_extensions: BTreeMap::from([("c".into(), "d".into())]),
        }),
    };
    let theirs = envoy::CheckRequest::decode(&*ours.encode_to_vec()).unwrap();
    let back = messages::CheckRequest::decode(&*theirs.encode_to_vec()).unwrap();
    assert_eq!(back, ours);
    let http = theirs.attributes.unwrap().request.unwrap().http.unwrap();
    assert_eq!(
        (&*http.body, &*http.raw_body, http.size, &*http.headers["a"]),
        ("text", &[0xff][..], -1, "b")
    );
}

#[test]
fn what_is_not_one_whole_message_is_no_answer() {
    let whole = framed(&CheckResponse::default());
    assert!(matches!(answer(answered(whole.clone())), Ok(Answer::Allowed(_))));
    let twice = [&*whole, &*whole].concat();
    for body in [&b""[..], &[0, 0, 0, 0], &[0, 0, 0, 0, 1], &[1, 0, 0, 0, 0], &[0, 0, 0, 0, 1, 0xff], &twice]
    {
        assert!(answer(answered(Bytes::copy_from_slice(body))).is_err(), "{body:?}");
    }
    let no_status = Answered { trailers: HeaderMap::new(), ..answered(whole.clone()) };
    assert!(matches!(answer(no_status), Err(Fault::Malformed(_))));
    let not_found = Answered { status: StatusCode::NOT_FOUND, ..answered(whole) };
    assert!(matches!(answer(not_found), Err(Fault::Status(_))));
}

#[test]
fn an_answer_that_both_allows_and_denies_is_none() {
    let denied = || Some(HttpResponse::Denied(DeniedHttpResponse::default()));
    let both = CheckResponse { status: None, http_response: denied() };
    assert!(matches!(answer(answered(framed(&both))), Err(Fault::Malformed(_))));
    let status = || Some(messages::RpcStatus { code: 7 });
    let denies = CheckResponse { status: status(), http_response: denied() };
    let Ok(Answer::Denied(Some(reply))) = answer(answered(framed(&denies))) else { panic!("not denied") };
    assert_eq!(reply.status, StatusCode::FORBIDDEN);
    let ok = Some(HttpResponse::Ok(OkHttpResponse::default()));
    let denies = CheckResponse { status: status(), http_response: ok };
    assert!(matches!(answer(answered(framed(&denies))), Ok(Answer::Denied(None))));
}
