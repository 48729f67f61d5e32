//! The oracle of the property test: the same page read the plain way, by splitting strings and collecting
//! maps. For vLLM only.

use std::collections::BTreeMap;

use super::super::{Adapters, Reading};

/// Labels and value.
type Sample = (BTreeMap<String, String>, f64);

/// Reads a page as vLLM's.
pub(super) fn read_plainly(page: &[u8]) -> Reading {
    let mut samples: BTreeMap<String, Vec<Sample>> = BTreeMap::new();
    let mut malformed = 0;
    for line in page.split(|byte| *byte == b'\n') {
        let line = String::from_utf8_lossy(line).into_owned();
        let line = match line.starts_with([' ', '\t']) {
            true => line.trim_ascii_start(),
            false => &line,
        };
        let end = line.find(['{', ' ', '\t']).unwrap_or(line.len());
        let (name, rest) = line.split_at(end);
        if !WANTED.contains(&name) || rest.is_empty() {
            continue;
        }
        match sample(rest) {
            Some(sample) => samples.entry(name.to_owned()).or_default().push(sample),
            None => malformed += 1,
        }
    }
    // The largest of each engine.
    let values = |name: &str| -> Vec<f64> {
        let mut engines: BTreeMap<_, f64> = BTreeMap::new();
        for (labels, value) in samples.get(name).into_iter().flatten() {
            let largest = engines.entry(["engine", "model_name"].map(|label| labels.get(label))).or_default();
            *largest = largest.max(*value);
        }
        engines.into_values().collect()
    };
    let total =
        |name| Some(values(name)).filter(|v| !v.is_empty()).map(|v| v.iter().sum::<f64>().round() as u32);
    let mean = |name| {
        let values = values(name);
        let sum: f64 = values.iter().map(|value| value.min(1.0)).sum();
        (!values.is_empty()).then(|| sum / values.len() as f64)
    };
    let config = |label: &str| -> Vec<u32> {
        let series = samples.get("vllm:cache_config_info").into_iter().flatten();
        series.filter_map(|(labels, _)| labels.get(label)?.parse().ok()).collect()
    };
    let gauges = [
        "vllm:num_requests_waiting",
        "vllm:num_requests_running",
        "vllm:kv_cache_usage_perc",
        "vllm:gpu_cache_usage_perc",
    ];
    Reading {
        engines: gauges.map(|name| values(name).len() as u32).into_iter().max().unwrap_or(0),
        waiting: total("vllm:num_requests_waiting"),
        running: total("vllm:num_requests_running"),
        kv_usage: mean("vllm:kv_cache_usage_perc").or(mean("vllm:gpu_cache_usage_perc")),
        block_tokens: config("block_size").into_iter().max().filter(|tokens| *tokens > 0),
        blocks: config("num_gpu_blocks").into_iter().max().map(u64::from).filter(|blocks| *blocks > 0),
        adapters: samples.get("vllm:lora_requests_info").map(|series| newest(series)),
        malformed,
    }
}

const WANTED: [&str; 6] = [
    "vllm:num_requests_waiting",
    "vllm:num_requests_running",
    "vllm:kv_cache_usage_perc",
    "vllm:gpu_cache_usage_perc",
    "vllm:lora_requests_info",
    "vllm:cache_config_info",
];

fn newest(series: &[Sample]) -> Adapters {
    let time = series.iter().map(|(_, value)| *value).fold(0.0, f64::max);
    let mut adapters = Adapters::default();
    for (labels, _) in series.iter().filter(|(_, value)| *value == time) {
        let list = |label: &str| -> Vec<Box<str>> {
            let names = labels.get(label).map(String::as_str).unwrap_or_default();
            names.split(',').map(str::trim).filter(|name| !name.is_empty()).map(Box::from).collect()
        };
        adapters.active.extend(list("running_lora_adapters"));
        adapters.waiting.extend(list("waiting_lora_adapters"));
        let max = labels.get("max_lora").and_then(|max| max.parse().ok()).unwrap_or(0);
        adapters.max = adapters.max.max(max);
    }
    for names in [&mut adapters.active, &mut adapters.waiting] {
        names.sort_unstable();
        names.dedup();
    }
    adapters
}

/// `{labels} value`, character by character.
fn sample(text: &str) -> Option<Sample> {
    let mut labels = BTreeMap::new();
    let mut rest = text.trim_ascii();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside.trim_ascii_start();
        while !rest.starts_with('}') {
            let (name, quoted) = rest.split_once('=')?;
            let name = name.trim_ascii();
            if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':') {
                return None;
            }
            let (value, after) = string(quoted.trim_ascii_start().strip_prefix('"')?)?;
            labels.entry(name.to_owned()).or_insert(value);
            let after = after.trim_ascii_start();
            rest = after.strip_prefix(',').unwrap_or(after).trim_ascii_start();
        }
        rest = &rest[1..];
    }
    let value: f64 = rest.trim_ascii_start().split([' ', '\t']).next()?.parse().ok()?;
    (value.is_finite() && value >= 0.0).then_some((labels, value))
}

fn string(quoted: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &quoted[at + 1..])),
            '\\' => match chars.next()?.1 {
                'n' => value.push('\n'),
                other @ ('\\' | '"') => value.push(other),
                other => value.extend(['\\', other]),
            },
            other => value.push(other),
        }
    }
    None
}
