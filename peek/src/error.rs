//! Why a body is refused, and the HTTP status that says so.

use std::fmt;

use thiserror::Error;

/// A body that must not be forwarded on the strength of what was peeked.
///
/// Each one is the client's fault and none is worth a retry. The text names the place and the way out and
/// carries at most an [`Excerpt`] of the body. Offsets count bytes of the decoded body.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum PeekError {
    /// Parsers disagree on which of two members counts, so a second one is a way round access rules.
    #[error("the body has more than one top-level `model` (another at byte {at}): send exactly one")]
    DuplicateModel {
        /// Offset of the second one's name.
        at: usize,
    },
    /// Some parsers (Go's, for one) match member names without regard to case.
    #[error("the top-level member {key} at byte {at} differs from `model` only in case: spell it `model`")]
    ModelCase {
        /// Offset of the name.
        at: usize,
        /// The name as it was sent.
        key: Excerpt,
    },
    /// `model` is a number, a boolean, an array or an object.
    #[error("`model` at byte {at} is {found}: send a string")]
    ModelType {
        /// Offset of the value.
        at: usize,
        /// What it is, with its article.
        found: &'static str,
    },
    /// The name exceeds [`Options::max_model_bytes`](crate::Options::max_model_bytes).
    #[error("`model` at byte {at} is longer than {limit} bytes: send a shorter name")]
    ModelTooLong {
        /// Offset of the value.
        at: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The name could not stand in a header, a label or a log line without doing harm.
    #[error("`model` at byte {at} {fault}: {name}")]
    ModelName {
        /// Offset of the value.
        at: usize,
        /// What is wrong with it.
        fault: NameFault,
        /// The value as it was sent.
        name: Excerpt,
    },
    /// The JSON breaks or ends between `model` and the end of its value.
    #[error("`model` has no complete value at byte {at} ({what}): correct the JSON")]
    ModelBroken {
        /// Offset of the name or value.
        at: usize,
        /// What broke.
        what: Break,
    },
    /// A top-level member's name that parsers may read differently.
    #[error("the top-level member name at byte {at} {fault}: {key}")]
    Key {
        /// Offset of the name.
        at: usize,
        /// What is wrong with it.
        fault: NameFault,
        /// The name as it was sent.
        key: Excerpt,
    },
    /// A top-level member's name exceeds [`MAX_KEY_BYTES`](crate::MAX_KEY_BYTES).
    #[error("the top-level member name at byte {at} is longer than {limit} bytes: shorten it")]
    KeyTooLong {
        /// Offset of the name.
        at: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// Nesting exceeds [`Options::max_depth`](crate::Options::max_depth).
    #[error("the body is nested deeper than {limit} levels (peek.maxDepth) at byte {at}: flatten it")]
    TooDeep {
        /// Offset of the bracket that was one too many.
        at: usize,
        /// The limit in levels.
        limit: usize,
    },
    /// The body looks like JSON in UTF-16 or UTF-32, which RFC 8259 forbids and Python reads, or behind bytes
    /// that some servers strip.
    #[error("the body is JSON in another encoding than UTF-8, or behind stray bytes (byte {at}): send UTF-8")]
    NotUtf8Json {
        /// Offset of the first byte that gives it away.
        at: usize,
    },
    /// Broken JSON that a more lenient parser could find a `model` in.
    #[error(
        "the body is not valid JSON ({what} at byte {broken_at}) and the word `model` follows at byte {at}: \
         correct the JSON"
    )]
    Ambiguous {
        /// Offset of the break.
        broken_at: usize,
        /// What broke.
        what: Break,
        /// Offset just behind the word.
        at: usize,
    },
    /// Members have to be changed on the way to the model server, and the object is broken at its top level.
    #[error(
        "the body is not valid JSON ({what} at byte {at}), and it has to be changed on its way: correct the JSON"
    )]
    Uneditable {
        /// Offset of the break.
        at: usize,
        /// What broke.
        what: Break,
    },
    /// A member that has to be changed on the way to the model server occurs twice.
    #[error("the top-level member {name} is there twice (again at byte {at}): send it once")]
    DuplicateMember {
        /// Offset of the second one's name.
        at: usize,
        /// Its name.
        name: Excerpt,
    },
    /// A `multipart/form-data` body that form parsers may take apart differently.
    #[error("the multipart body {fault} (byte {at})")]
    Form {
        /// Offset of the fault; 0 where the fault is in `Content-Type`.
        at: usize,
        /// What is wrong.
        fault: FormFault,
    },
    /// A `Content-Encoding` that cannot be seen through.
    #[error("cannot read a body with content-encoding {encoding}: send gzip, deflate, br, zstd or none")]
    UnsupportedEncoding {
        /// The header's value.
        encoding: Excerpt,
    },
    /// A `charset` that would make the server read other characters than the gateway.
    #[error("cannot read a body with charset {charset}: send UTF-8")]
    UnsupportedCharset {
        /// The parameter's value.
        charset: Excerpt,
    },
    /// The body does not decode as its `Content-Encoding` says.
    #[error("the body is not valid {encoding} (near byte {at} as sent): correct it or its content-encoding")]
    CorruptEncoding {
        /// The coding.
        encoding: &'static str,
        /// Bytes of the encoded body taken before it failed.
        at: usize,
    },
    /// The body is declared encoded and reads as plain text: a server that ignores the header would read
    /// something else than the gateway.
    #[error("the body is declared {encoding} but starts like a plain one: drop the content-encoding header")]
    PlainBehindEncoding {
        /// The coding.
        encoding: &'static str,
    },
    /// The decoded body exceeds [`Options::max_decoded_bytes`](crate::Options::max_decoded_bytes).
    #[error("the body decodes to more than {limit} bytes (limits.decodedBodyBytes): send a smaller one")]
    DecodedTooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// The body decodes to more than its size allows: see
    /// [`Options::max_decoded_ratio`](crate::Options::max_decoded_ratio).
    #[error(
        "the body decodes to more than {limit} bytes, over {ratio} times what was sent (limits.decodedBodyRatio): send \
         it without content-encoding"
    )]
    DecodedTooFar {
        /// How many times its own size a body may decode to.
        ratio: u32,
        /// What that makes for this body, in bytes.
        limit: u64,
    },
}

