//! Every body in `corpus/` has a decided outcome, written down in `corpus/expected.txt`, wherever the body
//! is cut into chunks. `PENSTOCK_BLESS=1` rewrites that file; its diff is the review.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fmt::Write as _, fs, path::Path};

use penstock_peek::{Options, Peek, PeekError, Peeked};

/// How the bodies of a folder are declared.
const KINDS: [(&str, &str); 3] = [
    ("json", "application/json"),
    ("sniff", "application/octet-stream"),
    ("form", "multipart/form-data; boundary=b"),
];

/// Bodies up to this length are cut at every offset, longer ones at a sample of them.
const CUT_EVERYWHERE_BYTES: usize = 700;

#[test]
fn every_body_has_its_decided_outcome_however_it_is_cut() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut outcomes = String::new();
    for (folder, content_type) in KINDS {
        let mut paths: Vec<_> =
            fs::read_dir(corpus.join(folder)).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        for path in paths {
            let body = fs::read(&path).unwrap();
            let name = format!("{folder}/{}", path.file_name().unwrap().to_str().unwrap());
            let outcome = peek(content_type, &[&body]);
            check_cuts(&name, content_type, &body, &outcome);
            check_range(&name, &body, &outcome);
            writeln!(outcomes, "{name}\n    {}", render(&outcome)).unwrap();
        }
    }
    let expected = corpus.join("expected.txt");
    if std::env::var_os("PENSTOCK_BLESS").is_some() {
        fs::write(&expected, &outcomes).unwrap();
    }
    let expected = fs::read_to_string(&expected).unwrap();
    for (got, want) in outcomes.lines().zip(expected.lines()) {
        assert_eq!(got, want);
    }
    assert_eq!(outcomes.len(), expected.len(), "a body or an outcome is missing");
}

fn check_cuts(name: &str, content_type: &str, body: &[u8], want: &Result<Peeked, PeekError>) {
    let step = body.len() / CUT_EVERYWHERE_BYTES + 1;
    for cut in (0..=body.len()).step_by(step) {
        let (head, tail) = body.split_at(cut);
        assert_eq!(&peek(content_type, &[head, tail]), want, "{name} cut at {cut}");
    }
    for size in [1, 2, 3, 7] {
        let chunks: Vec<_> = body.chunks(size).collect();
        assert_eq!(&peek(content_type, &chunks), want, "{name} in chunks of {size}");
    }
}

/// What a splice would replace is the value and nothing else.
fn check_range(name: &str, body: &[u8], outcome: &Result<Peeked, PeekError>) {
    let Ok(Peeked { model: Some(model), .. }) = outcome else { return };
    let raw = &body[model.range.clone()];
    let value =
        serde_json::from_slice::<String>(raw).unwrap_or_else(|_| String::from_utf8(raw.to_vec()).unwrap());
    assert_eq!(value, model.name, "{name}");
}

fn peek(content_type: &str, chunks: &[&[u8]]) -> Result<Peeked, PeekError> {
    let mut peek = Peek::new(Some(content_type.as_bytes()), &Options::default())?;
    for chunk in chunks {
        if let Err(error) = peek.feed(chunk) {
            assert_eq!(peek.feed(b"more"), Err(error.clone()), "an error lasts");
            return Err(error);
        }
    }
    peek.finish()
}

fn render(outcome: &Result<Peeked, PeekError>) -> String {
    let peeked = match outcome {
        Ok(peeked) => peeked,
        Err(error) => return format!("{} {}: {error}", error.status(), error.reason()),
    };
    let mut text = format!("{:?}", peeked.shape);
    if let Some(model) = &peeked.model {
        write!(text, " model={:?}@{:?}", model.name, model.range).unwrap();
    }
    let mut add = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            write!(text, " {name}={value}").unwrap();
        }
    };
    add("stream", peeked.stream.map(|stream| stream.to_string()));
    add("max_tokens", peeked.max_tokens.map(|tokens| tokens.to_string()));
    add("answers", peeked.answers.map(|answers| answers.to_string()));
    add("user", peeked.user.as_ref().map(|user| format!("{user:?}")));
    add("prompt_bytes", (peeked.prompt_bytes > 0).then(|| peeked.prompt_bytes.to_string()));
    add("blocks", (!peeked.blocks.is_empty()).then(|| format!("{:x?}", peeked.blocks)));
    add("malformed", peeked.malformed.map(|malformed| format!("{}@{}", malformed.what, malformed.at)));
    text
}
