//! The text of answers.
//!
//! Every token of the bank is a word of three letters and a space: four bytes, so that an answer counts as many
//! tokens when it comes back in the next prompt as it did when it was generated, and an answer is a slice of the
//! bank instead of work.

use std::borrow::Cow;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::tokens::{TOKEN_BYTES, count};

const BANK: &str = "The old man and his dog sat out all day for one bit red fox who ran off far and hid too \
few men can see how the big cat may win yet she did not say why her new job was fun but you are the key and \
any day now our own sun can set low but the sky was not wet nor dry ice hot tea and jam let him eat one pie \
the boy had two hen egg box and ask mom for a-b pen ink and map the car got six oil can way out via bay and \
";
/// The word that ends an answer of its own accord.
const END: &str = "end.";
/// Shortest and longest answer, in tokens, of a request that sets no bounds.
const NATURAL_TOKENS: (u64, u64) = (16, 128);

/// An answer: what is said, how long, and why it ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Completion {
    source: Source,
    tokens: usize,
    /// Whether it ends by itself, not at a limit.
    pub(crate) stops: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Source {
    Bank { start: usize },
    Echo(Vec<Box<str>>),
}

/// Bounds that a request sets to its answer, in tokens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LengthBounds {
    /// At most this many.
    pub(crate) max: usize,
    /// At least this many.
    pub(crate) min: usize,
    /// Go on to the maximum.
    pub(crate) ignores_end: bool,
}

impl Completion {
    /// An answer from the bank; the same for the same `seed`.
    pub(crate) fn from_bank(seed: u64, bounds: LengthBounds) -> Self {
        let start = draw(seed, 0) as usize % (BANK.len() / TOKEN_BYTES);
        let (least, most) = NATURAL_TOKENS;
        let natural = (least + draw(seed, 1) % (most - least + 1)) as usize;
        let wanted = if bounds.ignores_end { usize::MAX } else { natural.max(bounds.min) };
        Self { source: Source::Bank { start }, tokens: wanted.min(bounds.max), stops: wanted <= bounds.max }
    }

    /// `text` said back, cut at the bound.
    pub(crate) fn echo(text: &str, bounds: LengthBounds) -> Self {
        let mut words = split(text);
        let stops = words.len() <= bounds.max;
        words.truncate(bounds.max);
        Self { tokens: words.len(), source: Source::Echo(words), stops }
    }

    /// Length in tokens.
    pub(crate) fn tokens(&self) -> usize {
        self.tokens
    }

    /// The token at `index`.
    pub(crate) fn token(&self, index: usize) -> &str {
        match &self.source {
            Source::Echo(words) => words.get(index).map_or("", AsRef::as_ref),
            Source::Bank { .. } if self.stops && index + 1 == self.tokens => END,
            Source::Bank { start } => {
                let at = (start + index) % (BANK.len() / TOKEN_BYTES) * TOKEN_BYTES;
                &BANK[at..at + TOKEN_BYTES]
            }
        }
    }

    /// The whole answer.
    pub(crate) fn text(&self) -> String {
        let mut text = String::with_capacity(self.tokens * TOKEN_BYTES);
        self.pieces(|piece| text.push_str(piece));
        text
    }

    /// The whole answer in as few pieces as there are.
    pub(crate) fn pieces(&self, mut take: impl FnMut(&str)) {
        match &self.source {
            Source::Echo(words) => words.iter().for_each(|word| take(word)),
            Source::Bank { start } => {
                let mut at = start * TOKEN_BYTES;
                let mut left = (self.tokens - usize::from(self.stops)) * TOKEN_BYTES;
                while left > 0 {
                    let length = left.min(BANK.len() - at);
                    take(&BANK[at..at + length]);
                    left -= length;
                    at = 0;
                }
                if self.stops {
                    take(END);
                }
            }
        }
    }

    /// `finish_reason` in OpenAI's words.
    pub(crate) fn finish_reason(&self) -> &'static str {
        if self.stops { "stop" } else { "length" }
    }
}

/// Numbers that look random: the `index`-th of `seed`.
pub(crate) fn draw(seed: u64, index: u64) -> u64 {
    xxh3_64_with_seed(&index.to_le_bytes(), seed)
}

/// The tokens of a text as text: four bytes each, fewer where a character would be cut.
fn split(text: &str) -> Vec<Box<str>> {
    let mut words = Vec::with_capacity(count(text.len()));
    let mut rest = text;
    while !rest.is_empty() {
        let mut end = TOKEN_BYTES.min(rest.len());
        while !rest.is_char_boundary(end) {
            end -= 1;
        }
        let (word, tail) = rest.split_at(end);
        words.push(Box::from(word));
        rest = tail;
    }
    words
}

/// Lossless where the bytes are UTF-8.
pub(crate) fn lossy(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FREE: LengthBounds = LengthBounds { max: usize::MAX, min: 0, ignores_end: false };

    #[test]
    fn every_word_of_the_bank_is_one_token() {
        assert_eq!(BANK.len() % TOKEN_BYTES, 0);
        for word in BANK.as_bytes().chunks(TOKEN_BYTES) {
            assert_eq!(word.iter().position(|byte| *byte == b' '), Some(3), "{}", lossy(word));
        }
    }

    #[test]
    fn the_same_seed_says_the_same() {
        assert_eq!(Completion::from_bank(7, FREE), Completion::from_bank(7, FREE));
        assert_ne!(Completion::from_bank(7, FREE).text(), Completion::from_bank(8, FREE).text());
    }

    #[test]
    fn bounds_hold() {
        for seed in 0..200 {
            let short = Completion::from_bank(seed, LengthBounds { max: 5, ..FREE });
            assert_eq!((short.tokens(), short.finish_reason()), (5, "length"));
            let long = Completion::from_bank(seed, LengthBounds { min: 500, ..FREE });
            assert_eq!((long.tokens(), long.finish_reason()), (500, "stop"));
            let all = Completion::from_bank(seed, LengthBounds { max: 300, min: 0, ignores_end: true });
            assert_eq!((all.tokens(), all.finish_reason()), (300, "length"));
            let free = Completion::from_bank(seed, FREE);
            assert!((16..=128).contains(&free.tokens()));
            assert!(free.text().ends_with("end."));
            assert_eq!(count(free.text().len()), free.tokens());
            for completion in [short, long, all, free] {
                let tokens: String =
                    (0..completion.tokens()).map(|index| completion.token(index).to_owned()).collect();
                assert_eq!(tokens, completion.text());
            }
        }
    }

    #[test]
    fn echo_keeps_characters_whole() {
        let echo = Completion::echo("größe 語語語", FREE);
        assert_eq!(echo.text(), "größe 語語語");
        assert!(echo.stops);
        assert_eq!(Completion::echo("abcdefgh", LengthBounds { max: 1, ..FREE }).text(), "abcd");
    }
}
