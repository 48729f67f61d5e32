//! Finds the bytes of a document that matter within strings: quotes, backslashes, and what must not be there.
//!
//! Most of a request is text, and each byte of it is looked at here. So the whole document is looked at at once, with the
//! widest vectors that the processor has, which leaves a bit for each byte; strings then go from bit to bit. Where texts
//! have many escapes, as code has, this takes a third of what a search for each took. Turned down: vectors that the compiler
//! makes, which are those of the oldest processor that is built for and leave no bits, and simd-json's own first stage,
//! which it does not show.

use fearless_simd::{Level, Simd, dispatch, i8x64, prelude::*, u8x64};

/// Bytes that one word of bits stands for.
const BLOCK: usize = 64;

/// Blocks that are looked at one by one; texts that have none in as many mostly have none for kilobytes.
const NEAR: usize = 4;

/// The bytes of a document that end a string, begin an escape, or must not be in a string: a bit for each byte.
#[derive(Clone, Copy, Debug)]
pub(super) struct Marks<'w> {
    words: &'w [u64],
}

impl<'w> Marks<'w> {
    /// How many words the bits of so many bytes take.
    pub(super) fn words(bytes: usize) -> usize {
        bytes.div_ceil(BLOCK)
    }

    /// Those of `bytes`, with their bits in `words`, which has to have room for them.
    pub(super) fn new(bytes: &[u8], words: &'w mut [u64]) -> Self {
        let level = Level::new();
        dispatch!(level, simd => mark(simd, bytes, &mut *words));
        Self { words }
    }

    /// The first of them at `from` or behind it.
    #[inline]
    pub(super) fn next(self, from: usize) -> Option<usize> {
        let mut block = from / BLOCK;
        let mut word = self.words.get(block)? & (u64::MAX << (from % BLOCK));
        for _ in 0..NEAR {
            if word != 0 {
                return Some(block * BLOCK + word.trailing_zeros() as usize);
            }
            block += 1;
            word = *self.words.get(block)?;
        }
        self.first_from(block)
    }

    /// The first of them in this block or one behind it.
    #[inline(never)]
    fn first_from(self, block: usize) -> Option<usize> {
        let words = self.words.get(block..)?;
        let (fours, _) = words.as_chunks::<4>();
        let skipped = 4 * fours.iter().take_while(|[a, b, c, d]| a | b | c | d == 0).count();
        let past = skipped + words.get(skipped..)?.iter().position(|word| *word != 0)?;
        Some((block + past) * BLOCK + words.get(past)?.trailing_zeros() as usize)
    }
}

/// Sets a word for each block of `bytes`.
#[inline(always)]
fn mark<S: Simd>(simd: S, bytes: &[u8], words: &mut [u64]) {
    let (blocks, rest) = bytes.as_chunks::<BLOCK>();
    for (block, word) in blocks.iter().zip(&mut *words) {
        *word = marked(simd, block);
    }
    if let Some(word) = words.get_mut(blocks.len()) {
        let mut last = [b' '; BLOCK];
        if let Some(last) = last.get_mut(..rest.len()) {
            last.copy_from_slice(rest);
        }
        *word = marked(simd, &last);
    }
}

/// A bit for each byte that matters.
#[inline(always)]
fn marked<S: Simd>(simd: S, block: &[u8; BLOCK]) -> u64 {
    let bytes: i8x64<S> = u8x64::from_slice(simd, block).bitcast();
    // With its second bit turned, a quote is a space and a space is not: one comparison finds quotes and all that is less
    // than a space. With the top bit turned too it is one of signed numbers, which vectors have.
    let ends = (bytes ^ i8::from_ne_bytes([0x82])).simd_lt(i8::from_ne_bytes([0x80 | (b' ' + 1)]));
    (ends | bytes.simd_eq(i8::from_ne_bytes([b'\\']))).to_bitmask()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is_marked(byte: u8) -> bool {
        byte < 0x20 || byte == b'"' || byte == b'\\'
    }

    /// All of them, at or behind `from`.
    fn found(bytes: &[u8], from: usize) -> Vec<usize> {
        let mut words = vec![u64::MAX; Marks::words(bytes.len())];
        let marks = Marks::new(bytes, &mut words);
        std::iter::successors(marks.next(from), |at| marks.next(at + 1)).collect()
    }

    #[test]
    fn every_byte_is_judged_wherever_it_stands() {
        for byte in 0..=u8::MAX {
            for at in [0, 1, 31, 63, 64, 127, 200] {
                let mut bytes = vec![b'a'; at + 70];
                bytes[at] = byte;
                let expected: Vec<usize> = is_marked(byte).then_some(at).into_iter().collect();
                assert_eq!(found(&bytes, 0), expected, "{byte:#x} at {at}");
                assert_eq!(found(&bytes[..=at], 0), expected, "{byte:#x} at the end, {at}");
            }
        }
    }

    proptest! {
        #[test]
        fn marks_are_those_that_a_look_at_each_byte_finds(
            pieces in prop::collection::vec(("[ -~üß\u{7ff}]{0,150}", "(\"|\\\\|\n|\u{0}|\u{1f}|)"), 0..20),
            from in 0_usize..1_000,
        ) {
            let text: String = pieces.iter().flat_map(|(text, mark)| [text.as_str(), mark.as_str()]).collect();
            let bytes = text.as_bytes();
            let expected: Vec<usize> = (from..bytes.len()).filter(|at| is_marked(bytes[*at])).collect();
            prop_assert_eq!(found(bytes, from), expected);
        }
    }
}
