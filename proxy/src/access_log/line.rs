//! An [`Entry`] as a line of JSON, written by hand: it is a fixed list of members, and formatting through `serde` and
//! `fmt` took as long as deciding where a request goes.

use std::borrow::Cow;
use std::fmt::Display;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use penstock_tap::{Usage, UsageSource};

use crate::access_log::entry::{
    MAX_CONSUMER_BYTES, MAX_METHOD_BYTES, MAX_MODEL_BYTES, MAX_PATH_BYTES, MAX_USER_AGENT_BYTES,
};
use crate::access_log::{Bill, Entry, Refused, Told, Tried};
use crate::text::{clip, decimal, ip};

/// Writes lines, and remembers the second that the last one was about.
#[derive(Debug, Default)]
pub struct Formatter {
    second: Option<u64>,
    /// The second as text, up to the point before its fraction.
    text: String,
}

/// A line that is being written: whether a comma is due is known by what is there.
struct Line<'a>(&'a mut Vec<u8>);

impl Formatter {
    /// Appends `entry` to `out`, with a line break.
    pub fn write(&mut self, entry: &Entry, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"time\":\"");
        self.write_time(entry.time, out);
        out.push(b'"');
        let mut line = Line(out);
        let Told { request_id, path, user_agent, model, consumer } = entry.texts.told();
        line.plain("request_id", request_id);
        line.text("method", entry.method.as_str().as_bytes(), MAX_METHOD_BYTES);
        if let Some(path) = path {
            line.text("path", path, MAX_PATH_BYTES);
        }
        if let Some(client) = entry.forwarded_for {
            line.name("client");
            line.display(format_args!("\"{client}\""));
        }
        if let Some(peer) = entry.peer {
            line.address(if entry.forwarded_for.is_some() { "proxy" } else { "client" }, peer);
        }
        if let Some(agent) = user_agent {
            line.text("user_agent", agent, MAX_USER_AGENT_BYTES);
        }
        if let Some(consumer) = consumer {
            line.text("consumer", consumer, MAX_CONSUMER_BYTES);
        }
        if let Some(refused) = &entry.refused {
            line.refused(refused);
        }
        line.own("listener", &entry.listener);
        if let Some(route) = &entry.route {
            line.own("route", route);
        }
        if let Some(model) = model {
            line.text("model", model, MAX_MODEL_BYTES);
        }
        if let Some(model) = &entry.target_model {
            line.own("target_model", model);
        }
        if let Some(upstream) = &entry.upstream {
            line.own(upstream.kind.label(), &upstream.name);
            if let Some(endpoint) = upstream.endpoint {
                line.address("endpoint", endpoint);
            }
        }
        line.tried(&entry.tried);
        if let Some(dropped) = &entry.dropped {
            line.text("dropped", dropped.as_bytes(), usize::MAX);
        }
        line.number("attempts", u64::from(entry.attempts));
        line.number("status", u64::from(entry.status));
        if let Some(error) = entry.error {
            line.plain("error", error.as_bytes());
        }
        line.name("stream");
        line.0.extend_from_slice(if entry.is_stream { b"true" } else { b"false" });
        line.tokens(&entry.usage);
        if let Some(source) = entry.usage_source {
            line.plain("usage_source", source.name().as_bytes());
        }
        if let Some(bill) = &entry.bill {
            line.bill(bill);
        }
        // Of a stream that could not be read, no zero is told that looks like a count.
        if entry.is_stream && entry.usage_source != Some(UsageSource::Encoded) {
            line.number("content_events", entry.content_events);
            if let Some(first) = entry.time_to_first_token {
                line.milliseconds("ttft_ms", first);
            }
        }
        line.milliseconds("duration_ms", entry.duration);
        line.number("request_bytes", entry.request_bytes);
        line.number("response_bytes", entry.response_bytes);
        if let Some(blocks) = entry.matched_blocks {
            line.number("matched_blocks", u64::from(blocks));
        }
        out.extend_from_slice(b"}\n");
    }

    /// RFC 3339 to the millisecond. The second changes once in thousands of lines, the rest is three digits.
    fn write_time(&mut self, time: SystemTime, out: &mut Vec<u8>) {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        if self.second != Some(since.as_secs()) {
            let start = UNIX_EPOCH + Duration::from_secs(since.as_secs());
            self.text = humantime::format_rfc3339_seconds(start).to_string();
            self.text.truncate(self.text.len() - "Z".len());
            self.second = Some(since.as_secs());
        }
        out.extend_from_slice(self.text.as_bytes());
        out.push(b'.');
        thousandths(since.subsec_millis(), out);
        out.push(b'Z');
    }
}

