//! Traces that are made up, in the form of the public ones: tests run without those.

use std::{fmt::Write, path::Path};

use tempfile::TempDir;

use super::WorkloadConfig;
use crate::simulate::request::Random;

/// Mooncake's block, in tokens.
const BLOCK_TOKENS: u32 = 512;

/// A folder with both traces, which goes with it.
#[derive(Debug)]
pub(crate) struct Traces {
    folder: TempDir,
}

impl Traces {
    /// Writes both.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        for (name, trace) in [("mooncake.jsonl", conversations()), ("azure.csv", code())] {
            std::fs::write(folder.path().join(name), trace).expect("a temporary folder can be written to");
        }
        Self { folder }
    }

    /// A configuration that names them.
    pub(crate) fn config(&self, servers: usize, seed: u64) -> WorkloadConfig {
        let path = |name: &str| Some(Path::join(self.folder.path(), name));
        WorkloadConfig {
            servers,
            speed: 1.0,
            requests: None,
            mooncake: path("mooncake.jsonl"),
            azure: path("azure.csv"),
            seed,
        }
    }
}

/// Half an hour of conversations with long prompts, a good third of which were seen before.
fn conversations() -> String {
    let mut random = Random::new(1);
    let mut lines = Vec::new();
    let mut last_id = 0;
    for _ in 0..2500 {
        let mut at_ms = random.below(1_800_000);
        // All begin with one system prompt, of one block.
        let (mut ids, mut tokens) = (vec![0], BLOCK_TOKENS);
        let mut new_tokens = random.length(11_000.0);
        loop {
            // A block that was not full becomes another one as the prompt grows.
            ids.truncate((tokens / BLOCK_TOKENS) as usize);
            tokens += new_tokens;
            while ids.len() < tokens.div_ceil(BLOCK_TOKENS) as usize {
                last_id += 1;
                ids.push(last_id);
            }
            let answer = random.length(343.0);
            lines.push((at_ms, tokens, answer, ids.clone()));
            if random.unit() > 0.38 {
                break;
            }
            new_tokens = answer + random.length(700.0);
            at_ms += 60_000;
        }
    }
    lines.sort_by_key(|(at_ms, ..)| *at_ms);
    let mut text = String::new();
    for (at_ms, input, output, ids) in lines {
        // Rounded down to three seconds, as the public trace is.
        let timestamp = at_ms / 3000 * 3000;
        let line = serde_json::json!({
            "timestamp": timestamp, "input_length": input, "output_length": output, "hash_ids": ids,
        });
        writeln!(text, "{line}").expect("a string takes everything");
    }
    text
}

/// An hour of prompts that share nothing, with short answers.
fn code() -> String {
    let mut random = Random::new(1);
    let mut text = "TIMESTAMP,ContextTokens,GeneratedTokens\n".to_owned();
    let mut at_ns = 0.0;
    for _ in 0..8819 {
        at_ns += random.pause_ns(2.57);
        let seconds = at_ns / 1e9;
        let (minutes, seconds) = ((seconds / 60.0) as u32, seconds % 60.0);
        let (prompt, answer) = (random.length(2048.0), random.length(28.0));
        writeln!(
            text,
            "2023-11-16 {:02}:{:02}:{seconds:010.7},{prompt},{answer}",
            18 + minutes / 60,
            minutes % 60
        )
        .expect("a string takes everything");
    }
    text
}
