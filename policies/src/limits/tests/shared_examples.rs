//! What gateways that share counters do, step by step.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use penstock_config::{Count, LimitSpec, OnStoreFailure, Window};

use super::store::{Call, Store};
use crate::limits::testing::{
    MINUTE, Request, at, limit, policy, refusal, remaining, requests, reserve, tokens, usage,
};
use crate::limits::{Counters, Holds, LeaseAsk, LeaseWait, LeaseWindow, Limiter, Now, Seen, Spent, Stop};

struct Gateway {
    counters: Arc<Counters>,
    limiter: Limiter,
    holder: usize,
}

impl Gateway {
    fn new(limit: LimitSpec, holder: usize) -> Self {
        let counters = Counters::new(100);
        let limits = [LimitSpec { is_shared: true, ..limit }];
        let limiter = Limiter::new(&policy(limits), &counters, 2, true).unwrap();
        Self { counters, limiter, holder }
    }

    fn ask(&self, now: Now) -> Result<Holds, Stop> {
        reserve(&self.limiter, &Request::by("a"), usage(0, 0), now)
    }

    fn wait(&self, now: Now) -> LeaseWait {
        match self.ask(now) {
            Err(Stop::Wait(wait)) => wait,
            other => panic!("{other:?}"),
        }
    }

    fn next(&self, now: Now) -> Option<LeaseAsk> {
        self.counters.leased().next(now)
    }

    /// Has the store answer all that is asked.
    fn serve(&self, store: &mut Store, now: Now) {
        while let Some(ask) = self.next(now) {
            let now_ms = u64::try_from(now.mono.as_millis()).unwrap();
            let granted = store.execute(self.holder, &Call::of(&ask), now_ms);
            ask.granted(granted, now);
        }
    }

