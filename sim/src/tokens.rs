//! The tokenizer and the prefix blocks of a prompt.
//!
//! Four bytes are a token, wherever they stand. A real vocabulary was turned down: it would cost more than all
//! the rest of a request, and what matters to a gateway is only that equal text gives equal tokens and about as
//! many as a model's tokenizer would make.

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Bytes in a token.
pub(crate) const TOKEN_BYTES: usize = 4;

/// Tokens of a text of this many bytes.
pub(crate) fn count(bytes: usize) -> usize {
    bytes.div_ceil(TOKEN_BYTES)
}

/// The tokens of a text: its bytes, four to a little-endian number, the last one padded with zeros.
pub(crate) fn encode(text: &[u8]) -> Vec<u32> {
    text.chunks(TOKEN_BYTES)
        .map(|chunk| {
            let mut token = [0; TOKEN_BYTES];
            token[..chunk.len()].copy_from_slice(chunk);
            u32::from_le_bytes(token)
        })
        .collect()
}

/// The text of tokens; undoes [`encode`].
pub(crate) fn decode(tokens: &[u32]) -> String {
    let mut bytes: Vec<u8> = tokens.iter().flat_map(|token| token.to_le_bytes()).collect();
    while bytes.last() == Some(&0) {
        bytes.pop();
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Hashes a prompt into chained blocks as it is rendered: a block's hash covers all the text before it too, so
/// equal hashes mean equal prefixes.
#[derive(Debug)]
pub(crate) struct PrefixHasher {
    block_bytes: usize,
    last: u64,
    partial: Vec<u8>,
    blocks: Vec<u64>,
    bytes: usize,
}

impl PrefixHasher {
    /// `salt` separates what must never share blocks: one adapter's from another's.
    pub(crate) fn new(block_tokens: usize, salt: u64) -> Self {
        Self {
            block_bytes: block_tokens * TOKEN_BYTES,
            last: salt,
            partial: Vec::new(),
            blocks: Vec::new(),
            bytes: 0,
        }
    }

    /// Adds text behind what was added before.
    pub(crate) fn push(&mut self, mut text: &[u8]) {
        self.bytes += text.len();
        if !self.partial.is_empty() {
            let missing = self.block_bytes - self.partial.len();
            let (head, rest) = text.split_at(missing.min(text.len()));
            self.partial.extend_from_slice(head);
            text = rest;
            if self.partial.len() < self.block_bytes {
                return;
            }
            let whole = std::mem::take(&mut self.partial);
            self.close(&whole);
            self.partial = whole;
            self.partial.clear();
        }
        let mut chunks = text.chunks_exact(self.block_bytes);
        for chunk in &mut chunks {
            self.close(chunk);
        }
        self.partial.extend_from_slice(chunks.remainder());
    }

    /// Tokens so far.
    pub(crate) fn tokens(&self) -> usize {
        count(self.bytes)
    }

    /// The full blocks so far; the start of a longer text's blocks.
    pub(crate) fn blocks(&self) -> &[u64] {
        &self.blocks
    }

    /// A hash of all the text so far.
    pub(crate) fn digest(&self) -> u64 {
        xxh3_64_with_seed(&self.partial, self.last)
    }

    fn close(&mut self, block: &[u8]) {
        self.last = xxh3_64_with_seed(block, self.last);
        self.blocks.push(self.last);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn blocks_of(pieces: &[&[u8]]) -> Vec<u64> {
        let mut hasher = PrefixHasher::new(16, 0);
        pieces.iter().for_each(|piece| hasher.push(piece));
        hasher.blocks().to_vec()
    }

    #[test]
    fn a_common_prefix_gives_common_blocks_and_no_more() {
        let one = [vec![b'a'; 128], vec![b'b'; 64]].concat();
        let other = [vec![b'a'; 128], vec![b'c'; 64]].concat();
        let (one, other) = (blocks_of(&[&one]), blocks_of(&[&other]));
        assert_eq!(one[..2], other[..2]);
        assert_ne!(one[2], other[2]);
    }

    #[test]
    fn salt_separates() {
        let mut salted = PrefixHasher::new(16, 1);
        salted.push(&[b'a'; 64]);
        assert_ne!(salted.blocks(), blocks_of(&[&[b'a'; 64]]));
    }

    proptest! {
        #[test]
        fn cuts_do_not_matter(text in proptest::collection::vec(any::<u8>(), 0..400), cut in 0_usize..400, second in 0_usize..400) {
            let cut = cut.min(text.len());
            let second = second.clamp(cut, text.len().max(cut));
            let pieces = [&text[..cut], &text[cut..second], &text[second..]];
            prop_assert_eq!(blocks_of(&pieces), blocks_of(&[&text]));
        }

        #[test]
        fn decode_undoes_encode(text in "[ -~äß語]{0,40}") {
            prop_assert_eq!(decode(&encode(text.as_bytes())), text);
        }
    }
}
