//! A request of a workload: when it comes, what it asks, and how much it is answered.

/// Tokens in a block, of the model's cache and of the picker's index alike. vLLM's blocks have 16 tokens; four at a
/// time are the blocks of 256 bytes that the gateway hashes, and rounding up to them costs a sequence at most 48.
pub(crate) const BLOCK_TOKENS: u32 = 64;
/// Bytes in a token, by which the gateway estimates.
pub(crate) const TOKEN_BYTES: u64 = 4;

/// One request.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Request {
    /// When it comes, since the beginning.
    pub(crate) at_ns: u64,
    /// The prompt, head first. Together the segments have at least the prompt's full blocks.
    pub(crate) prompt: Vec<Segment>,
    /// Length of the prompt.
    pub(crate) prompt_tokens: u32,
    /// Length of the answer; at least 1.
    pub(crate) output_tokens: u32,
    /// Which part of the workload it belongs to.
    pub(crate) phase: usize,
}

/// A run of blocks: two segments of the same seed at the same place of equal prompts are the same text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Segment {
    /// What tells the text, all before it included, from others.
    pub(crate) seed: u64,
    pub(crate) blocks: u32,
}

impl Request {
    /// Full blocks of the prompt.
    pub(crate) fn full_blocks(&self) -> usize {
        (self.prompt_tokens / BLOCK_TOKENS) as usize
    }

    /// Replaces `hashes` by those of the prompt's full blocks, each of which stands for all before it too.
    pub(crate) fn hashes(&self, hashes: &mut Vec<u64>) {
        hashes.clear();
        let blocks = self.prompt.iter().flat_map(|segment| {
            (0..segment.blocks).map(move |block| mix(segment.seed.wrapping_add(u64::from(block) << 48)))
        });
        hashes.extend(blocks.take(self.full_blocks()));
    }
}

/// Spreads a number over all 64 bits (SplitMix64's finalizer, Steele et al. 2014).
pub(crate) fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// A repeatable source of numbers.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    /// The source of that seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self(mix(seed))
    }

    /// 64 random bits.
    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number in `0..bound`; 0 if that is empty.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.bits()) * bound as u128) >> 64) as usize
    }

    /// A number between 0 and 1, neither included.
    pub(crate) fn unit(&mut self) -> f64 {
        ((self.bits() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    /// A pause of a Poisson process of `rate` a second, in nanoseconds.
    pub(crate) fn pause_ns(&mut self, rate: f64) -> f64 {
        -self.unit().ln() / rate * 1e9
    }

    /// A length around `mean`: exponential, within a sixteenth and four times of it.
    pub(crate) fn length(&mut self, mean: f64) -> u32 {
        (-self.unit().ln() * mean).clamp(mean / 16.0, mean * 4.0).max(1.0) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::{Random, Request, Segment};

    #[test]
    fn equal_heads_have_equal_hashes_and_only_full_blocks_count() {
        let request = |tail, prompt_tokens| Request {
            prompt: vec![Segment { seed: 7, blocks: 2 }, Segment { seed: tail, blocks: 4 }],
            prompt_tokens,
            ..Request::default()
        };
        let hashes = |request: Request| {
            let mut hashes = Vec::new();
            request.hashes(&mut hashes);
            hashes
        };
        let (one, other) = (hashes(request(8, 300)), hashes(request(9, 300)));
        assert_eq!((one.len(), &one[..2]), (4, &other[..2]));
        assert!(one[2..].iter().all(|hash| !other.contains(hash)));
        assert!(hashes(request(8, 63)).is_empty());
    }

    #[test]
    fn dice_repeat_themselves_and_keep_to_their_range() {
        let (mut one, mut same) = (Random::new(3), Random::new(3));
        for _ in 0..1000 {
            assert_eq!(one.bits(), same.bits());
            assert!(one.below(3) < 3 && same.below(3) < 3);
            assert!((16..=1024).contains(&one.length(256.0)));
            same.length(256.0);
        }
        let mean = (0..10_000).map(|_| one.pause_ns(10.0)).sum::<f64>() / 10_000.0;
        assert!((mean / 1e8 - 1.0).abs() < 0.05, "{mean}");
    }
}
