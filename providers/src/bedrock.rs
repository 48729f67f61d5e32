//! AWS Bedrock as an upstream: its Converse API for any model, and the Messages API of Claude that it wraps (InvokeModel).
//!
//! Signatures are made here, of ring's primitives, instead of by aws-sigv4: that brings 16 packages more, this none.

pub(crate) mod answer;
mod citation;
pub(crate) mod embeddings;
pub(crate) mod eventstream;
pub(crate) mod failure;
pub(crate) mod invoke;
mod model;
pub mod paths;
pub(crate) mod request;
pub(crate) mod rerank;
pub mod sigv4;
