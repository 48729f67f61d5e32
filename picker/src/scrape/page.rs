//! Reads the few wanted series off a page in Prometheus' text format, and nothing else.
//!
//! A vLLM page has 60 KB and 600 lines, of which six matter. A parser that builds families, labels and
//! samples for all of them costs a hundred times this scan, and across a hundred endpoints it is what an
//! idle gateway spends its time on. So lines are found with `memchr`, refused by their first bytes, and only
//! a wanted one is looked at more closely. Nothing is buffered but a line that the end of a chunk has cut.
//!
//! Several series of one family become one number, and how many engines it is of (data parallel engines behind one
//! port): requests add up; KV-cache usage is averaged, because the caches are equally large and the engine's own
//! balancer sends a request to the emptiest. Series of one engine (its tensor parallel ranks) are taken for copies of
//! each other; `engine` has the labels that tell which is which.
//!
//! What is broken is skipped and counted, never guessed: a value that is no number, is not finite or is
//! negative, labels that do not parse, a line over [`MAX_LINE_BYTES`].
//!
//! Format: <https://prometheus.io/docs/instrumenting/exposition_formats/>, and OpenMetrics 1.0 as far as a
//! server sends that instead.

use memchr::{memchr, memchr_iter};

use crate::engine::{EngineSeries, Wanted};

mod sample;
mod tally;

pub use tally::{Adapters, Reading};

use sample::Sample;
use tally::Tally;

/// Bytes of a line that are looked at. vLLM's longest wanted line (`cache_config_info`) has 700; the names of
/// a few hundred LoRA adapters fit as well. A cut line waits in memory for its rest, hence a limit at all.
pub const MAX_LINE_BYTES: usize = 64 * 1024;

/// A scan in progress over one page after the other.
///
/// Where chunks are cut makes no difference to what is read.
#[derive(Debug)]
pub struct PageScanner {
    series: &'static EngineSeries,
    /// One bit for each (folded) byte that may follow the prefix in a wanted name.
    begins: u64,
    /// The head of a line of which the rest has not come yet.
    cut_line: Vec<u8>,
    /// The rest of the present line is of no interest.
    is_skipping: bool,
    tally: Tally,
}

impl PageScanner {
    /// A scanner for the pages of one engine.
    #[must_use]
    pub fn new(series: &'static EngineSeries) -> Self {
        let begins = series.wanted.iter().fold(0, |bits, w| bits | first_bit(w.suffix.as_bytes()));
        Self { series, begins, cut_line: Vec::new(), is_skipping: false, tally: Tally::new(series.repeats) }
    }

    /// Reads the next bytes of the page.
    pub fn feed(&mut self, chunk: &[u8]) {
        let Some(lines) = self.finish_cut_line(chunk) else { return };
        let mut start = 0;
        for end in memchr_iter(b'\n', lines) {
            self.line(&lines[start..end]);
            start = end + 1;
        }
        self.keep(&lines[start..]);
    }

    /// Ends the page, gives what was read from it, and is ready for the next.
    pub fn finish(&mut self) -> Reading {
        let last = std::mem::take(&mut self.cut_line);
        if !self.is_skipping {
            self.line(&last);
        }
        let reading = self.tally.take_reading();
        self.reset();
        self.cut_line = last;
        self.cut_line.clear();
        self.cut_line.shrink_to(MAX_IDLE_BYTES);
        reading
    }

    /// Forgets a page that did not arrive whole.
    pub fn reset(&mut self) {
        self.cut_line.clear();
        self.cut_line.shrink_to(MAX_IDLE_BYTES);
        self.is_skipping = false;
        self.tally.reset();
    }

    /// Completes the line that the last chunk ended in. Returns what follows it, or nothing if this chunk
    /// ends in the same line.
    fn finish_cut_line<'c>(&mut self, chunk: &'c [u8]) -> Option<&'c [u8]> {
        if !self.is_skipping && self.cut_line.is_empty() {
            return Some(chunk);
        }
        let Some(end) = memchr(b'\n', chunk) else {
            self.keep(chunk);
            return None;
        };
        if !self.is_skipping {
            self.keep(&chunk[..end]);
        }
        if !self.is_skipping {
            let line = std::mem::take(&mut self.cut_line);
            self.line(&line);
            self.cut_line = line;
        }
        self.cut_line.clear();
        self.is_skipping = false;
        Some(&chunk[end + 1..])
    }

    /// Keeps a part of a line until the rest of it comes, if it can be a wanted one.
    fn keep(&mut self, part: &[u8]) {
        if self.is_skipping || part.is_empty() {
            return;
        }
        if self.cut_line.is_empty() && !self.may_become_wanted(part) {
            self.is_skipping = true;
            return;
        }
        let room = MAX_LINE_BYTES - self.cut_line.len();
        self.cut_line.extend_from_slice(&part[..part.len().min(room)]);
        if part.len() > room {
            let head = std::mem::take(&mut self.cut_line);
            self.overlong(&head);
            self.is_skipping = true;
        }
    }

    /// Whether a line of which only the head is known may turn out to be wanted.
    fn may_become_wanted(&self, head: &[u8]) -> bool {
        let head = trim_start(head);
        let prefix = self.series.prefix.as_bytes();
        let known = head.len().min(prefix.len());
        head[..known] == prefix[..known]
    }

    fn line(&mut self, line: &[u8]) {
        if line.len() > MAX_LINE_BYTES {
            self.overlong(&line[..MAX_LINE_BYTES]);
            return;
        }
        let Some((wanted, rest)) = self.wanted(line) else { return };
        let first = &wanted[0];
        match Sample::parse(rest, &self.series.engine_labels) {
            // Only Triton has several wanted series of one name; its labels tell them apart.
            Some(sample) => {
                let named = wanted.iter().take_while(|w| w.suffix == first.suffix);
                for series in named.filter(|w| sample.passes(w.filter)) {
                    self.tally.add(series.field, &sample);
                }
            }
            None => self.tally.malformed += 1,
        }
    }

    fn overlong(&mut self, head: &[u8]) {
        if self.wanted(head).is_some() {
            self.tally.malformed += 1;
        }
    }

    /// The entries of the table from the line's name on, and what follows the name.
    fn wanted<'l>(&self, line: &'l [u8]) -> Option<(&'static [Wanted], &'l [u8])> {
        let name = trim_start(line).strip_prefix(self.series.prefix.as_bytes())?;
        if self.begins & first_bit(name) == 0 {
            return None;
        }
        let series = self.series;
        series.wanted.iter().enumerate().find_map(|(index, wanted)| {
            let rest = name.strip_prefix(wanted.suffix.as_bytes())?;
            // A longer name is another series: num_requests_waiting_by_reason.
            matches!(rest.first(), Some(b'{' | b' ' | b'\t')).then(|| (&series.wanted[index..], rest))
        })
    }
}

/// Capacity that a scanner keeps between two pages.
const MAX_IDLE_BYTES: usize = 4 * 1024;

fn first_bit(name: &[u8]) -> u64 {
    name.first().map_or(0, |byte| 1 << (byte & 63))
}

fn trim_start(line: &[u8]) -> &[u8] {
    match line.first() {
        Some(b' ' | b'\t') => line.trim_ascii_start(),
        _ => line,
    }
}

#[cfg(test)]
mod tests;
