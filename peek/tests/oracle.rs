//! Random documents × random chunk cuts against `serde_json`, and random damage × random cuts against
//! itself. `PROPTEST_CASES=1000000 cargo test --release -p penstock-peek --test oracle` is the long run.

#[path = "support/oracle.rs"]
mod oracle;

use std::ops::Range;

use penstock_peek::Options;
use proptest::{collection::vec, prelude::*, sample::select};

use self::oracle::{Expected, PROMPT, expect, peek};

const JSON: &str = "application/json";

/// Cases in an ordinary run.
const CASES: u32 = 2_000;

fn config() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(CASES);
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn agrees_with_serde_json_on_what_it_accepts(document in document(), cuts in cuts()) {
        let body = document.body.as_bytes();
        let outcome = peek(JSON, &chunks(body, &cuts));
        let expected = expect(body);
        prop_assert!(expected.is_some(), "the generator writes valid JSON");
        match (expected.unwrap(), outcome) {
            (Ok(expected), Ok(peeked)) => {
                prop_assert_eq!(Expected::of(&peeked), expected);
                prop_assert_eq!(peeked.malformed, None);
                prop_assert_eq!(peeked.prompt_bytes, document.prompt.len() as u64);
                prop_assert_eq!(peeked.blocks.len(), document.prompt.len() / Options::BLOCK_BYTES);
                prop_assert_eq!(peeked.blocks, peek(JSON, &[body]).unwrap().blocks);
                if let Some(model) = peeked.model {
                    let raw = &body[model.range];
                    prop_assert_eq!(serde_json::from_slice::<String>(raw).unwrap(), model.name);
                }
            }
            (Err(reason), Err(error)) => prop_assert_eq!(error.reason(), reason),
            (expected, outcome) => prop_assert!(false, "expected {expected:?}, got {outcome:?}"),
        }
    }

    #[test]
    fn blocks_depend_on_the_prompt_bytes_and_not_on_where_they_stand(
        lens in vec(0..900_usize, 1..4),
        cuts in cuts(),
    ) {
        // The same raw bytes as several members between others, and as one array's.
        let mut spread = String::from("{\"model\":\"a\"");
        let mut raw = String::new();
        for (len, name) in lens.into_iter().zip(PROMPT) {
            let text = "0123456789".repeat(len / 10);
            spread.push_str(&format!(",\"{name}\":\"{text}\",\"temperature\":0.5"));
            raw.push_str(&format!("\"{text}\""));
        }
        spread.push('}');
        let spread = peek(JSON, &chunks(spread.as_bytes(), &cuts)).unwrap();
        // Strings in a row break no bracket: below the top level only those count.
        let whole = format!("{{\"messages\":[{raw}]}}");
        let shifted = peek(JSON, &[whole.as_bytes()]).unwrap();
        prop_assert_eq!(spread.prompt_bytes, raw.len() as u64);
        prop_assert_eq!(spread.blocks.len(), raw.len() / Options::BLOCK_BYTES);
        prop_assert_eq!(shifted.blocks.len(), (raw.len() + 2) / Options::BLOCK_BYTES);
        prop_assert!(spread.blocks.is_empty() || spread.blocks[0] != shifted.blocks[0]);
    }

    #[test]
    fn damage_never_makes_the_cuts_matter(document in document(), damage in damage(), cuts in cuts()) {
        let mut body = document.body.into_bytes();
        for (at, byte, is_inserted) in damage {
            let at = at % (body.len() + 1);
            if is_inserted || at == body.len() { body.insert(at, byte) } else { body[at] = byte }
        }
        for content_type in [JSON, "text/plain"] {
            let whole = peek(content_type, &[&body]);
            prop_assert_eq!(&peek(content_type, &chunks(&body, &cuts)), &whole);
        }
        if let (Some(expected), outcome) = (expect(&body), peek(JSON, &[&body])) {
            match (expected, outcome) {
                (Ok(expected), Ok(peeked)) => prop_assert_eq!(Expected::of(&peeked), expected),
                (Err(reason), Err(error)) => prop_assert_eq!(error.reason(), reason),
                (expected, outcome) => prop_assert!(false, "expected {expected:?}, got {outcome:?}"),
            }
        }
    }

    #[test]
    fn a_form_is_read_the_same_however_it_is_cut(
        parts in vec((select(&["model", "file", "x"][..]), vec(select(&b"-\r\nb a"[..]), 0..12)), 0..4),
        damage in damage(),
        cuts in cuts(),
    ) {
        let mut body = Vec::new();
        for (name, content) in &parts {
            body.extend(format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n").bytes());
            body.extend(content);
            body.extend(b"\r\n");
        }
        body.extend(b"--b--\r\n");
        for (at, byte, _) in damage.into_iter().skip(2) {
            let at = at % body.len();
            body[at] = byte;
        }
        let form = "multipart/form-data; boundary=b";
        prop_assert_eq!(peek(form, &chunks(&body, &cuts)), peek(form, &[&body]));
    }
}

/// Where to cut, as fractions of the length.
fn cuts() -> impl Strategy<Value = Vec<f64>> {
    vec(0.0..=1.0_f64, 0..6)
}

