//! What the model thought in earlier turns: `thinking_blocks`, or in words only.

use super::{needed, object, within};
use crate::conversation::{Content, Part, Refused};
use crate::json::{Object, Text};

/// Reads what the assistant's `message` has of it.
pub(super) fn read<'a>(message: &Object<'a>) -> Result<Vec<Part<'a>>, Refused> {
    let words = message.text("reasoning_content").or(message.text("reasoning"));
    let words = words.filter(|words| !words.is_empty());
    let mut parts = Vec::new();
    let mut thought = Thought::default();
    for (at, block) in message.items("thinking_blocks").iter().enumerate() {
        let read = object("", block).and_then(|block| thought.block(block, words, &mut parts));
        read.map_err(|refused| within(&format!("thinking_blocks[{at}]"), refused))?;
    }
    thought.end(None, &mut parts);
    if let (true, Some(words)) = (parts.is_empty(), words) {
        parts.push(Part::new(Content::Reasoning { text: words.clone(), signature: None }));
    }
    Ok(parts)
}

/// A thought in pieces: clients that put a stream's deltas in a row send them so, and only the last has the signature.
#[derive(Default)]
struct Thought<'a> {
    pieces: Vec<Text<'a>>,
}

impl<'a> Thought<'a> {
    fn block(
        &mut self,
        block: &Object<'a>,
        words: Option<&Text<'a>>,
        parts: &mut Vec<Part<'a>>,
    ) -> Result<(), Refused> {
        match block.word("type") {
            Some("thinking") => {
                self.pieces.extend(block.text("thinking").filter(|piece| !piece.is_empty()).cloned());
                let signature = block.text("signature").filter(|signature| !signature.is_empty());
                if signature.is_some() {
                    // A client that keeps signatures apart has the thought's words in the other member.
                    if self.pieces.is_empty() && parts.is_empty() {
                        self.pieces.extend(words.cloned());
                    }
                    self.end(signature, parts);
                }
                Ok(())
            }
            Some("redacted_thinking") => {
                self.end(None, parts);
                parts.push(Part::new(Content::Redacted(needed(block, "data")?)));
                Ok(())
            }
            _ => Err(Refused::new("type", "this has to be thinking or redacted_thinking")),
        }
    }

    /// Ends a thought, if there is one.
    fn end(&mut self, signature: Option<&Text<'a>>, parts: &mut Vec<Part<'a>>) {
        let text = match (self.pieces.pop(), self.pieces.is_empty()) {
            (None, _) if signature.is_none() => return,
            // A thought without words is signed too.
            (None, _) => Text::Escaped(""),
            (Some(only), true) => only,
            (Some(last), false) => {
                let mut all: String =
                    self.pieces.drain(..).map(|piece| piece.decoded().into_owned()).collect();
                all.push_str(&last.decoded());
                Text::from(all)
            }
        };
        parts.push(Part::new(Content::Reasoning { text, signature: signature.cloned() }));
    }
}
