use super::*;

fn scan(options: &Options, body: &[u8]) -> Result<Peeked, PeekError> {
    let mut scanner = Scanner::new(options);
    scanner.feed(body)?;
    scanner.finish()
}

#[test]
fn a_key_and_its_model_may_be_cut_anywhere_even_three_times() {
    let body = br#" {"mod\u0065l" : "a\ud83d\ude00b","messages":["\"]}{[\\"],"stream":true}"#;
    let whole = scan(&Options::default(), body).unwrap();
    assert_eq!(whole.model.as_ref().unwrap().name, "a\u{1F600}b");
    for first in 0..body.len() {
        for second in first..body.len() {
            let mut scanner = Scanner::new(&Options::default());
            scanner.feed(&body[..first]).unwrap();
            scanner.feed(&body[first..second]).unwrap();
            scanner.feed(&[]).unwrap();
            scanner.feed(&body[second..]).unwrap();
            assert_eq!(scanner.finish().as_ref(), Ok(&whole), "cut at {first} and {second}");
        }
    }
}

#[test]
fn windows_do_not_show() {
    // Names, escapes and values that straddle the border of a window inside one chunk.
    for shift in 0..80 {
        let padding = " ".repeat(WINDOW_BYTES - 60 + shift);
        let body = format!(r#"{{{padding}"prompt":"\n\u4f60","mod\u0065l":"na\tme\u0041".."#);
        let body = body.replace(r"\t", "-").replace("..", "}");
        let peeked = scan(&Options::default(), body.as_bytes()).unwrap();
        assert_eq!(peeked.model.unwrap().name, "na-meA", "shifted by {shift}");
        assert_eq!(peeked.prompt_bytes, 10);
    }
}

#[test]
fn every_limit_is_the_one_configured() {
    let options = Options { max_model_bytes: 3, max_depth: 2, ..Options::default() };
    assert!(scan(&options, br#"{"model":"abc","x":[1]}"#).is_ok());
    assert_eq!(scan(&options, br#"{"model":"abcd"}"#), Err(PeekError::ModelTooLong { at: 9, limit: 3 }));
    assert_eq!(scan(&options, br#"{"x":[{}]}"#), Err(PeekError::TooDeep { at: 6, limit: 2 }));
}

#[test]
fn depth_is_capped_by_its_ceiling() {
    let options = Options { max_depth: usize::MAX, ..Options::default() };
    let deepest = Options::MAX_DEPTH_CEILING - 1;
    let body = format!("{{\"x\":{}{}}}", "[".repeat(deepest), "]".repeat(deepest));
    assert_eq!(scan(&options, body.as_bytes()).unwrap().malformed, None);
    let body = format!("{{\"x\":{}", "[".repeat(deepest + 1));
    assert!(matches!(scan(&options, body.as_bytes()), Err(PeekError::TooDeep { limit: 1_024, .. })));
}

#[test]
fn brackets_are_told_apart_at_every_depth() {
    for depth in [1, 2, 63, 64, 65, 128, 200] {
        let open: String = (0..depth).map(|n| if n % 3 == 0 { '{' } else { '[' }).collect();
        let close: String = (0..depth).rev().map(|n| if n % 3 == 0 { '}' } else { ']' }).collect();
        let sound = format!("{{\"x\":{open}{close}}}");
        assert_eq!(scan(&Options::default(), sound.as_bytes()).unwrap().malformed, None);
        let swapped = close.replacen(['}', ']'], "\u{1}", 1);
        let wrong = if close.starts_with('}') { "]" } else { "}" };
        let broken = format!("{{\"x\":{open}{}}}", swapped.replace('\u{1}', wrong));
        let malformed = scan(&Options::default(), broken.as_bytes()).unwrap().malformed.unwrap();
        assert_eq!(malformed, Malformed { at: 5 + depth, what: Break::Bracket });
    }
}

#[test]
fn hashing_stops_at_its_bound_and_can_be_off() {
    let body = format!("{{\"prompt\":\"{}\"}}", "p".repeat(2_000));
    let all = scan(&Options::default(), body.as_bytes()).unwrap();
    assert_eq!((all.blocks.len(), all.prompt_bytes), (7, 2_002));
    let some = scan(&Options { max_blocks: 3, ..Options::default() }, body.as_bytes()).unwrap();
    assert_eq!((&some.blocks[..], some.prompt_bytes), (&all.blocks[..3], 2_002));
    for off in
        [Options { max_blocks: 0, ..Options::default() }, Options { block_bytes: 0, ..Options::default() }]
    {
        let none = scan(&off, body.as_bytes()).unwrap();
        assert_eq!((none.blocks.len(), none.prompt_bytes), (0, 2_002));
    }
}

#[test]
fn blocks_follow_seed_and_everything_before_them() {
    let body = |text: &str| format!("{{\"prompt\":\"{}{}\"}}", text, "p".repeat(1_000));
    let blocks = |seed, text: &str| {
        let options = Options { seed, ..Options::default() };
        scan(&options, body(text).as_bytes()).unwrap().blocks
    };
    assert_eq!(blocks(1, "a"), blocks(1, "a"));
    assert!(blocks(1, "a").iter().zip(blocks(2, "a")).all(|(one, other)| *one != other));
    assert!(blocks(1, "a").iter().zip(blocks(1, "b")).all(|(one, other)| *one != other));
}

#[test]
fn a_longer_conversation_starts_with_the_blocks_of_the_shorter() {
    let turns = |n| {
        let turns = vec![format!("{{\"role\":\"user\",\"content\":\"{}\"}}", "t".repeat(300)); n];
        let body = format!("{{\"messages\":[{}],\"model\":\"a\"}}", turns.join(","));
        scan(&Options::default(), body.as_bytes()).unwrap().blocks
    };
    let (short, long) = (turns(3), turns(5));
    // The last block of the shorter one holds its closing bracket.
    assert_eq!(short[..short.len() - 1], long[..short.len() - 1]);
}

#[test]
fn far_behind_the_head_blocks_are_hashed_in_groups() {
    let body = |bytes: usize, end: &str| {
        let text: String = ('a'..='z').cycle().take(bytes - 2 - end.len()).collect();
        format!("{{\"prompt\":\"{text}{end}\"}}")
    };
    let blocks = |bytes, end| scan(&Options::default(), body(bytes, end).as_bytes()).unwrap().blocks;
    let long = blocks(400 * Options::BLOCK_BYTES + 1, "");
    assert_eq!(long.len(), 400);
    let distinct = |range: std::ops::Range<usize>| {
        let hashes: std::collections::BTreeSet<u64> = long[range].iter().copied().collect();
        hashes.len()
    };
    // The blocks of a group that do not end it say what the group before said.
    assert_eq!([0..32, 31..64, 63..128, 127..256, 255..400].map(distinct), [32, 17, 17, 17, 10]);
    for whole in [0, 1, 31, 32, 33, 34, 67, 68, 128, 135, 136, 271, 272, 399, 400] {
        let bytes = (whole * Options::BLOCK_BYTES).max(2);
        let (all, other) = (blocks(bytes + 4, ""), blocks(bytes + 5, "zzz"));
        assert!(all == other, "what is behind the last of {whole} blocks says nothing");
        assert!(all == long[..whole], "a prompt begins with the {whole} blocks of its head");
        let options = Options { max_blocks: whole, ..Options::default() };
        let bounded = scan(&options, body(500 * Options::BLOCK_BYTES, "").as_bytes()).unwrap().blocks;
        assert!(bounded == all, "and so does one of which no more than {whole} are wanted");
    }
}

#[test]
fn groups_do_not_depend_on_pieces_or_on_what_was_expected() {
    let text: String = ('a'..='z').cycle().take(100_000).collect();
    let body = format!("{{\"prompt\":\"{text}\"}}");
    let whole = scan(&Options::default(), body.as_bytes()).unwrap().blocks;
    for (bytes, expected) in [(1, None), (255, Some(0)), (4_097, Some(1_000)), (70_000, Some(1 << 30))] {
        let mut scanner = Scanner::new(&Options::default());
        expected.into_iter().for_each(|bytes| scanner.expect_bytes(bytes));
        body.as_bytes().chunks(bytes).for_each(|piece| scanner.feed(piece).unwrap());
        assert!(scanner.finish().unwrap().blocks == whole, "{bytes} {expected:?}");
    }
}

#[test]
fn a_break_in_the_prompt_is_searched_in_the_window_and_behind() {
    let body = format!("{{\"model\":\"a\",\"messages\":[/{}m\\u006FDel", "x ".repeat(WINDOW_BYTES));
    for size in [1, 5, 4_096, body.len()] {
        let mut scanner = Scanner::new(&Options::default());
        let refused = body.as_bytes().chunks(size).find_map(|chunk| scanner.feed(chunk).err());
        let at = body.len();
        assert_eq!(refused, Some(PeekError::Ambiguous { broken_at: 25, what: Break::Byte, at }));
    }
}

#[test]
fn length_is_judged_before_escapes_wherever_the_cut_is() {
    let long = "x".repeat(3_000);
    let want = Err(PeekError::ModelTooLong { at: 9, limit: Options::MAX_MODEL_BYTES });
    assert_eq!(scan(&Options::default(), format!("{{\"model\":\"{long}\\q\"}}").as_bytes()), want);
    let want = Err(PeekError::KeyTooLong { at: 1, limit: MAX_KEY_BYTES });
    assert_eq!(scan(&Options::default(), format!("{{\"{long}\\q\":1}}").as_bytes()), want);
}
