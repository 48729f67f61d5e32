//! Random numbers for choices that need to be fair, not secret: weights, jitter.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};

thread_local! {
    static STATE: Cell<u64> = Cell::new(RandomState::new().hash_one(std::process::id()) | 1);
}

/// A number from a generator of this thread's own (SplitMix64, Steele et al. 2014), seeded by the system.
pub(crate) fn next_u64() -> u64 {
    STATE.with(|state| {
        let seed = state.get().wrapping_add(0x9E37_79B9_7F4A_7C15);
        state.set(seed);
        let mixed = (seed ^ (seed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    })
}

#[cfg(test)]
mod tests {
    use super::next_u64;

    #[test]
    fn the_values_spread_evenly() {
        let mut counts = [0u32; 10];
        for _ in 0..100_000 {
            counts[usize::try_from(next_u64() % 10).unwrap()] += 1;
        }
        assert!(counts.iter().all(|count| (9_000..11_000).contains(count)), "{counts:?}");
    }
}
