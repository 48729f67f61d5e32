//! An endpoint's load: what it last said of itself, corrected by what this gateway has sent and finished since.
//!
//! A sample is old the moment it arrives. Between two samples every request of a burst would see the same idle
//! endpoint and go there. So a sample is split into what this gateway had at the endpoint when the sample was asked
//! for ([`Mark`](crate::Mark)) and the rest, which others caused; later the rest is added to what this gateway has there *now*,
//! which it knows exactly:
//!
//! ```text
//! others  = max(0, waiting + running − in flight at the mark)
//! total   = others + in flight now
//! room    = running                      where the sample had requests waiting
//!         = max(running, most seen running without a queue)        elsewhere
//! running'= min(total, room)
//! waiting'= total − running'
//! kv'     = clamp(kv + (tokens in flight now − at the mark) / tokens that the cache holds)
//! ```
//!
//! With nothing sent or finished since, the sample comes out as it went in. The first requests to a server of unknown
//! capacity count as waiting, which spreads them; once it was seen running twenty without a queue, twenty may share a
//! prefix there without being pushed apart.
//!
//! Adding the *difference* of sent and finished requests to the sample was turned down: it is the same number, but
//! goes below zero when a sample lags behind the requests that it should contain.
//!
//! An endpoint without a sample, or with one so old that it says nothing any more, has its requests in flight for
//! both queue and batch, so that a pool without metrics is balanced by what was sent.

use std::{
    fmt,
    sync::atomic::{
        AtomicU32, AtomicU64,
        Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst},
    },
};

/// The load of a model server as it reports it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LoadSample {
    /// Engines behind the address, each with a queue and a cache of its own.
    pub engines: EngineCount,
    /// Requests that wait for a place in a batch, over all engines.
    pub waiting: u32,
    /// Requests in a batch, likewise.
    pub running: u32,
    /// Share of the KV cache in use, 0 to 1; the mean of several engines. Values out of range are clamped, NaN counts
    /// as 0.
    pub kv_usage: f64,
    /// LoRA adapters, where the server says.
    pub lora: Option<LoraState>,
    /// Tokens in a block of the KV cache.
    pub block_size: Option<u32>,
    /// Blocks of the KV cache, over all engines.
    pub num_gpu_blocks: Option<u64>,
}

/// How many engines serve behind one address (data parallel ranks), at least one.
///
/// Kept as its reciprocal, so that a pick has neither to convert nor to divide.
#[derive(Clone, Copy, PartialEq)]
pub struct EngineCount(f64);

/// The LoRA adapters of a model server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoraState {
    /// Adapters of running requests.
    pub active: Vec<Box<str>>,
    /// Adapters of waiting requests.
    pub waiting: Vec<Box<str>>,
    /// Most adapters that can be active at once; 0 where the server does not say.
    pub max_lora: u32,
}

/// The load of one endpoint. Fields are written one by one: a reader may see half of a new sample for some
/// nanoseconds, which costs less than a lock on every pick would.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct LoadState {
    /// Nanoseconds on the pool's clock when the last sample was asked for; 0 before the first.
    sampled_at: AtomicU64,
    waiting: AtomicU32,
    running: AtomicU32,
    /// Bits of an `f64`.
    kv_usage: AtomicU64,
    /// Tokens that the KV cache holds; 0 where the server does not say.
    kv_tokens: AtomicU64,
    /// Bits of an `f64`: the share of the cache that a token takes, so that no pick has to divide; 0 likewise.
    kv_per_token: AtomicU64,
    in_flight_at_mark: AtomicU32,
    /// Most requests seen running without any waiting.
    most_running: AtomicU32,
    tokens_at_mark: AtomicU64,
    in_flight: AtomicU32,
    /// Engines that the last sample is of.
    engines: AtomicEngineCount,
    tokens_in_flight: AtomicU64,
    /// Prompt tokens to be computed for requests of this gateway whose answer has not begun.
    prefill: AtomicU64,
}

