//! The shared batch: each step decodes every sequence by a token and spends what is left of its budget on
//! prefills, in order of arrival. Prompts longer than the budget are prefilled over several steps, between which
//! the others go on decoding (chunked prefill).

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use super::Engine;
use crate::options::CostModel;

/// The sequences that step together.
#[derive(Debug, Default)]
pub(super) struct Batch {
    members: Vec<Member>,
    is_stepping: bool,
}

#[derive(Debug)]
struct Member {
    unfilled: usize,
    context: usize,
    wanted: usize,
    /// Tokens that the step under way computes for it.
    scheduled: usize,
    progress: Arc<Progress>,
}

/// How far a sequence has come.
#[derive(Debug, Default)]
pub(super) struct Progress {
    tokens: AtomicUsize,
    grown: Notify,
}

impl Progress {
    /// Waits until `tokens` were generated.
    pub(super) async fn reach(&self, tokens: usize) {
        // One waiter, and a permit is kept where it does not wait yet: no wake-up is missed.
        while self.tokens.load(Ordering::Acquire) < tokens {
            self.grown.notified().await;
        }
    }
}

impl Batch {
    /// Adds a sequence, `uncached` tokens of whose prompt are to be computed.
    pub(super) fn join(&mut self, uncached: usize, prompt: usize, wanted: usize) -> Arc<Progress> {
        let progress = Arc::new(Progress::default());
        self.members.push(Member {
            unfilled: uncached.max(1),
            context: prompt,
            wanted,
            scheduled: 0,
            progress: progress.clone(),
        });
        progress
    }

    /// Whether stepping has to be started; says so once.
    pub(super) fn wakes(&mut self) -> bool {
        !std::mem::replace(&mut self.is_stepping, true)
    }

    /// Removes a sequence, finished or not.
    pub(super) fn leave(&mut self, progress: &Arc<Progress>) {
        self.members.retain(|member| !Arc::ptr_eq(&member.progress, progress));
    }

    /// Schedules the next step and tells how long it takes; none when nothing is left to do.
    fn plan(&mut self, cost: &CostModel) -> Option<Duration> {
        if self.members.is_empty() {
            self.is_stepping = false;
            return None;
        }
        let decoding = self.members.iter().filter(|member| member.unfilled == 0);
        let (sequences, context) =
            decoding.fold((0, 0), |(count, context), member| (count + 1, context + member.context));
        let mut budget = cost.max_batched_tokens.saturating_sub(sequences).max(1);
        let mut prefilled = 0;
        for member in &mut self.members {
            member.scheduled = if member.unfilled == 0 { 1 } else { member.unfilled.min(budget) };
            if member.unfilled > 0 {
                budget -= member.scheduled;
                prefilled += member.scheduled;
            }
        }
        Some(
            cost.step
                + cost.prefill_token * prefilled as u32
                + cost.sequence * sequences as u32
                + cost.context_token * context as u32,
        )
    }

    /// Books the step that [`Batch::plan`] scheduled.
    fn complete(&mut self) {
        for member in &mut self.members {
            let scheduled = std::mem::take(&mut member.scheduled);
            if member.unfilled > 0 {
                member.unfilled -= scheduled;
                if member.unfilled > 0 {
                    continue;
                }
            } else if scheduled == 0 {
                continue;
            }
            member.context += 1;
            member.progress.tokens.fetch_add(1, Ordering::Release);
            member.progress.grown.notify_one();
        }
        self.members.retain(|member| member.progress.tokens.load(Ordering::Relaxed) < member.wanted);
    }
}

/// Steps until nothing is left to do.
pub(super) async fn run(engine: Weak<Engine>) {
    let mut due = Instant::now();
    loop {
        let Some(engine) = engine.upgrade() else { return };
        let Some(cost) = engine.pace.cost() else { return };
        let Some(step) = engine.state.lock().batch.plan(cost) else { return };
        due += step;
        tokio::time::sleep_until(due).await;
        engine.state.lock().batch.complete();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COST: CostModel = CostModel {
        step: Duration::from_micros(1000),
        prefill_token: Duration::from_micros(10),
        sequence: Duration::from_micros(5),
        context_token: Duration::from_micros(1),
        max_batched_tokens: 100,
    };

    fn step(batch: &mut Batch) -> Option<u128> {
        let time = batch.plan(&COST)?.as_micros();
        batch.complete();
        Some(time)
    }

    #[test]
    fn a_long_prompt_is_prefilled_in_pieces_while_others_decode() {
        let mut batch = Batch::default();
        let short = batch.join(20, 20, 5);
        assert_eq!(step(&mut batch), Some(1000 + 200));
        let long = batch.join(150, 150, 2);
        // 1 decoding sequence with a context of 21, and 99 tokens of the long prompt.
        assert_eq!(step(&mut batch), Some(1000 + 990 + 5 + 21));
        assert_eq!(long.tokens.load(Ordering::Relaxed), 0);
        assert_eq!(step(&mut batch), Some(1000 + 510 + 5 + 22));
        assert_eq!(long.tokens.load(Ordering::Relaxed), 1);
        assert_eq!(short.tokens.load(Ordering::Relaxed), 3);
        assert_eq!(step(&mut batch), Some(1000 + 10 + 23 + 151));
        // The long one had all it wanted, and left.
        assert_eq!(step(&mut batch), Some(1000 + 5 + 24));
        assert_eq!(step(&mut batch), None);
    }

    #[test]
    fn a_sequence_that_leaves_is_not_computed() {
        let mut batch = Batch::default();
        let one = batch.join(10, 10, 50);
        let _other = batch.join(10, 10, 50);
        step(&mut batch);
        batch.leave(&one);
        assert_eq!(step(&mut batch), Some(1000 + 5 + 11));
    }

    #[test]
    fn stepping_starts_once() {
        let mut batch = Batch::default();
        let one = batch.join(1, 1, 1);
        assert!(batch.wakes());
        assert!(!batch.wakes());
        batch.leave(&one);
        assert_eq!(step(&mut batch), None);
        assert!(batch.wakes());
    }
}