    /// Requests one after another, each of which waits for the store as often as it has to.
    fn passes(&self, store: &mut Store, now: Now) -> bool {
        loop {
            match self.ask(now) {
                Ok(mut holds) => {
                    holds.settle(Spent::Failed, now);
                    return true;
                }
                Err(Stop::Wait(wait)) => {
                    self.serve(store, now);
                    assert!(wait.ready());
                }
                Err(Stop::Denied(denied)) => {
                    assert!(denied.retry_after.is_some());
                    return false;
                }
                Err(other) => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn a_cold_counter_waits_for_the_store_and_a_warm_one_does_not() {
    let gateway = Gateway::new(requests(100), 0);
    let wait = gateway.wait(at(0.0));
    let ask = gateway.next(at(0.0)).unwrap();
    assert!(ask.key.starts_with("tenants/requests/") && ask.key.len() == "tenants/requests/".len() + 32);
    assert_eq!((ask.amount, ask.need, ask.debt, ask.give_back, ask.keep), (100, 1, 0, 0, 0));
    assert_eq!(ask.window, LeaseWindow::Window(Window::Fixed(MINUTE)));
    assert!(!wait.ready() && gateway.next(at(0.0)).is_none());
    let mut store = Store::default();
    let granted = store.execute(0, &Call::of(&ask), 0);
    ask.granted(granted, at(0.0));
    assert!(wait.ready());
    let _held = gateway.ask(at(0.0)).unwrap();
}

#[test]
fn the_same_counter_has_the_same_key_in_all_gateways() {
    let key = |gateway: &Gateway| {
        gateway.wait(at(0.0));
        gateway.next(at(0.0)).unwrap().key.clone()
    };
    assert_eq!(key(&Gateway::new(requests(1), 0)), key(&Gateway::new(requests(2), 1)));
}

#[test]
fn places_among_the_requests_in_flight_are_renewed_however_many_other_counters_there_are() {
    let counters = Counters::new(10_000);
    let flights = LimitSpec { is_shared: true, ..limit("flights", Count::Concurrency, 5, Window::Now) };
    let limiter = Limiter::new(&policy([flights]), &counters, 2, true).unwrap();
    let others = Limiter::new(&policy([requests(100)]), &counters, 2, true).unwrap();
    for n in 0..5000 {
        drop(reserve(&others, &Request::by(&n.to_string()), usage(0, 0), at(0.0)).unwrap());
    }
    let gateway = Gateway { counters, limiter, holder: 0 };
    let mut store = Store::default();
    gateway.wait(at(0.0));
    gateway.serve(&mut store, at(0.0));
    let held = gateway.ask(at(0.0)).unwrap();
    for second in 1..60_u32 {
        let now = at(f64::from(second));
        // It looks at one part of 256 each time.
        gateway.counters.sweep(now, 1);
        gateway.serve(&mut store, now);
        let (places, until_ms) = store.counters.values().next().unwrap().slots[&0];
        assert!(
            places >= 1 && until_ms > u64::from(second) * 1000 + 1000,
            "{second}: {places} until {until_ms}"
        );
    }
    // Nothing is kept of one that has none.
    drop(held);
    for second in 60..70_u32 {
        let now = at(f64::from(second));
        gateway.counters.sweep(now, 10_000);
        gateway.serve(&mut store, now);
    }
    assert!(gateway.counters.leased().shared().are_places_given_back());
}

#[test]
fn who_waits_is_woken_by_the_answer_and_by_its_failure_and_by_an_ask_that_is_dropped() {
    for how in 0..3 {
        let gateway = Gateway::new(requests(100), 0);
        let (first, second) = (gateway.wait(at(0.0)), gateway.wait(at(0.0)));
        let ask = gateway.next(at(0.0)).unwrap();
        let waiting = std::thread::spawn(move || futures_lite(first.wait()));
        match how {
            0 => {
                let granted = Store::default().execute(0, &Call::of(&ask), 0);
                ask.granted(granted, at(0.0));
            }
            1 => ask.failed(at(0.0)),
            _ => drop(ask),
        }
        waiting.join().unwrap();
        assert!(second.ready());
    }
}

/// Runs a future to its end on this thread.
fn futures_lite(future: impl Future<Output = ()>) {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = std::task::Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = std::pin::pin!(future);
    while future.as_mut().poll(&mut std::task::Context::from_waker(&waker)).is_pending() {
        std::thread::park();
    }
}

#[test]
fn somebody_is_called_when_a_counter_wants_something() {
    let gateway = Gateway::new(requests(100), 0);
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    gateway.counters.leased().notify(Box::new(move || {
        counted.fetch_add(1, Ordering::Relaxed);
    }));
    let _waits = (gateway.wait(at(0.0)), gateway.wait(at(0.0)));
    assert_eq!((calls.load(Ordering::Relaxed), gateway.counters.leased().len()), (1, 1));
}

#[test]
fn all_of_the_amount_can_be_used_and_no_more() {
    let gateways = [Gateway::new(requests(100), 0), Gateway::new(requests(100), 1)];
    let mut store = Store::default();
    let mut passed = 0;
    for turn in 0..400_u32 {
        let now = at(f64::from(turn) / 10.0);
        let gateway = &gateways[turn as usize % 2];
        passed += u32::from(gateway.passes(&mut store, now));
        gateway.counters.sweep(now, usize::MAX);
        gateway.serve(&mut store, now);
    }
    assert_eq!(passed, 100);
    assert!(gateways[0].passes(&mut store, at(60.0)));
}

#[test]
fn a_busy_counter_asks_before_it_runs_dry() {
    let gateway = Gateway::new(requests(100_000), 0);
    let mut store = Store::default();
    let mut waits = 0;
    for turn in 0..10_000_u32 {
        let now = at(f64::from(turn) / 1000.0);
        match gateway.ask(now) {
            Ok(mut holds) => holds.settle(Spent::Failed, now),
            Err(Stop::Wait(_)) => waits += 1,
            Err(other) => panic!("{other:?}"),
        }
        // The store takes five milliseconds.
        if turn % 5 == 0 {
            gateway.serve(&mut store, now);
        }
    }
    assert!(waits <= 20, "{waits}");
}

#[test]
fn a_lease_that_is_idle_goes_back() {
    let (busy, idle) = (Gateway::new(requests(10), 0), Gateway::new(requests(10), 1));
    let mut store = Store::default();
    assert!(idle.passes(&mut store, at(0.0)));
    idle.serve(&mut store, at(0.0));
    idle.counters.sweep(at(4.0), usize::MAX);
    idle.serve(&mut store, at(4.0));
    assert_eq!(store.counters.values().next().unwrap().used, 1);
    let passed = (0..20).filter(|_| busy.passes(&mut store, at(4.1))).count();
    assert_eq!(passed, 9);
}

#[test]
fn at_the_end_of_the_process_all_goes_back() {
    let gateway = Gateway::new(requests(1000), 0);
    let mut store = Store::default();
    for _ in 0..20 {
        assert!(gateway.passes(&mut store, at(0.0)));
    }
    gateway.serve(&mut store, at(0.0));
    let mut last = gateway.ask(at(0.0)).unwrap();
    gateway.counters.give_back_all(at(0.0));
    gateway.serve(&mut store, at(0.0));
    assert_eq!(store.counters.values().next().unwrap().used, 21);
    // It failed before anybody was asked, and even that goes back.
    last.settle(Spent::Nothing, at(0.0));
    gateway.serve(&mut store, at(0.0));
    assert_eq!(store.counters.values().next().unwrap().used, 20);
}

#[test]
fn while_the_store_is_away_limits_are_as_the_document_says() {
    for (on_failure, passing) in
        [(OnStoreFailure::LocalShare, 5), (OnStoreFailure::Open, 20), (OnStoreFailure::Closed, 0)]
    {
        let gateway = Gateway::new(requests(10), 0);
        gateway.counters.set_on_failure(on_failure);
        let wait = gateway.wait(at(0.0));
        gateway.next(at(0.0)).unwrap().failed(at(0.0));
        assert!(wait.ready());
        let mut passed = 0;
        for _ in 0..20 {
            match gateway.ask(at(0.1)) {
                Ok(mut holds) => {
                    holds.settle(Spent::Failed, at(0.1));
                    passed += 1;
                }
                Err(Stop::Denied(_)) => assert_eq!(on_failure, OnStoreFailure::LocalShare),
                Err(Stop::Unavailable(of)) => assert_eq!(&*of.limit, "requests"),
                Err(other) => panic!("{other:?}"),
            }
        }
        assert_eq!(passed, passing, "{on_failure:?}");
        // When it is back it is told what was used meanwhile.
        let mut store = Store::default();
        gateway.counters.sweep(at(1.0), usize::MAX);
        for second in [1.0, 4.0, 8.0] {
            gateway.serve(&mut store, at(second));
            gateway.counters.sweep(at(second + 1.0), usize::MAX);
        }
        assert_eq!(store.counters.values().next().unwrap().used, passing, "{on_failure:?}");
    }
}

/// A bucket fills by the share too, and not by what all gateways have together.
#[test]
fn while_the_store_is_away_a_bucket_fills_by_the_gateways_share() {
    let gateway = Gateway::new(limit("requests", Count::Requests, 10, Window::TokenBucket(MINUTE)), 0);
    gateway.counters.set_on_failure(OnStoreFailure::LocalShare);
    let mut passed = 0;
    for second in 0..=360_u32 {
        let now = at(second.into());
        loop {
            match gateway.ask(now) {
                Ok(mut holds) => {
                    holds.settle(Spent::Failed, now);
                    passed += 1;
                }
                Err(Stop::Wait(_)) => gateway.next(now).unwrap().failed(now),
                Err(Stop::Denied(_)) => break,
                Err(other) => panic!("{other:?}"),
            }
        }
    }
    // The half of ten, and of six minutes.
    assert_eq!(passed, 5 + 6 * 5);
}

#[test]
fn a_store_that_is_back_is_asked_again_and_its_answer_counts() {
    let gateway = Gateway::new(requests(10), 0);
    gateway.counters.set_on_failure(OnStoreFailure::Closed);
    gateway.wait(at(0.0));
    gateway.next(at(0.0)).unwrap().failed(at(0.0));
    assert!(matches!(gateway.ask(at(0.1)), Err(Stop::Unavailable(_))));
    // Not for each request.
    assert!(gateway.next(at(0.1)).is_none());
    assert!(matches!(gateway.ask(at(0.3)), Err(Stop::Unavailable(_))));
    gateway.serve(&mut Store::default(), at(0.3));
    assert!(gateway.ask(at(0.3)).is_ok());
}

#[test]
fn a_counter_that_nobody_asked_for_while_the_store_was_away_asks_it_anew() {
    for limit in [requests(10), limit("flights", Count::Concurrency, 3, Window::Now)] {
        let gateway = Gateway::new(limit, 0);
        gateway.counters.set_on_failure(OnStoreFailure::Closed);
        gateway.wait(at(0.0));
        gateway.next(at(0.0)).unwrap().failed(at(0.0));
        assert!(matches!(gateway.ask(at(0.1)), Err(Stop::Unavailable(_))));
        assert!(gateway.passes(&mut Store::default(), at(10.0)));
    }
}

#[test]
fn slots_of_requests_in_flight_are_renewed_and_those_of_a_gateway_that_died_come_back() {
    let flights = limit("flights", Count::Concurrency, 3, Window::Now);
    let (alive, dead) = (Gateway::new(flights.clone(), 0), Gateway::new(flights, 1));
    let mut store = Store::default();
    let mut held = Vec::new();
    let mut take = |gateway: &Gateway, store: &mut Store, now| loop {
        match gateway.ask(now) {
            Ok(holds) => {
                held.push(holds);
                return true;
            }
            Err(Stop::Wait(_)) => gateway.serve(store, now),
            Err(Stop::Denied(_)) => return false,
            Err(other) => panic!("{other:?}"),
        }
    };
    assert!(take(&alive, &mut store, at(0.0)));
    assert!(take(&dead, &mut store, at(0.0)));
    for second in 0..30 {
        let now = at(f64::from(second));
        alive.counters.sweep(now, usize::MAX);
        alive.serve(&mut store, now);
    }
    // Of the dead one nothing is left; of the one that is alive, what it holds.
    assert!(take(&alive, &mut store, at(30.0)) && take(&alive, &mut store, at(30.2)));
    assert!(!take(&alive, &mut store, at(30.4)));
    assert_eq!(store.counters.values().next().unwrap().slots.len(), 1);
    std::mem::forget(dead);
}

#[test]
fn a_limit_that_is_not_shared_asks_nobody() {
    let counters = Counters::new(10);
    let limiter = Limiter::new(&policy([requests(1)]), &counters, 2, true).unwrap();
    let request = Request::by("a");
    let _held = reserve(&limiter, &request, usage(0, 0), at(0.0)).unwrap();
    assert!(counters.leased().is_empty());
    assert_eq!(refusal(&limiter, &request, usage(0, 0), at(0.0)).retry_after, Some(Duration::from_secs(1)));
    assert_eq!(remaining(&limiter, &request, at(0.0)), [0]);
}

#[test]
fn a_stream_goes_on_while_the_store_is_asked_and_is_cut_when_it_has_no_more() {
    let cutting = LimitSpec { cuts_streams: true, ..tokens(100) };
    let gateway = Gateway::new(cutting, 0);
    let mut store = Store::default();
    let reserve = |now| reserve(&gateway.limiter, &Request::by("a"), usage(0, 10), now);
    assert!(matches!(reserve(at(0.0)), Err(Stop::Wait(_))));
    gateway.serve(&mut store, at(0.0));
    let mut holds = reserve(at(0.0)).unwrap();
    let cut_at = (1..200).find(|seen| {
        let seen = holds.seen(*seen, at(0.0));
        gateway.serve(&mut store, at(0.0));
        seen != Seen::Go
    });
    // All of it, and what came while the store was asked for the last part of it.
    assert!((101..=103).contains(&cut_at.unwrap()), "{cut_at:?}");
}