/// An endpoint's load at one moment, as scorers and the saturation detector see it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Load {
    /// Engines that share the requests below, and that thresholds hold for one by one.
    pub(crate) engines: EngineCount,
    /// Requests waiting, corrected.
    pub(crate) waiting: u32,
    /// Requests running, corrected.
    pub(crate) running: u32,
    /// Share of the KV cache in use, corrected; `None` where it is unknown.
    pub(crate) kv_usage: Option<f64>,
    /// Requests of this gateway.
    pub(crate) in_flight: u32,
    /// Estimated tokens of this gateway's requests.
    pub(crate) tokens: u64,
    /// Prompt tokens to be computed for requests of this gateway whose answer has not begun.
    pub(crate) prefill: u64,
    /// Requests of others, and how many of them wait.
    pub(crate) others: u32,
    pub(crate) others_waiting: u32,
    /// What the server reported, uncorrected, where `kv_usage` is known.
    pub(crate) reported: ReportedLoad,
}

/// The load that a server last reported.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct ReportedLoad {
    /// Requests waiting.
    pub(crate) waiting: u32,
    /// Share of the KV cache in use.
    pub(crate) kv_usage: f64,
}

/// The last sample, uncorrected.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct RawSample {
    pub(crate) engines: EngineCount,
    pub(crate) waiting: u32,
    pub(crate) running: u32,
    pub(crate) kv_usage: f64,
    /// Nanoseconds on the pool's clock.
    pub(crate) at_ns: u64,
}

impl EngineCount {
    /// So many; none counts as one.
    pub fn new(engines: u32) -> Self {
        Self(1.0 / f64::from(engines.max(1)))
    }

    /// How many.
    pub fn get(self) -> u32 {
        // Exact: a reciprocal has 52 bits, a count 32.
        (1.0 / self.0).round() as u32
    }

    /// What holds for all of them, for one.
    pub(crate) fn share(self, of_all: f64) -> f64 {
        of_all * self.0
    }
}

impl Default for EngineCount {
    fn default() -> Self {
        Self(1.0)
    }
}

impl fmt::Debug for EngineCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("EngineCount").field(&self.get()).finish()
    }
}

/// An [`EngineCount`] that a scrape replaces.
#[derive(Debug)]
struct AtomicEngineCount(AtomicU64);

impl AtomicEngineCount {
    fn load(&self) -> EngineCount {
        EngineCount(f64::from_bits(self.0.load(Relaxed)))
    }

    fn store(&self, engines: EngineCount) {
        self.0.store(engines.0.to_bits(), Relaxed);
    }
}

impl Default for AtomicEngineCount {
    fn default() -> Self {
        Self(AtomicU64::new(EngineCount::default().0.to_bits()))
    }
}

impl LoadState {
    /// Requests of this gateway that are here now.
    pub(crate) fn in_flight(&self) -> u32 {
        // As strong as counting in: a scrape that is about to pause must see a request that just came.
        self.in_flight.load(SeqCst)
    }

    /// Estimated tokens of this gateway's requests.
    pub(crate) fn tokens_in_flight(&self) -> u64 {
        self.tokens_in_flight.load(Relaxed)
    }

    /// Tokens that the KV cache holds, where the server says.
    pub(crate) fn kv_tokens(&self) -> Option<u64> {
        Some(self.kv_tokens.load(Relaxed)).filter(|tokens| *tokens > 0)
    }

    /// Counts a request in.
    pub(crate) fn enter(&self, tokens: u64) {
        self.in_flight.fetch_add(1, SeqCst);
        self.tokens_in_flight.fetch_add(tokens, Relaxed);
    }

    /// Counts prompt tokens in that are to be computed. Returns how many are with them.
    pub(crate) fn begin_prefill(&self, tokens: u64) -> u64 {
        self.prefill.fetch_add(tokens, Relaxed) + tokens
    }

    /// Counts prompt tokens out: they are computed, or never will be.
    pub(crate) fn end_prefill(&self, tokens: u64) {
        self.prefill.fetch_sub(tokens, Relaxed);
    }

    /// Counts a request out.
    pub(crate) fn leave(&self, tokens: u64) {
        self.in_flight.fetch_sub(1, AcqRel);
        self.tokens_in_flight.fetch_sub(tokens, Relaxed);
    }

