//! What a peek found out about a body.

use std::ops::Range;

use crate::error::Break;

/// The outcome of a peek. The body itself is never part of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peeked {
    /// What the body turned out to be.
    pub shape: Shape,
    /// The top-level `model`; `None` where the body has none, or has `null`.
    pub model: Option<Model>,
    /// The top-level `stream` where it is `true` or `false`; the last one counts.
    pub stream: Option<bool>,
    /// The most tokens that the request lets the model generate, where it is a non-negative integer: the
    /// first present of `max_completion_tokens`, `max_output_tokens` and `max_tokens`, the last of its name.
    pub max_tokens: Option<u64>,
    /// How many answers the request asks for (`n`), where it is a non-negative integer; the last one counts. Each may have
    /// `max_tokens`.
    pub answers: Option<u64>,
    /// The top-level `user`, where it is a well-formed string of at most 256 bytes; the last one counts.
    pub user: Option<Box<str>>,
    /// Raw bytes of the values of the prompt-bearing members, whether they were hashed or not.
    pub prompt_bytes: u64,
    /// Chained hashes of the whole prompt blocks, the first being the head of the prompt: each covers all up to
    /// the end of its block. Past the 32nd, blocks make groups of 2 (past the 64th of 4, the 128th of 8, the
    /// 256th of 16), and those that do not end one carry the hash of what lies before it. The model is not mixed
    /// in.
    pub blocks: Vec<u64>,
    /// Where the text of Claude Code's billing header lies in the body, behind `x-anthropic-billing-header:`: it is another
    /// with each request, so it is no part of `blocks` and `prompt_bytes`, and no model server has any use for it.
    pub billing_header: Option<Range<usize>>,
    /// Where and how a JSON body departs from RFC 8259, if the scanner noticed. It is not a validator: such
    /// a body is forwarded all the same, and the model server has the last word.
    pub malformed: Option<Malformed>,
}

/// What kind of body a peek saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shape {
    /// No byte, or nothing but white space.
    #[default]
    Empty,
    /// A JSON object, possibly a malformed one.
    Object,
    /// JSON declared by `Content-Type` whose top level is no object: it has no model.
    OtherJson,
    /// `multipart/form-data`.
    Form,
    /// Anything else. It has no model, which is not an error.
    Opaque,
}

/// The model that a body asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    /// The name with escapes resolved: not empty, UTF-8 without control or line-separating characters, no
    /// white space at either end, so it is fit for a header value and a metric label.
    pub name: String,
    /// Where the value lies in the decoded body: the JSON string with its quotes, or the form field's value.
    pub range: Range<usize>,
    /// How the value is written, which decides how a replacement is written.
    pub notation: Notation,
}

/// How a model name is written in the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notation {
    /// A JSON string, quotes and escapes included.
    JsonString,
    /// The bare value of a `multipart/form-data` field.
    FormField,
}

/// The first departure from RFC 8259 that the scanner noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// Offset in the decoded body, in bytes.
    pub at: usize,
    /// What is wrong there.
    pub what: Break,
}
