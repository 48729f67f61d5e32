//! CPU and memory that the processes under test and the generator used while it measured, to tell which of them was the
//! bottleneck.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use tokio::time::Instant;

use super::{plan::Mode, record::Recorder, shared::Shared};
use crate::{
    process::{self, Usage},
    report::schema::{Generator, Process},
};

/// A thread of the generator that is busier than this share of its time cannot tell waiting from being late.
const BUSY: f64 = 0.9;
/// Cores with less idle time than this are saturated.
const NO_IDLE: f64 = 0.03;
/// A request that is begun later than this was not begun at its time.
const LATE_MS: f64 = 5.0;
/// The host took more than this share of the cores' time.
const STOLEN: f64 = 0.02;

/// What was used up to a moment.
#[derive(Debug)]
pub(super) struct UsageSnapshot {
    at: Instant,
    accounted: Option<Usage>,
    own: Duration,
    idle: Duration,
    stolen: Duration,
}

/// From one moment to another.
#[derive(Debug)]
pub(super) struct UsageWindow {
    pub(super) from: UsageSnapshot,
    pub(super) to: UsageSnapshot,
}

impl UsageSnapshot {
    pub(super) fn now(accounts: &[u32]) -> Self {
        let (idle, stolen) = process::idle_and_stolen(&process::own_cores());
        Self {
            at: Instant::now(),
            accounted: (!accounts.is_empty()).then(|| process::usage(accounts)),
            own: process::own_cpu(),
            idle,
            stolen,
        }
    }
}

impl UsageWindow {
    /// What the processes under test used.
    pub(super) fn process(&self, shared: &Shared) -> Option<Process> {
        let (from, to) = (self.from.accounted?, self.to.accounted?);
        let window_s = self.seconds();
        let cpu = to.cpu.saturating_sub(from.cpu);
        let completed = shared.counters.window_completed.load(Relaxed);
        let tokens = shared.counters.window_tokens.load(Relaxed);
        let per = |count: u64| (count > 0).then(|| cpu.as_secs_f64() * 1e6 / count as f64);
        Some(Process {
            processes: to.processes,
            window_s,
            window_completed: completed,
            window_tokens: tokens,
            cpu_s: cpu.as_secs_f64(),
            cpu_share: cpu.as_secs_f64() / window_s,
            cpu_us_per_request: per(completed),
            cpu_us_per_token: per(tokens),
            rss_peak_bytes: to.rss_peak_bytes,
        })
    }

    /// Whether the generator kept up.
    pub(super) fn generator(&self, shared: &Shared, recorder: &Recorder) -> Generator {
        let cores = process::own_cores().len().max(1) as f64;
        let share =
            |from: Duration, to: Duration| to.saturating_sub(from).as_secs_f64() / (self.seconds() * cores);
        let mut generator = Generator {
            threads: shared.plan.threads,
            cpu_share: share(self.from.own, self.to.own) * cores,
            cores_idle_share: share(self.from.idle, self.to.idle),
            cores_stolen_share: share(self.from.stolen, self.to.stolen),
            lag: recorder.lag.summary(),
            warnings: Vec::new(),
        };
        generator.warnings = warnings(&generator, cores, matches!(shared.plan.mode, Mode::Open { .. }));
        generator
    }

    fn seconds(&self) -> f64 {
        (self.to.at - self.from.at).as_secs_f64().max(f64::MIN_POSITIVE)
    }
}

fn warnings(generator: &Generator, cores: f64, is_open: bool) -> Vec<String> {
    let mut warnings = Vec::new();
    let limit = (generator.threads as f64).min(cores);
    if generator.cpu_share > BUSY * limit {
        warnings.push(format!(
            "the generator used {:.0} % of its {limit} cores: it was the bottleneck; give it more, or ask for less",
            generator.cpu_share / limit * 100.0
        ));
    } else if generator.cores_idle_share < NO_IDLE {
        warnings.push(
            "the cores that the generator runs on had no idle time: it, or what shares them, may be the bottleneck"
                .to_owned(),
        );
    }
    if is_open && generator.lag.p99 > LATE_MS {
        warnings.push(format!(
            "1 % of the requests were begun more than {:.1} ms late; their latencies include that",
            generator.lag.p99
        ));
    }
    if generator.cores_stolen_share > STOLEN {
        warnings.push(format!(
            "the machine's host took {:.0} % of these cores' time: compare with caution",
            generator.cores_stolen_share * 100.0
        ));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::schema::Latency;

    fn told(cpu_share: f64, cores_idle_share: f64, late_ms: f64) -> Vec<String> {
        let lag = Latency { p99: late_ms, ..Latency::default() };
        warnings(
            &Generator { threads: 2, cpu_share, cores_idle_share, lag, ..Generator::default() },
            2.0,
            true,
        )
    }

    #[test]
    fn a_generator_that_kept_up_is_silent_and_another_is_not() {
        assert_eq!(told(1.0, 0.5, 0.1), [] as [String; 0]);
        assert!(told(1.9, 0.05, 0.1)[0].contains("95 % of its 2 cores"));
        assert!(told(1.0, 0.0, 0.1)[0].contains("no idle time"));
        assert!(told(1.0, 0.5, 12.0)[0].contains("12.0 ms late"));
    }
}
