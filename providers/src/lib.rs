//! Dialects of model APIs: what a client asks in one is put to an upstream in another, and what that answers comes back in
//! the client's.
//!
//! Nothing here does I/O, reads a clock or waits. A request is parsed once and written once; a response is translated event
//! by event, as its bytes come, in bounded memory. Between APIs stands a common form of requests ([`conversation`]) and of
//! answers ([`answer`]).
//!
//! Strings go from one document into the other as they stand, escapes and all ([`json`]): nothing is lost, and most of a
//! long prompt is not even copied.

mod alias;
pub mod answer;
pub mod anthropic;
mod api;
pub mod bedrock;
pub mod conversation;
mod document;
mod failure;
#[cfg(test)]
mod fates;
pub mod gemini;
pub mod json;
pub mod openai;
mod path_model;
mod provider;
mod rerank;
mod response;
pub mod responses;
mod source;
mod sse;
mod translation;

pub use self::api::{Api, Family};
pub use self::failure::{is_too_long, of_event};
pub use self::path_model::{PathModels, models_in_path};
pub use self::provider::{Call, Encoded, NotEncoded, Place, Provider, Schema, Served};
pub use self::response::Translation;
pub use self::translation::{Asked, Broken};
