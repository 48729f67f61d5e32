//! When requests are to be sent: constant, Poisson and ramping arrivals.
//!
//! Every process is a unit-rate process seen through the inverse of the intended number of arrivals by time `t`,
//! so a ramp can be as regular or as random as a constant rate. Arrivals that a trace dictates come from the
//! workload instead, divided by its time scale.

use std::time::Duration;

/// How the rate develops.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// Requests a second at the start.
    pub from: f64,
    /// Requests a second at the end of the ramp and after it.
    pub to: f64,
    /// How long the ramp takes; zero for a constant rate of `to`.
    pub over: Duration,
}

impl Rate {
    /// The same rate all along, in requests a second.
    #[must_use]
    pub fn constant(rate: f64) -> Self {
        Self { from: rate, to: rate, over: Duration::ZERO }
    }

    /// When the `count`-th arrival is due: the inverse of `from × t + (to − from) × t² / (2 × over)`, in seconds.
    fn time_of(&self, count: f64) -> f64 {
        if count <= 0.0 {
            return 0.0;
        }
        let over = self.over.as_secs_f64();
        let in_ramp = (self.from + self.to) / 2.0 * over;
        if count >= in_ramp {
            return over + (count - in_ramp) / self.to;
        }
        let slope = (self.to - self.from) / over;
        if slope.abs() < f64::EPSILON {
            return count / self.from;
        }
        // The root that is free of cancellation where the slope is small.
        let root = (self.from * self.from + 2.0 * slope * count).max(0.0).sqrt();
        2.0 * count / (self.from + root)
    }
}

/// How arrivals are spaced at one rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spacing {
    /// Equal gaps.
    Even,
    /// Exponential gaps: users who do not know of each other.
    Poisson,
}

/// The times of arrival, counted from the start of the run; it never ends.
#[derive(Debug)]
pub struct Arrivals {
    rate: Rate,
    spacing: Spacing,
    random: fastrand::Rng,
    count: f64,
}

impl Arrivals {
    /// Equal seeds give equal times.
    #[must_use]
    pub fn new(rate: Rate, spacing: Spacing, seed: u64) -> Self {
        Self { rate, spacing, random: fastrand::Rng::with_seed(seed), count: 0.0 }
    }
}

impl Iterator for Arrivals {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let at = match self.spacing {
            Spacing::Even => {
                let at = self.rate.time_of(self.count);
                self.count += 1.0;
                at
            }
            Spacing::Poisson => {
                self.count -= (1.0 - self.random.f64()).ln();
                self.rate.time_of(self.count)
            }
        };
        // A rate near zero may put the next arrival beyond what a duration holds: never, for any run.
        Some(Duration::try_from_secs_f64(at).unwrap_or(Duration::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn within(arrivals: Arrivals, from_s: f64, to_s: f64) -> usize {
        arrivals.map(|at| at.as_secs_f64()).skip_while(|at| *at < from_s).take_while(|at| *at < to_s).count()
    }

    #[test]
    fn constant_arrivals_are_evenly_spaced() {
        let arrivals: Vec<_> =
            Arrivals::new(Rate::constant(4.0), Spacing::Even, 0).take(3).map(|at| at.as_millis()).collect();
        assert_eq!(arrivals, [0, 250, 500]);
    }

    #[test]
    fn poisson_gaps_have_the_mean_and_the_deviation_of_an_exponential() {
        let times: Vec<f64> = Arrivals::new(Rate::constant(100.0), Spacing::Poisson, 7)
            .take(50_000)
            .map(|at| at.as_secs_f64())
            .collect();
        let gaps: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        assert!((mean - 0.01).abs() < 0.0002, "mean {mean}");
        assert!((variance.sqrt() - 0.01).abs() < 0.0004, "deviation {}", variance.sqrt());
    }

    #[test]
    fn equal_seeds_give_equal_times() {
        let times =
            |seed| Arrivals::new(Rate::constant(5.0), Spacing::Poisson, seed).take(10).collect::<Vec<_>>();
        assert_eq!(times(3), times(3));
        assert_ne!(times(3), times(4));
    }

    #[test]
    fn a_ramp_rises_linearly_and_then_stays() {
        let ramp = Rate { from: 10.0, to: 110.0, over: Duration::from_secs(10) };
        let count = |from, to| within(Arrivals::new(ramp, Spacing::Even, 0), from, to);
        assert!(count(0.0, 1.0).abs_diff(15) <= 1, "{}", count(0.0, 1.0));
        assert!(count(9.0, 10.0).abs_diff(105) <= 1, "{}", count(9.0, 10.0));
        assert!(count(20.0, 21.0).abs_diff(110) <= 1, "{}", count(20.0, 21.0));
    }

    #[test]
    fn a_ramp_may_fall_and_start_at_nothing() {
        let falling = Rate { from: 100.0, to: 50.0, over: Duration::from_secs(2) };
        assert!(within(Arrivals::new(falling, Spacing::Even, 0), 0.0, 2.0).abs_diff(150) <= 1);
        let rising = Rate { from: 0.0, to: 100.0, over: Duration::from_secs(2) };
        assert!(within(Arrivals::new(rising, Spacing::Even, 0), 0.0, 2.0).abs_diff(100) <= 1);
    }
}
