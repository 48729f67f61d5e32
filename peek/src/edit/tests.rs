use super::*;
use crate::Break;

const DEPTH: usize = 64;

fn edits(set: &[(&str, &str)], remove: &[&str]) -> MemberEdits {
    let mut edits = MemberEdits::default();
    for name in remove {
        edits.remove(name);
    }
    for (name, value) in set {
        edits.set(name, value);
    }
    edits
}

/// The body in two chunks, cut at each byte in turn.
fn cuts(body: &str) -> impl Iterator<Item = [Bytes; 2]> {
    let body = Bytes::copy_from_slice(body.as_bytes());
    (0..=body.len()).map(move |at| [body.slice(..at), body.slice(at..)])
}

fn text(chunks: &[Bytes]) -> String {
    String::from_utf8(chunks.concat()).unwrap()
}

#[test]
fn members_are_set_and_taken_out_and_all_else_stays_as_it_is_written() {
    let set = &[("tier", "\"flex\""), ("n", "2")];
    for (body, set, remove, wanted) in [
        (r#"{}"#, &set[..], &["x"][..], r#"{"tier":"flex","n":2}"#),
        (r#" { } "#, &set[1..], &[], r#" { "n":2} "#),
        (r#"{"x":1}"#, &[], &["x"], r#"{}"#),
        (r#"{"x":1}"#, &set[1..], &["x"], r#"{"n":2}"#),
        (r#"{"x":1,"a":1.50,"y":{"x":[2]}}"#, &[], &["x", "y"], r#"{"a":1.50}"#),
        (r#"{"x":1 , "y":2 , "a":1}"#, &[], &["x", "y"], r#"{"a":1}"#),
        (r#"{"a":1 , "x":2 , "y":3 , "b" : 4 }"#, &[], &["x", "y"], r#"{"a":1 , "b" : 4 }"#),
        (r#"{"a":1,"x":2,"y":3}"#, &[], &["x", "y"], r#"{"a":1}"#),
        (r#"{"n":1,"a":"n","x":{"n":3}}"#, &set[1..], &["x"], r#"{"n":2,"a":"n"}"#),
        (r#"{"x":1,"n" : [1, "]"] ,"y":0}"#, &set[..], &["x", "y"], r#"{"n" : 2,"tier":"flex"}"#),
        // A name that is written with escapes is the same name.
        (r#"{"ti\u0065r":"a","b":1}"#, &set[..1], &[], r#"{"ti\u0065r":"flex","b":1}"#),
        (r#"{"\u0078":"a","b":"\"x\":1"}"#, &[], &["x"], r#"{"b":"\"x\":1"}"#),
    ] {
        for chunks in cuts(body) {
            let changed = edits(set, remove).apply(&chunks, DEPTH).unwrap().unwrap();
            assert_eq!(text(&changed), wanted, "{body} {chunks:?}");
        }
    }
}

#[test]
fn what_has_no_such_member_or_no_members_at_all_stays() {
    for body in [r#"{"a":1}"#, "", "  ", "[1]", "--b\r\n", "\"x\"", "x=1"] {
        for chunks in cuts(body) {
            assert_eq!(edits(&[], &["x"]).apply(&chunks, DEPTH), Ok(None), "{body}");
        }
    }
    let no_object = [Bytes::from_static(b"[{}]")];
    assert_eq!(edits(&[("x", "1")], &[]).apply(&no_object, DEPTH), Ok(None));
}

#[test]
fn a_body_that_servers_could_read_in_two_ways_is_refused() {
    let change = edits(&[("n", "1")], &["x"]);
    for (body, reason, at) in [
        (r#"{"x":1,"x":2}"#, "duplicate_member", 7),
        (r#"{"n":1,"a":0,"\u006e":2}"#, "duplicate_member", 13),
        (r#"{"a":1"#, "uneditable", 6),
        (r#"{"a":1}}"#, "uneditable", 7),
        (r#"{"a":1,}"#, "uneditable", 7),
        (r#"{"a" 1}"#, "uneditable", 5),
        (r#"{a:1}"#, "uneditable", 1),
        (r#"{"a":[1}"#, "uneditable", 7),
        (r#"{"a":"\x"}"#, "uneditable", 7),
        (r#"{"a":1 "b":2}"#, "uneditable", 7),
    ] {
        for chunks in cuts(body) {
            let error = change.apply(&chunks, DEPTH).unwrap_err();
            assert_eq!((error.reason(), error.status()), (reason, 400), "{body}");
            let found = match error {
                PeekError::DuplicateMember { at, .. } | PeekError::Uneditable { at, .. } => at,
                other => panic!("{other}"),
            };
            assert_eq!(found, at, "{body}");
        }
    }
    let deep = Bytes::from(format!("{{\"a\":{}{}}}", "[".repeat(100), "]".repeat(100)));
    assert!(matches!(change.apply(&[deep], DEPTH), Err(PeekError::TooDeep { limit: DEPTH, .. })));
    let long = Bytes::from(format!("{{\"{}\":1}}", "a".repeat(2000)));
    assert!(matches!(change.apply(&[long], DEPTH), Err(PeekError::KeyTooLong { .. })));
    let broken = PeekError::Uneditable { at: 3, what: Break::Comma };
    assert!(broken.to_string().contains("a stray comma at byte 3"), "{broken}");
}

#[test]
fn what_stays_shares_memory_with_the_body() {
    let body = Bytes::from(format!("{{\"messages\":\"{}\",\"x\":1}}", "m".repeat(100_000)));
    let changed = edits(&[], &["x"]).apply(std::slice::from_ref(&body), DEPTH).unwrap().unwrap();
    assert_eq!((changed.len(), changed[0].as_ptr()), (2, body.as_ptr()));
}

#[test]
fn a_streams_usage_is_asked_for_once() {
    let asks = r#"{"include_usage":true}"#;
    for (body, wanted) in [
        (r#"{"stream":true}"#, Some(r#"{"stream":true,"stream_options":{"include_usage":true}}"#.to_owned())),
        (r#"{"stream_options":null,"a":1}"#, Some(format!(r#"{{"stream_options":{asks},"a":1}}"#))),
        (r#"{"stream_options":{},"a":1}"#, Some(format!(r#"{{"stream_options":{asks},"a":1}}"#))),
        (
            r#"{"stream_options":{"include_usage":false,"continuous_usage_stats":true}}"#,
            Some(r#"{"stream_options":{"include_usage":true,"continuous_usage_stats":true}}"#.to_owned()),
        ),
        (
            r#"{"stream_options":{"include_obfuscation":false}}"#,
            Some(r#"{"stream_options":{"include_obfuscation":false,"include_usage":true}}"#.to_owned()),
        ),
        (r#"{"stream_options":{"include_usage": true }}"#, None),
        // Not what the API has: the model server says so.
        (r#"{"stream_options":[true]}"#, None),
        (r#"{"stream_options":1}"#, None),
        ("[]", None),
    ] {
        for chunks in cuts(body) {
            let wanted = wanted.clone();
            match ask_for_usage(&chunks, DEPTH).unwrap() {
                UsageAsked::AsItWas => assert_eq!(None, wanted, "{body}"),
                UsageAsked::Added(changed) => assert_eq!(Some(text(&changed)), wanted, "{body}"),
            }
        }
    }
    let twice = Bytes::from_static(br#"{"stream_options":{"include_usage":true},"stream_options":{}}"#);
    assert!(matches!(ask_for_usage(&[twice], DEPTH), Err(PeekError::DuplicateMember { .. })));
}
