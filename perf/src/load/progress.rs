//! The line that shows a run's progress.

use std::{
    cell::Cell,
    io::{IsTerminal, stderr},
    sync::atomic::Ordering::Relaxed,
};

use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::Instant;

use super::{
    plan::Plan,
    shared::{Phase, Shared},
};

/// A line that changes, on a terminal; nothing elsewhere.
pub(super) struct ProgressLine {
    bar: ProgressBar,
    last: Cell<(Option<Instant>, u64, u64)>,
}

impl ProgressLine {
    pub(super) fn new(plan: &Plan) -> Self {
        let bar = if plan.is_quiet || !stderr().is_terminal() {
            ProgressBar::hidden()
        } else {
            match (plan.requests, plan.duration) {
                (Some(requests), _) => ProgressBar::new(requests),
                (None, Some(duration)) => {
                    ProgressBar::new((plan.warmup + duration).as_millis().try_into().unwrap_or(u64::MAX))
                }
                (None, None) => ProgressBar::new_spinner(),
            }
        };
        if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed:>4} [{bar:24}] {msg}") {
            bar.set_style(style.progress_chars("=> "));
        }
        Self { bar, last: Cell::default() }
    }

    pub(super) fn show(&self, shared: &Shared) {
        if self.bar.is_hidden() {
            return;
        }
        let now = Instant::now();
        let counters = &shared.counters;
        let completed = counters.completed.load(Relaxed);
        let tokens = counters.tokens.load(Relaxed);
        let (last, completed_then, tokens_then) = self.last.get();
        let seconds = last.map_or(0.0, |last| (now - last).as_secs_f64());
        if last.is_some() && seconds < 0.25 {
            return;
        }
        let rate = |now: u64, then: u64| if seconds > 0.0 { (now - then) as f64 / seconds } else { 0.0 };
        self.last.set((Some(now), completed, tokens));
        let phase = match shared.phase() {
            Phase::Warmup => "warm-up: ",
            Phase::Measuring => "",
            Phase::Draining | Phase::Cutting => "waiting for the last answers: ",
        };
        let position = match shared.plan.requests {
            Some(_) => completed + counters.failed.load(Relaxed),
            None => now.saturating_duration_since(shared.began).as_millis().try_into().unwrap_or(u64::MAX),
        };
        self.bar.set_position(position.min(self.bar.length().unwrap_or(u64::MAX)));
        self.bar.set_message(format!(
            "{phase}{:.0} req/s, {:.0} tok/s, {} in flight, {completed} answered, {} failed",
            rate(completed, completed_then),
            rate(tokens, tokens_then),
            counters.in_flight.load(Relaxed),
            counters.failed.load(Relaxed),
        ));
    }

    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
