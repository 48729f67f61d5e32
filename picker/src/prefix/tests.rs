use std::collections::HashMap;

use proptest::prelude::*;

use super::{PrefixIndex, slots::NO_SLOT};

const PLENTY: usize = 1 << 20;

/// Hashes of a prompt that follows the path: each element continues the prompt in its own way.
fn hashes(path: &[u64]) -> Vec<u64> {
    path.iter()
        .scan(17_u64, |chain, step| {
            *chain = xxhash_rust::xxh3::xxh3_64_with_seed(&step.to_le_bytes(), *chain);
            Some(*chain)
        })
        .collect()
}

fn prompt(seed: u64, len: usize) -> Vec<u64> {
    hashes(&(0..len as u64).map(|block| seed.wrapping_mul(1_000_003) + block).collect::<Vec<_>>())
}

fn matches(index: &PrefixIndex, hashes: &[u64], slots: usize) -> Vec<u32> {
    let mut matched = vec![0; slots];
    index.matches(&index.chain("m", hashes, 1, PLENTY), &mut matched);
    matched
}

fn record(index: &PrefixIndex, hashes: &[u64], slot: u16, capacity: usize) {
    index.record(&index.chain("m", hashes, 1, PLENTY), slot, capacity);
}

fn entries(index: &PrefixIndex) -> usize {
    index.shards.iter().map(|shard| shard.lock().len()).sum()
}

#[test]
fn an_endpoint_is_credited_for_what_it_was_sent() {
    let index = PrefixIndex::new();
    let long = prompt(1, 100);
    record(&index, &long[..60], 0, PLENTY);
    record(&index, &long[..30], 1, PLENTY);
    record(&index, &prompt(2, 100), 2, PLENTY);
    assert_eq!(matches(&index, &long, 4), [60, 30, 0, 0]);
    assert_eq!(matches(&index, &long[..10], 4), [10, 10, 0, 0]);
    assert_eq!(matches(&index, &[], 4), [0; 4]);
    assert_eq!((index.held(0), index.held(1), index.held(3)), (60, 30, 0));
}

#[test]
fn every_length_of_a_shared_head_is_told_apart() {
    let index = PrefixIndex::new();
    let long = prompt(1, 200);
    for slot in 0..32 {
        record(&index, &long[..usize::from(slot) + 1], slot, PLENTY);
    }
    let expected: Vec<u32> = (1..=32).collect();
    assert_eq!(matches(&index, &long, 32), expected);
}

#[test]
fn equal_prompts_for_other_models_are_other_prompts() {
    let index = PrefixIndex::new();
    let hashes = prompt(1, 10);
    index.record(&index.chain("one", &hashes, 1, PLENTY), 0, PLENTY);
    let mut matched = [0];
    index.matches(&index.chain("other", &hashes, 1, PLENTY), &mut matched);
    assert_eq!(matched, [0]);
    index.matches(&index.chain("one", &hashes, 1, PLENTY), &mut matched);
    assert_eq!(matched, [10]);
}

#[test]
fn a_stride_takes_whole_groups_only() {
    let index = PrefixIndex::new();
    let long = prompt(1, 11);
    index.record(&index.chain("m", &long, 4, PLENTY), 0, PLENTY);
    let matched = |hashes: &[u64]| {
        let mut matched = [0];
        index.matches(&index.chain("m", hashes, 4, PLENTY), &mut matched);
        matched[0]
    };
    assert_eq!(matched(&long), 2, "eleven blocks are two groups of four and a rest");
    assert_eq!(matched(&long[..7]), 1);
    assert_eq!(matched(&long[..3]), 0);
    assert_eq!(index.chain("m", &long, 1, 5).len(), 5, "what is past the limit is left out");
}

#[test]
fn the_least_recently_used_goes_first() {
    let index = PrefixIndex::new();
    let (old, used) = (prompt(1, 20), prompt(2, 20));
    record(&index, &old, 0, 320);
    record(&index, &used, 0, 320);
    for seed in 3..18 {
        record(&index, &prompt(seed, 20), 0, 320);
        record(&index, &used, 0, 320);
    }
    assert_eq!(matches(&index, &old, 1), [0]);
    assert_eq!(matches(&index, &used, 1), [20]);
    assert!(index.held(0) <= 320);
}

#[test]
fn a_tail_never_outlives_its_head() {
    let index = PrefixIndex::new();
    let long = prompt(1, 64);
    record(&index, &long, 0, 256);
    for seed in 2..40 {
        record(&index, &prompt(seed, 8), 0, 256);
        // Only the head is used again.
        record(&index, &long[..8], 0, 256);
        assert!(matches(&index, &long, 1)[0] >= 8, "the head stays");
    }
    assert_eq!(matches(&index, &long, 1), [8], "the tail is gone");
}

#[test]
fn a_prompt_longer_than_the_capacity_is_remembered_from_its_head() {
    let index = PrefixIndex::new();
    let long = prompt(1, 1000);
    record(&index, &long, 0, 100);
    assert_eq!(matches(&index, &long, 1), [100]);
    assert_eq!(index.held(0), 100);
}

#[test]
fn far_behind_the_head_whole_groups_count() {
    let index = PrefixIndex::new();
    let long = prompt(1, 1000);
    for (slot, len) in (0..).zip([31, 32, 33, 34, 63, 64, 67, 68, 135, 255, 256, 271, 272, 1000]) {
        record(&index, &long[..len], slot, PLENTY);
        assert_eq!(index.held(slot), matches(&index, &long, 14)[usize::from(slot)] as usize);
    }
    let held = [31, 32, 32, 34, 62, 64, 64, 68, 128, 248, 256, 256, 272, 992];
    assert_eq!(matches(&index, &long, 14), held);
    // A part that is not whole is not credited, though it was sent.
    assert_eq!(matches(&index, &long[..271], 14), held.map(|blocks: u32| blocks.min(256)));
    assert_eq!(entries(&index), 32 + 32 / 2 + 64 / 4 + 128 / 8 + (1000 - 256) / 16);
}

