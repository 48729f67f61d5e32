//! One self-contained page with plots: nothing in it is fetched from anywhere.

use std::fmt::Write;

use super::{
    block,
    plot::{Line, Scale, escape, lines},
    schema::{Latency, Report, Second},
};

/// What pages look like.
const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;color:#222;background:#f6f7f8;max-width:1340px;margin:0 auto;padding:24px}\
h1{font-size:22px;margin:0 0 4px}h2{font-size:17px;margin:28px 0 8px}p{margin:4px 0}\
table{border-collapse:collapse;background:#fff}td,th{padding:4px 12px;border:1px solid #ddd;text-align:right;font-variant-numeric:tabular-nums}\
td:first-child,th:first-child{text-align:left}th{background:#eef0f2;font-weight:600}\
.plots{display:flex;flex-wrap:wrap;gap:16px}.plots svg{border:1px solid #ddd;max-width:100%;height:auto}\
.warning{background:#fff4e0;border-left:4px solid #e69f00;padding:6px 12px;margin:8px 0}\
pre{background:#fff;border:1px solid #ddd;padding:12px;overflow-x:auto}";

/// A page of this title around this content.
pub(crate) fn page(title: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{0}</title><style>{STYLE}</style></head>\
         <body>\n<h1>{0}</h1>\n{body}\n</body></html>\n",
        escape(title)
    )
}

/// The report of a run as a page.
#[must_use]
pub fn html(report: &Report) -> String {
    let mut body = String::new();
    let settings = &report.settings;
    let stream = if settings.is_stream { "streamed" } else { "whole answers" };
    let _ = writeln!(
        body,
        "<p>{} over {}, {stream}: {}</p><p>{}; seed {}</p>",
        escape(&settings.url),
        settings.protocol,
        escape(&settings.workload),
        escape(&settings.arrival),
        settings.seed
    );
    for warning in &report.generator.warnings {
        let _ = writeln!(body, "<p class=\"warning\">{}</p>", escape(warning));
    }
    let _ = writeln!(body, "<h2>Latency, ms</h2>{}", latencies(report));
    if !report.results.errors.is_empty() {
        body.push_str("<h2>Errors</h2><table><tr><th>kind</th><th>count</th><th>first seen</th></tr>");
        for error in &report.results.errors {
            let _ = writeln!(
                body,
                "<tr><td>{}</td><td>{}</td><td>{}</td></tr>",
                escape(&error.kind),
                error.count,
                escape(&error.example)
            );
        }
        body.push_str("</table>");
    }
    let _ = writeln!(body, "<h2>Plots</h2><div class=\"plots\">{}</div>", plots(report));
    let _ = writeln!(body, "<h2>Summary</h2><pre>{}</pre>", escape(&block(report)));
    page("Load test", &body)
}

fn named(report: &Report) -> [(&'static str, &Latency); 4] {
    let results = &report.results;
    [
        ("time to first token", &results.ttft),
        ("time per output token", &results.tpot),
        ("between tokens", &results.itl),
        ("end to end", &results.e2e),
    ]
}

fn latencies(report: &Report) -> String {
    let mut out = "<table><tr><th></th><th>count</th><th>mean</th><th>p50</th><th>p90</th><th>p99</th><th>p99.9</th><th>max</th></tr>".to_owned();
    for (name, latency) in named(report).iter().filter(|(_, latency)| latency.count > 0) {
        let _ = write!(out, "<tr><td>{name}</td><td>{}</td>", latency.count);
        for value in [latency.mean, latency.p50, latency.p90, latency.p99, latency.p999, latency.max] {
            let _ = write!(out, "<td>{value:.2}</td>");
        }
        out.push_str("</tr>");
    }
    out.push_str("</table>");
    out
}

/// The percentiles that so many values can tell apart.
fn known(latency: &Latency) -> Vec<(f64, f64)> {
    let is_known = |percentile: f64| (1.0 - percentile / 100.0) * latency.count as f64 >= 1.0;
    latency.distribution.iter().filter(|(percentile, _)| is_known(*percentile)).copied().collect()
}

fn plots(report: &Report) -> String {
    let distributions: Vec<Line> = named(report)
        .iter()
        .filter(|(_, latency)| latency.count > 0)
        .map(|(name, latency)| Line { name: (*name).to_owned(), points: known(latency) })
        .collect();
    // The last second is not a whole one.
    let seconds = match &report.series[..] {
        [all @ .., _] if all.len() > 1 => all,
        all => all,
    };
    let over_time = |name: &str, value: &dyn Fn(&Second) -> f64| Line {
        name: name.to_owned(),
        points: seconds.iter().map(|second| (second.at_s, value(second))).collect(),
    };
    let time = (Scale::Linear, "seconds since the start");
    let mut plots = vec![
        lines("Latency by percentile", (Scale::Nines, "percentile"), (Scale::Log, "ms"), &distributions),
        lines(
            "Requests a second",
            time,
            (Scale::Linear, "requests/s"),
            &[
                over_time("answered", &|second| second.completed as f64),
                over_time("failed", &|second| second.failed as f64),
            ],
        ),
        lines(
            "End-to-end latency over time",
            time,
            (Scale::Log, "ms"),
            &[over_time("mean", &|second| second.mean_ms), over_time("greatest", &|second| second.max_ms)],
        ),
        lines(
            "Requests in flight",
            time,
            (Scale::Linear, "requests"),
            &[over_time("in flight", &|second| second.in_flight as f64)],
        ),
    ];
    if report.settings.is_stream {
        let tokens = [over_time("tokens", &|second| second.tokens as f64)];
        plots.push(lines("Tokens a second", time, (Scale::Linear, "tokens/s"), &tokens));
    }
    plots.concat()
}
