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
use penstock_config::{EjectionSpec, FailureRuns};
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
    runs: Runs,
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

/// How many of each kind of failures there were in a row.
#[derive(Debug, Default)]
struct Runs {
    server_errors: u32,
    gateway_errors: u32,
    unanswered: u32,
}

/// When endpoints are ejected.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms<'a> {
    pub(super) ejection: &'a EjectionSpec,
    pub(super) runs: Option<&'a FailureRuns>,
}

/// How a request ended, and with which status if it was answered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ended {
    pub(super) outcome: Outcome,
    pub(super) status: Option<u16>,
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
        Ended { outcome, status }: Ended,
        Terms { ejection: spec, runs }: Terms<'_>,
        now: Instant,
        may_eject: impl FnOnce() -> bool,
    ) -> bool {
        let is_trial = admission == Admission::Trial;
        if let Some(runs) = runs
            && outcome != Outcome::Cancelled
            && self.count_runs(outcome, status, runs)
        {
            return self.eject(is_trial, spec, now, may_eject);
        }
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
        let runs = std::mem::take(&mut state.runs);
        // What was sent before the ejection and only now succeeds does not end it.
        if is_trial || state.phase == Phase::In {
            *state = State { runs, ..State::default() };
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
        self.put_out(&mut state, spec, now);
        !is_trial
    }

    /// Ejects an endpoint for a run of failures, or one that failed its trial.
    fn eject(
        &self,
        is_trial: bool,
        spec: &EjectionSpec,
        now: Instant,
        may_eject: impl FnOnce() -> bool,
    ) -> bool {
        let mut state = self.state.lock();
        let is_due = is_trial || state.phase == Phase::In && may_eject();
        if is_due {
            state.runs = Runs::default();
            self.put_out(&mut state, spec, now);
        }
        is_due && !is_trial
    }

    fn put_out(&self, state: &mut State, spec: &EjectionSpec, now: Instant) {
        state.phase = Phase::OutUntil(now + duration(spec, state.ejections));
        state.ejections = state.ejections.saturating_add(1);
        self.is_out.store(true, Release);
    }

    /// Takes in how a request ended that was not given up, and says whether a run is as long as it takes.
    fn count_runs(&self, outcome: Outcome, status: Option<u16>, spec: &FailureRuns) -> bool {
        let error = status.filter(|status| *status >= 500);
        let is_unanswered = outcome == Outcome::Failed && error.is_none();
        let counts = is_unanswered && !spec.is_unanswered_apart;
        let is_gateway_error = counts || matches!(error, Some(502..=504));
        let mut state = self.state.lock();
        let runs = &mut state.runs;
        if !(is_unanswered && spec.is_unanswered_apart) {
            count(&mut runs.server_errors, counts || error.is_some());
            count(&mut runs.gateway_errors, is_gateway_error);
        }
        count(&mut runs.unanswered, is_unanswered);
        let is_long = |run: u32, most: u32| most > 0 && run >= most;
        is_long(runs.server_errors, spec.server_errors)
            || is_long(runs.gateway_errors, spec.gateway_errors)
            || is_long(runs.unanswered, spec.unanswered)
    }
}

