//! Reads what routing needs out of a request body while it arrives, without holding or changing it.
//!
//! [`Peek`] is what a proxy uses: it is made from `Content-Type`, fed with the chunks of the body and finished into a
//! [`Peeked`], or refuses the body with a [`PeekError`]. A [`Decoder`] undoes a `Content-Encoding` in front of it. [`replacement`] and
//! [`splice`] rename the model in a body that was read so; [`MemberEdits`] change other members.
//!
//! # What the gateway and the model server must agree on
//!
//! Access rules, quotas and routes hang on the model. If gateway and server read two different models out of
//! one body, the client chooses which rules apply to it. So a body is taken only where every parser that
//! could stand behind the gateway reads the same model as this one, and refused where they may differ:
//!
//! | body | answer |
//! |---|---|
//! | a second top-level `model`, escaped or not, `null` or not | [`PeekError::DuplicateModel`] |
//! | `Model`, `MODEL` and so on at the top level | [`PeekError::ModelCase`] |
//! | a top-level name with NUL, invalid UTF-8, an invalid escape or half a surrogate pair | [`PeekError::Key`] |
//! | `model` in a nested value | ignored |
//! | `model` is `null` | no model, but a second `model` is refused |
//! | `model` is a number, a boolean, an array, an object, a bare word | [`PeekError::ModelType`] |
//! | `model` is empty, padded, not UTF-8, has half a surrogate pair, a control or an invisible character | [`PeekError::ModelName`] |
//! | `model` is longer than the limit | [`PeekError::ModelTooLong`] |
//! | the JSON breaks or ends within `model` | [`PeekError::ModelBroken`] |
//! | the JSON breaks elsewhere, or goes on behind its end | passes, [`Peeked::malformed`]; refused ([`PeekError::Ambiguous`]) if the word `model` follows |
//! | a stray comma at the top level | passes, [`Peeked::malformed`]; scanning goes on |
//! | `NaN`, `Infinity`, raw control characters and invalid UTF-8 in other strings | passes |
//! | nesting beyond the limit, a top-level name beyond the limit | [`PeekError::TooDeep`], [`PeekError::KeyTooLong`] |
//! | a UTF-8 byte order mark | skipped |
//! | UTF-16 or UTF-32 | [`PeekError::NotUtf8Json`] |
//! | a `charset` other than UTF-8 or ASCII; in a form, one in which ASCII is not ASCII | [`PeekError::UnsupportedCharset`], [`PeekError::Form`] |
//! | a top-level array or scalar, an empty body, no JSON at all | no model |
//! | a form that form parsers could take apart differently | [`PeekError::Form`] |
//! | a `Content-Encoding` that is unknown or stacked; corrupt; too large when decoded, or for its size; not really there | [`PeekError::UnsupportedEncoding`], [`PeekError::CorruptEncoding`], [`PeekError::DecodedTooLarge`], [`PeekError::DecodedTooFar`], [`PeekError::PlainBehindEncoding`] |
//!
//! The reasons are in `docs/design/peek.md`, an example of each in `tests/corpus/`.

mod blocks;
mod decode;
mod edit;
mod error;
mod media;
mod multipart;
mod name;
mod options;
mod peek;
mod peeked;
mod scan;
mod splice;

pub use crate::decode::{Decoder, Sink};
pub use crate::edit::{MemberEdits, UsageAsked, ask_for_usage};
pub use crate::error::{Break, Excerpt, FormFault, NameFault, PeekError};
pub use crate::media::Coding;
pub use crate::options::Options;
pub use crate::peek::Peek;
pub use crate::peeked::{Malformed, Model, Notation, Peeked, Shape};
pub use crate::splice::{SpliceError, Spliced, replacement, splice};

/// Longest name of a top-level member in bytes, as sent: ten times what any API uses.
pub const MAX_KEY_BYTES: usize = 1_024;
/// Longest `user` that is noted, in bytes after escapes were resolved; a longer one counts as none.
pub(crate) const MAX_USER_BYTES: usize = 256;
/// Most bytes of headers in one part of a form.
pub(crate) const MAX_PART_HEADER_BYTES: usize = 8 * 1_024;
