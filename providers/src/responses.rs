//! OpenAI's Responses API, for upstreams that have conversations only.
//!
//! The API keeps state with the provider, and runs tools there; an upstream of conversations has neither. A request that
//! leans on stored state is refused with what to send instead. Everything else that has no place is left out and noted.
//!
//! - `request` reads a client's request.
//! - `echo` keeps what a response repeats of its request.
//! - `answer` writes the response, as a stream or as a whole.
//! - `thought` is how signatures and encrypted thoughts of other providers travel through the client and back.
//! - `failure` names failures.

pub(crate) mod answer;
pub(crate) mod echo;
mod failure;
pub(crate) mod request;
mod thought;
