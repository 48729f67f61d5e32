//! `penstock explain`: asks a gateway that runs what would become of a request, and prints that for people.
//!
//! Asks `/debug/pick` of its admin listener, which sends nothing and counts nothing. The client is a few lines over a socket:
//! one request to one's own machine needs no library.

use std::{
    fmt::Write as _,
    io::{self, Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::{Args, ValueEnum};
use penstock_sources::files;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use thiserror::Error;

use super::{EXIT_UNAVAILABLE, EXIT_USAGE, fail};

/// The largest body that the admin listener explains.
const BODY_LIMIT_BYTES: u64 = 1 << 20;

/// How long the gateway may take to answer.
const DEADLINE: Duration = Duration::from_secs(20);

/// The largest explanation that is read.
const ANSWER_LIMIT_BYTES: u64 = 16 << 20;

/// Options of `explain`.
#[derive(Debug, Args)]
pub(super) struct ExplainOptions {
    /// The request's body; `-` is standard input
    #[arg(value_name = "FILE", conflicts_with = "model")]
    body: Option<PathBuf>,
    /// Explain a small request for this model, in the place of a body
    #[arg(short, long, value_name = "MODEL")]
    model: Option<String>,
    /// The admin listener of the gateway
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9901")]
    admin: String,
    /// The request's path and query [default: /v1/chat/completions]
    #[arg(long, value_name = "PATH")]
    path: Option<String>,
    /// The host that it is for
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// The listener that it comes to [default: the first]
    #[arg(long, value_name = "NAME")]
    listener: Option<String>,
    /// Its method [default: POST]
    #[arg(long, value_name = "METHOD")]
    method: Option<String>,
    /// The address that it comes from
    #[arg(long, value_name = "IP")]
    address: Option<String>,
    /// A header of it, such as `authorization: Bearer KEY`; a file with it, as `@FILE`, keeps keys out of the list of
    /// processes
    #[arg(short = 'H', long = "header", value_name = "HEADER")]
    headers: Vec<String>,
    /// How the explanation is printed
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    format: Format,
}

/// How an explanation is printed.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum Format {
    /// In lines for people
    #[default]
    Text,
    /// All of it, as the gateway says it
    Json,
}

/// Why there is no explanation.
#[derive(Debug, Error)]
enum ExplainError {
    /// A file could not be read.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: files::ReadError,
    },
    /// An option cannot be sent.
    #[error("{0}")]
    Option(String),
    /// The gateway was not reached, or broke off.
    #[error("no gateway answers at {admin} (--admin): {source}")]
    Connection {
        /// Where it was asked.
        admin: String,
        /// Why not.
        source: io::Error,
    },
    /// It did not explain.
    #[error("the gateway does not explain it: {0}")]
    Refused(String),
}

