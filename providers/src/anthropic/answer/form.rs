//! What streams and whole answers are made of.

use crate::anthropic::request::SIGNATURE_MARK;
use crate::json::{Text, Writer};

/// Writes an event of the stream: its name, which clients go by, and its data, which `members` writes after the type.
pub(super) fn write_event(name: &str, out: &mut Vec<u8>, members: impl FnOnce(&mut Writer)) {
    write_framed(name, out, |json| {
        json.object(|json| {
            json.str_at("type", name);
            members(json);
        });
    });
}

pub(super) fn write_framed(name: &str, out: &mut Vec<u8>, data: impl FnOnce(&mut Writer)) {
    for text in ["event: ", name, "\ndata: "] {
        out.extend_from_slice(text.as_bytes());
    }
    let mut json = Writer::new(std::mem::take(out));
    data(&mut json);
    *out = json.finish();
    out.extend_from_slice(b"\n\n");
}

/// A call's id, with the signature that its provider wants back ([`SIGNATURE_MARK`]).
pub(super) fn call_id(id: &Text<'_>, signature: Option<&Text<'_>>, call: usize, request_id: &str) -> String {
    let mut id = id.decoded().into_owned();
    if id.is_empty() {
        id = format!("toolu_{request_id}_{call}");
    }
    if let Some(signature) = signature {
        id.push_str(SIGNATURE_MARK);
        id.push_str(&signature.decoded());
    }
    id
}

/// Adds a piece of text as it stands between quotes.
pub(super) fn append(escaped: &mut String, piece: &Text<'_>) {
    match piece {
        Text::Escaped(piece) => escaped.push_str(piece),
        Text::Plain(_) => {
            let mut json = Writer::default();
            json.text(piece);
            let quoted = String::from_utf8(json.finish()).unwrap_or_default();
            escaped.push_str(quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default());
        }
    }
}
