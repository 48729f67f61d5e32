//! Passive ejection: an endpoint that keeps failing is left out for a while, then tried with a single
//! request.

use std::{
    sync::atomic::{
        AtomicBool,
        Ordering::{Acquire, Release},
    },
    time::Duration,
};

use parking_lot::Mutex;
use penstock_config::EjectionSpec;
use penstock_picker::Outcome;
use tokio::time::Instant;

/// Whether an endpoint is in use, and since when it is not.
#[derive(Debug, Default)]
pub(super) struct Ejection {
    /// Spares the lock while all is well, which is nearly always.
    is_out: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    failures_in_a_row: u32,
    /// How many times it was ejected since it last did well.
    ejections: u32,
    phase: Phase,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Phase {
    #[default]
    In,
    OutUntil(Instant),
    /// One request is trying it out.
    OnTrial,
}

/// On what terms an endpoint took a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    Regular,
    /// How this request ends decides whether the endpoint is back in use.
    Trial,
}

impl Ejection {
    /// Whether the endpoint takes a request now. Who is told [`Admission::Trial`] has to settle it.
    pub(super) fn admit(&self, now: Instant) -> Option<Admission> {
        if !self.is_out.load(Acquire) {
            return Some(Admission::Regular);
        }
        let mut state = self.state.lock();
        match state.phase {
            Phase::In => Some(Admission::Regular),
            Phase::OutUntil(end) if end <= now => {
                state.phase = Phase::OnTrial;
                Some(Admission::Trial)
            }
            Phase::OutUntil(_) | Phase::OnTrial => None,
        }
    }

    /// Takes in how a request ended. `may_eject` is asked before a further endpoint is left out. Says
    /// whether this one was.
    pub(super) fn settle(
        &self,
        admission: Admission,
        outcome: Outcome,
        spec: &EjectionSpec,
        now: Instant,
        may_eject: impl FnOnce() -> bool,
    ) -> bool {
        let is_trial = admission == Admission::Trial;
        match outcome {
            Outcome::Served => self.recover(is_trial),
            // It answered, which is what a trial asks; but being full is not doing well.
            Outcome::Overloaded if is_trial => self.recover(true),
            // The client's leaving says nothing: the next request may try.
            Outcome::Cancelled if is_trial => self.state.lock().phase = Phase::OutUntil(now),
            Outcome::Overloaded | Outcome::Cancelled => {}
            Outcome::Failed => return self.fail(is_trial, spec, now, may_eject),
        }
        false
    }

    /// When the endpoint will be tried again, if it is out: at once where that is past.
    pub(super) fn out_until(&self, now: Instant) -> Option<Instant> {
        match self.state.lock().phase {
            Phase::In => None,
            Phase::OutUntil(end) => Some(end),
            Phase::OnTrial => Some(now),
        }
    }

    pub(super) fn is_out(&self) -> bool {
        self.is_out.load(Acquire)
    }

    fn recover(&self, is_trial: bool) {
        let mut state = self.state.lock();
        state.failures_in_a_row = 0;
        // What was sent before the ejection and only now succeeds does not end it.
        if is_trial || state.phase == Phase::In {
            *state = State::default();
            self.is_out.store(false, Release);
        }
    }

    fn fail(
        &self,
        is_trial: bool,
        spec: &EjectionSpec,
        now: Instant,
        may_eject: impl FnOnce() -> bool,
    ) -> bool {
        let mut state = self.state.lock();
        state.failures_in_a_row = state.failures_in_a_row.saturating_add(1);
        let threshold = spec.consecutive_failures;
        let is_due = state.phase == Phase::In && threshold > 0 && state.failures_in_a_row >= threshold;
        if !(is_trial || is_due && may_eject()) {
            return false;
        }
        state.phase = Phase::OutUntil(now + duration(spec, state.ejections));
        state.ejections = state.ejections.saturating_add(1);
        self.is_out.store(true, Release);
        !is_trial
    }
}

