//! Claude Code's billing header: the first block of its instructions, a text that is another with each request. It would
//! keep every prompt that begins with it from being found in a cache, and says nothing to a model.

use std::ops::Range;

/// How the text begins, with its quote.
const HEAD: &[u8] = b"\"x-anthropic-billing-header:";

/// How far into the instructions it may begin, in bytes: `[{"type":"text","text":` and white space.
const MAX_OFFSET: usize = 128;

/// Looks for the header in the instructions, wherever they are cut.
#[derive(Debug, Default)]
pub(super) struct Billing {
    /// Bytes that were looked at.
    seen: usize,
    /// Bytes of [`HEAD`] that the last ones were.
    matched: usize,
    state: State,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Looking,
    /// Behind the head.
    Within {
        is_escaped: bool,
    },
    Done,
}

impl Billing {
    /// Takes the next piece of the instructions, and gives the part of it that is the header's own text.
    pub(super) fn find(&mut self, piece: &[u8]) -> Option<Range<usize>> {
        let mut at = 0;
        while self.state == State::Looking {
            let byte = piece.get(at)?;
            at += 1;
            self.seen += 1;
            // Only its first byte is a quote.
            self.matched =
                if *byte == HEAD[self.matched] { self.matched + 1 } else { usize::from(*byte == b'"') };
            if self.matched == HEAD.len() {
                self.state = State::Within { is_escaped: false };
            } else if self.seen >= MAX_OFFSET {
                self.state = State::Done;
            }
        }
        let start = at;
        while let (State::Within { is_escaped }, Some(byte)) = (self.state, piece.get(at)) {
            self.state = match byte {
                b'"' if !is_escaped => State::Done,
                byte => State::Within { is_escaped: *byte == b'\\' && !is_escaped },
            };
            at += usize::from(self.state != State::Done);
        }
        (at > start).then_some(start..at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The instructions without the header's text, cut into pieces of this size.
    fn without(instructions: &str, size: usize) -> String {
        let mut billing = Billing::default();
        let mut out = Vec::new();
        for piece in instructions.as_bytes().chunks(size) {
            let found = billing.find(piece).unwrap_or(0..0);
            out.extend_from_slice(&piece[..found.start]);
            out.extend_from_slice(&piece[found.end..]);
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_text_of_the_header_is_found_and_no_other() {
        for (instructions, wanted) in [
            (
                r#"[{"type":"text","text":"x-anthropic-billing-header: cc=2; \"cch\"=3f;\\"},{"text":"Be brief."}]"#,
                r#"[{"type":"text","text":"x-anthropic-billing-header:"},{"text":"Be brief."}]"#,
            ),
            (r#""x-anthropic-billing-header: a""#, r#""x-anthropic-billing-header:""#),
            (r#"["\"x-anthropic-billing-header: a"]"#, r#"["\"x-anthropic-billing-header:"]"#),
            (
                r#"[{"text":"Be x-anthropic-billing-header: a"}]"#,
                r#"[{"text":"Be x-anthropic-billing-header: a"}]"#,
            ),
            (r#"[{"text":""x-anthropic-billing"}]"#, r#"[{"text":""x-anthropic-billing"}]"#),
        ] {
            for size in 1..=instructions.len() {
                assert_eq!(without(instructions, size), wanted, "in {size}");
            }
        }
        let late = format!("[\"{}\",\"x-anthropic-billing-header: a\"]", "a".repeat(MAX_OFFSET));
        assert_eq!(without(&late, 7), late);
    }
}
