//! When to scrape an endpoint next, as a pure function of how the last scrape went.
//!
//! A busy endpoint is looked at every `min_interval`, an idle one ever more rarely up to `max_interval`, and
//! a request that is sent to an idle one ends the pause at once (`wake`). Three things keep the
//! model servers safe from us. The pause is never shorter than nine times the scrape, because writing a page
//! takes some engines milliseconds of the very thread that serves requests. A failure is answered with
//! patience, and traffic does not shorten it. And what has no metrics at all is only looked at now and then.
//! One thing keeps this process safe: the busy endpoints of all pools share a [`Budget`] of pages a second.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

/// Pages a second that busy endpoints are asked for, all together. Why so many, and what that does to routing:
/// `docs/design/scraping.md`.
const PAGES_PER_SECOND: u32 = 500;

/// The pause is at least so many times as long as the scrape: an engine spends a tenth of its time on us at
/// the most.
const MIN_PAUSE_FACTOR: u32 = 9;

/// While an endpoint works for somebody else, it is looked at so many times as often as an idle one: the
/// first request of ours shall not be placed by the numbers of five seconds ago.
const OCCUPIED_DIVISOR: u32 = 5;

/// The first failure is followed by a pause of this part of `max_interval`, each further one by twice the
/// pause before.
const FIRST_RETRY_DIVISOR: u32 = 16;

/// How many times `max_interval` the pauses of an endpoint without metrics grow to.
const NO_METRICS_FACTOR: u32 = 12;

/// How a scrape went.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ScrapeOutcome {
    /// New numbers.
    Load {
        /// How long the scrape took.
        took: Duration,
        /// Whether requests wait or run there, whoever sent them.
        is_occupied: bool,
    },
    /// An answer, but no metrics in it.
    NoMetrics,
    /// No answer.
    NoAnswer,
}

/// How long to wait for the next scrape.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Pause {
    /// The whole pause.
    pub length: Duration,
    /// After how much of it a request that is sent to the endpoint ends it; nothing where it does not.
    pub wakes_after: Option<Duration>,
}

/// How many endpoints share the pages that may be asked for.
#[derive(Debug, Default)]
pub struct Budget {
    busy: AtomicU32,
}

impl Budget {
    /// The shortest pause that keeps to it.
    fn pause(&self) -> Duration {
        Duration::from_secs(1) / PAGES_PER_SECOND * self.busy.load(Relaxed)
    }
}

/// The interval policy of one endpoint.
#[derive(Debug)]
pub struct Pace {
    min: Duration,
    max: Duration,
    budget: Arc<Budget>,
    /// Whether this endpoint is one of the busy ones of the budget.
    is_counted: bool,
    /// The last pause after a scrape that worked; zero after a failure.
    idle_pause: Duration,
    failures: u32,
}

impl Pace {
    /// A policy between these two intervals; `max` gives way to `min`.
    pub fn new(min: Duration, max: Duration, budget: Arc<Budget>) -> Self {
        let (idle_pause, failures, is_counted) = (Duration::ZERO, 0, false);
        Self { min, max: max.max(min), budget, is_counted, idle_pause, failures }
    }

    /// The pause after a scrape. `is_busy`: whether requests of this gateway are at the endpoint, or were since the
    /// scrape before.
    pub fn next(&mut self, outcome: ScrapeOutcome, is_busy: bool) -> Pause {
        self.count(is_busy && matches!(outcome, ScrapeOutcome::Load { .. }));
        match outcome {
            ScrapeOutcome::Load { took, is_occupied } => {
                self.failures = 0;
                let shortest = (took * MIN_PAUSE_FACTOR).max(self.budget.pause()).clamp(self.min, self.max);
                self.after_load(shortest, is_busy, is_occupied)
            }
            ScrapeOutcome::NoAnswer => self.after_failure(self.max),
            ScrapeOutcome::NoMetrics => self.after_failure(self.max * NO_METRICS_FACTOR),
        }
    }

    fn count(&mut self, is_busy: bool) {
        match (std::mem::replace(&mut self.is_counted, is_busy), is_busy) {
            (false, true) => _ = self.budget.busy.fetch_add(1, Relaxed),
            (true, false) => _ = self.budget.busy.fetch_sub(1, Relaxed),
            (true, true) | (false, false) => {}
        }
    }

    fn after_load(&mut self, shortest: Duration, is_busy: bool, is_occupied: bool) -> Pause {
        if is_busy {
            self.idle_pause = shortest;
            return Pause { length: shortest, wakes_after: None };
        }
        let longest = if is_occupied { self.max / OCCUPIED_DIVISOR } else { self.max };
        self.idle_pause = (self.idle_pause * 2).min(longest).max(shortest);
        Pause { length: self.idle_pause, wakes_after: Some(shortest) }
    }

    fn after_failure(&mut self, longest: Duration) -> Pause {
        self.idle_pause = Duration::ZERO;
        let first = (self.max / FIRST_RETRY_DIVISOR).max(self.min);
        let doublings = self.failures.min(16);
        self.failures = self.failures.saturating_add(1);
        Pause { length: (first * (1 << doublings)).min(longest), wakes_after: None }
    }
}

impl Drop for Pace {
    fn drop(&mut self) {
        self.count(false);
    }
}

