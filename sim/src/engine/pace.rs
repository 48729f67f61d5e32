//! When tokens are due: at once, by fixed latencies of each sequence, or by steps of the batch.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use crate::{
    options::{Calculator, CostModel, Latency},
    text::draw,
};

/// A drawn latency stays within this share of its mean, whatever the standard deviation, as in
/// llm-d-inference-sim.
const MAX_DEVIATION: f64 = 0.7;

/// The timing of one server.
#[derive(Debug)]
pub(super) struct Pace {
    kind: Kind,
    latency: Latency,
    sequences: usize,
    draws: AtomicU64,
    seed: u64,
}

#[derive(Debug, PartialEq)]
enum Kind {
    Instant,
    Constant,
    PerToken,
    Batch(CostModel),
}

impl Pace {
    pub(super) fn new(latency: &Latency, sequences: usize, seed: u64) -> Self {
        let is_zero = latency.time_to_first_token.is_zero()
            && latency.inter_token_latency.is_zero()
            && latency.prefill_overhead.is_zero()
            && latency.prefill_time_per_token.is_zero();
        let kind = match &latency.calculator {
            Calculator::Batch(cost) => Kind::Batch(cost.clone()),
            _ if is_zero => Kind::Instant,
            Calculator::Constant => Kind::Constant,
            Calculator::PerToken => Kind::PerToken,
            Calculator::Auto if latency.time_to_first_token.is_zero() => Kind::PerToken,
            Calculator::Auto => Kind::Constant,
        };
        Self { kind, latency: latency.clone(), sequences, draws: AtomicU64::new(0), seed }
    }

    pub(super) fn is_instant(&self) -> bool {
        self.kind == Kind::Instant
    }

    pub(super) fn is_batched(&self) -> bool {
        matches!(self.kind, Kind::Batch(_))
    }

    /// The costs of a step, where steps set the pace.
    pub(super) fn cost(&self) -> Option<&CostModel> {
        match &self.kind {
            Kind::Batch(cost) => Some(cost),
            _ => None,
        }
    }

    /// Time to the first token.
    pub(super) fn prefill(&self, uncached_tokens: usize, running: usize) -> Duration {
        let latency = &self.latency;
        let time = match self.kind {
            Kind::PerToken => {
                let mean = latency.prefill_overhead + latency.prefill_time_per_token * uncached_tokens as u32;
                self.vary(mean, latency.prefill_time_std_dev)
            }
            _ => self.vary(latency.time_to_first_token, latency.time_to_first_token_std_dev),
        };
        time.mul_f64(self.load_factor(running))
    }

    /// Time of one more token.
    pub(super) fn decode(&self, running: usize) -> Duration {
        let latency = &self.latency;
        self.vary(latency.inter_token_latency, latency.inter_token_latency_std_dev)
            .mul_f64(self.load_factor(running))
    }

    /// From 1 for a single sequence to the configured factor for a full batch.
    fn load_factor(&self, running: usize) -> f64 {
        let room = self.sequences.saturating_sub(1);
        if room == 0 {
            return 1.0;
        }
        let share = running.saturating_sub(1) as f64 / room as f64;
        1.0 + (self.latency.time_factor_under_load.max(1.0) - 1.0) * share
    }

    /// Draws from a normal distribution, cut at both ends.
    fn vary(&self, mean: Duration, std_dev: Duration) -> Duration {
        if std_dev.is_zero() {
            return mean;
        }
        let number = self.draws.fetch_add(1, Ordering::Relaxed);
        // Twelve uniform draws sum to a mean of 6 and a variance of 1.
        let normal: f64 = (0..12).map(|index| unit(draw(self.seed, number * 12 + index))).sum::<f64>() - 6.0;
        let spread = (std_dev.as_secs_f64() * normal)
            .clamp(-MAX_DEVIATION * mean.as_secs_f64(), MAX_DEVIATION * mean.as_secs_f64());
        Duration::from_secs_f64(mean.as_secs_f64() + spread)
    }
}

/// 0 to 1.
fn unit(draw: u64) -> f64 {
    (draw >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn per_token_prefill_counts_what_is_not_cached() {
        let latency = Latency { prefill_overhead: 10 * MS, prefill_time_per_token: MS, ..Latency::default() };
        let pace = Pace::new(&latency, 5, 0);
        assert_eq!(pace.prefill(32, 1), 42 * MS);
        assert_eq!(pace.prefill(0, 1), 10 * MS);
    }

    #[test]
    fn a_time_to_first_token_makes_it_constant() {
        let latency =
            Latency { time_to_first_token: 7 * MS, prefill_time_per_token: MS, ..Latency::default() };
        assert_eq!(Pace::new(&latency, 5, 0).prefill(100, 1), 7 * MS);
        let latency = Latency { calculator: Calculator::PerToken, ..latency };
        assert_eq!(Pace::new(&latency, 5, 0).prefill(100, 1), 100 * MS);
    }

    #[test]
    fn a_full_batch_is_slower_by_the_factor() {
        let latency =
            Latency { inter_token_latency: 10 * MS, time_factor_under_load: 3.0, ..Latency::default() };
        let pace = Pace::new(&latency, 5, 0);
        assert_eq!(pace.decode(1), 10 * MS);
        assert_eq!(pace.decode(3), 20 * MS);
        assert_eq!(pace.decode(5), 30 * MS);
    }

    #[test]
    fn draws_keep_mean_spread_and_bounds() {
        let latency = Latency {
            inter_token_latency: 100 * MS,
            inter_token_latency_std_dev: 30 * MS,
            ..Latency::default()
        };
        let pace = Pace::new(&latency, 1, 3);
        let draws: Vec<f64> = (0..5000).map(|_| pace.decode(1).as_secs_f64() * 1e3).collect();
        let mean = draws.iter().sum::<f64>() / 5000.0;
        let deviation = (draws.iter().map(|draw| (draw - mean).powi(2)).sum::<f64>() / 5000.0).sqrt();
        assert!((mean - 100.0).abs() < 2.0, "{mean}");
        assert!((deviation - 30.0).abs() < 3.0, "{deviation}");
        assert!(draws.iter().all(|draw| (30.0..=170.0).contains(draw)));
    }
}
