//! The last step of a pick: one endpoint of those scored.

use crate::random;

/// Chooses among scored endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Chooser {
    /// The highest total; ties at random.
    MaxScore,
    /// Any, whatever its total.
    Random,
    /// At random, each in proportion to its total (A-Res: Efraimidis and Spirakis, 2006); all alike if all are 0.
    WeightedRandom,
}

impl Chooser {
    /// The place of the chosen one in `totals`, all of which are finite and not negative; `None` if there are none.
    pub(crate) fn choose(self, totals: &[f64]) -> Option<usize> {
        match self {
            Self::MaxScore => highest(totals.iter().copied()),
            Self::Random => (!totals.is_empty()).then(|| random::below(totals.len())),
            Self::WeightedRandom => {
                if totals.iter().all(|total| *total <= 0.0) {
                    return Self::Random.choose(totals);
                }
                // ln(u)/w orders as u^(1/w) does, without underflow for small weights.
                highest(
                    totals.iter().map(|total| {
                        if *total > 0.0 { random::unit().ln() / total } else { f64::NEG_INFINITY }
                    }),
                )
            }
        }
    }
}

/// The place of the highest value. Each of several equal ones is as likely as the others, without a second pass.
fn highest(values: impl Iterator<Item = f64>) -> Option<usize> {
    let mut best: Option<(usize, f64)> = None;
    let mut ties = 0;
    for (place, value) in values.enumerate() {
        match best {
            Some((_, top)) if value < top => {}
            Some((_, top)) if value == top => {
                ties += 1;
                if random::below(ties) == 0 {
                    best = Some((place, value));
                }
            }
            _ => {
                best = Some((place, value));
                ties = 1;
            }
        }
    }
    best.map(|(place, _)| place)
}

#[cfg(test)]
mod tests {
    use super::Chooser;

    fn counts(chooser: Chooser, totals: &[f64]) -> Vec<u32> {
        let mut counts = vec![0; totals.len()];
        for _ in 0..10_000 {
            counts[chooser.choose(totals).unwrap()] += 1;
        }
        counts
    }

    #[test]
    fn the_highest_total_wins_and_ties_are_shared() {
        assert_eq!(counts(Chooser::MaxScore, &[1.0, 3.0, 2.0]), [0, 10_000, 0]);
        let shared = counts(Chooser::MaxScore, &[2.0, 1.0, 2.0, 2.0]);
        assert_eq!(shared[1], 0);
        assert!(shared.iter().enumerate().all(|(place, count)| place == 1 || (2900..3800).contains(count)));
    }

    #[test]
    fn weighted_choice_follows_the_weights() {
        let counts_of = counts(Chooser::WeightedRandom, &[1.0, 0.0, 3.0]);
        assert_eq!(counts_of[1], 0);
        assert!((2200..2800).contains(&counts_of[0]), "{counts_of:?}");
        let alike = counts(Chooser::WeightedRandom, &[0.0, 0.0]);
        assert!(alike.iter().all(|count| (4700..5300).contains(count)), "{alike:?}");
    }

    #[test]
    fn nothing_is_chosen_from_nothing() {
        for chooser in [Chooser::MaxScore, Chooser::Random, Chooser::WeightedRandom] {
            assert_eq!(chooser.choose(&[]), None);
        }
    }
}