impl PeekError {
    /// The HTTP status of the answer: 400, 413 or 415.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::DecodedTooLarge { .. } | Self::DecodedTooFar { .. } => 413,
            Self::UnsupportedEncoding { .. } | Self::UnsupportedCharset { .. } => 415,
            Self::DuplicateModel { .. }
            | Self::ModelCase { .. }
            | Self::ModelType { .. }
            | Self::ModelTooLong { .. }
            | Self::ModelName { .. }
            | Self::ModelBroken { .. }
            | Self::Key { .. }
            | Self::KeyTooLong { .. }
            | Self::TooDeep { .. }
            | Self::NotUtf8Json { .. }
            | Self::Ambiguous { .. }
            | Self::Uneditable { .. }
            | Self::DuplicateMember { .. }
            | Self::Form { .. }
            | Self::CorruptEncoding { .. }
            | Self::PlainBehindEncoding { .. } => 400,
        }
    }

    /// A stable name of the variant, for OpenAI's `code` and a metric's `reason`.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::DuplicateModel { .. } => "duplicate_model",
            Self::ModelCase { .. } => "model_case",
            Self::ModelType { .. } => "model_type",
            Self::ModelTooLong { .. } => "model_too_long",
            Self::ModelName { .. } => "model_name",
            Self::ModelBroken { .. } => "model_broken",
            Self::Key { .. } => "member_name",
            Self::KeyTooLong { .. } => "member_name_too_long",
            Self::TooDeep { .. } => "nested_too_deep",
            Self::NotUtf8Json { .. } => "not_utf8",
            Self::Ambiguous { .. } => "ambiguous_json",
            Self::Uneditable { .. } => "uneditable",
            Self::DuplicateMember { .. } => "duplicate_member",
            Self::Form { .. } => "ambiguous_form",
            Self::UnsupportedEncoding { .. } => "unsupported_encoding",
            Self::UnsupportedCharset { .. } => "unsupported_charset",
            Self::CorruptEncoding { .. } => "corrupt_encoding",
            Self::PlainBehindEncoding { .. } => "plain_behind_encoding",
            Self::DecodedTooLarge { .. } => "decoded_too_large",
            Self::DecodedTooFar { .. } => "decoded_too_far",
        }
    }

    /// The request member that is at fault, for OpenAI's `param`.
    #[must_use]
    pub fn param(&self) -> Option<&'static str> {
        match self {
            Self::DuplicateModel { .. }
            | Self::ModelCase { .. }
            | Self::ModelType { .. }
            | Self::ModelTooLong { .. }
            | Self::ModelName { .. }
            | Self::ModelBroken { .. }
            | Self::Ambiguous { .. } => Some("model"),
            Self::Form { fault, .. } => fault.is_about_model().then_some("model"),
            _ => None,
        }
    }
}

