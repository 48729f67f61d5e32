//! The figures of a simulation as one page with plots.

use std::fmt::Write;

use super::{Report, WorkloadReport, summary, table};
use crate::report::{
    page,
    plot::{Line, Scale, escape, lines},
};

/// The page.
pub(in crate::simulate) fn html(report: &Report) -> String {
    let mut body = format!(
        "<p>Model {}, seed {}; good is a first token within {} ms and {} ms for each further one.</p>",
        escape(&report.model.name),
        report.seed,
        report.slo.ttft_ms,
        report.slo.tpot_ms
    );
    let _ = write!(body, "<pre>{}</pre>", escape(&summary(report)));
    for skipped in &report.skipped {
        let _ = write!(body, "<p class=\"warning\">{}</p>", escape(&skipped.to_string()));
    }
    for workload in &report.workloads {
        let _ = write!(
            body,
            "<h2>{}</h2><pre>{}</pre><div class=\"plots\">{}</div>",
            escape(&workload.name),
            escape(&table(workload)),
            plots(workload)
        );
    }
    page("Simulation", &body)
}

fn plots(workload: &WorkloadReport) -> String {
    let line = |name: &str, points: Vec<(f64, f64)>| Line { name: name.to_owned(), points };
    let distribution = |of: fn(&super::Figures) -> &Vec<(f64, f64)>| -> Vec<Line> {
        workload.runs.iter().map(|run| line(&run.policy, of(&run.figures).clone())).collect()
    };
    let percentile = (Scale::Nines, "percentile");
    let mut plots = lines(
        "Time to first token by percentile",
        percentile,
        (Scale::Log, "ms"),
        &distribution(|figures| &figures.ttft_distribution),
    );
    plots.push_str(&lines(
        "End to end by percentile",
        percentile,
        (Scale::Log, "ms"),
        &distribution(|figures| &figures.e2e_distribution),
    ));
    if workload.runs.iter().any(|run| run.phases.len() > 1) {
        let by_phase = |run: &super::Run| {
            let points = run.phases.iter().filter_map(|phase| {
                let rate = phase.name.trim_end_matches("/s").parse().ok()?;
                Some((rate, phase.figures.ttft_ms.p90))
            });
            line(&run.policy, points.collect())
        };
        plots.push_str(&lines(
            "TTFT p90 by load",
            (Scale::Linear, "requests/s"),
            (Scale::Log, "ms"),
            &workload.runs.iter().map(by_phase).collect::<Vec<_>>(),
        ));
    }
    plots
}
