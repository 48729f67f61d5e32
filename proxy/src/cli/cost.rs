//! `penstock cost`: what the requests of access logs took and cost, by day, consumer, model and the like.
//!
//! Logs are read line by line, so that their size does not matter. What else a program's output has, such as the lines of
//! its own log, is passed over and counted. Sums are whole numbers: costs are billionths of a dollar, as limits reckon them.

mod bill;
mod print;

use std::{
    borrow::Cow,
    fs::File,
    io::{self, BufRead, BufReader, Read as _, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, ValueEnum};
use serde::Deserialize;
use thiserror::Error;

use self::bill::{Bill, MAX_ROWS, Spending};
use super::{EXIT_FAILURE, EXIT_USAGE, fail};

/// The longest line that is read. The gateway's own have some hundred bytes, and bounded texts of clients in them.
const LINE_LIMIT_BYTES: u64 = 1 << 20;

/// Options of `cost`.
#[derive(Debug, Args)]
pub(super) struct CostOptions {
    /// Access logs; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// What there is a line for each of
    #[arg(
        long,
        value_name = "NAME,…",
        value_enum,
        value_delimiter = ',',
        default_value = "day,consumer,model"
    )]
    by: Vec<Dimension>,
    /// The first day that counts, in UTC
    #[arg(long, value_name = "YYYY-MM-DD", value_parser = day)]
    since: Option<String>,
    /// The last day that counts, in UTC
    #[arg(long, value_name = "YYYY-MM-DD", value_parser = day)]
    until: Option<String>,
    /// How sums are printed
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    format: Format,
}

/// What requests are told apart by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Dimension {
    /// The day in UTC on which they ended
    Day,
    /// The month in UTC
    Month,
    /// Who asked
    Consumer,
    /// The model that was asked for
    Model,
    /// The model's name at the upstream, where it is another
    TargetModel,
    /// The pool or backend that answered
    Upstream,
    /// The route
    Route,
    /// The listener
    Listener,
}

/// How sums are printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// In columns for people
    #[default]
    Text,
    /// Comma-separated values, for spreadsheets
    Csv,
    /// One object
    Json,
}

/// Why nothing is printed.
#[derive(Debug, Error)]
enum CostError {
    /// A file could not be read.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Sums would take too much memory.
    #[error(
        "there are more than {MAX_ROWS} combinations: name fewer in --by, or shorten the time by --since and --until"
    )]
    TooMany,
    /// Nothing of it is an access log.
    #[error("{} has no line of an access log", path.display())]
    NoLog {
        /// The file.
        path: PathBuf,
    },
}

/// What is read of a line.
#[derive(Debug, Deserialize)]
struct Logged<'a> {
    #[serde(borrow)]
    time: Cow<'a, str>,
    /// It tells a request's line from those of the program's own log.
    #[serde(borrow, rename = "request_id")]
    _request_id: Cow<'a, str>,
    #[serde(borrow)]
    consumer: Option<Cow<'a, str>>,
    #[serde(borrow)]
    model: Option<Cow<'a, str>>,
    #[serde(borrow)]
    target_model: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pool: Option<Cow<'a, str>>,
    #[serde(borrow)]
    backend: Option<Cow<'a, str>>,
    #[serde(borrow)]
    route: Option<Cow<'a, str>>,
    #[serde(borrow)]
    listener: Option<Cow<'a, str>>,
    #[serde(default)]
    tokens: Tokens,
    /// In dollars; `Some(None)` where nobody said what the model costs.
    #[serde(default, deserialize_with = "told")]
    cost: Option<Option<f64>>,
}

/// What a request took.
#[derive(Debug, Default, Deserialize)]
struct Tokens {
    input: Option<u64>,
    cached_input: Option<u64>,
    output: Option<u64>,
}

/// What was read of all files.
#[derive(Default)]
struct Read {
    bill: Bill,
    /// Lines that are none of a request, and the first of them.
    passed_over: u64,
    first: Option<String>,
}

