use std::time::Duration;

use super::*;

const WHOLE: &str = r#"{"object":"chat.completion","choices":[{"message":{"role":"assistant","content":"hi"}}],"usage":{"prompt_tokens":7,"completion_tokens":3}}"#;

fn token(text: &str) -> String {
    format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n")
}

/// Reads an answer whose pieces come 10 ms apart.
fn read(
    is_stream: bool,
    tokens: Option<u64>,
    status: u16,
    pieces: &[&str],
) -> (AnswerReader, Result<AnswerTokens, Failure>) {
    let mut reader = AnswerReader::new();
    reader.begin(ExpectedAnswer { is_stream, tokens }, true);
    reader.on_head(status, if is_stream { b"text/event-stream; charset=utf-8" } else { b"application/json" });
    let start = Instant::now();
    for (index, piece) in pieces.iter().enumerate() {
        reader.on_data(piece.as_bytes(), start + Duration::from_millis(10) * index as u32);
    }
    let found = reader.end();
    (reader, found)
}

fn kind(result: Result<AnswerTokens, Failure>) -> FailureKind {
    result.expect_err("this answer is wrong").kind
}

#[test]
fn a_right_answer_tells_its_tokens() {
    let (mut reader, found) = read(false, Some(3), 200, &[&WHOLE[..40], &WHOLE[40..]]);
    let found = found.unwrap();
    assert_eq!((found.input_tokens, found.output_tokens), (Some(7), 3));
    assert_eq!(reader.take_text().as_deref(), Some("hi"));
    assert!(reader.first_token().is_none());
}

#[test]
fn a_wrong_answer_is_an_error_of_its_kind() {
    assert_eq!(kind(read(false, Some(4), 200, &[WHOLE]).1), FailureKind::TokenCount);
    assert_eq!(kind(read(false, None, 503, &["overloaded"]).1), FailureKind::Status(503));
    assert_eq!(kind(read(false, None, 200, &["<html>"]).1), FailureKind::NotJson);
    assert_eq!(kind(read(false, None, 200, &["{\"choices\":[]}"]).1), FailureKind::Shape);
    assert_eq!(kind(read(false, None, 200, &["{\"choices\":3}"]).1), FailureKind::Shape);
    assert_eq!(kind(read(false, None, 200, &[&WHOLE[..60]]).1), FailureKind::NotJson);
    assert_eq!(kind(read(true, None, 200, &[&token("a")]).1), FailureKind::NoDone);
    assert_eq!(
        kind(read(true, None, 200, &[&token("a"), "data: [DONE]\n\n", &token("b")]).1),
        FailureKind::NoDone
    );
    assert_eq!(
        kind(read(true, None, 200, &["data: {\"error\":{\"message\":\"x\"}}\n\n"]).1),
        FailureKind::ErrorEvent
    );
    assert_eq!(kind(read(true, Some(2), 200, &[&token("a"), "data: [DONE]\n\n"]).1), FailureKind::TokenCount);
    assert_eq!(kind(read(true, None, 200, &["data: [DONE]\n\n"]).1), FailureKind::TokenCount);
}

#[test]
fn a_stream_of_another_content_type_is_wrong() {
    let mut reader = AnswerReader::new();
    reader.begin(ExpectedAnswer { is_stream: true, tokens: None }, false);
    reader.on_head(200, b"application/json");
    reader.on_data(b"data: [DONE]\n\n", Instant::now());
    assert_eq!(kind(reader.end()), FailureKind::Shape);
}

#[test]
fn tokens_are_timed_by_the_piece_that_completes_them() {
    let event = token("word");
    let role = "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n";
    let (head, tail) = event.split_at(20);
    let pieces = [role, head, tail, &event, "data: [DONE]\n\n"];
    let (mut reader, found) = read(true, Some(2), 200, &pieces);
    assert_eq!(found.unwrap().output_tokens, 2);
    assert_eq!(reader.gaps(), [Duration::from_millis(10)]);
    assert_eq!(reader.last_token().unwrap() - reader.first_token().unwrap(), Duration::from_millis(10));
    assert_eq!(reader.take_text().as_deref(), Some("wordword"));
}

#[test]
fn usage_of_the_last_event_decides_how_many_tokens_there_were() {
    let usage = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":8}}\n\n";
    let (_, found) = read(true, Some(8), 200, &[&token("a"), usage, "data: [DONE]\r\n\r\n"]);
    assert_eq!(found.unwrap().input_tokens, Some(5));
}

#[test]
fn a_wrong_answer_is_not_remembered_as_a_right_one() {
    let mut reader = AnswerReader::new();
    for (body, is_right) in [(WHOLE, true), ("{}", false), ("{}", false), (WHOLE, true)] {
        reader.begin(ExpectedAnswer { is_stream: false, tokens: None }, false);
        reader.on_head(200, b"application/json");
        reader.on_data(body.as_bytes(), Instant::now());
        assert_eq!(reader.end().is_ok(), is_right, "{body}");
    }
}

proptest::proptest! {
    #[test]
    fn however_a_stream_is_cut_it_reads_the_same(cuts in proptest::collection::vec(0usize..400, 0..12)) {
        let stream = format!("{}{}: comment\n\ndata: [DONE]\n\n", token("one"), token("two"));
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(stream.len())).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&str> = cuts.windows(2).map(|pair| &stream[pair[0]..pair[1]]).collect();
        let (mut reader, found) = read(true, Some(2), 200, &pieces);
        proptest::prop_assert!(found.is_ok());
        proptest::prop_assert_eq!(reader.take_text().unwrap(), "onetwo");
    }
}