    /// Takes a sample in that was asked for at `at_ns`, when this gateway had `in_flight` requests of `tokens` here.
    pub(crate) fn store(&self, sample: &LoadSample, at_ns: u64, in_flight: u32, tokens: u64) {
        let kv_usage = if sample.kv_usage.is_finite() { sample.kv_usage.clamp(0.0, 1.0) } else { 0.0 };
        if sample.waiting > 0 {
            self.most_running.store(sample.running, Relaxed);
        } else {
            self.most_running.fetch_max(sample.running, Relaxed);
        }
        if let (Some(size), Some(blocks)) = (sample.block_size, sample.num_gpu_blocks) {
            let tokens = u64::from(size).saturating_mul(blocks);
            self.kv_tokens.store(tokens, Relaxed);
            let share = if tokens == 0 { 0.0 } else { 1.0 / tokens as f64 };
            self.kv_per_token.store(share.to_bits(), Relaxed);
        }
        self.engines.store(sample.engines);
        self.waiting.store(sample.waiting, Relaxed);
        self.running.store(sample.running, Relaxed);
        self.kv_usage.store(kv_usage.to_bits(), Relaxed);
        self.in_flight_at_mark.store(in_flight, Relaxed);
        self.tokens_at_mark.store(tokens, Relaxed);
        self.sampled_at.store(at_ns.max(1), Release);
    }

    /// The last sample, however old.
    pub(crate) fn sample(&self) -> Option<RawSample> {
        let at_ns = self.sampled_at.load(Acquire);
        (at_ns > 0).then(|| RawSample {
            engines: self.engines(),
            waiting: self.waiting.load(Relaxed),
            running: self.running.load(Relaxed),
            kv_usage: f64::from_bits(self.kv_usage.load(Relaxed)),
            at_ns,
        })
    }

    /// The corrected load in the form of a sample taken now: what a partial report is laid over. Without a sample
    /// that still counts, all that runs here is ours, so that nothing stays behind when it has finished.
    pub(crate) fn estimate(&self, now_ns: u64, expiry_ns: u64) -> LoadSample {
        let load = self.corrected(now_ns, expiry_ns);
        let (waiting, running, kv_usage) = match load.kv_usage {
            Some(kv_usage) => (load.waiting, load.running, kv_usage),
            None => (0, load.in_flight, 0.0),
        };
        LoadSample { engines: load.engines, waiting, running, kv_usage, ..LoadSample::default() }
    }

    /// Engines behind the address, by the last sample, however old: they seldom change while it is the same endpoint.
    fn engines(&self) -> EngineCount {
        self.engines.load()
    }

    /// The corrected load. A sample older than `expiry_ns` counts as none.
    pub(crate) fn corrected(&self, now_ns: u64, expiry_ns: u64) -> Load {
        let in_flight = self.in_flight();
        let tokens = self.tokens_in_flight();
        let prefill = self.prefill.load(Relaxed);
        let Some(sample) = self.sample().filter(|sample| now_ns.saturating_sub(sample.at_ns) <= expiry_ns)
        else {
            return Load {
                engines: self.engines(),
                waiting: in_flight,
                running: in_flight,
                in_flight,
                tokens,
                prefill,
                ..Load::default()
            };
        };

        let reported = sample.waiting.saturating_add(sample.running);
        let others = reported.saturating_sub(self.in_flight_at_mark.load(Relaxed));
        let total = others.saturating_add(in_flight);
        let room = if sample.waiting > 0 {
            sample.running
        } else {
            sample.running.max(self.most_running.load(Relaxed))
        };
        let running = total.min(room);

        // Fewer than at the mark is less than nothing.
        let sent = tokens.wrapping_sub(self.tokens_at_mark.load(Relaxed)).cast_signed() as f64;
        let kv_usage =
            (sample.kv_usage + sent * f64::from_bits(self.kv_per_token.load(Relaxed))).clamp(0.0, 1.0);
        // Whose requests wait is not told: each side's in proportion.
        let others_waiting = match sample.waiting {
            0 => 0,
            waiting => u64::from(others) * u64::from(waiting) / u64::from(reported),
        };
        Load {
            engines: sample.engines,
            waiting: total - running,
            running,
            kv_usage: Some(kv_usage),
            in_flight,
            tokens,
            prefill,
            others,
            others_waiting: others_waiting as u32,
            reported: ReportedLoad { waiting: sample.waiting, kv_usage: sample.kv_usage },
        }
    }
}

#[cfg(test)]
mod tests;
