//! Reads an answer as it comes: times its tokens and checks that it is right.
//!
//! A fast wrong answer is an error: status, content type, JSON shape, `[DONE]` and the number of tokens are all
//! looked at. Bytes that equal the last ones that were parsed are not parsed again, so that checking a benchmark's
//! constant answers costs a comparison. Multi-line `data:` fields, which no inference API sends, are not joined.

use std::time::Duration;

use serde::Deserialize;
use tokio::time::Instant;

use super::outcome::{Failure, FailureKind};

/// Bytes of a wrong answer that a report shows.
const EXAMPLE_BYTES: usize = 200;

/// What a right answer looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ExpectedAnswer {
    pub(crate) is_stream: bool,
    /// Tokens that the answer must have; none accepts any number but zero.
    pub(crate) tokens: Option<u64>,
}

/// Reads one answer after the other.
#[derive(Debug)]
pub(crate) struct AnswerReader {
    expected: ExpectedAnswer,
    status: u16,
    body: Vec<u8>,
    is_done: bool,
    chunks: u64,
    usage: Option<Usage>,
    first_token: Option<Instant>,
    last_token: Option<Instant>,
    gaps: Vec<Duration>,
    fault: Option<Failure>,
    text: Option<String>,
    last_event: ParseCache,
    last_body: ParseCache,
}

/// The bytes that were parsed last, and what they said.
#[derive(Debug, Default)]
struct ParseCache {
    bytes: Vec<u8>,
    parsed: Option<Parsed>,
}

#[derive(Clone, Debug, Default)]
struct Parsed {
    content: String,
    usage: Option<Usage>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
struct Usage {
    #[serde(default)]
    prompt_tokens: u64,
    #[serde(default)]
    completion_tokens: u64,
}

/// What was found in an answer that is right.
#[derive(Debug)]
pub(crate) struct AnswerTokens {
    pub(crate) input_tokens: Option<u64>,
    pub(crate) output_tokens: u64,
}

impl AnswerReader {
    pub(crate) fn new() -> Self {
        Self {
            expected: ExpectedAnswer { is_stream: false, tokens: None },
            status: 0,
            body: Vec::new(),
            is_done: false,
            chunks: 0,
            usage: None,
            first_token: None,
            last_token: None,
            gaps: Vec::new(),
            fault: None,
            text: None,
            last_event: ParseCache::default(),
            last_body: ParseCache::default(),
        }
    }

    /// Forgets the last answer. `keeps_text` collects the answer's text for a next turn.
    pub(crate) fn begin(&mut self, expected: ExpectedAnswer, keeps_text: bool) {
        self.expected = expected;
        self.status = 0;
        self.body.clear();
        self.is_done = false;
        self.chunks = 0;
        self.usage = None;
        self.first_token = None;
        self.last_token = None;
        self.gaps.clear();
        self.fault = None;
        self.text = keeps_text.then(String::new);
    }

    pub(crate) fn on_head(&mut self, status: u16, content_type: &[u8]) {
        self.status = status;
        if status == 200 && self.expected.is_stream && !content_type.starts_with(b"text/event-stream") {
            let shown = excerpt(content_type);
            self.fault = Some(Failure::new(FailureKind::Shape, format!("a stream of type {shown:?}")));
        }
    }

    /// Takes the next bytes of the body, which came in at `at`. Returns the number of tokens in them.
    pub(crate) fn on_data(&mut self, mut data: &[u8], at: Instant) -> u64 {
        if self.status != 200 || !self.expected.is_stream {
            self.body.extend_from_slice(data);
            return 0;
        }
        let before = self.chunks;
        while let Some(end) = memchr::memchr(b'\n', data) {
            let (line, rest) = data.split_at(end);
            data = &rest[1..];
            if self.body.is_empty() {
                self.on_line(line, at);
            } else {
                let mut whole = std::mem::take(&mut self.body);
                whole.extend_from_slice(line);
                self.on_line(&whole, at);
                whole.clear();
                self.body = whole;
            }
        }
        self.body.extend_from_slice(data);
        self.chunks - before
    }

    /// Judges the answer, now that it is complete.
    pub(crate) fn end(&mut self) -> Result<AnswerTokens, Failure> {
        if self.status != 200 {
            return Err(Failure::new(FailureKind::Status(self.status), excerpt(&self.body)));
        }
        if let Some(fault) = self.fault.take() {
            return Err(fault);
        }
        if self.expected.is_stream {
            if !self.is_done {
                return Err(Failure::new(
                    FailureKind::NoDone,
                    format!("the stream ended after {} chunks", self.chunks),
                ));
            }
        } else {
            let parsed = self.last_body.parse(&self.body, whole)?;
            self.usage = parsed.usage;
            if let Some(text) = &mut self.text {
                text.push_str(&parsed.content);
            }
        }
        let output_tokens = self.usage.map_or(self.chunks, |usage| usage.completion_tokens);
        let is_right = match self.expected.tokens {
            Some(tokens) => output_tokens == tokens,
            None => output_tokens > 0,
        };
        if !is_right {
            let wanted = self.expected.tokens.map_or("some".to_owned(), |tokens| tokens.to_string());
            let detail = format!("{output_tokens} tokens instead of {wanted}");
            return Err(Failure::new(FailureKind::TokenCount, detail));
        }
        let input_tokens = self.usage.map(|usage| usage.prompt_tokens).filter(|tokens| *tokens > 0);
        Ok(AnswerTokens { input_tokens, output_tokens })
    }

