//! What is looked for after a break: the word `model`.
//!
//! Once JSON is broken, names cannot be told from text: a lenient server (comments, single quotes, bare
//! names, documents in a row) may find a `model` where this scanner sees rubbish. So the word itself, in
//! any case and with any letter written as `\u00XX` or `\xXX`, is refused from there on. To refuse every
//! broken body was turned down: conformance tests and sloppy clients send them, and the model server says
//! best what is wrong. To hand them on unseen was turned down as the bypass that it is.

use memchr::memchr3;

use crate::{Break, Malformed, PeekError};

const WORD: &[u8; 5] = b"model";

/// Looks for the word.
#[derive(Debug)]
pub(super) struct AfterBreak {
    broken: Malformed,
    /// Letters of the word seen.
    matched: usize,
    escape: Escape,
}

/// How far an escape has been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Escape {
    None,
    Slash,
    Hex { left: u8, code: u16 },
}

impl Default for AfterBreak {
    fn default() -> Self {
        Self::new(Malformed { at: 0, what: Break::Byte })
    }
}

impl AfterBreak {
    /// Starts to look after a break.
    pub(super) fn new(broken: Malformed) -> Self {
        Self { broken, matched: 0, escape: Escape::None }
    }

    /// Looks through the window from `i` to its end, which it returns.
    ///
    /// # Errors
    /// [`PeekError::Ambiguous`] as soon as the word is complete.
    pub(super) fn look(&mut self, window: &[u8], mut i: usize, base: usize) -> Result<usize, PeekError> {
        while i < window.len() {
            if self.matched == 0 && self.escape == Escape::None {
                let Some(skipped) = memchr3(b'm', b'M', b'\\', &window[i..]) else { break };
                i += skipped;
            }
            self.step(window[i]);
            i += 1;
            if self.matched == WORD.len() {
                let Malformed { at: broken_at, what } = self.broken;
                return Err(PeekError::Ambiguous { broken_at, what, at: base + i });
            }
        }
        Ok(window.len())
    }

    fn step(&mut self, byte: u8) {
        let digit = char::from(byte).to_digit(16).and_then(|digit| u16::try_from(digit).ok());
        match (self.escape, digit) {
            (Escape::None, _) if byte == b'\\' => self.escape = Escape::Slash,
            (Escape::Slash, _) if byte == b'u' => self.escape = Escape::Hex { left: 4, code: 0 },
            (Escape::Slash, _) if byte == b'x' => self.escape = Escape::Hex { left: 2, code: 0 },
            (Escape::Hex { left, code }, Some(digit)) => {
                let code = code << 4 | digit;
                self.escape = Escape::Hex { left: left - 1, code };
                if left == 1 {
                    self.escape = Escape::None;
                    self.letter(u8::try_from(code).unwrap_or(0));
                }
            }
            (Escape::None, _) => self.letter(byte),
            // Not an escape after all, or one of a letter that stands for itself (`\m`).
            (Escape::Slash | Escape::Hex { .. }, _) => {
                self.escape = if byte == b'\\' { Escape::Slash } else { Escape::None };
                self.letter(byte);
            }
        }
    }

    fn letter(&mut self, byte: u8) {
        if byte.to_ascii_lowercase() == WORD[self.matched] {
            self.matched += 1;
        } else {
            self.matched = usize::from(byte.eq_ignore_ascii_case(&WORD[0]));
        }
    }
}
