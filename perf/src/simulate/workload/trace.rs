//! Public traces.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::simulate::request::{BLOCK_TOKENS, Request, Segment, mix};

/// Where Mooncake's conversation trace is to be had.
pub(super) const MOONCAKE: &str =
    "https://github.com/kvcache-ai/Mooncake/blob/main/FAST25-release/traces/conversation_trace.jsonl";
/// Where Azure's code trace is to be had.
pub(super) const AZURE: &str =
    "https://github.com/Azure/AzurePublicDataset/blob/master/data/AzureLLMInferenceTrace_code.csv";

/// Tokens of a block of Mooncake's trace.
const MOONCAKE_BLOCK: u32 = 512;

/// A trace that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The file cannot be read.
    #[error("{path} cannot be read")]
    File {
        /// The trace.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A line is not what it should be.
    #[error("{path}, line {line}: {reason}")]
    Line {
        /// The trace.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
}

#[derive(Debug, Deserialize)]
struct MooncakeLine {
    timestamp: u64,
    input_length: u32,
    output_length: u32,
    hash_ids: Vec<u64>,
}

/// Reads Mooncake's conversation trace. Its arrivals are rounded down to 3 s: those of one moment are spread evenly
/// over the time up to the next.
pub(super) fn mooncake(path: &Path) -> Result<Vec<Request>, TraceError> {
    let text = read(path)?;
    let mut requests = Vec::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let line: MooncakeLine =
            serde_json::from_str(line).map_err(|error| fault(path, number, &error.to_string()))?;
        let segment = |id: &u64| Segment { seed: mix(*id), blocks: MOONCAKE_BLOCK / BLOCK_TOKENS };
        if (line.hash_ids.len() as u64) < u64::from(line.input_length / MOONCAKE_BLOCK) {
            return Err(fault(path, number, "fewer hash_ids than blocks of 512 tokens"));
        }
        requests.push(Request {
            at_ns: line.timestamp.saturating_mul(1_000_000),
            prompt: line.hash_ids.iter().map(segment).collect(),
            prompt_tokens: line.input_length.max(1),
            output_tokens: line.output_length.max(1),
            phase: 0,
        });
    }
    requests.sort_by_key(|request| request.at_ns);
    spread(&mut requests);
    Ok(requests)
}

/// Reads Azure's code trace.
pub(super) fn azure(path: &Path) -> Result<Vec<Request>, TraceError> {
    let text = read(path)?;
    let mut requests = Vec::new();
    for (number, line) in text.lines().enumerate().skip(1).filter(|(_, line)| !line.trim().is_empty()) {
        let mut fields = line.trim().split(',');
        let at_ns = fields.next().and_then(time_of_day_ns);
        let mut count = || fields.next().and_then(|count| count.parse::<u32>().ok());
        let (Some(at_ns), Some(prompt), Some(output)) = (at_ns, count(), count()) else {
            return Err(fault(path, number, "expected TIMESTAMP,ContextTokens,GeneratedTokens"));
        };
        let seed = mix(number as u64);
        requests.push(Request {
            at_ns,
            prompt: vec![Segment { seed, blocks: prompt / BLOCK_TOKENS }],
            prompt_tokens: prompt.max(1),
            output_tokens: output.max(1),
            phase: 0,
        });
    }
    requests.sort_by_key(|request| request.at_ns);
    let start = requests.first().map_or(0, |first| first.at_ns);
    for request in &mut requests {
        request.at_ns -= start;
    }
    Ok(requests)
}

/// `2023-11-16 18:17:03.9799600` as time of its day.
fn time_of_day_ns(timestamp: &str) -> Option<u64> {
    let mut parts = timestamp.split_once(' ')?.1.split(':');
    let (hours, minutes) = (parts.next()?.parse::<u64>().ok()?, parts.next()?.parse::<u64>().ok()?);
    let seconds: f64 = parts.next()?.parse().ok()?;
    ((0.0..61.0).contains(&seconds) && hours < 24 && minutes < 60)
        .then(|| (hours * 3600 + minutes * 60) * 1_000_000_000 + (seconds * 1e9).round() as u64)
}

fn spread(requests: &mut [Request]) {
    let mut from = 0;
    while from < requests.len() {
        let at_ns = requests[from].at_ns;
        let to =
            requests[from..].iter().position(|one| one.at_ns > at_ns).map_or(requests.len(), |n| from + n);
        let until_ns = requests.get(to).map_or(at_ns, |next| next.at_ns);
        let step = (until_ns - at_ns) / (to - from) as u64;
        for (place, request) in requests[from..to].iter_mut().enumerate() {
            request.at_ns += step * place as u64;
        }
        from = to;
    }
}

fn read(path: &Path) -> Result<String, TraceError> {
    std::fs::read_to_string(path).map_err(|source| TraceError::File { path: path.to_owned(), source })
}

fn fault(path: &Path, number: usize, reason: &str) -> TraceError {
    TraceError::Line { path: path.to_owned(), line: number + 1, reason: reason.to_owned() }
}