/// Asks, and prints the answer.
pub(super) fn run(options: &ExplainOptions) -> io::Result<ExitCode> {
    let explained = match explain(options) {
        Ok(explained) => explained,
        Err(error @ (ExplainError::File { .. } | ExplainError::Option(_))) => {
            return Ok(fail(EXIT_USAGE, &error));
        }
        Err(error) => return Ok(fail(EXIT_UNAVAILABLE, &error)),
    };
    let printed = match options.format {
        Format::Json => format!("{explained:#}\n"),
        Format::Text => for_people(&explained),
    };
    io::stdout().lock().write_all(printed.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn explain(options: &ExplainOptions) -> Result<Value, ExplainError> {
    let request = request(options)?;
    let failed = |source| ExplainError::Connection { admin: options.admin.clone(), source };
    let answer = exchange(&options.admin, &request).map_err(failed)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).unwrap_or_default();
    let explained: Option<Value> = serde_json::from_str(body).ok();
    match (status, explained) {
        ("200", Some(explained)) => Ok(explained),
        (_, Some(refused)) if refused["error"].is_string() => {
            Err(ExplainError::Refused(refused["error"].as_str().unwrap_or_default().to_owned()))
        }
        _ => Err(ExplainError::Refused(format!("it answers with status {status}: {}", body.trim()))),
    }
}

/// The request to the admin listener.
fn request(options: &ExplainOptions) -> Result<Vec<u8>, ExplainError> {
    let mut query = String::new();
    for (name, value) in [
        ("path", &options.path),
        ("host", &options.host),
        ("listener", &options.listener),
        ("method", &options.method),
        ("address", &options.address),
    ] {
        if let Some(value) = value {
            let separator = if query.is_empty() { '?' } else { '&' };
            let value = utf8_percent_encode(value, NON_ALPHANUMERIC);
            // Writing to memory does not fail.
            let _ = write!(query, "{separator}{name}={value}");
        }
    }
    let body = body(options)?;
    let mut head =
        format!("POST /debug/pick{query} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n", options.admin);
    let mut has_type = false;
    for header in &options.headers {
        let header = header_line(header)?;
        has_type |= header.to_ascii_lowercase().starts_with("content-type:");
        head.push_str(&header);
        head.push_str("\r\n");
    }
    if !body.is_empty() && !has_type {
        head.push_str("content-type: application/json\r\n");
    }
    let _ = write!(head, "content-length: {}\r\n\r\n", body.len());
    Ok([head.as_bytes(), &body].concat())
}

fn body(options: &ExplainOptions) -> Result<Vec<u8>, ExplainError> {
    match (&options.body, &options.model) {
        (Some(path), _) if path == Path::new("-") => {
            let mut body = Vec::new();
            let read = io::stdin().lock().take(BODY_LIMIT_BYTES + 1).read_to_end(&mut body);
            read.map_err(|error| ExplainError::Option(format!("standard input: {error}")))?;
            Ok(body)
        }
        (Some(path), _) => files::read(path, BODY_LIMIT_BYTES)
            .map_err(|source| ExplainError::File { path: path.clone(), source }),
        (None, Some(model)) => {
            let messages = json!([{ "role": "user", "content": "Hello" }]);
            Ok(json!({ "model": model, "messages": messages }).to_string().into_bytes())
        }
        (None, None) => Ok(Vec::new()),
    }
}

/// A header as a line, from the command line or from a file.
fn header_line(given: &str) -> Result<String, ExplainError> {
    /// The longest file of a header, in bytes.
    const LIMIT_BYTES: u64 = 64 << 10;
    let line = match given.strip_prefix('@') {
        None => given.to_owned(),
        Some(path) => files::read_text(Path::new(path), LIMIT_BYTES)
            .map_err(|source| ExplainError::File { path: path.into(), source })?,
    };
    let line = line.trim();
    // What it says is not quoted: it may be a key.
    let is_one = line.contains(':') && !line.starts_with(':') && !line.contains(['\r', '\n']);
    if !is_one {
        return Err(ExplainError::Option("--header takes one header, as in `x-team: search`".to_owned()));
    }
    Ok(line.to_owned())
}

fn exchange(admin: &str, request: &[u8]) -> io::Result<String> {
    let mut stream = TcpStream::connect(admin)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.set_write_timeout(Some(DEADLINE))?;
    // One that refuses a large body answers before it has read it.
    let sent = stream.write_all(request);
    let mut answer = Vec::new();
    let read = stream.take(ANSWER_LIMIT_BYTES).read_to_end(&mut answer);
    if answer.is_empty() {
        sent?;
        read?;
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the connection was closed"));
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// The explanation in lines.
fn for_people(explained: &Value) -> String {
    let mut out = String::new();
    let mut line = |name: &str, text: &str| {
        // Writing to memory does not fail.
        let _ = writeln!(out, "{name:<14}{text}");
    };
    let text = |name: &str| explained[name].as_str().unwrap_or_default();
    line("caller", &caller(&explained["caller"]));
    if explained["route"].is_string() {
        line("route", &format!("{}, rule {}", text("route"), text("rule")));
    }
    if explained["model"].is_string() {
        let there = text("model_there");
        let renamed = if there.is_empty() { String::new() } else { format!(", there {there}") };
        line("model", &format!("{}{renamed}", text("model")));
    }
    for (name, list) in [("limit", "limits"), ("target limit", "target_limits")] {
        for limit in explained[list].as_array().into_iter().flatten() {
            line(name, &limit_text(limit));
        }
    }
    for passed in explained["passed_over"].as_array().into_iter().flatten() {
        let upstream = passed["pool"].as_str().or(passed["backend"].as_str()).unwrap_or_default();
        line("passed over", &format!("{upstream}: {}", passed["why"].as_str().unwrap_or_default()));
    }
    if explained["refused"].is_string() {
        line("refused", text("refused"));
        let by = &explained["refused_by"];
        let parts = ["policy", "rule", "limit"]
            .iter()
            .filter_map(|part| Some(format!("{part} {}", by[*part].as_str()?)))
            .collect::<Vec<_>>();
        if !parts.is_empty() {
            line("refused by", &parts.join(", "));
        }
        return out;
    }
    if explained["redirects"] == true {
        line("redirects", text("location"));
    } else if explained["lists_models"] == true {
        line("answers", "the list of models");
    } else {
        let upstream = ["pool", "backend"]
            .iter()
            .find_map(|kind| Some(format!("{kind} {}", explained[*kind].as_str()?)))
            .unwrap_or_default();
        let endpoint = explained["picked"].as_str().map(|endpoint| format!(", {endpoint}"));
        line("served by", &format!("{upstream}{}", endpoint.unwrap_or_default()));
    }
    out
}

fn caller(caller: &Value) -> String {
    let Some(consumer) = caller["consumer"].as_str() else { return "nobody in particular".to_owned() };
    let tags = caller["tags"].as_object().into_iter().flatten();
    let tags: Vec<String> =
        tags.map(|(name, value)| format!("{name}: {}", value.as_str().unwrap_or_default())).collect();
    let consumer = if consumer.is_empty() { "somebody without a name" } else { consumer };
    if tags.is_empty() { consumer.to_owned() } else { format!("{consumer} ({})", tags.join(", ")) }
}

fn limit_text(limit: &Value) -> String {
    let text = |name: &str| limit[name].as_str().unwrap_or_default();
    let verdict = match (limit["exceeded"] == true, limit["shadow"] == true) {
        (false, _) => "",
        (true, true) => ": too little, and it only counts",
        (true, false) => ": too little",
    };
    format!(
        "{} of {}: {} of {} {} left, all of it in {} s{verdict}",
        text("limit"),
        text("policy"),
        limit["remaining"],
        limit["amount"],
        text("count"),
        limit["reset_seconds"].as_f64().unwrap_or_default() as u64,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_explanation_names_caller_limits_and_who_refuses() {
        let explained = json!({
            "caller": { "consumer": "search", "tags": { "team": "web" } },
            "route": "r", "rule": "0", "model": "m",
            "limits": [{
                "policy": "tenants", "limit": "tokens", "count": "TotalTokens", "amount": 100, "remaining": 3,
                "reset_seconds": 60.0, "exceeded": true, "shadow": false,
            }],
            "refused": "the limit is reached", "refused_by": { "policy": "tenants", "limit": "tokens" }, "picked": null,
        });
        let printed = for_people(&explained);
        for line in [
            "caller        search (team: web)\n",
            "route         r, rule 0\n",
            "limit         tokens of tenants: 3 of 100 TotalTokens left, all of it in 60 s: too little\n",
            "refused       the limit is reached\n",
            "refused by    policy tenants, limit tokens\n",
        ] {
            assert!(printed.contains(line), "{line}\n{printed}");
        }
    }

    #[test]
    fn what_is_served_names_who_serves_it() {
        let explained = json!({
            "caller": null, "route": "r", "rule": "0", "model": "m", "pool": "p", "picked": "10.0.0.1:8000",
            "passed_over": [{ "backend": "b", "why": "it is full" }],
        });
        let printed = for_people(&explained);
        assert!(printed.contains("caller        nobody in particular\n"), "{printed}");
        assert!(printed.contains("passed over   b: it is full\n"), "{printed}");
        assert!(printed.ends_with("served by     pool p, 10.0.0.1:8000\n"), "{printed}");
    }

    #[test]
    fn a_header_that_is_none_is_refused_without_being_quoted() {
        for given in ["sk-hush", ": sk-hush", "a: b\r\nc: sk-hush"] {
            let error = header_line(given).unwrap_err().to_string();
            assert!(!error.contains("hush"), "{error}");
        }
        assert_eq!(header_line(" x-team: search ").unwrap(), "x-team: search");
    }
}