    pub(crate) fn first_token(&self) -> Option<Instant> {
        self.first_token
    }

    pub(crate) fn last_token(&self) -> Option<Instant> {
        self.last_token
    }

    /// Times between consecutive tokens of the stream.
    pub(crate) fn gaps(&self) -> &[Duration] {
        &self.gaps
    }

    /// The answer's text, if [`AnswerReader::begin`] asked for it.
    pub(crate) fn take_text(&mut self) -> Option<String> {
        self.text.take()
    }

    fn on_line(&mut self, line: &[u8], at: Instant) {
        let Some(data) = line.strip_prefix(b"data:") else { return };
        let data = data.trim_ascii();
        if self.is_done {
            self.fault = Some(Failure::new(FailureKind::NoDone, "the stream went on after [DONE]"));
        } else if data == b"[DONE]" {
            self.is_done = true;
        } else {
            match self.last_event.parse(data, event) {
                Err(failure) => self.fault = self.fault.take().or(Some(failure)),
                Ok(parsed) => {
                    self.usage = parsed.usage.or(self.usage);
                    if !parsed.content.is_empty() {
                        if let Some(text) = &mut self.text {
                            text.push_str(&parsed.content);
                        }
                        self.on_token(at);
                    }
                }
            }
        }
    }

    fn on_token(&mut self, at: Instant) {
        self.chunks += 1;
        if let Some(last) = self.last_token {
            self.gaps.push(at - last);
        } else {
            self.first_token = Some(at);
        }
        self.last_token = Some(at);
    }
}

impl ParseCache {
    fn parse(
        &mut self,
        bytes: &[u8],
        parse: impl Fn(&[u8]) -> Result<Parsed, Failure>,
    ) -> Result<&Parsed, Failure> {
        if self.parsed.is_none() || self.bytes != bytes {
            self.parsed = None;
            self.parsed = Some(parse(bytes)?);
            self.bytes.clear();
            self.bytes.extend_from_slice(bytes);
        }
        self.parsed.as_ref().ok_or_else(|| Failure::new(FailureKind::Shape, "nothing was parsed"))
    }
}

#[derive(Deserialize)]
struct Body {
    choices: Option<Vec<Choice>>,
    usage: Option<Usage>,
    error: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Choice {
    message: Option<Message>,
    delta: Option<Message>,
    text: Option<String>,
}

#[derive(Deserialize)]
struct Message {
    content: Option<String>,
    /// vLLM's and DeepSeek's name for the tokens of a reasoning model before its answer.
    reasoning_content: Option<String>,
}

impl Message {
    fn into_text(self) -> Option<String> {
        match (self.reasoning_content, self.content) {
            (Some(reasoning), None) => Some(reasoning),
            (Some(reasoning), Some(content)) => Some(reasoning + &content),
            (None, content) => content,
        }
    }
}

fn parse(bytes: &[u8]) -> Result<Body, Failure> {
    serde_json::from_slice(bytes).map_err(|error| {
        let kind = if error.is_data() { FailureKind::Shape } else { FailureKind::NotJson };
        Failure::new(kind, format!("{error}: {}", excerpt(bytes)))
    })
}

/// An answer that came whole.
fn whole(bytes: &[u8]) -> Result<Parsed, Failure> {
    let wrong = |what: &str| Failure::new(FailureKind::Shape, format!("{what}: {}", excerpt(bytes)));
    let body = parse(bytes)?;
    let choice = body.choices.and_then(|choices| choices.into_iter().next());
    let choice = choice.ok_or_else(|| wrong("no choices"))?;
    let content = choice.text.or_else(|| choice.message.and_then(Message::into_text));
    let content = content.ok_or_else(|| wrong("a choice without content"))?;
    let usage = body.usage.ok_or_else(|| wrong("no usage"))?;
    Ok(Parsed { content, usage: Some(usage) })
}

/// One event of a stream.
fn event(bytes: &[u8]) -> Result<Parsed, Failure> {
    let body = parse(bytes)?;
    if body.error.is_some_and(|error| !error.is_null()) {
        return Err(Failure::new(FailureKind::ErrorEvent, excerpt(bytes)));
    }
    let choices = body
        .choices
        .ok_or_else(|| Failure::new(FailureKind::Shape, format!("no choices: {}", excerpt(bytes))))?;
    let choice = choices.into_iter().next();
    let content = choice.and_then(|choice| choice.text.or_else(|| choice.delta.and_then(Message::into_text)));
    Ok(Parsed { content: content.unwrap_or_default(), usage: body.usage })
}

fn excerpt(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(EXAMPLE_BYTES)]).into_owned()
}

#[cfg(test)]
mod tests;