/// Makes a pause up to a tenth longer, so that endpoints which joined together do not stay in step.
/// `random` is uniform between 0 and 1.
pub fn jittered(pause: Duration, random: f64) -> Duration {
    pause + (pause / 10).mul_f64(random)
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use super::{Budget, FIRST_RETRY_DIVISOR, NO_METRICS_FACTOR, Pace, Pause, ScrapeOutcome, jittered};

    const MIN: Duration = Duration::from_millis(50);
    const MAX: Duration = Duration::from_secs(5);

    fn pace(min: Duration, max: Duration) -> Pace {
        Pace::new(min, max, Arc::default())
    }

    fn load(took_us: u64, is_occupied: bool) -> ScrapeOutcome {
        ScrapeOutcome::Load { took: Duration::from_micros(took_us), is_occupied }
    }

    fn millis(pauses: impl Iterator<Item = Pause>) -> Vec<u128> {
        pauses.map(|pause| pause.length.as_millis()).collect()
    }

    #[test]
    fn a_busy_endpoint_is_scraped_at_the_shortest_interval() {
        let mut pace = pace(MIN, MAX);
        let pauses = (0..3).map(|_| pace.next(load(500, true), true));
        assert_eq!(millis(pauses), [50, 50, 50]);
    }

    #[test]
    fn an_idle_endpoint_is_scraped_ever_more_rarely_but_wakes() {
        let mut pace = pace(MIN, MAX);
        let pauses: Vec<Pause> = (0..10).map(|_| pace.next(load(500, false), false)).collect();
        assert_eq!(millis(pauses.iter().copied()), [50, 100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000]);
        assert!(pauses.iter().all(|pause| pause.wakes_after == Some(MIN)));
        assert_eq!(pace.next(load(500, false), true).length, MIN);
        assert_eq!(pace.next(load(500, false), false).length, MIN * 2);
    }

    #[test]
    fn an_endpoint_that_works_for_others_stays_in_sight() {
        let mut pace = pace(MIN, MAX);
        let last = (0..20).map(|_| pace.next(load(500, true), false)).last();
        assert_eq!(last.map(|pause| pause.length), Some(Duration::from_secs(1)));
    }

    #[test]
    fn a_page_that_is_slow_to_write_is_asked_for_less_often() {
        let mut pace = pace(MIN, MAX);
        assert_eq!(millis([pace.next(load(20_000, true), true)].into_iter()), [180]);
        assert_eq!(millis([pace.next(load(900_000, true), true)].into_iter()), [5000]);
    }

    #[test]
    fn failures_back_off_and_traffic_does_not_shorten_that() {
        let mut pace = pace(MIN, MAX);
        let pauses: Vec<Pause> = (0..7).map(|_| pace.next(ScrapeOutcome::NoAnswer, true)).collect();
        assert_eq!(millis(pauses.iter().copied()), [312, 625, 1250, 2500, 5000, 5000, 5000]);
        assert!(pauses.iter().all(|pause| pause.wakes_after.is_none()));
        assert_eq!(pace.next(load(500, false), true).length, MIN);
        assert_eq!(millis([pace.next(ScrapeOutcome::NoAnswer, true)].into_iter()), [312]);
    }

    #[test]
    fn what_has_no_metrics_is_probed_once_a_minute() {
        let mut pace = pace(MIN, MAX);
        let pauses = (0..12).map(|_| pace.next(ScrapeOutcome::NoMetrics, true));
        assert_eq!(millis(pauses).last(), Some(&60_000));
    }

    #[test]
    fn busy_endpoints_share_the_pages_there_are() {
        let budget = Arc::new(Budget::default());
        let mut paces: Vec<Pace> = (0..1000).map(|_| Pace::new(MIN, MAX, Arc::clone(&budget))).collect();
        let last = paces.iter_mut().map(|pace| pace.next(load(500, true), true)).last();
        assert_eq!(last.map(|pause| pause.length), Some(Duration::from_secs(2)));
        let failed = paces[0].next(ScrapeOutcome::NoAnswer, true);
        assert_eq!(failed.length, MAX / FIRST_RETRY_DIVISOR, "who does not answer takes no pages");
        assert_eq!(paces[1].next(load(500, true), true).length, Duration::from_millis(1998));
        assert_eq!(paces[2].next(load(500, true), false).wakes_after, Some(Duration::from_millis(1996)));
        paces.truncate(20);
        assert_eq!(paces[3].next(load(500, true), true).length, MIN, "those that left take none");
    }

    #[test]
    fn intervals_at_their_limits_stay_in_order() {
        let day = Duration::from_secs(86_400);
        let mut pace = pace(day, MIN);
        assert_eq!(pace.next(load(1, false), false).length, day);
        for _ in 0..100 {
            assert!(pace.next(ScrapeOutcome::NoMetrics, false).length <= day * NO_METRICS_FACTOR);
        }
    }

    #[test]
    fn jitter_only_lengthens() {
        assert_eq!(jittered(MAX, 0.0), MAX);
        assert_eq!(jittered(MAX, 1.0), MAX + MAX / 10);
        assert_eq!(jittered(Duration::ZERO, 1.0), Duration::ZERO);
    }
}
