//! Prefix blocks: the prompt cut into pieces of equal size, each hashed together with all before it.
//!
//! h(i) = XXH64(block(i), seed = h(i - 1)), h(-1) being the process's seed. The tail that does not fill a
//! block is dropped: it changes with every turn of a conversation, and a model server's cache keeps whole
//! blocks too.

use xxhash_rust::xxh64::xxh64;

use crate::Options;

/// Hashes the prompt as its bytes come in.
#[derive(Debug)]
pub(crate) struct Blocks {
    block_bytes: usize,
    max_blocks: usize,
    chain: u64,
    /// The start of a block that is cut by the end of a piece.
    partial: Vec<u8>,
    hashes: Vec<u64>,
    prompt_bytes: u64,
}

impl Blocks {
    pub(crate) fn new(options: &Options) -> Self {
        Self {
            block_bytes: options.block_bytes,
            max_blocks: if options.block_bytes == 0 { 0 } else { options.max_blocks },
            chain: options.seed,
            partial: Vec::new(),
            hashes: Vec::new(),
            prompt_bytes: 0,
        }
    }

    /// Takes the next bytes of the prompt.
    pub(crate) fn update(&mut self, mut piece: &[u8]) {
        self.prompt_bytes += piece.len() as u64;
        if self.hashes.len() >= self.max_blocks {
            return;
        }
        if !self.partial.is_empty() {
            let (head, rest) = piece.split_at(piece.len().min(self.block_bytes - self.partial.len()));
            self.partial.extend_from_slice(head);
            if self.partial.len() < self.block_bytes {
                return;
            }
            self.chain = xxh64(&self.partial, self.chain);
            self.hashes.push(self.chain);
            self.partial.clear();
            piece = rest;
        }
        let mut blocks = piece.chunks_exact(self.block_bytes);
        for block in blocks.by_ref().take(self.max_blocks - self.hashes.len()) {
            self.chain = xxh64(block, self.chain);
            self.hashes.push(self.chain);
        }
        if self.hashes.len() < self.max_blocks {
            // Reserved once and whole, so that no later chunk makes it grow.
            self.partial.reserve_exact(self.block_bytes);
            self.partial.extend_from_slice(blocks.remainder());
        }
    }

    /// The hashes of the whole blocks, and the length of the prompt in bytes.
    pub(crate) fn finish(self) -> (Vec<u64>, u64) {
        (self.hashes, self.prompt_bytes)
    }
}
