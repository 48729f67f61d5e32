//! Limits of one gateway against a model that keeps all that was ever used, for each kind of window.

use std::time::Duration;

use penstock_config::{Count, LimitSpec, Period, Window};
use proptest::prelude::*;

use crate::limits::testing::{MINUTE, Request, at_ms, limit, limiter, remaining, requests, reserve, usage};
use crate::limits::{Counters, Holds, Spent, Stop, Usage};

const WINDOW_MS: u64 = 60_000;
const CONSUMERS: usize = 2;

#[derive(Debug, Clone)]
enum Step {
    Reserve { consumer: usize, input: u64, output: u64 },
    Seen { which: usize, output: u64 },
    Settle { which: usize, how: How, input: u64, output: u64 },
    Drop { which: usize },
    Forward { ms: u64 },
    Back { ms: u64 },
    Reload { amount: u64 },
    Sweep,
}

#[derive(Debug, Clone, Copy)]
enum How {
    Nothing,
    Failed,
    Seen,
    Used,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let which = 0..8_usize;
    let tokens = 0..70_u64;
    let how =
        prop_oneof![Just(How::Nothing), Just(How::Failed), Just(How::Seen), Just(How::Used), Just(How::Used)];
    let step = prop_oneof![
        6 => (0..CONSUMERS, tokens.clone(), tokens.clone())
            .prop_map(|(consumer, input, output)| Step::Reserve { consumer, input, output }),
        2 => (which.clone(), tokens.clone()).prop_map(|(which, output)| Step::Seen { which, output }),
        5 => (which.clone(), how, tokens.clone(), tokens)
            .prop_map(|(which, how, input, output)| Step::Settle { which, how, input, output }),
        1 => which.prop_map(|which| Step::Drop { which }),
        3 => prop_oneof![0..3_000_u64, 0..2 * WINDOW_MS].prop_map(|ms| Step::Forward { ms }),
        1 => (0..2 * WINDOW_MS).prop_map(|ms| Step::Back { ms }),
        1 => (50..300_u64).prop_map(|amount| Step::Reload { amount }),
        1 => Just(Step::Sweep),
    ];
    prop::collection::vec(step, 1..80)
}

fn windows() -> impl Strategy<Value = Window> {
    prop_oneof![
        Just(Window::TokenBucket(MINUTE)),
        Just(Window::Sliding(MINUTE)),
        Just(Window::Fixed(MINUTE)),
        Just(Window::Calendar { period: Period::Hour, zone: "Asia/Kolkata".into() }),
    ]
}

/// What a counter's window makes of all that was used; written anew, and slowly.
#[derive(Debug, Clone, Default)]
struct Book {
    used: Vec<(u64, u64)>,
    held: u64,
    /// Of a bucket: what is lacking, in units times milliseconds, and since when that is known.
    lacking: u128,
    filled_ms: u64,
}

impl Book {
    fn used(&self, window: &Window, now_ms: u64) -> u64 {
        let sum = |is_in: &dyn Fn(u64) -> bool| {
            self.used.iter().filter(|(at, _)| is_in(*at)).map(|(_, used)| used).sum()
        };
        let slot = |ms: u64| ms / (WINDOW_MS / 60);
        // Half an hour beside UTC.
        let hour = |ms: u64| (ms + 1_800_000) / 3_600_000;
        match window {
            Window::TokenBucket(_) => u64::try_from(self.lacking.div_ceil(WINDOW_MS.into())).unwrap(),
            Window::Sliding(_) => sum(&|at| slot(at) + 60 >= slot(now_ms)),
            Window::Fixed(_) => sum(&|at| at / WINDOW_MS == now_ms / WINDOW_MS),
            Window::Calendar { .. } => sum(&|at| hour(at) == hour(now_ms)),
            Window::Now => 0,
        }
    }

    fn fill(&mut self, amount: u64, now_ms: u64) {
        let elapsed = u128::from(now_ms - self.filled_ms);
        self.lacking = self.lacking.saturating_sub(elapsed * u128::from(amount));
        self.filled_ms = now_ms;
    }

    fn charge(&mut self, used: u64, now_ms: u64) {
        self.used.push((now_ms, used));
        self.lacking += u128::from(used) * u128::from(WINDOW_MS);
    }
}

struct Open {
    holds: Holds,
    consumer: usize,
    expected: Usage,
    /// Of tokens.
    held: u64,
    seen: Option<u64>,
}