/// Makes a run longer, or ends it.
fn count(run: &mut u32, goes_on: bool) {
    *run = if goes_on { run.saturating_add(1) } else { 0 };
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

    const TERMS: Terms<'static> = Terms { ejection: &SPEC, runs: None };

    const fn ended(outcome: Outcome) -> Ended {
        Ended { outcome, status: None }
    }

    fn fail(ejection: &Ejection, now: Instant) -> bool {
        let admission = ejection.admit(now).expect("has to be in use to fail");
        ejection.settle(admission, ended(Outcome::Failed), TERMS, now, || true)
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
        ejection.settle(Admission::Regular, ended(Outcome::Served), TERMS, now, || true);
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
        ejection.settle(Admission::Trial, ended(Outcome::Served), TERMS, later, || true);
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
        ejection.settle(Admission::Trial, ended(Outcome::Cancelled), TERMS, later, || true);
        assert_eq!(ejection.admit(later), Some(Admission::Trial));
    }

    #[test]
    fn an_old_request_that_ends_during_an_ejection_changes_nothing() {
        let now = Instant::now();
        let ejection = ejected(now);
        let end = ejection.out_until(now);
        ejection.settle(Admission::Regular, ended(Outcome::Served), TERMS, now, || true);
        ejection.settle(Admission::Regular, ended(Outcome::Failed), TERMS, now, || true);
        assert_eq!(ejection.out_until(now), end);
    }

    #[test]
    fn being_full_is_neither_good_nor_bad() {
        let now = Instant::now();
        let ejection = Ejection::default();
        fail(&ejection, now);
        fail(&ejection, now);
        ejection.settle(Admission::Regular, ended(Outcome::Overloaded), TERMS, now, || true);
        assert!(fail(&ejection, now));
    }

    #[test]
    fn the_last_ones_are_never_ejected_and_zero_turns_it_off() {
        let now = Instant::now();
        let ejection = Ejection::default();
        for _ in 0..10 {
            assert!(!ejection.settle(Admission::Regular, ended(Outcome::Failed), TERMS, now, || false));
        }
        let off = EjectionSpec { consecutive_failures: 0, ..SPEC };
        let off = Terms { ejection: &off, runs: None };
        for _ in 0..10 {
            assert!(!ejection.settle(Admission::Regular, ended(Outcome::Failed), off, now, || true));
        }
        assert_eq!(ejection.admit(now), Some(Admission::Regular));
    }

    /// Ends requests with these statuses, 0 for no answer, and says after which one the endpoint was ejected.
    fn ejected_after(runs: &FailureRuns, statuses: &[u16]) -> Option<usize> {
        let now = Instant::now();
        let off = EjectionSpec { consecutive_failures: 0, ..SPEC };
        let terms = Terms { ejection: &off, runs: Some(runs) };
        let ejection = Ejection::default();
        statuses.iter().position(|status| {
            let outcome = match status {
                0 | 500 | 502 | 504 => Outcome::Failed,
                503 => Outcome::Overloaded,
                _ => Outcome::Served,
            };
            let ended = Ended { outcome, status: Some(*status).filter(|status| *status > 0) };
            ejection.settle(Admission::Regular, ended, terms, now, || true)
        })
    }

    #[test]
    fn runs_of_failures_eject_by_their_kind() {
        let none = FailureRuns::default();
        let server = FailureRuns { server_errors: 3, ..none.clone() };
        let gateway = FailureRuns { gateway_errors: 2, ..none.clone() };
        let apart =
            FailureRuns { server_errors: 3, unanswered: 2, is_unanswered_apart: true, ..none.clone() };
        assert_eq!(ejected_after(&none, &[500, 503, 0, 502, 500]), None);
        assert_eq!(ejected_after(&server, &[500, 501, 503]), Some(2));
        assert_eq!(ejected_after(&server, &[500, 501, 404, 503, 500, 0]), Some(5), "no answer counts");
        assert_eq!(ejected_after(&gateway, &[500, 502, 500, 503, 504]), Some(4));
        assert_eq!(ejected_after(&apart, &[500, 0, 500, 0, 500]), Some(4), "these do not end the run");
        assert_eq!(ejected_after(&apart, &[0, 0]), Some(1));
        assert_eq!(ejected_after(&apart, &[0, 200, 0]), None);
    }

    #[test]
    fn a_run_begins_anew_after_an_ejection_and_requests_that_were_given_up_leave_it() {
        let now = Instant::now();
        let off = EjectionSpec { consecutive_failures: 0, ..SPEC };
        let runs = FailureRuns { server_errors: 2, ..FailureRuns::default() };
        let terms = Terms { ejection: &off, runs: Some(&runs) };
        let (error, gone) = (
            Ended { outcome: Outcome::Overloaded, status: Some(503) },
            Ended { outcome: Outcome::Cancelled, status: None },
        );
        let ejection = Ejection::default();
        let end = |admission, ended, now| ejection.settle(admission, ended, terms, now, || true);
        assert!(!end(Admission::Regular, error, now));
        assert!(!end(Admission::Regular, gone, now));
        assert!(end(Admission::Regular, error, now));
        let later = now + SPEC.base_time;
        assert_eq!(ejection.admit(later), Some(Admission::Trial));
        end(Admission::Trial, Ended { outcome: Outcome::Served, status: Some(200) }, later);
        assert!(!end(Admission::Regular, error, later), "one of two");
        assert!(end(Admission::Regular, error, later));
    }
}