/// How a body departs from RFC 8259.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Break {
    /// A comma before a closing bracket or another comma at the top level. Scanning goes on as if it were
    /// not there.
    #[error("a stray comma")]
    Comma,
    /// A byte that cannot stand there.
    #[error("an unexpected byte")]
    Byte,
    /// A backslash that starts no escape.
    #[error("an invalid escape")]
    Escape,
    /// `]` for `{` or `}` for `[`.
    #[error("a mismatched bracket")]
    Bracket,
    /// Something else than white space behind the document.
    #[error("data behind the document")]
    Trailing,
    /// The body ends within the document.
    #[error("the end of the body within the document")]
    Truncated,
}

/// What is wrong with a name.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum NameFault {
    /// Nothing in it.
    #[error("is empty")]
    Empty,
    /// Not UTF-8.
    #[error("is not valid UTF-8")]
    NotUtf8,
    /// A backslash that starts no escape.
    #[error("has an invalid escape")]
    Escape,
    /// An escaped half of a surrogate pair.
    #[error("has half a surrogate pair")]
    LoneSurrogate,
    /// A control character (CR, LF and NUL among them), a line separator, or a character that turns the
    /// direction of text or has no width.
    #[error("has a control or invisible character")]
    Control,
    /// White space at an end, which headers lose on their way.
    #[error("begins or ends with white space")]
    Padding,
}

/// What is wrong with a multipart body.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum FormFault {
    /// `Content-Type` names no boundary, two, or one that RFC 2046 forbids.
    #[error("has no usable boundary in its content-type: name one of 1 to 70 permitted characters")]
    Boundary,
    /// Something precedes the first boundary.
    #[error("does not start with its boundary: send no preamble")]
    Preamble,
    /// A boundary line goes on after the boundary, or ends in a bare line feed.
    #[error("has a malformed boundary line: end it in CRLF")]
    BoundaryLine,
    /// A boundary after a bare CR or LF: some parsers see one there, others do not.
    #[error("has a boundary that does not follow a CRLF: choose another boundary")]
    BareLineBreak,
    /// A part's headers exceed 8 KiB.
    #[error("has a part with more than 8192 bytes of headers: shorten them")]
    HeadersTooLong,
    /// A part's header is folded, lacks its colon, ends in a bare line feed or has a control character.
    #[error("has a part with a malformed header: one `name: value` a line, ending in CRLF")]
    Header,
    /// `Content-Disposition` is missing, doubled, or not `form-data` with one plain `name`.
    #[error("has a part without exactly one content-disposition `form-data; name=\"...\"`: send one")]
    Disposition,
    /// A second field `model`.
    #[error("has more than one field `model`: send exactly one")]
    DuplicateModel,
    /// A field whose name some parsers take for `model`: another case, escapes, padding.
    #[error("has a field that differs from `model` only in case or escapes: spell it `model`")]
    ModelAlias,
    /// `model` is a file, has a transfer encoding, or a charset in which it could be read as another name.
    #[error("has a field `model` that is not plain text: send it without filename, encoding or charset")]
    ModelNotPlain,
    /// Something behind the closing boundary.
    #[error("goes on behind its closing boundary: end it there")]
    Epilogue,
    /// The body ends before its closing boundary.
    #[error("ends before its closing boundary: complete it")]
    Truncated,
}

impl FormFault {
    fn is_about_model(self) -> bool {
        matches!(self, Self::DuplicateModel | Self::ModelAlias | Self::ModelNotPlain)
    }
}

/// A short, escaped excerpt of what a client sent, in double quotes: printable ASCII only, at most
/// [`Excerpt::MAX_BYTES`] bytes of input.
#[derive(Clone, PartialEq, Eq)]
pub struct Excerpt(Box<str>);

impl Excerpt {
    /// Bytes of input shown at most.
    pub const MAX_BYTES: usize = 48;

    /// Cuts and escapes `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let shown = &bytes[..bytes.len().min(Self::MAX_BYTES)];
        let more = if shown.len() < bytes.len() { "..." } else { "" };
        Self(format!("\"{}{more}\"", shown.escape_ascii()).into())
    }
}

impl fmt::Display for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