struct World {
    window: Window,
    counters: std::sync::Arc<Counters>,
    amount: u64,
    /// What the counter of each consumer was last asked with.
    amounts: [u64; CONSUMERS],
    now_ms: u64,
    /// The latest that there was: a clock that steps back changes nothing.
    latest_ms: u64,
    tokens: [Book; CONSUMERS],
    requests: [Book; CONSUMERS],
    in_flight: [u64; CONSUMERS],
    open: Vec<Open>,
    excess: u64,
    most: u64,
}

const REQUESTS: u64 = 12;
const CONCURRENCY: u64 = 5;

fn limits(window: &Window, amount: u64) -> [LimitSpec; 3] {
    [
        limit("tokens", Count::TotalTokens, amount, window.clone()),
        requests(REQUESTS),
        limit("concurrency", Count::Concurrency, CONCURRENCY, Window::Now),
    ]
}

fn name(consumer: usize) -> String {
    format!("consumer-{consumer}")
}

impl World {
    fn new(window: Window) -> Self {
        let mut world = Self {
            window,
            counters: Counters::new(100),
            amount: 200,
            amounts: [0; CONSUMERS],
            now_ms: 10 * WINDOW_MS,
            latest_ms: 10 * WINDOW_MS,
            tokens: std::array::from_fn(|_| Book { filled_ms: 10 * WINDOW_MS, ..Book::default() }),
            requests: Default::default(),
            in_flight: [0; CONSUMERS],
            open: Vec::new(),
            excess: 0,
            most: 200,
        };
        world.make_all();
        world
    }

