//! Prefix blocks: the prompt cut into pieces of equal size, each hashed together with all before it.
//!
//! h(i) = XXH3(h(i - 1) ‖ XXH3(block(i))), both keyed with a secret grown from the process's seed, which is
//! h(-1) too. Two steps let the processor hash one block while it still chains the one before; to feed
//! h(i - 1) in as the seed took nearly twice the time. The tail that does not fill a block is dropped: it
//! changes with every turn of a conversation, and a model server's cache keeps whole blocks too.

use twox_hash::XxHash3_64;

use crate::Options;

/// As long as XXH3's own secret.
const SECRET_BYTES: usize = 192;

/// Hashes the prompt as its bytes come in.
#[derive(Debug)]
pub(crate) struct Blocks {
    block_bytes: usize,
    max_blocks: usize,
    chain: u64,
    secret: [u8; SECRET_BYTES],
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
            secret: grow_secret(options.seed),
            partial: Vec::new(),
            hashes: Vec::new(),
            prompt_bytes: 0,
        }
    }

    /// Makes room for the hashes of a prompt of so many bytes.
    pub(crate) fn expect(&mut self, prompt_bytes: usize) {
        let blocks = prompt_bytes.checked_div(self.block_bytes).unwrap_or(0);
        self.hashes.reserve_exact(blocks.min(self.max_blocks));
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
            self.push(self.hash(&self.partial));
            self.partial.clear();
            piece = rest;
        }
        let mut blocks = piece.chunks_exact(self.block_bytes);
        for block in blocks.by_ref().take(self.max_blocks - self.hashes.len()) {
            self.push(self.hash(block));
        }
        if self.hashes.len() < self.max_blocks {
            // Reserved once and whole, so that no later chunk makes it grow.
            self.partial.reserve_exact(self.block_bytes);
            self.partial.extend_from_slice(blocks.remainder());
        }
    }

    fn hash(&self, bytes: &[u8]) -> u64 {
        XxHash3_64::oneshot_with_secret(&self.secret, bytes).expect("the secret is as long as XXH3's own")
    }

    /// Chains a block's hash to those before it.
    fn push(&mut self, hash: u64) {
        let mut link = [0; 16];
        link[..8].copy_from_slice(&self.chain.to_le_bytes());
        link[8..].copy_from_slice(&hash.to_le_bytes());
        self.chain = self.hash(&link);
        self.hashes.push(self.chain);
    }

    /// The hashes of the whole blocks, and the length of the prompt in bytes.
    pub(crate) fn finish(self) -> (Vec<u64>, u64) {
        (self.hashes, self.prompt_bytes)
    }
}

/// Stretches the seed with SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators,
/// 2014).
fn grow_secret(seed: u64) -> [u8; SECRET_BYTES] {
    let mut secret = [0; SECRET_BYTES];
    let mut state = seed;
    for word in secret.as_chunks_mut::<8>().0 {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = (state ^ state >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        *word = (mixed ^ mixed >> 31).to_le_bytes();
    }
    secret
}
