//! Workloads: what is asked when, and what happens to the pool meanwhile.
//!
//! | workload | what it is |
//! |---|---|
//! | `mooncake` | Mooncake's conversation trace: long prompts, a third of them seen before |
//! | `azure-code` | Azure's code trace: no two prompts share anything |
//! | `shared-prefix` | llm-d's benchmark: 150 groups with 6,000 tokens in common, 5 users each, from 3 to 60 requests a second |
//! | `chat` | conversations that grow turn by turn behind four system prompts |
//! | `burst` | the same that come all at once after silence |
//! | `slow-server` | `chat` where one server takes three times as long |
//! | `join-leave` | `chat` where one server leaves and, later, another joins empty |
//! | `gateways-3`, `gateways-10` | `chat` through so many gateways, which do not talk to each other |
//!
//! Rates are for eight servers. More servers get as many independent copies of the workload as they are times eight,
//! interleaved; fewer get it slower.

mod synthetic;
mod trace;

use std::path::PathBuf;

pub(crate) use self::trace::TraceError;
use super::request::{Request, Segment, mix};

/// Servers that the rates are for.
const SERVERS: usize = 8;
/// Requests that follow each other this closely in a repetition.
const REPEAT_GAP_NS: u64 = 1_000_000_000;

/// All workloads, in the order of the table.
pub(super) const NAMES: [&str; 9] = [
    "mooncake",
    "azure-code",
    "shared-prefix",
    "chat",
    "burst",
    "slow-server",
    "join-leave",
    "gateways-3",
    "gateways-10",
];

/// A workload.
#[derive(Debug, Clone)]
pub(crate) struct Workload {
    pub(crate) name: String,
    base: Vec<Request>,
    /// Copies that run at the same time.
    copies: usize,
    /// Repetitions one after the other, and where the last one ends.
    requests: usize,
    servers: usize,
    /// Names of the parts of it.
    pub(crate) phases: Vec<String>,
    /// Times as long as others that the first server takes.
    slowdown: f64,
    is_joined_and_left: bool,
    /// Gateways that it asks for.
    pub(crate) gateways: u32,
}

/// A change of the pool.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PoolChange {
    pub(crate) at_ns: u64,
    /// Servers that there are from then on.
    pub(crate) members: Vec<usize>,
}

/// How large a workload is, and where its traces are.
#[derive(Debug, Clone)]
pub(crate) struct WorkloadConfig {
    pub(crate) servers: usize,
    /// Times as fast as it was.
    pub(crate) speed: f64,
    /// Requests; none is as many as it has.
    pub(crate) requests: Option<usize>,
    /// Mooncake's trace, where there is one.
    pub(crate) mooncake: Option<PathBuf>,
    /// Azure's trace, where there is one.
    pub(crate) azure: Option<PathBuf>,
    pub(crate) seed: u64,
}

/// A workload that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum WorkloadError {
    /// There is none of that name.
    #[error("no workload is called {0}; there are {known}", known = NAMES.join(", "))]
    Unknown(String),
    /// Its trace was not named. A made-up one in its place was turned down: its figures would pass for the trace's.
    #[error("{workload} replays a trace: name its file with --{flag} FILE; it is published as {public}")]
    NoTrace {
        /// The workload.
        workload: &'static str,
        /// The flag that names the file.
        flag: &'static str,
        /// Where the file is published.
        public: &'static str,
    },
    /// Its trace cannot be read.
    #[error(transparent)]
    Trace(#[from] TraceError),
}

