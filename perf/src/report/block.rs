//! vLLM's "Serving Benchmark Result", which its users know; lines that vLLM does not have follow behind it.

use std::fmt::Write;

use super::schema::{Latency, Report};

/// Width of vLLM's block.
const WIDTH: usize = 50;

/// The block as `vllm bench serve` prints it, and then what it does not know: errors, tails, the processes under
/// test, and whether the generator was the bottleneck.
#[must_use]
pub fn block(report: &Report) -> String {
    let mut out = String::new();
    serving(report, &mut out);
    if report.results.failed > 0 {
        title("Errors", '-', &mut out);
        for error in &report.results.errors {
            line(&format!("{}:", error.kind), &error.count.to_string(), &mut out);
        }
    }
    tails(report, &mut out);
    if let Some(process) = &report.process {
        title("Processes under test", '-', &mut out);
        line("CPU (share of one core):", &fixed(process.cpu_share), &mut out);
        if let Some(cpu) = process.cpu_us_per_request {
            line("CPU per request (us):", &fixed(cpu), &mut out);
        }
        if let Some(cpu) = process.cpu_us_per_token {
            line("CPU per streamed token (us):", &fixed(cpu), &mut out);
        }
        line("Peak resident memory (MB):", &fixed(process.rss_peak_bytes as f64 / 1e6), &mut out);
    }
    out.push_str(&"=".repeat(WIDTH));
    out.push('\n');
    for error in &report.results.errors {
        let _ = writeln!(out, "error ({}): {}", error.kind, error.example);
    }
    for warning in &report.generator.warnings {
        let _ = writeln!(out, "WARNING: {warning}");
    }
    out
}

/// What vLLM prints, in its words and its order.
fn serving(report: &Report, out: &mut String) {
    let results = &report.results;
    title("Serving Benchmark Result", '=', out);
    line("Successful requests:", &results.completed.to_string(), out);
    line("Failed requests:", &results.failed.to_string(), out);
    if let Some(concurrency) = report.settings.max_concurrency {
        line("Maximum request concurrency:", &concurrency.to_string(), out);
    }
    if let Some(rate) = report.settings.rate {
        line("Request rate configured (RPS):", &fixed(rate), out);
    }
    line("Benchmark duration (s):", &fixed(results.duration_s), out);
    line("Total input tokens:", &results.input_tokens.to_string(), out);
    line("Total generated tokens:", &results.output_tokens.to_string(), out);
    line("Request throughput (req/s):", &fixed(results.request_throughput), out);
    if let Some(goodput) = results.goodput {
        line("Request goodput (req/s):", &fixed(goodput), out);
    }
    line("Output token throughput (tok/s):", &fixed(results.output_throughput), out);
    line("Peak output token throughput (tok/s):", &fixed(results.peak_output_throughput), out);
    line("Peak concurrent requests:", &fixed(results.peak_concurrency as f64), out);
    let seconds = results.duration_s.max(f64::MIN_POSITIVE);
    let total = (results.input_tokens + results.output_tokens) as f64 / seconds;
    line("Total token throughput (tok/s):", &fixed(total), out);
    for (heading, name, latency) in [
        ("Time to First Token", "TTFT", &results.ttft),
        ("Time per Output Token (excl. 1st token)", "TPOT", &results.tpot),
        ("Inter-token Latency", "ITL", &results.itl),
        ("End-to-end Latency", "E2EL", &results.e2e),
    ] {
        title(heading, '-', out);
        line(&format!("Mean {name} (ms):"), &fixed(latency.mean), out);
        line(&format!("Median {name} (ms):"), &fixed(latency.p50), out);
        line(&format!("P99 {name} (ms):"), &fixed(latency.p99), out);
    }
}

/// What a gateway is judged by and vLLM leaves out by default.
fn tails(report: &Report, out: &mut String) {
    let row = |name: &str, latency: &Latency, out: &mut String| {
        if latency.count > 0 {
            let _ = writeln!(
                out,
                "{name:<6}{:>11.2}{:>11.2}{:>11.2}{:>11.2}",
                latency.p90, latency.p99, latency.p999, latency.max
            );
        }
    };
    title("Tails (ms)", '-', out);
    let _ = writeln!(out, "{:<6}{:>11}{:>11}{:>11}{:>11}", "", "p90", "p99", "p99.9", "max");
    row("TTFT", &report.results.ttft, out);
    row("TPOT", &report.results.tpot, out);
    row("ITL", &report.results.itl, out);
    row("E2EL", &report.results.e2e, out);
    row("late", &report.generator.lag, out);
}

fn title(text: &str, fill: char, out: &mut String) {
    let text = if fill == '=' { format!(" {text} ") } else { text.to_owned() };
    let missing = WIDTH.saturating_sub(text.len());
    let left = missing / 2;
    out.extend(std::iter::repeat_n(fill, left));
    out.push_str(&text);
    out.extend(std::iter::repeat_n(fill, missing - left));
    out.push('\n');
}

fn line(name: &str, value: &str, out: &mut String) {
    let _ = writeln!(out, "{name:<40} {value:<10}");
}

fn fixed(value: f64) -> String {
    format!("{value:.2}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_block_is_vllms() {
        let mut out = String::new();
        title("Serving Benchmark Result", '=', &mut out);
        line("Successful requests:", "100", &mut out);
        line("Output token throughput (tok/s):", &fixed(352.144), &mut out);
        title("Time to First Token", '-', &mut out);
        title("Time per Output Token (excl. 1st token)", '-', &mut out);
        title("Inter-token Latency", '-', &mut out);
        // Copied from a run of `vllm bench serve`.
        let theirs = "============ Serving Benchmark Result ============
Successful requests:                     100       
Output token throughput (tok/s):         352.14    
---------------Time to First Token----------------
-----Time per Output Token (excl. 1st token)------
---------------Inter-token Latency----------------
";
        assert_eq!(out, theirs);
    }
}
