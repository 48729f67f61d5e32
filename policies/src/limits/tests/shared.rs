//! Several gateways that share counters, against a model of the store that answers late, not at all, or not any more.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use penstock_config::{Count, LimitSpec, OnStoreFailure, Window};
use proptest::prelude::*;

use super::store::{Call, Store};
use crate::limits::testing::{MINUTE, Request, at_ms, limit, policy, reserve, usage};
use crate::limits::{Counters, Granted, Holds, LeaseAsk, Limiter, Spent, Stop};

const GATEWAYS: usize = 3;
const AMOUNT: u64 = 300;
const MINUTE_MS: u64 = 60_000;
const HOUR: Duration = Duration::from_secs(3600);

#[derive(Debug, Clone)]
enum Step {
    Reserve {
        gateway: usize,
        expected: u64,
    },
    Settle {
        which: usize,
        used: u64,
    },
    /// A gateway sends what it wants to say.
    Send {
        gateway: usize,
    },
    /// The store executes a call that was sent.
    Execute {
        which: usize,
    },
    /// What was executed arrives; what was not is lost.
    Answer {
        which: usize,
    },
    /// The answer is lost, or the call was.
    Lose {
        which: usize,
    },
    Crash {
        gateway: usize,
    },
    /// The store has lost all.
    Forget,
    Forward {
        ms: u64,
    },
    Sweep {
        gateway: usize,
    },
}

/// Which faults there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Faults {
    /// None but that one gateway is cut off, where the test says so.
    None,
    /// Calls and answers are lost.
    Lost,
    /// Gateways crash, too.
    Crashes,
    /// The store loses its data, too.
    All,
}

fn steps(faults: Faults, max_ms: u64) -> impl Strategy<Value = Vec<Step>> {
    let gateway = 0..GATEWAYS;
    let which = 0..6_usize;
    let lost = if faults == Faults::None { 0 } else { 3 };
    let crashes = u32::from(matches!(faults, Faults::Crashes | Faults::All));
    let losses = u32::from(faults == Faults::All);
    let step = prop_oneof![
        20 => (gateway.clone(), 0..60_u64).prop_map(|(gateway, expected)| Step::Reserve { gateway, expected }),
        12 => (which.clone(), 0..80_u64).prop_map(|(which, used)| Step::Settle { which, used }),
        16 => gateway.clone().prop_map(|gateway| Step::Send { gateway }),
        16 => which.clone().prop_map(|which| Step::Execute { which }),
        14 => which.clone().prop_map(|which| Step::Answer { which }),
        lost => which.prop_map(|which| Step::Lose { which }),
        crashes => gateway.clone().prop_map(|gateway| Step::Crash { gateway }),
        losses => Just(Step::Forget),
        8 => (0..max_ms).prop_map(|ms| Step::Forward { ms }),
        6 => gateway.prop_map(|gateway| Step::Sweep { gateway }),
    ];
    prop::collection::vec(step, 1..200)
}

struct Open {
    holds: Holds,
    gateway: usize,
    held: u64,
    minute: u64,
}

struct Sent {
    ask: LeaseAsk,
    call: Call,
    gateway: usize,
    holder: usize,
    answer: Option<Granted>,
}

struct World {
    limits: Vec<LimitSpec>,
    on_failure: OnStoreFailure,
    /// The gateway whose calls never reach the store, while all others' do.
    cut_off: Option<usize>,
    gateways: Vec<(Arc<Counters>, Limiter)>,
    /// Each start of a gateway is a holder of its own.
    holders: Vec<usize>,
    next_holder: usize,
    store: Store,
    open: Vec<Open>,
    sent: Vec<Sent>,
    now_ms: u64,
    /// In each minute: what was used, and how much more than the amount that may be.
    used: HashMap<u64, u64>,
    excess: HashMap<u64, u64>,
    total_used: u64,
    total_excess: u64,
    /// The same of each gateway.
    used_by: [u64; GATEWAYS],
    excess_by: [u64; GATEWAYS],
    /// How often the store has forgotten what it knew, in each minute.
    forgotten: HashMap<u64, u64>,
    most_in_flight: usize,
}

impl World {
    fn new(limit: LimitSpec, on_failure: OnStoreFailure) -> Self {
        let limits = vec![LimitSpec { is_shared: true, per: Box::default(), ..limit }];
        let mut world = Self {
            limits,
            on_failure,
            cut_off: None,
            gateways: Vec::new(),
            holders: (0..GATEWAYS).collect(),
            next_holder: GATEWAYS,
            store: Store::default(),
            open: Vec::new(),
            sent: Vec::new(),
            now_ms: 10 * MINUTE_MS,
            used: HashMap::new(),
            excess: HashMap::new(),
            total_used: 0,
            total_excess: 0,
            used_by: [0; GATEWAYS],
            excess_by: [0; GATEWAYS],
            forgotten: HashMap::new(),
            most_in_flight: 0,
        };
        world.gateways = (0..GATEWAYS).map(|_| world.start()).collect();
        world
    }

