//! Tests of choosing targets.

use super::*;

fn target(index: usize, weight: u32) -> Target {
    Target {
        destination: Destination::Upstream(Upstream::Pool(PoolIndex(index))),
        weight: NonZeroU32::new(weight).expect("positive"),
        model_override: None,
        context_window: 0,
        request_headers: HeaderEdits::default(),
        response_headers: HeaderEdits::default(),
        body: BodyEdits::default(),
        rewrite: None,
    }
}

fn tier(weights: &[u32]) -> Tier {
    let targets = weights.iter().enumerate().map(|(index, weight)| target(index, *weight)).collect();
    Tier { priority: 0, targets }
}

/// How often each target is chosen over all residues.
fn shares(tier: &Tier, excluded: &[usize]) -> Vec<usize> {
    let mut shares = vec![0; tier.targets.len()];
    for r in 0..1000 {
        let is_excluded = |target: &Target| {
            excluded.iter().any(|index| target.upstream() == Some(Upstream::Pool(PoolIndex(*index))))
        };
        let chosen = tier.choose(r, is_excluded).and_then(Target::upstream);
        if let Some(Upstream::Pool(PoolIndex(index))) = chosen {
            shares[index] += 1;
        }
    }
    shares
}

#[test]
fn targets_are_chosen_by_weight() {
    assert_eq!(shares(&tier(&[7, 2, 1]), &[]), [700, 200, 100]);
    assert_eq!(shares(&tier(&[1]), &[]), [1000]);
}

#[test]
fn excluded_targets_leave_their_share_to_the_others() {
    assert_eq!(shares(&tier(&[8, 1, 1]), &[0]), [0, 500, 500]);
    assert_eq!(shares(&tier(&[8, 1, 1]), &[0, 1, 2]), [0, 0, 0]);
}

#[test]
fn the_largest_weights_do_not_overflow() {
    let tier = tier(&[u32::MAX; 128]);
    assert!(tier.choose(u64::MAX, |_| false).is_some());
}

#[test]
fn a_share_is_exact() {
    let count = |numerator, denominator, of: u64| {
        let share = Share::new(numerator, denominator).expect("a share");
        (0..of).filter(|r| share.includes(*r)).count()
    };
    assert_eq!(count(1, 1000, 10_000), 10);
    assert_eq!(count(2, 3, 9000), 6000);
    assert_eq!(count(0, 7, 700), 0);
    assert_eq!(count(u32::MAX, u32::MAX, 1000), 1000);
    assert!(Share::new(1, u32::MAX).is_some_and(|share| share.includes(0) && !share.includes(1)));
    assert_eq!((Share::new(2, 1), Share::new(0, 0)), (None, None));
}
