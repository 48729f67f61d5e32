//! Reads what routing needs out of a request body while it arrives, without holding or changing it.

mod blocks;
mod body;
mod decode;
mod error;
mod media;
mod multipart;
mod name;
mod options;
mod peek;
mod peeked;
mod scan;
mod splice;

pub use crate::error::{Break, FormFault, NameFault, PeekError, Piece};
pub use crate::options::Options;
pub use crate::peek::Peek;
pub use crate::peeked::{Malformed, Model, Notation, Peeked, Shape};
pub use crate::scan::Scanner;
pub use crate::splice::{SpliceError, Spliced, replacement, splice};

/// Longest name of a top-level member in bytes, as sent: ten times what any API uses.
pub const MAX_KEY_BYTES: usize = 1_024;
/// Longest `user` that is noted, in bytes after escapes were resolved; a longer one counts as none.
pub const MAX_USER_BYTES: usize = 256;
/// Most bytes of headers in one part of a form.
pub const MAX_PART_HEADER_BYTES: usize = 8 * 1_024;
