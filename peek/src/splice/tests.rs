use super::*;

fn chunks(body: &str, size: usize) -> Vec<Bytes> {
    body.as_bytes().chunks(size).map(Bytes::copy_from_slice).collect()
}

#[test]
fn replaces_the_range_wherever_the_body_is_cut() {
    let body = r#"{"model":"a-name","stream":true}"#;
    for size in 1..=body.len() {
        for (start, end) in [(9, 17), (0, 0), (0, body.len()), (body.len(), body.len()), (5, 6)] {
            let spliced = splice(&chunks(body, size), start..end, Bytes::from_static(b"NEW")).unwrap();
            let want = format!("{}NEW{}", &body[..start], &body[end..]);
            assert_eq!(spliced.chunks.concat(), want.as_bytes(), "chunks of {size}, {start}..{end}");
            assert_eq!(spliced.len, want.len());
            assert!(spliced.chunks.iter().all(|chunk| !chunk.is_empty()));
        }
    }
}

#[test]
fn shares_memory_with_the_body() {
    let body = Bytes::from_static(b"0123456789");
    let spliced = splice(std::slice::from_ref(&body), 4..6, Bytes::new()).unwrap();
    assert_eq!(spliced.len, 8);
    assert_eq!(spliced.chunks.len(), 2);
    assert_eq!(spliced.chunks[0].as_ptr(), body.as_ptr());
    assert_eq!(spliced.chunks[1].as_ptr(), body[6..].as_ptr());
}

#[test]
fn refuses_a_range_outside_of_the_body() {
    let body = chunks("0123", 3);
    for range in [0..5, 5..5, usize::MAX..usize::MAX] {
        assert_eq!(splice(&body, range, Bytes::new()), Err(SpliceError::OutOfBody));
    }
    let backwards = Range { start: 3, end: 2 };
    assert_eq!(splice(&body, backwards, Bytes::new()), Err(SpliceError::OutOfBody));
}

#[test]
fn writes_every_name_as_json_that_reads_back() {
    let all_ascii: String = (0..128_u8).map(char::from).collect();
    for name in ["", "mistral:latest", "a\"b\\c/d", "模型 \u{1F600}\u{2028}", &all_ascii] {
        let json = replacement(name, Notation::JsonString).unwrap();
        assert_eq!(serde_json::from_slice::<String>(&json).unwrap(), name);
    }
}

#[test]
fn writes_a_form_field_as_it_is_or_not_at_all() {
    assert_eq!(replacement("a\"b", Notation::FormField).unwrap(), "a\"b");
    for name in ["a\r\n--b", "a\nb", "a\0b"] {
        assert_eq!(replacement(name, Notation::FormField), Err(SpliceError::Control));
    }
}
