//! The tables of a comparison, for the terminal and for documents.

use super::{
    scenario::{Pressure, Scenario},
    summary::{Comparison, Figures, Spread},
};

/// A table: a heading, columns, rows of cells.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) title: String,
    pub(super) columns: Vec<String>,
    pub(super) rows: Vec<Vec<String>>,
}

/// All tables as text, with what is missing behind them.
pub(super) fn text(comparison: &Comparison) -> String {
    let mut out = String::new();
    for table in tables(comparison) {
        out.push_str(&format!("\n{}\n{}", table.title, table.aligned()));
    }
    for missing in &comparison.missing {
        out.push_str(&format!("\nmissing: {}: {}", missing.peer, missing.reason));
    }
    out.push('\n');
    out
}

/// The headline, and what each scenario found.
pub(super) fn tables(comparison: &Comparison) -> Vec<Table> {
    let mut tables = vec![cpu(comparison)];
    tables.extend(latency(comparison));
    tables.push(memory(comparison));
    tables.extend(throughput(comparison));
    tables.retain(|table| !table.rows.is_empty() && table.columns.len() > 1);
    tables
}

impl Table {
    /// The table with its columns aligned.
    fn aligned(&self) -> String {
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.chain(self.columns.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let mut out = String::new();
        for row in std::iter::once(&self.columns).chain(&self.rows) {
            for (column, cell) in row.iter().enumerate() {
                let missing = widths[column].saturating_sub(cell.chars().count());
                let pad = " ".repeat(missing);
                // Names to the left, numbers to the right.
                out.push_str(&if column == 0 { format!("  {cell}{pad}") } else { format!("  {pad}{cell}") });
            }
            out.push('\n');
        }
        out
    }

    /// The table in Markdown.
    pub(super) fn markdown(&self) -> String {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let rule: Vec<String> = (0..self.columns.len())
            .map(|column| if column == 0 { "---" } else { "---:" }.to_owned())
            .collect();
        let rows: String = self.rows.iter().map(|row| line(row)).collect();
        format!("{}{}{rows}", line(&self.columns), line(&rule))
    }
}

fn cpu(comparison: &Comparison) -> Table {
    let value = |scenario: &Scenario, figures: &Figures| {
        if scenario.stream_tokens.is_some() { figures.cpu_us_per_token } else { figures.cpu_us_per_request }
    };
    let scenarios = comparison.scenarios.iter().filter(|scenario| scenario.pressure == Pressure::Saturate);
    by_peer(
        comparison,
        "CPU a request in µs, of streams a token, summed over all processes: median (least–greatest)",
        scenarios,
        &|scenario, figures| value(scenario, figures).map(|spread| show(spread, 1)),
    )
}

fn latency(comparison: &Comparison) -> Option<Table> {
    let scenario = comparison.scenarios.iter().find(|scenario| scenario.pressure == Pressure::Rate)?;
    let columns = ["", "requests/s", "p50 ms", "more than direct", "p99 ms", "CPU µs a request"]
        .map(str::to_owned)
        .into();
    let rows = comparison.peers().into_iter().filter_map(|peer| {
        let figures = comparison.figures(&scenario.name, peer)?;
        let cell =
            |spread: Option<Spread>, digits| spread.map_or("–".to_owned(), |spread| show(spread, digits));
        Some(vec![
            format!("{peer}{}", marks(&figures)),
            cell(figures.requests_per_s, 0),
            cell(figures.p50_ms, 2),
            cell(figures.added_p50_ms, 2),
            cell(figures.p99_ms, 2),
            cell(figures.cpu_us_per_request, 1),
        ])
    });
    let title =
        format!("Latency at {} requests/s, or what a peer can take (open loop, Poisson)", comparison.rate);
    Some(Table { title, columns, rows: rows.collect() })
}

fn memory(comparison: &Comparison) -> Table {
    by_peer(
        comparison,
        "Peak resident memory in MB, summed over all processes",
        comparison.scenarios.iter(),
        &|_, figures| figures.rss_peak_mb.map(|spread| format!("{:.0}", spread.median)),
    )
}

fn throughput(comparison: &Comparison) -> Option<Table> {
    let scenarios = || {
        let is_saturated = |scenario: &&Scenario| {
            scenario.pressure == Pressure::Saturate && scenario.stream_tokens.is_none()
        };
        comparison.scenarios.iter().filter(is_saturated)
    };
    scenarios().next()?;
    Some(by_peer(
        comparison,
        "Requests a second with one core for the gateway (* load or upstream was the bottleneck: it can do more)",
        scenarios(),
        &|_, figures| {
            let mark = if figures.is_load_bound { "*" } else { "" };
            figures.requests_per_s.map(|spread| format!("{:.0}{mark}", spread.median))
        },
    ))
}

/// A row for each scenario and a column for each peer that has a figure in one of them.
fn by_peer<'a>(
    comparison: &Comparison,
    title: &str,
    scenarios: impl Iterator<Item = &'a Scenario>,
    cell: &dyn Fn(&Scenario, &Figures) -> Option<String>,
) -> Table {
    let scenarios: Vec<&Scenario> = scenarios.collect();
    let show = |scenario: &Scenario, peer: &str| {
        let figures = comparison.figures(&scenario.name, peer)?;
        cell(scenario, &figures).map(|text| format!("{text}{}", marks(&figures)))
    };
    let mut peers = comparison.peers();
    // The load without a gateway has no processes to account for.
    peers.retain(|peer| scenarios.iter().any(|scenario| show(scenario, peer).is_some()));
    let rows = scenarios.iter().map(|scenario| {
        let cells = peers.iter().map(|peer| show(scenario, peer).unwrap_or_else(|| "–".to_owned()));
        std::iter::once(scenario.name.clone()).chain(cells).collect()
    });
    let columns = std::iter::once("").chain(peers.iter().copied()).map(str::to_owned);
    Table { title: title.to_owned(), columns: columns.collect(), rows: rows.collect() }
}

/// A figure that comes with failures is marked: it may be fast because it is wrong.
fn marks(figures: &Figures) -> &'static str {
    if figures.failed > 0 { " !" } else { "" }
}

fn show(spread: Spread, digits: usize) -> String {
    let Spread { median, min, max } = spread;
    if min.to_bits() == max.to_bits() {
        return format!("{median:.digits$}");
    }
    format!("{median:.digits$} ({min:.digits$}–{max:.digits$})")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::summary::tests::comparison;

    #[test]
    fn a_table_is_aligned_and_becomes_markdown() {
        let comparison =
            comparison(&[("direct", 1, 0.0, 1.0), ("nginx", 1, 20.0, 1.5), ("nginx", 2, 22.0, 1.5)]);
        let table = latency(&comparison).unwrap();
        assert_eq!((&*table.rows[1][0], &*table.rows[1][2]), ("nginx", "1.50"));
        assert_eq!(table.rows[1][5], "21.0 (20.0–22.0)");
        assert!(table.markdown().starts_with("|  | requests/s | p50 ms |"));
        let aligned = table.aligned();
        let widths: Vec<usize> = aligned.lines().map(|line| line.chars().count()).collect();
        assert!(widths.windows(2).all(|pair| pair[0] == pair[1]), "{aligned}");
        assert!(text(&comparison).contains("missing: absent: no such package"));
    }
}
