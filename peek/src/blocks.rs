//! Prefix blocks: the prompt cut into pieces of equal size, each hashed together with all before it.
//!
//! h(i) = XXH3(h(i - 1) ‖ XXH3(block(i))), both keyed with a secret grown from the process's seed, which is
//! h(-1) too. Two steps let the processor hash one block while it still chains the one before; to feed
//! h(i - 1) in as the seed took nearly twice the time. The tail that does not fill a block is dropped: it
//! changes with every turn of a conversation, and a model server's cache keeps whole blocks too.
//!
//! Past the 32nd block they are hashed in groups of 2, which double with the prompt up to 16: what ends in the middle of
//! a long prompt, the picker's index tells apart by groups only, and a long piece takes half the time a byte. All blocks
//! of a group but the last carry the hash of what lies before the group.

use twox_hash::XxHash3_64;

use crate::Options;

/// As long as XXH3's own secret.
const SECRET_BYTES: usize = 192;

/// The most blocks that are hashed at once, as a power of two.
const LARGEST_GROUP: u32 = 4;
/// The most bytes that are hashed at once, unless a block has more: so many may wait for the rest of their group.
const MAX_GROUP_BYTES: usize = 4096;

/// Hashes the prompt as its bytes come in.
#[derive(Debug)]
pub(crate) struct Blocks {
    block_bytes: usize,
    max_blocks: usize,
    chain: u64,
    secret: [u8; SECRET_BYTES],
    /// The largest group for blocks of this size, as a power of two.
    largest_group: u32,
    /// Bytes of the largest group that the prompt can have.
    room: usize,
    /// The start of a group that is cut by the end of a piece.
    partial: Vec<u8>,
    hashes: Vec<u64>,
    prompt_bytes: u64,
}

impl Blocks {
    pub(crate) fn new(options: &Options) -> Self {
        let largest_group = (MAX_GROUP_BYTES / options.block_bytes.max(1)).max(1).ilog2().min(LARGEST_GROUP);
        Self {
            block_bytes: options.block_bytes,
            max_blocks: if options.block_bytes == 0 { 0 } else { options.max_blocks },
            chain: options.seed,
            secret: grow_secret(options.seed),
            largest_group,
            room: options.block_bytes << largest_group,
            partial: Vec::new(),
            hashes: Vec::new(),
            prompt_bytes: 0,
        }
    }

    /// Makes room for the hashes of a prompt of so many bytes.
    pub(crate) fn expect(&mut self, prompt_bytes: usize) {
        let blocks = prompt_bytes.checked_div(self.block_bytes).unwrap_or(0).min(self.max_blocks);
        self.hashes.reserve_exact(blocks);
        self.room = self.block_bytes << self.size_at(blocks);
    }

    /// Takes the next bytes of the prompt.
    pub(crate) fn update(&mut self, mut piece: &[u8]) {
        self.prompt_bytes += piece.len() as u64;
        while let Some(group) = self.group() {
            let bytes = group * self.block_bytes;
            if !self.partial.is_empty() {
                let (head, rest) = piece.split_at(piece.len().min(bytes - self.partial.len()));
                self.partial.extend_from_slice(head);
                if self.partial.len() < bytes {
                    return;
                }
                self.push(self.hash(&self.partial), group);
                self.partial.clear();
                piece = rest;
            } else if let Some((whole, rest)) = piece.split_at_checked(bytes) {
                self.push(self.hash(whole), group);
                piece = rest;
            } else {
                // Reserved once and whole, so that no later chunk makes it grow.
                self.partial.reserve_exact(self.room.max(bytes));
                self.partial.extend_from_slice(piece);
                return;
            }
        }
    }

    /// The blocks of the next group; `None` past the last one that is wanted.
    fn group(&self) -> Option<usize> {
        let group = 1 << self.size_at(self.hashes.len());
        (self.hashes.len() + group <= self.max_blocks).then_some(group)
    }

    /// The size of the group behind so many blocks, as a power of two.
    fn size_at(&self, blocks: usize) -> u32 {
        (blocks / 16).checked_ilog2().unwrap_or(0).min(self.largest_group)
    }

    fn hash(&self, bytes: &[u8]) -> u64 {
        XxHash3_64::oneshot_with_secret(&self.secret, bytes).expect("the secret is as long as XXH3's own")
    }

    /// Chains a group's hash to those before it.
    fn push(&mut self, hash: u64, group: usize) {
        let mut link = [0; 16];
        link[..8].copy_from_slice(&self.chain.to_le_bytes());
        link[8..].copy_from_slice(&hash.to_le_bytes());
        let chain = self.hash(&link);
        let before = std::mem::replace(&mut self.chain, chain);
        self.hashes.extend(std::iter::repeat_n(before, group - 1));
        self.hashes.push(self.chain);
    }

    /// The hashes of the whole blocks, and the length of the prompt in bytes. Those that make no whole group carry the hash
    /// of what lies before them.
    pub(crate) fn finish(mut self) -> (Vec<u64>, u64) {
        let whole = self.prompt_bytes.checked_div(self.block_bytes as u64).unwrap_or(0);
        let wanted = usize::try_from(whole).unwrap_or(usize::MAX).min(self.max_blocks);
        self.hashes.resize(wanted, self.chain);
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
