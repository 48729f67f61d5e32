//! What providers want back with the next turn, carried by the client in a reasoning item's `encrypted_content`.
//!
//! The API says of that member that it is opaque, and clients return it with the item. It holds a mark that says what
//! follows and then that, byte for byte. A text without a mark is another provider's, which no other can read.
//!
//! Turned down: base64 around both, which would cost a third more and make it no less visible; the id of a function call
//! as the place of its signature, since clients and tools compare ids and some limit their length.

use crate::json::Text;

/// Begins the signature of the thought that the item's summary tells.
const SIGNATURE: &str = "penstock:1:signature:";

/// Begins a thought that is encrypted as a whole.
const REDACTED: &str = "penstock:1:redacted:";

/// Begins the signature of the function call that follows the item.
const CALL: &str = "penstock:1:call:";

/// What a reasoning item carries.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Carried<'a> {
    /// The signature of what its summary says.
    Signature(Text<'a>),
    /// An encrypted thought.
    Redacted(Text<'a>),
    /// The signature of the function call that comes next.
    Call(Text<'a>),
}

impl<'a> Carried<'a> {
    /// Reads an `encrypted_content`; `None` if it is another's.
    pub(super) fn read(text: &Text<'a>) -> Option<Self> {
        if let Some(signature) = after(text, SIGNATURE) {
            return Some(Self::Signature(signature));
        }
        if let Some(thought) = after(text, REDACTED) {
            return Some(Self::Redacted(thought));
        }
        after(text, CALL).map(Self::Call)
    }

    /// The pieces of the `encrypted_content` that carries it.
    pub(super) fn pieces(&self) -> [Text<'_>; 2] {
        let (mark, text) = match self {
            Self::Signature(text) => (SIGNATURE, text),
            Self::Redacted(text) => (REDACTED, text),
            Self::Call(text) => (CALL, text),
        };
        [Text::from(mark), text.clone()]
    }
}

/// What follows `mark`, with the escapes that it came with.
fn after<'a>(text: &Text<'a>, mark: &str) -> Option<Text<'a>> {
    match text {
        Text::Escaped(escaped) => escaped.strip_prefix(mark).map(Text::Escaped),
        Text::Plain(plain) => plain.strip_prefix(mark).map(|rest| Text::plain(rest.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::{Value, Writer, parse};

    #[test]
    fn what_is_carried_comes_back_byte_for_byte() {
        let texts = [r"EqQB\/+a==", r"a\\b\u00e9\n", "", "penstock:1:call:"].map(Text::Escaped);
        for text in texts {
            for carried in [
                Carried::Signature(text.clone()),
                Carried::Redacted(text.clone()),
                Carried::Call(text.clone()),
            ] {
                let mut out = Writer::default();
                out.concatenated(&carried.pieces());
                let written = out.finish();
                let Value::String(read) = parse(&written).unwrap() else { panic!("not a string") };
                assert_eq!(Carried::read(&read), Some(carried));
            }
        }
    }

    #[test]
    fn what_another_provider_encrypted_is_not_taken_for_ours() {
        for text in ["gAAAAABo", "penstock:2:signature:x", "xpenstock:1:signature:x", ""] {
            assert_eq!(Carried::read(&Text::Escaped(text)), None, "{text}");
        }
    }
}
