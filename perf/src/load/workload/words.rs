//! Text of a given number of tokens.

use super::mix;

/// Bytes of a word with the space behind it.
pub(super) const WORD_BYTES: usize = 4;

/// Three-letter words that most vocabularies have as one token.
const WORDS: [&str; 64] = [
    "the ", "and ", "for ", "are ", "but ", "not ", "you ", "all ", "any ", "can ", "had ", "her ", "was ",
    "one ", "our ", "out ", "day ", "get ", "has ", "him ", "his ", "how ", "man ", "new ", "now ", "old ",
    "see ", "two ", "way ", "who ", "boy ", "did ", "its ", "let ", "put ", "say ", "she ", "too ", "use ",
    "dad ", "mom ", "act ", "add ", "age ", "ago ", "aid ", "aim ", "air ", "art ", "ask ", "bad ", "bag ",
    "bar ", "bed ", "bit ", "box ", "car ", "cat ", "cup ", "cut ", "dog ", "dry ", "eat ", "egg ",
];

/// Appends `tokens` words that depend on `seed` alone.
pub(super) fn push(text: &mut String, seed: u64, tokens: usize) {
    /// Words that one random number gives: six bits each.
    const PER_NUMBER: usize = 10;
    text.reserve(tokens * WORD_BYTES);
    let mut left = tokens;
    let mut number = 0;
    while left > 0 {
        let mut random = mix(seed, number);
        for _ in 0..left.min(PER_NUMBER) {
            text.push_str(WORDS[(random % 64) as usize]);
            random >>= 6;
        }
        left -= left.min(PER_NUMBER);
        number += 1;
    }
}
