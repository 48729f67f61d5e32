//! Reads load reports (ORCA) that an engine attaches to its responses.
//!
//! A report is fresher than any scrape and costs nothing extra, but it never replaces scraping: vLLM attaches
//! it to answers that are not streamed, Triton to those of its TensorRT-LLM backend, and an endpoint that is
//! sent nothing reports nothing.
//!
//! What is sent: `endpoint-load-metrics-format: text`. In lower case, because Triton compares it byte by
//! byte, while vLLM does not care. What comes back in `endpoint-load-metrics` is one of
//!
//! ```text
//! TEXT named_metrics.kv_cache_usage_perc=0.4, named_metrics.num_requests_waiting=3      vLLM
//! TEXT named_metrics.kv_cache_utilization=0.400000, named_metrics.max_token_capacity=1024   Triton
//! JSON {"named_metrics": {"kv_cache_usage_perc": 0.4, "num_requests_waiting": 3.0}}
//! BIN <base64 of xds.data.orca.v3.OrcaLoadReport>
//! ```
//!
//! with the format's name in either case, or missing where the value itself shows what it is. vLLM repeats a
//! metric for each of its engines; as on a metrics page, requests add up and KV-cache usage is averaged.
//!
//! Sources: gRFC A51; `xds/data/orca/v3/orca_load_report.proto`; vLLM PR 24905 (`orca_metrics.py`); Triton's
//! `src/orca_http.cc`.

use base64::{Engine as _, engine::DecodePaddingMode, engine::general_purpose};
use http::{HeaderName, HeaderValue};
use serde::Deserialize;

use crate::load::{EngineCount, LoadSample};

mod protobuf;

/// The request header that asks for a load report, and the value to send.
pub const FORMAT_HEADER: (HeaderName, HeaderValue) =
    (HeaderName::from_static("endpoint-load-metrics-format"), HeaderValue::from_static("text"));

/// The response header with the report. Not for clients: it is taken out.
pub const REPORT_HEADER: HeaderName = HeaderName::from_static("endpoint-load-metrics");

/// Bytes of a report that are looked at; the known ones have less than 100.
pub const MAX_REPORT_BYTES: usize = 4096;

/// What a report says of an endpoint's load. Numbers that it does not have are absent.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LoadReport {
    /// Engines that it is of: the most values that one of its metrics has.
    pub engines: u32,
    /// Requests in the queue, over all engines.
    pub waiting: Option<u32>,
    /// Requests being computed. No engine reports it so far.
    pub running: Option<u32>,
    /// Share of KV-cache blocks in use, 0 to 1.
    pub kv_usage: Option<f64>,
}

/// Why a report was not understood.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// Longer than [`MAX_REPORT_BYTES`].
    #[error("load report of {0} bytes")]
    TooLong(usize),
    /// In none of the formats.
    #[error("load report in an unknown format")]
    Format,
    /// Said to be JSON.
    #[error("load report: {0}")]
    Json(#[from] serde_json::Error),
    /// Said to be binary.
    #[error("load report: {0}")]
    Base64(#[from] base64::DecodeError),
    /// Binary, but no `OrcaLoadReport`.
    #[error("load report: not a protobuf message of its type")]
    Protobuf,
}

/// Reads the value of the header [`REPORT_HEADER`]. A report in a known format but without any metric that
/// counts here is no error; it is empty.
pub fn parse(value: &[u8]) -> Result<LoadReport, ReportError> {
    if value.len() > MAX_REPORT_BYTES {
        return Err(ReportError::TooLong(value.len()));
    }
    let value = value.trim_ascii();
    let (format, rest) = value.split_at(value.len().min(4));
    let mut metrics = Metrics::default();
    match (format.to_ascii_uppercase().as_slice(), rest) {
        (b"TEXT", rest) => metrics.read_text(rest)?,
        (b"JSON", rest) => metrics.read_json(rest)?,
        (b"BIN ", rest) => metrics.read_binary(rest)?,
        _ if value.starts_with(b"{") => metrics.read_json(value)?,
        _ => metrics.read_text(value)?,
    }
    Ok(metrics.into_report())
}

impl LoadReport {
    /// Whether it says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The load with what is reported in place of what was known or estimated.
    pub(crate) fn over(&self, known: LoadSample) -> LoadSample {
        LoadSample {
            // In formats that have a metric only once, a report is of one of several engines.
            engines: EngineCount::new(self.engines.max(known.engines.get())),
            waiting: self.waiting.unwrap_or(known.waiting),
            running: self.running.unwrap_or(known.running),
            kv_usage: self.kv_usage.unwrap_or(known.kv_usage),
            ..known
        }
    }
}

/// Base64 as engines may write it, with or without padding.
const BASE64: general_purpose::GeneralPurpose = general_purpose::GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    general_purpose::GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The maps of a JSON report that engines put load into. Of the rest of `OrcaLoadReport`, nothing says how
/// many more requests an engine can take.
#[derive(Deserialize)]
struct JsonReport {
    #[serde(default, alias = "namedMetrics")]
    named_metrics: serde_json::Map<String, serde_json::Value>,
}

/// Metrics in progress: sum and number of values.
#[derive(Default)]
struct Metrics {
    waiting: (f64, u32),
    running: (f64, u32),
    kv_usage: (f64, u32),
}

impl Metrics {
    fn read_text(&mut self, text: &[u8]) -> Result<(), ReportError> {
        let text = std::str::from_utf8(text).map_err(|_| ReportError::Format)?.trim();
        for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').ok_or(ReportError::Format)?;
            let key = key.trim();
            if let Ok(value) = value.trim().parse() {
                self.add(key.strip_prefix("named_metrics.").unwrap_or(key), value);
            }
        }
        Ok(())
    }

    fn read_json(&mut self, json: &[u8]) -> Result<(), ReportError> {
        let report: JsonReport = serde_json::from_slice(json)?;
        for (name, value) in &report.named_metrics {
            self.add(name, value.as_f64().unwrap_or(f64::NAN));
        }
        Ok(())
    }

    fn read_binary(&mut self, encoded: &[u8]) -> Result<(), ReportError> {
        let message = BASE64.decode(encoded.trim_ascii())?;
        protobuf::for_each_named_metric(&message, |name, value| self.add(name, value))
            .ok_or(ReportError::Protobuf)
    }

    /// Counts one metric, unless its value is none that it can have.
    fn add(&mut self, name: &str, value: f64) {
        if !value.is_finite() || value < 0.0 {
            return;
        }
        let (sum, value) = match name {
            "num_requests_waiting" => (&mut self.waiting, value),
            "num_requests_running" => (&mut self.running, value),
            // vLLM, vLLM's older name, Triton.
            "kv_cache_usage_perc" | "gpu_cache_usage_perc" | "kv_cache_utilization" => {
                (&mut self.kv_usage, value.min(1.0))
            }
            _ => return,
        };
        *sum = (sum.0 + value, sum.1 + 1);
    }

    fn into_report(self) -> LoadReport {
        let total = |(sum, count): (f64, u32)| (count > 0).then(|| sum.round() as u32);
        let (usage, caches) = self.kv_usage;
        LoadReport {
            engines: self.waiting.1.max(self.running.1).max(caches),
            waiting: total(self.waiting),
            running: total(self.running),
            kv_usage: (caches > 0).then(|| usage / f64::from(caches)),
        }
    }
}

#[cfg(test)]
mod tests;
