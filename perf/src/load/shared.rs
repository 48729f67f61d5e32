//! State that the threads of a run share: the phase, the next number, and counters for the progress line.

use std::{
    sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use tokio::{sync::watch, time::Instant};

use super::plan::Plan;

/// Where a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// What is sent is not measured.
    Warmup,
    /// What is sent is measured.
    Measuring,
    /// Nothing new is sent.
    Draining,
    /// What is in flight is cut off.
    Cutting,
}

/// Shared by the threads of a run.
pub(super) struct Shared {
    pub(super) plan: Plan,
    /// When the run began; the times of an open loop count from here.
    pub(super) began: Instant,
    phase: AtomicU8,
    phases: watch::Sender<Phase>,
    next: AtomicU64,
    measured: AtomicU64,
    pub(super) counters: Counters,
}

/// Counters since the start of the run, and those of the measured window.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) completed: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) tokens: AtomicU64,
    pub(super) in_flight: AtomicU64,
    pub(super) peak_in_flight: AtomicU64,
    pub(super) window_completed: AtomicU64,
    pub(super) window_tokens: AtomicU64,
}

impl Shared {
    pub(super) fn new(plan: Plan) -> Self {
        /// Threads are up by then.
        const HEAD_START: Duration = Duration::from_millis(50);
        let phase = if plan.warmup.is_zero() { Phase::Measuring } else { Phase::Warmup };
        Self {
            plan,
            began: Instant::now() + HEAD_START,
            phase: AtomicU8::new(phase as u8),
            phases: watch::Sender::new(phase),
            next: AtomicU64::new(0),
            measured: AtomicU64::new(0),
            counters: Counters::default(),
        }
    }

    pub(super) fn phase(&self) -> Phase {
        match self.phase.load(Relaxed) {
            0 => Phase::Warmup,
            1 => Phase::Measuring,
            2 => Phase::Draining,
            _ => Phase::Cutting,
        }
    }

    pub(super) fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Relaxed);
        self.phases.send_replace(phase);
    }

    /// When what is sent is measured from.
    pub(super) fn window_start(&self) -> Instant {
        self.began + self.plan.warmup
    }

    /// When nothing new is sent any more, if time bounds the run.
    pub(super) fn window_end(&self) -> Option<Instant> {
        Some(self.window_start() + self.plan.duration?)
    }

    /// The number of the next arrival.
    pub(super) fn take_number(&self) -> u64 {
        self.next.fetch_add(1, Relaxed)
    }

    /// Whether one more may be measured.
    pub(super) fn may_measure(&self) -> bool {
        self.plan.requests.is_none_or(|requests| self.measured.fetch_add(1, Relaxed) < requests)
    }

    /// Returns when what is in flight is to be cut off.
    pub(super) async fn cut(&self) {
        let mut phases = self.phases.subscribe();
        // The sender lives as long as this does.
        let _ = phases.wait_for(|phase| *phase == Phase::Cutting).await;
    }
}

impl Counters {
    pub(super) fn begin(&self) {
        let in_flight = self.in_flight.fetch_add(1, Relaxed) + 1;
        self.peak_in_flight.fetch_max(in_flight, Relaxed);
    }

    pub(super) fn tokens(&self, count: u64, phase: Phase) {
        if count > 0 {
            self.tokens.fetch_add(count, Relaxed);
            if phase == Phase::Measuring {
                self.window_tokens.fetch_add(count, Relaxed);
            }
        }
    }

    pub(super) fn end(&self, is_right: bool, phase: Phase) {
        self.in_flight.fetch_sub(1, Relaxed);
        if !is_right {
            self.failed.fetch_add(1, Relaxed);
            return;
        }
        self.completed.fetch_add(1, Relaxed);
        if phase == Phase::Measuring {
            self.window_completed.fetch_add(1, Relaxed);
        }
    }
}