/// Reads the logs, and prints what they say.
pub(super) fn run(options: &CostOptions) -> io::Result<ExitCode> {
    let mut read = Read::default();
    for path in &options.files {
        match file(path, options, &mut read) {
            Ok(()) => {}
            Err(error @ CostError::File { .. }) => return Ok(fail(EXIT_FAILURE, &error)),
            Err(error) => return Ok(fail(EXIT_USAGE, &error)),
        }
    }
    if let Some(first) = &read.first {
        let lines = read.passed_over;
        writeln!(
            io::stderr(),
            "penstock: passed over {lines} lines that are no request's, the first at {first}"
        )?;
    }
    let printed = print::print(&read.bill, &options.by, options.format);
    io::stdout().lock().write_all(printed.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn file(path: &Path, options: &CostOptions, read: &mut Read) -> Result<(), CostError> {
    let of = |source| CostError::File { path: path.to_owned(), source };
    let is_log = if path == Path::new("-") {
        lines(path, io::stdin().lock(), options, read)?
    } else {
        lines(path, BufReader::new(File::open(path).map_err(of)?), options, read)?
    };
    if is_log { Ok(()) } else { Err(CostError::NoLog { path: path.to_owned() }) }
}

/// Adds what a file says. Returns whether there is anything of a request in it; an empty file is a log without requests.
fn lines(
    path: &Path,
    mut from: impl BufRead,
    options: &CostOptions,
    read: &mut Read,
) -> Result<bool, CostError> {
    let (mut line, mut number, mut requests) = (Vec::new(), 0_u64, 0_u64);
    loop {
        line.clear();
        let taken = from.by_ref().take(LINE_LIMIT_BYTES).read_until(b'\n', &mut line);
        if taken.map_err(|source| CostError::File { path: path.to_owned(), source })? == 0 {
            return Ok(number == 0 || requests > 0);
        }
        number += 1;
        match serde_json::from_slice::<Logged<'_>>(&line) {
            Ok(logged) => {
                requests += 1;
                add(&logged, options, &mut read.bill)?;
            }
            Err(_) if line.trim_ascii().is_empty() => {}
            Err(_) => {
                read.passed_over += 1;
                read.first.get_or_insert_with(|| format!("{}:{number}", path.display()));
            }
        }
    }
}

fn add(logged: &Logged<'_>, options: &CostOptions, bill: &mut Bill) -> Result<(), CostError> {
    let day = logged.time.get(..10).unwrap_or(&logged.time);
    let is_before = options.since.as_deref().is_some_and(|since| day < since);
    if is_before || options.until.as_deref().is_some_and(|until| day > until) {
        return Ok(());
    }
    let key = options.by.iter().map(|by| logged.value(*by).into()).collect();
    if bill.add(key, &spending(logged)) { Ok(()) } else { Err(CostError::TooMany) }
}

fn spending(logged: &Logged<'_>) -> Spending {
    let of = |count: Option<u64>| u128::from(count.unwrap_or_default());
    let Tokens { input, cached_input, output } = logged.tokens;
    Spending {
        requests: 1,
        without_price: u64::from(logged.cost == Some(None)),
        input: of(input),
        cached_input: of(cached_input),
        output: of(output),
        // Exact for what a request can cost: billionths of a dollar up to two million dollars.
        nano: (logged.cost.flatten().unwrap_or_default() * 1e9).round() as u128,
    }
}

impl Logged<'_> {
    /// Empty where a request has none.
    fn value(&self, of: Dimension) -> &str {
        let value = match of {
            Dimension::Day => self.time.get(..10),
            Dimension::Month => self.time.get(..7),
            Dimension::Consumer => self.consumer.as_deref(),
            Dimension::Model => self.model.as_deref(),
            Dimension::TargetModel => self.target_model.as_deref().or(self.model.as_deref()),
            Dimension::Upstream => self.pool.as_deref().or(self.backend.as_deref()),
            Dimension::Route => self.route.as_deref(),
            Dimension::Listener => self.listener.as_deref(),
        };
        value.unwrap_or_default()
    }
}

/// Tells a member that is null from one that is not there.
fn told<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Option<f64>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// A day, as the log has it.
fn day(text: &str) -> Result<String, String> {
    match humantime::parse_rfc3339(&format!("{text}T00:00:00Z")) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err("this is no day: write YYYY-MM-DD".to_owned()),
    }
}

#[cfg(test)]
mod tests;
