//! OpenAI's chat completions API, on both sides: what clients send in it, and what OpenAI, Azure and engines of pools take
//! and answer in it. And its embeddings, on the client's side.
//!
//! Where others have extended it, the forms that most clients know are read and written: `reasoning_content`, LiteLLM's
//! `thinking_blocks` and `cache_control`, and Google's `extra_content`. Without them reasoning could not come back to its
//! provider in the next turn.

pub(crate) mod answer;
pub(crate) mod embeddings;
pub(crate) mod failure;
pub(crate) mod request;
