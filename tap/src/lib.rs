//! The response tap: what a model server says about a request's tokens, read from the bytes as they pass.
//!
//! The tap looks at every chunk of a response once, holds none back and copies none. It understands event streams
//! (OpenAI's chat, completions and Responses, Anthropic's Messages) and plain JSON. A token's chunk is worth about a
//! hundred nanoseconds: a search for a few needles decides whether anything has to be parsed, and hardly ever does it.
//! An embedding of many megabytes is skipped at memory speed, because only brackets and quotes are looked for.
//!
//! Turned down: keeping the tail of a JSON body and searching it for `"usage"`. A server may put members after it, and
//! a model may write the word; a scanner that knows its depth is as fast and never wrong.
//!
//! Names that are spelt with escapes (`"us\u0061ge"`) are not recognised: no server writes them, and what is read here
//! feeds metrics, not access rules.

mod counts;
mod events;
mod filter;
mod report;
mod scan;
mod tap;

pub use crate::filter::{Filtered, UsageFilter};
pub use crate::report::{ChunkReport, Report, StreamPosition, Usage, UsageSource};
pub use crate::tap::Tap;