    fn start(&self) -> (Arc<Counters>, Limiter) {
        let counters = Counters::new(100);
        counters.set_on_failure(self.on_failure);
        let limiter = Limiter::new(&policy(self.limits.clone()), &counters, 3, true).unwrap();
        (counters, limiter)
    }

    fn minute(&self) -> u64 {
        self.now_ms / MINUTE_MS
    }

    fn take(&mut self, step: &Step) {
        let now = at_ms(self.now_ms);
        match *step {
            Step::Reserve { gateway, expected } => self.reserve(gateway, expected),
            Step::Settle { which, used } if which < self.open.len() => {
                let open = self.open.remove(which);
                self.settle(open, used);
            }
            Step::Send { gateway } => self.send(gateway),
            Step::Execute { which } if which < self.sent.len() => self.execute(which),
            Step::Answer { which } if which < self.sent.len() => {
                if self.cut_off.is_some() {
                    self.execute(which);
                }
                let sent = self.sent.remove(which);
                match sent.answer {
                    Some(granted) => sent.ask.granted(granted, now),
                    None => sent.ask.failed(now),
                }
            }
            Step::Lose { which } if which < self.sent.len() => self.sent.remove(which).ask.failed(now),
            Step::Crash { gateway } => self.crash(gateway),
            Step::Forget => {
                self.store = Store::default();
                *self.forgotten.entry(self.minute()).or_default() += 1;
            }
            Step::Forward { ms } => self.now_ms += ms,
            Step::Sweep { gateway } => self.gateways[gateway].0.sweep(now, usize::MAX),
            Step::Settle { .. } | Step::Execute { .. } | Step::Answer { .. } | Step::Lose { .. } => {}
        }
        self.most_in_flight = self.most_in_flight.max(self.open.len());
    }

    fn reserve(&mut self, gateway: usize, expected: u64) {
        match reserve(&self.gateways[gateway].1, &Request::new(), usage(0, expected), at_ms(self.now_ms)) {
            Ok(holds) => {
                let (held, minute) = (expected.min(AMOUNT / 2), self.minute());
                self.open.push(Open { holds, gateway, held, minute });
            }
            Err(Stop::Wait(_)) if self.cut_off == Some(gateway) => {
                self.send(gateway);
                self.reserve(gateway, expected);
            }
            Err(Stop::Wait(wait)) => assert!(!wait.ready()),
            Err(Stop::Denied(_) | Stop::Unavailable(_)) => {}
        }
    }

    fn settle(&mut self, mut open: Open, used: u64) {
        let minute = self.minute();
        open.holds.settle(Spent::Used { usage: &usage(0, used), price: None }, at_ms(self.now_ms));
        *self.used.entry(minute).or_default() += used;
        // What was held from an earlier minute may be had by another in this one before the store is told.
        let granted = if open.minute == minute { open.held } else { 0 };
        *self.excess.entry(minute).or_default() += used.saturating_sub(granted);
        self.total_used += used;
        self.total_excess += used.saturating_sub(open.held);
        self.used_by[open.gateway] += used;
        self.excess_by[open.gateway] += used.saturating_sub(open.held);
    }

    fn send(&mut self, gateway: usize) {
        if let Some(ask) = self.gateways[gateway].0.leased().next(at_ms(self.now_ms)) {
            if self.cut_off == Some(gateway) {
                return ask.failed(at_ms(self.now_ms));
            }
            let (call, holder) = (Call::of(&ask), self.holders[gateway]);
            self.sent.push(Sent { ask, call, gateway, holder, answer: None });
        }
    }

    fn execute(&mut self, which: usize) {
        let now_ms = self.now_ms;
        let sent = &mut self.sent[which];
        if sent.answer.is_none() {
            sent.answer = Some(self.store.execute(sent.holder, &sent.call, now_ms));
        }
    }

    /// What is in flight, and what was to be told, is gone.
    fn crash(&mut self, gateway: usize) {
        self.sent.retain(|sent| sent.gateway != gateway);
        self.open.retain(|open| open.gateway != gateway);
        self.gateways[gateway] = self.start();
        self.holders[gateway] = self.next_holder;
        self.next_holder += 1;
    }

    /// All that is open ends, all is said, and the store answers all of it.
    fn end(&mut self) {
        while let Some(open) = self.open.pop() {
            let used = open.held / 2;
            self.settle(open, used);
        }
        for _ in 0..6 {
            self.now_ms += 2_500;
            for gateway in 0..GATEWAYS {
                self.gateways[gateway].0.sweep(at_ms(self.now_ms), usize::MAX);
                self.send(gateway);
            }
            while !self.sent.is_empty() {
                self.execute(0);
                self.take(&Step::Answer { which: 0 });
            }
        }
    }

    fn debited(&self) -> i128 {
        self.store.counters.values().map(|counter| counter.used).sum()
    }
}

