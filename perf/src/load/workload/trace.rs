//! Traces of real traffic: Mooncake's conversations and Azure's code completions.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;
use thiserror::Error;

use super::{mix, words};

/// Tokens that one of Mooncake's hash ids stands for.
const MOONCAKE_BLOCK_TOKENS: usize = 512;
/// Where the files are, for those who do not have them.
const SOURCES: &str = "Mooncake's traces (Apache-2.0) are in \
    https://github.com/kvcache-ai/Mooncake/tree/main/FAST25-release/traces, Azure's (CC-BY 4.0) in \
    https://github.com/Azure/AzurePublicDataset/tree/master/data";

/// One request of a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TraceRow {
    /// Counted from the first request.
    pub(crate) at: Duration,
    pub(crate) input_tokens: usize,
    pub(crate) output_tokens: u64,
    /// One id for each 512 tokens of the prompt; equal ids stand for equal text. Azure's has none.
    blocks: Box<[u64]>,
}

/// Why a trace cannot be replayed.
#[derive(Debug, Error)]
pub enum TraceError {
    /// The file cannot be read.
    #[error("cannot read the trace {}: {SOURCES}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// A line is not what the format asks for.
    #[error("{}, line {line}: {fault}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        fault: String,
    },
    /// There is no request in it.
    #[error("the trace {} has no requests", .0.display())]
    Empty(PathBuf),
}

impl TraceRow {
    /// The prompt: shared text where the trace says so, `unique` text elsewhere.
    pub(super) fn text(&self, unique: u64) -> String {
        let mut text = String::new();
        let mut left = self.input_tokens;
        for block in &self.blocks {
            let tokens = left.min(MOONCAKE_BLOCK_TOKENS);
            words::push(&mut text, mix(u64::MAX, *block), tokens);
            left -= tokens;
        }
        words::push(&mut text, unique, left);
        text
    }
}

/// Reads Mooncake's JSON lines.
pub(crate) fn mooncake(path: &Path) -> Result<Vec<TraceRow>, TraceError> {
    #[derive(Deserialize)]
    struct Line {
        timestamp: f64,
        input_length: usize,
        output_length: u64,
        hash_ids: Box<[u64]>,
    }
    read(path, |line, _| {
        let line: Line = serde_json::from_str(line).map_err(|error| error.to_string())?;
        let at = Duration::try_from_secs_f64(line.timestamp / 1e3).map_err(|error| error.to_string())?;
        Ok(Some(TraceRow {
            at,
            input_tokens: line.input_length,
            output_tokens: line.output_length.max(1),
            blocks: line.hash_ids,
        }))
    })
}

/// Reads Azure's CSV: `TIMESTAMP,ContextTokens,GeneratedTokens`.
pub(crate) fn azure(path: &Path) -> Result<Vec<TraceRow>, TraceError> {
    read(path, |line, number| {
        if number == 1 {
            return if line.starts_with("TIMESTAMP,ContextTokens,GeneratedTokens") {
                Ok(None)
            } else {
                Err("the header is not TIMESTAMP,ContextTokens,GeneratedTokens".to_owned())
            };
        }
        let mut fields = line.split(',');
        let mut next = |name: &str| fields.next().ok_or_else(|| format!("no {name}"));
        let at = seconds(next("TIMESTAMP")?).ok_or("TIMESTAMP is not like 2023-11-16 18:17:03.9799600")?;
        let number = |text: &str| text.trim().parse::<u64>().map_err(|error| format!("`{text}`: {error}"));
        let input = number(next("ContextTokens")?)?;
        let output = number(next("GeneratedTokens")?)?;
        let at = Duration::try_from_secs_f64(at).map_err(|error| error.to_string())?;
        let input_tokens = usize::try_from(input).map_err(|error| error.to_string())?;
        Ok(Some(TraceRow { at, input_tokens, output_tokens: output.max(1), blocks: Box::default() }))
    })
}

fn read(
    path: &Path,
    parse: impl Fn(&str, usize) -> Result<Option<TraceRow>, String>,
) -> Result<Vec<TraceRow>, TraceError> {
    let text =
        std::fs::read_to_string(path).map_err(|source| TraceError::Read { path: path.to_owned(), source })?;
    let mut rows = Vec::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let line_number = index + 1;
        let row = parse(line, line_number).map_err(|fault| TraceError::Line {
            path: path.to_owned(),
            line: line_number,
            fault,
        })?;
        rows.extend(row);
    }
    rows.sort_by_key(|row: &TraceRow| row.at);
    let first = rows.first().ok_or_else(|| TraceError::Empty(path.to_owned()))?.at;
    rows.iter_mut().for_each(|row| row.at -= first);
    Ok(rows)
}

/// Seconds since some midnight; a trace of a day or less may pass one at most.
fn seconds(timestamp: &str) -> Option<f64> {
    let (date, time) = timestamp.trim().split_once(' ')?;
    let day: f64 = date.rsplit('-').next()?.parse().ok()?;
    let mut parts = time.split(':');
    let (hours, minutes, seconds) = (parts.next()?, parts.next()?, parts.next()?);
    let number = |text: &str| text.parse::<f64>().ok();
    Some(((day * 24.0 + number(hours)?) * 60.0 + number(minutes)?) * 60.0 + number(seconds)?)
}
