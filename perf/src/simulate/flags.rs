//! Flags of `penstock-perf simulate`.

use std::path::PathBuf;

use clap::Args;

use super::{
    measure::Slo,
    model::{ModelError, ModelSpec},
    policy,
    workload::{self, WorkloadError},
};

/// Simulates gateways in front of a pool of model servers.
#[derive(Debug, Clone, Args)]
#[command(after_long_help = long_help())]
pub struct Flags {
    /// A workload to run; may be repeated. All are run without
    #[arg(long = "workload", value_name = "NAME")]
    workloads: Vec<String>,
    /// A policy to run; may be repeated. Besides those with a name, scorers and weights can be written out, such as
    /// `queue-scorer=1,prefix-cache-scorer=3`. All that have a name are run without
    #[arg(long = "policy", value_name = "NAME")]
    policies: Vec<String>,
    /// Model servers in the pool
    #[arg(long, value_name = "COUNT", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    endpoints: u16,
    /// Gateways, which do not talk to each other; left out, as many as the workload says
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(super) gateways: Option<u32>,
    /// How many requests; a workload with fewer is repeated. Left out, as many as it has
    #[arg(long, value_name = "COUNT")]
    requests: Option<usize>,
    /// How many times as fast requests come
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0)]
    speed: f64,
    /// The model and its hardware
    #[arg(long, value_name = "NAME", default_value = ModelSpec::NAMES[0])]
    model: String,
    /// A JSON file with all constants of a model, as `--json` writes them; instead of `--model`
    #[arg(long, value_name = "FILE", conflicts_with = "model")]
    model_file: Option<PathBuf>,
    /// Changes a constant of the model; may be repeated
    #[arg(long = "set", value_name = "NAME=VALUE")]
    settings: Vec<String>,
    /// Time to the first token that counts as good, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 2000.0)]
    slo_ttft: f64,
    /// Mean time of each further token that counts as good, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 100.0)]
    slo_tpot: f64,
    /// Mooncake's conversation trace, for the workload `mooncake`, which is skipped without
    #[arg(long, value_name = "FILE")]
    mooncake: Option<PathBuf>,
    /// Azure's code trace, for the workload `azure-code`, which is skipped without
    #[arg(long, value_name = "FILE")]
    azure: Option<PathBuf>,
    /// The same seed gives the same result
    #[arg(long, default_value_t = 1)]
    pub(super) seed: u64,
    /// Runs at one time; left out, as many as there are cores
    #[arg(long, value_name = "COUNT")]
    jobs: Option<usize>,
    /// Writes all figures here, as JSON
    #[arg(long, value_name = "FILE")]
    pub(super) json: Option<PathBuf>,
    /// Writes plots here, as one HTML file that needs no network
    #[arg(long, value_name = "FILE")]
    pub(super) html: Option<PathBuf>,
}

/// Flags that do not fit.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FlagsError {
    /// The model.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The file with the model's constants.
    #[error("{path}: {reason}")]
    ModelFile {
        /// The file.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// The speed is no speed.
    #[error("--speed {0}: a factor above 0 and at most 1000")]
    Speed(f64),
}

impl Flags {
    /// The model with all that the flags change.
    pub(super) fn model(&self) -> Result<ModelSpec, FlagsError> {
        if !(self.speed > 0.0 && self.speed <= 1000.0) {
            return Err(FlagsError::Speed(self.speed));
        }
        let mut model = match &self.model_file {
            None => ModelSpec::named(&self.model)?,
            Some(path) => {
                let fault =
                    |reason: String| FlagsError::ModelFile { path: path.display().to_string(), reason };
                let text = std::fs::read_to_string(path).map_err(|error| fault(error.to_string()))?;
                let model: ModelSpec =
                    serde_json::from_str(&text).map_err(|error| fault(error.to_string()))?;
                model.check().map_err(fault)?;
                model
            }
        };
        for setting in &self.settings {
            model.set(setting)?;
        }
        Ok(model)
    }

    pub(super) fn slo(&self) -> Slo {
        Slo { ttft_ms: self.slo_ttft, tpot_ms: self.slo_tpot }
    }

    pub(super) fn workload_config(&self) -> workload::WorkloadConfig {
        workload::WorkloadConfig {
            servers: usize::from(self.endpoints),
            speed: self.speed,
            requests: self.requests,
            mooncake: self.mooncake.clone(),
            azure: self.azure.clone(),
            seed: self.seed,
        }
    }

    /// Whether a workload is left out instead of failing the run: what was asked for by name is not, since that would be
    /// a success with nothing done.
    pub(super) fn skips(&self, error: &WorkloadError) -> bool {
        self.workloads.is_empty() && matches!(error, WorkloadError::NoTrace { .. })
    }

    pub(super) fn workloads(&self) -> Vec<&str> {
        or_all(&self.workloads, &workload::NAMES)
    }

    pub(super) fn policies(&self) -> Vec<&str> {
        or_all(&self.policies, &policy::NAMES)
    }

    pub(super) fn threads(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        self.jobs.unwrap_or_else(cores).clamp(1, 256)
    }
}

fn or_all<'a>(named: &'a [String], all: &[&'a str]) -> Vec<&'a str> {
    if named.is_empty() { all.to_vec() } else { named.iter().map(String::as_str).collect() }
}

fn long_help() -> String {
    format!(
        "Workloads: {}\nPolicies: {}\nModels: {}",
        workload::NAMES.join(", "),
        policy::NAMES.join(", "),
        ModelSpec::NAMES.join(", ")
    )
}
