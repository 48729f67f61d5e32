//! Knobs that choose one of a few things.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::knob::plain_knob;

/// A model server's software.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Engine {
    /// vLLM.
    #[default]
    Vllm,
    /// SGLang.
    Sglang,
    /// TensorRT-LLM's own server.
    TrtllmServe,
    /// Triton.
    Triton,
    /// Triton with the TensorRT-LLM backend.
    #[serde(rename = "triton-tensorrt-llm")]
    TritonTensorrtLlm,
}

/// How an upstream is spoken to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum UpstreamProtocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2 over TLS; the upstream must agree to it by ALPN.
    H2,
    /// HTTP/2 without TLS, by prior knowledge.
    H2c,
    /// HTTP/2 or HTTP/1.1 over TLS, whichever the upstream prefers by ALPN.
    Auto,
}

/// The API that an upstream serves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ApiSchema {
    /// OpenAI's, and all that are like it.
    #[default]
    OpenAI,
    /// Anthropic's Messages.
    Anthropic,
    /// AWS Bedrock's Converse.
    AWSBedrock,
    /// Anthropic's Messages behind AWS Bedrock's InvokeModel.
    AWSAnthropic,
    /// OpenAI's, as Azure serves it.
    AzureOpenAI,
    /// Google's generateContent on Vertex AI.
    GCPVertexAI,
    /// Anthropic's Messages on Vertex AI.
    GCPAnthropic,
    /// Google's generateContent of the Gemini API.
    Gemini,
    /// Cohere's rerank.
    Cohere,
}

/// An API that an upstream may serve beside OpenAI's chat completions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ServedApi {
    /// Anthropic's Messages (`/v1/messages`), with its counts of tokens.
    Messages,
    /// OpenAI's Responses (`/v1/responses`).
    Responses,
}

/// A hosted API that is known by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// api.openai.com.
    OpenAI,
    /// api.anthropic.com.
    Anthropic,
    /// generativelanguage.googleapis.com.
    Gemini,
    /// api.mistral.ai.
    Mistral,
    /// api.groq.com.
    Groq,
    /// api.deepseek.com.
    DeepSeek,
    /// api.together.xyz.
    Together,
    /// api.fireworks.ai.
    Fireworks,
    /// openrouter.ai.
    OpenRouter,
    /// api.x.ai.
    XAI,
    /// api.cohere.com.
    Cohere,
    /// bedrock-runtime of the schema's region.
    Bedrock,
}

/// What becomes of a request with members that the API of its upstream has no place for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Untranslatable {
    /// It is sent without them, and its response names them in `x-penstock-dropped`.
    #[default]
    Drop,
    /// It is refused with 400, which names them.
    Refuse,
}

impl Untranslatable {
    /// For documents that leave defaults out.
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// When streams of OpenAI's chat and completions report the tokens that they took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum StreamUsage {
    /// Where the client asks for it (`stream_options.include_usage`).
    #[default]
    AsAsked,
    /// Always: the gateway asks for it. A client that did not is not sent the event that brings nothing else.
    Required,
}

impl StreamUsage {
    /// For documents that leave defaults out.
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// How compressed bodies (`Content-Encoding`) pass.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// Not compressed.
    #[default]
    Identity,
    /// As they come.
    Any,
}

/// What happens to a request for a saturated pool.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SaturationAction {
    /// It is refused with 429.
    #[default]
    Reject,
    /// It waits in a bounded queue.
    Queue,
}

/// How requests are spread over a backend's endpoints.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Balancing {
    /// In turn, by weight.
    #[default]
    RoundRobin,
    /// At random, by weight.
    Random,
}

/// What happens to a request that has headers with an underscore in their names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum HeadersWithUnderscores {
    /// It is refused with 400.
    #[default]
    Reject,
    /// It loses those headers.
    Drop,
    /// They are headers like others.
    Allow,
}

impl HeadersWithUnderscores {
    /// For documents that leave defaults out.
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// When a response's headers tell which of its rule's targets were tried (`x-penstock-tried`) and which one answered
/// (`x-penstock-target`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TargetHeaders {
    /// Not at all: clients do not learn the names of pools and backends.
    Never,
    /// Where one was left for another.
    #[default]
    Failover,
    /// Always.
    Always,
}

impl TargetHeaders {
    /// For documents that leave defaults out.
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Who is answered on the debug pages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DebugAccess {
    /// Whoever connects from 127.0.0.1 or ::1, as `kubectl port-forward` does.
    #[default]
    Local,
    /// Whoever can connect.
    Anyone,
}

plain_knob!(Encoding, Engine, UpstreamProtocol, SaturationAction, Balancing, DebugAccess);