/// Twice as long each time, up to the bound.
fn duration(spec: &EjectionSpec, ejections_before: u32) -> Duration {
    let factor = 2_u32.checked_pow(ejections_before).unwrap_or(u32::MAX);
    spec.base_time.saturating_mul(factor).min(spec.max_time)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPEC: EjectionSpec = EjectionSpec {
        consecutive_failures: 3,
        base_time: Duration::from_secs(5),
        max_time: Duration::from_secs(15),
        max_ejected_percent: 50,
    };

    fn fail(ejection: &Ejection, now: Instant) -> bool {
        let admission = ejection.admit(now).expect("has to be in use to fail");
        ejection.settle(admission, Outcome::Failed, &SPEC, now, || true)
    }

    fn ejected(now: Instant) -> Ejection {
        let ejection = Ejection::default();
        assert_eq!([(); 3].map(|()| fail(&ejection, now)), [false, false, true]);
        ejection
    }

    #[test]
    fn failures_in_a_row_eject_and_a_success_between_them_does_not_count() {
        let now = Instant::now();
        let ejection = Ejection::default();
        fail(&ejection, now);
        fail(&ejection, now);
        ejection.settle(Admission::Regular, Outcome::Served, &SPEC, now, || true);
        fail(&ejection, now);
        assert!(!fail(&ejection, now));
        assert!(fail(&ejection, now));
        assert_eq!(ejection.admit(now), None);
    }

    #[test]
    fn one_request_at_a_time_is_on_trial_and_its_success_brings_the_endpoint_back() {
        let now = Instant::now();
        let ejection = ejected(now);
        let later = now + SPEC.base_time;
        assert_eq!(ejection.admit(later - Duration::from_millis(1)), None);
        assert_eq!(ejection.admit(later), Some(Admission::Trial));
        assert_eq!(ejection.admit(later), None, "one is enough");
        ejection.settle(Admission::Trial, Outcome::Served, &SPEC, later, || true);
        assert_eq!(ejection.admit(later), Some(Admission::Regular));
        assert!(!ejection.is_out());
    }

    #[test]
    fn each_failed_trial_doubles_the_time_up_to_the_bound() {
        let mut now = Instant::now();
        let ejection = ejected(now);
        for expected_secs in [5, 10, 15, 15] {
            let end = ejection.out_until(now).unwrap();
            assert_eq!(end - now, Duration::from_secs(expected_secs));
            now = end;
            assert!(!fail(&ejection, now), "not news");
        }
    }

    #[test]
    fn a_trial_that_the_client_leaves_can_be_tried_again_at_once() {
        let now = Instant::now();
        let ejection = ejected(now);
        let later = now + SPEC.base_time;
        assert_eq!(ejection.admit(later), Some(Admission::Trial));
        ejection.settle(Admission::Trial, Outcome::Cancelled, &SPEC, later, || true);
        assert_eq!(ejection.admit(later), Some(Admission::Trial));
    }

    #[test]
    fn an_old_request_that_ends_during_an_ejection_changes_nothing() {
        let now = Instant::now();
        let ejection = ejected(now);
        let end = ejection.out_until(now);
        ejection.settle(Admission::Regular, Outcome::Served, &SPEC, now, || true);
        ejection.settle(Admission::Regular, Outcome::Failed, &SPEC, now, || true);
        assert_eq!(ejection.out_until(now), end);
    }

    #[test]
    fn being_full_is_neither_good_nor_bad() {
        let now = Instant::now();
        let ejection = Ejection::default();
        fail(&ejection, now);
        fail(&ejection, now);
        ejection.settle(Admission::Regular, Outcome::Overloaded, &SPEC, now, || true);
        assert!(fail(&ejection, now));
    }

    #[test]
    fn the_last_ones_are_never_ejected_and_zero_turns_it_off() {
        let now = Instant::now();
        let ejection = Ejection::default();
        for _ in 0..10 {
            assert!(!ejection.settle(Admission::Regular, Outcome::Failed, &SPEC, now, || false));
        }
        let off = EjectionSpec { consecutive_failures: 0, ..SPEC };
        for _ in 0..10 {
            assert!(!ejection.settle(Admission::Regular, Outcome::Failed, &off, now, || true));
        }
        assert_eq!(ejection.admit(now), Some(Admission::Regular));
    }
}
