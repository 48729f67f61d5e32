//! Requests of a run: bodies of a fixed size, shared prefixes, conversations, and replayed traces.
//!
//! The n-th request is a function of the seed and of n alone, so that a run is the same on any number of threads and
//! two gateways are asked the same. A word of the text has four bytes, which is a token for the simulator and about
//! one for the tokenizer of a model.

mod body;
mod models;
mod trace;
mod words;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

pub use self::{
    body::Api,
    models::{Models, ModelsError},
    trace::TraceError,
};
pub(crate) use self::{
    body::BodyFormat,
    trace::{TraceRow, azure, mooncake},
};
use super::answer::ExpectedAnswer;

/// What kind of requests to send.
#[derive(Clone, Debug)]
pub(crate) enum WorkloadKind {
    /// Prompts of one size that share nothing.
    Fixed {
        /// Size of a prompt.
        input_tokens: usize,
        /// Prompts made beforehand, and then used again and again.
        prompts: Arc<[Bytes]>,
    },
    /// Many users of few system prompts, as in llm-d's benchmark.
    SharedPrefix { groups: u64, users: u64, prefix_tokens: usize, user_tokens: usize, question_tokens: usize },
    /// Conversations that grow turn by turn.
    Sessions { turns: usize, system_tokens: usize, turn_tokens: usize, think: Duration },
    /// What others asked, and when.
    Trace { rows: Arc<[TraceRow]>, time_scale: f64 },
}

/// All requests of a run, by number.
#[derive(Clone, Debug)]
pub(crate) struct Workload {
    pub(crate) kind: WorkloadKind,
    pub(crate) format: BodyFormat,
    pub(crate) output_tokens: u64,
    pub(crate) seed: u64,
}

/// One request.
#[derive(Debug)]
pub(crate) struct PreparedRequest {
    pub(crate) path: &'static str,
    /// The body's prompt, often shared with other requests, and what comes behind it.
    pub(crate) body: [Bytes; 2],
    pub(crate) model: Arc<str>,
    pub(crate) expected: ExpectedAnswer,
    pub(crate) input_tokens: u64,
    /// The conversation that this request belongs to.
    pub(crate) session: Option<Box<Session>>,
}

/// A conversation under way.
#[derive(Debug)]
pub(crate) struct Session {
    number: u64,
    turns_left: usize,
    messages: Vec<(&'static str, String)>,
}

impl WorkloadKind {
    /// Prompts of `input_tokens`, as many as fit into a bounded amount of memory.
    pub(crate) fn fixed(format: &BodyFormat, input_tokens: usize, seed: u64) -> Self {
        /// Bytes that all prompts together may have.
        const MAX_BYTES: usize = 16 << 20;
        /// So many that no cache on the way holds them all by accident.
        const MAX_PROMPTS: usize = 64;
        let count = (MAX_BYTES / (input_tokens * words::WORD_BYTES + 1)).clamp(1, MAX_PROMPTS);
        let prompts = (0..count as u64)
            .map(|number| {
                let mut text = String::new();
                words::push(&mut text, mix(seed, number), input_tokens);
                format.prompt(&[("user", text)])
            })
            .collect();
        Self::Fixed { input_tokens, prompts }
    }
}

impl Workload {
    /// The first request of the n-th arrival; none after the end of a trace.
    pub(crate) fn request(&self, number: u64) -> Option<PreparedRequest> {
        let random = mix(self.seed, number);
        let (text, input_tokens, output_tokens) = match &self.kind {
            WorkloadKind::Fixed { input_tokens, prompts } => {
                let prompt = prompts[(random % prompts.len() as u64) as usize].clone();
                (prompt, *input_tokens, self.output_tokens)
            }
            WorkloadKind::SharedPrefix { groups, users, prefix_tokens, user_tokens, question_tokens } => {
                let group = random % groups;
                let user = (random >> 32) % users;
                let mut system = String::new();
                words::push(&mut system, mix(self.seed ^ 1, group), *prefix_tokens);
                let mut question = String::new();
                words::push(&mut question, mix(self.seed ^ 2, group * users + user), *user_tokens);
                words::push(&mut question, mix(self.seed ^ 3, number), *question_tokens);
                let tokens = prefix_tokens + user_tokens + question_tokens;
                (self.format.prompt(&[("system", system), ("user", question)]), tokens, self.output_tokens)
            }
            WorkloadKind::Sessions { turns, system_tokens, .. } => {
                let mut system = String::new();
                words::push(&mut system, mix(self.seed ^ 1, 0), *system_tokens);
                let messages = vec![("system", system)];
                return self.turn(Session { number, turns_left: *turns, messages });
            }
            WorkloadKind::Trace { rows, .. } => {
                let row = rows.get(usize::try_from(number).ok()?)?;
                let text = row.text(mix(self.seed, number));
                (self.format.prompt(&[("user", text)]), row.input_tokens, row.output_tokens)
            }
        };
        Some(self.finish(number, text, input_tokens, output_tokens, None))
    }

    /// When the n-th arrival is due, where the workload decides that.
    pub(crate) fn due(&self, number: u64) -> Option<Duration> {
        match &self.kind {
            WorkloadKind::Trace { rows, time_scale } => {
                let row = rows.get(usize::try_from(number).ok()?)?;
                Some(row.at.div_f64(*time_scale))
            }
            _ => None,
        }
    }

    /// Whether there is no n-th arrival.
    pub(crate) fn is_over(&self, number: u64) -> bool {
        match &self.kind {
            WorkloadKind::Trace { rows, .. } => number >= rows.len() as u64,
            _ => false,
        }
    }

    /// The next turn of a conversation after this answer, and how long the user thinks before it.
    pub(crate) fn follow_up(
        &self,
        mut session: Session,
        answer: String,
    ) -> Option<(Duration, PreparedRequest)> {
        let WorkloadKind::Sessions { think, .. } = &self.kind else { return None };
        session.messages.push(("assistant", answer));
        Some((*think, self.turn(session)?))
    }

    fn turn(&self, mut session: Session) -> Option<PreparedRequest> {
        let WorkloadKind::Sessions { turn_tokens, .. } = &self.kind else { return None };
        session.turns_left = session.turns_left.checked_sub(1)?;
        let number = session.number;
        let mut text = String::new();
        words::push(&mut text, mix(self.seed ^ 2, mix(number, session.turns_left as u64)), *turn_tokens);
        session.messages.push(("user", text));
        let bytes: usize = session.messages.iter().map(|(_, text)| text.len()).sum();
        let prompt = self.format.prompt(&session.messages);
        let tokens = bytes / words::WORD_BYTES;
        Some(self.finish(number, prompt, tokens, self.output_tokens, Some(Box::new(session))))
    }

    fn finish(
        &self,
        number: u64,
        prompt: Bytes,
        input_tokens: usize,
        output_tokens: u64,
        session: Option<Box<Session>>,
    ) -> PreparedRequest {
        let model = self.format.models.pick(mix(self.seed ^ 4, number));
        PreparedRequest {
            path: self.format.api.path(),
            body: [prompt, self.format.tail(&model, output_tokens)],
            model,
            expected: ExpectedAnswer {
                is_stream: self.format.is_stream,
                tokens: self.format.fixes_length.then_some(output_tokens),
            },
            input_tokens: input_tokens as u64,
            session,
        }
    }
}

/// Two numbers to one that looks random (SplitMix64's finalizer).
pub(crate) fn mix(seed: u64, number: u64) -> u64 {
    let mut state = seed.wrapping_mul(0xd134_2543_de82_ef95).wrapping_add(number).wrapping_add(1);
    state = state.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}

#[cfg(test)]
mod tests;