impl Line<'_> {
    /// Inlined, as what calls it: names are constants, and their lengths known then.
    #[inline(always)]
    fn name(&mut self, name: &'static str) {
        // Room for all of it at once, and for a value that is short.
        self.0.reserve(name.len() + 32);
        self.0.extend_from_slice(b",\"");
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(b"\":");
    }

    /// Text that has nothing to be escaped: the gateway's own words, and ids, whose characters were checked.
    #[inline(always)]
    fn plain(&mut self, name: &'static str, text: &[u8]) {
        self.name(name);
        self.quoted(text);
    }

    /// A name from the configuration.
    #[inline(always)]
    fn own(&mut self, name: &'static str, text: &str) {
        self.text(name, text.as_bytes(), usize::MAX);
    }

    /// A client's text, cut at a number of bytes and marked with `…` there. What is no UTF-8 is replaced.
    #[inline(always)]
    fn text(&mut self, name: &'static str, bytes: &[u8], max_bytes: usize) {
        self.name(name);
        self.value(bytes, max_bytes);
    }

    /// Text that has nothing to be escaped, in quotes.
    fn quoted(&mut self, text: &[u8]) {
        self.0.reserve(text.len() + 2);
        self.0.push(b'"');
        self.0.extend_from_slice(text);
        self.0.push(b'"');
    }

    /// Any text, in quotes.
    fn value(&mut self, bytes: &[u8], max_bytes: usize) {
        // All bytes are looked at, whatever they are: so the compiler takes many of them at once.
        if bytes.len() <= max_bytes && bytes.iter().fold(true, |all, byte| all & is_plain(*byte)) {
            self.quoted(bytes);
            return;
        }
        // Writing to memory does not fail.
        let _ = serde_json::to_writer(&mut *self.0, &*bounded(bytes, max_bytes));
    }

    #[inline(always)]
    fn address(&mut self, name: &'static str, address: SocketAddr) {
        self.name(name);
        self.socket(address);
    }

    fn socket(&mut self, address: SocketAddr) {
        self.0.push(b'"');
        match address {
            SocketAddr::V4(v4) => {
                ip(IpAddr::V4(*v4.ip()), self.0);
                self.0.push(b':');
                decimal(u64::from(v4.port()), self.0);
            }
            SocketAddr::V6(v6) => self.display(v6),
        }
        self.0.push(b'"');
    }

    fn display(&mut self, value: impl Display) {
        // Writing to memory does not fail.
        let _ = write!(self.0, "{value}");
    }

    #[inline(always)]
    fn number(&mut self, name: &'static str, number: u64) {
        self.name(name);
        decimal(number, self.0);
    }

    /// To three places.
    #[inline(always)]
    fn milliseconds(&mut self, name: &'static str, duration: Duration) {
        self.name(name);
        self.thousands(duration);
    }

    fn thousands(&mut self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        decimal(micros / 1000, self.0);
        self.0.push(b'.');
        thousandths((micros % 1000) as u32, self.0);
    }

    fn refused(&mut self, refused: &Refused) {
        if let Some(policy) = &refused.policy {
            self.own("policy", policy);
        }
        if let Some(rule) = &refused.rule {
            self.own("rule", rule);
        }
        if let Some(limit) = &refused.limit {
            self.own("limit", limit);
        }
    }

    fn bill(&mut self, bill: &Bill) {
        match bill.cost {
            None => {}
            Some(None) => {
                self.name("cost");
                self.0.extend_from_slice(b"null");
            }
            Some(Some(cost)) => self.dollars("cost", cost),
        }
        if bill.charged.is_empty() {
            return;
        }
        self.name("charged");
        for (at, charged) in bill.charged.iter().enumerate() {
            self.0.extend_from_slice(if at == 0 { b"[{\"policy\":" } else { b",{\"policy\":" });
            self.value(charged.limit.policy.as_bytes(), usize::MAX);
            self.own("limit", &charged.limit.limit);
            self.number("held", charged.held);
            self.number("used", charged.used);
            self.0.push(b'}');
        }
        self.0.push(b']');
    }

    /// Billionths of a dollar, as dollars.
    fn dollars(&mut self, name: &'static str, nano: u64) {
        const A_DOLLAR: u64 = 1_000_000_000;
        self.name(name);
        decimal(nano / A_DOLLAR, self.0);
        let rest = nano % A_DOLLAR;
        if rest > 0 {
            // The dollar before it keeps the noughts that the rest begins with, and gives way to the point.
            let point = self.0.len();
            decimal(A_DOLLAR + rest, self.0);
            self.0[point] = b'.';
            while self.0.last() == Some(&b'0') {
                self.0.pop();
            }
        }
    }

    fn tried(&mut self, tried: &[Tried]) {
        if tried.is_empty() {
            return;
        }
        self.name("tried");
        for (at, Tried { kind, name, reason }) in tried.iter().enumerate() {
            self.0.extend_from_slice(if at == 0 { b"[{" } else { b",{" });
            self.0.push(b'"');
            self.0.extend_from_slice(kind.label().as_bytes());
            self.0.extend_from_slice(b"\":");
            // Writing to memory does not fail.
            let _ = serde_json::to_writer(&mut *self.0, &**name);
            self.plain("reason", reason.as_bytes());
            self.0.push(b'}');
        }
        self.0.push(b']');
    }

    fn tokens(&mut self, usage: &Usage) {
        if *usage == Usage::default() {
            return;
        }
        let Usage { input, output, cached_input, cache_creation, reasoning, total } = *usage;
        self.name("tokens");
        self.0.push(b'{');
        let mut comma = "";
        for (name, count) in [
            ("input", input),
            ("output", output),
            ("cached_input", cached_input),
            ("cache_creation", cache_creation),
            ("reasoning", reasoning),
            ("total", total),
        ] {
            let Some(count) = count else { continue };
            self.0.extend_from_slice(comma.as_bytes());
            comma = ",";
            self.0.push(b'"');
            self.0.extend_from_slice(name.as_bytes());
            self.0.extend_from_slice(b"\":");
            decimal(count, self.0);
        }
        self.0.push(b'}');
    }
}

/// Whether a byte stands for itself in JSON.
fn is_plain(byte: u8) -> bool {
    matches!(byte, 0x20..=0x7e) && byte != b'"' && byte != b'\\'
}

fn bounded(bytes: &[u8], max_bytes: usize) -> Cow<'_, str> {
    if bytes.len() <= max_bytes {
        return String::from_utf8_lossy(bytes);
    }
    // A few bytes more than the bound, so that a character across it is not mistaken for a broken one.
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(max_bytes + 4)]);
    Cow::Owned(format!("{}…", clip(&text, max_bytes)))
}

fn thousandths(number: u32, out: &mut Vec<u8>) {
    out.extend([100, 10, 1].map(|place| b'0' + (number / place % 10) as u8));
}
