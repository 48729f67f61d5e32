//! Random numbers for breaking ties and for jitter: a few nanoseconds each, one generator a thread.
//!
//! Nothing here is secret, so a generator that is fast and well mixed (SplitMix64, Steele et al. 2014) is enough and
//! no lock is shared between cores.

use std::{
    cell::Cell,
    hash::{BuildHasher, Hasher, RandomState},
};

thread_local! {
    static STATE: Cell<u64> = Cell::new(RandomState::new().build_hasher().finish());
}

/// Makes what follows on this thread repeatable: ties, jitter and the seeds of pools made from now on.
pub fn seed_thread(seed: u64) {
    STATE.set(seed);
}

/// 64 random bits.
pub(crate) fn next_u64() -> u64 {
    STATE.with(|state| {
        let next = state.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        state.set(next);
        let mut mixed = next;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    })
}

/// A number in `0..bound`; `bound` is at least 1. The bias of the multiplication is far below what a pick can notice.
pub(crate) fn below(bound: usize) -> usize {
    ((u128::from(next_u64()) * bound as u128) >> 64) as usize
}

/// A number in the open interval from 0 to 1.
pub(crate) fn unit() -> f64 {
    ((next_u64() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::{below, unit};

    #[test]
    fn numbers_stay_in_their_range_and_reach_all_of_it() {
        let mut seen = [false; 7];
        for _ in 0..1000 {
            seen[below(7)] = true;
            let number = unit();
            assert!(number > 0.0 && number < 1.0);
        }
        assert_eq!(seen, [true; 7]);
    }
}
