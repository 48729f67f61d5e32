use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use super::{Breaker, EjectionPolicy, Gate, Quota};

const SECOND: u64 = 1_000_000_000;
const POLICY: EjectionPolicy = EjectionPolicy {
    consecutive_failures: 3,
    base_time: Duration::from_secs(5),
    max_time: Duration::from_secs(60),
    max_ejected_percent: 50,
};

fn quota(endpoints: usize) -> Quota {
    let quota = Quota::default();
    quota.endpoints.store(endpoints, Relaxed);
    quota
}

fn ejected(quota: &Quota, now_ns: u64) -> Breaker {
    let breaker = Breaker::default();
    for _ in 0..3 {
        breaker.fail(false, now_ns, &POLICY, quota);
    }
    assert_eq!(breaker.gate(now_ns), Gate::Ejected);
    breaker
}

#[test]
fn failures_in_a_row_eject_and_a_success_between_them_does_not() {
    let (breaker, quota) = (Breaker::default(), quota(4));
    for _ in 0..10 {
        breaker.fail(false, 0, &POLICY, &quota);
        breaker.fail(false, 0, &POLICY, &quota);
        breaker.succeed(false, 0, &quota);
    }
    assert_eq!(breaker.gate(0), Gate::Closed);
    ejected(&quota, 0);
}

#[test]
fn half_open_lets_one_probe_through_and_its_success_closes() {
    let quota = quota(4);
    let breaker = ejected(&quota, 0);
    assert_eq!(breaker.gate(5 * SECOND - 1), Gate::Ejected);
    assert_eq!(breaker.gate(6 * SECOND), Gate::HalfOpen);
    assert!(breaker.begin_probe());
    assert!(!breaker.begin_probe(), "one probe at a time");
    assert_eq!(breaker.gate(6 * SECOND), Gate::Ejected);
    breaker.succeed(true, 6 * SECOND, &quota);
    assert_eq!(breaker.gate(6 * SECOND), Gate::Closed);
    assert_eq!(quota.ejected.load(Relaxed), 0);
}

#[test]
fn a_failed_probe_ejects_for_twice_as_long_up_to_the_cap() {
    let quota = quota(4);
    let breaker = ejected(&quota, 0);
    let mut now = 0;
    for seconds in [10, 20, 40, 60, 60] {
        now += 100 * SECOND;
        assert!(breaker.begin_probe());
        breaker.fail(true, now, &POLICY, &quota);
        assert_eq!(breaker.gate(now + seconds * SECOND - 1), Gate::Ejected);
        assert_eq!(
            breaker.gate(now + seconds * SECOND * 12 / 10),
            Gate::HalfOpen,
            "jitter is at most a fifth"
        );
    }
    assert_eq!(quota.ejected.load(Relaxed), 1);
}

#[test]
fn a_probe_whose_client_left_makes_room_for_another() {
    let quota = quota(4);
    let breaker = ejected(&quota, 0);
    assert!(breaker.begin_probe());
    breaker.abandon(true);
    assert_eq!(breaker.gate(6 * SECOND), Gate::HalfOpen);
}

#[test]
fn an_ejection_after_a_calm_period_starts_over() {
    let quota = quota(4);
    let breaker = ejected(&quota, 0);
    assert!(breaker.begin_probe());
    breaker.fail(true, 10 * SECOND, &POLICY, &quota);
    assert!(breaker.begin_probe());
    breaker.succeed(true, 30 * SECOND, &quota);
    let later = 100 * SECOND;
    for _ in 0..3 {
        breaker.fail(false, later, &POLICY, &quota);
    }
    assert_eq!(breaker.gate(later + 6 * SECOND), Gate::HalfOpen);
}

#[test]
fn a_pool_is_never_emptied() {
    for (endpoints, most) in [(1, 0), (2, 1), (3, 1), (10, 5)] {
        let quota = quota(endpoints);
        for _ in 0..endpoints {
            let breaker = Breaker::default();
            for _ in 0..5 {
                breaker.fail(false, 0, &POLICY, &quota);
            }
        }
        assert_eq!(quota.ejected.load(Relaxed), most, "of {endpoints}");
    }
    let all = EjectionPolicy { max_ejected_percent: 100, ..POLICY };
    let (alone, quota) = (Breaker::default(), quota(1));
    for _ in 0..5 {
        alone.fail(false, 0, &all, &quota);
    }
    assert_eq!(alone.gate(0), Gate::Closed);
}

#[test]
fn an_endpoint_that_left_uses_no_quota() {
    let quota = quota(4);
    let breaker = ejected(&quota, 0);
    breaker.leave(&quota);
    for _ in 0..5 {
        breaker.fail(false, 0, &POLICY, &quota);
    }
    assert_eq!(quota.ejected.load(Relaxed), 0);
}

#[test]
fn zero_failures_turn_ejection_off() {
    let off = EjectionPolicy { consecutive_failures: 0, ..POLICY };
    let (breaker, quota) = (Breaker::default(), quota(4));
    for _ in 0..100 {
        breaker.fail(false, 0, &off, &quota);
    }
    assert_eq!(breaker.gate(0), Gate::Closed);
}