#[test]
fn entries_and_blocks_agree_at_every_length() {
    for blocks in 0..3000 {
        let entries = super::entries_of(blocks);
        let behind = blocks - super::blocks_of(entries);
        assert!(behind * 16 <= blocks, "{behind} of {blocks} blocks are not known");
        assert_eq!(super::entries_of(super::blocks_of(entries)), entries);
        assert!(blocks < super::blocks_of(entries + 1));
    }
}

#[test]
fn memory_is_bounded_however_much_is_recorded() {
    let index = PrefixIndex::new();
    let capacity = 10_000;
    for seed in 0..10_000 {
        record(&index, &prompt(seed, 40), (seed % 4) as u16, capacity);
        assert!(index.held((seed % 4) as u16) <= capacity);
    }
    let live = 4 * capacity;
    assert!(entries(&index) < 3 * live, "{} entries for {live} live ones", entries(&index));
}

#[test]
fn an_endpoint_that_left_leaves_nothing_to_its_successor() {
    let index = PrefixIndex::new();
    let hashes = prompt(1, 50);
    record(&index, &hashes, 3, PLENTY);
    record(&index, &hashes, 4, PLENTY);
    index.forget(3);
    assert_eq!(matches(&index, &hashes, 5), [0, 0, 0, 0, 50]);
    assert_eq!(index.held(3), 0);
    record(&index, &hashes[..5], 3, PLENTY);
    assert_eq!(matches(&index, &hashes, 5), [0, 0, 0, 5, 50]);
}

#[test]
fn an_endpoint_without_a_slot_is_left_out() {
    let index = PrefixIndex::new();
    record(&index, &prompt(1, 5), NO_SLOT, PLENTY);
    assert_eq!(index.held(NO_SLOT), 0);
    assert_eq!(entries(&index), 0);
}

#[test]
fn many_continuations_of_one_head_stay_apart_and_cheap() {
    let index = PrefixIndex::new();
    // Were they placed by their common head, this would take minutes.
    for user in 0..20_000_u64 {
        record(&index, &hashes(&[1, 2, user]), (user % 8) as u16, PLENTY);
    }
    for user in (0..20_000_u64).step_by(97) {
        let matched = matches(&index, &hashes(&[1, 2, user]), 8);
        let expected: Vec<u32> = (0..8).map(|slot| if slot == user % 8 { 3 } else { 2 }).collect();
        assert_eq!(matched, expected);
    }
}

#[test]
fn threads_do_not_disturb_each_other() {
    let index = PrefixIndex::new();
    std::thread::scope(|scope| {
        for thread in 0..8_u16 {
            let index = &index;
            scope.spawn(move || {
                for seed in 0..200 {
                    record(index, &prompt(u64::from(thread) * 1000 + seed, 30), thread, 1000);
                    record(index, &prompt(7, 30), thread, 1000);
                }
            });
        }
    });
    assert_eq!(matches(&index, &prompt(7, 30), 8), [30; 8]);
    for slot in 0..8 {
        assert!(index.held(slot) <= 1000);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// With room for everything, the index agrees with a plain map from endpoint to the prompts it was sent.
    #[test]
    fn agrees_with_an_exact_index(
        steps in proptest::collection::vec((0..6_u16, proptest::collection::vec(0..2_u64, 0..40)), 1..40),
        asked in proptest::collection::vec(0..2_u64, 0..40),
    ) {
        let index = PrefixIndex::new();
        let mut sent: HashMap<u16, Vec<Vec<u64>>> = HashMap::new();
        for (slot, path) in &steps {
            record(&index, &hashes(path), *slot, PLENTY);
            sent.entry(*slot).or_default().push(path.clone());
        }
        let expected: Vec<u32> = (0..6)
            .map(|slot| {
                let common = |path: &Vec<u64>| path.iter().zip(&asked).take_while(|(one, other)| one == other).count();
                sent.get(&slot).into_iter().flatten().map(common).max().unwrap_or(0) as u32
            })
            .collect();
        prop_assert_eq!(matches(&index, &hashes(&asked), 6), expected);
    }

    /// However little room there is, nobody is credited for more than was sent, and nobody holds more than fits.
    #[test]
    fn never_credits_what_was_not_sent(
        steps in proptest::collection::vec((0..3_u16, proptest::collection::vec(0..2_u64, 0..30)), 1..60),
        capacity in 1..64_usize,
    ) {
        let index = PrefixIndex::new();
        let mut sent: HashMap<u16, Vec<Vec<u64>>> = HashMap::new();
        for (slot, path) in &steps {
            record(&index, &hashes(path), *slot, capacity);
            sent.entry(*slot).or_default().push(path.clone());
            prop_assert!(index.held(*slot) <= capacity);
            let held = matches(&index, &hashes(path), 3);
            prop_assert_eq!(held[usize::from(*slot)] as usize, path.len().min(capacity), "just sent");
            for other in 0..3 {
                let common = |sent: &Vec<u64>| sent.iter().zip(path).take_while(|(one, other)| one == other).count();
                let most = sent.get(&other).into_iter().flatten().map(common).max().unwrap_or(0);
                prop_assert!(held[usize::from(other)] as usize <= most);
            }
        }
    }
}
