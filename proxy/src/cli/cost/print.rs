//! A bill in columns, as comma-separated values, or as JSON.
//!
//! Names of models are what clients sent: they bring no escape codes to a terminal and no formulas to a spreadsheet.

use std::fmt::Write as _;

use clap::ValueEnum as _;
use serde_json::{Map, Value, json};

use super::{
    Dimension, Format,
    bill::{Bill, Spending},
};

/// What every sum has.
const SUMS: [&str; 6] = ["requests", "input", "cached", "output", "without price", "dollars"];

/// A bill as text that ends with a line break.
pub(super) fn print(bill: &Bill, by: &[Dimension], format: Format) -> String {
    match format {
        Format::Text => text(bill, by),
        Format::Csv => csv(bill, by),
        Format::Json => format!("{:#}\n", json(bill, by)),
    }
}

fn text(bill: &Bill, by: &[Dimension]) -> String {
    let mut table = vec![head(by)];
    table.extend(bill.rows().map(|(key, spending)| {
        let key = key.iter().map(|value| if value.is_empty() { "-".to_owned() } else { visible(value) });
        key.chain(sums(spending)).collect()
    }));
    let mut total = vec![String::new(); by.len()];
    if let Some(first) = total.first_mut() {
        "total".clone_into(first);
    }
    total.extend(sums(bill.total()));
    table.push(total);
    let width = |at: usize| table.iter().map(|row: &Vec<String>| row[at].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..by.len() + SUMS.len()).map(width).collect();
    let mut printed = String::new();
    for row in &table {
        let mut line = String::new();
        for (at, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let gap = if at == 0 { "" } else { "  " };
            // Writing to memory does not fail.
            let _ = match at < by.len() {
                true => write!(line, "{gap}{cell:<width$}"),
                false => write!(line, "{gap}{cell:>width$}"),
            };
        }
        printed.push_str(line.trim_end());
        printed.push('\n');
    }
    printed
}

fn csv(bill: &Bill, by: &[Dimension]) -> String {
    let mut printed = String::new();
    let mut write = |row: Vec<String>| {
        let cells: Vec<String> = row.iter().map(|cell| quoted(cell)).collect();
        printed.push_str(&cells.join(","));
        printed.push_str("\r\n");
    };
    write(head(by));
    for (key, spending) in bill.rows() {
        write(key.iter().map(|value| harmless(value)).chain(sums(spending)).collect());
    }
    printed
}

fn json(bill: &Bill, by: &[Dimension]) -> Value {
    let row = |key: &[Box<str>], spending: &Spending| {
        let mut row: Map<String, Value> =
            by.iter().zip(key).map(|(by, value)| (name(*by).replace('-', "_"), json!(value))).collect();
        row.extend(members(spending));
        Value::Object(row)
    };
    let rows: Vec<Value> = bill.rows().map(|(key, spending)| row(key, spending)).collect();
    json!({"rows": rows, "total": Value::Object(members(bill.total()))})
}

fn members(spending: &Spending) -> Map<String, Value> {
    let count = |count: u128| json!(u64::try_from(count).unwrap_or(u64::MAX));
    let members = [
        ("requests", json!(spending.requests)),
        ("input_tokens", count(spending.input)),
        ("cached_input_tokens", count(spending.cached_input)),
        ("output_tokens", count(spending.output)),
        ("requests_without_price", json!(spending.without_price)),
        // Text, since a fraction loses digits.
        ("dollars", json!(spending.dollars())),
    ];
    members.map(|(name, value)| (name.to_owned(), value)).into_iter().collect()
}

fn head(by: &[Dimension]) -> Vec<String> {
    by.iter().map(|by| name(*by)).chain(SUMS.map(str::to_owned)).collect()
}

fn sums(spending: &Spending) -> [String; 6] {
    [
        spending.requests.to_string(),
        spending.input.to_string(),
        spending.cached_input.to_string(),
        spending.output.to_string(),
        spending.without_price.to_string(),
        spending.dollars(),
    ]
}

/// As `--by` has it.
fn name(of: Dimension) -> String {
    of.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

/// Text without what moves a terminal's cursor or hides itself.
fn visible(text: &str) -> String {
    text.chars()
        .map(|letter| if letter.is_control() { char::REPLACEMENT_CHARACTER } else { letter })
        .collect()
}

/// Text that no spreadsheet takes for a formula.
fn harmless(text: &str) -> String {
    let text = visible(text);
    if text.starts_with(['=', '+', '-', '@']) { format!("'{text}") } else { text }
}

/// As RFC 4180 has it.
fn quoted(cell: &str) -> String {
    if cell.contains([',', '"']) { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell.to_owned() }
}