    /// Has all counters be there: what a clock that steps back is compared with is what a counter has seen.
    fn make_all(&mut self) {
        for limit in limits(&self.window, self.amount) {
            let limiter = limiter(&self.counters, [limit]);
            for consumer in 0..CONSUMERS {
                let request = Request::by(&name(consumer));
                if let Ok(mut holds) = reserve(&limiter, &request, Usage::default(), at_ms(self.now_ms)) {
                    holds.settle(Spent::Nothing, at_ms(self.now_ms));
                }
            }
        }
        self.amounts = [self.amount; CONSUMERS];
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Reserve { consumer, input, output } => self.reserve(consumer, usage(input, output)),
            Step::Seen { which, output } => {
                let now = at_ms(self.now_ms);
                if let Some(open) = self.open.get_mut(which) {
                    open.holds.seen(output, now);
                    open.seen = Some(open.seen.unwrap_or(0).max(output));
                }
            }
            Step::Settle { which, how, input, output } if which < self.open.len() => {
                let open = self.open.remove(which);
                self.settle(open, how, usage(input, output), false);
            }
            Step::Drop { which } if which < self.open.len() => {
                let open = self.open.remove(which);
                self.settle(open, How::Failed, Usage::default(), true);
            }
            Step::Forward { ms } => {
                self.now_ms += ms;
                self.latest_ms = self.latest_ms.max(self.now_ms);
                for consumer in 0..CONSUMERS {
                    // As the counter sees it: with what was the most until now.
                    self.tokens[consumer].fill(self.amounts[consumer], self.latest_ms);
                }
            }
            Step::Back { ms } => self.now_ms = self.now_ms.saturating_sub(ms),
            Step::Reload { amount } => (self.amount, self.most) = (amount, self.most.max(amount)),
            Step::Sweep if self.now_ms == self.latest_ms => {
                self.counters.sweep(at_ms(self.now_ms), 1000);
                self.make_all();
            }
            Step::Settle { .. } | Step::Drop { .. } | Step::Sweep => {}
        }
        self.check();
    }

    fn reserve(&mut self, consumer: usize, expected: Usage) {
        let limiter = limiter(&self.counters, limits(&self.window, self.amount));
        let held = expected.total().min(self.amount / 2);
        let (tokens, requests) = (&self.tokens[consumer], &self.requests[consumer]);
        let taken = tokens.used(&self.window, self.latest_ms) + tokens.held;
        let asked = requests.used(&Window::Fixed(MINUTE), self.latest_ms) + requests.held;
        let denied = if taken + held.max(1) > self.amount {
            Some("tokens")
        } else if asked + 1 > REQUESTS {
            Some("requests")
        } else {
            (self.in_flight[consumer] + 1 > CONCURRENCY).then_some("concurrency")
        };
        self.amounts[consumer] = self.amount;
        match reserve(&limiter, &Request::by(&name(consumer)), expected, at_ms(self.now_ms)) {
            Ok(holds) => {
                assert_eq!(denied, None);
                self.tokens[consumer].held += held;
                self.requests[consumer].held += 1;
                self.in_flight[consumer] += 1;
                self.open.push(Open { holds, consumer, expected, held, seen: None });
            }
            Err(Stop::Denied(stopped)) => {
                assert_eq!(denied, Some(&*stopped.limit));
                assert!(stopped.retry_after.is_some() && !stopped.is_never);
            }
            Err(other) => panic!("{other:?}"),
        }
    }

    fn settle(&mut self, mut open: Open, how: How, usage: Usage, is_dropped: bool) {
        let now = at_ms(self.now_ms);
        let spent = match how {
            How::Nothing => Spent::Nothing,
            How::Failed => Spent::Failed,
            How::Seen => Spent::Seen,
            How::Used => Spent::Used { usage: &usage, price: None },
        };
        if is_dropped {
            drop(open.holds)
        } else {
            open.holds.settle(spent, now)
        }
        let seen = open.expected.input + open.seen.unwrap_or(0);
        let used = match how {
            How::Nothing => 0,
            How::Failed if open.seen.is_none() => 0,
            How::Failed | How::Seen => seen,
            How::Used => usage.total(),
        };
        let consumer = open.consumer;
        self.tokens[consumer].held -= open.held;
        self.requests[consumer].held -= 1;
        self.in_flight[consumer] -= 1;
        self.tokens[consumer].charge(used, self.latest_ms);
        self.requests[consumer].charge(u64::from(!matches!(how, How::Nothing)), self.latest_ms);
        self.excess += used.saturating_sub(open.held);
    }

    /// What the limits say is left is what the model has left.
    fn check(&self) {
        let limiter = limiter(&self.counters, limits(&self.window, self.amount));
        for consumer in 0..CONSUMERS {
            let (tokens, requests) = (&self.tokens[consumer], &self.requests[consumer]);
            let used = tokens.used(&self.window, self.latest_ms);
            let asked = requests.used(&Window::Fixed(MINUTE), self.latest_ms);
            let expected = vec![
                self.amount.saturating_sub(used + tokens.held),
                REQUESTS.saturating_sub(asked + requests.held),
                CONCURRENCY - self.in_flight[consumer],
            ];
            assert_eq!(remaining(&limiter, &Request::by(&name(consumer)), at_ms(self.now_ms)), expected);
            // The bound that is documented, and no debt from elsewhere.
            assert!(used <= self.most + self.excess, "{used} of {} and {}", self.most, self.excess);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn limits_say_what_a_book_of_all_that_was_used_says(window in windows(), steps in steps()) {
        let mut world = World::new(window);
        steps.iter().for_each(|step| world.take(step));
        // Whatever is still open is settled: nothing is held any more, of which the books are witness.
        while let Some(open) = world.open.pop() {
            world.settle(open, How::Used, usage(1, 1), false);
        }
        world.check();
        prop_assert!(world.tokens.iter().chain(&world.requests).all(|book| book.held == 0));
    }

    #[test]
    fn counters_of_which_nothing_is_used_any_more_are_forgotten(window in windows(), steps in steps()) {
        let mut world = World::new(window);
        steps.iter().for_each(|step| world.take(step));
        world.open.clear();
        let late = at_ms(world.latest_ms + 100 * 60 * WINDOW_MS);
        world.counters.sweep(late, usize::MAX);
        prop_assert_eq!(world.counters.len(), 0);
    }
}

#[test]
fn a_limit_whose_window_changed_begins_anew_and_one_whose_amount_changed_goes_on() {
    let counters = Counters::new(10);
    let request = Request::by("a");
    let with = |amount, seconds| {
        let window = Window::Fixed(Duration::from_secs(seconds));
        limiter(&counters, [limit("tokens", Count::TotalTokens, amount, window)])
    };
    let now = at_ms(5_000);
    let mut holds = reserve(&with(100, 60), &request, usage(10, 20), now).unwrap();
    holds.settle(Spent::Used { usage: &usage(10, 30), price: None }, now);
    assert_eq!(remaining(&with(100, 60), &request, now), [60]);
    assert_eq!(remaining(&with(50, 60), &request, now), [10]);
    assert_eq!(remaining(&with(30, 60), &request, now), [0]);
    assert_eq!(remaining(&with(100, 61), &request, now), [100]);
}
