//! Anthropic's Messages API: read from clients, written for Anthropic, for Claude on Bedrock (InvokeModel) and on Vertex
//! (rawPredict), and their answers and failures both ways.

pub(crate) mod answer;
pub(crate) mod failure;
mod generation;
pub(crate) mod platform;
pub(crate) mod request;