impl Workload {
    /// The workload of that name.
    pub(crate) fn named(name: &str, config: &WorkloadConfig) -> Result<Self, WorkloadError> {
        let no_trace = |workload, flag, public| WorkloadError::NoTrace { workload, flag, public };
        let mut phases = Vec::new();
        let base = match name {
            "mooncake" => {
                let missing = no_trace("mooncake", "mooncake", trace::MOONCAKE);
                trace::mooncake(config.mooncake.as_deref().ok_or(missing)?)?
            }
            "azure-code" => {
                let missing = no_trace("azure-code", "azure", trace::AZURE);
                trace::azure(config.azure.as_deref().ok_or(missing)?)?
            }
            "shared-prefix" => {
                phases = synthetic::STAGES.map(|rate| format!("{rate}/s")).to_vec();
                synthetic::shared_prefix(config.seed)
            }
            "burst" => synthetic::bursts(config.seed),
            "chat" | "slow-server" | "join-leave" | "gateways-3" | "gateways-10" => {
                synthetic::chat(config.seed)
            }
            _ => return Err(WorkloadError::Unknown(name.to_owned())),
        };
        let copies = (config.servers / SERVERS).max(1);
        let speed = config.speed * config.servers as f64 / (copies * SERVERS) as f64;
        let mut workload = Self {
            name: name.to_owned(),
            requests: config.requests.unwrap_or(base.len() * copies),
            base,
            copies,
            servers: config.servers,
            phases,
            slowdown: if name == "slow-server" { 3.0 } else { 1.0 },
            is_joined_and_left: name == "join-leave",
            gateways: name.strip_prefix("gateways-").and_then(|count| count.parse().ok()).unwrap_or(1),
        };
        for request in &mut workload.base {
            request.at_ns = (request.at_ns as f64 / speed) as u64;
        }
        Ok(workload)
    }

    /// Servers that there are at one time or another.
    pub(crate) fn servers(&self) -> usize {
        self.servers + usize::from(self.is_joined_and_left)
    }

    /// Servers that there are at first.
    pub(crate) fn members(&self) -> Vec<usize> {
        (0..self.servers).collect()
    }

    /// Times as long as others that a server takes.
    pub(crate) fn slowdown(&self, server: usize) -> f64 {
        if server == 0 { self.slowdown } else { 1.0 }
    }

    /// What happens to the pool.
    pub(crate) fn changes(&self) -> Vec<PoolChange> {
        if !self.is_joined_and_left || self.servers < 2 {
            return Vec::new();
        }
        let span = self.base.last().map_or(0, |last| last.at_ns);
        let left = (1..self.servers).collect();
        let joined = (1..=self.servers).collect();
        vec![
            PoolChange { at_ns: span / 3, members: left },
            PoolChange { at_ns: span / 3 * 2, members: joined },
        ]
    }

    /// The requests, in order of time.
    pub(crate) fn requests(&self) -> impl Iterator<Item = Request> + '_ {
        let span = self.base.last().map_or(0, |last| last.at_ns) + REPEAT_GAP_NS;
        let rounds = (0_u64..).flat_map(move |round| {
            (0..self.base.len()).flat_map(move |place| {
                let request = &self.base[place];
                let next_ns = self.base.get(place + 1).map_or(request.at_ns, |next| next.at_ns);
                let gap = (next_ns - request.at_ns) / self.copies as u64;
                (0..self.copies as u64).map(move |copy| {
                    request.copied(round * self.copies as u64 + copy, round * span + gap * copy)
                })
            })
        });
        let count = if self.base.is_empty() { 0 } else { self.requests };
        rounds.take(count)
    }
}

impl Request {
    /// Copy number `copy` of it, which shares nothing with others, `later_ns` later.
    fn copied(&self, copy: u64, later_ns: u64) -> Self {
        // Not `mix(copy)`: seeds are made so from numbers, and their sums would meet.
        let salt = if copy == 0 { 0 } else { mix(!copy) };
        let prompt =
            self.prompt.iter().map(|one| Segment { seed: one.seed.wrapping_add(salt), ..*one }).collect();
        Self { at_ns: self.at_ns + later_ns, prompt, ..self.clone() }
    }
}

#[cfg(test)]
pub(crate) mod stand_in;
#[cfg(test)]
mod tests;