fn fixed(period: Duration) -> LimitSpec {
    limit("tokens", Count::OutputTokens, AMOUNT, Window::Fixed(period))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn gateways_together_use_no_more_than_the_amount_and_what_went_beyond_holds(
        steps in steps(Faults::Crashes, 20_000),
    ) {
        let mut world = World::new(fixed(MINUTE), OnStoreFailure::Closed);
        steps.iter().for_each(|step| world.take(step));
        for (minute, used) in &world.used {
            let excess = world.excess[minute];
            prop_assert!(*used <= AMOUNT + excess, "{used} beyond {AMOUNT} and {excess}");
        }
    }

    #[test]
    fn a_store_that_forgets_lets_its_gateways_use_as_much_again_and_no_more(
        steps in steps(Faults::All, 20_000),
    ) {
        let mut world = World::new(fixed(MINUTE), OnStoreFailure::Closed);
        steps.iter().for_each(|step| world.take(step));
        for (minute, used) in &world.used {
            let times = 1 + world.forgotten.get(minute).copied().unwrap_or_default();
            prop_assert!(*used <= AMOUNT * times + world.excess[minute]);
        }
    }

    #[test]
    fn while_the_store_is_away_each_gateway_uses_its_share_and_no_more(steps in steps(Faults::Lost, 20_000)) {
        let mut world = World::new(fixed(MINUTE), OnStoreFailure::LocalShare);
        steps.iter().for_each(|step| world.take(step));
        for (minute, used) in &world.used {
            // All shares together are the amount once more.
            prop_assert!(*used <= 2 * AMOUNT + world.excess[minute]);
        }
    }

    #[test]
    fn a_gateway_that_is_cut_off_uses_its_share_and_no_more(steps in steps(Faults::None, 20_000)) {
        let mut world = World::new(fixed(HOUR), OnStoreFailure::LocalShare);
        world.cut_off = Some(0);
        steps.iter().for_each(|step| world.take(step));
        prop_assert!(world.used_by[0] <= AMOUNT / 3 + world.excess_by[0]);
    }

    #[test]
    fn a_bucket_of_a_gateway_that_is_cut_off_fills_by_its_share(steps in steps(Faults::None, 5_000)) {
        let bucket = limit("tokens", Count::OutputTokens, AMOUNT, Window::TokenBucket(MINUTE));
        let mut world = World::new(bucket, OnStoreFailure::LocalShare);
        world.cut_off = Some(0);
        let began_ms = world.now_ms;
        for step in &steps {
            world.take(step);
            let most = AMOUNT / 3 * (MINUTE_MS + world.now_ms - began_ms) / MINUTE_MS;
            prop_assert!(world.used_by[0] <= most + world.excess_by[0]);
        }
    }

    #[test]
    fn in_the_end_the_store_has_debited_what_was_used(
        steps in steps(Faults::Lost, 2_000),
        on_failure in prop_oneof![
            Just(OnStoreFailure::Closed),
            Just(OnStoreFailure::LocalShare),
            Just(OnStoreFailure::Open),
        ],
    ) {
        let mut world = World::new(fixed(HOUR), on_failure);
        steps.iter().for_each(|step| world.take(step));
        world.end();
        prop_assert_eq!(world.debited(), i128::from(world.total_used));
        let leased = world.gateways.iter().map(|(counters, _)| counters.leased().len()).sum::<usize>();
        prop_assert_eq!(leased, 0);
    }

    #[test]
    fn a_bucket_never_gives_more_than_it_had_and_was_filled_with(steps in steps(Faults::Crashes, 20_000)) {
        let bucket = limit("tokens", Count::OutputTokens, AMOUNT, Window::TokenBucket(MINUTE));
        let mut world = World::new(bucket, OnStoreFailure::Closed);
        let began_ms = world.now_ms;
        for step in &steps {
            world.take(step);
            let filled = AMOUNT * (world.now_ms - began_ms) / MINUTE_MS;
            prop_assert!(world.total_used <= AMOUNT + filled + world.total_excess);
        }
    }

    #[test]
    fn while_the_store_is_away_buckets_are_filled_by_shares(steps in steps(Faults::Lost, 20_000)) {
        let bucket = limit("tokens", Count::OutputTokens, AMOUNT, Window::TokenBucket(MINUTE));
        let mut world = World::new(bucket, OnStoreFailure::LocalShare);
        let began_ms = world.now_ms;
        for step in &steps {
            world.take(step);
            let filled = AMOUNT * (world.now_ms - began_ms) / MINUTE_MS;
            prop_assert!(world.total_used <= 2 * (AMOUNT + filled) + world.total_excess);
        }
    }

    #[test]
    fn gateways_together_have_no_more_in_flight_than_there_are_slots(steps in steps(Faults::Lost, 300)) {
        let concurrency = limit("flights", Count::Concurrency, 5, Window::Now);
        let mut world = World::new(concurrency, OnStoreFailure::Closed);
        // Within the time that slots last.
        steps.iter().take(120).for_each(|step| world.take(step));
        prop_assert!(world.most_in_flight <= 5, "{}", world.most_in_flight);
    }
}
