//! Workloads that are made up, each from a seed.

use crate::simulate::request::{BLOCK_TOKENS, Random, Request, Segment, mix};

/// Requests a second of the stages of the shared-prefix workload.
pub(super) const STAGES: [u32; 8] = [3, 10, 20, 30, 40, 50, 55, 60];
/// How long each of them lasts.
const STAGE_SECONDS: f64 = 45.0;
/// Groups of users, users of a group, tokens that a group has in common, tokens of a user's own, and of an answer.
const GROUPS: usize = 150;
const USERS: usize = 5;
const GROUP_TOKENS: u32 = 6000;
const USER_TOKENS: u32 = 1200;
const ANSWER_TOKENS: u32 = 150;

/// What a kind of conversation is like. Lengths are means, in tokens.
struct Conversations {
    /// New conversations a second.
    rate: f64,
    seconds: f64,
    /// System prompts, one of which each conversation begins with, and their length.
    systems: usize,
    system_tokens: u32,
    opening: f64,
    question: f64,
    answer: f64,
    /// Chance that a turn is followed by another.
    follow_up_chance: f64,
    /// Pause before the next turn.
    think_seconds: f64,
}

/// llm-d's benchmark of 2025-09-24: every user asks the same again and again, in random order, ever faster. How long
/// answers are is not told; 150 tokens make the 9,000 tokens/s at 60 requests/s that it came to.
pub(super) fn shared_prefix(seed: u64) -> Vec<Request> {
    let mut random = Random::new(seed);
    let mut requests = Vec::new();
    let mut order: Vec<usize> = Vec::new();
    for (phase, rate) in STAGES.iter().enumerate() {
        let start = phase as f64 * STAGE_SECONDS * 1e9;
        let mut at = start + random.pause_ns(f64::from(*rate));
        while at < start + STAGE_SECONDS * 1e9 {
            if order.is_empty() {
                order = shuffled(GROUPS * USERS, &mut random);
            }
            let user = order.pop().unwrap_or(0);
            let group = Segment { seed: mix((user / USERS) as u64), blocks: GROUP_TOKENS / BLOCK_TOKENS };
            let own = mix(user as u64 ^ 0xffff_0000);
            let prompt_tokens = GROUP_TOKENS + USER_TOKENS;
            let rest = prompt_tokens / BLOCK_TOKENS - group.blocks;
            requests.push(Request {
                at_ns: at as u64,
                prompt: vec![group, Segment { seed: own, blocks: rest }],
                prompt_tokens,
                output_tokens: ANSWER_TOKENS,
                phase,
            });
            at += random.pause_ns(f64::from(*rate));
        }
    }
    requests
}

/// Conversations as of people with an assistant.
pub(super) fn chat(seed: u64) -> Vec<Request> {
    let conversations = Conversations {
        rate: 3.0,
        seconds: 600.0,
        systems: 4,
        system_tokens: 1536,
        opening: 1200.0,
        question: 350.0,
        answer: 300.0,
        follow_up_chance: 0.8,
        think_seconds: 20.0,
    };
    conversations.requests(seed)
}

/// Silence, then two hundred requests within a tenth of a second, ten times over.
pub(super) fn bursts(seed: u64) -> Vec<Request> {
    let mut random = Random::new(seed);
    let mut requests = Vec::new();
    for burst in 0..10_u64 {
        let mut times: Vec<u64> =
            (0..200).map(|_| burst * 60_000_000_000 + (random.unit() * 1e8) as u64).collect();
        times.sort_unstable();
        for at_ns in times {
            let system = Segment { seed: mix(random.below(4) as u64), blocks: 24 };
            let prompt_tokens = 1536 + random.length(1200.0);
            let blocks = (prompt_tokens / BLOCK_TOKENS).saturating_sub(system.blocks);
            requests.push(Request {
                at_ns,
                prompt: vec![system, Segment { seed: random.bits(), blocks }],
                prompt_tokens,
                output_tokens: random.length(300.0),
                phase: 0,
            });
        }
    }
    requests
}

impl Conversations {
    fn requests(&self, seed: u64) -> Vec<Request> {
        let mut random = Random::new(seed);
        let mut requests = Vec::new();
        let mut begins = random.pause_ns(self.rate);
        while begins < self.seconds * 1e9 {
            self.push_conversation(begins, &mut random, &mut requests);
            begins += random.pause_ns(self.rate);
        }
        requests.retain(|request| request.at_ns < (self.seconds * 1e9) as u64);
        requests.sort_by_key(|request| request.at_ns);
        requests
    }

    /// One conversation: each turn's prompt is all that was said before and a question.
    fn push_conversation(&self, begins: f64, random: &mut Random, requests: &mut Vec<Request>) {
        let system = random.below(self.systems);
        let mut prompt =
            vec![Segment { seed: mix(system as u64), blocks: self.system_tokens / BLOCK_TOKENS }];
        let mut prompt_tokens = self.system_tokens / BLOCK_TOKENS * BLOCK_TOKENS;
        let mut new_tokens = random.length(self.opening);
        let mut at = begins;
        loop {
            // A turn's blocks begin where the last full block before it ended, with text that is only this
            // conversation's; so does the part of them that it shares with the next turn.
            let before: u32 = prompt.iter().map(|segment| segment.blocks).sum();
            prompt_tokens += new_tokens;
            let blocks = prompt_tokens / BLOCK_TOKENS - before;
            prompt.push(Segment { seed: random.bits(), blocks });
            let output_tokens = random.length(self.answer);
            requests.push(Request {
                at_ns: at as u64,
                prompt: prompt.clone(),
                prompt_tokens,
                output_tokens,
                phase: 0,
            });
            if random.unit() > self.follow_up_chance {
                return;
            }
            new_tokens = output_tokens + random.length(self.question);
            at += random.pause_ns(1.0 / self.think_seconds) + f64::from(output_tokens) * 25e6;
        }
    }
}

fn shuffled(count: usize, random: &mut Random) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    for place in (1..count).rev() {
        order.swap(place, random.below(place + 1));
    }
    order
}