fn chunks<'a>(body: &'a [u8], cuts: &[f64]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| (body.len() as f64 * cut) as usize).collect();
    cuts.sort_unstable();
    let mut at = 0;
    let mut chunks = Vec::new();
    for cut in cuts.into_iter().chain([body.len()]) {
        chunks.push(&body[at..cut]);
        at = cut;
    }
    chunks
}

fn damage() -> impl Strategy<Value = Vec<(usize, u8, bool)>> {
    let byte = prop_oneof![select(&b"{}[]\",:\\u/'mM\0 \n\xFF"[..]), any::<u8>()];
    vec((any::<usize>(), byte, any::<bool>()), 0..4)
}

/// A document and the raw bytes of its prompt.
#[derive(Clone, Debug)]
struct Document {
    body: String,
    prompt: String,
}

fn document() -> impl Strategy<Value = Document> {
    let object = vec((space(), key(), space(), value(), space()), 0..8).prop_map(write_object);
    prop_oneof![
        20 => object,
        1 => value().prop_filter("an object", |value| !value.starts_with('{')).prop_map(|body| Document {
            body,
            prompt: String::new()
        }),
    ]
}

type Part = (String, (String, String), String, String, String);

fn write_object(members: Vec<Part>) -> Document {
    let mut body = String::from("{");
    let mut prompt = String::new();
    for (n, (before, (name, raw_name), between, value, after)) in members.into_iter().enumerate() {
        let comma = if n == 0 { "" } else { "," };
        body.push_str(&format!("{comma}{before}{raw_name}{between}:{between}{value}{after}"));
        if PROMPT.contains(&name.as_str()) && value.starts_with(['"', '[', '{']) {
            prompt.push_str(&value);
        }
    }
    body.push('}');
    Document { body, prompt }
}

fn space() -> impl Strategy<Value = String> {
    select(&["", "", "", " ", "\r\n\t "][..]).prop_map(str::to_owned)
}

/// A name and one way to write it.
fn key() -> impl Strategy<Value = (String, String)> {
    const KNOWN: [&str; 15] = [
        "model",
        "model",
        "model",
        "stream",
        "max_tokens",
        "n",
        "max_completion_tokens",
        "max_output_tokens",
        "user",
        "messages",
        "prompt",
        "input",
        "system",
        "tools",
        "MODEL",
    ];
    let name = prop_oneof![8 => select(&KNOWN[..]).prop_map(str::to_owned), 3 => text(0..150)];
    (name, any::<u64>()).prop_map(|(name, how)| (name.clone(), write_string(&name, how)))
}

fn text(long: Range<usize>) -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-zA-Z0-9 ./:_-]{0,12}",
        "\\PC{0,8}",
        vec(any::<char>(), 0..8).prop_map(|chars| chars.into_iter().collect()),
        "[\"\\\\/\n\t\u{0}\u{1F600}model]{0,12}",
        long.prop_map(|len| "m".repeat(len)),
    ]
}

/// One way to write a string: `how` decides, bit by bit, which characters are escaped and with which case.
fn write_string(text: &str, how: u64) -> String {
    let mut json = String::from("\"");
    for (n, c) in text.chars().enumerate() {
        let mode = how.rotate_right(n as u32 * 2) & 3;
        let short = "\"\\/\u{8}\u{c}\n\r\t"
            .find(c)
            .map(|at| ["\\\"", "\\\\", "\\/", "\\b", "\\f", "\\n", "\\r", "\\t"][at]);
        match (mode, short) {
            (0, _) => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let hex = if how & 4 == 0 { format!("\\u{unit:04x}") } else { format!("\\u{unit:04X}") };
                    json.push_str(&hex);
                }
            }
            (_, Some(short)) if c != '/' || mode == 1 => json.push_str(short),
            _ if c < ' ' => json.push_str(&format!("\\u{:04x}", c as u32)),
            _ => json.push(c),
        }
    }
    json.push('"');
    json
}

fn value() -> impl Strategy<Value = String> {
    let scalar = prop_oneof![
        select(
            &[
                "null",
                "true",
                "false",
                "0",
                "7",
                "-1",
                "1.5",
                "2e3",
                "18446744073709551615",
                "18446744073709551616"
            ][..]
        )
        .prop_map(str::to_owned),
        any::<u64>().prop_map(|n| n.to_string()),
    ];
    let string = (text(200..300), any::<u64>()).prop_map(|(text, how)| write_string(&text, how));
    let long =
        (0..3_000_usize, any::<u64>()).prop_map(|(len, how)| write_string(&"long \n".repeat(len / 6), how));
    let leaf = prop_oneof![6 => string, 4 => scalar, 1 => long];
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            vec((space(), inner.clone()), 0..5).prop_map(|items| {
                let items: Vec<_> = items.into_iter().map(|(space, item)| format!("{space}{item}")).collect();
                format!("[{}]", items.join(","))
            }),
            vec((key(), inner), 0..4).prop_map(|members| {
                let members: Vec<_> =
                    members.into_iter().map(|((_, key), value)| format!("{key}:{value}")).collect();
                format!("{{{}}}", members.join(", "))
            }),
        ]
    })
}
