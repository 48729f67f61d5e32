use super::*;

fn request(text: &str) -> (Option<ParsedRequest>, usize) {
    let mut buffer = BytesMut::from(text);
    let request = RequestParser::default().advance(&mut buffer).unwrap();
    (request, buffer.len())
}

#[test]
fn a_request_is_taken_when_its_body_is_complete() {
    let body = r#"{"messages":[],"max_tokens":200,"stream":true}"#;
    let head = format!("POST /v1/chat/completions HTTP/1.1\r\nContent-Length: {}\r\n\r\n", body.len());
    let wanted = ParsedRequest {
        route: request::Route::Inference,
        is_stream: true,
        max_tokens: 200,
        prompt_tokens: 11,
        closes: false,
    };
    assert_eq!(request(&format!("{head}{body}GET")), (Some(wanted), 3));
    assert_eq!(request(&format!("{head}{}", &body[1..])).0, None);
    assert_eq!(request(&head[..20]).0, None);
}

#[test]
fn a_chunked_body_is_unframed() {
    let head = "POST /v1/completions HTTP/1.1\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n";
    let body = "8\r\n{\"max_to\r\na\r\nkens\":  3 \r\n1;x\r\n}\r\n0\r\n\r\n";
    let wanted = ParsedRequest {
        route: request::Route::Inference,
        is_stream: false,
        max_tokens: 3,
        prompt_tokens: 4,
        closes: true,
    };
    assert_eq!(request(&format!("{head}{body}")), (Some(wanted), 0));
    for cut in 0..body.len() {
        assert_eq!(request(&format!("{head}{}", &body[..cut])).0, None);
    }
    // Trailers are no part of the next request.
    let trailed = body.replace("0\r\n\r\n", "0\r\nx-trailer: 1\r\n\r\nGET");
    assert_eq!(request(&format!("{head}{trailed}")), (Some(wanted), 3));
}

#[test]
fn what_is_not_http_is_refused() {
    for wrong in ["\u{1}\u{2}\r\n\r\n", "POST / HTTP/1.1\r\ncontent-length: x\r\n\r\n"] {
        assert!(RequestParser::default().advance(&mut BytesMut::from(wrong)).is_err(), "{wrong}");
    }
    let head = "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n";
    for size in ["z", "10000000000000000"] {
        let wrong = format!("{head}{size}\r\n");
        assert!(RequestParser::default().advance(&mut BytesMut::from(&*wrong)).is_err(), "{wrong}");
    }
}

#[test]
fn a_whole_answer_has_its_size_and_its_tokens() {
    let answers = Answers::new(1024, "m");
    let request = ParsedRequest {
        route: request::Route::Inference,
        is_stream: false,
        max_tokens: 7,
        prompt_tokens: 5,
        closes: false,
    };
    let answer = answers.whole(&request);
    let body = answer.rsplit(|byte| *byte == b'\n').next().unwrap();
    let json: serde_json::Value = serde_json::from_slice(body).unwrap();
    assert_eq!(body.len(), 1024);
    assert_eq!(json["usage"]["completion_tokens"], 7);
    let answer = answers.whole(&ParsedRequest { route: request::Route::Messages, ..request });
    let body = answer.rsplit(|byte| *byte == b'\n').next().unwrap();
    let json: serde_json::Value = serde_json::from_slice(body).unwrap();
    assert_eq!(body.len(), 1024);
    assert_eq!((&json["type"], &json["usage"]["output_tokens"]), (&"message".into(), &7.into()));
    let metrics = answers.whole(&ParsedRequest { route: request::Route::Metrics, ..request });
    assert!(
        metrics.len() > 30_000 && memchr::memmem::find(&metrics, b"vllm:num_requests_waiting{").is_some()
    );
}

#[test]
fn a_stream_of_anthropics_api_has_its_events_with_their_names() {
    let head = "POST /v1/messages HTTP/1.1\r\ncontent-length: 30\r\n\r\n";
    let (request, _) = request(&format!("{head}{{\"max_tokens\":9,\"stream\":true}}"));
    let request = request.unwrap();
    assert!(request.is_stream);
    let answers = Answers::new(1024, "m");
    let pieces =
        [answers.stream_head(&request), answers.token(&request), &Answers::stream_end(&request)].concat();
    let text = String::from_utf8(pieces).unwrap();
    let events: Vec<(&str, serde_json::Value)> = text
        .split("\n\n")
        .filter_map(|event| event.split_once("event: ")?.1.split_once("\ndata: "))
        .map(|(name, data)| (name, serde_json::from_str(data).unwrap()))
        .collect();
    assert!(events.iter().all(|(name, data)| data["type"] == *name), "{text}");
    let names: Vec<&str> = events.iter().map(|(name, _)| *name).collect();
    let expected = [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ];
    assert_eq!(names, expected);
    assert_eq!(events[4].1["usage"]["output_tokens"], 9);
}
