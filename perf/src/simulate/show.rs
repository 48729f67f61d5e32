//! Reports of simulations: tables on the terminal, JSON, plots.

pub(super) mod html;

use std::{
    fmt::{self, Write as _},
    path::Path,
    time::Duration,
};

use serde::Serialize;

use super::{
    SimulateError,
    flags::Flags,
    measure::{Figures, Slo},
    model::ModelSpec,
};

/// Version of the JSON's form.
const VERSION: u32 = 1;

/// All that is known of a simulation.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    version: u32,
    kind: &'static str,
    program: &'static str,
    seed: u64,
    pub(super) slo: Slo,
    model: ModelSpec,
    pub(super) workloads: Vec<WorkloadReport>,
    /// Workloads that were to be run and could not be.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) skipped: Vec<Skipped>,
}

/// A workload that was not run.
#[derive(Debug, Serialize)]
pub(super) struct Skipped {
    pub(super) name: String,
    pub(super) reason: String,
}

/// One workload.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WorkloadReport {
    pub(super) name: String,
    pub(super) servers: usize,
    pub(super) gateways: u32,
    /// Hit rate that no policy can exceed, 0 to 1.
    pub(super) hit_bound: f64,
    pub(super) runs: Vec<Run>,
}

/// One policy on one workload.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Run {
    pub(super) policy: String,
    #[serde(flatten)]
    pub(super) figures: Figures,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) phases: Vec<PhaseFigures>,
    /// What the run took; not in the JSON, which is the same for the same seed.
    #[serde(skip)]
    pub(super) wall: Duration,
}

/// A part of a run.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PhaseFigures {
    pub(super) name: String,
    #[serde(flatten)]
    pub(super) figures: Figures,
}

impl Report {
    pub(super) fn new(model: &ModelSpec, slo: &Slo, flags: &Flags) -> Self {
        Self {
            version: VERSION,
            kind: "penstock-perf/simulate",
            program: env!("CARGO_PKG_VERSION"),
            seed: flags.seed,
            slo: *slo,
            model: model.clone(),
            workloads: Vec::new(),
            skipped: Vec::new(),
        }
    }

    /// Writes the files that the flags ask for.
    pub(super) fn write(&self, flags: &Flags) -> Result<(), SimulateError> {
        if let Some(path) = &flags.json {
            let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
            text.push('\n');
            write_file(path, &text)?;
        }
        if let Some(path) = &flags.html {
            write_file(path, &html::html(self))?;
        }
        Ok(())
    }
}

/// One workload's table.
pub(super) fn table(report: &WorkloadReport) -> String {
    let mut text = format!(
        "\n{}: {} requests, {} servers, {}; at most {:.1} % of prompt tokens can be cached\n",
        report.name,
        report.runs.first().map_or(0, |run| run.figures.requests),
        report.servers,
        if report.gateways == 1 { "1 gateway".to_owned() } else { format!("{} gateways", report.gateways) },
        report.hit_bound * 100.0,
    );
    let width = report.runs.iter().map(|run| run.policy.len()).max().unwrap_or(0).max(6);
    let _ = writeln!(
        text,
        "  {:width$} {:>10} {:>9} {:>9} {:>9} {:>9} {:>9} {:>8} {:>6} {:>7} {:>8} {:>7}",
        "policy",
        "TTFT mean",
        "p50",
        "p90",
        "p99",
        "E2E p50",
        "E2E p90",
        "TPOT p90",
        "good",
        "hits",
        "max/mean",
        "refused",
    );
    for run in &report.runs {
        let Figures { ttft_ms, e2e_ms, tpot_ms, .. } = run.figures;
        let _ = writeln!(
            text,
            "  {:width$} {:>10} {:>9} {:>9} {:>9} {:>9} {:>9} {:>8.1} {:>5.1}% {:>6.1}% {:>8.2} {:>7}   {:.1?}",
            run.policy,
            time(ttft_ms.mean),
            time(ttft_ms.p50),
            time(ttft_ms.p90),
            time(ttft_ms.p99),
            time(e2e_ms.p50),
            time(e2e_ms.p90),
            tpot_ms.p90,
            run.figures.goodput * 100.0,
            run.figures.hit_rate * 100.0,
            run.figures.imbalance,
            run.figures.refused,
            run.wall,
        );
    }
    text
}

impl fmt::Display for Skipped {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "skipped: {}", self.reason)
    }
}

/// Mean time to the first token of each policy on each workload, as a multiple of the best one's: what the default
/// profile is judged by.
pub(super) fn summary(report: &Report) -> String {
    let Some(first) = report.workloads.first().filter(|one| one.runs.len() > 1) else {
        return String::new();
    };
    let width = first.runs.iter().map(|run| run.policy.len()).max().unwrap_or(0).max(6);
    let mut text = "\nMean time to first token, as a multiple of the best policy's\n".to_owned();
    let _ = write!(text, "  {:width$}", "policy");
    for workload in &report.workloads {
        let _ = write!(text, " {:>13}", workload.name);
    }
    let _ = writeln!(text, " {:>8}", "worst");
    for (place, run) in first.runs.iter().enumerate() {
        let ratios: Vec<f64> = report.workloads.iter().filter_map(|workload| workload.ratio(place)).collect();
        let _ = write!(text, "  {:width$}", run.policy);
        for ratio in &ratios {
            let _ = write!(text, " {:>13}", times(*ratio));
        }
        let _ = writeln!(text, " {:>8}", times(ratios.iter().copied().fold(1.0, f64::max)));
    }
    text
}

impl WorkloadReport {
    /// A run's mean time to the first token over the best one's.
    fn ratio(&self, place: usize) -> Option<f64> {
        let mean = |run: &Run| run.figures.ttft_ms.mean;
        let best = self.runs.iter().map(mean).fold(f64::INFINITY, f64::min);
        self.runs.get(place).map(|run| mean(run) / best.max(f64::MIN_POSITIVE))
    }
}

fn times(ratio: f64) -> String {
    if ratio < 100.0 { format!("{ratio:.2}") } else { format!("{ratio:.0}") }
}

fn time(ms: f64) -> String {
    match ms {
        ms if ms < 1000.0 => format!("{ms:.0} ms"),
        ms if ms < 100_000.0 => format!("{:.2} s", ms / 1000.0),
        ms => format!("{:.0} s", ms / 1000.0),
    }
}

fn write_file(path: &Path, text: &str) -> Result<(), SimulateError> {
    std::fs::write(path, text)
        .map_err(|source| SimulateError::Write { path: path.display().to_string(), source })
}
